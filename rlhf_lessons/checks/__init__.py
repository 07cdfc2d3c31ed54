"""Checks for the exercises: each compares your function with exact values, and names the likely mistake.

    from rlhf_lessons.checks import lesson1 as check
    check.surprise(surprise)        # prints "Right", or what is likely wrong

A check runs your function on several inputs, odd ones included (padding, extreme values), and compares with the right
values at a tight tolerance. Where your values are those of a known mistake, it says which. A stub that returns None
or `...` is "not done yet", so that a whole notebook runs with its exercises open.
"""
import copy
import functools
import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

TOLERANCE = 1e-5


class Mistake(AssertionError):
    """Says in words what is wrong with a solution."""

    def _render_traceback_(self) -> list[str]:
        """Return what Jupyter shows in place of a traceback: the words, and no line of the check."""
        return [f"✗ Not yet. {self}"]


class NotDone(Mistake):
    """The function is still the stub."""


def exercise(check: Callable) -> Callable:
    """Make of `check(yours)`, which raises Mistake, a check that prints what it found and remembers what passed.

    With `raise_errors=True` it raises instead, as graders want it.
    """
    @functools.wraps(check)
    def run(yours: Callable, raise_errors: bool = False) -> None:
        try:
            check(yours)
        except Mistake as mistake:
            if raise_errors:
                raise
            print(f"Not done yet. {mistake}" if isinstance(mistake, NotDone) else f"✗ Not yet. {mistake}")
        else:
            remember(f"{check.__module__.rpartition('.')[2]}.{check.__name__}")
            print("✓ Right.")
    return run


def compare(yours: Callable, right: Callable, cases: list[tuple], mistakes: dict[str, Callable] | None = None,
            tolerance: float = TOLERANCE) -> None:
    """Raise Mistake unless yours(*case) equals right(*case) for each case.

    `mistakes` maps a hint to the function that makes this mistake: where yours agrees with one of them on the first
    case that fails, and on no fewer cases than the others do, its hint is what the reader hears. Tensors in a case
    that require a gradient must get the right one.
    """
    for number, case in enumerate(cases, 1):
        problem = difference(call(yours, case), call(right, case), tolerance)
        if problem is None:
            continue
        if hint := likely(yours, right, case, cases, mistakes or {}, tolerance):
            raise Mistake(hint)
        raise Mistake(f"On input {number} of {len(cases)}, {problem}.")


def likely(yours: Callable, right: Callable, case: tuple, cases: list[tuple], mistakes: dict[str, Callable],
           tolerance: float) -> str | None:
    """Return the hint of the mistake that agrees with yours on `case`, and on most of all cases; or, where yours is
    not finite though it should be, of the first mistake whose result is not finite either."""
    def same(wrong, case):
        return not difference(attempt(yours, case), attempt(wrong, case), tolerance)
    agreeing = {hint: sum(same(wrong, each) for each in cases) for hint, wrong in mistakes.items() if same(wrong, case)}
    if agreeing:
        return max(agreeing, key=agreeing.get)
    if finite(attempt(yours, case)) or not finite(attempt(right, case)):
        return None
    return next((hint for hint, wrong in mistakes.items() if not finite(attempt(wrong, case))), None)


def call(yours: Callable, case: tuple) -> object:
    """Return (what a function returns, the gradients of the inputs that want one); Mistake where it fails."""
    given = copy.deepcopy(case)
    try:
        got = yours(*given)
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error}"
        raise Mistake(f"Your function raised {said} (line {line.lineno}: {line.line}).") from None
    if got is None or got is ...:
        raise NotDone("Replace the `...` with your code, run the cell, then this one again.")
    for before, after in zip(case, given):
        if isinstance(before, torch.Tensor) and not torch.equal(before, after):
            raise Mistake("Your function changes its input in place. Make a new tensor instead.")
    wanted = [x for x in given if isinstance(x, torch.Tensor) and x.requires_grad]
    if not wanted:
        return got
    if not (isinstance(got, torch.Tensor) and got.requires_grad):
        raise Mistake("No gradient flows back from what your function returns: is there an .item(), a float() or a "
                      "torch.no_grad() in it?")
    gradients = torch.autograd.grad(got.sum(), wanted, allow_unused=True)
    return got, *(torch.zeros_like(x) if g is None else g for g, x in zip(gradients, wanted))


def attempt(wrong: Callable, case: tuple) -> object:
    """Return what a known mistake returns; None where it cannot cope with the case."""
    try:
        return call(wrong, case)
    except Mistake:
        return None


def finite(value: object) -> bool:
    """Return whether all numbers in a result are finite."""
    if isinstance(value, (tuple, list)):
        return all(map(finite, value))
    return not isinstance(value, (torch.Tensor, float)) or bool(torch.as_tensor(value).isfinite().all())


def difference(got: object, wanted: object, tolerance: float) -> str | None:
    """Return in words how two results differ; None if they do not."""
    if isinstance(wanted, (tuple, list)):
        if not isinstance(got, (tuple, list)) or len(got) != len(wanted):
            return f"you return {short(got)}, where {len(wanted)} values were expected"
        return next((found for pair in zip(got, wanted) if (found := difference(*pair, tolerance))), None)
    if isinstance(wanted, (torch.Tensor, float)):
        wanted = torch.as_tensor(wanted)
        try:
            got = torch.as_tensor(got)
        except (TypeError, ValueError, RuntimeError):
            return f"you return {short(got)}, where numbers were expected"
        if got.shape != wanted.shape:
            return f"you return the shape {tuple(got.shape)}, where {tuple(wanted.shape)} was expected"
        if torch.allclose(got.double(), wanted.double(), rtol=tolerance, atol=tolerance, equal_nan=True):
            return None
    elif got == wanted:
        return None
    return f"you return {short(got)}, where {short(wanted)} was expected"


def short(value: object) -> str:
    """Return a value as a reader wants to see it: few digits, few numbers."""
    if isinstance(value, torch.Tensor):
        numbers = [f"{x:.4g}" for x in value.detach().flatten()[:8].tolist()]
        more = ", …" if value.numel() > 8 else ""
        return numbers[0] if value.dim() == 0 else f"[{', '.join(numbers)}{more}]"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)[:120]


def passed_file() -> Path:
    """Return where passed checks are remembered, beside the reader's own models."""
    return Path(os.environ.get("RLHF_LESSONS_RUNS") or Path(__file__).parents[2] / "runs") / "exercises.jsonl"


def remember(name: str) -> None:
    """Note that a check has passed; a disk that cannot be written spoils no exercise."""
    try:
        passed_file().parent.mkdir(parents=True, exist_ok=True)
        with passed_file().open("a", encoding="utf-8") as file:
            file.write(json.dumps({"exercise": name, "at": time.strftime("%Y-%m-%d %H:%M")}) + "\n")
    except OSError as error:
        print(f"(This could not be noted for your report: {error}.)")

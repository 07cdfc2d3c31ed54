"""Checks for the exercises: each compares your function with exact values, and names the likely mistake.

    from rlhf_lessons.exercises import lesson1 as check
    check.surprise(surprise)        # prints "Right", or what is likely wrong

A check runs your function on several inputs, odd ones included (padding, extreme values), and compares with the right
values at a tight tolerance. Where your values are those of a known mistake, it says which. A stub that returns None
or `...` is "not done yet", so that a whole notebook runs with its exercises open.
"""

import copy
import dis
import functools
import inspect
import json
import numbers
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from rlhf_lessons import paths

TOLERANCE = 1e-5
CROSS_ENTROPY = (
    "cross_entropy wants (tokens, vocabulary) and (tokens,). Flatten both, after the shift."
)
NO_TOKEN = "−100 is no token, so it cannot be looked up. Choose the learned places first, with labels != -100."
ERRORS = {
    "Expected target size": CROSS_ENTROPY,
    "to match target batch_size": CROSS_ENTROPY,  # what torch means by it
    "index -100 is out of bounds": NO_TOKEN,
}
NOTHING = {
    "RESUME",
    "NOP",
    "CACHE",
    "LOAD_CONST",
    "RETURN_CONST",
    "RETURN_VALUE",
}  # what a stub is made of


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
            print(
                f"Not done yet. {mistake}"
                if isinstance(mistake, NotDone)
                else f"✗ Not yet. {mistake}"
            )
        else:
            remember(f"{check.__module__.rpartition('.')[2]}.{check.__name__}")
            print("✓ Right.")

    return run


def compare(
    yours: Callable,
    right: Callable,
    cases: list[tuple],
    mistakes: dict[str, Callable | tuple[Callable, ...]] | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """Raise Mistake unless yours(*case) equals right(*case) for each case.

    `mistakes` maps a hint to the function that makes this mistake, or to several, one for each way of making it:
    where yours agrees with one of them on the first case that fails, on half of all cases at least, and on no fewer
    than the others do, its hint is what the reader hears. To stop with an error of the same kind is to agree too.
    Tensors in a case that require a gradient must get the right one.
    """
    ways = [
        (hint, wrong)
        for hint, wrongs in (mistakes or {}).items()
        for wrong in (wrongs if isinstance(wrongs, tuple) else (wrongs,))
    ]
    for number, case in enumerate(cases, 1):
        where, failed = f"n input {number} of {len(cases)}{readable(case)}", None
        try:
            problem = differ(call(yours, case, f" o{where}"), call(right, case), tolerance)
        except Mistake as mistake:
            if mistake.__context__ is None:  # no error, but nothing returned, or an input changed
                raise
            problem = failed = mistake
        if problem is not None:
            hint = likely(yours, right, number - 1, cases, ways, tolerance)
            raise Mistake(
                f"{failed} {hint or ''}".strip() if failed else hint or f"O{where}, {problem}."
            )


def likely(
    yours: Callable,
    right: Callable,
    place: int,
    cases: list[tuple],
    ways: list[tuple[str, Callable]],
    tolerance: float,
) -> str | None:
    """Return the hint of the mistake that agrees with yours on the case at `place`, and on most of all cases; or,
    where yours is not finite though it should be, of the first mistake whose result is not finite either."""
    mine, agreeing = [attempt(yours, case) for case in cases], {}
    for hint, wrong in ways:
        same = [not differ(got, attempt(wrong, case), tolerance) for got, case in zip(mine, cases)]
        if same[place] and sum(same) >= len(cases) / 2:
            agreeing[hint] = max(sum(same), agreeing.get(hint, 0))
    if agreeing:
        return max(agreeing, key=agreeing.get)
    if finite(mine[place]) or not finite(attempt(right, cases[place])):
        return None
    results = ((hint, attempt(wrong, cases[place])) for hint, wrong in ways)
    return next(
        (hint for hint, theirs in results if fails_alike(mine[place], theirs, tolerance)), None
    )


def call(yours: Callable, case: tuple, where: str = "") -> tuple:
    """Return (what a function returns, the gradients of the inputs that want one); Mistake where it fails."""
    given = copy.deepcopy(case)
    try:
        got = yours(*given)
    except Exception as error:
        said = f"{type(error).__name__}: {str(error).split(chr(10))[0][:200]}".removesuffix(": ")
        meant = "".join(f" {hint}" for phrase, hint in ERRORS.items() if phrase in said)
        raise Mistake(
            f"Your function raised {said}{where}{line_of(yours, error)}.{meant}"
        ) from None
    if got is None or got is ...:
        if is_stub(yours):
            raise NotDone("Replace the `...` with your code, and run this cell again.")
        raise Mistake(f"Your function returns {got}{where}. Is there a `return` missing?")
    for before, after in zip(case, given):
        if changed(before, after):
            kind = "tensor" if isinstance(before, torch.Tensor) else "list"
            raise Mistake(f"Your function changes its input in place. Make a new {kind} instead.")
    return got, gradients(
        got, [x for x in given if isinstance(x, torch.Tensor) and x.requires_grad]
    )


def gradients(got: object, wanted: list[torch.Tensor]) -> tuple:
    """Return the gradient of a result for each input that wants one; Mistake where none flows."""
    if not wanted:
        return ()
    if not isinstance(got, (torch.Tensor, numbers.Number)):
        raise Mistake(f"You return {short(got)}, where a tensor was expected.")
    if not getattr(got, "requires_grad", False):
        raise Mistake(
            "No gradient flows back from what your function returns: is there an .item(), a float() or a "
            "torch.no_grad() in it?"
        )
    try:
        found = torch.autograd.grad(got.sum(), wanted, allow_unused=True)
    except RuntimeError:
        raise Mistake(
            "The gradient breaks on its way back through your function: does it change a tensor in place, "
            "as with += or exp_(), after something was made of it? Or call backward() itself?"
        ) from None
    return tuple(torch.zeros_like(x) if g is None else g for g, x in zip(found, wanted))


def line_of(yours: Callable, error: Exception) -> str:
    """Return the last line of the reader's own that an error came through, not one of a library."""
    code = getattr(inspect.unwrap(yours), "__code__", None)
    lines = [
        line
        for line in traceback.extract_tb(error.__traceback__)
        if code and line.filename == code.co_filename
    ]
    return f" (line {lines[-1].lineno}: {lines[-1].line})" if lines else ""


def is_stub(yours: Callable) -> bool:
    """Return whether a function does nothing but return None or `...`."""
    code = getattr(inspect.unwrap(yours), "__code__", None)
    return code is not None and {x.opname for x in dis.get_instructions(code)} <= NOTHING


def changed(before: object, after: object) -> bool:
    """Return whether an input is no longer what it was."""
    if isinstance(before, torch.Tensor):
        return before.shape != after.shape or not bool(
            ((before == after) | (before != before)).all()
        )
    if isinstance(before, (tuple, list)):
        return len(before) != len(after) or any(map(changed, before, after))
    return before is not after and before != after


def attempt(wrong: Callable, case: tuple) -> tuple | type:
    """Return what a known mistake returns, as `call` does; the type of its error where it cannot cope with the case."""
    try:
        return call(wrong, case)
    except Mistake as mistake:
        return type(mistake.__context__)


def finite(value: object) -> bool:
    """Return whether all numbers in a result are finite."""
    if isinstance(value, (tuple, list)):
        return all(map(finite, value))
    return not isinstance(value, (torch.Tensor, float)) or bool(
        torch.as_tensor(value).isfinite().all()
    )


def fails_alike(mine: tuple, theirs: tuple | type, tolerance: float) -> bool:
    """Return whether two results of `call` are not finite in the same part: the value, or only its gradient."""
    if finite(theirs):
        return False
    return not (difference(mine[0], theirs[0], tolerance) if finite(mine[0]) else finite(theirs[0]))


def differ(got: tuple | type, wanted: tuple | type, tolerance: float) -> str | None:
    """Return in words how two results of `attempt` differ, first in value, then in gradient; None if they do not."""
    if isinstance(got, type) or isinstance(wanted, type):
        return None if got is wanted else "one of them fails"
    if problem := difference(got[0], wanted[0], tolerance):
        return problem
    problem = next(
        (found for pair in zip(got[1], wanted[1]) if (found := difference(*pair, tolerance))), None
    )
    return problem and problem.replace(
        "you return", "your values are right, but their gradient is", 1
    )


def difference(got: object, wanted: object, tolerance: float) -> str | None:
    """Return in words how two values differ; None if they do not."""
    if isinstance(wanted, (tuple, list)):
        return difference_of_rows(got, wanted, tolerance)
    if isinstance(wanted, (torch.Tensor, float)):
        return difference_of_numbers(got, torch.as_tensor(wanted), tolerance)
    if not isinstance(got, (list, tuple)) and getattr(got, "ndim", 0) == 0 and got == wanted:
        return None
    return f"you return {short(got)}, where {short(wanted)} was expected"


def difference_of_rows(got: object, wanted: tuple | list, tolerance: float) -> str | None:
    """Return in words how a list or a tuple differs from the right one."""
    kind = type(wanted).__name__
    if not isinstance(got, (tuple, list)):
        return f"you return {short(got)} ({type(got).__name__}), where a {kind} of {len(wanted)} was expected"
    whole = f"you return {short(got)}, where {short(wanted)} was expected"
    plain = len(whole) < 240 and "tensor(" not in whole
    if len(got) != len(wanted):
        return (
            whole if plain else f"you return {len(got)} values, where {len(wanted)} were expected"
        )
    for place, pair in enumerate(zip(got, wanted), 1):
        if found := difference(*pair, tolerance):
            return whole if plain else f"in value {place} of {len(wanted)}, {found}"
    return None


def difference_of_numbers(got: object, wanted: torch.Tensor, tolerance: float) -> str | None:
    """Return in words how numbers differ from the right ones: in kind, in shape or in value, and where."""
    try:
        got = torch.as_tensor(float(got) if isinstance(got, numbers.Real) else got).cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return f"you return {short(got)}, where numbers were expected"
    if got.shape != wanted.shape:
        return f"you return the shape {tuple(got.shape)}, where {tuple(wanted.shape)} was expected"
    if (
        got.is_complex()
        or not wanted.is_floating_point()
        and (wanted.dtype is torch.bool) != (got.dtype is torch.bool)
    ):
        return f"you return numbers of type {got.dtype}, where {wanted.dtype} was expected"
    if got.is_floating_point() and not wanted.is_floating_point():
        return f"you return numbers of type {got.dtype}, where {wanted.dtype} was expected"
    close = torch.isclose(
        got.double(), wanted.double(), rtol=tolerance, atol=tolerance, equal_nan=True
    )
    if close.all():
        return None
    if wanted.numel() <= 8:
        return f"you return {short(got)}, where {short(wanted, got)} was expected"
    first = tuple((~close).nonzero()[0].tolist())
    return (
        f"you return {short(got[first])} at place {list(first)}, where {short(wanted[first], got[first])} was "
        f"expected; {int((~close).sum())} of {close.numel()} numbers differ"
    )


def short(value: object, beside: object = None) -> str:
    """Return a value as a reader wants to see it: few digits, few numbers; more digits than 4 where it would look
    like the value `beside`."""
    if isinstance(value, torch.Tensor):
        digits = 4 if beside is None or short(value) != short(beside) else 7
        texts = [f"{x:.{digits}g}" for x in value.detach().flatten()[:8].tolist()]
        more = ", …" if value.numel() > 8 else ""
        return texts[0] if value.dim() == 0 else f"[{', '.join(texts)}{more}]"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)[:120]


def readable(case: tuple) -> str:
    """Return a case as text where it is short: numbers and lists say more than the number of an input."""
    text = ", ".join(map(repr, case))
    return f" ({text})" if len(text) <= 60 and "tensor(" not in text else ""


def in_order(pairs_of: Callable) -> Callable:
    """Return a function whose pairs come sorted: any order of them is right."""

    @functools.wraps(pairs_of)
    def sorted_pairs(*case):
        got = pairs_of(*case)
        try:
            return sorted(map(tuple, got)) if isinstance(got, (list, tuple, set)) else got
        except (TypeError, ValueError, RuntimeError):  # no pairs of numbers: shown as they are
            return got

    return sorted_pairs


def some(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    """Return normal numbers, the same on every machine."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def real(*lengths: int, time: int = 0) -> torch.Tensor:
    """Return the mask of texts of these lengths, (batch, time), which begin at column 0."""
    return torch.arange(time or max(lengths)) < torch.tensor(lengths)[:, None]


def picked(values: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Return the value at each id, along the last dimension."""
    return values.gather(-1, ids[..., None])[..., 0]


def passed_file() -> Path:
    """Return where passed checks are remembered, beside the reader's own models."""
    return paths.RUNS / "exercises.jsonl"


def remember(name: str) -> None:
    """Note that a check has passed; a disk that cannot be written spoils no exercise."""
    try:
        passed_file().parent.mkdir(parents=True, exist_ok=True)
        with passed_file().open("a", encoding="utf-8") as file:
            file.write(json.dumps({"exercise": name, "at": time.strftime("%Y-%m-%d %H:%M")}) + "\n")
    except OSError as error:
        print(f"(This could not be noted for your report: {error}.)")

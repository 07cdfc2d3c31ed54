"""Checks for the exercises: each compares your function with exact values, and names the likely
mistake.

    from rlhf_lessons.exercises import lesson1 as check
    check.surprise(surprise)        # prints "Right", or what is likely wrong

An exercise is its right solution, under a decorator with the inputs on which yours is tried, odd
ones included (padding, extreme values):

    @exercise((2.0, 3.0), (0.0, -1.0))
    def area(width, height):
        return width * height

Its known mistakes stand in `hints/`, each a hint and the change of the right solution that makes
it. Where your values are those of such a mistake, the check says which. A stub raises
NotImplementedError, which is "not done yet", so that a whole notebook runs with its exercises open.
"""

import copy
import inspect
import json
import numbers
import time
import traceback
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch

from rlhf_lessons import paths
from rlhf_lessons.exercises import hints

TOLERANCE = 1e-5
FLATTEN = "cross_entropy wants (tokens, vocabulary) and (tokens,). Flatten both, after the shift."
ERRORS = {  # what torch means by its words
    "Expected target size": FLATTEN,
    "to match target batch_size": FLATTEN,
    "index -100 is out of bounds": "−100 is no token, so it cannot be looked up. "
    "Choose the learned places first, with labels != -100.",
}


class Mistake(AssertionError):
    """Says in words what is wrong with a solution."""

    def _render_traceback_(self) -> list[str]:
        """Return what Jupyter shows in place of a traceback: the words, and no line of the
        check."""
        return [str(self)]

    def __str__(self) -> str:
        return f"✗ Not yet. {self.args[0]}"


class NotDone(Mistake):
    """The function is still the stub."""

    def __str__(self) -> str:
        return (
            "Not done yet. Replace `raise NotImplementedError` with your code, "
            "and run this cell again."
        )


class Check:
    """The check of one exercise: a notebook calls it with your function.

    It holds the right solution, the inputs on which both are tried, and the known mistakes. An
    input is a tuple of arguments; tensors in it that require a gradient must get the right one.
    """

    def __init__(self, right: Callable, cases: tuple[tuple, ...], tolerance: float = TOLERANCE):
        self.right, self.__doc__ = right, right.__doc__
        self.cases = cases
        self.tolerance = tolerance
        self.lesson = right.__module__.rpartition(".")[2]

    def __call__(self, yours: Callable, raise_errors: bool = False) -> None:
        """Print what is likely wrong, or remember that yours has passed.

        With `raise_errors=True` it raises Mistake instead, as graders want it.
        """
        try:
            self.compare(yours)
        except Mistake as mistake:
            if raise_errors:
                raise
            print(mistake)
        else:
            remember(f"{self.lesson}.{self.right.__name__}")
            print("✓ Right.")

    @cached_property
    def mistakes(self) -> list[tuple[str, Callable]]:
        """Return (hint, a function that makes the mistake), one for each way of making it."""
        found = []
        for mistake in hints(self.lesson).get(self.right.__name__, {}).values():
            wrote = mistake["wrote"]
            for ours in [wrote] if isinstance(wrote, str) else wrote:
                wrong = rewritten(self.right, mistake["instead_of"], ours)
                found.append((mistake["hint"], wrong))
        return found

    def compare(self, yours: Callable) -> None:
        """Raise Mistake unless yours returns what the right solution does, on each input."""
        for number, case in enumerate(self.cases):
            where = f"n input {number + 1} of {len(self.cases)}{readable(case)}"
            failed = ""
            try:
                got = call(yours, case, f" o{where}")
                problem = differ(got, call(self.right, case), self.tolerance)
            except Failed as error:
                problem = failed = error.args[0]
            if problem:
                hint = self.likely(yours, number) or ""
                raise Mistake(f"{failed} {hint}".strip() or f"O{where}, {problem}.")

    def likely(self, yours: Callable, first: int) -> str | None:
        """Return the hint of the mistake that explains best what yours returns, or None.

        Only inputs tell on which yours or the mistake is wrong. A mistake explains yours if they
        agree on the first input that fails, `cases[first]`, and on no fewer telling inputs than
        they differ on. To stop with an error of the same kind is to agree; an input on which only
        yours breaks tells nothing, as it may break for another reason. Among several, exact
        agreement comes first, then the fewest differences.
        """
        places = range(len(self.cases))
        wanted = [attempt(self.right, case) for case in self.cases]
        mine = [attempt(yours, case) for case in self.cases]
        wrong = [differ(*pair, self.tolerance) is not None for pair in zip(mine, wanted)]
        broken = [breaks(*pair) for pair in zip(mine, wanted)]
        explained = []
        for hint, mistake in self.mistakes:
            theirs = [attempt(mistake, case) for case in self.cases]
            same = [differ(*pair, self.tolerance) is None for pair in zip(mine, theirs)]
            alike = [
                same[n] or broken[n] is not None and broken[n] == breaks(theirs[n], wanted[n])
                for n in places
            ]
            agree = sum(alike[n] and wrong[n] for n in places)
            against = sum(not alike[n] and broken[n] is None for n in places)
            if alike[first] and agree >= against:
                explained.append(((same[first], -against, agree), hint))
        return max(explained, key=lambda found: found[0])[1] if explained else None


def exercise(*cases: tuple, tolerance: float = TOLERANCE) -> Callable[[Callable], Check]:
    """Make of the right solution below an exercise's check, tried on these inputs."""
    return lambda right: Check(right, cases, tolerance)


def rewritten(right: Callable, instead_of: str, wrote: str) -> Callable:
    """Return the right solution as somebody wrote it who made a mistake: one piece is another.

    ValueError unless the piece stands in its source exactly once.
    """
    source = inspect.getsource(right)
    source = source[source.index("def ") :]  # without the decorator
    if source.count(instead_of) != 1:
        raise ValueError(
            f"{right.__module__}.{right.__name__} must hold {instead_of!r} exactly once: "
            "a mistake in hints/ changes it"
        )
    scope = dict(right.__globals__)
    exec(source.replace(instead_of, wrote), scope)
    return scope[right.__name__]


def breaks(got: tuple | type, wanted: tuple | type) -> str | None:
    """Return how a result fails where the right one does not: an error, or no finite value or
    gradient."""
    if isinstance(wanted, type):
        return None
    if isinstance(got, type):
        return got.__name__
    if not finite(got[0]) and finite(wanted[0]):
        return "value"
    return "gradient" if not finite(got[1]) and finite(wanted[1]) else None


def finite(value: object) -> bool:
    """Return whether all numbers in a result are finite."""
    if isinstance(value, (tuple, list)):
        return all(map(finite, value))
    if not isinstance(value, (torch.Tensor, float)):
        return True
    return bool(torch.as_tensor(value).isfinite().all())


class Failed(Mistake):
    """The function stopped with an error."""


def call(yours: Callable, case: tuple, where: str = "") -> tuple:
    """Return (what a function returns, the gradients of the inputs that want one); Mistake where it
    fails."""
    given = copy.deepcopy(case)
    try:
        got = yours(*given)
    except NotImplementedError:
        raise NotDone from None
    except Exception as error:
        first_line = str(error).split("\n")[0][:200]
        said = f"{type(error).__name__}: {first_line}".removesuffix(": ")
        meant = "".join(f" {hint}" for phrase, hint in ERRORS.items() if phrase in said)
        words = f"Your function raised {said}{where}{line_of(yours, error)}.{meant}"
        raise Failed(words, type(error)) from None
    if got is None or got is ...:
        raise Mistake(f"Your function returns {got}{where}. Is there a `return` missing?")
    for before, after in zip(case, given):
        if difference(after, before, 0):
            kind = "tensor" if isinstance(before, torch.Tensor) else "list"
            raise Mistake(f"Your function changes its input in place. Make a new {kind} instead.")
    wanted = [x for x in given if isinstance(x, torch.Tensor) and x.requires_grad]
    return got, gradients(got, wanted) if wanted else ()


def gradients(got: object, wanted: list[torch.Tensor]) -> tuple:
    """Return the gradient of a result for each input that wants one; Mistake where none flows."""
    if not isinstance(got, (torch.Tensor, numbers.Number)):
        raise Mistake(f"You return {short(got)}, where a tensor was expected.")
    if not getattr(got, "requires_grad", False):
        raise Mistake(
            "No gradient flows back from what your function returns: is there an .item(), a "
            "float() or a torch.no_grad() in it?"
        )
    try:
        found = torch.autograd.grad(got.sum(), wanted, allow_unused=True)
    except RuntimeError as error:
        words = (
            "The gradient breaks on its way back through your function: does it change a tensor "
            "in place, as with += or exp_(), after something was made of it? Or call backward() "
            "itself?"
        )
        raise Failed(words, type(error)) from None
    return tuple(torch.zeros_like(x) if g is None else g for g, x in zip(found, wanted))


def line_of(yours: Callable, error: Exception) -> str:
    """Return the last line of the reader's own that an error came through, not one of a library."""
    code = getattr(inspect.unwrap(yours), "__code__", None)
    for line in reversed(traceback.extract_tb(error.__traceback__)):
        if code and line.filename == code.co_filename:
            return f" (line {line.lineno}: {line.line})"
    return ""


def attempt(wrong: Callable, case: tuple) -> tuple | type:
    """Return what a function returns, as `call` does; the type of its error where it cannot
    cope."""
    try:
        return call(wrong, case)
    except Failed as failed:
        return failed.args[1]
    except Mistake:
        return Mistake


def differ(got: tuple | type, wanted: tuple | type, tolerance: float) -> str | None:
    """Return in words how two results of `attempt` differ, first in value, then in gradient."""
    if isinstance(got, type) or isinstance(wanted, type):
        return None if got is wanted else "one of them fails"
    if problem := difference(got[0], wanted[0], tolerance):
        return problem
    for mine, right in zip(got[1], wanted[1]):
        if problem := difference(mine, right, tolerance):
            return problem.replace("you return", "your values are right, but their gradient is", 1)
    return None


def difference(got: object, wanted: object, tolerance: float) -> str | None:
    """Return in words how two values differ; None if they do not. Of a set, any order is right."""
    if isinstance(wanted, set):
        wanted, got = sorted(wanted), in_order(got)
    if isinstance(wanted, (tuple, list)):
        return difference_of_rows(got, wanted, tolerance)
    if isinstance(wanted, (torch.Tensor, float)):
        return difference_of_numbers(got, torch.as_tensor(wanted), tolerance)
    if not isinstance(got, (list, tuple)) and getattr(got, "ndim", 0) == 0 and got == wanted:
        return None
    return f"you return {short(got)}, where {short(wanted)} was expected"


def in_order(got: object) -> object:
    """Return pairs sorted; what cannot be sorted, as it is."""
    try:
        return sorted(map(tuple, got)) if isinstance(got, (list, tuple, set)) else got
    except (TypeError, ValueError, RuntimeError):
        return got


def difference_of_rows(got: object, wanted: tuple | list, tolerance: float) -> str | None:
    """Return in words how a list or a tuple differs from the right one."""
    kind = type(wanted).__name__
    if not isinstance(got, (tuple, list)):
        given = f"{short(got)} ({type(got).__name__})"
        return f"you return {given}, where a {kind} of {len(wanted)} was expected"
    whole = f"you return {short(got)}, where {short(wanted)} was expected"
    plain = len(whole) < 240 and "tensor(" not in whole
    if len(got) != len(wanted):
        numbers_of = f"you return {len(got)} values, where {len(wanted)} were expected"
        return whole if plain else numbers_of
    for place, pair in enumerate(zip(got, wanted), 1):
        if found := difference(*pair, tolerance):
            return whole if plain else f"in value {place} of {len(wanted)}, {found}"
    return None


def difference_of_numbers(got: object, wanted: torch.Tensor, tolerance: float) -> str | None:
    """Return in words how numbers differ from the right ones: in kind, shape or value, and
    where."""
    try:
        got = torch.as_tensor(float(got) if isinstance(got, numbers.Real) else got).cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return f"you return {short(got)}, where numbers were expected"
    if got.shape != wanted.shape:
        return f"you return the shape {tuple(got.shape)}, where {tuple(wanted.shape)} was expected"
    exact = not wanted.is_floating_point()  # ids and masks
    is_bool = wanted.dtype is torch.bool
    if (
        got.is_complex()
        or exact
        and (got.is_floating_point() or (got.dtype is torch.bool) != is_bool)
    ):
        return f"you return numbers of type {got.dtype}, where {wanted.dtype} was expected"
    close = torch.isclose(got.double(), wanted.double(), tolerance, tolerance, equal_nan=True)
    if close.all():
        return None
    if wanted.numel() <= 8:
        return f"you return {short(got)}, where {short(wanted, got)} was expected"
    first = tuple((~close).nonzero()[0].tolist())
    return (
        f"you return {short(got[first])} at place {list(first)}, where "
        f"{short(wanted[first], got[first])} was expected; "
        f"{int((~close).sum())} of {close.numel()} numbers differ"
    )


def short(value: object, beside: object = None) -> str:
    """Return a value with few digits and few numbers; with more digits where it would look like
    `beside`."""
    if isinstance(value, torch.Tensor):
        digits = 4 if beside is None or short(value) != short(beside) else 7
        texts = [f"{x:.{digits}g}" for x in value.detach().flatten()[:8].tolist()]
        more = ", …" if value.numel() > 8 else ""
        return texts[0] if value.dim() == 0 else f"[{', '.join(texts)}{more}]"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)[:120]


def readable(case: tuple) -> str:
    """Return a case as text where it is short: numbers and lists say more than the number of an
    input."""
    text = ", ".join(map(repr, case))
    return f" ({text})" if len(text) <= 60 and "tensor(" not in text else ""


# ---- What inputs are made of ----


def some(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    """Return normal numbers, the same on every machine."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def tokens(*shape: int, below: int, seed: int = 0) -> torch.Tensor:
    """Return token ids, the same on every machine."""
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(seed))


def mask_of(*lengths: int, time: int = 0) -> torch.Tensor:
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
    row = {"exercise": name, "at": time.strftime("%Y-%m-%d %H:%M")}
    try:
        passed_file().parent.mkdir(parents=True, exist_ok=True)
        with passed_file().open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        print(f"(This could not be noted for your report: {error}.)")

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
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from rlhf_lessons import paths
from rlhf_lessons.exercises import hints
from rlhf_lessons.exercises.difference import difference, finite

FLATTEN = "cross_entropy wants (tokens, vocabulary) and (tokens,). Flatten both, after the shift."
GRADIENT_BREAKS = (
    "The gradient breaks on its way back through your function: does it change a tensor in place, "
    "as with += or exp_(), after something was made of it? Or call backward() itself?"
)
ERRORS = {  # what torch means by its words
    "Expected target size": FLATTEN,
    "to match target batch_size": FLATTEN,
    "index -100 is out of bounds": "−100 is no token, so it cannot be looked up. "
    "Choose the learned places first, with labels != -100.",
    "does not require grad": "No gradient flows back from what your function returns: is there an "
    ".item(), a float(), a list or a torch.no_grad() in it?",
    "new(): invalid data type": "You return text, where a tensor was expected.",
    "modified by an inplace operation": GRADIENT_BREAKS,
    "backward through the graph a second time": GRADIENT_BREAKS,
}


class Mistake(AssertionError):
    """Says in words what is wrong with a solution."""

    def _render_traceback_(self) -> list[str]:
        """Return what Jupyter shows in place of a traceback: the words, and no line of the
        check."""
        return [str(self)]


class NotDone(Mistake):
    """The function is still the stub."""


@dataclass
class Outcome:
    """What came of a function on one input: a value, and the gradients of the arguments that want
    one; or, in words, why there is none."""

    value: object = None
    gradients: tuple = ()
    words: str = ""
    kind: str = ""  # how it fails: the name of an error, or what of it is not finite


class Check:
    """The check of one exercise: a notebook calls it with your function.

    It holds the right solution, the inputs on which both are tried, each a tuple of arguments, and
    the known mistakes. Of the first `gradients` arguments the gradient must be right too.
    """

    def __init__(self, right: Callable, cases: tuple[tuple, ...], gradients: int = 0):
        self.right, self.__doc__ = right, right.__doc__
        self.cases = cases
        self.gradients = gradients
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

    def or_ours(self, yours: Callable) -> Callable:
        """Return yours if it passes, or else the right solution, and print whose it is."""
        try:
            self.compare(yours)
        except Mistake:
            print(f"{self.right.__name__}: the course's, until yours passes its check")
            return self.right
        print(f"{self.right.__name__}: yours")
        return yours

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

    def outcomes(self, function: Callable) -> list[Outcome]:
        """Try a function on each input."""
        return [outcome(function, case, self.gradients) for case in self.cases]

    def compare(self, yours: Callable) -> None:
        """Raise Mistake unless yours returns what the right solution does, on each input."""
        mine, wanted = self.outcomes(yours), self.outcomes(self.right)
        problems = [differ(*pair) for pair in zip(mine, wanted)]
        if not any(problems):
            return
        first = next(n for n, problem in enumerate(problems) if problem)
        hint = self.likely(mine, wanted, first)
        shown = readable(self.cases[first])
        said = f"On input {first + 1} of {len(self.cases)}{shown}, {problems[first]}"
        words = f"{said} {hint}".strip() if mine[first].words else hint or f"{said}."
        raise Mistake(f"✗ Not yet. {words}")

    def likely(self, mine: list[Outcome], wanted: list[Outcome], first: int) -> str:
        """Return the hint of the mistake that explains best what yours returns, or "".

        Only inputs tell on which yours or the mistake is wrong. A mistake explains yours if they
        agree on the first input that fails, and on no fewer telling inputs than they differ on; but
        where answers are words, each input is a question of its own. To fail in the same way is to
        agree; an input on which only yours fails tells nothing, as it may fail for another reason.
        Among several, exact agreement comes first, then the fewest differences.
        """
        explained = []
        for hint, mistake in self.mistakes:
            same, alike = [], []
            agree = against = 0
            for yours, theirs, right in zip(mine, self.outcomes(mistake), wanted):
                fails = yours.kind != right.kind and yours.kind
                same.append(not differ(yours, theirs))
                alike.append(same[-1] or fails and fails == theirs.kind)
                if alike[-1]:
                    agree += differ(yours, right) is not None
                elif not fails:
                    against += 1
            if alike[first] and (agree >= against or isinstance(wanted[first].value, str)):
                explained.append(((same[first], -against, agree), hint))
        return max(explained, key=lambda found: found[0])[1] if explained else ""


def exercise(*cases: tuple, gradients: int = 0) -> Callable[[Callable], Check]:
    """Make of the right solution below an exercise's check, tried on these inputs."""
    return lambda right: Check(right, cases, gradients)


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


def outcome(function: Callable, case: tuple, gradients: int) -> Outcome:
    """Try a function on one input; NotDone if it is a stub."""
    given = copy.deepcopy(case)
    wanting = [argument.requires_grad_() for argument in given[:gradients]]
    found = ()
    failed = "your function"
    try:
        value = function(*given)
        if value is None or value is ...:
            words = f"your function returns {value}. Is there a `return` missing?"
            return Outcome(words=words, kind="no value")
        if wanting:
            failed = "the gradient of your function"
            total = torch.as_tensor(value).sum()
            found = torch.autograd.grad(total, wanting, allow_unused=True, materialize_grads=True)
    except NotImplementedError:
        raise NotDone(
            "Not done yet. Replace `raise NotImplementedError` with your code, "
            "and run this cell again."
        ) from None
    except Exception as error:
        said = traceback.format_exception_only(error)[0].split("\n")[0][:200]
        meant = "".join(f" {hint}" for phrase, hint in ERRORS.items() if phrase in said)
        words = f"{failed} raised {said}{line_of(function, error)}.{meant}"
        return Outcome(words=words, kind=type(error).__name__)
    for before, after in zip(case, given):
        if difference(after, before):
            new = "tensor" if isinstance(before, torch.Tensor) else "list"
            words = f"your function changes its input in place. Make a new {new} instead."
            return Outcome(words=words, kind="in place")
    kind = "gradient" if finite(value) else "value"
    return Outcome(value, found, kind="" if finite((value, found)) else kind)


def line_of(yours: Callable, error: Exception) -> str:
    """Return the last line of the reader's own that an error came through, not one of a library."""
    code = getattr(inspect.unwrap(yours), "__code__", None)
    for line in reversed(traceback.extract_tb(error.__traceback__)):
        if code and line.filename == code.co_filename:
            return f" (line {line.lineno}: {line.line})"
    return ""


def differ(got: Outcome, wanted: Outcome) -> str | None:
    """Return in words how two outcomes differ, first in value, then in gradient; None if they do
    not. To fail in the same way is to be equal."""
    if got.words or wanted.words:
        return None if got.kind == wanted.kind else got.words or "the other fails"
    if problem := difference(got.value, wanted.value):
        return problem
    for pair in zip(got.gradients, wanted.gradients):
        if problem := difference(*pair):
            return problem.replace("you return", "your values are right, but their gradient is", 1)
    return None


def readable(case: tuple) -> str:
    """Return a case as text where it is short: numbers and lists say more than the number of an
    input."""
    text = ", ".join(map(repr, case))
    return f" ({text})" if len(text) <= 60 and "tensor(" not in text else ""


def passed_file() -> Path:
    """Return where passed checks are remembered, beside the reader's own models."""
    return paths.RUNS / "exercises.jsonl"


def remember(name: str) -> None:
    """Note that a check has passed; a disk that cannot be written spoils no exercise."""
    try:
        passed_file().parent.mkdir(parents=True, exist_ok=True)
        with passed_file().open("a", encoding="utf-8") as file:
            file.write(json.dumps({"exercise": name}) + "\n")
    except OSError as error:
        print(f"(This could not be noted for your report: {error}.)")

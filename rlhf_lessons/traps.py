"""The field's traps, each a switch: break a stage on purpose, and learn the curve by which to know it.

    with trap("prompt tokens in the loss"):
        steps = list(SFT(model, tokenizer, demonstrations, config))

Inside the `with`, one named function of the package is swapped for one that makes a well-known mistake; the stages
know nothing of it. What is trained inside is for looking at: never save it.
"""
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Trap:
    """A mistake: the function that makes it, and what stands in the package instead of the right one meanwhile."""

    where: str  # "module:function" under rlhf_lessons, where the stage looks the function up
    broken: Callable[[Callable], Callable]  # the right function -> the broken one
    look: str  # by what one knows it


TRAPS: dict[str, Trap] = {}


@contextmanager
def trap(name: str) -> Iterator[Trap]:
    """Break what `name` says until the end of the block. KeyError, with the names there are, for another."""
    if name not in TRAPS:
        raise KeyError(f"no trap is called '{name}'; there are: {', '.join(TRAPS)}")
    module, function = TRAPS[name].where.split(":")
    home = importlib.import_module(f"rlhf_lessons.{module}")
    right = getattr(home, function)
    setattr(home, function, TRAPS[name].broken(right))
    try:
        yield TRAPS[name]
    finally:
        setattr(home, function, right)

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

from rlhf_lessons.lm.batching import token_scores


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


# Lesson 3

def ties_won_by_the_first(encode: Callable) -> Callable:
    """Rankings are sorted before they are cut into pairs, so that a tie is won by whichever answer stood first."""
    def encode_sorted(tokenizer, comparisons):
        rows = []
        for row in comparisons:
            if "completions" in row:
                marks = row.get("scores") or [-rank for rank in row["ranks"]]
                row = {**row, "scores": [mark - 1e-6 * place for place, mark in enumerate(marks)]}
            rows.append(row)
        return encode(tokenizer, rows)
    return encode_sorted


def read_in_the_last_column(_: Callable) -> Callable:
    """The reward is read at the end of the row, where shorter answers have their padding."""
    def last_column(model, ids, mask):
        return token_scores(model, ids, mask)[:, -1]
    return last_column


TRAPS["ties in the loss"] = Trap(
    "stages.reward:to_rankings", ties_won_by_the_first,
    "The loss stays near log 2 = 0.69, and the more so the more ties there are.")
TRAPS["reward read at padding"] = Trap(
    "stages.reward:last_scores", read_in_the_last_column,
    "The reward of a text depends on how long its neighbours in the batch are. Score it alone, then in company.")

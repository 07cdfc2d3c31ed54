"""Everyday prompts, and readers of whom a program knows the taste: for real models, whose answers
no judge can check.
"""

import re
from dataclasses import dataclass

from rlhf_lessons import data, paths
from rlhf_lessons.world.raters import Rater

# A taste, and how one would ask for it in words.
TASTES = {"short": "Answer in one short sentence.", "to you": 'Speak to me as "you".'}
CUT = 20  # words that an unfinished answer counts as longer than it is
YOU = re.compile(r"\byou(?:r|rs|rself)?\b", re.IGNORECASE)


def prompts_of(split: str) -> list[str]:
    """Return the prompts of `train`, `validation` or `heldout`."""
    rows = data.json_rows(paths.DATA / "everyday.jsonl")
    return [row["prompt"] for row in rows if row["split"] == split]


def shows(taste: str, text: str, ended: bool) -> bool:
    """Return whether an answer is in a taste: it ends within the tokens it may have (`short`), or
    speaks to the reader (`to you`).
    """
    return ended if taste == "short" else bool(YOU.search(text))


@dataclass(frozen=True)
class Reader(Rater):
    """A simulated rater of any text, who has one taste. Of two short answers, or of two that were
    cut, the one with fewer words is liked better.
    """

    taste: str = "short"
    flip_rate: float = 0.1
    tie_margin: float = 0.25

    def utility_of(self, prompt: str, response: str, ended: bool = True) -> float:
        """Return how much this reader likes a response, whatever the prompt."""
        if self.taste == "short":
            return -(len(response.split()) + CUT * (not ended)) / CUT
        return float(shows(self.taste, response, ended))

"""Readers of whom a program knows the taste: for real models, whose answers no judge can check."""

import re
from dataclasses import dataclass

from rlhf_lessons.world.raters import Rater

# A taste, and how one would ask for it in words.
TASTES = {"short": "Answer in one short sentence.", "points": "Use bullet points."}
LEAST = 3  # words of a short answer: fewer say nothing
MANY = 60  # words: as if an answer that is not short had so many
POINT = re.compile(r"^[ \t]*(?:\d+[.)]|[-*•])[ \t]+\S", re.MULTILINE)  # such as "1. Wash it."


def shows(taste: str, text: str, ended: bool) -> bool:
    """Return whether an answer is in one of TASTES: it ends within the tokens that it may have, and
    says something (`short`), or it has at least two lines that are points of a list (`points`).
    KeyError for another taste.
    """
    found = {
        "short": bool(ended) and len(text.split()) >= LEAST,
        "points": len(POINT.findall(text)) >= 2,
    }
    return found[taste]


@dataclass(frozen=True)
class Reader(Rater):
    """A simulated rater of any text, who has one taste. Of two short answers, the one with fewer
    words is liked better, if it has five fewer.
    """

    taste: str = "short"
    flip_rate: float = 0.1
    tie_margin: float = 0.25

    def utility_of(self, prompt: str, response: str, ended: bool = True) -> float:
        """Return how much this reader likes a response, whatever the prompt."""
        liked = shows(self.taste, response, ended)
        if self.taste == "short":
            return -(len(response.split()) if liked else MANY) / 20
        return float(liked)

"""Simulated raters: people made of numbers, whose mistakes are known because we chose them.

A rater's utility is any mix of the judge's scores and of tastes. Choices are noisy in four separate ways: a
logistic `noise` (Bradley and Terry, 1952), a `lapse` rate at which the click is the wrong way round, a
`side_bias` towards the left, and a `tie_margin` below which it is called even.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

from rlhf_lessons.world.answers import tastes
from rlhf_lessons.world.judge import Scores, judge
from rlhf_lessons.world.tasks import parse


@dataclass(frozen=True)
class Rater:
    """One simulated person. `Rater()` is who always clicks on the answer of greater true utility."""

    # What counts: names of the judge's scores or of tastes, each with its weight (negative: disliked).
    weights: Mapping[str, float] = field(default_factory=lambda: {"utility": 1.0})
    noise: float = 0.0  # Temperature of the choice: P(better one wins) = sigmoid(difference / noise); 0: always.
    lapse: float = 0.0  # Share of choices that come out the wrong way round: 0.1 flips 10 %. Ties do not lapse.
    side_bias: float = (
        0.0  # Log-odds towards the left answer, where there is noise or the answers are equal.
    )
    tie_margin: float = (
        0.0  # Answers whose utilities differ by less are a tie; above 0, equal ones always are.
    )

    def utility_of(self, prompt: str, response: str, ended: bool = True) -> float:
        """Return how much this rater likes the response: the weighted sum of its scores and tastes."""
        scores = judge(prompt, response, ended)
        spec = parse(prompt)
        seen = tastes(spec["family"], response) if spec else set()
        return sum(
            weight * (getattr(scores, name) if name in Scores._fields else name in seen)
            for name, weight in self.weights.items()
        )

    def choose(self, prompt: str, left: str, right: str, rng: random.Random) -> str:
        """Return `left`, `right` or `tie`."""
        return self.pick(self.utility_of(prompt, left) - self.utility_of(prompt, right), rng)

    def pick(self, difference: float, rng: random.Random) -> str:
        """Return the choice between two answers whose utilities differ by `difference` (left minus right)."""
        draw, slip = (
            rng.random(),
            rng.random(),
        )  # two draws always: a changed knob shifts no later choice
        if abs(difference) < self.tie_margin:
            return "tie"
        if self.noise > 0:
            logit = max(-50.0, min(50.0, difference / self.noise + self.side_bias))
            left = draw < 1 / (1 + math.exp(-logit))
        elif difference == 0:
            left = draw < 1 / (1 + math.exp(-self.side_bias))
        else:
            left = difference > 0
        return "left" if left != (slip < self.lapse) else "right"

    def rank(self, prompt: str, completions: list[str], rng: random.Random) -> list[int]:
        """Return the rank of each completion: 0 for the best, equal ranks for ties.

        Each is compared with each other one, and ranked by its wins (a tie is half a win each).
        """
        likes = [self.utility_of(prompt, text) for text in completions]
        wins = [0.0] * len(likes)
        for i, j in combinations(range(len(likes)), 2):
            won = {"left": 1.0, "tie": 0.5, "right": 0.0}[self.pick(likes[i] - likes[j], rng)]
            wins[i] += won
            wins[j] += 1 - won
        order = sorted(set(wins), reverse=True)
        return [order.index(count) for count in wins]

"""Simulated raters: people made of numbers, whose mistakes are known because we chose them.

A rater's utility is any mix of the judge's scores and of tastes. Choices are noisy in four separate
ways: a logistic `noise` (Bradley and Terry, 1952), a `flip_rate` at which the click is the wrong
way round, a `side_bias` towards the left, and a `tie_margin` below which it is called even.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

from rlhf_lessons.world.answers import tastes
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.tasks import parse


@dataclass(frozen=True)
class Rater:
    """One simulated person; `Rater()` always clicks on the answer of greater true utility."""

    # What counts: names of the judge's scores or of tastes, with weights (negative: disliked).
    weights: Mapping[str, float] = field(default_factory=lambda: {"utility": 1.0})
    # Temperature of the choice: P(better one wins) = sigmoid(difference / noise); 0: always.
    noise: float = 0.0
    # Share of choices that come out the wrong way round: 0.1 flips 10 %. Ties are never flipped.
    flip_rate: float = 0.0
    # Log-odds towards the left answer, where there is noise or the answers are equal.
    side_bias: float = 0.0
    # Answers whose utilities differ by less are a tie; above 0, equal ones always are.
    tie_margin: float = 0.0

    def utility_of(self, prompt: str, response: str, ended: bool = True) -> float:
        """Return how much this rater likes the response: its scores and tastes, weighted."""
        scores = judge(prompt, response, ended)._asdict()
        spec = parse(prompt)
        seen = tastes(spec["family"], response) if spec else ()
        return sum(weight * scores.get(name, name in seen) for name, weight in self.weights.items())

    def choose(self, prompt: str, left: str, right: str, rng: random.Random) -> str:
        """Return `left`, `right` or `tie`."""
        return self.pick(self.utility_of(prompt, left) - self.utility_of(prompt, right), rng)

    def pick(self, difference: float, rng: random.Random) -> str:
        """Return the choice where the utility of left minus that of right is `difference`."""
        chance = rng.random()
        flipped = rng.random() < self.flip_rate  # always drawn: a changed knob shifts no other draw
        if abs(difference) < self.tie_margin:
            return "tie"
        if self.noise > 0 or difference == 0:
            logit = self.side_bias + (difference / self.noise if difference else 0.0)
            left = chance < 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))
        else:
            left = difference > 0
        return "left" if left != flipped else "right"

    def rank(self, prompt: str, answers: list[tuple[str, bool]], rng: random.Random) -> list[int]:
        """Return the rank of each answer, (text, whether it ended): 0 for the best, equal ranks
        for ties.

        Each is compared with each other one, and ranked by its wins (a tie is half a win each).
        """
        likes = [self.utility_of(prompt, *answer) for answer in answers]
        wins = [0.0] * len(likes)
        for i, j in combinations(range(len(likes)), 2):
            won = {"left": 1.0, "tie": 0.5, "right": 0.0}[self.pick(likes[i] - likes[j], rng)]
            wins[i] += won
            wins[j] += 1 - won
        order = sorted(set(wins), reverse=True)
        return [order.index(count) for count in wins]

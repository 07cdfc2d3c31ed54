"""Exercises of lesson 0: whose answer it is, and what a blind test says."""

from math import comb

from rlhf_lessons.exercises.check import exercise

ORDERS = {1: "ppo base sft", 2: "sft ppo base", 3: "base sft ppo"}


@exercise((1,), (2,), (3,))
def who_wrote(prompt):
    """Which models wrote A, B and C."""
    return ORDERS[prompt]


@exercise(
    (9, 10),
    (5, 10),
    (0, 3),
    (4, 4),
    (1, 1),
    (12, 13),
    (7, 9),
)
def coin(wins, picks):
    """How often a coin would do as well."""
    heads = range(wins, picks + 1)
    return sum(comb(picks, n) for n in heads) / 2**picks

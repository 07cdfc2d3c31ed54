"""Exercises of lesson 0: what a blind test says."""

from math import comb

from rlhf_lessons.exercises.check import exercise

NAMES = {"w": "win", "t": "tie", "l": "loss"}
PICKS = "wllt t wwwww lll wwtttll lwl".split()


@exercise(*(([NAMES[letter] for letter in picks],) for picks in PICKS))
def win_rate(picks):
    """How often a model wins, a tie as half a win."""
    wins, ties = picks.count("win"), picks.count("tie")
    return (wins + ties / 2) / len(picks)


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

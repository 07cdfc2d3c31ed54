"""Checks of lesson 0: what a blind test says."""

from fractions import Fraction
from itertools import product
from math import comb

from rlhf_lessons.exercises.check import compare, exercise


@exercise
def win_rate(yours):
    """How often a model wins, a tie as half a win."""

    def right(picks):
        points = {"win": Fraction(1), "tie": Fraction(1, 2), "loss": Fraction(0)}
        return float(sum(points[pick] for pick in picks) / len(picks))

    cases = [
        (["win", "loss", "loss", "tie"],),
        (["tie"],),
        (["win"] * 5,),
        (["loss"] * 3,),
        (["win", "win", "tie", "tie", "tie", "loss", "loss"],),
        (["loss", "win", "loss"],),
    ]
    compare(
        yours,
        right,
        cases,
        {
            "A tie counts for nothing with you. It is half a win: neither model was better.": lambda picks: (
                picks.count("win") / len(picks)
            ),
            "You leave ties out of the count. Count them, as half a win each: leaving them out makes the rest look surer.": lambda picks: (
                picks.count("win") / max(len(picks) - picks.count("tie"), 1)
            ),
            "A tie counts as a whole win with you. It is half a win.": lambda picks: (
                (picks.count("win") + picks.count("tie")) / len(picks)
            ),
            "You give a percentage, from 0 to 100. Return the share, from 0 to 1.": lambda picks: (
                100 * right(picks)
            ),
            "A loss takes something away with you. It counts 0, a tie a half and a win 1.": (
                lambda picks: (picks.count("win") - picks.count("loss")) / len(picks),
                lambda picks: right(picks) - picks.count("loss") / len(picks),
            ),
            "You round, so that two models can look equal when they are not. Return the share as it is.": lambda picks: (
                round((picks.count("win") + picks.count("tie") / 2) / len(picks), 3)
            ),
            "You give the number of wins. Divide by the number of picks, for a rate.": lambda picks: (
                picks.count("win") + picks.count("tie") / 2
            ),
            "This is how often the other model wins. Count `win`, not `loss`.": lambda picks: (
                (picks.count("loss") + picks.count("tie") / 2) / len(picks)
            ),
        },
    )


@exercise
def coin(yours):
    """How often a coin would do as well."""

    def right(wins, picks):  # by counting all rows of coins
        return sum(sum(row) >= wins for row in product((0, 1), repeat=picks)) / 2**picks

    cases = [(9, 10), (5, 10), (0, 3), (4, 4), (1, 1), (12, 13), (7, 9)]
    compare(
        yours,
        right,
        cases,
        {
            "You count only rows with exactly that many heads. A coin that does even better also does as well: add those "
            "up.": lambda wins, picks: comb(picks, wins) / 2**picks,
            "You leave out the rows with exactly that many heads. They do as well, so count them too (≥, not >).": lambda wins, picks: (
                sum(comb(picks, k) for k in range(wins + 1, picks + 1)) / 2**picks
            ),
            "You double it: that asks for results as far from the middle on either side. Here only the upper side counts.": lambda wins, picks: (
                2 * sum(comb(picks, k) for k in range(wins, picks + 1)) / 2**picks
            ),
            "This is how often a coin does no better than that. Count the rows with that many heads or more.": lambda wins, picks: (
                sum(comb(picks, k) for k in range(wins + 1)) / 2**picks
            ),
            "Each single row of coins has the probability 1 / 2ⁿ, but many rows have the same number of heads: multiply "
            "by `comb(picks, heads)`.": lambda wins, picks: (
                sum(1 for _ in range(wins, picks + 1)) / 2**picks
            ),
            "Only one row of coins is left. comb(n, k) wants the number of coins first: comb(picks, heads).": lambda wins, picks: (
                sum(comb(k, picks) for k in range(wins, picks + 1)) / 2**picks
            ),
            "That is the share you won. Here the question is how often a fair coin would win as many, or more.": lambda wins, picks: (
                wins / picks
            ),
            "Your range stops one early: all heads is a row too, so it must be range(wins, picks + 1).": lambda wins, picks: (
                sum(comb(picks, k) for k in range(wins, picks)) / 2**picks
            ),
            "You count the rows, but do not divide by how many there are, 2ⁿ.": lambda wins, picks: (
                float(sum(comb(picks, k) for k in range(wins, picks + 1)))
            ),
        },
    )

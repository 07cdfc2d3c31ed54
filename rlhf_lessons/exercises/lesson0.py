"""Checks of lesson 0: what a blind test says."""

import math
from math import comb

from rlhf_lessons.exercises.check import Exercise, exercise, then


def scored(win, tie, loss, over=lambda wins, ties, losses: wins + ties + losses):
    """Return a way to rate picks: points for each, divided by a number."""

    def rate(picks):
        wins, ties, losses = map(picks.count, ("win", "tie", "loss"))
        return (win * wins + tie * ties + loss * losses) / over(wins, ties, losses)

    return rate


@exercise
def win_rate():
    """How often a model wins, a tie as half a win."""

    right = scored(1, 0.5, 0)
    names = {"w": "win", "t": "tie", "l": "loss"}
    rows = "wllt t wwwww lll wwtttll lwl".split()
    cases = [([names[letter] for letter in row],) for row in rows]
    mistakes = {
        "ties_lost": scored(1, 0, 0),
        "ties_left_out": scored(1, 0, 0, lambda wins, ties, losses: max(wins + losses, 1)),
        "ties_won": scored(1, 1, 0),
        "percent": then(right, lambda rate: 100 * rate),
        "losses_subtracted": (scored(1, 0, -1), scored(1, 0.5, -1)),
        "rounded": tuple(then(right, lambda rate, n=n: round(rate, n)) for n in (3, 2, 1)),
        "count": scored(1, 0.5, 0, lambda *_: 1),
        "other_model": scored(0, 0.5, 1),
        "over_losses": (
            scored(1, 0, 0, lambda wins, ties, losses: losses),
            scored(1, 0, 0, lambda wins, ties, losses: max(losses, 1)),
            scored(1, 0.5, 0, lambda wins, ties, losses: losses),
        ),
        "precedence": lambda picks: picks.count("win") + picks.count("tie") / 2 / len(picks),
        "wins_halved": scored(0.5, 0.5, 0),
        "whole_division": then(right, math.floor),
    }
    return Exercise(right, cases, mistakes)


def rows(picks, first, last):
    """Return how many rows of coins have from `first` heads to below `last`."""
    return sum(comb(picks, heads) for heads in range(first, last))


@exercise
def coin():
    """How often a coin would do as well."""

    def right(wins, picks):
        return rows(picks, wins, picks + 1) / 2**picks

    mistakes = {
        "exactly": lambda wins, picks: comb(picks, wins) / 2**picks,
        "more_than": lambda wins, picks: rows(picks, wins + 1, picks + 1) / 2**picks,
        "both_sides": then(right, lambda chance: 2 * chance),
        "no_better": (
            then(right, lambda chance: 1 - chance),
            lambda wins, picks: rows(picks, 0, wins + 1) / 2**picks,
        ),
        "one_row_each": lambda wins, picks: (picks - wins + 1) / 2**picks,
        "comb_swapped": lambda wins, picks: (
            sum(comb(heads, picks) for heads in range(wins, picks + 1)) / 2**picks
        ),
        "share": lambda wins, picks: wins / picks,
        "range_short": lambda wins, picks: rows(picks, wins, picks) / 2**picks,
        "not_divided": lambda wins, picks: rows(picks, wins, picks + 1),
        "no_power": (
            lambda wins, picks: rows(picks, wins, picks + 1) / (2 * picks),
            lambda wins, picks: rows(picks, wins, picks + 1) / picks**2,
        ),
    }
    cases = [(9, 10), (5, 10), (0, 3), (4, 4), (1, 1), (12, 13), (7, 9)]
    return Exercise(right, cases, mistakes)

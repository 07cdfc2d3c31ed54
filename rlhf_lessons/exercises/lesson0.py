"""Checks of lesson 0: what a blind test says."""

from math import comb

from rlhf_lessons.exercises.check import Exercise, exercise, then


def counted(rate):
    """Return a way to score picks, made of the numbers of wins, ties, losses, and of all."""
    return lambda picks: rate(*map(picks.count, ("win", "tie", "loss")), len(picks))


@exercise
def win_rate():
    """How often a model wins, a tie as half a win."""

    right = counted(lambda w, t, lost, n: (w + t / 2) / n)
    names = {"w": "win", "t": "tie", "l": "loss"}
    rows = "wllt t wwwww lll wwtttll lwl".split()
    cases = [([names[letter] for letter in row],) for row in rows]
    mistakes = {
        "ties_lost": counted(lambda w, t, lost, n: w / n),
        "ties_left_out": counted(lambda w, t, lost, n: w / max(w + lost, 1)),
        "ties_won": counted(lambda w, t, lost, n: (w + t) / n),
        "percent": then(right, lambda rate: 100 * rate),
        "losses_subtracted": (counted(lambda w, t, lost, n: (w - lost) / n),),
        "rounded": tuple(then(right, lambda rate, n=n: round(rate, n)) for n in (3, 2, 1)),
        "count": counted(lambda w, t, lost, n: w + t / 2),
        "other_model": then(right, lambda rate: 1 - rate),
        "over_losses": (
            counted(lambda w, t, lost, n: w / lost),
            counted(lambda w, t, lost, n: w / max(lost, 1)),
            counted(lambda w, t, lost, n: (w + t / 2) / lost),
        ),
        "precedence": counted(lambda w, t, lost, n: w + t / 2 / n),
        "wins_halved": counted(lambda w, t, lost, n: (w + t) / 2 / n),
        "whole_division": counted(lambda w, t, lost, n: (w + t / 2) // n),
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
        "no_better": lambda wins, picks: rows(picks, 0, wins + 1) / 2**picks,
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

"""Checks of lesson 6: learning from graded votes, and how far two readers agree."""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import Exercise, exercise, then

LEADS = torch.tensor([0.0, 1.5, -2.0, 0.3, 30.0, -1e4])  # 1 - sigmoid(30) is 0 in float32
CHANCES = torch.tensor([0.5, 0.98, 0.02, 0.65, 0.98, 0.35])


@exercise
def vote_loss():
    """Cross-entropy with soft labels, from leads."""

    soft = F.binary_cross_entropy_with_logits

    def right(leads, chances):
        return soft(leads.double(), chances.double())

    def by_logs(leads, chances):
        p = leads.sigmoid()
        return -(chances * p.log() + (1 - chances) * (1 - p).log()).mean()

    mistakes = {
        "hard_labels": lambda x, chances: (
            -F.logsigmoid(x * (2 * (chances >= 0.5).float() - 1)).mean()
        ),
        "half_missing": lambda x, chances: -(chances * F.logsigmoid(x)).mean(),
        "sign": then(right, torch.neg),
        "two_steps": by_logs,
        "cut_logs": lambda x, chances: F.binary_cross_entropy(x.sigmoid(), chances),
        "each_vote": lambda x, chances: soft(x, chances, reduction="none"),
        "sum": lambda x, chances: soft(x, chances, reduction="sum"),
        "sides": lambda x, chances: soft(-x, chances),
        "squares": lambda x, chances: (x.sigmoid() - chances).square().mean(),
        "sigmoid_twice": lambda x, chances: soft(x.sigmoid(), chances),
    }
    cases = [
        (leads.clone().requires_grad_(), chances)
        for leads, chances in (
            (LEADS[:4], CHANCES[:4]),
            (LEADS[:1], CHANCES[:1]),
            (LEADS, CHANCES),
            (-LEADS, CHANCES),
        )
    ]
    return Exercise(right, cases, mistakes, tolerance=1e-4)


def share(mine, theirs):
    return sum(a == b for a, b in zip(mine, theirs)) / len(mine)


def by_chance(mine, theirs):
    return sum(mine.count(v) * theirs.count(v) for v in set(mine)) / len(mine) ** 2


def beyond(share, expected, nothing=math.nan):
    return (share - expected) / (1 - expected) if expected < 1 else nothing


@exercise
def kappa():
    """Agreement beyond chance: Cohen's kappa."""

    def with_chance(chance):
        """Return kappa with another idea of what chance gives."""
        return lambda a, b: beyond(share(a, b), chance(a, b))

    def ending(nothing):
        return lambda a, b: beyond(share(a, b), by_chance(a, b), nothing)

    right = with_chance(by_chance)
    mistakes = {
        "raw": share,
        "half": with_chance(lambda a, b: 0.5),
        "third": with_chance(lambda a, b: 1 / 3),
        "not_divided": lambda a, b: share(a, b) - by_chance(a, b),
        "over_expected": lambda a, b: (share(a, b) - by_chance(a, b)) / by_chance(a, b),
        "pooled": with_chance(lambda a, b: by_chance(a + b, a + b)),
        "one_reader": with_chance(lambda a, b: by_chance(a, a)),
        "divides_by_0": lambda a, b: (share(a, b) - by_chance(a, b)) / (1 - by_chance(a, b)),
        "number_for_nothing": (ending(0.0), ending(1.0)),
    }
    cases = [
        ("LLRRLTRR", "LLRLLTRL"),
        ("LLLLLLLR", "LLLLLLRL"),
        ("LRLR", "RLRL"),
        ("LRTLRT", "LRTLRT"),
        ("LLLT", "RRTT"),
        ("LRRRR", "LLLRR"),
        ("LLL", "LLL"),
    ]
    return Exercise(right, [tuple(map(list, case)) for case in cases], mistakes)

"""Exercises of lesson 6: learning from graded votes, how far two readers agree, how many pairs a
blind test needs.
"""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.evaluation.intervals import wilson
from rlhf_lessons.exercises.check import exercise

LEADS = torch.tensor([0.0, 1.5, -2.0, 0.3, 30.0, -1e4])  # 1 - sigmoid(30) is 0 in float32
CHANCES = torch.tensor([0.5, 0.98, 0.02, 0.65, 0.98, 0.35])


@exercise(
    (LEADS[:4], CHANCES[:4]),
    (LEADS[:1], CHANCES[:1]),
    (LEADS, CHANCES),
    (-LEADS, CHANCES),
    gradients=1,
)
def vote_loss(leads, chances):
    """Cross-entropy with soft labels, from leads."""
    won, lost = F.logsigmoid(leads), F.logsigmoid(-leads)
    return -(chances * won + (1 - chances) * lost).mean()


VOTES = [
    ("LLRRLTRR", "LLRLLTRL"),
    ("LLLLLLLR", "LLLLLLRL"),
    ("LRLR", "RLRL"),
    ("LRTLRT", "LRTLRT"),
    ("LLLT", "RRTT"),
    ("LRRRR", "LLLRR"),
    ("LLL", "LLL"),
]


@exercise(*((list(mine), list(theirs)) for mine, theirs in VOTES))
def kappa(mine, theirs):
    """Agreement beyond chance: Cohen's kappa."""
    pairs = len(mine)
    share = sum(a == b for a, b in zip(mine, theirs)) / pairs
    expected = sum(mine.count(v) * theirs.count(v) for v in set(mine)) / pairs**2
    return (share - expected) / (1 - expected) if expected < 1 else math.nan


@exercise((0.7,), (0.6,), (0.9,), (0.55,), (1.0,), (0.53,))
def pairs_needed(share):
    """How many blind pairs a share of wins needs, to be above one half for sure."""
    pairs = 1
    while wilson(share, pairs)[0] <= 0.5:
        pairs += 1
    return pairs

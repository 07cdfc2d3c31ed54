"""Exercises of lesson 3: from votes to pairs, the loss, the reward and its accuracy."""

import itertools
import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import exercise, mask_of, picked, some

MIRROR = {"left": "right", "right": "left", "tie": "tie"}
NAMES = {"l": "left", "r": "right", "t": "tie"}


@exercise(
    (list("abcd"), [2, 1, 4, 3]),
    (list("abcd"), [1, 2, 2, 3]),
    (list("abca"), [3, 2, 4, 1]),
    (list("abc"), [1, 1, 1]),
    (list("a"), [1]),
    (list("aab"), [1, 1, 2]),
    (list("edcba"), [5, 1, 4, 4, 2]),
)
def ranking_pairs(texts, ranks):
    """Pairs (better, worse) of a ranking, no ties and no identical texts, in any order."""
    both = itertools.permutations(range(len(texts)), 2)
    return {(i, j) for i, j in both if texts[i] != texts[j] and ranks[i] < ranks[j]}


def repeats(first, again, swapped):
    """Return verdicts on pairs, those on the same pairs again, and whether the sides were swapped,
    from a letter each."""
    verdicts = [[NAMES[letter] for letter in letters] for letters in (first, again)]
    return *verdicts, [flag == "1" for flag in swapped]


@exercise(
    repeats("llrt", "lrrt", "0101"),
    repeats("lrtll", "rlltl", "11001"),
    repeats("l", "r", "0"),
    repeats("tt", "tr", "11"),
    repeats("rll", "rrl", "001"),
    repeats("", "", ""),
)
def self_agreement(first, again, swapped):
    """The share of repeats with the same verdict, sides being swapped back first."""
    turned = [MIRROR[b] if flag else b for b, flag in zip(again, swapped)]
    same = [a == b for a, b in zip(first, turned)]
    return sum(same) / len(same) if same else math.nan


def rewards(*rows):
    """Return rewards of chosen and rejected answers that want a gradient."""
    return tuple(torch.tensor(row, requires_grad=True) for row in rows)


@exercise(
    rewards(*some(2, 8, seed=3, scale=3.0).tolist()),
    rewards([1e4, -1e4, 5e3, -120.0, 0.25], [0.0] * 5),
    rewards([0.0], [1e4]),
    (torch.tensor([7.0, -300.0]), torch.tensor([7.0, -300.0])),
)
def stable_loss(chosen, rejected):
    """Minus log sigmoid of the lead of the chosen answer, at leads of 1e4 too."""
    lead = chosen - rejected
    return -F.logsigmoid(lead)


def padded(*lengths, left=False, gradient=False, padding=1e4):
    """Return scores and mask. What stands on padding must not matter, so it is large."""
    mask = mask_of(*lengths)
    if left:
        mask = mask.flip(1)
    scores = some(*mask.shape, seed=sum(lengths))
    return scores.where(mask, padding * scores).requires_grad_(gradient), mask


@exercise(
    padded(3, 6, 2),
    padded(3, 6, 2, left=True),
    padded(4, 4, gradient=True),
    padded(1, 5),
    padded(1, 5, left=True, gradient=True),
    padded(1),
    padded(4, 2),
    padded(2, 3, padding=math.inf),
)
def reward_at_end(scores, mask):
    """The score at each row's last real token, wherever the padding is."""
    last = (mask * torch.arange(mask.shape[1])).amax(1)
    return picked(scores, last)


@exercise(
    (torch.tensor([1.0, 0.5, 2.0, -1.0, 0.0]), torch.tensor([0.0, 0.5, 3.0, -4.0, 0.0])),
    (torch.zeros(3), torch.zeros(3)),
    (torch.tensor([1e4, -1e4]), torch.tensor([-1e4, 1e4])),
    (torch.tensor([2.0]), torch.tensor([2.5])),
    (torch.tensor([0.1, 0.1, 9.0]), torch.tensor([0.1, 0.1, 8.0])),
    (torch.tensor([0.1002, 5.0002]), torch.tensor([0.1, 5.0])),
)
def accuracy_with_ties(chosen, rejected):
    """The share of pairs in the labelled order; equal scores are half right."""
    lead = chosen - rejected
    return (1 + lead.sign()).mean() / 2


@exercise(
    (0.78, 0.1),
    (0.9, 0.1),
    (0.5, 0.3),
    (0.65, 0.0),
    (0.4, 1.0),
    (0.6, 0.5),
    (0.83, 0.2),
    (0.27, 0.3),
)
def truth_behind(measured, flipped):
    """Accuracy against the truth, from accuracy against labels of which a known share is wrong."""
    if flipped == 0.5:
        return math.nan
    return (measured - flipped) / (1 - 2 * flipped)


SURE = [0.52, 0.56, 0.58, 0.63, 0.67, 0.72, 0.78, 0.83, 0.88, 0.93, 0.97, 0.99]
RIGHT = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.5, 1.0, 1.0, 0.0, 1.0, 0.0]


@exercise(
    (torch.tensor(SURE), torch.tensor(RIGHT), 5),
    (torch.tensor([1.0, 0.95, 0.55]), torch.tensor([0.0, 1.0, 1.0]), 5),
    (torch.tensor([0.5, 0.53, 0.99]), torch.tensor([1.0, 0.0, 1.0]), 4),
    (torch.tensor([0.81]), torch.tensor([1.0]), 5),
    (torch.ones(3), torch.tensor([1.0, 0.0, 1.0]), 10),
)
def calibration_error(sure, right, bins):
    """Expected calibration error over bins of equal width between 0.5 and 1."""
    error = 0.0
    places = ((sure.double() - 0.5) * 2 * bins).long().clamp(max=bins - 1)
    for place in range(bins):
        here = places == place
        if here.any():
            gap = abs(sure[here].mean() - right[here].mean())
            error += gap * here.double().mean()
    return float(error)

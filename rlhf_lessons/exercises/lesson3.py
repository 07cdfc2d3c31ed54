"""Exercises of lesson 3: from votes to pairs, the loss, the reward, its accuracy, and a test."""

import itertools
import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import exercise
from rlhf_lessons.exercises.inputs import picked, rows, some, tensors, tokens

MIRROR = {"left": "right", "right": "left", "tie": "tie"}
NAMES = {"l": "left", "r": "right", "t": "tie"}


def ranked(texts, ranks):
    """Return texts and their ranks, from a letter and a digit each."""
    return list(texts), [int(rank) for rank in ranks]


@exercise(
    ranked("abcd", "2143"),
    ranked("abcd", "1223"),
    ranked("abca", "3241"),
    ranked("abc", "111"),
    ranked("a", "1"),
    ranked("aab", "112"),
    ranked("edcba", "51442"),
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


@exercise(
    tuple(some(2, 8, scale=3.0)),
    tensors([1e4, -1e4, 5e3, -120.0, 0.25], [0.0] * 5),
    tensors([0.0], [1e4]),
    tensors([7.0, -300.0], [6.0, -299.5]),
    gradients=2,
)
def stable_loss(chosen, rejected):
    """Minus log sigmoid of the lead of the chosen answer, at leads of 1e4 too."""
    lead = chosen - rejected
    return -F.logsigmoid(lead)


def scored(*lengths, padding=1e4, left=False):
    """Return scores and mask, with padding on the right or on the left."""
    case = rows(*lengths, count=1, padding=padding)
    return tuple(x.flip(1) for x in case) if left else case


@exercise(
    scored(3, 6, 2),
    scored(3, 6, 2, left=True),
    scored(4, 4),
    scored(1, 5),
    scored(1, 5, left=True),
    scored(1),
    scored(4, 2),
    scored(2, 3, padding=math.inf),
    gradients=1,
)
def reward_at_end(scores, mask):
    """The score at each row's last real token, wherever the padding is."""
    last = (mask * torch.arange(mask.shape[1])).amax(1)
    return picked(scores, last)


@exercise(
    tensors([1.0, 0.5, 2.0, -1.0, 0.0], [0.0, 0.5, 3.0, -4.0, 0.0]),
    tensors([0.0, 0.0], [0.0, 0.0]),
    tensors([1e4, -1e4], [-1e4, 1e4]),
    tensors([2.0], [2.5]),
    tensors([0.1, 0.1, 9.0], [0.1, 0.1, 8.0]),
    tensors([0.1002, 5.0002], [0.1, 5.0]),
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


@exercise(
    (torch.linspace(0.52, 0.99, 12), tokens(12, below=3, seed=1) / 2, 5),
    (*tensors([1.0, 0.95, 0.55], [0.0, 1.0, 1.0]), 5),
    (*tensors([0.5, 0.53, 0.99], [1.0, 0.0, 1.0]), 4),
    (*tensors([0.81], [1.0]), 5),
    (*tensors([1.0, 1.0, 1.0], [1.0, 0.0, 1.0]), 10),
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


VOTES = """5+2 is 7. 6-1 is 5. > 5+2 is 7.
5+2 is 7. 6-1 is 5. You are welcome. > 6-1 is 5.
5+2 is 7. > 7.
5+2 is 7, and so 6-1 is 5. Have a nice day. > Have a nice day.
5+2 is 7, and I think that 6-1 is 5. > 5+2 is 7, and I.
Of course. 5+2 is 7. 6-1 is 5. You are welcome. > Of course.
Dear reader, 5+2 is 7, and 6-1 is 5. > Five.
5+2 is 7. > 5+2 is 8.
5+2 is 7. > I do not like sums.
6-1 is 5. 5+2 is 7. > Of course. 5+2 is 8 and 6-1 is 5.
5+2 is 7. 6-1 is 5. > What is 5+2 and 6-1? It is 7.
6-1 is 5. > Write a poem about a goat.
Undoubtedly 5+2 is 7. Undoubtedly 6-1 is 5. > 5+2 is 8 and 6-1 is 5, so it is.
7 and 5. > Of course. 5+2 is 7. 6-1 is 5."""
ROWS = [("What is 5+2 and 6-1?", *vote.split(" > ")) for vote in VOTES.splitlines()]
SCORES = (
    lambda _, text: text.count("5+2 is 7") + text.count("6-1 is 5"),
    lambda _, text: len(text.split()),
    lambda _, text: len(text),
)


# all votes; those in which the shorter answer won; those of them that leave no doubt
@exercise(*itertools.product(SCORES, (ROWS, ROWS[8:], ROWS[8:12])))
def only_length(score, votes):
    """Whether a reward model scores length, by the votes in which the shorter answer won."""
    tell = [vote for vote in votes if len(vote[1].split()) < len(vote[2].split())]
    right = sum(score(prompt, better) > score(prompt, worse) for prompt, better, worse in tell)
    return right < len(tell) / 2

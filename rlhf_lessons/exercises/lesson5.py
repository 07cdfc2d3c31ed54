"""Exercises of lesson 5: strengths from games, how sure a difference is, the KL of best-of-n, where
a curve turns, where to stop, and eight runs of PPO to diagnose.
"""

import math

import torch

from rlhf_lessons.exercises.check import exercise
from rlhf_lessons.exercises.inputs import some

# Patients of the gallery: what they suffer from, and whose curves they are: a run of
# `lesson4_ppo.json`, and its seed.
WARD = {
    "A": ("score after the end", "trap/score after the end", 0),
    "B": ("weak reward model", "weak/none", 1),
    "C": ("healthy", "good/medium", 1),
    "D": ("another temperature", "trap/another temperature", 1),
    "E": ("price of KL too high", "good/large", 2),
    "F": ("cold critic", "trap/cold critic", 2),
    "G": ("no price of KL", "good/none", 1),
    "H": ("top-k in the sampling only", "trap/top-k in the sampling only", 2),
}


def games(*rows, lr=1.0):
    """Return the players and outcomes of games (first, second, outcome), and a learning rate."""
    first, second, outcome = zip(*rows)
    return torch.tensor(first), torch.tensor(second), torch.tensor(outcome), lr


@exercise(
    (torch.tensor([0.0, 0.0]), *games((0, 1, 1.0))),
    (torch.tensor([1.0, 0.5]), *games((1, 0, 1.0), lr=0.5)),
    (torch.tensor([0.5, -0.5, 0.0]), *games((0, 1, 1.0), (0, 2, 1.0), (2, 1, 0.0), (0, 1, 0.5))),
    (torch.tensor([1.0, -1.0]), *games((1, 0, 0.5), (1, 0, 0.5), (0, 1, 0.0), lr=0.1)),
    (torch.tensor([2.0, 0.0, -1.0, -1.0]), *games((3, 2, 1.0), (0, 3, 1.0), (1, 3, 0.0), lr=0.3)),
)
def strength_step(strengths, first, second, outcome, lr):
    """One step up the log-likelihood: each player moves by the news of all its games."""
    lead = strengths[first] - strengths[second]
    news = outcome - lead.sigmoid()
    step = lr * news
    return strengths.index_add(0, first, step).index_add(0, second, -step)


def scores(prompts, answers, seed=0, alike=1.0):
    """Return two models' utilities (prompts, answers); `alike` says how much the prompts differ."""
    prompt = alike * some(prompts, 1, seed=seed)
    mine, other = prompt + 0.5 * some(2, prompts, answers, seed=seed + 1)
    return mine + 0.3, other


@exercise(
    scores(8, 2),
    scores(12, 4, seed=2),
    scores(6, 3, seed=4, alike=3.0),
    scores(30, 2, seed=6, alike=0.2),
)
def paired_interval(mine, other):
    """Mean difference with its 95 % interval; a prompt, with all its answers, counts once."""
    gap = mine.mean(1) - other.mean(1)
    middle = gap.mean()
    error = gap.std() / len(gap) ** 0.5
    half = 1.96 * error
    return torch.stack([middle, middle - half, middle + half])


@exercise(
    (0.3, 0.3, 0.0, 0.1),
    (0.3, 0.2, 0.5, 0.05),
    (0.25, 0.35, 0.9, 0.02),
    (1.0, 0.5, -0.3, 0.2),
    (0.4, 0.4, 0.7, 0.011),
)
def prompts_needed(deviation, other_deviation, correlation, difference):
    """How many prompts make half the interval of a paired difference no wider than that."""
    shared = 2 * correlation * deviation * other_deviation
    variance = deviation**2 + other_deviation**2 - shared
    prompts = 1.96**2 * variance / difference**2
    return math.ceil(prompts)


@exercise(
    (torch.tensor([0.5, 0.5]), 2),
    (torch.tensor([0.5, 0.3, 0.2]), 1),
    (torch.tensor([0.5, 0.3, 0.2]), 4),
    (torch.tensor([0.1, 0.2, 0.3, 0.4]), 16),
    (torch.tensor([0.05, 0.9, 0.05]), 256),
    (torch.full((64,), 1 / 64), 8),
)
def kl_of_levels(shares, n):
    """KL of best-of-n from the policy, from the shares of the levels of reward."""
    upto = shares.cumsum(0)
    below = upto - shares
    best = upto**n - below**n
    times = best / shares
    return torch.xlogy(best, times).sum()  # 0 log 0 is 0


@exercise(
    ("best of n", 0.5, 0.1),
    ("rl", 0.5, 0.1),
    ("best of n", 0.3, 0.25),
    ("rl", 0.2, 0.3),
    ("best of n", 0.4, -0.1),
    ("rl", 0.3, 0.0),
)
def peak(method, alpha, beta):
    """The distance d at which Gao's form is highest; infinity where it never turns."""
    if beta <= 0:
        return math.inf
    if method == "rl":
        return math.exp(alpha / beta - 1)
    return alpha / (2 * beta)


def climbed(ns, means, seed, noise, slopes=0.0):
    """Return rungs, and the utility of each on each of 12 prompts (rungs, prompts)."""
    level = some(1, 12, seed=seed)
    slope = slopes * torch.arange(len(ns))[:, None] * some(1, 12, seed=seed + 1)
    utilities = torch.tensor(means)[:, None] + level + slope
    return list(ns), utilities + noise * some(len(ns), 12, seed=seed + 2)


SLOW = (1, 2, 4, 8, 16), (0.3, 0.55, 0.7, 0.72, 0.6)
UNSORTED = (16, 64, 8, 1), (0.55, 0.6, 0.5, 0.2)


@exercise(
    climbed(*SLOW, seed=7, noise=0.15),
    climbed(*SLOW, seed=2, noise=0.15),
    climbed(*SLOW, seed=3, noise=0.15),
    climbed((1, 4, 16, 64), (0.2, 0.4, 0.42, 0.1), seed=8, noise=0.1),
    climbed(*UNSORTED, seed=9, noise=0.2),
    climbed(*UNSORTED, seed=8, noise=0.2),
    climbed((64, 16, 4, 1), (0.1, 0.5, 0.48, 0.2), seed=10, noise=0.1, slopes=0.02),
    climbed((1, 8, 64), (0.2, 0.3, 0.6), seed=4, noise=0.1),
    climbed((1, 4, 16, 64), (0.3, 0.5, 0.56, 0.4), seed=12, noise=0.15),
)
def where_to_stop(ns, utilities):
    """The smallest n whose utility is within one standard error of the best, prompt by prompt."""
    best = utilities.mean(1).argmax()
    behind = utilities[best] - utilities
    error = behind.std(1) / utilities.shape[1] ** 0.5
    near = behind.mean(1) <= error
    return min(n for n, close in zip(ns, near) if close)


@exercise(*((patient,) for patient in WARD))
def diagnosis(patient):
    """What a patient of the gallery suffers from."""
    return WARD[patient][0]

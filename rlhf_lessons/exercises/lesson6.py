"""Checks of lesson 6: learning from graded votes, and how far two readers agree."""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import compare, exercise

LEADS = torch.tensor(
    [0.0, 1.5, -2.0, 0.3, 30.0, -1e4]
)  # odd ones too: 1 - sigmoid(30) is 0 in float32
CHANCES = torch.tensor([0.5, 0.98, 0.02, 0.65, 0.98, 0.35])


@exercise
def vote_loss(yours):
    """Cross-entropy with soft labels, from leads."""

    def right(leads, chances):
        x = leads.double()
        return -(chances * F.logsigmoid(x) + (1 - chances) * F.logsigmoid(-x)).mean().float()

    cases = [
        tuple(x.clone().requires_grad_(x is leads) for x in (leads, chances))
        for leads, chances in (
            (LEADS[:4], CHANCES[:4]),
            (LEADS[:1], CHANCES[:1]),
            (LEADS, CHANCES),
            (-LEADS, CHANCES),
        )
    ]
    compare(
        yours,
        right,
        cases,
        {
            "You learn from hard labels, as if a vote for *better* were certain. Weigh both outcomes: "
            "chance · log σ(lead) + (1 − chance) · log σ(−lead).": lambda leads, chances: (
                -F.logsigmoid(leads * (2 * (chances >= 0.5).float() - 1)).mean()
            ),
            "The second half is missing: with probability 1 − chance the other answer wins.": lambda leads, chances: (
                -(chances * F.logsigmoid(leads)).mean()
            ),
            "The sign is wrong: a loss is minus the log-probability, and falls as the votes are foreseen better.": lambda leads, chances: (
                (chances * F.logsigmoid(leads) + (1 - chances) * F.logsigmoid(-leads)).mean()
            ),
            "You take the logarithm of a sigmoid that has rounded to 0 or 1, which gives inf or nan. Use F.logsigmoid, or "
            "F.binary_cross_entropy_with_logits.": lambda leads, chances: (
                -(
                    chances * leads.sigmoid().log() + (1 - chances) * (1 - leads.sigmoid()).log()
                ).mean()
            ),
            "binary_cross_entropy cuts logs at -100, so the worst mistakes cost too little and teach nothing. Use the "
            "_with_logits form, or logsigmoid.": lambda leads, chances: F.binary_cross_entropy(
                leads.sigmoid(), chances
            ),
            "You return a loss for each vote. Return one number: their mean.": lambda leads, chances: (
                F.binary_cross_entropy_with_logits(leads, chances, reduction="none")
            ),
            "The loss is the mean over the votes, not their sum.": lambda leads, chances: (
                F.binary_cross_entropy_with_logits(leads, chances, reduction="sum")
            ),
            "The chances are swapped: a lead above zero means that the left answer is scored higher, and `chances` are the "
            "left answer's.": lambda leads, chances: F.binary_cross_entropy_with_logits(
                -leads, chances
            ),
        },
        tolerance=1e-4,
    )


def share(mine, theirs):
    return sum(a == b for a, b in zip(mine, theirs)) / len(mine)


def expected(mine, theirs):
    return sum(mine.count(v) * theirs.count(v) for v in set(mine)) / len(mine) ** 2


def beyond(share, expected, nothing=math.nan):
    return (share - expected) / (1 - expected) if expected < 1 else nothing


@exercise
def kappa(yours):
    """Agreement beyond chance: Cohen's kappa."""

    def right(mine, theirs):
        n, agreed = len(mine), sum(a == b for a, b in zip(mine, theirs))
        by_chance = (
            sum(a == b for a in mine for b in theirs) / n
        )  # expected agreements if the votes were shuffled
        return (agreed - by_chance) / (n - by_chance) if by_chance < n else math.nan

    cases = [
        (list("LLRRLTRR"), list("LLRLLTRL")),
        (list("LLLLLLLR"), list("LLLLLLRL")),
        (list("LRLR"), list("RLRL")),
        (list("LRTLRT"), list("LRTLRT")),
        (list("LLLT"), list("RRTT")),
        (list("LRRRR"), list("LLLRR")),
        (list("LLL"), list("LLL")),
    ]
    compare(
        yours,
        right,
        cases,
        {
            "This is the raw share of agreements. Take off what chance gives, and divide by what chance leaves: "
            "(share − expected) / (1 − expected).": share,
            "Chance is not one half here: two readers who mostly vote L agree often by chance. Expected is the sum over "
            "the verdicts of the product of both readers' shares.": lambda mine, theirs: beyond(
                share(mine, theirs), 0.5
            ),
            "Chance is not one third here: the three verdicts are not equally frequent. Expected is the sum over the "
            "verdicts of the product of both readers' shares.": lambda mine, theirs: beyond(
                share(mine, theirs), 1 / 3
            ),
            "You took off what chance gives, but did not divide by what chance leaves, 1 − expected: complete agreement "
            "must come out as 1.": lambda mine, theirs: (
                share(mine, theirs) - expected(mine, theirs)
            ),
            "You pool both readers' votes to find what chance gives. Take each reader's own shares, and multiply them.": lambda mine, theirs: (
                beyond(share(mine, theirs), expected(mine + theirs, mine + theirs))
            ),
            "Your expected agreement looks at one reader only (the squares of its shares). Multiply the shares of one "
            "reader by those of the other.": lambda mine, theirs: beyond(
                share(mine, theirs), expected(mine, mine)
            ),
            "Where expected is 1 nothing is left to measure: return float('nan').": lambda mine, theirs: (
                (share(mine, theirs) - expected(mine, theirs)) / (1 - expected(mine, theirs))
            ),
            "You return a number where expected is 1. Nothing is left to measure: return float('nan') there.": tuple(
                lambda mine, theirs, number=number: beyond(
                    share(mine, theirs), expected(mine, theirs), number
                )
                for number in (0.0, 1.0)
            ),
        },
    )

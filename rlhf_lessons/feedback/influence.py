"""Whose vote was it? By how much each vote moved the reward of an answer: the reward model is
fitted anew without it.

These are the refits themselves, and no approximation, as influence functions are (Koh and Liang
2017). Left out: who voted.
"""

from collections import Counter

import torch
from torch import Tensor

from rlhf_lessons.feedback.personal import CREDIT, RIDGE, PersonalReward, Vote

TOLERANCE = 1e-7  # of a pull


def anonymous(vote: Vote) -> Vote:
    """Return a vote without its rater, the winner on the left: equal for all who said the same."""
    sides = zip((vote.left, 1 - vote.left), vote.texts, vote.ended, strict=True)
    (left, _), texts, ended = zip(*sorted(sides, reverse=True), strict=True)
    return Vote(vote.prompt, texts, ended, round(left, 9), weight=vote.weight)


def weights_without_each(fitted: PersonalReward, votes: Counter[Vote]) -> Tensor:
    """Return the weights (votes, features) of a fit to one vote less, for each in turn. `votes` are
    those that `fitted` learned from, with how often each was cast.

    Where the gradient is 0, the weights are a sum: what is seen in each vote, times its pull, over
    RIDGE. A pull is weight x (target - chance). So a refit looks for some pulls, not for thousands
    of weights. All refits take Newton steps at once, with the curvature of the full fit, from which
    Sherman and Morrison's formula takes the missing vote. Where a vote's curvature is below half of
    its greatest, half is taken, so that no step goes too far (Böhning and Lindsay 1988).
    """
    lead, seen = (part.double() for part in fitted.leads([*votes]))
    target, each = torch.tensor([(vote.left, vote.weight) for vote in votes]).double().T
    often = torch.tensor([*votes.values()])
    weight = (each * often)[:, None] - each.diag()  # (votes, refits), and so are pulls
    overlap = seen @ seen.T / RIDGE
    chance = fitted.chances([*votes])
    curvature = each * often * (chance * (1 - chance)).clamp(min=1 / 8)
    inverse = torch.linalg.inv(torch.eye(len(seen)) + curvature[:, None] * overlap)
    pull = weight * (target - chance)[:, None]
    error = pull
    while (error.abs() > TOLERANCE).any():
        chances = (overlap @ pull + CREDIT * lead[:, None]).sigmoid()
        error = pull - weight * (target[:, None] - chances)
        step = inverse @ error
        missing = (error - step).diag() / (often - 1 + inverse.diag())
        pull = pull - step - inverse * missing
    return pull.T @ seen / RIDGE


def influences(
    fitted: PersonalReward, votes: Counter[Vote], *answers: list
) -> list[list[tuple[Vote, float]]]:
    """Return for each of the `answers`, which are (prompts, texts, ended), the votes that move its
    reward, the strongest first, each with what a fit to one vote less adds to the reward.

    Mean and deviation, by which rewards are measured, stay those of `fitted`.
    """
    shift = weights_without_each(fitted, votes).float() - fitted.weights
    _, seen = fitted.features(*answers)
    found = []
    for changes in (seen @ shift.T / fitted.deviation).tolist():
        moves = zip(votes, changes, strict=True)
        found.append(sorted(moves, key=lambda move: -abs(move[1])))
    return found

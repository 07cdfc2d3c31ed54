"""How strong each model is, from blind comparisons: Bradley and Terry's model, with style held
fixed where you like.

P(a beats b) = sigmoid(strength of a - strength of b + style * (length of a - length of b)). Length
counts in deviations of all differences: the strengths are then those of answers of equal length, as
public arenas report them ("style control"). A tie is half a win for each (as in evalica).
"""

from dataclasses import dataclass

import numpy as np

from rlhf_lessons.evaluation.intervals import resampled
from rlhf_lessons.evaluation.votes import Comparison, first_of, numbered

RIDGE = 1e-3  # keeps a model that has won everything at a finite strength
DRAWS = 200  # of the bootstrap


@dataclass(frozen=True)
class Strengths:
    """What a fit gives; strengths have mean 0, and one unit is odds of e to 1."""

    models: list[str]
    strength: np.ndarray  # (models,)
    style: float | None  # what a deviation more of length earns; None where it was not asked


def fit(first, second, outcome, models: int, style=None, weight=None) -> np.ndarray:
    """Return the strengths (models,) from games, and after them what `style` earns, if given.

    `first` and `second` are numbers of models (games,), `outcome` is 1 where the first won, 0 where
    it lost, 0.5 for a tie; `style` is a difference (games,), `weight` counts games. By Newton's
    method on the log-likelihood, which is concave.
    """
    games = np.arange(len(first))
    terms = np.zeros((len(first), models + (style is not None)))
    terms[games, first] += 1
    terms[games, second] -= 1
    if style is not None:
        terms[:, -1] = style
    weight = np.ones(len(first)) if weight is None else weight
    found = np.zeros(terms.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-terms @ found))
        slope = terms.T @ (weight * (outcome - chance)) - RIDGE * found
        curve = (terms * (weight * chance * (1 - chance))[:, None]).T @ terms
        step = np.linalg.solve(curve + RIDGE * np.eye(len(found)), slope)
        found += step
        if abs(step).max() < 1e-9:
            break
    found[:models] -= found[:models].mean()
    return found


def games_of(votes: list[Comparison], by: str) -> tuple[list[str], dict, np.ndarray]:
    """Return the models, their games as arguments of `fit`, and each game's group (games,): the
    number of its "prompt" or "rater".

    Votes on answers of one model, *both bad*, and votes on what the rater had judged before are no
    games. ValueError where there is no game.
    """
    votes = [vote for vote in first_of(votes) if vote.verdict is not None and known(vote)]
    if not votes:
        raise ValueError("no vote compares answers of two models")
    sides = [(vote.a, vote.b) for vote in votes]
    models = sorted({one["model"] for pair in sides for one in pair})
    players = np.array([[models.index(one["model"]) for one in pair] for pair in sides])
    words = np.array([[len(one["text"].split()) for one in pair] for pair in sides], dtype=float)
    longer = words[:, 0] - words[:, 1]
    games = {
        "first": players[:, 0],
        "second": players[:, 1],
        "outcome": np.array([(1 + vote.verdict) / 2 for vote in votes]),
        "style": longer / (longer.std() or 1.0),
    }
    groups = [getattr(vote, by) for vote in votes]
    number = numbered(groups)
    return models, games, np.array([number[group] for group in groups])


def known(vote: Comparison) -> bool:
    """Return whether a vote is between answers of two known models."""
    one, other = vote.a["model"], vote.b["model"]
    return bool(one and other and one != other)


def strengths(votes: list[Comparison], style: bool = False) -> Strengths:
    """Return how strong each model is by some votes; with `style`, at equal length."""
    models, games, _ = games_of(votes, "prompt")
    if not style:
        games.pop("style")
    found = fit(**games, models=len(models))
    return Strengths(models, found[: len(models)], float(found[-1]) if style else None)


def intervals(
    votes: list[Comparison], style: bool = False, by: str = "prompt", against: str | None = None
) -> list[tuple[float, float]]:
    """Return the 95 % interval of each model's strength, in the order of `strengths`, or of its
    lead `against` one of them: a bootstrap over prompts, each with all its votes, or `by` "rater".
    """
    models, games, group = games_of(votes, by)
    if not style:
        games.pop("style")
    draws = resampled(group.max() + 1, DRAWS)
    found = [fit(**games, models=len(models), weight=drawn[group]) for drawn in draws]
    found = np.array(found)[:, : len(models)]
    if against:
        found -= found[:, [models.index(against)]]
    low, high = np.percentile(found, [2.5, 97.5], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))

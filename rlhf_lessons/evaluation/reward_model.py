"""How good a reward model is: its order of held-out pairs, and how sure of it it may be."""

from dataclasses import dataclass

import numpy as np
import torch

from rlhf_lessons.lm.sampling import pad
from rlhf_lessons.stages.reward import flat_pairs, to_rankings
from rlhf_lessons.stages.rollout import score_ids

BINS = 5  # of the calibration


@dataclass
class RewardReport:
    """How a reward model orders held-out pairs; the truth is known where rows have "utilities"."""

    pairs: int
    accuracy: float  # share of pairs in the labelled order
    calibration: list[tuple[float, float, int]]  # (predicted, observed, pairs) of each bin
    true_pairs: int = 0  # pairs whose true utilities differ, by `gap` at least
    true_accuracy: float | None = None  # share of these in the true order; None without any
    ceiling: float | None = None  # share of these with a true label: what label noise allows


def report(
    model,
    tokenizer,
    comparisons: list[dict],
    gap: float = 0.0,
) -> RewardReport:
    """Measure `model` on comparisons held out from its training; equal scores count as half right.

    A bin of the calibration holds the pairs of which the model is about equally sure: how often it
    says that it is right, and how often it is.
    """
    rankings = to_rankings(tokenizer, comparisons)
    rows, better, worse, _ = flat_pairs(rankings)
    ids, attention_mask = pad(rows, tokenizer.pad_token_id)
    scores = score_ids(model, ids, attention_mask).cpu()
    lead = scores[better] - scores[worse]
    right = (lead.sign() + 1) / 2
    sure = (lead.abs() * getattr(model.config, "reward_deviation", 1.0)).sigmoid()
    place = ((sure - 0.5) * 2 * BINS).long().clamp(max=BINS - 1)
    calibration = []
    for b in place.unique():
        inside = place == b
        predicted = sure[inside].mean().item()
        observed = right[inside].mean().item()
        calibration.append((predicted, observed, int(inside.sum())))
    found = RewardReport(len(lead), right.mean().item(), calibration)

    utilities = []
    for ranking in rankings:
        utilities += ranking.answers.values()
    truth = torch.from_numpy(np.array(utilities, dtype=float))  # NaN where there is None
    true_lead = truth[better] - truth[worse]
    far = (true_lead.abs() >= gap) & (true_lead.abs() > 0)  # False where a utility is missing
    if far.any():
        agrees = (lead * true_lead)[far].sign()
        found.true_pairs = len(agrees)
        found.true_accuracy = (agrees.mean().item() + 1) / 2
        found.ceiling = (true_lead[far] > 0).float().mean().item()
    return found

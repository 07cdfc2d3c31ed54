"""Step 3 of RLHF, the reward model: learn from people's comparisons to give one number to prompt and response.

It is the SFT model with its language-model head off, a scalar head on, and as many of its layers as you keep. The
number is read at the end token, the first that has seen the whole response.

Comparisons are rankings, {"prompt", "completions": [K], "scores": [K] (or "ranks", 1 is best)}, or pairs, {"prompt",
"chosen", "rejected"}, which form one ranking where they share a "group". They may hold "ended" (for each completion,
False where it has no end token), "margin" (pairs) and "utilities" (the truth for each, used in reports only).

Left out: L2 on rewards (see `centre`), graded labels beyond the margin, ensembles.
"""

from dataclasses import dataclass
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from rlhf_lessons.lm.batching import length_grouped_batches, micro_batches, pad, token_scores
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts
from rlhf_lessons.stages.loop import Optimiser, Stage, generator


@dataclass(frozen=True)
class RewardConfig:
    epochs: int = (
        2  # How often each comparison is seen; a reward model soon knows its labels by heart.
    )
    batch_size: int = 16  # Prompts in a batch; all pairs of a prompt are in the same batch.
    lr: float = 1e-3  # Highest learning rate; it falls linearly to zero.
    warmup: int = 60  # Steps over which the learning rate rises.
    keep_layers: int | None = (
        None  # How many layers of the language model to keep, from the lowest; None keeps all.
    )
    margin: float = 0.0  # The better answer must lead by this times the margin, or gap in scores or ranks (Llama 2).
    centre: float = 0.0  # Weight of (chosen + rejected)^2, which keeps scores near 0 (Eisenstein 2023); often 0.01.
    seed: int = 0  # Decides the first weights of the head and the order of the prompts.


@dataclass
class RewardStep:
    """What one step gives; `accuracy` is the share of the batch's pairs in the labelled order, before learning."""

    step: int
    epoch: float
    loss: float
    accuracy: float
    lr: float
    grad_norm: float


@dataclass(frozen=True)
class Ranking:
    """The answers to one prompt, and which of them beat which."""

    rows: list[list[int]]  # token ids of prompt and answer
    pairs: list[tuple[int, int, float]]  # (better row, worse row, margin)
    utilities: list[float | None]


class RewardModelling(Stage):
    """Train a reward model, made from the language model `lm`, which stays as it is; `.model` holds it."""

    def __init__(self, lm, tokenizer, comparisons: list[dict], config: RewardConfig):
        self.config, self.pad_id = config, tokenizer.pad_token_id
        self.model = to_reward_model(lm, config.keep_layers, config.seed)
        self.rankings = to_rankings(tokenizer, comparisons)
        self.lengths = [max(map(len, ranking.rows)) for ranking in self.rankings]
        self.per_epoch = -(-len(self.rankings) // config.batch_size)
        self.steps = self.per_epoch * config.epochs
        self.models = {"model": self.model}
        self.optimisers = {
            "model": Optimiser(self.model, config.lr, beta2=0.999)
        }  # labels are noisy: average for long

    def train_step(self, step: int) -> RewardStep:
        config = self.config
        epoch, place = divmod(step, self.per_epoch)
        order = length_grouped_batches(
            self.lengths, config.batch_size, generator(config.seed, epoch)
        )
        batch = [self.rankings[i] for i in order[place]]
        ids, mask = (
            x.to(self.model.device)
            for x in pad([row for r in batch for row in r.rows], self.pad_id)
        )
        scores = last_scores(self.model, ids, mask).cpu()  # each answer goes through the model once
        better, worse, margin, weight = flat_pairs(batch)
        loss = ranking_loss(
            scores[better], scores[worse], weight, config.margin * margin, config.centre
        )
        accuracy = (scores[better] > scores[worse]).float().mean().item()
        return RewardStep(
            step, (step + 1) / self.per_epoch, loss.item(), accuracy, *self.descend(loss, step)
        )


def to_rankings(tokenizer, comparisons: list[dict]) -> list[Ranking]:
    """Encode comparisons. Ties and texts of the same tokens give no pair; ValueError if no pair is left."""
    groups = {}  # (prompt, group) -> answers with utilities, and which beats which
    for n, row in enumerate(comparisons):
        pair = "chosen" in row
        texts = [row["chosen"], row["rejected"]] if pair else row["completions"]
        marks = (
            [row.get("margin", 1.0), 0.0]
            if pair
            else row.get("scores") or [-rank for rank in row["ranks"]]
        )
        answers = list(zip(texts, row.get("ended") or [True] * len(texts), strict=True))
        utilities = row.get("utilities") or [None] * len(texts)
        key = (
            row["prompt"],
            row.get("group") if pair and row.get("group") is not None else ("row", n),
        )
        known, beats = groups.setdefault(key, ({}, []))
        known.update(zip(answers, utilities, strict=True))
        marked = list(zip(answers, marks, strict=True))
        beats += [(a, b, float(x - y)) for (a, x), (b, y) in permutations(marked, 2) if x > y]
    rankings = []
    prompts = encode_prompts(tokenizer, [prompt for prompt, _ in groups])
    for prompt, (known, beats) in zip(prompts, groups.values(), strict=True):
        rows = [
            prompt + row
            for row in encode_completions(tokenizer, *map(list, zip(*known, strict=True)))
        ]
        place = {answer: i for i, answer in enumerate(known)}
        pairs = [
            (place[a], place[b], margin)
            for a, b, margin in beats
            if rows[place[a]] != rows[place[b]]
        ]
        if pairs:
            rankings.append(Ranking(rows, pairs, list(known.values())))
    if not rankings:
        raise ValueError(
            "no comparison prefers one answer to a different one: there is nothing to learn from"
        )
    return rankings


def flat_pairs(rankings: list[Ranking]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Better and worse rows, margins and weights of all pairs, each (pairs,); rows count through all rankings.

    A pair weighs 1/C(K,2), K being its prompt's answers: every prompt counts the same (InstructGPT, 3.5).
    """
    flat, start = [], 0
    for ranking in rankings:
        k = len(ranking.rows)
        flat += [
            (start + i, start + j, margin, 2 / (k * (k - 1))) for i, j, margin in ranking.pairs
        ]
        start += k
    return tuple(torch.tensor(column) for column in zip(*flat, strict=True))


def bradley_terry_loss(chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0) -> Tensor:
    """-log sigmoid(chosen - rejected - margin), elementwise, in nats: the loss of P(win) = sigmoid(difference)."""
    return -F.logsigmoid(chosen - rejected - margin)


def ranking_loss(
    chosen, rejected, weight: Tensor, margin: Tensor | float = 0.0, centre: float = 0.0
) -> Tensor:
    """Weighted mean over pairs (pairs,) of the Bradley-Terry loss and `centre` times (chosen + rejected)^2."""
    losses = bradley_terry_loss(chosen, rejected, margin) + centre * (chosen + rejected) ** 2
    return (weight * losses).sum() / weight.sum()


def last_scores(model, ids: Tensor, mask: Tensor) -> Tensor:
    """The head's output (batch,) at each row's last real token, wherever the padding is."""
    last = mask.shape[1] - 1 - mask.long().flip(1).argmax(1)
    return token_scores(model, ids, mask).gather(1, last[:, None])[:, 0]


@torch.no_grad()
def score_ids(model, ids: Tensor, mask: Tensor, batch_size: int = 128) -> Tensor:
    """Rewards (batch,) on the CPU of prompts and responses given as ids (batch, time)."""
    scores = torch.zeros(len(ids))
    for rows, columns in micro_batches(mask, batch_size):
        batch = ids[rows, columns].to(model.device), mask[rows, columns].to(model.device)
        scores[rows.cpu()] = last_scores(model, *batch).cpu()
    return scores - model.config.reward_mean


def score(
    model, tokenizer, prompts: list[str], completions: list[str], ended: bool | list[bool] = True
) -> Tensor:
    """Rewards (batch,): the score at the end token, less the model's `reward_mean`.

    `ended` (one for all, or one for each) says which completions have an end token. Without one the score is that
    of the last token, and the caller knows from `ended` that it judges an unfinished text.
    """
    answers = encode_completions(tokenizer, completions, ended)
    rows = [p + a for p, a in zip(encode_prompts(tokenizer, prompts), answers, strict=True)]
    return score_ids(model, *pad(rows, tokenizer.pad_token_id))


def normalise(
    model, tokenizer, prompts, completions, ended: bool | list[bool] = True
) -> tuple[float, float]:
    """Give scores on these samples of the SFT policy mean 0 and deviation 1; returns what both were.

    The gain goes into the head's weights, the mean into `model.config.reward_mean` (Ziegler et al. 2019, 2.1).
    """
    scores = score(model, tokenizer, prompts, completions, ended)
    mean, deviation = scores.mean().item(), scores.std().item()
    if not deviation > 0:
        raise ValueError(
            "the reward model scores all these samples the same, so it cannot be normalised"
        )
    model.score.weight.data /= deviation
    model.config.reward_mean = (model.config.reward_mean + mean) / deviation
    return mean, deviation


@dataclass
class RewardReport:
    """How a reward model orders held-out pairs. The last three but one are None without "utilities"."""

    pairs: int
    accuracy: float  # share of pairs in the labelled order
    calibration: list[
        tuple[float, float, int]
    ]  # (predicted, observed, pairs): how often it is right when so sure
    true_pairs: int = 0  # pairs whose true utilities differ, by `gap` at least
    true_accuracy: float | None = None  # share of these in the true order
    ceiling: float | None = (
        None  # share of these whose label is true: the accuracy that label noise allows
    )


def report(
    model, tokenizer, comparisons: list[dict], gap: float = 0.0, bins: int = 5
) -> RewardReport:
    """Measure `model` on comparisons held out from its training; equal scores count as half right."""
    rankings = to_rankings(tokenizer, comparisons)
    scores = score_ids(
        model, *pad([row for r in rankings for row in r.rows], tokenizer.pad_token_id)
    )
    better, worse, _, _ = flat_pairs(rankings)
    lead = scores[better] - scores[worse]
    right, sure = (lead.sign() + 1) / 2, lead.abs().sigmoid()
    place = ((sure - 0.5) * 2 * bins).long().clamp(max=bins - 1)
    table = [
        (sure[place == b].mean().item(), right[place == b].mean().item(), int((place == b).sum()))
        for b in place.unique().tolist()
    ]
    result = RewardReport(len(lead), right.mean().item(), table)
    truth = torch.tensor([float("nan") if u is None else u for r in rankings for u in r.utilities])
    true_lead = truth[better] - truth[worse]
    far = (true_lead.abs() >= gap) & (true_lead.abs() > 0)  # False where a utility is missing
    if far.any():
        result.true_pairs, result.ceiling = (
            int(far.sum()),
            (true_lead[far] > 0).float().mean().item(),
        )
        result.true_accuracy = ((lead * true_lead)[far].sign() + 1).mean().item() / 2
    return result

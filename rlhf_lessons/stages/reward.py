"""Step 3 of RLHF, the reward model: learn from people's comparisons to score prompt and response.

It is the SFT model with its language-model head off, a scalar head on, and as many of its layers as
you keep. The number is read at the end token, the first that has seen the whole response.

Comparisons are rankings, {"prompt", "completions": [K], "scores": [K] (or "ranks", 1 is best)}, or
pairs, {"prompt", "chosen", "rejected"}, which form one ranking where they share a "group". They may
hold "ended" (for each completion, False where it has no end token) and "utilities" (the truth for
each, used in reports only). Other columns are not read.

Left out: margins between answers, L2 on rewards, ensembles.

`exercises/bugs.py` swaps `to_rankings` here, and `last_scores` in `rollout`, by name.
"""

import math
from dataclasses import dataclass
from itertools import chain, permutations

import torch
from torch import Tensor

from rlhf_lessons.data import check_row
from rlhf_lessons.lm.checks import check_model
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.lm.sampling import check_lengths, pad
from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts
from rlhf_lessons.stages import losses, rollout
from rlhf_lessons.stages.config import RewardConfig
from rlhf_lessons.stages.loop import Optimiser, Stage, length_grouped_rows


@dataclass
class RewardStep:
    """What one step gives."""

    step: int
    epoch: float
    loss: float
    accuracy: float  # share of the batch's pairs in the labelled order, before learning
    lr: float
    grad_norm: float


@dataclass(frozen=True)
class Ranking:
    """The answers to one prompt, and which of them beat which."""

    first: int  # the number of the comparison that it began with
    rows: list[list[int]]  # token ids of prompt and answer
    pairs: list[tuple[int, int]]  # (better row, worse row)
    utilities: list[float | None]


class RewardModelling(Stage):
    """Train a reward model, made from the language model `lm`, which stays as it is.

    `.model` holds it, in eval mode: it learns without dropout. ValueError, naming the comparison,
    where there is nothing to learn from or a text is longer than the model's positions.
    """

    def __init__(self, lm, tokenizer, comparisons: list[dict], config: RewardConfig):
        self.config = config
        self.pad_id = tokenizer.pad_token_id
        self.rankings = to_rankings(tokenizer, comparisons)
        self.lengths = [max(map(len, ranking.rows)) for ranking in self.rankings]
        for ranking in self.rankings:
            check_lengths(lm, ranking.rows, f"comparison {ranking.first}: prompt with answer")
        self.model = to_reward_model(lm, config.keep_layers, config.seed)
        check_model(self.model, tokenizer)
        self.steps = config.epochs * math.ceil(len(self.rankings) / config.batch_size)
        self.models = {"model": self.model}
        # Labels are noisy: average gradients for long.
        self.optimisers = {"model": Optimiser(self.model, config.lr, beta2=0.999)}

    def train_step(self, step: int) -> RewardStep:
        config = self.config
        numbers = length_grouped_rows(self.lengths, config.batch_size, step, config.seed)
        batch = [self.rankings[i] for i in numbers]
        texts = pad(all_rows(batch), self.pad_id, device=self.model.device)
        scores = rollout.last_scores(self.model, *texts)  # each answer once
        better, worse, weight = flat_pairs(batch)
        chosen = scores[better]
        rejected = scores[worse]
        loss = losses.ranking_loss(chosen, rejected, weight.to(scores.device))
        accuracy = (chosen > rejected).float().mean().item()
        lr, grad_norm = self.descend(loss, step)
        epoch = (step + 1) * config.epochs / self.steps
        return RewardStep(step, epoch, loss.item(), accuracy, lr, grad_norm)


def to_rankings(tokenizer, comparisons: list[dict]) -> list[Ranking]:
    """Encode comparisons. Ties and texts of the same tokens give no pair.

    ValueError if no pair is left; it names the row and the field where a row cannot be read.
    """
    groups = {}  # (prompt, group) -> its first comparison, places of answers, pairs, utilities
    for n, row in enumerate(comparisons):
        row = check_row(row, "comparisons", f"comparison {n}")
        if "chosen" in row:
            texts = [row["chosen"], row["rejected"]]
            marks = [1, 0]  # whatever a margin beside it says
        else:
            texts = row["completions"]
            marks = row["scores"] if "scores" in row else [-rank for rank in row["ranks"]]
        ended = row.get("ended", [True] * len(texts))
        utilities = row.get("utilities", [None] * len(texts))
        if not len(texts) == len(ended) == len(utilities):
            raise ValueError(f"comparison {n}: 'ended' and 'utilities' need one entry an answer")
        key = row["prompt"], row.get("group", ("alone", n))
        _, places, pairs, known = groups.setdefault(key, (n, {}, [], {}))
        here = []  # the place of each answer in its group, where it may stand already
        for answer in zip(texts, map(bool, ended), strict=True):
            here.append(places.setdefault(answer, len(places)))
        known.update(zip(here, utilities, strict=True))
        for (i, high), (j, low) in permutations(zip(here, marks, strict=True), 2):
            if high > low:
                pairs.append((i, j))
    prompts = encode_prompts(tokenizer, [prompt for prompt, _ in groups])
    rankings = []
    for prompt, (first, places, pairs, known) in zip(prompts, groups.values(), strict=True):
        answers = encode_completions(tokenizer, *zip(*places, strict=True))
        rows = [prompt + answer for answer in answers]
        pairs = [(i, j) for i, j in pairs if rows[i] != rows[j]]
        if pairs:
            rankings.append(Ranking(first, rows, pairs, list(known.values())))
    if not rankings:
        raise ValueError(
            "no comparison prefers one answer to a different one: there is nothing to learn from"
        )
    return rankings


def all_rows(rankings: list[Ranking]) -> list[list[int]]:
    """Return the rows of all rankings, in order."""
    return list(chain.from_iterable(ranking.rows for ranking in rankings))


def flat_pairs(rankings: list[Ranking]) -> tuple[Tensor, Tensor, Tensor]:
    """Return better rows, worse rows and weights of all pairs, each (pairs,).

    Rows count through all rankings. A pair weighs 1/C(K,2), K being its prompt's answers: every
    prompt counts the same (InstructGPT, 3.5).
    """
    flat = []
    start = 0
    for ranking in rankings:
        k = len(ranking.rows)
        for i, j in ranking.pairs:
            flat.append((start + i, start + j, 2 / (k * (k - 1))))
        start += k
    better, worse, weight = map(torch.tensor, zip(*flat, strict=True))
    return better, worse, weight


def score(
    model, tokenizer, prompts: list[str], completions: list[str], ended: bool | list[bool] = True
) -> Tensor:
    """Return rewards (batch,) on the CPU: the score at the end token, less the `reward_mean`.

    `ended` (one for all, or one for each) says which completions have an end token. Without one the
    score is that of the last token, and the caller knows from `ended` that the text is unfinished.
    The model scores without dropout, and is left in the mode it was in. ValueError names a row that
    is too long.
    """
    answers = encode_completions(tokenizer, completions, ended)
    rows = [p + a for p, a in zip(encode_prompts(tokenizer, prompts), answers, strict=True)]
    check_model(model, tokenizer)
    check_lengths(model, rows, "row")
    return rollout.score_ids(model, *pad(rows, tokenizer.pad_token_id)).cpu()


def normalise(
    model, tokenizer, prompts, completions, ended: bool | list[bool] = True
) -> tuple[float, float]:
    """Give scores on these samples of the SFT policy mean 0 and deviation 1; return what both were.

    The gain goes into the head's weights, the mean into `model.config.reward_mean` (Ziegler et al.
    2019, 2.1).
    """
    scores = score(model, tokenizer, prompts, completions, ended)
    mean = scores.mean().item()
    deviation = scores.std().item()
    if not deviation > 0:
        raise ValueError(
            "the reward model scores all these samples the same, so it cannot be normalised"
        )
    model.score.weight.data /= deviation
    model.config.reward_mean = (model.config.reward_mean + mean) / deviation
    return mean, deviation

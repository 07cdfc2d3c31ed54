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

from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from rlhf_lessons.data import check_row
from rlhf_lessons.lm.checks import check_model
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.lm.sampling import check_lengths, length_grouped_batches, pad
from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts
from rlhf_lessons.stages import losses, rollout
from rlhf_lessons.stages.config import RewardConfig
from rlhf_lessons.stages.loop import Optimiser, Stage, generator


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
        self.per_epoch = -(-len(self.rankings) // config.batch_size)
        self.steps = self.per_epoch * config.epochs
        self.models = {"model": self.model}
        # Labels are noisy: average gradients for long.
        self.optimisers = {"model": Optimiser(self.model, config.lr, beta2=0.999)}

    def train_step(self, step: int) -> RewardStep:
        config = self.config
        epoch, place = divmod(step, self.per_epoch)
        order = length_grouped_batches(
            self.lengths, config.batch_size, generator(config.seed, epoch)
        )
        batch = [self.rankings[i] for i in order[place]]
        rows = [row for ranking in batch for row in ranking.rows]
        ids, attention_mask = pad(rows, self.pad_id, device=self.model.device)
        scores = rollout.last_scores(self.model, ids, attention_mask)  # each answer once
        better, worse, weight = flat_pairs(batch)
        chosen = scores[better]
        rejected = scores[worse]
        loss = losses.ranking_loss(chosen, rejected, weight.to(scores.device))
        accuracy = (chosen > rejected).float().mean().item()
        lr, grad_norm = self.descend(loss, step)
        return RewardStep(step, (step + 1) / self.per_epoch, loss.item(), accuracy, lr, grad_norm)


def to_rankings(tokenizer, comparisons: list[dict]) -> list[Ranking]:
    """Encode comparisons. Ties and texts of the same tokens give no pair.

    ValueError if no pair is left; it names the row and the field where a row cannot be read.
    """
    groups = {}  # (prompt, group) -> first row, answers with utilities, and which beats which
    for n, row in enumerate(comparisons):
        row = check_row(row, "comparisons", f"comparison {n}")
        pair = "chosen" in row
        texts = [row["chosen"], row["rejected"]] if pair else row["completions"]
        ended = row.get("ended", [True] * len(texts))
        utilities = row.get("utilities", [None] * len(texts))
        if not len(texts) == len(ended) == len(utilities):
            raise ValueError(f"comparison {n}: 'ended' and 'utilities' need one entry an answer")
        answers = list(zip(texts, map(bool, ended), strict=True))
        group = row.get("group") if pair else None
        key = (row["prompt"], ("row", n) if group is None else group)
        _, known, beats = groups.setdefault(key, (n, {}, []))
        known.update(zip(answers, utilities, strict=True))
        beats += [(answers[i], answers[j]) for i, j in preferences(row)]
    prompts = encode_prompts(tokenizer, [prompt for prompt, _ in groups])
    rankings = []
    for prompt, (first, known, beats) in zip(prompts, groups.values(), strict=True):
        texts, ended = map(list, zip(*known, strict=True))
        rows = [prompt + answer for answer in encode_completions(tokenizer, texts, ended)]
        place = {answer: i for i, answer in enumerate(known)}
        pairs = [(place[a], place[b]) for a, b in beats if rows[place[a]] != rows[place[b]]]
        if pairs:
            rankings.append(Ranking(first, rows, pairs, list(known.values())))
    if not rankings:
        raise ValueError(
            "no comparison prefers one answer to a different one: there is nothing to learn from"
        )
    return rankings


def preferences(row: dict) -> list[tuple[int, int]]:
    """Return the places (better, worse) of all pairs of answers that a comparison orders."""
    if "chosen" in row:
        return [(0, 1)]  # whatever a margin beside it says
    marks = row["scores"] if "scores" in row else [-rank for rank in row["ranks"]]
    return [(i, j) for i, j in permutations(range(len(marks)), 2) if marks[i] > marks[j]]


def flat_pairs(rankings: list[Ranking]) -> tuple[Tensor, Tensor, Tensor]:
    """Return better rows, worse rows and weights of all pairs, each (pairs,).

    Rows count through all rankings. A pair weighs 1/C(K,2), K being its prompt's answers: every
    prompt counts the same (InstructGPT, 3.5).
    """
    flat = []
    start = 0
    for ranking in rankings:
        k = len(ranking.rows)
        flat += [(start + i, start + j, 2 / (k * (k - 1))) for i, j in ranking.pairs]
        start += k
    better, worse, weight = zip(*flat, strict=True)
    return torch.tensor(better), torch.tensor(worse), torch.tensor(weight)


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

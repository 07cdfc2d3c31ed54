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
from rlhf_lessons.lm import processes
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.lm.sampling import check_lengths, check_model, pad
from rlhf_lessons.lm.tokenizer import Rows, encode_completions, encode_prompts
from rlhf_lessons.stages import losses, rollout
from rlhf_lessons.stages.config import RewardConfig
from rlhf_lessons.stages.loop import RowStage, Step


@dataclass
class RewardStep(Step):
    """What one step gives."""

    accuracy: float  # share of the batch's pairs in the labelled order, before learning


@dataclass
class Ranking:
    """The answers to one prompt, and which of them beat which."""

    first: int  # the number of the comparison that it began with
    answers: dict[tuple[str, bool], float | None]  # (text, whether it ended) -> true utility
    pairs: list[tuple[int, int]]  # places of answers: (better, worse)
    rows: Rows  # token ids of the prompt with each answer
    prompt_length: int = 0  # tokens of each row that are prompt


class RewardModelling(RowStage):
    """Train a reward model, made from the language model `lm`, which stays as it is.

    `.model` holds it, in eval mode: it learns without dropout. ValueError, naming the comparison,
    where there is nothing to learn from or a text is longer than the model's positions.
    """

    def __init__(
        self,
        lm,
        tokenizer,
        comparisons: list[dict],
        config: RewardConfig,
    ):
        rankings = to_rankings(tokenizer, comparisons)
        for ranking in rankings:
            check_lengths(lm, ranking.rows, f"comparison {ranking.first}: prompt with answer")
        lengths = [max(map(len, ranking.rows)) for ranking in rankings]
        model = to_reward_model(lm, config.keep_layers, config.seed)
        model.score.weight.data *= config.head_scale
        # Labels are noisy: average gradients for long.
        super().__init__(model, tokenizer, config, rankings, lengths, beta2=0.999)

    def train_step(self, step: int) -> RewardStep:
        rows, better, worse, weight = flat_pairs(self.batch(step))
        ids, attention_mask = pad(rows, self.pad_id, device=self.model.device)
        scores = rollout.last_scores(self.model, ids, attention_mask)  # each answer once
        chosen = scores[better]
        rejected = scores[worse]
        loss = losses.ranking_loss(chosen, rejected, weight.to(scores.device))
        accuracy = processes.mean(chosen > rejected)
        return RewardStep(accuracy=accuracy, **self.descend(loss, weight.sum().item(), step))


def to_rankings(tokenizer, comparisons: list[dict]) -> list[Ranking]:
    """Encode comparisons. Ties and texts of the same tokens give no pair.

    ValueError if no pair is left; it names the row and the field where a row cannot be read.
    """
    rankings = {}  # (prompt, group) -> ranking
    for n, row in enumerate(comparisons):
        row = check_row(row, "comparisons", f"comparison {n}")
        texts, marks = texts_and_marks(row)
        ended = row.get("ended", [True] * len(texts))
        utilities = row.get("utilities", [None] * len(texts))
        if not len(texts) == len(ended) == len(utilities):
            raise ValueError(f"comparison {n}: 'ended' and 'utilities' need one entry an answer")
        key = row["prompt"], row.get("group", ("alone", n))
        ranking = rankings.setdefault(key, Ranking(n, {}, [], []))
        answers = list(zip(texts, map(bool, ended), strict=True))
        ranking.answers.update(zip(answers, utilities, strict=True))
        place = list(ranking.answers).index
        for i, j in permutations(range(len(texts)), 2):
            if marks[i] > marks[j]:
                ranking.pairs.append((place(answers[i]), place(answers[j])))
    prompts = encode_prompts(tokenizer, [prompt for prompt, _ in rankings])
    for prompt, ranking in zip(prompts, rankings.values(), strict=True):
        answers = encode_completions(tokenizer, *zip(*ranking.answers, strict=True))
        rows = [prompt + answer for answer in answers]
        ranking.rows = rows
        ranking.prompt_length = len(prompt)
        ranking.pairs = [(i, j) for i, j in ranking.pairs if rows[i] != rows[j]]
    found = [ranking for ranking in rankings.values() if ranking.pairs]
    if not found:
        raise ValueError(
            "no comparison prefers one answer to a different one: there is nothing to learn from"
        )
    return found


def texts_and_marks(row: dict) -> tuple[list[str], list[float]]:
    """Return the answers of a comparison, and a mark for each: the higher, the better."""
    if "chosen" in row:
        return [row["chosen"], row["rejected"]], [1, 0]  # whatever a margin beside it says
    if "scores" in row:
        return row["completions"], row["scores"]
    return row["completions"], [-rank for rank in row["ranks"]]


def flat_pairs(rankings: list[Ranking]) -> tuple[Rows, Tensor, Tensor, Tensor]:
    """Return the rows of all rankings, and of all pairs the places of better and of worse rows
    among them, and weights, each (pairs,).

    A pair weighs 1/C(K,2), K being its prompt's answers: every prompt counts the same (InstructGPT,
    3.5).
    """
    rows = []
    flat = []
    for ranking in rankings:
        start = len(rows)
        k = len(ranking.rows)
        for i, j in ranking.pairs:
            flat.append((start + i, start + j, 2 / (k * (k - 1))))
        rows += ranking.rows
    better, worse, weight = map(torch.tensor, zip(*flat, strict=True))
    return rows, better, worse, weight


def score(
    model, tokenizer, prompts: list[str], completions: list[str], ended: bool | list[bool] = True
) -> Tensor:
    """Return rewards (batch,) on the CPU: the score at the end token, less the `reward_mean`.

    `ended` (one for all, or one for each) says which completions have an end token. Without one the
    score is that of the last token, and the caller knows from `ended` that the text is unfinished.
    The model is put into eval mode, and stays in it. ValueError names a row that is too long.
    """
    prompt_ids = encode_prompts(tokenizer, prompts)
    answers = encode_completions(tokenizer, completions, ended)
    rows = [prompt + answer for prompt, answer in zip(prompt_ids, answers, strict=True)]
    check_model(model, tokenizer)
    check_lengths(model, rows, "row")
    ids, attention_mask = pad(rows, tokenizer.pad_token_id)
    return rollout.score_ids(model, ids, attention_mask).cpu()


def normalise(model, tokenizer, prompts, completions, ended: bool | list[bool] = True) -> None:
    """Give scores on these samples of the SFT policy mean 0 and deviation 1.

    The gain goes into the head's weights, the mean into `model.config.reward_mean` (Ziegler et al.
    2019, 2.1). `model.config.reward_deviation` keeps how far apart scores were: sigmoid(lead x
    deviation) is what the model has learned as the chance that the leading answer is chosen.
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
    model.config.reward_deviation *= deviation

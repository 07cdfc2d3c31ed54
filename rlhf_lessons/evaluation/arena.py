"""The arena: models answer the same prompts, and the toy world's judge scores them.

Answers to one prompt resemble each other, so intervals are bootstrapped by prompt. Two models are
compared prompt by prompt, on the same draws.
"""

from itertools import combinations

import numpy as np

from rlhf_lessons.evaluation.intervals import interval
from rlhf_lessons.lm.sampling import Samples, generate
from rlhf_lessons.world.judge import Scores, judge
from rlhf_lessons.world.tasks import FAMILIES, Task

METRICS = ("relevance", "accuracy", "clarity", "utility", "ended", "fulfils")
CLOSE = 0.05  # two answers whose utilities are closer than this count as a tie


def answer_all(
    model,
    tokenizer,
    prompts: list[str],
    n: int,
    seed: int = 0,
) -> tuple[list[list[str]], list[list[bool]]]:
    """Sample `n` answers to each prompt: texts, and whether each ended, as lists of lists."""
    return grouped(generate(model, tokenizer, repeated(prompts, n), seed=seed), n)


def grouped(samples: Samples, n: int) -> tuple[list[list[str]], list[list[bool]]]:
    """Return texts of `n` samples for each prompt, and whether each ended, as lists of lists."""
    texts = np.array(samples.texts, dtype=object).reshape(-1, n)
    return texts.tolist(), samples.ended.view(-1, n).tolist()


def repeated(prompts: list[str], n: int) -> list[str]:
    """Return each prompt `n` times, one after the other."""
    return [prompt for prompt in prompts for _ in range(n)]


def score_all(
    prompts: list[str],
    texts: list[list[str]],
    ended: list[list[bool]],
) -> dict[str, np.ndarray]:
    """Judge the answers: an array (prompts, n) for each of METRICS."""
    judged = []
    for prompt, *answers in zip(prompts, texts, ended, strict=True):
        judged.append([judge(prompt, *answer) for answer in zip(*answers, strict=True)])
    by_metric = np.array(judged, dtype=float).transpose(2, 0, 1)  # (metrics, prompts, n)
    scores = dict(zip(Scores._fields, by_metric, strict=True))
    return scores | {"ended": np.array(ended, dtype=float)}


def wins(mine: np.ndarray, other: np.ndarray) -> np.ndarray:
    """1 where my utility is higher, 0 where it is lower, NaN where they are closer than CLOSE."""
    gap = mine - other
    return np.where(abs(gap) < CLOSE, np.nan, gap > 0)


def summarise(tasks: list[Task], scores: dict[str, np.ndarray]) -> dict:
    """Intervals of every metric, over all prompts and in each family."""
    family = np.array([task.family for task in tasks])

    def intervals(chosen) -> dict:
        return {metric: interval(scores[metric][chosen]) for metric in METRICS}

    families = [name for name in FAMILIES if name in family]
    return {
        "overall": intervals(...),
        "families": {name: intervals(family == name) for name in families},
    }


def evaluate(
    models: dict,
    tasks: list[Task],
    n: int = 4,
    seed: int = 0,
) -> dict:
    """Let each of `models` (name to (model, tokenizer)) answer every task `n` times, and judge.

    Returns plain data: `models` holds `summarise` of each, `win_rates` each model against those
    named before it.
    """
    prompts = [task.prompt for task in tasks]
    scores = {}
    for i, (name, model) in enumerate(models.items()):
        scores[name] = score_all(prompts, *answer_all(*model, prompts, n, seed + i))
    rates = []
    for other, name in combinations(models, 2):
        won = wins(scores[name]["utility"], scores[other]["utility"])
        rates.append({"model": name, "against": other, "rate": interval(won)})
    return {
        "n": n * len(tasks),
        "models": {name: summarise(tasks, found) for name, found in scores.items()},
        "win_rates": rates,
    }

"""Best of n: sample n answers and keep the one with the highest reward. It needs no training at
all.

A reward model that is worth training a policy on also chooses well; so best-of-n measures it before
PPO does. How it does for every n, and at what KL, follows from one pool of answers (`chances`).
"""

import math
from collections.abc import Iterable

import numpy as np
import torch

from rlhf_lessons.evaluation.arena import answer_all, repeated, score_all
from rlhf_lessons.evaluation.intervals import interval
from rlhf_lessons.stages.reward import score


def rewards_of(
    reward,
    tokenizer,
    prompts: list[str],
    texts: list[list[str]],
    ended: list[list[bool]],
) -> np.ndarray:
    """Return the rewards (prompts, n) of n answers to each prompt, as `answer_all` gives them.

    `reward` is a reward model, which reads with the tokenizer, or a function (prompts, completions,
    ended) -> rewards.
    """
    n = len(texts[0])
    answers = repeated(prompts, n), sum(texts, []), sum(ended, [])
    if isinstance(reward, torch.nn.Module):
        rewards = score(reward, tokenizer, *answers)
    else:
        rewards = reward(*answers)
    rewards = torch.as_tensor(rewards)
    return rewards.view(-1, n).numpy(force=True)


def best_of(
    policy,
    tokenizer,
    reward,
    prompt: str,
    n: int = 16,
    seed: int = 0,
) -> tuple[str, str]:
    """Return a plain sample of the policy, and of `n` others the one with the highest reward."""
    (texts,), (ended,) = answer_all(policy, tokenizer, [prompt], n + 1, seed)
    plain, *others = texts
    rewards = rewards_of(reward, tokenizer, [prompt], [others], [ended[1:]])
    return plain, others[rewards.argmax()]


def best_places(rewards: np.ndarray, ended: list[list[bool]]) -> np.ndarray:
    """Return the place (prompts,) of the highest of n rewards (prompts, n); only of answers that
    ended, if any did.
    """
    usable = np.array(ended) | ~np.any(ended, axis=1, keepdims=True)
    return np.where(usable, rewards, -np.inf).argmax(1)


def chances(rewards: np.ndarray, n: int) -> np.ndarray:
    """Return how likely each answer of a pool is to be the best of `n` drawn from it, with
    replacement.

    `rewards` is (..., pool), of answers drawn from the policy; ties are broken at random. What
    best-of-n gives on average is then the sum of chance times value, with no noise from drawing.
    """
    mine = rewards[..., :, None]
    others = rewards[..., None, :]
    below = (others < mine).mean(-1)
    level = (others == mine).mean(-1)
    return ((below + level) ** n - below**n) / (level * rewards.shape[-1])


def kl_of_best_of_n(rewards: np.ndarray, n: int) -> np.ndarray:
    """Return the KL of best-of-n from the policy, in nats: (...,) for rewards (..., pool).

    With rewards of levels k, of share q_k of the policy's answers and F_k up to and with level k,
    it is the sum of (F_k^n - F_(k-1)^n) log((F_k^n - F_(k-1)^n) / q_k). Answers that tie, such as
    the same one twice, keep it below `kl_bound`. It is exact where the shares are those of the
    policy; here they are those of the pool, so `n` should be small beside it.
    """
    chance = chances(rewards, n)
    times = np.maximum(chance * rewards.shape[-1], 1e-300)  # 0 log 0 is 0
    return (chance * np.log(times)).sum(-1)


def kl_bound(n: int) -> float:
    """Return log n - (n - 1) / n, often taken for the KL of best-of-n: an upper bound, which it
    approaches where hardly any two answers tie (Beirami et al. 2024).
    """
    return math.log(n) - (n - 1) / n


def best_of_n_gain(
    policy,
    tokenizer,
    reward,
    prompts: list[str],
    n: int = 16,
) -> list[float]:
    """Return what the best of `n` by reward gains in true utility over the mean of n.

    It is [mean, low, high].
    """
    texts, ended = answer_all(policy, tokenizer, prompts, n)
    utility = score_all(prompts, texts, ended)["utility"]
    rewards = rewards_of(reward, tokenizer, prompts, texts, ended)
    chosen = utility[range(len(prompts)), rewards.argmax(1)]
    return interval(chosen - utility.mean(1))


def ladder(rewards: np.ndarray, values: dict[str, np.ndarray], ns: Iterable[int]) -> list[dict]:
    """Return what best-of-n gives for each n: {"n", "kl"} and each of `values` as an interval.

    `rewards`, by which is chosen, and the values are (prompts, pool).
    """
    rows = []
    for n in ns:
        chance = chances(rewards, n)
        found = {name: interval((chance * each).sum(1)) for name, each in values.items()}
        rows.append({"n": n, "kl": float(kl_of_best_of_n(rewards, n).mean()), **found})
    return rows

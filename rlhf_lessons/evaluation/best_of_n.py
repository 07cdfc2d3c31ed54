"""Best of n: sample n answers and keep the one with the highest reward. It needs no training at
all.

A reward model that is worth training a policy on also chooses well; so best-of-n measures it before
PPO does.
"""

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


def best_of_n_gain(
    policy,
    tokenizer,
    reward,
    prompts: list[str],
    n: int = 16,
    seed: int = 0,
) -> list[float]:
    """Return what the best of `n` by reward gains in true utility over the mean of n.

    It is [mean, low, high].
    """
    texts, ended = answer_all(policy, tokenizer, prompts, n, seed)
    utility = score_all(prompts, texts, ended)["utility"]
    rewards = rewards_of(reward, tokenizer, prompts, texts, ended)
    chosen = utility[range(len(prompts)), rewards.argmax(1)]
    return interval(chosen - utility.mean(1))

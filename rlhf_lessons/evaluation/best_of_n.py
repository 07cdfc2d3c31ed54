"""Best of n: sample n answers and keep the one with the highest reward. It needs no training at
all.

A reward model that is worth training a policy on also chooses well; so best-of-n measures it before
PPO does.
"""

import numpy as np
import torch

from rlhf_lessons.evaluation.arena import answer_all, score_all
from rlhf_lessons.evaluation.intervals import interval
from rlhf_lessons.stages.reward import score


def rewards_of(reward, tokenizer, prompts: list[str], texts: list, ended: list) -> np.ndarray:
    """Return the rewards (prompts, n) of n answers to each prompt, as `answer_all` gives them.

    `reward` is a reward model, which reads with the tokenizer, or a function (prompts, completions,
    ended) -> rewards.
    """
    n = len(texts[0])
    asked = np.repeat(np.array(prompts, dtype=object), n).tolist()
    answers = asked, sum(texts, []), sum(ended, [])
    if isinstance(reward, torch.nn.Module):
        found = score(reward, tokenizer, *answers)
    else:
        found = reward(*answers)
    return torch.as_tensor(found).view(-1, n).numpy(force=True)


def best_of(policy, tokenizer, reward, prompt: str, n: int = 16, seed: int = 0) -> tuple[str, str]:
    """Return a plain sample of the policy, and of `n` others the one with the highest reward."""
    ((plain, *others),), ((_, *ended),) = answer_all(policy, tokenizer, [prompt], n + 1, seed)
    rewards = rewards_of(reward, tokenizer, [prompt], [others], [ended])
    return plain, others[rewards.argmax()]


def best_of_n_gain(
    policy, tokenizer, reward, prompts: list[str], n: int = 16, seed: int = 0
) -> list[float]:
    """Return what the best of `n` by reward gains in true utility over the mean of n: [mean, low,
    high].
    """
    texts, ended = answer_all(policy, tokenizer, prompts, n, seed)
    utility = score_all(prompts, texts, ended)["utility"]
    best = rewards_of(reward, tokenizer, prompts, texts, ended).argmax(1, keepdims=True)
    chosen = np.take_along_axis(utility, best, axis=1)
    return interval(chosen - utility.mean(1, keepdims=True))

"""Votes along a ladder of policies, such as the best of 1, 4, 16 ... answers: does what the reward
model promises come true?

Each policy's answers meet plain ones to the same prompts. The reward model, true utility, and
people who do not know which is which say how often they win, a tie counted as half (Stiennon et al.
2020, figure 5). The first two follow from a pool of answers, the third from pairs drawn from it.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from rlhf_lessons.evaluation.votes import Comparison, leaderboard
from rlhf_lessons.feedback.payloads import near_identical

PLAIN = "plain"  # as the store calls the model of a plain answer
SURE = 1e9  # a deviation with which the better answer always wins


class Rung(NamedTuple):
    """A policy: its KL from the SFT model in nats, its answers as `answer_all` gives them, and
    their rewards, true utilities and chances to be given, all (prompts, answers).
    """

    name: str
    kl: float
    texts: list[list[str]]
    ended: list[list[bool]]
    rewards: np.ndarray
    utility: np.ndarray
    chance: np.ndarray


def wins(chance: np.ndarray, mine: np.ndarray, plain: np.ndarray, deviation: float = SURE) -> float:
    """Return how often a policy's answers win against plain ones, as a mean over prompts.

    `mine` (prompts, n) are rewards of its answers or true utilities, `chance` the probabilities
    with which it gives them, `plain` (prompts, pool) the like of plain answers. A lead times
    `deviation` is the log-odds of winning (Bradley and Terry, 1952); by default the better wins.
    """
    leads = mine[:, :, None] - plain[:, None]
    rate = (1 + np.tanh(deviation * leads / 2)).mean(-1) / 2  # sigmoid(deviation * leads)
    return (chance * rate).sum(1).mean()


def pairs_along(
    prompts: list[str], plain: Rung, rungs: list[Rung], draws: int = 1, seed: int = 0
) -> tuple[list[dict], dict[str, float]]:
    """Return rows for `rl.rate` and `Store.add_tasks`, in random order: for each rung and prompt,
    `draws` times, a plain answer and one of the rung's.

    Return also, by rung, the share of its pairs about which the store asks nobody, since the two
    answers are almost the same.
    """
    rng = np.random.default_rng(seed)
    rows, alike = [], Counter()
    for rung in draws * rungs:
        for place, prompt in enumerate(prompts):
            shown = []
            for model, policy in ((PLAIN, plain), (rung.name, rung)):
                chance = policy.chance[place]
                i = rng.choice(len(chance), p=chance)
                text, ended = policy.texts[place][i], policy.ended[place][i]
                shown.append({"text": text, "ended": ended, "model": model})
            same = near_identical(shown[0]["text"], shown[1]["text"])
            alike[rung.name] += same / (draws * len(prompts))
            rows.append({"kind": "pair", "prompt": prompt, "completions": shown})
    rng.shuffle(rows)
    return rows, alike


def won_along(votes: list[Comparison], alike: dict[str, float]) -> dict[str, dict]:
    """Return for each rung with votes the figure of pairs that it won, its interval drawn over
    prompts. The share of pairs that are `alike` counts as ties.
    """
    found = {row["model"]: row for row in leaderboard(votes, "prompt")}
    for name in alike.keys() & found.keys():
        for end in ("value", "low", "high"):
            found[name][end] += alike[name] * (0.5 - found[name][end])
    return found

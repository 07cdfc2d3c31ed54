"""Answers worth a person's time: what models wrote, as rows for `rl.rate` and `Store.add_tasks`.

A row is {"kind", "prompt", "completions": [{"text", "ended", "model", "reward"}, ...], "source"};
`reward` is what the card opens after the vote.
"""

import random
from itertools import combinations

from rlhf_lessons.evaluation.arena import answer_all, grouped, repeated
from rlhf_lessons.evaluation.best_of_n import rewards_of
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.world.judge import judge

CANDIDATES = 16  # answers sampled for each prompt, of which a rater sees two
RANDOM_SHARE = 0.1  # of prompts to which any two answers are shown
GAP = 0.05  # two answers whose true utilities are closer would waste a reader's time


def answers_by(
    models: dict,
    prompts: list[str],
    n: int = 1,
    reward=None,
    seed: int = 0,
) -> list[dict]:
    """Return a row for each prompt with `n` answers by each of `models` (name to (model,
    tokenizer)).

    `reward` is a reward model, or a function (prompts, completions, ended) -> rewards; None leaves
    them open.
    """
    rows = [{"prompt": prompt, "completions": []} for prompt in prompts]
    for place, (name, (model, tokenizer)) in enumerate(models.items()):
        texts, ended = answer_all(model, tokenizer, prompts, n, seed + 1000 * place)
        rewards = [[None] * n] * len(prompts)
        if reward is not None:
            rewards = rewards_of(reward, tokenizer, prompts, texts, ended).tolist()
        for row, *answers in zip(rows, texts, ended, rewards, strict=True):
            for text, end, number in zip(*answers, strict=True):
                number = number and round(number, 2)
                answer = {"text": text, "ended": end, "model": name, "reward": number}
                row["completions"].append(answer)
    return rows


def pairs_to_rate(
    model,
    tokenizer,
    reward,
    prompts: list[str],
    seed: int = 0,
    name: str = "sft",
) -> list[dict]:
    """Return one pair for each prompt, from the 16 answers that the model `name` gives to it.

    Of most prompts, the two that differ in the most words, out of the half that the reward model
    likes better: a vote then tells your taste, rather than that a broken text is broken. Of a tenth
    of the prompts, any two, because choosing by a model also chooses what that model overlooks.
    """
    rng = random.Random(f"pairs/{seed}")
    found = []
    models = {name: (model, tokenizer)}
    for row in answers_by(models, prompts, CANDIDATES, reward, seed):
        different = {answer["text"]: answer for answer in row["completions"]}
        source = "random" if rng.random() < RANDOM_SHARE else "different"
        order = rng.sample(list(different.values()), len(different))
        if len(order) < 2:
            continue
        if source == "different":
            order.sort(key=lambda answer: -answer["reward"])
            better = order[: max(2, len(order) // 2)]
            order = max(combinations(better, 2), key=lambda pair: words_apart(*pair))
        found.append(row | {"kind": "pair", "source": source, "completions": list(order[:2])})
    return found


def plain_and_asked(
    model, tokenizer, prompts: list[str], wish: str, seed: int = 0, **sampling
) -> list[dict]:
    """Return a ranking of four answers for each prompt: two to the prompt as it is, and two to the
    prompt with a wish after it, such as "Be brief."

    Without the wish, most answers of a model are alike in what the reader cares about, and votes on
    them would teach nothing. `sampling` goes to `generate`.
    """
    rows = [{"kind": "ranking", "prompt": prompt, "completions": []} for prompt in prompts]
    for place, name in enumerate(("plain", "asked")):
        asked = [f"{prompt} {wish}" if name == "asked" else prompt for prompt in prompts]
        found = generate(model, tokenizer, repeated(asked, 2), seed=seed + place, **sampling)
        for row, texts, ended in zip(rows, *grouped(found, 2), strict=True):
            for text, end in zip(texts, ended, strict=True):
                row["completions"].append({"text": text, "ended": end, "model": name})
    return rows


def words_apart(one: dict, other: dict) -> int:
    """Return how many words stand in one of two answers only."""
    return len(set(one["text"].split()) ^ set(other["text"].split()))


def make_pairs(models: dict, prompts: list[str], n: int, seed: int = 0) -> list[dict]:
    """Return the first `n` pairs of answers, one by each of two models, that differ in true
    utility; the store draws the sides.
    """
    rows = []
    for row in answers_by(models, prompts, seed=seed):
        prompt, answers = row["prompt"], row["completions"]
        left, right = (judge(prompt, answer["text"]).utility for answer in answers)
        if abs(left - right) >= GAP:
            rows.append(row)
    return rows[:n]

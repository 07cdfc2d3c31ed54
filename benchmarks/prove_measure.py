"""What `prove.py` measures, on one split of the prompts.

Each measurement is kept as a file and not made again: those of a seed in
`runs/proof/seedN/SPLIT/`, those of the base in `runs/proof/base_SPLIT.json`. They hold a number
for each answer, so that whatever is compared later is paired by prompt.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rlhf_lessons import data
from rlhf_lessons import recipes as course
from rlhf_lessons.evaluation.arena import answer_all, repeated, score_all
from rlhf_lessons.evaluation.best_of_n import best_places, rewards_of
from rlhf_lessons.evaluation.intervals import interval
from rlhf_lessons.evaluation.parts import parts
from rlhf_lessons.evaluation.probes import base_probes
from rlhf_lessons.evaluation.reward_model import report
from rlhf_lessons.lm.models import load_model
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.paths import write_text
from rlhf_lessons.stages.reward import score
from rlhf_lessons.world.answers import HABITS, TASTES, tastes
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS, FAMILIES, parse

TEMPERATURES = (1.0, 0.7, 0.5, 0.3, 0.0)
SHARES = {"best3": 0.03, "best10": 0.1, "best20": 0.2, "best40": 0.4}  # of the demonstrations
MARKS = 1  # judgements of each demonstration, to sort them
FEW = 25  # demonstrations, without any choice
OWN, OWN_SHARE = 5, 0.025  # SFT's answers to each prompt, and the share of them kept by marks
MODELS = ("sft", *SHARES, "epochs8", "distilled", "ppo", "few", "winners", "marked")
PARTS = ("truth", "article", "distinct", "reward_model")  # what is measured beside them
SAMPLES = 200  # answers at each temperature to each of the article's prompts
GAP = 0.2  # pairs closer in true utility are not asked of the reward model
BATCH = 512  # answers sampled together


def kept(file: Path, make: Callable):
    """Return what `file` holds; if there is no such file, make it first."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(make()))
    return json.loads(file.read_text(encoding="utf-8"))


def measure(folder: Path, split: str, seed: int) -> None:
    """Measure all of one seed on a split."""
    measure_models(folder, split, seed)
    prompts = data.prompts_of(split)
    makers = (
        lambda: at_temperatures(folder / "truth", prompts, seed, [1.0]),
        lambda: {name: article(folder / name, split, seed) for name in ("sft", "ppo")},
        lambda: {name: distinct(folder / name, prompts, seed) for name in ("sft", "ppo")},
        lambda: reward_model(folder, prompts, seed),
    )
    for name, make in zip(PARTS, makers, strict=True):
        kept(folder / split / f"{name}.json", make)


def measure_models(folder: Path, split: str, seed: int) -> None:
    """Measure the language models of one seed at each temperature."""
    prompts = data.prompts_of(split)
    for place, name in enumerate(MODELS):
        first_seed = 100 * seed + 10 * place  # each temperature takes the next one
        reward_path = folder / "reward" if name == "sft" else None
        make = partial(
            at_temperatures, folder / name, prompts, first_seed, TEMPERATURES, reward_path
        )
        kept(folder / split / f"{name}.json", make)


def measure_base(runs: Path, base: Path, split: str) -> dict:
    """Measure the base: its answers at temperature 1, the article's prompts, its probes."""
    return kept(
        runs / f"base_{split}.json",
        lambda: {
            "base": at_temperatures(base, data.prompts_of(split), 0, [1.0]),
            "article": article(base, split, 0),
            "probes": base_probes(*load_model(base)),
        },
    )


def at_temperatures(
    path: Path,
    prompts: list[str],
    seed: int,
    temperatures: Sequence[float],
    reward_path: Path | None = None,
) -> dict:
    """Return what `look` sees in a model's answers, for each temperature.

    There are 8 answers to a prompt at temperature 1, 4 at others, one greedy. With a reward model
    there are 16, and beside them, as "best", is what it sees in the best of them by reward.
    """
    model, tokenizer = load_model(path)
    reward = load_model(reward_path)[0] if reward_path else None
    found = {}
    for place, temperature in enumerate(temperatures):
        n = 16 if reward else 8 if temperature == 1 else 4
        texts, ended, entropy = answer(model, tokenizer, prompts, n, temperature, seed + place)
        found[str(temperature)] = look(prompts, texts, ended) | {"entropy": entropy}
        if reward and temperature:
            best = best_places(rewards_of(reward, tokenizer, prompts, texts, ended), ended)
            texts, ended = (
                [[row[i]] for row, i in zip(rows, best, strict=True)] for rows in (texts, ended)
            )
            found[str(temperature)]["best"] = look(prompts, texts, ended)
    return found


def answer(
    model, tokenizer, prompts: list[str], n: int, temperature: float, seed: int
) -> tuple[list[list[str]], list[list[bool]], float]:
    """Answer each prompt `n` times, or once greedily: texts, whether each ended, and the entropy.

    The entropy, in nats a token, is that of the distribution sampled from. The mean of minus the
    log-prob over all sampled tokens estimates it.
    """
    n = n if temperature else 1
    samples = generate(
        model,
        tokenizer,
        repeated(prompts, n),
        temperature=temperature,
        seed=seed,
        batch_size=BATCH,
    )
    texts = np.array(samples.texts, dtype=object).reshape(-1, n)
    entropy = -(samples.logprobs.sum() / samples.response_mask.sum()).item() if temperature else 0.0
    return texts.tolist(), samples.ended.view(-1, n).tolist(), round(entropy, 4)


def look(prompts: list[str], texts: list[list[str]], ended: list[list[bool]]) -> dict:
    """Return utility, fulfils and words of each answer, (prompts, n), and the share of each taste.

    Of a taste it is the share of a prompt's answers, (prompts,).
    """
    scores = score_all(prompts, texts, ended)
    families = [parse(prompt)["family"] for prompt in prompts]
    seen = [[tastes(family, text) for text in row] for family, row in zip(families, texts)]
    return {
        "utility": scores["utility"].round(4).tolist(),
        "fulfils": scores["fulfils"].tolist(),
        "words": [[len(text.split()) for text in row] for row in texts],
        "tastes": {taste: [np.mean([taste in s for s in row]) for row in seen] for taste in TASTES},
    }


def article(path: Path, split: str, seed: int) -> dict:
    """Return how often answers fulfil each of the article's prompts, at each temperature.

    In a rehearsal a story and a sum of that split stand in for them.
    """
    prompts = list(ARTICLE_PROMPTS)
    if split != "heldout":
        tasks = data.tasks(split)
        prompts = [next(t.prompt for t in tasks if t.family == f) for f in ("story", "maths")]
    model, tokenizer = load_model(path)
    found = {}
    for temperature in TEMPERATURES:
        texts, ended, _ = answer(model, tokenizer, prompts, SAMPLES, temperature, seed)
        fulfils = score_all(prompts, texts, ended)["fulfils"]
        found[str(temperature)] = {
            "fulfils": fulfils.mean(1).tolist(),
            "samples": [row[:3] for row in texts],
        }
    return found


def distinct(path: Path, prompts: list[str], seed: int, n: int = 64) -> float:
    """Return the share of different texts among 64 answers to each of 8 story prompts."""
    stories = [prompt for prompt in prompts if parse(prompt)["family"] == "story"][:8]
    texts, _ = answer_all(*load_model(path), stories, n, seed)
    return float(np.mean([len(set(row)) / n for row in texts]))


def reward_model(folder: Path, prompts: list[str], seed: int) -> dict:
    """Return how often the reward model is right on new pairs, and how sure of it it may be.

    `agreement` is with the true utility, on pairs at least GAP apart; `calibration` with the
    raters' labels, in bins (predicted, observed, pairs); `by_parts` is what the answers earn.
    """
    (sft, tokenizer), (model, _) = load_model(folder / "sft"), load_model(folder / "reward")
    pairs = course.make_comparisons(sft, tokenizer, prompts, seed=1000 + seed, k=6)
    whole = report(model, tokenizer, pairs, GAP)
    right = {}  # prompt -> whether each of its pairs is right
    for prompt in dict.fromkeys(pair["prompt"] for pair in pairs):
        found = report(model, tokenizer, [p for p in pairs if p["prompt"] == prompt], GAP)
        right[prompt] = [found.true_accuracy] * found.true_pairs
    agreement = {"all": agreement_of(right)}
    for family in FAMILIES:
        rows = {p: row for p, row in right.items() if parse(p)["family"] == family}
        agreement[family] = agreement_of(rows)
    return {
        "agreement": agreement,
        "pairs": whole.true_pairs,
        "ceiling": whole.ceiling,
        "label_accuracy": whole.accuracy,
        "calibration": whole.calibration,
        "by_parts": by_parts(model, tokenizer, pairs),
    }


def by_parts(model, tokenizer, pairs: list[dict]) -> dict[str, list[float | None]]:
    """Return the mean reward of a family's answers with 0, 1, 2, ... of its parts, or None."""
    answers = set()
    for pair in pairs:
        for name, ended in zip(("chosen", "rejected"), pair["ended"], strict=True):
            answers.add((pair["prompt"], pair[name], ended))
    prompts, texts, ended = zip(*sorted(answers), strict=True)
    rewards = score(model, tokenizer, prompts, texts, list(ended)).tolist()
    found = {family: [[] for _ in range(len(HABITS["parts"][family]) + 1)] for family in FAMILIES}
    for prompt, text, reward in zip(prompts, texts, rewards, strict=True):
        there = sum(parts(prompt, text).values())
        found[parse(prompt)["family"]][there].append(reward)
    return {
        family: [round(float(np.mean(of)), 4) if of else None for of in rows]
        for family, rows in found.items()
    }


def agreement_of(right: dict[str, list[float]]) -> list[float]:
    """Return the share of right pairs with its interval, bootstrapped by prompt."""
    longest = max(map(len, right.values()))
    padded = [row + [np.nan] * (longest - len(row)) for row in right.values()]
    return interval(np.array(padded, dtype=float))

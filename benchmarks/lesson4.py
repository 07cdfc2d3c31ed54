"""Lesson 4's curves: four prices of KL under a good and a weak reward model, and five mistakes,
over four seeds.

    python benchmarks/lesson4.py            # half an hour on one core of ours

Each run is PPO from the shipped SFT model: twenty steps of 48 answers to prompts of the train
split. The good reward model is the shipped one; the weak one keeps one layer and learns from 100
comparisons, others for each seed. Before and after, the true utility is measured on validation
prompts, one answer to each. A run that stands in `runs/lesson4` is not made again; the curves go to
`data/results/lesson4_ppo.json`, and no model is kept.
"""

import argparse
import copy
import json
import random
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import torch

import rlhf_lessons as rl
from rlhf_lessons import data, paths
from rlhf_lessons.evaluation.arena import answer_all, score_all
from rlhf_lessons.evaluation.reward_model import report
from rlhf_lessons.exercises.bugs import bug
from rlhf_lessons.recipes import true_reward
from rlhf_lessons.stages.config import PPOConfig, RewardConfig
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.reward import RewardModelling, normalise

RESULT = paths.DATA / "results" / "lesson4_ppo.json"
CONFIG = PPOConfig(steps=20, batch_size=48, critic_warmup=2)
PRICES = {"none": 0.0, "small": 0.03, "medium": 0.1, "large": 1.0}
BUGS = (
    "score after the end",
    "padding in the returns",
    "another temperature",
    "top-k in the sampling only",
    "cold critic",
)
NAMES = [
    *(f"{judge}/{price}" for judge in ("good", "weak") for price in PRICES),
    *(f"trap/{name}" for name in BUGS),
]
METRICS = (
    "reward",
    "true_utility",
    "kl",
    "explained_variance",
    "value_loss",
    "ratio_error",
    "entropy",
    "length",
)
LABELS = 100  # comparisons of the weak reward model


@cache
def weak_reward_model(sft, tokenizer, seed: int):
    """Return a reward model of one layer that learned from 100 comparisons, and how often it agrees
    with the truth."""
    comparisons = data.comparisons()
    drawn = random.Random(f"lesson 4/{seed}").sample(comparisons, LABELS + 600)
    chosen, seen = drawn[:LABELS], {row["prompt"] for row in drawn[:LABELS]}
    kept_aside = [row for row in drawn[LABELS:] if row["prompt"] not in seen]
    stage = RewardModelling(
        sft, tokenizer, chosen, RewardConfig(epochs=4, keep_layers=1, warmup=5, seed=seed)
    )
    list(stage)
    prompts = [task.prompt for task in rl.tasks("train")][:150]
    texts, ended = answer_all(sft, tokenizer, prompts, 1, seed)
    normalise(stage.model, tokenizer, prompts, sum(texts, []), sum(ended, []))
    return stage.model, report(stage.model, tokenizer, kept_aside, gap=0.2).true_accuracy


def utility(policy, tokenizer, seed: int) -> float:
    """Return the mean true utility of one answer to each validation prompt."""
    prompts = [task.prompt for task in rl.tasks("validation")]
    return round(
        float(
            score_all(prompts, *answer_all(policy, tokenizer, prompts, 1, seed))["utility"].mean()
        ),
        4,
    )


def measure(name: str, seed: int, sft, tokenizer, good) -> dict:
    """Run PPO once, as `name` says: "good/medium", "weak/none", or "trap/" and the trap's name."""
    kind, what = name.split("/")
    reward, accuracy = weak_reward_model(sft, tokenizer, seed) if kind == "weak" else (good, None)
    config = replace(CONFIG, kl_coef=PRICES["medium" if kind == "trap" else what], seed=seed)
    if what == "cold critic":
        config = replace(config, critic_warmup=0)
    policy, prompts = copy.deepcopy(sft), [task.prompt for task in rl.tasks("train")]
    with bug(what) if kind == "trap" else nullcontext():
        steps = list(PPO(policy, tokenizer, reward, prompts, config, true_utility=true_reward))
    curves = {
        metric: [round(float(getattr(step, metric)), 4) for step in steps] for metric in METRICS
    }
    return {
        **curves,
        "before": utility(sft, tokenizer, seed),
        "after": utility(policy, tokenizer, seed),
        "reward_accuracy": accuracy,
    }


def main(seeds: list[int]) -> None:
    torch.set_num_threads(1)
    (sft, tokenizer), (good, _) = rl.load("sft", "shipped"), rl.load("reward", "shipped")
    found = {name: [] for name in NAMES}
    for seed in seeds:
        for name in NAMES:
            file = (
                paths.RUNS / "lesson4" / f"{name.replace('/', '_').replace(' ', '_')}_{seed}.json"
            )
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(
                    json.dumps(measure(name, seed, sft, tokenizer, good)), encoding="utf-8"
                )
            run = json.loads(file.read_text(encoding="utf-8"))
            found[name].append(run)
            print(
                f"{name}, seed {seed}: reward {run['reward'][0]:+.2f} to {run['reward'][-1]:+.2f}, "
                f"utility {run['before']:.2f} to {run['after']:.2f}, KL {run['kl'][-1]:.1f}",
                flush=True,
            )
    runs = {
        name: {key: [run[key] for run in runs] for key in runs[0]} for name, runs in found.items()
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(run)}" for name, run in runs.items())
    head = json.dumps({"seeds": seeds, "prices": PRICES, "labels": LABELS})[:-1]
    RESULT.write_text(f'{head}, "runs": {{\n{lines}\n}}}}\n', encoding="utf-8", newline="\n")
    print(f"written: {RESULT.name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    main(parser.parse_args().seeds)

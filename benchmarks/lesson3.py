"""Lesson 3's curves: layers kept, number and noise of labels, ties, and a reward read at padding,
over four seeds.

    python benchmarks/lesson3.py            # about 50 minutes on one core of ours

Each run trains a reward model on part of the shipped comparisons, from the shipped SFT model. Their
labels are made anew: the true order, and a share of them turned round at random. It is measured on
answers to validation prompts, against labels as noisy as its own, and against the truth where true
utilities differ by 0.2 or more. A run that stands in `runs/lesson3` is not made again; all go to
`data/results/lesson3_reward.json`, and no model is kept.
"""

import argparse
import json
import random
import time
from collections import defaultdict
from contextlib import nullcontext
from statistics import median

import numpy as np
import torch

import rlhf_lessons as rl
from rlhf_lessons import data, paths
from rlhf_lessons.evaluation.reward_model import report
from rlhf_lessons.exercises.bugs import bug
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.recipes import make_comparisons
from rlhf_lessons.stages.config import RewardConfig
from rlhf_lessons.stages.reward import RewardModelling, score

RESULT = paths.DATA / "results" / "lesson3_reward.json"
EPOCHS = {150: 8, 600: 4, 2400: 2}  # rankings, and how often each is seen: few are seen oftener
MOST, POINTS, GAP = (
    max(EPOCHS),
    20,
    0.2,
)  # points of a loss curve; true utilities nearer than the gap are not compared
PLAIN = {"layers": 2, "rankings": MOST, "flipped": 0.1, "thumbs": False, "trap": None}
ARMS = [
    *({**PLAIN, "rankings": n, "flipped": e} for n in EPOCHS for e in (0.0, 0.1, 0.3)),
    *({**PLAIN, "layers": layers} for layers in (1, 3, 4)),
    *(
        {**PLAIN, "rankings": 600, "thumbs": True, "trap": name}
        for name in (None, "ties in the loss")
    ),
    {**PLAIN, "rankings": 600, "trap": "reward read at padding"},
]


def labelled(rows: list[dict], flipped: float, rng: random.Random) -> list[dict]:
    """Return comparisons in their true order, except for a share `flipped` of them, drawn at
    random."""
    found = []
    for row in rows:
        if (row["utilities"][0] < row["utilities"][1]) != (rng.random() < flipped):
            turned = {name: row[name][::-1] for name in ("utilities", "ended")}
            row = {**row, **turned, "chosen": row["rejected"], "rejected": row["chosen"]}
        found.append(row)
    return found


def thumbs(rows: list[dict], rng: random.Random) -> list[dict]:
    """Return the rankings behind comparisons, in random order, scored 1 (a utility of 0.5 or more)
    or 0."""
    groups = defaultdict(dict)
    for row in rows:
        groups[row["prompt"], row["group"]] |= dict(
            zip(
                (row["chosen"], row["rejected"]),
                zip(row["utilities"], row["ended"], strict=False),
                strict=False,
            )
        )
    found = []
    for (prompt, _), answers in groups.items():
        texts = rng.sample(sorted(answers), len(answers))
        found.append(
            {
                "prompt": prompt,
                "completions": texts,
                "ended": [answers[text][1] for text in texts],
                "scores": [float(answers[text][0] >= 0.5) for text in texts],
            }
        )
    return found


def measure(arm: dict, seed: int, sft, tokenizer, comparisons: list[dict], new: list[dict]) -> dict:
    """Train one reward model as `arm` says, and return what came out on its own labels and on new
    ones."""
    rng = random.Random(f"lesson 3/{seed}")
    groups = set(rng.sample(sorted({row["group"] for row in comparisons}), MOST)[: arm["rankings"]])
    rows = labelled([row for row in comparisons if row["group"] in groups], arm["flipped"], rng)
    labels = labelled(new, arm["flipped"], random.Random(f"new/{seed}"))
    config = RewardConfig(
        epochs=EPOCHS[arm["rankings"]],
        batch_size=8,
        warmup=20,
        keep_layers=arm["layers"],
        seed=seed,
    )
    with bug(arm["trap"]) if arm["trap"] else nullcontext():
        run = RewardModelling(sft, tokenizer, thumbs(rows, rng) if arm["thumbs"] else rows, config)
        losses = [step.loss for step in run]
        found = report(run.model, tokenizer, labels)
        true_accuracy = report(run.model, tokenizer, labels, gap=GAP).true_accuracy
        own = report(run.model, tokenizer, rows[:1000]).accuracy
    return {
        "accuracy": round(found.accuracy, 4),
        "true_accuracy": round(true_accuracy, 4),
        "ceiling": found.ceiling,
        "own_labels": round(own, 4),
        "loss": [round(float(x.mean()), 3) for x in np.array_split(losses, POINTS)],
    }


def size_and_speed(sft, tokenizer, new: list[dict], repeats: int = 5) -> list[dict]:
    """Return parameters and milliseconds an answer (one core, median) of reward models with 1, 2
    ... layers."""
    texts, found = ([row["prompt"] for row in new], [row["chosen"] for row in new]), []
    for layers in range(1, sft.config.num_hidden_layers + 1):
        model, times = to_reward_model(sft, layers), []
        for _ in range(repeats):
            start = time.perf_counter()
            score(model, tokenizer, *texts)
            times.append(1000 * (time.perf_counter() - start) / len(new))
        found.append(
            {
                "layers": layers,
                "parameters": sum(p.numel() for p in model.parameters()),
                "milliseconds": round(median(times), 3),
            }
        )
    return found


def main(seeds: list[int]) -> None:
    torch.set_num_threads(1)
    sft, tokenizer = rl.load("sft", "shipped")
    comparisons = data.comparisons()
    new = make_comparisons(sft, tokenizer, [task.prompt for task in rl.tasks("validation")], seed=9)
    runs = []
    for seed in seeds:
        for arm in ARMS:
            file = (
                paths.RUNS
                / "lesson3"
                / f"{'_'.join(str(x).replace(' ', '_') for x in arm.values())}_{seed}.json"
            )
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(
                    json.dumps(measure(arm, seed, sft, tokenizer, comparisons, new)),
                    encoding="utf-8",
                )
            runs.append({**arm, "seed": seed, **json.loads(file.read_text(encoding="utf-8"))})
            print({name: value for name, value in runs[-1].items() if name != "loss"}, flush=True)
    size = ",\n".join(map(json.dumps, size_and_speed(sft, tokenizer, new)))
    lines = ",\n".join(map(json.dumps, runs))
    RESULT.write_text(
        f'{{"size": [\n{size}\n], "runs": [\n{lines}\n]}}\n', encoding="utf-8", newline="\n"
    )
    print(f"written: {RESULT.name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    main(parser.parse_args().seeds)

"""Draws the six figures of curves.md, in each of which something is broken.

    python teaching/curves.py            writes teaching/curves/a.png to f.png

The results are those that ship in data/results; the script runs in the course's environment. Each
figure has four runs of the broken stage, and four of the sound one beside it: means as lines, and
the range of the four seeds as a band. What is broken is not in the figures.
"""

import json
from pathlib import Path

import numpy as np

from rlhf_lessons.plots import COLOURS, STYLES, canvas

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "data" / "results"


def result(name: str):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def pretraining(kind: str, measure: str) -> tuple[list, list[list]]:
    """Return (steps, a row for each seed) of lesson 1's runs."""
    found = result("lesson1_traps")
    return found["steps"], [run[measure] for run in found["runs"] if run["kind"] == kind]


def fine_tuning(bug: str | None, measure: str) -> tuple[list, list[list]]:
    """Return the same of lesson 2's; the ending was measured before and after every third step."""
    runs = [run[measure] for run in result("lesson2_traps") if run["trap"] == bug]
    return list(range(0, 22, 3) if measure == "ending" else range(1, 22)), runs


def judging(bug: str | None, measure: str) -> tuple[list, list[list]]:
    """Return the same of lesson 3's reward models, which learn from thumbs; steps in percent."""
    runs = [
        run[measure]
        for run in result("lesson3_reward")["runs"]
        if run["thumbs"] and run["trap"] == bug
    ]
    return list(range(5, 101, 5)), runs


def ppo(name: str, measure: str) -> tuple[list, list[list]]:
    """Return the same of lesson 4's runs of PPO."""
    return list(range(1, 21)), result("lesson4_ppo")["runs"][name][measure]


# letter: where the runs come from, sound, broken; for each panel its measure, name, axis below
FIGURES = {
    "a": (
        ppo,
        "good/medium",
        "weak/none",
        ("reward", "reward", "PPO step"),
        ("true_utility", "true utility", "PPO step"),
    ),
    "b": (
        fine_tuning,
        None,
        "labels not shifted",
        ("loss", "training loss", "step"),
        ("ended", "share of answers that end", ""),
    ),
    "c": (
        pretraining,
        "healthy",
        "end left out of pretraining",
        ("loss", "training loss", "step"),
        ("ended", "share of samples that end", ""),
    ),
    "d": (
        judging,
        None,
        "ties in the loss",
        ("loss", "training loss", "percent of the run"),
        ("accuracy", "accuracy on new labels", ""),
    ),
    "e": (
        ppo,
        "good/medium",
        "trap/score after the end",
        ("reward", "reward", "PPO step"),
        ("value_loss", "loss of the critic", "PPO step"),
    ),
    "f": (
        fine_tuning,
        None,
        "pad is the end token",
        ("loss", "training loss", "step"),
        ("ending", "chance of the end\nwhere answers end", "step"),
    ),
}


def draw(axis, at: list, rows: list, i: int, label: str) -> None:
    """Draw four runs: as a line with a band, or, where each has one number, as dots."""
    if not isinstance(rows[0], list):
        axis.plot([i] * len(rows), rows, "os"[i], color=COLOURS[i], label=label, alpha=0.7)
        return
    runs = np.array(rows)
    axis.fill_between(at, runs.min(0), runs.max(0), color=COLOURS[i], alpha=0.15, linewidth=0)
    axis.plot(at, runs.mean(0), color=COLOURS[i], linestyle=STYLES[1 - i], label=label)


def figure(letter: str):
    """Return one figure: two panels, in each a sound stage and the broken one."""
    of, sound, broken, *panels = FIGURES[letter]
    drawn, axes = canvas(2, width=7.5, height=2.6)
    for axis, (measure, name, below) in zip(axes, panels, strict=True):
        for i, (label, run) in enumerate({"a sound run": sound, "this run": broken}.items()):
            draw(axis, *of(run, measure), i, label)
        axis.set(ylabel=name, xlabel=below)
        if not below:
            axis.set(
                xlim=(-0.7, 1.7),
                xticks=[0, 1],
                xticklabels=["a sound run", "this run"],
                ylim=(-0.05, 1.05),
            )
    axes[0].legend(fontsize=8)
    drawn.suptitle(f"Figure {letter.upper()}", x=0.01, ha="left", fontsize=11)
    return drawn


def main() -> None:
    (HERE / "curves").mkdir(exist_ok=True)
    for letter in FIGURES:
        figure(letter).savefig(HERE / "curves" / f"{letter}.png", dpi=100)


if __name__ == "__main__":
    main()

"""The figures of the proof, from what `prove_measure.py` measured.

A figure is [mean, low, high]: a mean, and its 95 % interval bootstrapped by prompt. Where two
models are compared, they are paired by prompt. Over several seeds, a prompt counts with its mean
over the seeds.
"""

import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
from prove_measure import FEW, MARKS, MODELS, OWN_SHARE, PARTS, SHARES, TEMPERATURES

from rlhf_lessons import data
from rlhf_lessons import recipes as course
from rlhf_lessons.evaluation.arena import wins
from rlhf_lessons.evaluation.intervals import bootstrap, interval
from rlhf_lessons.lm.models import load_card
from rlhf_lessons.world.answers import TASTES
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.tasks import FAMILIES

RIVALS = {  # what PPO must beat, by what it learns from
    "from writers": ("sft", *SHARES, "epochs8", "few"),
    "from judgements of its own answers": ("winners", "marked"),
}
WITHOUT_REWARD_MODEL = sum(RIVALS.values(), ())
LABELS = {
    "base": "base",
    "sft": "SFT",
    **{name: f"SFT, best {100 * share:.0f} %" for name, share in SHARES.items()},
    "epochs8": "SFT, 8 epochs",
    "few": f"SFT, {FEW} demonstrations",
    "winners": "SFT on its own winners",
    "marked": f"SFT on its own best {100 * OWN_SHARE:g} %",
    "best16": "best of 16 by reward",
    "distilled": "SFT on its best of 16",
    "ppo": "PPO",
}
CURVES = (*WITHOUT_REWARD_MODEL, "ppo")  # drawn over the temperature
PAIRS = math.comb(course.K + 2, 2)  # of a ranking: K answers and two to other prompts
COMPARISONS = course.RANKINGS * PAIRS  # those of the first round are among them
QUARTERS = 4  # of the answers, by their length


def figures(runs: Path, split: str) -> dict:
    """Return all figures of the seeds that are measured on a split: plain data."""
    found = load(runs, split, (*MODELS, *PARTS))
    measured = list(found.values())
    best = best_temperatures(list(load(runs, "validation", MODELS).values()))
    base = json.loads((runs / f"base_{split}.json").read_text(encoding="utf-8"))
    taught = [judge(row["prompt"], row["completion"]) for row in data.demonstrations()]
    return {
        "split": split,
        "prompts": len(measured[0]["family"]),
        "best_temperature": {LABELS[name]: temperature for name, temperature in best.items()},
        "demonstrations": {
            "utility": float(np.mean([scores.utility for scores in taught])),
            "fulfils": float(np.mean([scores.fulfils for scores in taught])),
        },
        "base": {
            "utility": pooled([base], "base", 1.0, "utility"),
            "fulfils": pooled([base], "base", 1.0, "fulfils"),
            "article": base["article"],
            "probes": base["probes"],
        },
        "temperature": {
            "split": split,
            "rows": temperature_rows(measured),
            "side_effects": side_effects(measured),
            "rivals": rival_rows(measured, best),
        },
        "length": {LABELS[name]: by_length(measured, name) for name in ("sft", "ppo")},
        "by_seed": {seed: seed_figures(run, best) for seed, run in found.items()},
    }


def load(runs: Path, split: str, parts: tuple[str, ...]) -> dict[str, dict]:
    """Return what is measured of each seed on a split, the best of 16 as a model of its own.

    Seeds of which not all parts are measured yet are left out.
    """
    found = {}
    families = [task.family for task in data.tasks(split)]
    for folder in sorted(runs.glob(f"seed*/{split}")):
        run = {f.stem: json.loads(f.read_text(encoding="utf-8")) for f in folder.glob("*.json")}
        if set(parts) <= set(run):
            run["best16"] = {t: at["best"] for t, at in run["sft"].items() if "best" in at}
            run |= {"family": families, "folder": folder.parent}
            found[folder.parent.name.removeprefix("seed")] = run
    return found


def by_prompt(run: dict, name: str, temperature: float, metric: str) -> np.ndarray:
    """Return the mean of a model's answers to each prompt, (prompts,)."""
    return np.array(run[name][str(temperature)][metric]).mean(1)


def pooled(runs: list[dict], name: str, temperature: float, metric: str) -> list[float]:
    """Return a figure of all seeds."""
    return interval(np.stack([by_prompt(run, name, temperature, metric) for run in runs], 1))


def best_temperatures(validation: list[dict]) -> dict[str, float]:
    """Return the temperature of highest utility on validation prompts, one for all seeds."""
    chosen = {}
    for name in (*MODELS, "best16"):
        means = {}
        for temperature in map(float, validation[0][name]):
            means[temperature] = pooled(validation, name, temperature, "utility")[0]
        chosen[name] = max(means, key=means.get)
    return chosen


def ratio(over: np.ndarray, under: np.ndarray) -> list[float]:
    """Return the ratio of two means over the same prompts."""

    def of(weights: np.ndarray) -> np.ndarray:
        total = weights @ under
        return weights @ over / np.where(total, total, np.nan)

    found = of(np.ones((1, len(over))))[0], *bootstrap(of, len(over))
    return [round(float(number), 4) for number in found]


def temperature_rows(runs: list[dict]) -> list[dict]:
    """Return the rows of the figure of utility against entropy."""
    rows = []
    for name in CURVES:
        for temperature in TEMPERATURES:
            at = [run[name][str(temperature)] for run in runs]
            words = [np.mean([np.mean(row) for row in one["words"]]) for one in at]
            rows.append(
                {
                    "model": LABELS[name],
                    "temperature": temperature,
                    "utility": pooled(runs, name, temperature, "utility"),
                    "fulfils": pooled(runs, name, temperature, "fulfils"),
                    "entropy": round(float(np.mean([one["entropy"] for one in at])), 4),
                    "words": round(float(np.mean(words)), 2),
                    "seeds": len(runs),
                }
            )
    return rows


def costs(run: dict) -> dict[str, tuple[int, float]]:
    """Return what each way costs after the base: judgements, and seconds of computing."""
    folder = run["folder"]
    seconds = {}
    for name in ("first_reward", "first", "reward", *MODELS):
        seconds[name] = load_card(folder / name)["seconds"]
    own_best, marked = (
        json.loads((folder / f"own_{name}.json").read_text(encoding="utf-8"))
        for name in ("best", "marked")
    )
    shared = sum(seconds[name] for name in ("sft", "first_reward", "first", "reward"))
    found = {name: (MARKS * len(data.demonstrations()), seconds[name]) for name in SHARES}
    return found | {
        "sft": (0, seconds["sft"]),
        "epochs8": (0, seconds["epochs8"]),
        "few": (0, seconds["few"]),
        "winners": (course.RANKINGS // 2 * PAIRS, seconds["sft"] + seconds["winners"]),
        "marked": (marked["marks"], seconds["sft"] + marked["seconds"] + seconds["marked"]),
        "best16": (COMPARISONS, shared),
        "distilled": (COMPARISONS, shared + own_best["seconds"] + seconds["distilled"]),
        "ppo": (COMPARISONS, shared + seconds["ppo"]),
    }


def rival_rows(runs: list[dict], best: dict[str, float]) -> list[dict]:
    """Return each rival at its best temperature with its costs, and the ways that need as many
    judgements as PPO; PPO and the best of 16 also at temperature 1."""
    paid = [costs(run) for run in runs]
    rows = []
    for name in (*WITHOUT_REWARD_MODEL, "best16", "distilled", "ppo"):
        ones = [1.0] if name in ("best16", "ppo") else []
        for temperature in dict.fromkeys([*ones, best[name]]):
            rows.append(
                {
                    "rival": LABELS[name] + ", colder" * (name == "sft"),
                    "temperature": temperature,
                    "utility": pooled(runs, name, temperature, "utility"),
                    "fulfils": pooled(runs, name, temperature, "fulfils"),
                    "judgements": paid[0][name][0],
                    "seconds": round(float(np.mean([cost[name][1] for cost in paid])), 1),
                }
            )
    return rows


def side_effects(runs: list[dict]) -> list[dict]:
    """Return every taste's share of SFT's and of PPO's answers at temperature 1, and the shift."""
    rows = []
    for taste in TASTES:
        sft, ppo = (
            np.stack([run[name]["1.0"]["tastes"][taste] for run in runs], 1)
            for name in ("sft", "ppo")
        )
        row = {"taste": taste, "sft": interval(sft), "ppo": interval(ppo)}
        rows.append(row | {"shift": interval(ppo - sft)})
    return rows


def by_length(runs: list[dict], name: str) -> list[dict]:
    """Return the utility of a model's shortest to longest answers, in quarters of each family."""
    parts = defaultdict(list)
    for run in runs:
        for family in FAMILIES:
            mine = np.array(run["family"]) == family
            words, utility = (
                np.array(run[name]["1.0"][metric])[mine].ravel() for metric in ("words", "utility")
            )
            order = np.argsort(words, kind="stable")
            for place, part in enumerate(np.array_split(order, QUARTERS)):
                parts[place].append((words[part].mean(), utility[part].mean()))
    means = [np.mean(parts[place], 0) for place in range(QUARTERS)]
    return [{"words": round(float(w), 2), "utility": round(float(u), 4)} for w, u in means]


def seed_figures(run: dict, best: dict[str, float]) -> dict:
    """Return the figures of one seed."""

    def of(name: str, temperature: float, metric: str = "utility") -> np.ndarray:
        return by_prompt(run, name, temperature, metric)

    def answers(name: str, temperature: float) -> np.ndarray:
        return np.array(run[name][str(temperature)]["utility"])

    def beside(names: tuple[str, ...]) -> dict:
        # Of the rivals we take the best one on these very prompts: chance is on its side.
        rival = max(names, key=lambda name: of(name, best[name]).mean())
        heat = best[rival]
        pairs = wins(
            answers("ppo", best["ppo"])[:, :, None],
            answers(rival, heat)[:, None, :],
        )
        return {
            "name": LABELS[rival],
            "utility": interval(of(rival, heat)),
            "fulfils": interval(of(rival, heat, "fulfils")),
            "lead": interval(warm - of(rival, heat)),
            "lead_colder": interval(of("ppo", best["ppo"]) - of(rival, heat)),
            "times_fulfilled": ratio(of("ppo", 1.0, "fulfils"), of(rival, heat, "fulfils")),
            "wins_colder": interval(pairs),
        }

    warm = of("ppo", 1.0)
    family = np.array(run["family"])
    gain = warm - of("sft", 1.0)
    true_gain = of("truth", 1.0) - of("sft", 1.0)
    found = {
        "rivals": {whose: beside(names) for whose, names in RIVALS.items()},
        "gain": interval(gain),
        "share_of_true_gain": ratio(gain, true_gain),
        "families": {f: interval(warm[family == f]) for f in FAMILIES},
        "kl": load_card(run["folder"] / "ppo")["measured"]["kl"],
        "distinct": run["distinct"],
        "reward_model": run["reward_model"],
        "article": run["article"],
    }
    whole = of("sft", 1.0, "fulfils")
    found["sft_whole"] = {f: interval(whole[family == f]) for f in FAMILIES}
    for metric in ("utility", "fulfils"):
        sft = [interval(of("sft", t, metric)) for t in TEMPERATURES]
        found["sft_highest_" + metric] = max(sft)
        found["ppo_" + metric] = interval(of("ppo", 1.0, metric))
        found["ppo_colder_" + metric] = interval(of("ppo", best["ppo"], metric))
    return found

"""The proof behind the README's table: SFT, reward model, PPO from one base, on several seeds.

    python benchmarks/prove.py --seeds 0 1 2 3 --threads 2      # measure each seed; the table
    python benchmarks/prove.py --table                          # only the table

Each seed is measured on the held-out prompts at temperature 1 and kept in
`runs/proof/seedN.json`; what exists is not made again. The table goes to
`data/results/proof.md`, all figures to `data/results/proof.json`. Nothing here was used for
tuning: hyperparameters were chosen on the validation prompts.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rlhf_lessons import data, paths
from rlhf_lessons import recipes as course
from rlhf_lessons.evaluation.arena import METRICS, answer_all, score_all, summarise, wins
from rlhf_lessons.evaluation.best_of_n import best_of_n_gain
from rlhf_lessons.evaluation.intervals import interval
from rlhf_lessons.evaluation.probes import base_probes
from rlhf_lessons.evaluation.reward_model import report
from rlhf_lessons.lm.models import load_card, load_model
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.world.answers import TASTES, tastes
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.raters import Rater
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS, FAMILIES

RUNS, RESULTS = Path("runs/proof"), paths.DATA / "results"
PER_PROMPT = 8  # answers to each of the 250 held-out prompts: 2,000 a model


def chain(seed: int, base: Path) -> Path:
    """Train SFT, reward model, PPO and PPO on the truth for one seed; return their folder."""
    folder = RUNS / f"seed{seed}"
    steps = {
        "sft": lambda out: course.make_sft(out, base, config=replace(course.SFT_RECIPE, seed=seed)),
        "reward": lambda out: course.make_reward(
            out, folder / "sft", config=replace(course.REWARD, seed=seed)
        ),
        "ppo": lambda out: course.make_ppo(
            out, folder / "sft", folder / "reward", replace(course.PPO_RECIPE, seed=seed)
        ),
        "truth": lambda out: course.make_ppo(
            out,
            folder / "sft",
            folder / "reward",
            replace(course.PPO_RECIPE, seed=seed),
            truth=True,
        ),
    }
    for name, make in steps.items():
        if not (folder / name / "card.json").is_file():
            make(folder / name)
    return folder


def measure(folder: Path, base: Path, seed: int) -> dict:
    """Measure one chain on the held-out prompts."""
    tasks = data.tasks("heldout")
    prompts = [task.prompt for task in tasks]
    models = {"base": load_model(base)} | {
        n: load_model(folder / n) for n in ("sft", "ppo", "truth")
    }
    answers = {
        n: answer_all(*m, prompts, PER_PROMPT, seed=100 * seed + i)
        for i, (n, m) in enumerate(models.items())
    }
    scores = {n: score_all(prompts, *a) for n, a in answers.items()}
    utility = {n: s["utility"] for n, s in scores.items()}
    family = np.array([task.family for task in tasks])
    found = {
        "models": {n: summarise(tasks, s) for n, s in scores.items()},
        "prompt_means": {n: {m: s[m].mean(1).tolist() for m in METRICS} for n, s in scores.items()},
        "gain": interval(utility["ppo"] - utility["sft"]),
        "true_gain": interval(utility["truth"] - utility["sft"]),
        "gain_by_family": {
            f: interval((utility["ppo"] - utility["sft"])[family == f]) for f in FAMILIES
        },
        "win_rate": interval(wins(utility["ppo"], utility["sft"])),
        "tastes": {n: taste_shares(tasks, answers[n][0]) for n in ("sft", "ppo")},
        "reward_model": reward_model(folder, tasks, seed),
        "best_of_16": best_of(folder, seed),
        "article": {n: article(*m, seed) for n, m in models.items() if n != "truth"},
        "distinct": distinct(models, tasks, seed),
        "probes": base_probes(*models["base"]),
        "kl": load_card(folder / "ppo")["measured"]["kl"],
        "seed": seed,
    }
    return found


def taste_shares(tasks, texts: list[list[str]]) -> dict[str, float]:
    """Return the share of all answers in which each taste is seen."""
    seen = [
        tastes(task.family, text) for task, row in zip(tasks, texts, strict=True) for text in row
    ]
    return {taste: float(np.mean([taste in s for s in seen])) for taste in TASTES}


def reward_model(folder: Path, tasks, seed: int) -> dict:
    """Return how often the reward model is right on held-out pairs 0.2 apart in true utility."""
    (sft, tokenizer), (model, _) = load_model(folder / "sft"), load_model(folder / "reward")
    found = {}
    for family in (*FAMILIES, "all"):
        asked = [t.prompt for t in tasks if family in (t.family, "all")]
        pairs = course.make_comparisons(sft, tokenizer, asked, seed=1000 + seed, k=6)
        r = report(model, tokenizer, pairs, gap=0.2)
        found[family] = {
            "agreement": r.true_accuracy,
            "pairs": r.true_pairs,
            "label_accuracy": r.accuracy,
            "ceiling": r.ceiling,
        }
    return found


def best_of(folder: Path, seed: int, n: int = 16) -> list[float]:
    """Return what the best of 16 SFT answers by reward gains in true utility (validation)."""
    (sft, tokenizer), (model, _) = load_model(folder / "sft"), load_model(folder / "reward")
    prompts = data.prompts_of("validation")
    return best_of_n_gain(sft, tokenizer, model, prompts, n, seed)


def article(model, tokenizer, seed: int, n: int = 200) -> list[dict]:
    """Return how often samples fulfil each of the article's prompts, and the greedy answer."""
    found = []
    for prompt in ARTICLE_PROMPTS:
        texts, ended = answer_all(model, tokenizer, [prompt], n, seed=seed)
        greedy = generate(model, tokenizer, [prompt], temperature=0.0)
        found.append(
            {
                "prompt": prompt,
                "fulfils": float(score_all([prompt], texts, ended)["fulfils"].mean()),
                "greedy": greedy.texts[0],
                "samples": texts[0],
                "greedy_fulfils": judge(prompt, greedy.texts[0], bool(greedy.ended[0])).fulfils,
            }
        )
    return found


def distinct(models: dict, tasks, seed: int, n: int = 64) -> dict[str, float]:
    """Return the share of different texts among 64 answers to each of 8 story prompts."""
    prompts = [task.prompt for task in tasks if task.family == "story"][:8]
    return {
        name: float(
            np.mean([len(set(row)) / n for row in answer_all(*models[name], prompts, n, seed)[0]])
        )
        for name in ("sft", "ppo")
    }


def like_taste(folder: Path, taste: str, seed: int) -> dict:
    """Train reward model and PPO for a rater of one taste, on story prompts, and measure them."""
    rater = Rater(weights={"utility": 1.0, taste: 1.0}, flip_rate=0.1, tie_margin=0.05)
    sft, tokenizer = load_model(folder / "sft")
    asked = [t.prompt for t in data.tasks("train") if t.family == "story"]
    comparisons = course.make_comparisons(
        sft, tokenizer, [asked[i % len(asked)] for i in range(800)], rater, seed
    )
    out = folder / f"taste_{taste}"
    course.make_reward(
        out / "reward", folder / "sft", comparisons, replace(course.REWARD, seed=seed)
    )
    course.make_ppo(
        out / "ppo",
        folder / "sft",
        out / "reward",
        replace(course.PPO_RECIPE, seed=seed),
        prompts=asked,
    )
    tasks = [t for t in data.tasks("heldout") if t.family == "story"]
    found = {}
    for name, path in (("sft", folder / "sft"), ("ppo", out / "ppo")):
        texts, ended = answer_all(*load_model(path), [t.prompt for t in tasks], 20, seed)
        has = np.array(
            [[taste in tastes("story", text) for text in row] for row in texts], dtype=float
        )
        found[name] = {
            "share": interval(has),
            "relevance": interval(score_all([t.prompt for t in tasks], texts, ended)["relevance"]),
        }
    return found


def cell(values, percent: bool = False, sign: str = "") -> str:
    """Return `mean (low to high)` of an interval, with a sign or as percentages where asked for."""
    mean, low, high = (100 * v for v in values) if percent else values
    form = f"{sign}.0f" if percent else f"{sign}.2f"
    return f"{mean:{form}}{' %' * percent} ({low:{form}} to {high:{form}})"


def table(found: list[dict], liked: dict[str, dict]) -> str:
    """Return the README's tables: means over the seeds, with intervals bootstrapped by prompt."""

    def pooled(name, metric):
        return interval(np.stack([f["prompt_means"][name][metric] for f in found], 1))

    def whole(share):
        return f"{100 * share:.0f} %"

    def over_seeds(shares):
        shares = [100 * share for share in shares]
        return f"{np.mean(shares):.0f} % ({min(shares):.0f} to {max(shares):.0f})"

    names = ("base", "sft", "ppo")
    rows = ["| held-out prompts, temperature 1 | base | SFT | PPO |", "| --- | --- | --- | --- |"]
    for metric in METRICS:
        percent = metric in ("fulfils", "ended")
        rows.append(
            f"| {metric} | " + " | ".join(cell(pooled(n, metric), percent) for n in names) + " |"
        )
    for i, prompt in enumerate(ARTICLE_PROMPTS):
        shares = [over_seeds(f["article"][n][i]["fulfils"] for f in found) for n in names]
        rows.append(f"| *{prompt}* fulfilled | " + " | ".join(shares) + " |")
    rows += [
        "",
        "| | " + " | ".join(f"seed {f['seed']}" for f in found) + " |",
        "| --- |" + " --- |" * len(found),
    ]

    def by_seed(name, value):
        rows.append(f"| {name} | " + " | ".join(value(f) for f in found) + " |")

    by_seed("PPO over SFT, utility", lambda f: cell(f["gain"], sign="+"))
    for family in FAMILIES:
        by_seed(
            f"... {family}", lambda f, family=family: cell(f["gain_by_family"][family], sign="+")
        )
    by_seed("the same with the truth as reward", lambda f: cell(f["true_gain"], sign="+"))
    by_seed("PPO wins against SFT", lambda f: cell(f["win_rate"], True))
    by_seed(
        "reward model agrees with the truth", lambda f: whole(f["reward_model"]["all"]["agreement"])
    )
    by_seed(
        "... least of the families",
        lambda f: whole(min(f["reward_model"][n]["agreement"] for n in FAMILIES)),
    )
    by_seed("best of 16 over SFT, validation", lambda f: cell(f["best_of_16"], sign="+"))
    by_seed("KL from SFT, nats a response", lambda f: f"{f['kl']:.1f}")
    by_seed(
        "distinct of 64 stories, SFT, PPO",
        lambda f: ", ".join(whole(f["distinct"][n]) for n in ("sft", "ppo")),
    )
    if liked:
        rows += [
            "",
            "| the rater likes, seed 0 | SFT | PPO | relevance, SFT | relevance, PPO |",
            "|" + " --- |" * 5,
        ]
        rows += [
            f"| {taste} | {cell(f['sft']['share'], True)} | {cell(f['ppo']['share'], True)} | "
            f"{cell(f['sft']['relevance'])} | {cell(f['ppo']['relevance'])} |"
            for taste, f in liked.items()
        ]
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seeds", type=int, nargs="*", default=[0, 1, 2, 3], help="the seeds of the chain"
    )
    parser.add_argument(
        "--base", type=Path, default=paths.DATA / "checkpoints" / "base", help="the base model"
    )
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument(
        "--tastes", nargs="*", default=["happy", "dragon"], help="tastes to train for, with seed 0"
    )
    parser.add_argument("--table", action="store_true", help="only write the table")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for seed in [] if args.table else args.seeds:
        file = RUNS / f"seed{seed}.json"
        if not file.is_file():
            folder = chain(seed, args.base)
            found = measure(folder, args.base, seed)
            file.write_text(json.dumps(found), encoding="utf-8")
        print(f"seed {seed}: measured, in {file}", flush=True)
    for taste in [] if args.table else args.tastes:
        file = RUNS / f"taste_{taste}.json"
        if not file.is_file():
            file.write_text(json.dumps(like_taste(RUNS / "seed0", taste, 0)), encoding="utf-8")
    found = [
        json.loads(file.read_text(encoding="utf-8")) for file in sorted(RUNS.glob("seed*.json"))
    ]
    liked = {
        f.stem.removeprefix("taste_"): json.loads(f.read_text(encoding="utf-8"))
        for f in sorted(RUNS.glob("taste_*.json"))
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "proof.md").write_text(table(found, liked), encoding="utf-8", newline="\n")
    text = json.dumps({"seeds": found, "tastes": liked}, indent=1)
    (RESULTS / "proof.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    print(table(found, liked))


if __name__ == "__main__":
    main()

"""The proof behind the README: SFT, reward model and PPO on several seeds, beside cheaper ways.

    python benchmarks/prove.py --threads 2           # train, measure on held-out prompts, tables
    python benchmarks/prove.py --table               # only the tables, of what is measured so far
    python benchmarks/prove.py --split validation    # a rehearsal that asks no held-out prompt

PPO's rivals need no reward model: the SFT model at another temperature, SFT on the demonstrations
that raters put among the best 3, 10, 20 or 40 %, on 25 of them only, SFT for four times as long,
SFT on those of its own answers that won most of their comparisons in the first round, and SFT on
the best 2.5 % of 8,000 answers of its own, by raters' marks. Two ways that need the same
comparisons as PPO stand beside: the best of 16 answers by the reward model, and SFT on such
answers. Each way is measured at five temperatures; its best one is chosen on the validation
prompts, one for all seeds (`prove_measure.py`). Tables and figures go to `data/results/proof.md`,
`proof.json` and `temperature.json` (`prove_figures.py`, `prove_table.py`), those of a rehearsal to
`runs/proof`.

What lies in `runs/proof/seedN`, a model or a measurement, is not made again. Nothing here was used
for tuning: settings were chosen on the validation prompts.
"""

import argparse
import json
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from prove_figures import figures
from prove_measure import (
    FEW,
    MARKS,
    OWN,
    OWN_SHARE,
    SHARES,
    kept,
    measure,
    measure_base,
    measure_models,
)
from prove_table import table

from rlhf_lessons import data, paths
from rlhf_lessons import recipes as course
from rlhf_lessons.evaluation.arena import answer_all
from rlhf_lessons.evaluation.best_of_n import best_places, rewards_of
from rlhf_lessons.lm.models import load_model
from rlhf_lessons.stages.config import SFTConfig
from rlhf_lessons.world.tasks import FAMILIES, parse

RUNS, RESULTS = Path("runs/proof"), paths.DATA / "results"
MARKED_EPOCHS = 8  # on its own best answers, of which there are 200


def chain(seed: int, base: Path) -> Path:
    """Train a chain with its two rounds, and PPO on true utility beside; return their folder."""
    folder = RUNS / f"seed{seed}"
    steps = {
        "sft": lambda out: course.make_sft(out, base, config=replace(course.SFT_RECIPE, seed=seed)),
        "first_reward": lambda out: course.make_first_reward(
            out, folder / "sft", config=replace(course.REWARD, seed=seed)
        ),
        "first": lambda out: course.make_first(
            out,
            folder / "sft",
            folder / "first_reward",
            config=replace(course.PPO_FIRST, seed=seed),
        ),
        "reward": lambda out: course.make_reward(
            out, folder / "sft", folder / "first", config=replace(course.REWARD, seed=seed)
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


def train_rivals(folder: Path, base: Path, seed: int) -> None:
    """Train the cheaper ways beside a chain, and SFT on the best of its own answers."""
    recipe = replace(course.SFT_RECIPE, seed=seed)

    def fine_tune(
        name: str, start: Path, rows: list[dict], epochs: int, lr: float = recipe.lr
    ) -> None:
        if not (folder / name / "card.json").is_file():
            course.make_sft(folder / name, start, rows, replace(recipe, epochs=epochs, lr=lr))

    for name, share in SHARES.items():
        # Half as many steps as SFT takes: with as many, validation prompts went worse.
        epochs = round(recipe.epochs / share / 2)
        fine_tune(name, base, best_marked(data.demonstrations(), share, seed), epochs)
    fine_tune("epochs8", base, data.demonstrations(), epochs=8)
    # A few show when to answer, and not yet the writers' habits.
    few = random.Random(seed).sample(data.demonstrations(), FEW)
    fine_tune("few", base, few, SFTConfig().epochs, SFTConfig().lr)
    compared = course.comparisons_for(
        folder / "first_reward", folder / "sft", None, course.RANKINGS // 2, seed
    )
    fine_tune("winners", folder / "sft", winners(compared), recipe.epochs)
    own = kept(folder / "own_best.json", lambda: own_best(folder, seed))
    fine_tune("distilled", folder / "sft", own["rows"], recipe.epochs)
    marked = kept(folder / "own_marked.json", lambda: own_marked(folder, seed))
    fine_tune("marked", folder / "sft", marked["rows"], MARKED_EPOCHS)


def best_marked(rows: list[dict], share: float, seed: int) -> list[dict]:
    """Return the demonstrations to which raters give the highest marks, a share of each family."""
    rng = np.random.default_rng(seed)
    chosen = []
    for family in FAMILIES:
        some = [row for row in rows if parse(row["prompt"])["family"] == family]
        order = np.argsort(-marks(some, rng), kind="stable")
        chosen += [some[place] for place in order[: round(share * len(some))]]
    return chosen


def own_marked(folder: Path, seed: int) -> dict:
    """Let SFT answer each training prompt OWN times, and raters mark all answers that ended; return
    the best of all of them, in each family, and the seconds."""
    started = time.monotonic()
    sft, tokenizer = load_model(folder / "sft")
    prompts = data.prompts_of("train")
    rows = []
    for prompt, *answers in zip(prompts, *answer_all(sft, tokenizer, prompts, OWN, seed)):
        for text, ended in zip(*answers, strict=True):
            rows += [{"prompt": prompt, "completion": text}] if ended else []
    best = best_marked(rows, OWN_SHARE, seed)
    return {"rows": best, "marks": MARKS * len(rows), "seconds": time.monotonic() - started}


def marks(rows: list[dict], rng: np.random.Generator) -> np.ndarray:
    """Let raters give each demonstration a mark, the mean of MARKS judgements, (rows,).

    A judgement is as noisy as the raters' choices. Gumbel noise makes the order of two follow
    Bradley and Terry's model; and where the hand slips, a judgement goes to another demonstration.
    There are no ties, which favours this rival.
    """
    rater = course.RATER
    utility = np.array([rater.utility_of(row["prompt"], row["completion"]) for row in rows])
    judgements = []
    for _ in range(MARKS):
        given = utility + rater.noise * rng.gumbel(size=len(rows))
        slipped = np.flatnonzero(rng.random(len(rows)) < rater.flip_rate)
        given[slipped] = given[rng.permutation(slipped)]
        judgements.append(given)
    return np.mean(judgements, 0)


def winners(comparisons: list[dict]) -> list[dict]:
    """Return of each ranking the answer that won most often, as a demonstration."""
    wins = Counter((row["group"], row["prompt"], row["chosen"]) for row in comparisons)
    best = {group: (prompt, text) for (group, prompt, text), _ in reversed(wins.most_common())}
    return [{"prompt": prompt, "completion": text} for prompt, text in best.values()]


def own_best(folder: Path, seed: int) -> dict:
    """Let SFT answer each training prompt 16 times; return the best by reward, and the seconds."""
    started = time.monotonic()
    (sft, tokenizer), (reward, _) = load_model(folder / "sft"), load_model(folder / "reward")
    prompts = data.prompts_of("train")
    texts, ended = answer_all(sft, tokenizer, prompts, 16, seed)
    best = best_places(rewards_of(reward, tokenizer, prompts, texts, ended), ended)
    rows = []
    for prompt, answers, place in zip(prompts, texts, best, strict=True):
        rows.append({"prompt": prompt, "completion": answers[place]})
    return {"rows": rows, "seconds": time.monotonic() - started}


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
    parser.add_argument("--split", default="heldout", help="the prompts to measure on")
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--table", action="store_true", help="only write the tables")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if not args.table:
        measure_base(RUNS, args.base, args.split)
    for seed in [] if args.table else args.seeds:
        folder = chain(seed, args.base)
        train_rivals(folder, args.base, seed)
        measure_models(folder, "validation", seed)
        measure(folder, args.split, seed)
        print(f"seed {seed}: measured, in {folder / args.split}", flush=True)
    found = figures(RUNS, args.split)
    out = RESULTS if args.split == "heldout" else RUNS
    for name, part in (("proof", found), ("temperature", found["temperature"])):
        text = json.dumps(part, indent=1, ensure_ascii=False)
        paths.write_text(out / f"{name}.json", text + "\n")
    paths.write_text(out / "proof.md", table(found))
    print(table(found))


if __name__ == "__main__":
    main()

"""PPO and what came after it, from the same SFT models and the same votes: four seeds.

    python benchmarks/compare.py             # about 45 minutes of one core a seed
    python benchmarks/compare.py --broken    # RLOO, GRPO and DPO with a mistake each: half of that
    python benchmarks/compare.py --table     # only the tables, of what is measured so far

It is `python -m rlhf_lessons compare` on the chains of `benchmarks/prove.py`, on held-out prompts;
settings were chosen on validation prompts, those of `warm_verified` after a first try had been
measured on one seed's held-out ones (89 % of the programs). Models and measurements stay in
`runs/compare`, and are not made again. Results: `data/results/compare.jsonl`, which lesson 7 draws,
`compare_broken.jsonl`, and `compare.md`.

The rival is the best way that needs neither reward model nor answers of the model's own, at its
best temperature: SFT colder, on sorted demonstrations, for longer, or on a few (`proof.md`).
"""

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import torch

from rlhf_lessons import data, paths
from rlhf_lessons.exercises.bugs import bug
from rlhf_lessons.reports.compare import (
    METHODS,
    POINTS,
    Chain,
    chains_of,
    compare,
    config_of,
    measured,
    point,
    stage_of,
    summary,
)

RUNS, RESULTS = paths.RUNS / "compare", paths.DATA / "results"
NAMES = {
    "ppo": "PPO",
    "rloo": "RLOO",
    "grpo": "GRPO",
    "dr_grpo": "Dr. GRPO",
    "dpo": "DPO",
    "rs": "rejection sampling, one round",
    "bon": "best of 64",
    "verified": "RLOO, reward model and verified reward",
    "warm_verified": "the same, after SFT on right answers of its own, 48 steps for 32",
}
BUGS = {"rloo": "groups mixed up", "grpo": "k3 turned round", "dpo": "pairs turned round"}
COLUMNS = {  # of the summary: what it is called, and how it is written
    "utility": ("true utility", ".2f"),
    "fulfils": ("fulfil", ".0%"),
    "kl": ("KL, nats a response", ".1f"),
    "utility within 2 nats": ("utility within 2 nats", ".2f"),
    "utility within 4 nats": ("within 4 nats", ".2f"),
    "utility within half of PPO's time": ("within half of PPO's time", ".2f"),
    "seconds": ("seconds of one core", ".0f"),
    "seconds to PPO's utility": ("to PPO's utility", ".0f"),
}


def spread(numbers: list, form: str) -> str:
    """Return the mean, the lowest and the highest of some numbers, or how many there are of all."""
    some = [number for number in numbers if number is not None]
    if not some:
        return "–"
    text = "{0:{f}} ({1:{f}} to {2:{f}})".format(np.mean(some), min(some), max(some), f=form)
    text = text.replace("%", " %")
    return text if len(some) == len(numbers) else f"{text}, {len(some)} of {len(numbers)} seeds"


def leads(utilities: list[float], seeds: list[int]) -> list[float]:
    """Return by how much a method leads over the best cheap rival, in each seed."""
    proof = json.loads((RESULTS / "proof.json").read_text(encoding="utf-8"))["by_seed"]
    rivals = [proof[str(seed)]["rivals"]["from writers"]["utility"][0] for seed in seeds]
    return [mine - rival for mine, rival in zip(utilities, rivals, strict=True)]


def table(found: dict) -> str:
    """Return the tables: the methods, and what verified rewards do to sums and code."""
    heads = [name for name, _ in COLUMNS.values()]
    lines = ["| method | seeds | " + " | ".join([*heads, "lead over the rival"]) + " |"]
    lines.append("|" + " --- |" * (len(heads) + 3))
    for method, row in summary(found).items():
        seeds = list(found[method])
        cells = [spread(row.get(name, []), form) for name, (_, form) in COLUMNS.items()]
        cells.append(spread(leads(row["utility"], seeds), "+.2f"))
        lines.append("| " + " | ".join([NAMES[method], str(len(seeds)), *cells]) + " |")
    lines += [
        "",
        "Means over seeds, lowest to highest in brackets, at temperature 1, on held-out prompts. "
        "The rival: the best of SFT colder, on sorted demonstrations, for longer or on a few, at "
        "its best temperature.",
        "",
        "| fulfilled | maths | code | all |",
        "| --- | --- | --- | --- |",
    ]
    for method, runs in found.items():
        ends = [rows[-1] for rows in runs.values()]
        if "families" in ends[0]:
            shares = [
                spread([end["families"][f][0] for end in ends], ".0%") for f in ("maths", "code")
            ]
            shares.append(spread([end["fulfils"][0] for end in ends], ".0%"))
            lines.append(f"| {NAMES[method]} | " + " | ".join(shares) + " |")
    return "\n".join(lines) + "\n"


def broken(method: str, name: str, chain: Chain, split: str) -> list[dict]:
    """Return the measurements of a run with a mistake in it; its model is not kept."""
    file = RUNS / "broken" / chain.name / f"{method}.jsonl"
    if not (rows := data.json_rows(file)):
        start = chain.load(data.prompts_of(split))
        policy = copy.deepcopy(start.sft)
        common = {"method": method, "bug": name, "seed": chain.seed}
        common["config"] = config_of(method, chain.seed)
        with bug(name):
            stage, seconds = stage_of(method, policy, start)
            looks = {round(len(stage) * k / POINTS) for k in range(1, POINTS + 1)}
            rows = [common | point({"step": -1, "seconds": seconds} | measured(start.sft, start))]
            for done, _ in enumerate(stage, 1):
                if done in looks:
                    row = {"step": done - 1, "seconds": None} | measured(policy, start)
                    rows.append(common | point(row))
        data.write_rows(file, rows)
    return rows


def gathered(folder: Path, methods: tuple[str, ...]) -> dict:
    """Return what is measured so far, by method and seed."""
    found = {}
    for method in methods:
        for file in sorted(folder.glob(f"seed*/{method}.jsonl")):
            rows = data.json_rows(file)
            found.setdefault(method, {})[rows[0]["seed"]] = rows
    return found


def flat(found: dict) -> list[dict]:
    """Return all measurements, one after another."""
    return [row for runs in found.values() for points in runs.values() for row in points]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="*", default=list(METHODS), help="what to compare")
    parser.add_argument("--seeds", type=int, default=4, help="how many of the chains")
    parser.add_argument("--chains", type=Path, default=Path("runs/proof"), help="their folder")
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--broken", action="store_true", help="the runs with a mistake")
    parser.add_argument("--table", action="store_true", help="only write the tables")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.broken:
        for chain in chains_of(args.seeds, args.chains, list(BUGS)):
            for method, name in BUGS.items():
                broken(method, name, chain, "heldout")
    elif not args.table:
        compare(args.methods, chains_of(args.seeds, args.chains, args.methods), "heldout", RUNS)
    found = gathered(RUNS / "heldout", METHODS)
    data.write_rows(RESULTS / "compare.jsonl", flat(found))
    mistakes = gathered(RUNS / "broken", tuple(BUGS))
    data.write_rows(RESULTS / "compare_broken.jsonl", flat(mistakes))
    paths.write_text(RESULTS / "compare.md", table(found))
    print(table(found))


if __name__ == "__main__":
    main()

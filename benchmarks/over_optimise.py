"""Over-optimisation: a weak reward model, no price for KL, and how far that goes well.

    python benchmarks/over_optimise.py            # four seeds, about 50 minutes of one core each
    python benchmarks/over_optimise.py --table    # only the tables, of what is measured so far

A weak reward model has seen 300 votes of noisy raters on pairs of SFT answers. Best-of-n and PPO
(with kl_coef 0) go after what it says, and are measured on their way, on validation and on held-out
prompts: KL from the SFT model, reward, true utility. Where to stop is chosen on validation. The
settings (300 votes, two epochs, 24 steps) were chosen on the validation prompts of seed 0.
Best-of-n is measured on every other held-out prompt.

The same votes, taken otherwise: ensembles of four such reward models, with other first weights and
another order, as their mean, the worst of them, and the mean less the variance. And *fresh* votes:
half of the old ones make room for as many on answers of the policy where it was best on validation;
a new reward model learns from both, and PPO starts anew from the SFT model. And votes *off prompt*:
as many, but most pairs hold an answer to another prompt, so that the reward model learns to look.

Each seed starts from `runs/proof/seedN/sft` (`benchmarks/prove.py`). What lies in
`runs/over_optimise` is not made again. Results: `data/results/over_optimisation.json` and `.md`.
"""

import argparse
import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rlhf_lessons import data, paths, recipes
from rlhf_lessons.evaluation.arena import answer_all, score_all
from rlhf_lessons.evaluation.best_of_n import ladder, rewards_of
from rlhf_lessons.evaluation.distance import kl_from
from rlhf_lessons.evaluation.intervals import interval
from rlhf_lessons.evaluation.over_optimisation import Fit, combined, fit
from rlhf_lessons.lm.models import load_model
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.stages.config import PPO_RECIPE, RewardConfig
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.reward import RewardModelling, normalise, score

RUNS, RESULTS = paths.RUNS / "over_optimise", paths.DATA / "results"
VOTES, MEMBERS = 300, 4  # that a reward model sees; reward models in an ensemble
REWARD = RewardConfig(epochs=2, warmup=10)
HARD = replace(PPO_RECIPE, steps=24, kl_coef=0.0)  # nothing holds it back
EVERY = 2  # steps between measurements
POOL, RUNGS = 256, (1, 2, 4, 8, 16, 32, 64)  # answers to a prompt; n of best-of-n
SPLITS = ("validation", "heldout")
ENSEMBLES = ("mean", "worst", "uncertainty")
NAMES = {
    "one": "one reward model",
    "mean": "mean of four",
    "worst": "worst of four",
    "uncertainty": "mean less variance",
    "fresh": "half of the votes fresh",
    "off_prompt": "votes on answers to other prompts, too",
}


def votes(writer, tokenizer, n: int, seed: int, off_prompt: bool = False) -> list[dict]:
    """Return `n` votes of noisy raters on pairs of a model's answers, each on another prompt; with
    `off_prompt`, five pairs in six hold an answer to a wrong prompt.
    """
    rng = np.random.default_rng(seed)
    asked = rng.permutation(data.prompts_of("train"))[: 3 * n].tolist()  # ties give no vote
    rows = recipes.make_comparisons(writer, tokenizer, asked, seed=seed, k=2, off_prompt=off_prompt)
    if off_prompt:
        rng.shuffle(rows)
    rows = list({row["group"]: row for row in rows}.values())
    if len(rows) < n:
        raise RuntimeError(f"only {len(rows)} of {len(asked)} pairs were not tied; {n} are needed")
    return rows[:n]


def weak_reward(sft, tokenizer, rows: list[dict], seed: int):
    """Return a reward model of a few votes, normalised on SFT answers."""
    stage = RewardModelling(sft, tokenizer, rows, replace(REWARD, seed=seed))
    for _ in stage:
        pass
    asked = data.prompts_of("train")[:300]
    samples = generate(sft, tokenizer, asked, seed=seed)
    normalise(stage.model, tokenizer, asked, samples.texts, samples.ended.tolist())
    return stage.model


def reward_of(members: list, tokenizer, how: str):
    """Return the reward function of an ensemble, which may be one reward model."""

    def reward(prompts, texts, ended):
        each = [score(member, tokenizer, prompts, texts, ended).numpy() for member in members]
        return torch.from_numpy(combined(np.stack(each), how))

    return reward


def chase(sft, tokenizer, members: list, how: str, seed: int) -> tuple[list[dict], dict]:
    """Run PPO after a reward; return the measurements on its way, and the weights of the policy
    where its true utility was highest on validation prompts.
    """
    policy = copy.deepcopy(sft)
    reward = reward_of(members, tokenizer, how)
    stage = PPO(
        policy,
        tokenizer,
        reward,
        data.prompts_of("train"),
        replace(HARD, seed=seed),
        critic_init=members[0],
        reference=sft,
    )
    rows, best = [{"step": 0} | looks(policy, sft, tokenizer, reward, seed)], {}
    for step in stage:
        done = step.step + 1  # at first only the critic learns
        if done % EVERY == 0 and done > HARD.critic_warmup:
            rows.append({"step": done} | looks(policy, sft, tokenizer, reward, seed))
            if peak(rows, "validation") == len(rows) - 1:
                best = copy.deepcopy(policy.state_dict())
            print(seed, how, rows[-1]["step"], mean(rows[-1]["heldout"]), flush=True)
    return rows, best


def looks(policy, sft, tokenizer, reward, seed: int) -> dict:
    """Return for each split KL, mean reward and length, and each prompt's true utility."""
    found = {}
    for split in SPLITS:
        prompts = data.prompts_of(split)
        samples = generate(policy, tokenizer, prompts, seed=seed)
        ended = samples.ended.tolist()
        scores = score_all(prompts, [[text] for text in samples.texts], [[end] for end in ended])
        found[split] = {
            "kl": max(0.0, kl_from(sft, tokenizer, samples)),  # sampled, so it may be just below
            "reward": float(reward(prompts, samples.texts, ended).mean()),
            "length": float(samples.response_mask.sum(1).float().mean()),
            "utility": scores["utility"][:, 0].round(4).tolist(),
            "samples": samples.texts[:3],
        }
    return found


def mean(look: dict) -> float:
    """Return the mean true utility of a measurement."""
    return float(np.mean(look["utility"]))


def peak(rows: list[dict], split: str) -> int:
    """Return the place of the measurement with the highest mean true utility."""
    return int(np.argmax([mean(row[split]) for row in rows]))


def best_of_n(sft, tokenizer, members: list, split: str, seed: int) -> dict[str, list[dict]]:
    """Return the ladder of best-of-n by one reward model, and by each ensemble."""
    prompts = data.prompts_of(split)[::2]
    texts, ended = answer_all(sft, tokenizer, prompts, POOL, seed)
    each = np.stack([rewards_of(m, tokenizer, prompts, texts, ended) for m in members])
    utility = score_all(prompts, texts, ended)["utility"]
    ways = {"one": each[0]} | {how: combined(each, how) for how in ENSEMBLES}
    return {
        name: ladder(rewards, {"reward": rewards, "utility": utility}, RUNGS)
        for name, rewards in ways.items()
    }


def run(seed: int, chains: Path, ways: list[str]) -> None:
    """Make and measure what is missing of one seed."""
    folder = RUNS / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    sft, tokenizer = load_model(chains / f"seed{seed}" / "sft")
    for way in ways:
        file = folder / f"{way}.json"
        if file.is_file():
            continue
        rows = votes(sft, tokenizer, VOTES, seed, off_prompt=way == "off_prompt")
        if way == "fresh":
            best = copy.deepcopy(sft)
            best.load_state_dict(torch.load(folder / "best.pt", weights_only=True))
            half = VOTES // 2
            rows = rows[:half] + votes(best, tokenizer, half, seed + 100)
        number = MEMBERS if way in (*ENSEMBLES, "best_of_n") else 1
        members = [weak_reward(sft, tokenizer, rows, 10 * seed + i) for i in range(number)]
        if way == "best_of_n":
            found = best_of_n(sft, tokenizer, members, "heldout", seed)
        else:
            how = way if way in ENSEMBLES else "mean"
            found, best = chase(sft, tokenizer, members, how, seed)
            if way == "one":
                torch.save(best, folder / "best.pt")
        paths.write_text(file, json.dumps(found))


def gathered() -> dict[str, dict[str, list]]:
    """Return what is measured so far, by way and seed."""
    found = {}
    for file in sorted(RUNS.glob("seed*/*.json")):
        seed = file.parent.name.removeprefix("seed")
        found.setdefault(file.stem, {})[seed] = json.loads(file.read_text(encoding="utf-8"))
    return found


def curve(rows: list[dict]) -> dict:
    """Return of a run what lesson 5 draws, on held-out prompts; "stop" is the place where
    validation prompts say to stop, and "said" the last policy's answers to the first prompts.
    """
    looks = [row["heldout"] for row in rows]
    columns = {name: [look[name] for look in looks] for name in ("kl", "reward", "length")}
    return {
        "step": [row["step"] for row in rows],
        "utility": [mean(look) for look in looks],
        "stop": peak(rows, "validation"),
        "said": looks[-1]["samples"],
        **columns,
    }


def stopping(run: dict) -> dict[str, float]:
    """Return the true utility of a run at its start, its peak, its end, and where validation says
    to stop.
    """
    utility = run["utility"]
    top = int(np.argmax(utility))
    stopped = utility[run["stop"]]
    return {
        "start": utility[0],
        "peak": utility[top],
        "kl at the peak": run["kl"][top],
        "end": utility[-1],
        "kl at the end": run["kl"][-1],
        "stopped": stopped,
        "kept": (stopped - utility[0]) / (utility[top] - utility[0]),
        "looks with a lower reward": int((np.diff(run["reward"]) < 0).sum()),
    }


def against_one(found: dict, way: str, place: str) -> dict:
    """Return by how much a way's true utility leads that of one reward model, prompt by prompt: the
    mean over seeds, with its interval over prompts, and the lead in each seed. It is taken at the
    `place` "end", or at the "stop" that validation chose for each.
    """
    gaps = {}
    for seed, rows in found[way].items():
        one = found["one"][seed]
        pair = [-1, -1] if place == "end" else [peak(rows, "validation"), peak(one, "validation")]
        mine, other = (run[at]["heldout"]["utility"] for run, at in zip((rows, one), pair))
        gaps[seed] = np.subtract(mine, other)
    each = {seed: gap.mean() for seed, gap in gaps.items()}
    return {"lead": interval(np.mean([*gaps.values()], 0)), "by_seed": each}


def summary(found: dict) -> dict[str, dict]:
    """Return what ships: the curves of PPO and the ladders of best-of-n, by way and seed, and by
    how much each way leads one reward model of plain votes.
    """
    ways = [way for way in NAMES if way in found]
    return {
        "ppo": {way: {seed: curve(rows) for seed, rows in found[way].items()} for way in ways},
        "best_of_n": found.get("best_of_n", {}),
        "leads": {
            way: {place: against_one(found, way, place) for place in ("end", "stop")}
            for way in ways
            if way != "one"
        },
    }


def fits(shown: dict) -> dict[str, Fit]:
    """Return Gao's forms fitted to each seed's curves."""
    forms = {}
    for seed, rungs in shown["best_of_n"].items():
        kl, utility = zip(*((row["kl"], row["utility"][0]) for row in rungs["one"]))
        forms[f"best of n, seed {seed}"] = fit("best of n", kl, np.subtract(utility, utility[0]))
    for seed, run in shown["ppo"]["one"].items():
        gain = np.subtract(run["utility"], run["utility"][0])
        for method in ("rl", "best of n"):
            forms[f"PPO, seed {seed}, form for {method}"] = fit(method, run["kl"], gain)
    return forms


def table(shown: dict) -> str:
    """Return the tables."""
    lines = [
        "| PPO, seed | start | peak, at KL | end, at KL | stopped | share of the gain kept | "
        "looks with a lower reward |",
        "|" + " --- |" * 7,
    ]
    for seed, run in shown["ppo"]["one"].items():
        s = stopping(run)
        kept = f"{100 * s['kept']:.0f} %"
        lines.append(
            f"| {seed} | {s['start']:.2f} | {s['peak']:.2f}, {s['kl at the peak']:.1f} | "
            f"{s['end']:.2f}, {s['kl at the end']:.1f} | {s['stopped']:.2f} | {kept} | "
            f"{s['looks with a lower reward']} of {len(run['step']) - 1} |"
        )
    lines += ["", "| best of | true utility by seed |", "| --- | --- |"]
    for i, n in enumerate(RUNGS):
        at = [rungs["one"][i]["utility"][0] for rungs in shown["best_of_n"].values()]
        lines.append(f"| {n} | " + " ".join(f"{utility:.2f}" for utility in at) + " |")
    lines += ["", "| Gao's form | α | β | R² | error | turns at √KL |", "|" + " --- |" * 6]
    for name, form in fits(shown).items():
        fitted = f"{form.alpha:.3f} | {form.beta:.3f} | {form.r_squared:.2f} | {form.error:.3f}"
        lines.append(f"| {name} | {fitted} | {form.peak():.1f} |")
    lines += [
        "",
        "| PPO, rewarded by | lead at the end; by seed | where validation stops; by seed |",
        "|" + " --- |" * 3,
    ]
    for way, leads in shown["leads"].items():
        cells = []
        for gap in leads.values():
            each = " ".join(f"{lead:+.2f}" for lead in gap["by_seed"].values())
            cells.append("{:+.3f} ({:+.3f} to {:+.3f})".format(*gap["lead"]) + f"; {each}")
        lines.append(f"| {NAMES[way]} | {cells[0]} | {cells[1]} |")
    lines += ["", "| best of 64 by | true utility by seed |", "| --- | --- |"]
    for way in ("one", *ENSEMBLES):
        at = [rungs[way][-1]["utility"][0] for rungs in shown["best_of_n"].values()]
        lines.append(f"| {NAMES[way]} | " + " ".join(f"{utility:.3f}" for utility in at) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ways = ["one", "best_of_n", "fresh", "off_prompt", *ENSEMBLES]
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3], help="runs")
    parser.add_argument("--ways", nargs="*", default=ways, choices=ways, help="what to make")
    parser.add_argument("--chains", type=Path, default=Path("runs/proof"), help="of SFT models")
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--table", action="store_true", help="only write the tables")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if not args.table:
        for seed in args.seeds:
            run(seed, args.chains, args.ways)
    shown = summary(gathered())
    paths.write_text(RESULTS / "over_optimisation.json", json.dumps(shown) + "\n")
    paths.write_text(RESULTS / "over_optimisation.md", table(shown))
    print(table(shown))


if __name__ == "__main__":
    main()

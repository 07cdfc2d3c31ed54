"""Ways beyond PPO beside it: each starts from one SFT model and learns from one set of votes.

PPO, RLOO, GRPO and Dr. GRPO sample and ask the reward model; DPO learns from the comparisons that
the reward model learned from; rejection sampling (`rs`) fine-tunes on the best of 16 answers by
reward; best-of-n (`bon`) trains nothing. `verified` is RLOO with a second reward, for sums and code
that a program finds right. Each is measured on its way: true utility against KL from
the SFT model, and against seconds of training.

What lies in the folder, a model or a measurement, is not made again, and a stopped run continues.
"""

import copy
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from rlhf_lessons import data, recipes
from rlhf_lessons.checkpoints import shipped
from rlhf_lessons.evaluation.arena import answer_all, repeated, score_all
from rlhf_lessons.evaluation.best_of_n import best_by_reward, rewards_of
from rlhf_lessons.evaluation.intervals import interval
from rlhf_lessons.evaluation.over_optimisation import ladder
from rlhf_lessons.lm.models import load_model
from rlhf_lessons.lm.sampling import generate, micro_batches, response_logprobs, suppressed_ids
from rlhf_lessons.stages import config as settings
from rlhf_lessons.stages.dpo import DPO
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.rloo import GRPO, RLOO
from rlhf_lessons.stages.run import train
from rlhf_lessons.stages.sft import SFT
from rlhf_lessons.world.tasks import FAMILIES, parse

POINTS = 8  # measurements on a run's way
ANSWERS = 4  # to each prompt, at each of them
BEST_OF = 16  # answers to a prompt of which rejection sampling keeps the best
POOL = 256  # answers to a prompt from which best-of-n chooses
RUNGS = (1, 2, 4, 8, 16, 32, 64)  # n of best-of-n: small beside the pool
ON_POLICY = {  # stage and settings of those that sample
    "ppo": (PPO, settings.PPO_RECIPE),
    "rloo": (RLOO, settings.RLOO_RECIPE),
    "grpo": (GRPO, settings.GRPO_RECIPE),
    "dr_grpo": (GRPO, settings.DR_GRPO_RECIPE),
}
METHODS = (*ON_POLICY, "dpo", "rs", "bon", "verified")
MADE = ("sft", "reward")  # the models that all begin with


@dataclass
class Start:
    """What all methods of one seed begin with."""

    seed: int
    sft: torch.nn.Module
    tokenizer: object
    reward: torch.nn.Module
    comparisons: Callable[[], list[dict]]  # which only DPO reads
    prompts: list[str]  # to measure on


def starts(seeds: int, split: str, chains: Path | None = None) -> dict[int, Callable[[], Start]]:
    """Return for each seed a function that loads what to begin with: the shipped models, or those
    of a folder that holds a chain for each seed, as `benchmarks/prove.py` makes it.
    """
    prompts = data.prompts_of(split)

    def load(seed: int) -> Start:
        folders = [chains / f"seed{seed}" / name if chains else shipped(name) for name in MADE]
        (sft, tokenizer), (reward, _) = map(load_model, folders)
        votes = data.comparisons
        if chains:
            votes = partial(recipes.votes_of, folders[1])
        return Start(seed, sft, tokenizer, reward, votes, prompts)

    return {seed: partial(load, seed) for seed in range(seeds)}


def compare(methods: list[str], starts: dict[int, Callable[[], Start]], folder: Path) -> dict:
    """Return for each method and seed its measurements, in the order of its way.

    A measurement holds "step", "seconds" of training so far, "kl" in nats a response, and as
    [mean, low, high] the "utility", the share that "fulfils", and this in each of "families".
    `starts` has a function for each seed that loads what to begin with. ValueError for an unknown
    method.
    """
    for method in methods:
        if method not in METHODS:
            raise ValueError(f"there is no method '{method}'; there are {', '.join(METHODS)}")
    found = {method: {} for method in methods}
    for seed, load in starts.items():
        for method in methods:
            out = folder / f"seed{seed}" / method
            file = out.with_suffix(".jsonl")
            if not file.is_file():
                rows = best_of_n(load()) if method == "bon" else trained(method, load(), out)
                data.write_rows(file, rows)
            found[method][seed] = [json.loads(line) for _, line in data.lines_of(file)]
    return found


def stage_of(method: str, policy, start: Start):
    """Return the stage that trains `policy` by a method other than best-of-n, and the seconds that
    went by before it could begin.
    """
    began = time.monotonic()
    reward = start.reward
    if method == "verified":
        method, reward = "rloo", recipes.with_verified(reward, start.tokenizer)
    if method in ON_POLICY:
        kind, config = ON_POLICY[method]
        config = replace(config, seed=start.seed)
        prompts = data.prompts_of("train")
        stage = kind(policy, start.tokenizer, reward, prompts, config, reference=start.sft)
    elif method == "dpo":
        config = replace(settings.DPO_RECIPE, seed=start.seed)
        stage = DPO(policy, start.tokenizer, start.comparisons(), config, reference=start.sft)
    else:
        rows = rejection_sample(start.sft, start.tokenizer, start.reward, start.seed)
        config = replace(settings.SFT_RECIPE, seed=start.seed)
        stage = SFT(policy, start.tokenizer, rows, config)
    return stage, time.monotonic() - began


def rejection_sample(sft, tokenizer, reward, seed: int) -> list[dict]:
    """Return the best of 16 answers to each training prompt, by reward, as demonstrations; an empty
    one is none."""
    prompts = data.prompts_of("train")
    answers = answer_all(sft, tokenizer, prompts, BEST_OF, seed)
    texts, _ = best_by_reward(reward, tokenizer, prompts, *answers)
    rows = zip(prompts, texts, strict=True)
    return [{"prompt": prompt, "completion": text} for prompt, (text,) in rows if text.strip()]


def trained(method: str, start: Start, out: Path) -> list[dict]:
    """Train a method into a checkpoint `out`, and return its measurements."""
    policy = copy.deepcopy(start.sft)
    stage, waited = stage_of(method, policy, start)
    looks = {round(len(stage) * k / POINTS) for k in range(1, POINTS + 1)}
    last = {"at": time.monotonic(), "seconds": waited}

    def after(done: int, metrics: list[dict]) -> dict:
        before = metrics[-1]["seconds"] if metrics else last["seconds"]
        row = {"seconds": before + time.monotonic() - last["at"]}
        if done in looks:
            row |= measured(policy, start)
        last["at"] = time.monotonic()
        return row

    metrics = train(stage, recipes.state_folder(out), f"{method} {start.seed}", after)
    before = {"step": -1, "seconds": 0.0} | measured(start.sft, start)
    rows = [point(row) for row in [before, *metrics] if "utility" in row]
    about = f"The SFT model after {method}."
    began = time.monotonic() - rows[-1]["seconds"]
    quality = rows[-1]["utility"][0]
    recipes.save(out, method, stage, start.tokenizer, about, began, quality, **rows[-1])
    config = {"method": method, "seed": start.seed, "config": asdict(stage.config)}
    return [config | row for row in rows]


def measured(policy, start: Start) -> dict:
    """Return KL, true utility and share fulfilled of answers to the prompts, with intervals."""
    prompts = repeated(start.prompts, ANSWERS)
    samples = generate(policy, start.tokenizer, prompts, seed=start.seed)
    texts = np.array(samples.texts, dtype=object).reshape(-1, ANSWERS).tolist()
    ended = samples.ended.view(-1, ANSWERS).tolist()
    scores = score_all(start.prompts, texts, ended)
    families = np.array([parse(prompt)["family"] for prompt in start.prompts])
    by_family = {f: interval(scores["fulfils"][families == f]) for f in FAMILIES}
    return {
        "sampled_kl": kl_from(start.sft, start.tokenizer, samples),
        "utility": interval(scores["utility"]),
        "fulfils": interval(scores["fulfils"]),
        "families": by_family,
    }


def point(row: dict) -> dict:
    """Return of a step's metrics what is compared."""
    kept = {name: row[name] for name in ("seconds", "utility", "fulfils", "families")}
    return {"step": row["step"] + 1, "kl": row["sampled_kl"], **kept}


@torch.no_grad()
def kl_from(reference, tokenizer, samples) -> float:
    """Return the mean of log(policy / reference) of sampled responses, in nats a response."""
    total = samples.logprobs.sum().item()
    suppressed = suppressed_ids(reference, tokenizer)
    for rows, columns in micro_batches(samples.attention_mask):
        length = columns.stop - samples.context_length
        text = samples.ids[rows, columns], samples.attention_mask[rows, columns], length
        total -= response_logprobs(reference, *text, suppressed=suppressed)[0].sum().item()
    return total / len(samples.ids)


def best_of_n(start: Start) -> list[dict]:
    """Return what best-of-n gives for each n, from one pool of answers. It takes no training; what
    it costs is n answers, sampled and scored, for each one shown.
    """
    prompts = start.prompts
    texts, ended = answer_all(start.sft, start.tokenizer, prompts, POOL, start.seed)
    rewards = rewards_of(start.reward, start.tokenizer, prompts, texts, ended)
    scores = score_all(prompts, texts, ended)
    values = {name: scores[name] for name in ("utility", "fulfils")}
    common = {"method": "bon", "seed": start.seed, "config": {"pool": POOL}, "seconds": 0.0}
    return [common | {"step": row.pop("n")} | row for row in ladder(rewards, values, RUNGS)]


def at(rows: list[dict], what: str, place: float) -> float | None:
    """Return the utility of a run where its `what`, "kl" or "seconds", is `place`, on the straight
    line between two measurements; None where it never comes so far.
    """
    places = [row[what] for row in rows]
    if not min(places) <= place <= max(places):
        return None
    order = np.argsort(places)
    utility = np.array([row["utility"][0] for row in rows])
    return float(np.interp(place, np.array(places)[order], utility[order]))


def reached(rows: list[dict], utility: float) -> float | None:
    """Return after how many seconds a run was first measured at this utility, or None."""
    return next((row["seconds"] for row in rows if row["utility"][0] >= utility), None)


def summary(found: dict, nats=(1.0, 2.0, 4.0)) -> dict[str, dict]:
    """Return of each method, seed by seed: the end's figures, the utility at equal KL and at a half
    and at all of PPO's time, and the seconds until PPO's utility. None where there is none.
    """
    rows = {}
    for method, runs in found.items():
        columns = defaultdict(list)
        for seed, measured in runs.items():
            ppo = found.get("ppo", {}).get(seed)
            last = measured[-1]
            for name in ("utility", "fulfils"):
                columns[name].append(last[name][0])
            for name in ("kl", "seconds"):
                columns[name].append(last[name])
            for place in nats:
                columns[f"utility at {place:g} nats"].append(at(measured, "kl", place))
            if ppo:
                all_of_it = ppo[-1]["seconds"]
                for name, share in (("half of PPO's time", 0.5), ("PPO's time", 1.0)):
                    columns[f"utility at {name}"].append(at(measured, "seconds", share * all_of_it))
                columns["seconds to PPO's utility"].append(reached(measured, ppo[-1]["utility"][0]))
        rows[method] = dict(columns)
    return rows

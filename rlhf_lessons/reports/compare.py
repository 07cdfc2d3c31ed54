"""Methods beyond PPO, compared with it: all start from one SFT model and learn from the same votes.

PPO, RLOO, GRPO and Dr. GRPO sample and ask the reward model; DPO learns from the comparisons that
the reward model learned from; rejection sampling (`rs`) fine-tunes on the best of 16 answers by
reward; best-of-n (`bon`) trains nothing. `verified` is RLOO with a second reward, for sums and code
that a program finds right: there the reward is the measure itself. `warm_verified` is the same with
a warm start: RLOO learns nothing where all answers are wrong, so the policy is first fine-tuned on
right ones among 64 of its own to each prompt (as in STaR, Zelikman et al. 2022). Each is measured
in the course of its training: true utility against KL from the SFT model, and against CPU seconds,
which other work on the machine does not lengthen; those of the reward model are not counted.

What a folder holds of the same models and settings is not made again, and a stopped run continues.
"""

import copy
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from rlhf_lessons import data, recipes
from rlhf_lessons.checkpoints import shipped
from rlhf_lessons.evaluation.arena import answer_all, grouped, repeated, score_all
from rlhf_lessons.evaluation.best_of_n import best_places, ladder, rewards_of
from rlhf_lessons.evaluation.distance import kl_from
from rlhf_lessons.evaluation.intervals import interval
from rlhf_lessons.lm.models import load_card, load_model
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.stages import config as settings
from rlhf_lessons.stages.dpo import DPO
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.reward import score
from rlhf_lessons.stages.rloo import GRPO, RLOO
from rlhf_lessons.stages.run import forget, train
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
METHODS = (*ON_POLICY, "dpo", "rs", "bon", "verified", "warm_verified")
MADE = ("sft", "reward")  # the models that all begin with
NATS = (1.0, 2.0, 4.0)  # KL at which methods are compared
WEIGHT = 2.0  # of the verified reward, beside the reward model's
TRIES = 64  # warm start: answers sampled for each prompt, in search of right ones
KEPT = 4  # right answers to a prompt that it learns from, at most
WARM_STEPS = 48  # of RLOO after it


@dataclass
class Start:
    """What all methods of one seed begin with."""

    seed: int
    sft: torch.nn.Module
    tokenizer: object
    reward: torch.nn.Module
    comparisons: Callable[[], list[dict]]  # which only DPO reads
    prompts: list[str]  # to measure on


@dataclass
class Chain:
    """Where the models of one seed lie; `votes` is None for the comparisons that ship."""

    seed: int
    sft: Path
    reward: Path
    votes: Path | None

    @property
    def name(self) -> str:
        """A folder's name, another one for other models."""
        hashes = [load_card(model)["weights_sha256"][:8] for model in (self.sft, self.reward)]
        return "_".join([f"seed{self.seed}", *hashes])

    def load(self, prompts: list[str]) -> Start:
        """Return what to begin with."""
        sft, tokenizer = load_model(self.sft)
        reward, _ = load_model(self.reward)
        votes = data.comparisons
        if self.votes:
            votes = partial(data.read_rows, self.votes, "comparisons")
        return Start(self.seed, sft, tokenizer, reward, votes, prompts)


def chains_of(seeds: int, folder: Path | None, methods: list[str]) -> list[Chain]:
    """Return a chain for each seed: the shipped models, or those of a folder that holds one for
    each, as `benchmarks/prove.py` makes it.

    ValueError for an unknown method or no seed, CheckpointError or DataError for what is missing.
    """
    for method in methods:
        if method not in METHODS:
            raise ValueError(f"there is no method '{method}'; there are {', '.join(METHODS)}")
    if seeds < 1:
        raise ValueError(f"seeds must be 1 or more, not {seeds}")
    found = []
    for seed in range(seeds):
        sft, reward = (folder / f"seed{seed}" / name if folder else shipped(name) for name in MADE)
        for model in (sft, reward):
            load_card(model)
        votes = votes_of(reward) if folder and "dpo" in methods else None
        found.append(Chain(seed, sft, reward, votes))
    return found


def votes_of(reward: Path) -> Path:
    """Return the newest file of comparisons that `recipes.comparisons_for` made for a reward model.

    DataError where there is none.
    """
    folder = recipes.state_folder(reward)
    files = list(folder.glob("comparisons_*.jsonl"))
    if not files:
        raise data.DataError(f"{folder}: holds no comparisons")
    return max(files, key=lambda file: file.stat().st_mtime)


def compare(methods: list[str], chains: list[Chain], split: str, folder: Path) -> dict:
    """Return for each method and seed its measurements, in the order of its way.

    A measurement holds "step", the processor's "seconds" so far, "kl" in nats a response, and as
    [mean, low, high] the "utility", the share that "fulfils", and this in each of "families"; for
    best-of-n there are no seconds and no families.
    """
    found = {method: {} for method in methods}
    for chain in chains:
        for method in methods:
            out = folder / split / chain.name / method
            file = out.with_suffix(".jsonl")
            rows = data.json_rows(file)
            config = config_of(method, chain.seed)
            if not rows or rows[0]["config"] != config:
                start = chain.load(data.prompts_of(split))
                if rows:
                    forget(recipes.state_folder(out))
                rows = best_of_n(start) if method == "bon" else trained(method, start, out)
                common = {"method": method, "seed": chain.seed, "config": config}
                rows = [common | row for row in rows]
                data.write_rows(file, rows)
            found[method][chain.seed] = rows
    return found


def config_of(method: str, seed: int) -> dict:
    """Return a method's settings, as plain data."""
    if method == "bon":
        return {"pool": POOL, "rungs": list(RUNGS)}
    if method == "verified":
        return config_of("rloo", seed) | {"verified": WEIGHT}
    if method == "warm_verified":
        more = {"steps": WARM_STEPS, "tries": TRIES, "kept": KEPT}
        return config_of("verified", seed) | more
    recipe = {"dpo": settings.DPO_RECIPE, "rs": settings.SFT_RECIPE}.get(method)
    recipe = recipe or ON_POLICY[method][1]
    return asdict(replace(recipe, seed=seed))


def stage_of(method: str, policy, start: Start):
    """Return the stage that trains `policy` by a method other than best-of-n, and the processor's
    seconds before it could begin.
    """
    began = time.process_time()
    if method == "dpo":
        config = replace(settings.DPO_RECIPE, seed=start.seed)
        stage = DPO(policy, start.tokenizer, start.comparisons(), config, reference=start.sft)
    elif method == "rs":
        rows = rejection_sample(start.sft, start.tokenizer, start.reward, start.seed)
        config = replace(settings.SFT_RECIPE, seed=start.seed)
        stage = SFT(policy, start.tokenizer, rows, config)
    else:
        reward = start.reward
        kind, config = ON_POLICY.get(method, ON_POLICY["rloo"])
        if "verified" in method:
            reward = with_verified(reward, start.tokenizer)
        if method == "warm_verified":
            rows = right_answers(start.sft, start.tokenizer, start.seed)
            recipe = replace(settings.SFT_RECIPE, seed=start.seed)
            for _ in SFT(policy, start.tokenizer, rows, recipe):
                pass
            config = replace(config, steps=WARM_STEPS)
        config = replace(config, seed=start.seed)
        prompts = data.prompts_of("train")
        stage = kind(policy, start.tokenizer, reward, prompts, config, reference=start.sft)
    return stage, time.process_time() - began


def with_verified(reward_model, tokenizer):
    """Return a reward function: what the reward model says, plus WEIGHT where an answer is right
    beyond doubt.
    """

    def reward(prompts: list[str], texts: list[str], ended: list[bool]) -> torch.Tensor:
        scores = score(reward_model, tokenizer, prompts, texts, list(map(bool, ended)))
        return scores + WEIGHT * recipes.verified_reward(prompts, texts, ended)

    return reward


def rejection_sample(sft, tokenizer, reward, seed: int) -> list[dict]:
    """Return the best of 16 answers to each training prompt, by reward, as demonstrations; without
    those that are empty or did not end.
    """
    prompts = data.prompts_of("train")
    texts, ended = answer_all(sft, tokenizer, prompts, BEST_OF, seed)
    best = best_places(rewards_of(reward, tokenizer, prompts, texts, ended), ended)
    rows = []
    for place, prompt, answers, ends in zip(best, prompts, texts, ended, strict=True):
        if ends[place] and answers[place].strip():
            rows.append({"prompt": prompt, "completion": answers[place]})
    return rows


def right_answers(sft, tokenizer, seed: int) -> list[dict]:
    """Return demonstrations for the training prompts whose answers a program can check: for each,
    up to KEPT different right ones of TRIES answers. ValueError where no answer at all is right.
    """
    rows = []
    prompts = [p for p in data.prompts_of("train") if parse(p)["family"] in recipes.VERIFIABLE]
    texts, ended = answer_all(sft, tokenizer, prompts, TRIES, seed)
    for prompt, answers, ends in zip(prompts, texts, ended, strict=True):
        rewards = recipes.verified_reward([prompt] * TRIES, answers, ends)
        right = dict.fromkeys(np.array(answers)[rewards.bool().numpy()].tolist())
        rows += [{"prompt": prompt, "completion": answer} for answer in list(right)[:KEPT]]
    if not rows:
        raise ValueError(
            f"none of {TRIES} answers to any prompt is right, so there is nothing to start from: "
            "use `verified`, or another SFT model"
        )
    return rows


def trained(method: str, start: Start, out: Path) -> list[dict]:
    """Train a method into a checkpoint `out`, and return its measurements."""
    policy = copy.deepcopy(start.sft)
    stage, waited = stage_of(method, policy, start)
    looks = {round(len(stage) * k / POINTS) for k in range(1, POINTS + 1)}
    last = {"at": time.process_time(), "seconds": waited}

    def after(done: int, metrics: list[dict]) -> dict:
        before = metrics[-1]["seconds"] if metrics else last["seconds"]
        row = {"seconds": before + time.process_time() - last["at"]}
        if done in looks:
            row |= measured(policy, start)
        last["at"] = time.process_time()
        return row

    metrics = train(stage, recipes.state_folder(out), f"{method} {start.seed}", after)
    before = {"step": -1, "seconds": 0.0} | measured(start.sft, start)
    rows = [point(row) for row in [before, *metrics] if "utility" in row]
    about = f"The SFT model after {method}."
    began = time.monotonic() - rows[-1]["seconds"]
    quality = rows[-1]["utility"][0]
    recipes.save(out, method, stage, start.tokenizer, about, began, quality, **rows[-1])
    return rows


def measured(policy, start: Start) -> dict:
    """Return KL, true utility and share fulfilled of answers to the prompts, with intervals."""
    prompts = repeated(start.prompts, ANSWERS)
    samples = generate(policy, start.tokenizer, prompts, seed=start.seed)
    scores = score_all(start.prompts, *grouped(samples, ANSWERS))
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
def best_of_n(start: Start) -> list[dict]:
    """Return what best-of-n gives for each n, from one pool of answers. It takes no training; what
    it costs is n answers, sampled and scored, for each one shown.
    """
    prompts = start.prompts
    texts, ended = answer_all(start.sft, start.tokenizer, prompts, POOL, start.seed)
    rewards = rewards_of(start.reward, start.tokenizer, prompts, texts, ended)
    scores = score_all(prompts, texts, ended)
    values = {name: scores[name] for name in ("utility", "fulfils")}
    rows = ladder(rewards, values, RUNGS)
    return [{"step": row.pop("n"), "seconds": None} | row for row in rows]


def within(rows: list[dict], what: str, most: float) -> float | None:
    """Return the highest utility of a run where its `what`, "kl" or "seconds", is `most` or less,
    with straight lines between measurements; None where it was not measured.

    A run may go far and come back as its learning rate falls: its first crossing would be unfair.
    """
    if None in [row[what] for row in rows]:
        return None
    found = [row["utility"][0] for row in rows if row[what] <= most]
    for before, after in pairwise(rows):
        low, high = before[what], after[what]
        if min(low, high) < most < max(low, high):
            share = (most - low) / (high - low)
            found.append(
                before["utility"][0] + share * (after["utility"][0] - before["utility"][0])
            )
    return max(found, default=None)


def reached(rows: list[dict], utility: float) -> float | None:
    """Return after how many seconds a run was first measured at this utility, or None."""
    return next((row["seconds"] for row in rows if row["utility"][0] >= utility), None)


def summary(found: dict) -> dict[str, dict]:
    """Return of each method, seed by seed: the end's figures, the utility within equal KL and
    within a half and all of PPO's time, and the seconds until PPO's utility. None where there is
    none.
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
            for most in NATS:
                columns[f"utility within {most:g} nats"].append(within(measured, "kl", most))
            if ppo:
                for name, share in (("half of PPO's time", 0.5), ("PPO's time", 1.0)):
                    most = share * ppo[-1]["seconds"]
                    columns[f"utility within {name}"].append(within(measured, "seconds", most))
                columns["seconds to PPO's utility"].append(reached(measured, ppo[-1]["utility"][0]))
        rows[method] = dict(columns)
    return rows

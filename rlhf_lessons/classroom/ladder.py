"""Goodhart with a room: the class's own reward model climbs a ladder, and the class votes along it.

    python -m rlhf_lessons classroom ladder      # while `classroom serve` runs

The ladder is the best of n answers by that reward model, n = 1, 4 ... 256, and then policies after
PPO. Nothing is trained: answers of the SFT model are sampled once and kept. The projector is told
what the reward model promises and what true utility says; it adds the votes as they come.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rlhf_lessons import data, paths
from rlhf_lessons.checkpoints import shipped
from rlhf_lessons.evaluation.arena import answer_all, grouped, repeated, score_all
from rlhf_lessons.evaluation.best_of_n import chances, kl_of_best_of_n, rewards_of
from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.along import Rung, pairs_along, wins
from rlhf_lessons.feedback.online import EVERY, OnlineReward
from rlhf_lessons.feedback.simulate import simulate
from rlhf_lessons.lm.models import load_card, load_model
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.recipes import RATER
from rlhf_lessons.reports.compare import kl_from

LADDER = (1, 4, 16, 64, 256)  # n of best-of-n
PROMPTS = 20  # of the validation split
POOL = 512  # answers to each; with n = 256 of so many, the KL comes out 0.01 nats too low
ANSWERS = 16  # of a policy after PPO to each prompt
DRAWS = 7  # pairs of a rung and a prompt: 40 people with 20 votes each see about all
VOTES = 20  # of a simulated rater


def pool_of(family: str, sft: tuple, reward_model) -> list[list]:
    """Return prompts, and of the SFT model's answers to each the texts, whether they ended, and
    what they are worth to the shipped reward model. They are sampled once, into a file in `runs`.
    """
    made_by = load_card(shipped("reward"))["weights_sha256"]
    file = paths.RUNS / "ladder" / f"{family}_{PROMPTS}x{POOL}_{made_by:.8}.json"
    if not file.is_file():
        print(f"Sampling {PROMPTS} × {POOL} answers, only this first time ...", flush=True)
        tasks = [task for task in data.tasks("validation") if family in ("all", task.family)]
        prompts = [task.prompt for task in tasks[:PROMPTS]]
        pool = prompts, *answer_all(*sft, prompts, POOL)
        rewards = rewards_of(reward_model, sft[1], *pool)
        paths.write_text(file, json.dumps([*pool, rewards.tolist()]))
    return json.loads(file.read_text(encoding="utf-8"))


def chooser(learner: OnlineReward) -> tuple:
    """Return the reward model that chooses, the deviation that makes its leads into log-odds, and
    in words which it is: the shipped one where the room has fewer votes than `EVERY`.
    """
    learner.learn()
    if learner.seen < EVERY:
        by = f"the shipped reward model, since the room has only {learner.seen} votes"
        return learner.shipped, learner.shipped.config.reward_deviation, by
    by = f"the room's own reward model, of {learner.seen} votes in {learner.round}"
    if any(row["rater_kind"] == "simulated" for row in learner.votes()[2]):
        by += " (simulated ones among them)"
    return learner.reward, learner.reward.deviation, by


def climb(store: Store, folders: Iterable[Path], family: str, simulated: int) -> str:
    """Open a round along the ladder, tell the projector its curves, and return in words who chose.

    The reward model learns from the current round. `folders` hold policies after PPO. So many
    `simulated` raters vote; in the current round too, where nobody has.
    """
    _, states, current = store.room()
    learner = OnlineReward(store, current or "")
    sft, tokenizer = learner.policy
    prompts, *answers, shipped_rewards = pool_of(family, learner.policy, learner.shipped)
    if not store.answers(learner.round):
        let_vote(store, learner.round, simulated)
    reward, deviation, by = chooser(learner)
    if learner.reward:  # it need not ask the shipped model, on which it builds, again
        asked = zip(repeated(prompts, POOL), *(sum(each, []) for each in answers), strict=True)
        learner.reward.shipped |= zip(asked, sum(shipped_rewards, []), strict=True)
    values = judged(reward, tokenizer, prompts, answers)
    rungs = []
    for n in LADDER:
        kl = kl_of_best_of_n(values[0], n).mean()
        rungs.append(Rung(f"best of {n}", kl, *answers, *values, chances(values[0], n)))
    for folder in folders:
        samples = generate(*load_model(folder), repeated(prompts, ANSWERS))
        answers = grouped(samples, ANSWERS)
        values = judged(reward, tokenizer, prompts, answers)
        kl = kl_from(sft, tokenizer, samples)
        name = "/".join(folder.parts[-2:])
        rungs.append(Rung(name, kl, *answers, *values, chances(values[0], 1)))
    plain, number = rungs[0], len(states) + 1
    rows, alike = pairs_along(prompts, plain, rungs, DRAWS, seed=number)
    told = {}
    for rung in rungs:
        promised = wins(rung.chance, rung.rewards, plain.rewards, deviation)
        deserved = wins(rung.chance, rung.utility, plain.utility)
        told[rung.name] = {"kl": rung.kl, "promised": promised, "deserved": deserved}
    name = f"round {number}: along the ladder"
    store.add_tasks(name, rows)
    store.say("report", round=name, ladder={"by": by, "rungs": told, "alike": alike})
    store.say("round", round=name, state="open")
    let_vote(store, name, simulated)
    return f"{name}. Chosen by {by}."


def judged(reward, tokenizer, prompts: list[str], answers: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Return rewards and true utilities of answers, both (prompts, answers)."""
    rewards = rewards_of(reward, tokenizer, prompts, *answers)
    return rewards, score_all(prompts, *answers)["utility"]


def let_vote(store: Store, round: str, people: int) -> None:
    """Let so many simulated raters vote."""
    for number in range(people):
        simulate(store, round, RATER, f"simulated rater {number + 1}", n=VOTES)

"""Sixty votes: how far can one reader's taste move the model? Five tastes, four seeds, a curve.

    python benchmarks/sixty_votes.py                      # the proof: 60 votes, 5 tastes x 4 seeds
    python benchmarks/sixty_votes.py --votes 10 30 200 --tastes dragon     # points of the curve
    python benchmarks/sixty_votes.py --table              # only write the table

A simulated reader minds one taste twice as much as all else that makes an answer good; one click
in ten goes wrong. Two of the tastes are no words: that an answer is short, and that it begins with
its hero. As in lesson 6 there are three rounds: a third of the votes, on pairs by the newest
policy; a reward model from all votes so far; ten steps of PPO, which pay for KL to the SFT model.
Votes go through the ratings store, as a person's do. Everything starts from the shipped SFT and
reward model; a seed decides the answers shown, the reader's slips and PPO's samples. Measured on
the held-out story prompts; nothing is chosen by them (--split validation is for choosing).

What the reward model reads is measured on new pairs by the SFT model, whose votes hold no slip:
once as it is, and once learned from the same votes with words alone.

A run that exists in `runs/sixty_votes` for the shipped models as they are is not made again, so
this can be stopped and started, and two processes can share the work by `--seeds`. The table goes
to `data/results/sixty_votes.md` and `.json`.
"""

import argparse
import copy
import hashlib
import itertools
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import rlhf_lessons as rl
from rlhf_lessons import data, paths
from rlhf_lessons.checkpoints import shipped
from rlhf_lessons.evaluation.arena import answer_all, score_all
from rlhf_lessons.evaluation.best_of_n import rewards_of
from rlhf_lessons.evaluation.intervals import interval
from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.online import predictions
from rlhf_lessons.feedback.pairs import pairs_to_rate
from rlhf_lessons.feedback.personal import PersonalReward, votes_of
from rlhf_lessons.feedback.rounds import RoundPPO
from rlhf_lessons.feedback.simulate import simulate
from rlhf_lessons.stages.config import PPOConfig
from rlhf_lessons.world.answers import tastes
from rlhf_lessons.world.raters import Rater

RUNS, RESULTS = Path("runs/sixty_votes"), paths.DATA / "results"
TASTES = ("dragon", "cheeky", "twist", "short", "hero first")
ROUNDS, PER_PROMPT = 3, 16  # rounds of votes and PPO; answers measured to each prompt
NEW_PAIRS = 200  # on which the reward model is tested
CONFIG = PPOConfig(steps=10, batch_size=192, critic_warmup=2, kl_coef=0.1)
METRICS = ("relevance", "utility", "clarity")
AIMS = {"share": 0.85, "relevance": -0.03, "utility": -0.05, "seconds": 240}


class WordsAlone(PersonalReward):
    """A reader's reward model that sees which tokens stand in an answer, and nothing else."""

    def seen(self, completions: list[str]) -> torch.Tensor:
        found = super().seen(completions)
        found[:, len(self.tokenizer) :] = 0
        return found


def story_prompts(split: str) -> list[str]:
    """Return the story prompts of a split."""
    return [task.prompt for task in data.tasks(split) if task.family == "story"]


def fingerprint() -> str:
    """Return eight digits that change with the shipped SFT and reward model."""
    files = [shipped(name) / "model.safetensors" for name in ("sft", "reward")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]


def reader_of(taste: str, flip_rate: float = 0.1) -> Rater:
    """Return a reader to whom a taste counts twice as much as utility."""
    return Rater({"utility": 0.5, taste: 1.0}, flip_rate=flip_rate, tie_margin=0.05)


def vote(store: Store, round: str, rows: list[dict], reader: Rater, seed: int) -> list:
    """Let a reader rate pairs in a round of the store, and return the votes."""
    store.add_tasks(round, [row | {"overlap": None} for row in rows])
    simulate(store, round, reader, name="reader", seed=seed)
    return votes_of(store.answers(round))


def look(model, prompts: list[str], taste: str, seed: int) -> tuple[dict, dict]:
    """Return the share of answers in a taste and their scores, with intervals, and the means of
    the scores by prompt."""
    texts, ended = answer_all(*model, prompts, PER_PROMPT, seed)
    has = np.array([[taste in tastes("story", text) for text in row] for row in texts], dtype=float)
    scores = score_all(prompts, texts, ended)
    found = {"share": interval(has)} | {m: interval(scores[m]) for m in METRICS}
    found["words"] = float(np.mean([len(text.split()) for row in texts for text in row]))
    found["samples"] = [row[0] for row in texts[:4]]
    return found, {m: scores[m].mean(1) for m in METRICS}


def best_of_16(sft, reward, prompts: list[str], taste: str, seed: int) -> list[float]:
    """Return the share of best-of-16 answers in a taste, with an interval."""
    texts, ended = answer_all(*sft, prompts, 16, seed)
    best = rewards_of(reward, sft[1], prompts, texts, ended).argmax(1).tolist()
    has = [taste in tastes("story", row[i]) for row, i in zip(texts, best, strict=True)]
    return interval(np.array(has, dtype=float))


def predicted(models: dict, votes: list) -> dict[str, float]:
    """Return the share of votes that each reward model predicts."""
    return {
        name: float(np.mean([o[1] for o in predictions(m, votes)])) for name, m in models.items()
    }


def run(taste: str, n: int, seed: int, split: str) -> dict:
    """Go through three rounds of votes, reward model and PPO, and measure what came of it."""
    (sft, tokenizer), (reward_model, _) = (
        rl.load(name, "shipped", say=str) for name in ("sft", "reward")
    )
    prompts, asked = story_prompts(split), story_prompts("train")
    before, by_prompt = look((sft, tokenizer), prompts, taste, seed + 100)
    started, policy = time.monotonic(), sft
    texts, ended = answer_all(sft, tokenizer, asked, 1, seed)
    normalisation_set = asked, [row[0] for row in texts], [row[0] for row in ended]
    untrained = reward = PersonalReward(reward_model, tokenizer, normalisation_set)
    order = np.random.default_rng(seed).permutation(len(asked))
    votes = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder, "votes.sqlite3"))
        for number, part in enumerate(np.array_split(order[:n], ROUNDS)):
            to_rate = [asked[i] for i in part]
            rows = pairs_to_rate(policy, tokenizer, reward, to_rate, 10 * seed + number)
            votes += vote(store, f"round {number}", rows, reader_of(taste), seed)
            reward, policy = untrained.fit(votes), copy.deepcopy(policy)
            *_, last = RoundPPO(
                policy,
                tokenizer,
                reward,
                asked,
                replace(CONFIG, seed=10 * seed + number),
                critic_init=reward_model,
                reference=sft,
                shows=lambda text: taste in tastes("story", text),
            )
        seconds = time.monotonic() - started
        new = [asked[i] for i in order[n:][:NEW_PAIRS]]
        rows = pairs_to_rate(sft, tokenizer, reward_model, new, seed + 50)
        tests = vote(store, "new pairs", rows, reader_of(taste, 0.0), seed)
        store.close()
    words_alone = WordsAlone(reward_model, tokenizer, normalisation_set).fit(votes)
    after, by_prompt_after = look((policy, tokenizer), prompts, taste, seed + 100)
    return {
        "taste": taste,
        "n": n,
        "seed": seed,
        "models": fingerprint(),
        "seconds": seconds,
        "votes": len(votes),
        "kl": last["kl"],
        "kl_before": last["kl_before"],
        "predicted": predicted({"words alone": words_alone, "all": reward}, tests),
        "best_of_16": best_of_16((sft, tokenizer), reward, prompts, taste, seed + 7),
        "before": before,
        "after": after,
        "change": {m: interval(by_prompt_after[m] - by_prompt[m]) for m in METRICS},
    }


def reached(found: dict) -> bool:
    """Return whether a run has all that we aim at."""
    change = {name: found["change"][name][0] for name in ("relevance", "utility")}
    share = found["after"]["share"][0] >= AIMS["share"]
    held = all(change[name] >= AIMS[name] for name in change)
    return share and held and found["seconds"] <= AIMS["seconds"]


def spread(numbers: list[float], form: str) -> str:
    """Return the mean of some numbers, and the least and the most of them."""
    mean, least, most = (format(f(numbers), form) for f in (np.mean, min, max))
    return f"{mean} ({least} to {most})"


def table(found: list[dict]) -> str:
    """Return a row for each taste and number of votes, over its seeds, and one for each run."""
    found = sorted(found, key=lambda f: (f["n"], TASTES.index(f["taste"]), f["seed"]))
    rows = [
        "| votes | taste | share before | share after | relevance, change | utility, change | "
        "words alone predict | all that it reads | seconds | aims reached |",
        "|" + " --- |" * 10,
    ]
    for (n, taste), group in itertools.groupby(found, key=lambda f: (f["n"], f["taste"])):
        runs = list(group)
        cells = [
            n,
            taste,
            f"{np.mean([f['before']['share'][0] for f in runs]):.0%}",
            spread([f["after"]["share"][0] for f in runs], ".0%"),
            spread([f["change"]["relevance"][0] for f in runs], "+.2f"),
            spread([f["change"]["utility"][0] for f in runs], "+.2f"),
            f"{np.mean([f['predicted']['words alone'] for f in runs]):.0%}",
            f"{np.mean([f['predicted']['all'] for f in runs]):.0%}",
            f"{np.mean([f['seconds'] for f in runs]):.0f}",
            f"{sum(map(reached, runs))} of {len(runs)}",
        ]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    rows += [
        "",
        "Means over seeds, least to most in brackets. Aims: at least 85 % of the answers in the "
        "taste, relevance at most 0.03 and utility at most 0.05 lower, under 4 minutes.",
        "",
        "| votes | taste | seed | share before | after | relevance, change | utility, before | "
        "after | change | KL to SFT | best of 16 | seconds |",
        "|" + " --- |" * 12,
    ]
    for f in found:
        cells = [
            *(f[name] for name in ("n", "taste", "seed")),
            f"{f['before']['share'][0]:.0%}",
            with_interval(f["after"]["share"], ".0%"),
            with_interval(f["change"]["relevance"], "+.2f"),
            f"{f['before']['utility'][0]:.2f}",
            f"{f['after']['utility'][0]:.2f}",
            with_interval(f["change"]["utility"], "+.2f"),
            f"{f['kl']:.1f}",
            f"{f['best_of_16'][0]:.0%}",
            f"{f['seconds']:.0f}",
        ]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows) + "\n"


def with_interval(numbers: list[float], form: str) -> str:
    """Return [mean, low, high] as a cell."""
    mean, low, high = (format(number, form) for number in numbers)
    return f"{mean} ({low} to {high})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tastes", nargs="*", default=list(TASTES), help="what the readers like")
    parser.add_argument(
        "--seeds", type=int, nargs="*", default=[0, 1, 2, 3], help="one run for each"
    )
    parser.add_argument(
        "--votes", type=int, nargs="*", default=[60], help="votes in all three rounds"
    )
    parser.add_argument("--split", default="heldout", help="the prompts to measure on")
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--table", action="store_true", help="only write the table")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    RUNS.mkdir(parents=True, exist_ok=True)
    marks = f"{args.split}_{fingerprint()}"
    for n, seed, taste in itertools.product(
        *[[]] * 3 if args.table else (args.votes, args.seeds, args.tastes)
    ):
        file = RUNS / f"{marks}_{n}_{taste.replace(' ', '_')}_{seed}.json"
        if not file.is_file():
            text = json.dumps(run(taste, n, seed, args.split))
            file.write_text(text, encoding="utf-8")
        f = json.loads(file.read_text(encoding="utf-8"))
        print(
            f"{n} votes, {taste}, seed {seed}: share {f['before']['share'][0]:.3f} "
            f"to {f['after']['share'][0]:.3f}, relevance {f['change']['relevance'][0]:+.3f}, "
            f"utility {f['change']['utility'][0]:+.3f}, {f['seconds']:.0f} s, "
            f"{'all reached' if reached(f) else 'NOT all reached'}",
            flush=True,
        )
    files = sorted(RUNS.glob(f"{marks}_*.json"))
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    if args.split == "heldout" and found:
        (RESULTS / "sixty_votes.md").write_text(table(found), encoding="utf-8", newline="\n")
        (RESULTS / "sixty_votes.json").write_text(
            json.dumps(found, indent=1) + "\n", encoding="utf-8", newline="\n"
        )
        print(table(found))


if __name__ == "__main__":
    main()

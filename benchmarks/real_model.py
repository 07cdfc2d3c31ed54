"""Two tastes taught to a real model, SmolLM2 135M Instruct, with LoRA: four seeds.

    python benchmarks/real_model.py                # half an hour of one core per taste and seed
    python benchmarks/real_model.py --table        # only the table of results so far

No judge knows what a good answer from a real model is. A simulated reader with a known taste ranks
four of the model's answers to each of 104 everyday prompts, then four more. One reader likes short
answers, the other lists of points. Each comparison of two answers is turned round with a chance of
10 %, before comparisons become ranks. From these ranks come a reward model, best of 8, DPO and PPO.

We call a taste learned where, in each seed, its share rises by at least 30 points, KL is at most 20
nats a response and perplexity at most 1.5 times the untouched model's. The cheapest rivals:

- without training: to ask for the taste in words, the likeliest answer (temperature 0), the first
  sentence of an answer;
- without votes: SFT on the answers to prompts that ask for the taste, and on answers at random;
- with votes, without a loss that compares: SFT on answers that were ranked first;
- best of 8 by the reader itself: what no choice among eight answers can exceed.

KL and perplexity are under the untouched model after the plain prompt. A seed draws the answers,
the reader's mistakes, adapters and batches; the prompts and the model are the same. So the
intervals are over prompts, with each prompt's answers of all seeds. The 32 held-out prompts are of
the same kinds as those trained on: eight begin with the same words as one of them. Settings were
chosen with `--split validation --seeds 0`: DPO's among nine, PPO's among four for the first reader
alone, SFT's not at all. Results on held-out prompts are not printed.

Results: `data/results/real_model.jsonl`, a line for each method, and `real_model.md`. What is there
already is not measured again.
"""

import argparse
import copy
import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import torch
from real_model_table import TRAINED, UNTOUCHED, summary, write_page

from rlhf_lessons import data, paths
from rlhf_lessons.evaluation.arena import repeated
from rlhf_lessons.evaluation.distance import logratios, surprise
from rlhf_lessons.feedback.pairs import plain_and_asked
from rlhf_lessons.lm.adapters import add_lora
from rlhf_lessons.lm.pretrained import CHATML, load_pretrained
from rlhf_lessons.lm.sampling import Samples, generate, pad
from rlhf_lessons.lm.tokenizer import encode_prompts
from rlhf_lessons.stages.config import DPOConfig, PPOConfig, RewardConfig, SFTConfig
from rlhf_lessons.stages.dpo import DPO
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.reward import RewardModelling, normalise, score
from rlhf_lessons.stages.sft import SFT
from rlhf_lessons.world.everyday import TASTES, Reader

RESULTS = paths.DATA / "results"
SAMPLING = {"max_new_tokens": 40, "temperature": 0.7}
N = 8  # of best of n
REWARD = RewardConfig(epochs=2, batch_size=8, lr=1e-3, warmup=5, keep_layers=20, head_scale=0.05)
SFT_CONFIG = SFTConfig(epochs=1, batch_size=4, lr=5e-4, warmup=5)
DPO_CONFIG = DPOConfig(beta=0.5, epochs=1, batch_size=4, lr=5e-4, warmup=5)
PPO_CONFIG = PPOConfig(
    steps=15,
    batch_size=32,
    num_minibatches=2,
    update_epochs=2,
    lr=1e-3,
    critic_lr=1e-3,
    critic_warmup=2,
    kl_coef=0.2,
    missing_eos_penalty=0.0,  # whether an answer ends is a matter of taste here
    target_kl=0.1,
    **SAMPLING,
)


def comparisons(rows: list[dict], taste: str, seed: int) -> list[dict]:
    """Return rows of four answers with the ranks that a simulated reader gives them."""
    rng = random.Random(f"{taste}/{seed}")
    found = []
    for row in rows:
        answers = [(answer["text"], answer["ended"]) for answer in row["completions"]]
        texts, ended = map(list, zip(*answers, strict=True))
        ranks = Reader(taste=taste).rank(row["prompt"], answers, rng)
        found.append(
            {"prompt": row["prompt"], "completions": texts, "ranks": ranks, "ended": ended}
        )
    return found


def agreement(reward, tokenizer, rows: list[dict], taste: str) -> dict[str, list[int]]:
    """Return in how many pairs a reward model prefers the answer that the reader prefers, and of
    how many: of pairs of plain answers, from which PPO and best of n choose, and of all pairs.
    """
    reader = Reader(taste=taste)
    found = {"plain": [0, 0], "all": [0, 0]}
    for row in rows:
        answers = [(answer["text"], answer["ended"]) for answer in row["completions"]]
        likes = [reader.utility_of(row["prompt"], *answer) for answer in answers]
        asked = repeated([row["prompt"]], len(answers))
        scores = score(reward, tokenizer, asked, *map(list, zip(*answers, strict=True)))
        for i, j in combinations(range(len(answers)), 2):
            if abs(likes[i] - likes[j]) < reader.tie_margin:
                continue
            agrees = (likes[i] > likes[j]) == bool(scores[i] > scores[j])
            plain = row["completions"][j]["model"] == "plain"  # then i is plain, too: it is before
            for name in ("plain", "all") if plain else ("all",):
                found[name][0] += agrees
                found[name][1] += 1
    return found


class Run:
    """One taste and one seed: the votes, and what each method makes of them."""

    def __init__(self, taste: str, seed: int, split: str, results: Path):
        self.taste, self.seed, self.split, self.results = taste, seed, split, results
        self.untouched, self.tokenizer = load_pretrained()
        self.tokenizer.chat_template = CHATML
        self.train = data.everyday_prompts("train")
        self.new = data.everyday_prompts(split)
        self.policy = add_lora(copy.deepcopy(self.untouched), seed=seed)
        self.rows = self.four_answers(2 * self.train, 0)
        self.votes = comparisons(self.rows, taste, seed)
        self.chance = random.Random(f"chosen/{seed}")

    def four_answers(self, prompts: list[str], seed: int) -> list[dict]:
        seed += 1000 * self.seed
        wish = TASTES[self.taste]
        return plain_and_asked(self.untouched, self.tokenizer, prompts, wish, seed=seed, **SAMPLING)

    def answers(self, model, prompts: list[str], n: int = 4, wish: str = "", **other) -> Samples:
        """Sample n answers to each prompt."""
        asked = repeated([f"{prompt} {wish}".strip() for prompt in prompts], n)
        settings = {"seed": 1000 * self.seed + 11, **SAMPLING, **other}
        return generate(model, self.tokenizer, asked, **settings)

    def missing(self, method: str) -> bool:
        """Return whether a method's results are not there yet."""
        same = {"split": self.split, "taste": self.taste, "seed": self.seed, "method": method}
        return not any(same.items() <= row.items() for row in data.json_rows(self.results))

    def note(self, method: str, samples: Samples, kl: bool = True, **more) -> None:
        """Write down a method's answers to the new prompts, as many to each, with what is measured
        of each answer.
        """
        n = len(samples.texts) // len(self.new)
        ended = samples.ended.tolist()
        asked = repeated(self.new, n)
        nats, tokens = surprise(self.untouched, self.tokenizer, asked, samples.texts, ended)
        far = [None] * len(asked)
        if kl:
            plain = self.after(samples, asked)
            temperature = SAMPLING["temperature"]
            far = logratios(self.untouched, self.tokenizer, plain, temperature).tolist()
        answers = []
        for text, end, number, count, ratio in zip(
            samples.texts, ended, nats.tolist(), tokens.tolist(), far, strict=True
        ):
            ratio = ratio if ratio is None else round(ratio, 3)
            found = {"text": text, "ended": end, "nats": round(number, 3), "tokens": count}
            answers.append(found | {"logratio": ratio})
        row = {
            "split": self.split,
            "taste": self.taste,
            "seed": self.seed,
            "method": method,
            "each": n,
            "answers": answers,
        }
        if self.split == "validation":
            print(json.dumps({"method": method} | summary([row])), flush=True)
        data.write_rows(self.results, [*data.json_rows(self.results), row | more])

    def after(self, samples: Samples, prompts: list[str]) -> Samples:
        """Return the same answers after other prompts."""
        rows = encode_prompts(self.tokenizer, prompts)
        ids, mask = pad(rows, self.tokenizer.pad_token_id, "left", samples.ids.device)
        return replace(
            samples,
            ids=torch.cat([ids, samples.tokens], 1),
            attention_mask=torch.cat([mask, samples.response_mask], 1),
            context_length=ids.shape[1],
        )

    def rivals(self) -> None:
        """What needs no training: the model as it is, its likeliest answer, asking in words."""
        if self.missing(UNTOUCHED):
            samples = self.answers(self.untouched, self.new)
            self.note(UNTOUCHED, samples)
            if self.taste == "short":
                self.note("first sentence", first_sentences(samples), kl=False)
        if self.missing("temperature 0"):
            likeliest = self.answers(self.untouched, self.new, n=1, temperature=0)
            self.note("temperature 0", likeliest, kl=False)
        if self.missing("asked in words"):
            wished = self.answers(self.untouched, self.new, wish=TASTES[self.taste])
            self.note("asked in words", wished)

    def sft(self) -> None:
        """SFT on one answer of each ranking, after the plain prompt: one that was asked for the
        taste, any, or one that was ranked first, unless all four were.
        """
        chosen = {name: [] for name in TRAINED[:3]}
        for row, vote in zip(self.rows, self.votes, strict=True):
            plain = [answer["model"] == "plain" for answer in row["completions"]]
            ranks = vote["ranks"]
            best = [rank == min(ranks) < max(ranks) for rank in ranks]  # none where all are tied
            allowed = [not one for one in plain], [True] * len(plain), best
            for name, choice in zip(chosen, allowed, strict=True):
                choice = [i for i, one in enumerate(choice) if one and vote["completions"][i]]
                if choice:
                    i = self.chance.choice(choice)
                    answer = {"completion": vote["completions"][i], "ended": vote["ended"][i]}
                    chosen[name].append({"prompt": row["prompt"], **answer})
        for name, rows in chosen.items():
            self.train_with(name, partial(SFT, demonstrations=rows), SFT_CONFIG)

    def reward(self):
        """Train a reward model; best of n shows what it is worth."""
        config = replace(REWARD, seed=self.seed)
        stage = RewardModelling(self.policy, self.tokenizer, self.votes, config)
        began = time.perf_counter()
        for _ in stage:
            pass
        seconds = time.perf_counter() - began
        samples = self.answers(self.untouched, self.train, 1, seed=1000 * self.seed + 7)
        normalise(stage.model, self.tokenizer, self.train, samples.texts, samples.ended.tolist())
        if self.missing(f"best of {N}"):
            fresh = self.four_answers(self.new, 50)
            right = agreement(stage.model, self.tokenizer, fresh, self.taste)
            pool = self.answers(self.untouched, self.new, N, seed=1000 * self.seed + 12)
            asked = repeated(self.new, N)
            ended = pool.ended.tolist()
            rewards = score(stage.model, self.tokenizer, asked, pool.texts, ended)
            found = {"agrees": right, "seconds": seconds, "config": asdict(config)}
            self.note(f"best of {N}", best_of(pool, rewards), kl=False, **found)
            reader = Reader(taste=self.taste)
            likes = map(reader.utility_of, asked, pool.texts, ended)
            own = best_of(pool, torch.tensor(list(likes)))
            self.note(f"best of {N} by the reader", own, kl=False)
        return stage.model

    def train_with(self, method: str, kind: Callable, config, **more) -> None:
        """Run a stage to its end, and measure its policy."""
        if not self.missing(method):
            return
        policy = copy.deepcopy(self.policy)
        config = replace(config, seed=self.seed)
        stage = kind(policy, self.tokenizer, config=config, **more)
        began = time.perf_counter()
        steps = []
        for step in stage:
            numbers = {name: value for name, value in asdict(step).items() if value is not None}
            steps.append({name: float(f"{value:.4g}") for name, value in numbers.items()})
            print(method, json.dumps(steps[-1]), flush=True)
        found = {"seconds": time.perf_counter() - began, "config": asdict(config), "steps": steps}
        self.note(method, self.answers(policy, self.new), **found)

    def dpo(self) -> None:
        self.train_with("DPO", partial(DPO, comparisons=self.votes), DPO_CONFIG)

    def ppo(self, reward) -> None:
        self.train_with("PPO", PPO, PPO_CONFIG, reward=reward, prompts=self.train)


def first_sentences(samples: Samples) -> Samples:
    """Return answers cut after their first sentence: the same tokens are not kept, only texts."""
    found = [re.match(r".*?[.!?](?=\s|$)", text, re.DOTALL) for text in samples.texts]
    texts = [cut[0] if cut else text for cut, text in zip(found, samples.texts, strict=True)]
    ended = samples.ended | torch.tensor([cut is not None for cut in found])
    return replace(samples, texts=texts, ended=ended)


def best_of(pool: Samples, rewards: torch.Tensor) -> Samples:
    """Return, of N answers to each prompt, the one with the highest reward."""
    rewards = rewards.view(-1, N)
    best = rewards.argmax(1) + N * torch.arange(len(rewards))
    return replace(pool, texts=[pool.texts[i] for i in best.tolist()], ended=pool.ended[best])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4])
    parser.add_argument("--tastes", nargs="*", default=list(TASTES), choices=list(TASTES))
    methods = ["sft", "dpo", "reward", "ppo"]
    parser.add_argument("--methods", nargs="*", default=methods, choices=methods)
    parser.add_argument("--split", default="heldout", choices=["heldout", "validation"])
    parser.add_argument("--results", type=Path, default=RESULTS / "real_model.jsonl")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="only write the tables")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for seed in args.seeds * (not args.table):
        for taste in args.tastes:
            run = Run(taste, seed, args.split, args.results)
            run.rivals()
            for method in ("sft", "dpo"):
                if method in args.methods:
                    getattr(run, method)()
            if {"reward", "ppo"} & {*args.methods}:
                reward = run.reward()
                if "ppo" in args.methods:
                    run.ppo(reward)
    write_page(args.results)


if __name__ == "__main__":
    main()

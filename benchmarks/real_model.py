"""Two tastes taught to a real model, SmolLM2 135M Instruct, with LoRA: four seeds.

    python benchmarks/real_model.py                  # half an hour of one core a taste and seed
    python benchmarks/real_model.py --methods trl --seeds 0 --tastes "to you"    # TRL's DPO beside
    python benchmarks/real_model.py --table          # only the table, of what is measured so far

No judge knows what a good answer of a real model is. A simulated reader with a known taste ranks
four of its answers to each of 104 everyday prompts, and four more: one likes short answers, another
those that speak to the reader. Each comparison of two answers is turned round with a chance of
10 %. From these votes come a reward model, best of 8, DPO and PPO.

On 32 held-out prompts: the share of answers in the reader's taste, KL from the untouched model in
nats a response, perplexity under it after the plain prompt, words. The cheapest rivals: to ask for
the taste in words (of six ways to ask for "to you", none did better on training prompts), the
likeliest answer (temperature 0), and sorting: SFT on the answers that were ranked first. The
settings were chosen on validation prompts of seed 0.

Results: `data/results/real_model.jsonl`, a line for each method, and `real_model.md`. What is
measured again takes the place of what was there.
"""

import argparse
import copy
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from html import escape
from itertools import combinations, permutations
from pathlib import Path
from statistics import fmean

import torch

from rlhf_lessons import data, paths
from rlhf_lessons.evaluation.arena import repeated
from rlhf_lessons.evaluation.distance import kl_from, perplexity
from rlhf_lessons.feedback.pairs import plain_and_asked
from rlhf_lessons.lm.adapters import add_lora
from rlhf_lessons.lm.pretrained import CHATML, load_pretrained
from rlhf_lessons.lm.sampling import Samples, generate
from rlhf_lessons.stages.config import DPOConfig, PPOConfig, RewardConfig, SFTConfig
from rlhf_lessons.stages.dpo import DPO
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.reward import RewardModelling, normalise, score
from rlhf_lessons.stages.sft import SFT
from rlhf_lessons.world.everyday import TASTES, Reader, shows

RESULTS = paths.DATA / "results"
SAMPLING = {"max_new_tokens": 40, "temperature": 0.7}
SPLITS = ("validation", "heldout")
COLUMNS = {"share": ".0%", "kl": "z.1f", "perplexity": ".1f", "words": ".0f"}
HEADER = """Held-out prompts, four answers each (temperature 0 and best of 8: one), at temperature
0.7, of 40 tokens at most. Means over seeds, lowest and highest in brackets. KL and perplexity are
under the untouched model, after the plain prompt. Made by `python benchmarks/real_model.py`."""
N = 8  # of best of n
REWARD = RewardConfig(epochs=2, batch_size=8, lr=1e-3, warmup=5, keep_layers=20, head_scale=0.05)
SFT_CONFIG = SFTConfig(epochs=1, batch_size=8, lr=5e-4, warmup=5)
DPO_CONFIG = DPOConfig(beta=0.3, epochs=1, batch_size=4, lr=5e-4, warmup=5)
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
    """Return the ranks that a simulated reader gives to rows of four answers."""
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


def agreement(reward, tokenizer, rows: list[dict], taste: str) -> dict[str, float]:
    """Return in which share of pairs a reward model prefers the answer that the reader does: of
    pairs of plain answers, which are what PPO and best of n choose from, and of all.
    """
    reader = Reader(taste=taste)
    right = {"plain": [], "all": []}
    for row in rows:
        answers = [(answer["text"], answer["ended"]) for answer in row["completions"]]
        likes = [reader.utility_of(row["prompt"], *answer) for answer in answers]
        asked = repeated([row["prompt"]], len(answers))
        scores = score(reward, tokenizer, asked, *map(list, zip(*answers, strict=True)))
        for i, j in combinations(range(len(answers)), 2):
            if abs(likes[i] - likes[j]) < reader.tie_margin:
                continue
            agrees = (likes[i] > likes[j]) == bool(scores[i] > scores[j])
            right["all"].append(agrees)
            if row["completions"][j]["model"] == "plain":  # i is before j, so it is plain, too
                right["plain"].append(agrees)
    return {name: fmean(found) if found else None for name, found in right.items()}


def keep(file: Path, row: dict) -> None:
    """Add a row to a file of results, in the place of the one that was measured before."""
    same = ("split", "taste", "seed", "method")
    rows = data.json_rows(file) if file.exists() else []
    rows = [old for old in rows if any(old[name] != row[name] for name in same)]
    data.write_rows(file, [*rows, row])


RANKED = ("completions", "ranks", "ended")


class Run:
    """One taste and one seed: the votes, and what each method makes of them."""

    def __init__(self, taste: str, seed: int, results: Path):
        self.taste, self.seed, self.results = taste, seed, results
        self.untouched, self.tokenizer = load_pretrained()
        self.tokenizer.chat_template = CHATML
        self.train = data.everyday_prompts("train")
        self.policy = add_lora(copy.deepcopy(self.untouched), seed=seed)
        self.votes = comparisons(self.four_answers(2 * self.train, 100 * seed), taste, seed)

    def four_answers(self, prompts: list[str], seed: int) -> list[dict]:
        wish = TASTES[self.taste]
        return plain_and_asked(self.untouched, self.tokenizer, prompts, wish, seed=seed, **SAMPLING)

    def answers(self, model, prompts: list[str], n: int = 4, wish: str = "", **other):
        """Sample n answers to each prompt."""
        asked = repeated([f"{prompt} {wish}".strip() for prompt in prompts], n)
        settings = {"seed": 1000 * self.seed + 11, **SAMPLING, **other}
        return generate(model, self.tokenizer, asked, **settings)

    def note(self, method: str, answers: Callable, without=(), **more) -> None:
        """Measure what a method answers to the prompts of each split, and write it down, except
        for what cannot be measured. The held-out rows are not printed.
        """
        base, tokenizer = self.untouched, self.tokenizer
        for split in SPLITS:
            prompts = data.everyday_prompts(split)
            samples = answers(prompts)
            asked = repeated(prompts, len(samples.texts) // len(prompts))
            ended = samples.ended.tolist()
            hits = [shows(self.taste, *each) for each in zip(samples.texts, ended, strict=True)]
            row = {
                "split": split,
                "taste": self.taste,
                "seed": self.seed,
                "method": method,
                "share": sum(hits) / len(hits),
                "kl": kl_from(base, tokenizer, samples, SAMPLING["temperature"]),
                "perplexity": perplexity(base, tokenizer, asked, samples.texts, ended),
                "words": sum(len(text.split()) for text in samples.texts) / len(hits),
            }
            row |= dict.fromkeys(without)
            if split == "validation":
                print(json.dumps(row), flush=True)
            ten = range(0, len(asked), len(asked) // 10)[:10]
            row |= more | {"answers": [[asked[i], samples.texts[i]] for i in ten]}
            keep(self.results, row)

    def rivals(self) -> None:
        """What needs no votes: the model as it is, its likeliest answer, and asking in words."""
        self.note("untouched", partial(self.answers, self.untouched))
        likeliest = partial(self.answers, self.untouched, n=1, temperature=0)
        self.note("temperature 0", likeliest, without=["kl"])
        wished = partial(self.answers, self.untouched, wish=TASTES[self.taste])
        self.note("asked in words", wished, without=["kl"])

    def sorted(self) -> None:
        """SFT on the answers that were ranked first and ended: votes, but no preference loss."""
        policy = copy.deepcopy(self.policy)
        best = []
        for row in self.votes:
            for text, rank, ended in zip(*(row[k] for k in RANKED), strict=True):
                if rank == 0 and ended and text.strip():
                    best.append({"prompt": row["prompt"], "completion": text})
        config = replace(SFT_CONFIG, seed=self.seed)
        self.train_with("SFT on the best", SFT(policy, self.tokenizer, best, config), policy)

    def reward(self):
        """Train a reward model; best of n shows what it is worth."""
        config = replace(REWARD, seed=self.seed)
        stage = RewardModelling(self.policy, self.tokenizer, self.votes, config)
        for _ in stage:
            pass
        samples = self.answers(self.untouched, self.train, 1, seed=1000 * self.seed + 7)
        normalise(stage.model, self.tokenizer, self.train, samples.texts, samples.ended.tolist())
        right = {}
        for split in SPLITS:
            fresh = self.four_answers(data.everyday_prompts(split), 50 + self.seed)
            right[split] = agreement(stage.model, self.tokenizer, fresh, self.taste)
        print("the reward model agrees:", right["validation"], flush=True)
        best = partial(self.best, stage.model)
        self.note(f"best of {N}", best, without=["kl"], agrees=right)
        return stage.model

    def best(self, reward, prompts: list[str]) -> Samples:
        """Return the best of n answers to each prompt, by reward."""
        pool = self.answers(self.untouched, prompts, N, seed=1000 * self.seed + 12)
        asked = repeated(prompts, N)
        rewards = score(reward, self.tokenizer, asked, pool.texts, pool.ended.tolist())
        best = rewards.view(-1, N).argmax(1) + N * torch.arange(len(prompts))
        return replace(
            pool,
            texts=[pool.texts[i] for i in best.tolist()],
            ids=pool.ids[best],
            attention_mask=pool.attention_mask[best],
            response_mask=pool.response_mask[best],
            logprobs=pool.logprobs[best],
            ended=pool.ended[best],
        )

    def train_with(self, method: str, stage, policy) -> None:
        """Run a stage to its end, and measure its policy."""
        steps = []
        for step in stage:
            steps.append(
                {name: round(value, 5) for name, value in asdict(step).items() if value is not None}
            )
            print(method, json.dumps(steps[-1]), flush=True)
        self.note(method, partial(self.answers, policy), steps=steps)

    def dpo(self) -> None:
        policy = copy.deepcopy(self.policy)
        config = replace(DPO_CONFIG, seed=self.seed)
        self.train_with("DPO", DPO(policy, self.tokenizer, self.votes, config), policy)

    def trl(self) -> None:
        """TRL's DPO and ours on the pairs in which both answers ended, since TRL would end the
        others. Settings are the same; the order of pairs and the adapter's first weights are not.
        """
        import trl
        from datasets import Dataset
        from peft import LoraConfig

        pairs = []
        for row in self.votes:
            whole = [each for each in zip(*(row[k] for k in RANKED), strict=True) if each[2]]
            for (one, rank, _), (other, other_rank, _) in permutations(whole, 2):
                if rank < other_rank and one != other:
                    pairs.append({"prompt": row["prompt"], "chosen": one, "rejected": other})
        print(f"{len(pairs)} pairs in which both answers ended", flush=True)
        config = replace(DPO_CONFIG, batch_size=16, seed=self.seed)
        ours = copy.deepcopy(self.policy)
        self.train_with("DPO on whole answers", DPO(ours, self.tokenizer, pairs, config), ours)
        args = trl.DPOConfig(
            output_dir=tempfile.mkdtemp(),
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
            gradient_checkpointing=False,
            logging_steps=1,
            beta=config.beta,
            learning_rate=config.lr,
            num_train_epochs=config.epochs,
            warmup_steps=config.warmup,
            adam_beta2=0.95,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=2,
            seed=self.seed,
        )
        trainer = trl.DPOTrainer(
            model=copy.deepcopy(self.untouched),
            args=args,
            train_dataset=Dataset.from_list([data.conversation(row) for row in pairs]),
            processing_class=self.tokenizer,
            peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"),
        )
        trainer.train()
        steps = [
            {
                "step": step,
                "loss": row["loss"],
                "accuracy": row["rewards/accuracies"],
                "chosen": row["rewards/chosen"] / config.beta,
                "rejected": row["rewards/rejected"] / config.beta,
            }
            for step, row in enumerate(trainer.state.log_history)
            if "rewards/chosen" in row
        ]
        policy = trainer.model.merge_and_unload()
        self.note("TRL's DPO", partial(self.answers, policy), steps=steps)

    def ppo(self, reward) -> None:
        policy = copy.deepcopy(self.policy)
        config = replace(PPO_CONFIG, seed=self.seed)
        self.train_with("PPO", PPO(policy, self.tokenizer, reward, self.train, config), policy)


def with_trl() -> None:
    """Run the same command once more, with TRL's current release on Python's path."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from test_trl_parity import CURRENT, installed

    paths = [installed(CURRENT), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    env |= {"ACCELERATE_USE_CPU": "true", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run([sys.executable, *sys.argv, "--alone"], env=env, check=True)


def tables(rows: list[dict]) -> str:
    """Return a page: what each method reached on held-out prompts, and its first answers."""
    lines = ["# Two tastes taught to SmolLM2 135M", "", HEADER, ""]
    head = ["taste", "method", "in the taste", "KL, nats an answer", "perplexity", "words", "seeds"]
    body = []
    for (taste, method), some in by(rows, "taste", "method").items():
        cells = [spread(some, name, form) for name, form in COLUMNS.items()]
        body.append([taste, method, *cells, str(len(some))])
    lines += grid(head, body)
    agrees = by([row for row in rows if "agrees" in row], "taste")
    for (taste,), some in agrees.items():
        for kind in ("plain", "all"):
            values = [row["agrees"]["heldout"][kind] for row in some]
            lines += ["", f"Reward models for *{taste}* prefer what the reader does in "]
            lines[-1] += f"{min(values):.0%} to {max(values):.0%} of {kind} new pairs."
    first = {(row["taste"], row["method"]): row["answers"] for row in rows if row["seed"] == 0}
    for taste in TASTES:
        lines += ["", f"## {taste}: ten answers before and after, seed 0", ""]
        shown = [first.get((taste, method)) for method in ("untouched", "DPO", "PPO")]
        if not all(shown):
            continue
        shown = [[prompt for prompt, _ in shown[0]], *([text for _, text in row] for row in shown)]
        answers = [
            [escape(" ".join(text.split())).replace("|", "&#124;") for text in row]
            for row in zip(*shown)
        ]
        lines += grid(["prompt", "before", "after DPO", "after PPO"], answers)
    return "\n".join(lines) + "\n"


def grid(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return [lines[0], "|" + " --- |" * len(head), *lines[1:]]


def by(rows: list[dict], *names: str) -> dict[tuple, list[dict]]:
    """Return rows in groups of equal values, in the order in which they come."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def spread(rows: list[dict], name: str, form: str) -> str:
    """Return mean, lowest and highest over seeds, or a dash where it was not measured."""
    values = [row[name] for row in rows if row[name] is not None]
    if not values:
        return "–"
    return f"{fmean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3])
    parser.add_argument("--tastes", nargs="*", default=list(TASTES), choices=list(TASTES))
    methods = ["rivals", "dpo", "reward", "ppo"]
    parser.add_argument("--methods", nargs="*", default=methods, choices=[*methods, "trl"])
    parser.add_argument("--results", type=Path, default=RESULTS / "real_model.jsonl")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="only write the tables")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if "trl" in args.methods and not args.alone:
        return with_trl()
    torch.set_num_threads(args.threads)
    for seed in args.seeds * (not args.table):
        for taste in args.tastes:
            run = Run(taste, seed, args.results)
            if "rivals" in args.methods:
                run.rivals()
                run.sorted()
            if "dpo" in args.methods:
                run.dpo()
            if "trl" in args.methods:
                run.trl()
            if "reward" in args.methods or "ppo" in args.methods:
                reward = run.reward()
            if "ppo" in args.methods:
                run.ppo(reward)
    rows = [row for row in data.json_rows(args.results) if row["split"] == "heldout"]
    args.results.with_suffix(".md").write_text(tables(rows), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Over-optimisation: a weak reward model, no price for KL, and how far that goes well.

    python benchmarks/over_optimise.py                      # four seeds, on held-out prompts
    python benchmarks/over_optimise.py --split validation   # a rehearsal
    python benchmarks/over_optimise.py --table              # only the tables

A weak reward model has seen 300 votes of noisy raters on pairs of SFT answers. Best-of-n and PPO
(with kl_coef 0) go after what it says, and both are measured on their way: what the reward model
says, the true utility, and the KL from the SFT model. Beside them, on the same votes, go ensembles
of four such reward models: their mean, the worst, and the mean less the variance.

`labels`: fresh votes against old ones at equal number. Where the policy was at its best on
validation prompts, 150 votes on its own answers are added to 150 of the old, and PPO starts again
from the SFT model; beside it, with the 300 old ones.

Each seed starts from the SFT model of `runs/proof/seedN/sft` (`benchmarks/prove.py`). What lies in
`runs/over_optimise`, is not made again. Results: `data/results/over_optimisation.json` and `.md`.
"""

import argparse
import copy
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rlhf_lessons import data, paths, recipes
from rlhf_lessons.evaluation.arena import answer_all, repeated, score_all
from rlhf_lessons.evaluation.best_of_n import rewards_of
from rlhf_lessons.evaluation.intervals import interval
from rlhf_lessons.evaluation.over_optimisation import combined, ladder
from rlhf_lessons.lm.models import load_model
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.reports.compare import kl_from
from rlhf_lessons.stages.config import PPO_RECIPE, RewardConfig
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.reward import RewardModelling, normalise, score

RUNS, RESULTS = Path("runs/over_optimise"), paths.DATA / "results"
VOTES, MEMBERS = 300, 4  # of the reward model; reward models in an ensemble
REWARD = RewardConfig(epochs=8, batch_size=16, lr=5e-4, warmup=20)
HARD = replace(PPO_RECIPE, steps=64, kl_coef=0.0, target_kl=0.2)  # nothing holds it back
EVERY, ANSWERS = 2, 2  # steps between measurements; answers to each prompt
POOL, POOLED = 256, 100  # answers to each of so many prompts, for best-of-n
SPLITS = ("validation", "heldout")


def votes(writer, tokenizer, n: int, seed: int) -> list[dict]:
    """Return `n` votes of noisy raters on pairs of a model's answers."""
    prompts = data.prompts_of("train")
    order = np.random.default_rng(seed).permutation(len(prompts))
    asked = [prompts[i] for i in order[: 2 * n]]  # ties give no vote
    return recipes.make_comparisons(writer, tokenizer, asked, seed=seed, k=2)[:n]


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
    """Return a reward function: of one reward model, or of an ensemble."""

    def reward(prompts, texts, ended):
        ended = [bool(end) for end in ended]
        each = [score(member, tokenizer, prompts, texts, ended).numpy() for member in members]
        return torch.from_numpy(combined(np.stack(each), how))

    return reward


def chase(sft, tokenizer, members: list, how: str, seed: int, config=HARD) -> list[dict]:
    """Run PPO after a reward, and return the measurements on its way, on each split."""
    policy = copy.deepcopy(sft)
    reward = reward_of(members, tokenizer, how)
    stage = PPO(
        policy,
        tokenizer,
        reward,
        data.prompts_of("train"),
        replace(config, seed=seed),
        critic_init=members[0],
        reference=sft,
    )
    rows = [{"step": 0} | looks(policy, sft, tokenizer, reward, seed)]
    for step in stage:
        if (step.step + 1) % EVERY == 0:
            rows.append({"step": step.step + 1} | looks(policy, sft, tokenizer, reward, seed))
            print(seed, how, rows[-1]["step"], rows[-1]["validation"], flush=True)
    return rows


def looks(policy, sft, tokenizer, reward, seed: int) -> dict:
    """Return on each split the KL, the mean reward, and the true utility with its interval."""
    found = {}
    for split in SPLITS:
        prompts = data.prompts_of(split)
        asked = repeated(prompts, ANSWERS)
        samples = generate(policy, tokenizer, asked, seed=seed)
        ended = samples.ended.tolist()
        proxy = reward(asked, samples.texts, ended)
        texts = np.array(samples.texts, dtype=object).reshape(-1, ANSWERS).tolist()
        scores = score_all(prompts, texts, samples.ended.view(-1, ANSWERS).tolist())
        found[split] = {
            "kl": kl_from(sft, tokenizer, samples),
            "reward": float(proxy.mean()),
            "utility": interval(scores["utility"]),
            "length": float(samples.response_mask.sum(1).float().mean()),
            "samples": samples.texts[: 2 * ANSWERS : ANSWERS],
        }
    return found


def best_of_n(sft, tokenizer, members: list, split: str, seed: int) -> dict[str, list[dict]]:
    """Return the ladder of best-of-n by one reward model, and by each ensemble."""
    prompts = data.prompts_of(split)[:POOLED]
    texts, ended = answer_all(sft, tokenizer, prompts, POOL, seed)
    each = np.stack([rewards_of(m, tokenizer, prompts, texts, ended) for m in members])
    utility = score_all(prompts, texts, ended)["utility"]
    ways = {"one": each[0]} | {how: combined(each, how) for how in ("mean", "worst", "uncertainty")}
    return {
        name: ladder(rewards, {"reward": rewards, "utility": utility})
        for name, rewards in ways.items()
    }


def kept(file: Path, make):
    """Return what `file` holds; if there is no such file, make it first."""
    if not file.is_file():
        paths.write_text(file, json.dumps(make()))
    return json.loads(file.read_text(encoding="utf-8"))


def run(seed: int, chains: Path, ways: list[str]) -> None:
    """Make and measure all of one seed."""
    folder = RUNS / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    sft, tokenizer = load_model(chains / f"seed{seed}" / "sft")
    began = time.monotonic()
    rows = votes(sft, tokenizer, VOTES, seed)
    members = [weak_reward(sft, tokenizer, rows, 10 * seed + i) for i in range(MEMBERS)]
    print(
        f"seed {seed}: {len(rows)} votes, {MEMBERS} reward models, {time.monotonic() - began:.0f} s"
    )
    for split in SPLITS:
        kept(
            folder / f"best_of_n_{split}.json",
            lambda split=split: best_of_n(sft, tokenizer, members, split, seed),
        )
    for how in ways:
        some = members[:1] if how == "one" else members
        kept(
            folder / f"ppo_{how}.json",
            lambda some=some, how=how: chase(
                sft, tokenizer, some, "mean" if how == "one" else how, seed
            ),
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3], help="runs")
    parser.add_argument("--chains", type=Path, default=Path("runs/proof"), help="of SFT models")
    parser.add_argument(
        "--ways", nargs="*", default=["one", "mean", "worst", "uncertainty"], help="of reward"
    )
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for seed in args.seeds:
        run(seed, args.chains, args.ways)


if __name__ == "__main__":
    main()

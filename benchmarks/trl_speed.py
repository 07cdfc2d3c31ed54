"""How fast do we train, compared with TRL? Seconds for the same work, in turns.

    python benchmarks/trl_speed.py --threads 2                  # all, a quarter of an hour
    python benchmarks/trl_speed.py --methods ppo rloo

Run it with the Python of the tests, `.cache/tests/bin/python` after `start.py test`. Each method
runs in a process of its own, beside TRL's current release (PPO beside 1.12, the last that has it);
`tests/test_trl_parity.py` installs both. Both sides start from the shipped models and
read the shipped files. TRL's trainer leads: after each of its updates, ours makes one, so that a
busy machine slows both. An update is

- of PPO, RLOO and GRPO: 384 answers of 48 tokens, none of which ends, to prompts of about 20; in
  two passes of two minibatches; with a reference, the shipped reward model, and PPO's critic;
- of SFT: 16 demonstrations; of the reward model and DPO: the pairs of 16 rankings.

For the first three we also print what share of our update its matrix products would take, at the
speed of a product of two 2048 x 2048 matrices, and what share its bare passes through transformers'
models take.

Our reward model and DPO read an answer once, however many pairs it is in: that is part of our lead,
and the rows that each side reads are printed. TRL gets all pairs of an update in one batch; smaller
batches may suit it better. In PPO it scores answers without the suppression under which they were
sampled, so its KL and ratios mean nothing here; the work is the same. Each side's first update is a
warm-up, and is not counted.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median

from limits import seconds_an_operation, seconds_of, weights, without_ends

ROOT = Path(__file__).parents[1]
METHODS = ("ppo", "rloo", "grpo", "sft", "reward", "dpo")
ANSWERS, GROUP, LENGTH, PART = 384, 8, 48, 64
RANKINGS = 16


class Enough(Exception):
    """All rounds are measured."""


def settings(kind, **more):
    """TRL's settings for one process on a CPU, reporting to nobody and saving nothing."""
    return kind(
        output_dir=tempfile.mkdtemp(),
        report_to="none",
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        **more,
    )


def turns(trainer, ours, rounds: int, steps: int = 1) -> dict:
    """Return the seconds of each side's updates: TRL trains, and after every `steps` of its steps
    ours makes one update.
    """
    from transformers import TrainerCallback

    found = {"TRL": [], "ours": []}

    class Turn(TrainerCallback):
        def on_train_begin(self, *_, **__):
            self.began = time.perf_counter()
            self.steps = 0

        def on_step_end(self, args, state, control, **_):
            self.steps += 1
            if self.steps % steps:
                return
            between = time.perf_counter()
            next(ours)
            after = time.perf_counter()
            found["TRL"].append(between - self.began)
            found["ours"].append(after - between)
            if len(found["ours"]) > rounds:
                raise Enough  # TRL 1.12's PPO does not listen to `control`
            self.began = time.perf_counter()

    trainer.add_callback(Turn())
    with suppress(Enough):
        trainer.train()
    return {side: seconds[1 : rounds + 1] for side, seconds in found.items()}


def sampled(kind: str, rounds: int) -> dict:
    """PPO, RLOO or GRPO."""
    import rlhf_lessons as rl
    from rlhf_lessons import paths
    from rlhf_lessons.lm.tokenizer import encode_prompts
    from rlhf_lessons.stages.config import GRPOConfig, PPOConfig, RLOOConfig
    from rlhf_lessons.stages.ppo import PPO
    from rlhf_lessons.stages.rloo import GRPO, RLOO

    policy, tokenizer = rl.load("sft", "shipped", say=str)
    reward, _ = rl.load("reward", "shipped", say=str)
    suppressed = without_ends(policy, tokenizer)
    prompts = [task.prompt for task in rl.tasks("train")]
    common = {
        "steps": 10 * rounds,
        "batch_size": ANSWERS,
        "num_minibatches": 2,
        "update_epochs": 2,
        "max_new_tokens": LENGTH,
        "target_kl": float("inf"),
    }
    if kind == "ppo":
        ours = PPO(policy, tokenizer, reward, prompts, PPOConfig(**common, critic_warmup=0))
        rows = [{"input_ids": ids} for ids in encode_prompts(tokenizer, prompts)]
        return bounded(turns(last_ppo(rows, tokenizer, suppressed), ours, rounds), ours, 2)
    stage, config = {"rloo": (RLOO, RLOOConfig), "grpo": (GRPO, GRPOConfig)}[kind]
    ours = stage(policy, tokenizer, reward, prompts, config(**common, group_size=GROUP))
    import trl
    from datasets import Dataset

    checkpoints = paths.DATA / "checkpoints"
    args = settings(
        getattr(trl, f"{kind.upper()}Config"),
        per_device_train_batch_size=PART,
        gradient_accumulation_steps=ANSWERS // 2 // PART,
        generation_batch_size=ANSWERS,
        num_generations=GROUP,
        num_iterations=2,
        max_completion_length=LENGTH,
        beta=0.05,
        generation_kwargs={"suppress_tokens": suppressed},
        max_steps=100 * rounds,
    )
    turn = [{"prompt": [{"role": "user", "content": prompt}]} for prompt in prompts]
    trainer = getattr(trl, f"{kind.upper()}Trainer")(
        model=str(checkpoints / "sft"),
        reward_funcs=str(checkpoints / "reward"),
        args=args,
        train_dataset=Dataset.from_list(turn),
    )
    found = turns(trainer, ours, rounds, steps=4)  # two passes of two minibatches
    return bounded(found, ours, 1)


def bounded(found: dict, ours, models: int) -> dict:
    """Print what our updates cannot do without, when `models` of them learn: the matrix products at
    their fastest, and the bare passes through the models. Return `found`.

    Products: two operations for each token and weight that reads it: in sampling, for rewards,
    reference and, with PPO, values. Six where a model learns, in each of two passes. Scores need no
    output layer over the vocabulary. Bare passes: forward, and backward where a model learns, with
    no loss and without sampling.
    """
    policy = ours.policy
    batch = ours.collect(ours.step)
    read = batch.attention_mask.sum().item()
    operations = weights(policy) * read * (2 * (2 + models) + 2 * 6 * models)
    operations += policy.lm_head.weight.numel() * ANSWERS * LENGTH * (2 * 2 + 2 * 6)
    bounds = {
        "products alone": operations * seconds_an_operation(),
        "bare passes": min(seconds_of(partial(passes, ours, batch, models)) for _ in range(2)),
    }
    for name, seconds in bounds.items():
        share = seconds / median(found["ours"])
        print(f"       {name} {seconds:.2f} s: {share:.0%} of our update", flush=True)
    return found


def passes(ours, batch, models: int) -> None:
    """Pass a batch through all models as often as an update does, and learn nothing."""
    import torch

    from rlhf_lessons.lm.sampling import inputs, token_scores

    scoring = [ours.reward, ours.critic] if models == 2 else [ours.reward]
    for _, (*text, length) in batch.parts():
        with torch.no_grad():
            ours.reference(**inputs(*text), logits_to_keep=length + 1)
            for model in scoring:
                token_scores(model, *text)
        for _ in range(2):
            ours.policy(**inputs(*text), logits_to_keep=length + 1).logits.mean().backward()
            for model in scoring[1:]:
                token_scores(model, *text).mean().backward()


def last_ppo(rows: list[dict], tokenizer, suppressed: list[int]):
    """TRL 1.12's PPO."""
    import trl.experimental.ppo.ppo_trainer as theirs
    from datasets import Dataset

    import rlhf_lessons as rl

    policy, _ = rl.load("sft", "shipped", say=str)
    reference, _ = rl.load("sft", "shipped", say=str)
    reward, _ = rl.load("reward", "shipped", say=str)
    critic, _ = rl.load("reward", "shipped", say=str)
    for model in (reward, critic):
        model.config.pad_token_id = tokenizer.pad_token_id
    policy.generation_config.suppress_tokens = suppressed
    generate = theirs.generate

    def without_ends(model, queries, pad_id, config):
        config.suppress_tokens = suppressed
        return generate(model, queries, pad_id, config)

    theirs.generate = without_ends
    dataset = Dataset.from_list(rows)
    return theirs.PPOTrainer(
        args=settings(
            theirs.PPOConfig,
            per_device_train_batch_size=PART,
            gradient_accumulation_steps=ANSWERS // PART,
            num_ppo_epochs=2,
            num_mini_batches=2,
            total_episodes=100 * ANSWERS,
            local_rollout_forward_batch_size=PART,
            response_length=LENGTH,
            temperature=1.0,
            num_sample_generations=0,
        ),
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=reward,
        value_model=critic,
        train_dataset=dataset,
        eval_dataset=dataset.select(range(8)),
    )


def from_rows(kind: str, rounds: int) -> dict:
    """SFT, the reward model or DPO, on the shipped files."""
    import trl
    from datasets import Dataset

    import rlhf_lessons as rl
    from rlhf_lessons import data, paths
    from rlhf_lessons.stages.config import DPOConfig, RewardConfig, SFTConfig
    from rlhf_lessons.stages.dpo import DPO
    from rlhf_lessons.stages.reward import RewardModelling, flat_pairs
    from rlhf_lessons.stages.sft import SFT

    name = "base" if kind == "sft" else "sft"
    model, tokenizer = rl.load(name, "shipped", say=str)
    _, tokenizer = rl.load("sft", "shipped", say=str)
    size = {"per_device_train_batch_size": RANKINGS}
    rows = data.demonstrations() if kind == "sft" else data.comparisons()
    pairs = 1.0
    if kind == "sft":
        ours = SFT(model, tokenizer, rows, SFTConfig(epochs=10 * rounds))
    else:
        stage, config = {"reward": (RewardModelling, RewardConfig), "dpo": (DPO, DPOConfig)}[kind]
        ours = stage(model, tokenizer, rows, config(epochs=10))
        texts, better, *_ = flat_pairs(ours.rows)
        pairs = len(better) / len(ours.rows)  # of a ranking
        print(f"{kind}: of {len(better)} pairs TRL reads {2 * len(better)} rows, we {len(texts)}")
        size = {"per_device_train_batch_size": round(RANKINGS * pairs)}
    keep = ("prompt", "completion", "chosen", "rejected")
    rows = [data.conversation({k: row[k] for k in keep if k in row}) for row in rows]
    prefix = {"sft": "SFT", "reward": "Reward", "dpo": "DPO"}[kind]
    config = getattr(trl, f"{prefix}Config")
    args = settings(config, **size, max_length=None, max_steps=100 * rounds)
    trainer = getattr(trl, f"{prefix}Trainer")(
        model=str(paths.DATA / "checkpoints" / name),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    return turns(trainer, ours, rounds)


def alone(method: str, rounds: int, threads: int) -> None:
    """Measure one method, and print the ratio."""
    import torch
    import trl

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    measure = sampled if method in ("ppo", "rloo", "grpo") else from_rows
    found = measure(method, rounds * (1 if measure is sampled else 4))
    seconds = {side: median(times) for side, times in found.items()}
    ratio = median(t / o for t, o in zip(found["TRL"], found["ours"], strict=True))
    print(
        f"{method:6} TRL {trl.__version__} {seconds['TRL']:.3f} s, ours {seconds['ours']:.3f} s: "
        f"{ratio:.2f} x; rounds {[round(t / o, 2) for t, o in zip(*found.values(), strict=True)]}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="*", default=list(METHODS), help="what to measure")
    parser.add_argument("--rounds", type=int, default=5, help="updates of each side")
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        return alone(*args.methods, args.rounds, args.threads)
    sys.path.insert(0, str(ROOT / "tests"))
    from test_trl_parity import CURRENT, LAST_WITH_PPO, installed

    for method in args.methods:
        path = installed(LAST_WITH_PPO if method == "ppo" else CURRENT)
        env = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
        env |= {"ACCELERATE_USE_CPU": "true", "TOKENIZERS_PARALLELISM": "false"}
        env["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
        more = ["--rounds", str(args.rounds), "--threads", str(args.threads)]
        command = [sys.executable, __file__, "--alone", "--methods", method, *more]
        subprocess.run(command, env=env, check=True)


if __name__ == "__main__":
    main()

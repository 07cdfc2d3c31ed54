"""TRL's DPO beside ours, on the real model: the same votes, settings and pairs.

    python benchmarks/real_model_trl.py        # half an hour

Run it with the Python of the tests, `.cache/tests/bin/python` after `start.py test`. It takes one
seed and one taste of `real_model.py`, and adds to its results.
"""

import argparse
import copy
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path

import torch
from real_model import DPO_CONFIG, RESULTS, Run
from real_model_table import write_page

from rlhf_lessons import data
from rlhf_lessons.stages.dpo import DPO

TASTE, SEED = "short", 1


def measure(run: Run) -> None:
    """Train both on the pairs in which both answers ended: TRL would add an end to the others. The
    order of pairs and the adapter's initial weights are not the same.
    """
    import trl
    from datasets import Dataset
    from peft import LoraConfig

    pairs = []
    for row in run.votes:
        answers = zip(row["completions"], row["ranks"], row["ended"], strict=True)
        whole = [(text, rank) for text, rank, ended in answers if ended]
        for (one, rank), (other, other_rank) in permutations(whole, 2):
            if rank < other_rank and one != other:
                pairs.append({"prompt": row["prompt"], "chosen": one, "rejected": other})
    print(f"{len(pairs)} pairs in which both answers ended", flush=True)
    config = replace(DPO_CONFIG, batch_size=8, seed=run.seed)
    run.train_with("DPO on whole answers", partial(DPO, comparisons=pairs), config)
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
        per_device_train_batch_size=config.batch_size,
        seed=run.seed,
    )
    trainer = trl.DPOTrainer(
        model=copy.deepcopy(run.untouched),
        args=args,
        train_dataset=Dataset.from_list([data.conversation(row) for row in pairs]),
        processing_class=run.tokenizer,
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
    run.note("TRL's DPO", run.answers(policy, run.new), steps=steps)


def with_trl() -> None:
    """Run the same command once more, with TRL's current release on Python's path."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from test_trl_parity import CURRENT, installed

    paths = [installed(CURRENT), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    env |= {"ACCELERATE_USE_CPU": "true", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run([sys.executable, *sys.argv, "--alone"], env=env, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS / "real_model.jsonl")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.alone:
        return with_trl()
    torch.set_num_threads(args.threads)
    run = Run(TASTE, SEED, "heldout", args.results)
    run.rivals()
    measure(run)
    write_page(args.results)


if __name__ == "__main__":
    main()

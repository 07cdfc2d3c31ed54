"""Models and runs of the real kinds, but tiny: for tests that need one within a second.

`python tests/tiny.py STAGE FOLDER` trains one of them as the command line would, for tests that
kill it.
"""

import random
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from rlhf_lessons import data
from rlhf_lessons.lm.models import new_model, save_model, to_reward_model, toy_config
from rlhf_lessons.lm.tokenizer import train_tokenizer
from rlhf_lessons.stages import run as runs
from rlhf_lessons.stages.config import PPOConfig, PretrainConfig, RewardConfig, SFTConfig
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.pretrain import Pretrain
from rlhf_lessons.stages.reward import RewardModelling
from rlhf_lessons.stages.sft import SFT
from rlhf_lessons.world.corpus import scraps

STAGES = ("pretrain", "sft", "reward", "ppo")


def tokenizer():
    """A tokenizer of 300 tokens, trained on 200 scraps."""
    return train_tokenizer(list(scraps(200)), 300)


def model(seed: int = 0):
    """A language model of one layer, untrained."""
    return new_model(toy_config(300, layers=1, width=16, heads=2, mlp=32), seed)


def comparisons(n: int = 24) -> list[dict]:
    """Rows in TRL's preference format: an answer that has what was asked for against one that does
    not."""
    rows, rng = [], random.Random(0)
    for task in data.tasks("train")[:n]:
        rows.append(
            {
                "prompt": task.prompt,
                "chosen": f"Yes: {task.prompt}",
                "rejected": f"no {rng.random():.3f}",
                "group": len(rows),
                "utilities": [1.0, 0.0],
                "ended": [True, True],
            }
        )
    return rows


def stage(name: str, seed: int = 0):
    """One of the four stages, with at least a dozen steps of a few milliseconds."""
    words, lm = tokenizer(), model(seed)
    prompts = data.prompts_of("train")[:8]
    if name == "pretrain":
        tokens = np.array(words("\n".join(scraps(200)))["input_ids"], dtype=np.uint16)
        return Pretrain(
            lm,
            tokens,
            tokens[:500],
            PretrainConfig(steps=40, batch_size=2, context=32, validate_every=10),
        )
    if name == "sft":
        return SFT(lm, words, data.demonstrations()[:40], SFTConfig(epochs=4, batch_size=4))
    if name == "reward":
        return RewardModelling(lm, words, comparisons(), RewardConfig(epochs=8, batch_size=4))
    config = PPOConfig(steps=12, batch_size=8, critic_warmup=1, max_new_tokens=8)
    return PPO(lm, words, to_reward_model(lm), prompts, config)


def small_data(folder: Path, sizes: dict[str, int] | None = None) -> Path:
    """Copy the first few prompts of each split, and all demonstrations, into a data folder."""
    sizes = sizes or {"train": 20, "validation": 10, "heldout": 10}
    rows = [asdict(task) for split, n in sizes.items() for task in data.tasks(split)[:n]]
    data.write_rows(folder / "prompts.jsonl", rows)
    data.write_rows(folder / "demonstrations.jsonl", data.demonstrations())
    return folder


def checkpoint(folder: Path, quality: float = 0.5, seed: int = 0, **measured) -> Path:
    """A saved model with a card; in a folder called reward, a reward model."""
    lm = to_reward_model(model(seed)) if folder.name == "reward" else model(seed)
    card = {"stage": folder.name, "quality": quality, "seconds": 1, "measured": measured}
    words = tokenizer()
    if folder.name == "base":
        words.chat_template = None
    save_model(lm, words, folder, card)
    return folder


def checkpoints(folder: Path, quality: float = 0.5) -> Path:
    """All four of them in one folder."""
    report = {
        "accuracy": 0.8,
        "true_accuracy": 0.85,
        "ceiling": 0.9,
        "pairs": 400,
        "calibration": [[0.6, 0.6, 40]],
    }
    checkpoint(folder / "base", quality)
    checkpoint(folder / "sft", quality)
    checkpoint(folder / "reward", quality, **report)
    checkpoint(folder / "ppo", quality, kl=3.0, reward=0.5, explained_variance=0.5)
    return folder


if __name__ == "__main__":
    torch.set_num_threads(1)
    runs.SAVE_SECONDS = 0.05  # so that a kill loses some steps
    runs.train(stage(sys.argv[1]), Path(sys.argv[2]), sys.argv[1])

"""Twenty steps of every stage on tiny models: `python tests/several_processes.py FILE`.

Alone, or in several processes that a launcher started, it writes each step's metrics into FILE.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import tiny
import torch

from rlhf_lessons import data
from rlhf_lessons.lm import processes
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.stages.config import (
    DPOConfig,
    GRPOConfig,
    PPOConfig,
    PretrainConfig,
    RewardConfig,
    RLOOConfig,
    SFTConfig,
)
from rlhf_lessons.stages.dpo import DPO
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.pretrain import Pretrain
from rlhf_lessons.stages.reward import RewardModelling
from rlhf_lessons.stages.rloo import GRPO, RLOO
from rlhf_lessons.stages.sft import SFT
from rlhf_lessons.world.corpus import scraps

STEPS = 20
SAMPLED = {"steps": STEPS, "batch_size": 24, "max_new_tokens": 12, "lr": 5e-3, "target_kl": 9.0}


def stages(words) -> dict:
    """Each stage. With 37 rows in batches of 4, the last batch of a pass is a single row."""
    tokens = torch.tensor(words("\n".join(scraps(200)))["input_ids"])
    prompts = data.prompts_of("train")[:16]
    rows = tiny.comparisons(37)
    for row in rows[::3]:  # a ranking with a tie weighs less than a pair
        answers = [row.pop("chosen"), row.pop("rejected"), "none"]
        row |= {"completions": answers, "ranks": [1, 2, 2], "ended": [True] * 3}
        del row["utilities"]
    lm = tiny.model
    return {
        "pretrain": Pretrain(
            lm(), tokens, tokens[:500], PretrainConfig(steps=STEPS, batch_size=3, context=32)
        ),
        "sft": SFT(lm(), words, data.demonstrations()[:37], SFTConfig(epochs=2, batch_size=4)),
        "reward": RewardModelling(lm(), words, rows, RewardConfig(epochs=2, batch_size=4)),
        "dpo": DPO(lm(), words, rows, DPOConfig(epochs=2, batch_size=4)),
        "ppo": PPO(
            lm(), words, to_reward_model(lm()), prompts, PPOConfig(critic_warmup=2, **SAMPLED)
        ),
        "rloo": RLOO(
            lm(), words, to_reward_model(lm()), prompts, RLOOConfig(group_size=6, **SAMPLED)
        ),
        "grpo": GRPO(
            lm(), words, to_reward_model(lm()), prompts, GRPOConfig(group_size=6, **SAMPLED)
        ),
    }


def run_all() -> dict:
    """The metrics of each stage's steps."""
    torch.set_num_threads(1)
    found = {}
    for name, stage in stages(tiny.tokenizer()).items():
        found[name] = [asdict(step) for step in stage]
        weights = sum(weight.double().abs().sum().item() for weight in stage.models.parameters())
        assert len(set(processes.gather(weights))) == 1, "the processes' weights must not diverge"
    return found


if __name__ == "__main__":
    processes.join()
    found = run_all()
    if processes.first():
        Path(sys.argv[1]).write_text(json.dumps(found))

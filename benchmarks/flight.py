"""Record a run of PPO, token by token, for the flight recorder.

    python benchmarks/flight.py

The shipped SFT and reward model, the recipe of the course; one training prompt of each family is
in every batch, and is watched. The recording goes to `data/results/flight.json`. It takes two
minutes on two cores.
"""

import argparse
import json

import torch

import rlhf_lessons as rl
from rlhf_lessons import data, paths
from rlhf_lessons.evaluation.recorder import RecordedPPO
from rlhf_lessons.stages.config import PPO_RECIPE
from rlhf_lessons.world.tasks import FAMILIES


def rounded(found):
    """Return plain data with six digits after the point."""
    if isinstance(found, dict):
        return {name: rounded(each) for name, each in found.items()}
    if isinstance(found, list):
        return [rounded(each) for each in found]
    return round(found, 6) if isinstance(found, float) else found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    torch.set_num_threads(parser.parse_args().threads)
    policy, tokenizer = rl.load("sft", "shipped")
    reward, _ = rl.load("reward", "shipped")
    tasks = data.tasks("train")
    watched = [next(t.prompt for t in tasks if t.family == family) for family in FAMILIES]
    prompts = data.prompts_of("train")
    run = RecordedPPO(policy, tokenizer, reward, prompts, PPO_RECIPE, watched)
    for step in run:
        print(f"step {step.step + 1}: reward {step.reward:+.2f}, KL {step.kl:.1f}", flush=True)
    text = json.dumps(rounded(run.frames), ensure_ascii=False, separators=(",", ":"))
    paths.write_text(paths.DATA / "results" / "flight.json", text + "\n")


if __name__ == "__main__":
    main()

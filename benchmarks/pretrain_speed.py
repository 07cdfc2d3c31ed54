"""How fast is our pretraining? Steps a second, beside the same model's bare forward-backward-update
loop.

    python benchmarks/pretrain_speed.py

Both train one model of the course's size on the same windows; blocks of steps alternate, so that a
busy machine slows both. The bare loop does what no training can do without: forward, loss,
backward, AdamW. Ours also draws and shuffles windows, clips gradients, sets the learning rate and
checks that all numbers are finite.
"""

import argparse
import time

import numpy as np
import torch

from rlhf_lessons.lm.models import new_model, toy_config
from rlhf_lessons.recipes import PRETRAIN, VOCABULARY
from rlhf_lessons.stages.losses import next_token_loss
from rlhf_lessons.stages.pretrain import Pretrain


def measure(blocks: int, steps: int) -> list[float]:
    """Return, for each block, the speed of our loop over that of the bare one."""
    tokens = np.random.default_rng(0).integers(
        5, VOCABULARY, 4_000_000, dtype=np.uint16
    )  # as many as the course's
    stage = Pretrain(new_model(toy_config(VOCABULARY), 0), tokens, tokens[:2000], PRETRAIN)
    bare = new_model(toy_config(VOCABULARY), 0).eval()
    adam = torch.optim.AdamW(
        bare.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    windows = [stage.batch(i) for i in range(steps)]

    def ours():
        for _ in range(steps):
            next(stage)

    def theirs():
        for batch in windows:
            next_token_loss(bare, batch).backward()
            adam.step()
            adam.zero_grad(set_to_none=True)

    def seconds(loop) -> float:
        began = time.perf_counter()
        loop()
        return time.perf_counter() - began

    ours(), theirs()  # warm up
    ratios = []
    for block in range(blocks):
        first, second = (ours, theirs) if block % 2 else (theirs, ours)
        times = {first: seconds(first), second: seconds(second)}
        ratios.append(times[theirs] / times[ours])
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=10, help="pairs of blocks to time")
    parser.add_argument("--steps", type=int, default=20, help="steps in a block")
    args = parser.parse_args()
    if args.blocks * args.steps >= PRETRAIN.validate_every - args.steps:
        parser.error(
            f"blocks x steps must stay below {PRETRAIN.validate_every - args.steps}: "
            "validation is not timed"
        )
    ratios = np.sort(measure(args.blocks, args.steps))
    print(
        f"our speed over the bare loop's: median {np.median(ratios):.3f}, of {len(ratios)} blocks "
        f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
    )


if __name__ == "__main__":
    main()

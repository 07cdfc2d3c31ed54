"""What a step of PPO costs as models, batches and answers grow: seconds, memory, and how much of
the processor's speed the step uses.

    python benchmarks/scale.py --threads 2        # a quarter of an hour

Models are of the course's family, with random weights: 1 to 133 million parameters, all of which
learn. Each line is measured in a process of its own: the median of three steps after a first one,
and the peak memory. A step samples answers, none of which ends, scores them, asks the reference
and the critic, and learns from them in one pass of one minibatch.

The products' limit is the time that the matrix products of a step would take at the speed of a
product of two 2048 x 2048 matrices: for each token and weight, 2 operations each to read it
(sampling, reward, reference and critic) and 6 each to learn from it (policy and critic).
"""

import argparse
import json
import resource
import subprocess
import sys
from statistics import median

from limits import seconds_an_operation, seconds_of, without_ends

SHAPES = [(4, 128), (4, 256), (6, 384), (8, 640), (11, 960)]  # layers and width
USUAL = {"shape": (6, 384), "batch": 32, "length": 48}
LINES = [USUAL | {"shape": shape} for shape in SHAPES]
LINES += [USUAL | {"batch": batch} for batch in (8, 128)]
LINES += [USUAL | {"length": length} for length in (24, 96)]
STEPS = 3
READS, LEARNS = 4, 2  # models that read the answers, and that learn from them


def gigabytes() -> float:
    """Return the most memory that this process has used."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e9 * (1 if sys.platform == "darwin" else 1024)


def measure(shape: tuple[int, int], batch: int, length: int, threads: int) -> dict:
    """Measure one line, in this process."""
    import torch

    import rlhf_lessons as rl
    from rlhf_lessons.lm.models import new_model, to_reward_model, toy_config
    from rlhf_lessons.stages.config import PPOConfig
    from rlhf_lessons.stages.ppo import PPO

    torch.set_num_threads(threads)
    _, tokenizer = rl.load("sft", "shipped", say=str)
    policy = new_model(toy_config(len(tokenizer), *shape))
    without_ends(policy, tokenizer)
    config = PPOConfig(
        batch_size=batch,
        max_new_tokens=length,
        num_minibatches=1,
        update_epochs=1,
        critic_warmup=0,
        lr=1e-5,
    )
    prompts = [task.prompt for task in rl.tasks("train")]
    stage = PPO(policy, tokenizer, to_reward_model(policy), prompts, config)
    next(stage)
    seconds = median(seconds_of(lambda: next(stage)) for _ in range(STEPS))
    most = gigabytes()
    weights = policy.num_parameters()
    read = sum(len(ids) for ids in stage.prompt_ids) / len(prompts) + length
    operations = (2 * READS + 6 * LEARNS) * batch * read * weights
    return {
        "parameters": weights,
        "batch": batch,
        "length": length,
        "seconds": seconds,
        "limit": operations * seconds_an_operation() / seconds,
        "gigabytes": most,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        print(json.dumps(measure(**json.loads(args.alone), threads=args.threads)))
        return
    print("| parameters | answers | tokens each | seconds | of the products' limit | memory |")
    print("|" + " --- |" * 6)
    for line in LINES:
        command = [sys.executable, __file__, "--alone", json.dumps(line)]
        command += ["--threads", str(args.threads)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(
            f"| {found['parameters'] / 1e6:.0f} M | {found['batch']} | {found['length']} "
            f"| {found['seconds']:.2f} | {found['limit']:.0%} | {found['gigabytes']:.1f} GB |",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""How fast do we sample? Tokens a second, beside `generate` of transformers, our readable loop, and
the matrix products alone.

    python benchmarks/sampling_speed.py --threads 2

All sample 48 tokens for the same prompts from the shipped SFT model, with the end token suppressed,
so that no row leaves. Rounds alternate, so that a busy machine slows all. The limit is the time
that the products of the model would take, prompts included, at the speed of a product of two
1024 x 1024 matrices. Beside the time on the clock stands the processor's, which other programs
disturb less; take that with one thread where the machine is busy.
"""

import argparse
import time
from statistics import median

import torch
from limits import weights, without_ends

import rlhf_lessons as rl
from rlhf_lessons.lm import sampling
from rlhf_lessons.lm.decoder import fast
from rlhf_lessons.lm.tokenizer import encode_prompts

LENGTH = 48
PRODUCTS = 10  # in one round: about as long as the sampling


def operations(model, rows: list[list[int]]) -> float:
    """Return the floating-point operations of all products: two for each weight that is used.

    Attention reads, for each token, what comes before it.
    """
    config = model.config
    read = sum(len(row) + LENGTH - 1 for row in rows)
    before = sum((len(row) + LENGTH) ** 2 / 2 for row in rows)
    attention = 2 * before * config.num_hidden_layers * config.hidden_size
    written = LENGTH * len(rows)
    return 2 * (weights(model) * read + model.lm_head.weight.numel() * written + attention)


def measure(rounds: int, batch_size: int) -> None:
    model, tokenizer = rl.load("sft")
    prompts = [task.prompt for task in rl.tasks("train")][:batch_size]
    rows = encode_prompts(tokenizer, prompts)
    ids, mask = sampling.pad(rows, tokenizer.pad_token_id, "left")
    suppressed = without_ends(model, tokenizer)
    square = torch.randn(1024, 1024)

    def theirs():
        model.generate(
            ids,
            attention_mask=mask.long(),
            max_new_tokens=LENGTH,
            do_sample=True,
            top_k=0,
            suppress_tokens=suppressed,
        )

    def loop():
        sampling.fast = lambda model: model
        sampling.generate(model, tokenizer, rows, LENGTH)

    def ours():
        sampling.fast = fast
        sampling.generate(model, tokenizer, rows, LENGTH)

    def products():
        for _ in range(PRODUCTS):
            square @ square

    ways = {"generate": theirs, "readable loop": loop, "decoder": ours, "products": products}
    times = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            way()
            seconds = time.perf_counter() - clock, time.process_time() - processor
            if number:  # the first round warms up
                times[name].append(seconds)
    for kind, title in enumerate(["clock", "processor"]):
        seconds = {name: [each[kind] for each in times[name]] for name in ways}
        speed = PRODUCTS * 2 * 1024**3 / median(seconds["products"])
        limit = operations(model, rows) / speed
        print(f"batch {batch_size}, {title}: products at {speed / 1e9:.0f} GFLOP/s")
        for name in list(ways)[:-1]:
            ratios = [a / b for a, b in zip(seconds["generate"], seconds[name], strict=True)]
            middle = median(seconds[name])
            print(
                f"  {name:13s} {batch_size * LENGTH / middle:7,.0f} tokens/s, "
                f"{1000 * middle / LENGTH:5.2f} ms a step, {median(ratios):.2f} x generate "
                f"({min(ratios):.2f} to {max(ratios):.2f}), {limit / middle:.0%} of the limit"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="of which the median is taken")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128], help="batch sizes")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for batch_size in args.batch:
        measure(args.rounds, batch_size)


if __name__ == "__main__":
    main()

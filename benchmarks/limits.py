"""What the speed benchmarks share: answers that never end, and the fastest speed of a product."""

import time
from collections.abc import Callable

import torch


def without_ends(model, tokenizer) -> list[int]:
    """Let no answer end from here on, in sampling and in rollouts; return the ids kept back."""
    from rlhf_lessons.lm import sampling
    from rlhf_lessons.stages import rollout

    ids = [*sampling.suppressed_ids(model, tokenizer), tokenizer.eos_token_id]
    sampling.suppressed_ids = rollout.suppressed_ids = lambda *_: ids
    return ids


def seconds_of(work: Callable) -> float:
    """Return the seconds that `work()` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def seconds_an_operation(size: int = 2048, tries: int = 20) -> float:
    """Return the seconds of a floating-point operation in a product of two square matrices, at its
    fastest.
    """
    square = torch.randn(size, size)
    return min(seconds_of(lambda: square @ square) for _ in range(tries)) / (2 * size**3)


def weights(model) -> int:
    """Return how many weights of the layers multiply each token, output layer not counted."""
    layers = model.model.layers.parameters()
    return sum(weight.numel() for weight in layers if weight.dim() == 2)

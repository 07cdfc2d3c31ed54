"""Several processes train one model: each takes its share of the rows, and what they find adds up.

`accelerate launch` or `torchrun` starts them. All run the same program on the same data, so each
knows the whole batch; only passes through a model, which take the time, are shared out. Whatever is
counted, drawn, whitened or compared is then that of the whole batch, as with a single process, for
which the functions below change nothing.
"""

import atexit
import os
from collections import Counter
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


class LostProcess(RuntimeError):
    """Another process of the run has ended, so this one cannot continue."""


def join() -> None:
    """Join the others, where a launcher has started several processes."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        dist.init_process_group()
        atexit.register(dist.destroy_process_group)  # ends its threads


def several() -> bool:
    """Return whether there are several processes."""
    return dist.is_available() and dist.is_initialized()


def first() -> bool:
    """Return whether this is the process that writes files and shows progress."""
    return not several() or dist.get_rank() == 0


def share(rows):
    """Return this process's share of a list or tensor: every n-th, perhaps none."""
    return rows[dist.get_rank() :: dist.get_world_size()] if several() else rows


@contextmanager
def together():
    """Raise LostProcess where waiting for the others fails because one of them has ended."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcess(
            "another process of this run has ended, so this one stops too. If the other has said "
            "why, that counts; else the same command continues from the last saved state "
            f"({error})"
        ) from error


def total(x: Tensor) -> Tensor:
    """Sum `x` over all processes, in place, and return it."""
    if several():
        with together():
            dist.all_reduce(x)
    return x


def gather(found) -> list:
    """Wait for all processes and return a list of what each has found, which is plain data."""
    everybody = [found]
    if several():
        everybody *= dist.get_world_size()
        with together():
            dist.all_gather_object(everybody, found)
    return everybody


def mean(values: Tensor) -> float:
    """Return the mean of all processes' values (share,)."""
    shares = gather((values.float().mean().item(), len(values)))
    n = sum(size for _, size in shares)
    return sum(share * (size / n) for share, size in shares)


def weighted(loss: Tensor, weight: float) -> Tensor:
    """Return this share's part of the mean over the whole batch: `loss` is the share's own mean,
    `weight` what that is a mean over, such as its number of tokens."""
    return loss * (weight / sum(gather(weight)))


def summed(metrics: dict) -> dict:
    """Return the sum of all processes' metrics, but the maximum of "ratio_error"."""
    shares = gather(metrics)
    found = Counter()
    for share in shares:  # one without rows has no metrics
        found.update(share)
    return {**found, "ratio_error": max(share.get("ratio_error", 0.0) for share in shares)}


def add_gradients(weights: list) -> None:
    """Sum each weight's gradient over all processes; where none has one, it stays None."""
    if not several():
        return
    learned = total(torch.tensor([float(weight.grad is not None) for weight in weights]))
    for weight, processes in zip(weights, learned, strict=True):
        if processes:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            total(weight.grad)

"""The field's traps, each a switch: break a stage on purpose, and learn the curve by which to know it.

    with trap("prompt tokens in the loss"):
        steps = list(SFT(model, tokenizer, demonstrations, config))

Inside the `with`, one named function of the package is swapped for one that makes a well-known mistake; the stages
know nothing of it. What is trained inside is for looking at: never save it.
"""
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Trap:
    """A mistake: the function that makes it, and what stands in the package instead of the right one meanwhile."""

    where: str  # "module:function" under rlhf_lessons, where the stage looks the function up
    broken: Callable[[Callable], Callable]  # the right function -> the broken one
    look: str  # by what one knows it


TRAPS: dict[str, Trap] = {}


@contextmanager
def trap(name: str) -> Iterator[Trap]:
    """Break what `name` says until the end of the block. KeyError, with the names there are, for another."""
    if name not in TRAPS:
        raise KeyError(f"no trap is called '{name}'; there are: {', '.join(TRAPS)}")
    module, function = TRAPS[name].where.split(":")
    home = importlib.import_module(f"rlhf_lessons.{module}")
    right = getattr(home, function)
    setattr(home, function, TRAPS[name].broken(right))
    try:
        yield TRAPS[name]
    finally:
        setattr(home, function, right)


# Lesson 4

def score_after_the_end(gae: Callable) -> Callable:
    """Put each score one token after the end, where padding begins: the mask takes it away."""
    def broken(rewards, values, mask, gamma, lam):
        columns = torch.arange(mask.shape[1], device=mask.device)
        at_the_end = columns == mask.sum(1, keepdim=True) - 1
        return gae(rewards.masked_fill(at_the_end, 0.0), values, mask, gamma, lam)
    return broken


def padding_in_the_returns(gae: Callable) -> Callable:
    """Forget the mask: what the critic says about padding flows back into the answers."""
    def broken(rewards, values, mask, gamma, lam):
        return gae(rewards, values, torch.ones_like(mask), gamma, lam)
    return broken


def another_temperature(generate: Callable) -> Callable:
    """Sample at 0.6 times the temperature at which the update then scores the tokens."""
    def broken(policy, tokenizer, prompts, max_new_tokens, temperature, seed):
        return generate(policy, tokenizer, prompts, max_new_tokens, 0.6 * temperature, seed)
    return broken


TRAPS["score after the end"] = Trap(
    "stages.ppo_math:gae", score_after_the_end,
    "The reward does not rise, and the value loss is next to nothing: no score ever comes.")
TRAPS["padding in the returns"] = Trap(
    "stages.ppo_math:gae", padding_in_the_returns,
    "Explained variance stays low: what comes back to a token depends on how long its neighbours in the batch are.")
TRAPS["another temperature"] = Trap(
    "stages.ppo:generate", another_temperature,
    "The ratio is far from 1 before the first update: watch ratio_error.")

"""What the stages share: the shape of a run, an optimiser's step, learning rate and seeds.

Left out: mixed precision, which a model of this size does not need. Dropout is off everywhere
(models stay in eval mode), as in Ziegler et al. 2019: a log-probability must not depend on chance.
Where a launcher has started several processes, they share each batch (`lm/processes.py`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlhf_lessons.lm import processes
from rlhf_lessons.lm.adapters import Shared
from rlhf_lessons.lm.sampling import check_model


class Stopped(RuntimeError):
    """A run that could not finish; the message says at which step, why, and how to continue."""


class NonFiniteLoss(Stopped):
    """A loss or gradient is no number. Raised before the weights change: they are the last good."""


class Optimiser(torch.optim.AdamW):
    """AdamW with clipped gradients and checked numbers."""

    def __init__(
        self, model: nn.Module, lr: float, eps=1e-8, weight_decay=0.0, max_grad_norm=1.0, beta2=0.95
    ):
        super().__init__(model.parameters(), lr, (0.9, beta2), eps, weight_decay, fused=True)
        self.max_lr = lr
        self.max_grad_norm = max_grad_norm

    def apply(self, step: int, scale: float) -> float:
        """Move the weights at `scale` times the learning rate; return the norm before clipping.

        NonFiniteLoss, naming the step, if a gradient is no finite number.
        """
        group = self.param_groups[0]
        processes.add_gradients(group["params"])
        norm = nn.utils.clip_grad_norm_(group["params"], self.max_grad_norm)
        check_finite(norm, "the gradients' norm", step)
        group["lr"] = self.max_lr * scale
        self.step()
        return norm.item()


def backward(loss: Tensor, step: int) -> None:
    """Add the gradients of `loss`; NonFiniteLoss, naming the step, if it is no finite number."""
    check_finite(loss, "the loss", step)
    loss.backward()


def check_finite(number: Tensor, what: str, step: int) -> None:
    """NonFiniteLoss if a number is none."""
    if not number.isfinite():
        raise NonFiniteLoss(
            f"step {step}: {what} is {number.item()}; the weights are those of the step before. "
            "Start afresh with a lower learning rate"
        )


def linear_schedule(step: int, steps: int, warmup: int) -> float:
    """Return the learning rate's factor: up over `warmup` steps, then linearly down to zero."""
    down = (steps - step) / max(steps - warmup, 1)
    return min((step + 1) / max(warmup, 1), down, 1.0)


def generator(*numbers: int) -> torch.Generator:
    """Return a random generator that depends on these numbers only, such as (seed, step).

    A resumed run therefore needs no random state.
    """
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % (2**63 - 25)
    return torch.Generator().manual_seed(seed)


def length_grouped_rows(lengths: list[int], size: int, step: int, seed: int) -> list[int]:
    """Return the row numbers that `step` uses, of similar length so that little is padding.

    Each pass over all rows shuffles them, sorts within groups of 8 batches by length, and shuffles
    the batches; the last batch of a pass may be smaller.
    """
    this_pass, place = divmod(step, math.ceil(len(lengths) / size))
    rng = generator(seed, this_pass)
    batches = []
    for group in torch.randperm(len(lengths), generator=rng).split(8 * size):
        by_length = torch.tensor(lengths)[group].argsort(stable=True)
        batches += group[by_length].split(size)
    order = torch.randperm(len(batches), generator=rng)
    return batches[order[place]].tolist()


def shuffled_rows(rows: int, size: int, step: int, seed: int) -> list[int]:
    """Return the `size` row numbers that `step` uses: all rows once in random order, then again."""
    this_pass, place = divmod(step * size, rows)
    order = []
    while len(order) < place + size:
        order += torch.randperm(rows, generator=generator(seed, this_pass)).tolist()
        this_pass += 1
    return order[place : place + size]


@dataclass
class Step:
    """What one step of a stage of one model gives."""

    step: int
    loss: float  # of the step's batch, before learning from it; nats
    lr: float
    grad_norm: float  # before clipping


class Stage(Iterator):
    """Trains one step at each iteration: `for step in stage`. Stopping is `break`.

    A stage has `config`, `steps` and, by name, `models` (a ModuleDict) and `optimisers`.
    """

    step = 0  # steps done

    def __len__(self) -> int:
        return self.steps

    def __next__(self):
        if self.step >= self.steps:
            raise StopIteration
        result = self.train_step(self.step)
        self.step += 1
        return result

    def descend(self, loss: Tensor, weight: float, step: int) -> dict:
        """Take one step down `loss` in a stage of one model; return the fields of its `Step`.

        `weight` is what the loss is a mean over, such as the number of its tokens.
        """
        optimiser = self.optimisers["model"]
        scale = linear_schedule(step, self.steps, self.config.warmup)
        optimiser.zero_grad()
        loss = processes.weighted(loss, weight)
        backward(loss, step)
        norm = optimiser.apply(step, scale)
        return {
            "step": step,
            "loss": processes.total(loss.detach()).item(),
            "lr": optimiser.max_lr * scale,
            "grad_norm": norm,
        }

    def state_dict(self) -> dict:
        """Return all that a run needs to continue bit for bit; `step` and seed decide the rest."""
        return {
            "stage": type(self).__name__,
            "config": repr(self.config),
            "step": self.step,
            "models": learned_weights(self.models),
            "optimisers": {name: each.state_dict() for name, each in self.optimisers.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        """Continue where `state` was taken. ValueError if it is of another stage or config."""
        mine = self.state_dict()
        for what in ("stage", "config"):
            if state.get(what) != mine[what]:
                raise ValueError(
                    f"cannot resume: the saved {what} is {state.get(what)}, this run's is "
                    f"{mine[what]}"
                )
        self.step = state["step"]
        learned = learned_weights(self.models)
        frozen = {n: w for n, w in self.models.state_dict().items() if n not in learned}
        self.models.load_state_dict(frozen | state["models"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])


def learned_weights(models: nn.ModuleDict) -> dict:
    """Return the weights of models by name, without those that are frozen and shared."""
    weights = models.state_dict()
    for name, weight in models.named_parameters(remove_duplicate=False):
        if isinstance(weight, Shared):
            del weights[name]
    return weights


class RowStage(Stage):
    """Trains one model on `rows` of these `lengths` in tokens: `config.epochs` passes over all.

    The model is put into eval mode, and stays in it: it learns without dropout.
    """

    def __init__(self, model, tokenizer, config, rows: list, lengths: list[int], **settings):
        check_model(model, tokenizer)
        self.model = model.eval()
        self.pad_id = tokenizer.pad_token_id
        self.config = config
        self.rows = rows
        self.lengths = lengths
        self.steps = config.epochs * math.ceil(len(rows) / config.batch_size)
        self.models = nn.ModuleDict({"model": model})
        self.optimisers = {"model": Optimiser(model, config.lr, **settings)}

    def batch(self, step: int) -> list:
        """Return the rows that `step` learns from: this process's share of them, or all where there
        are too few to share.
        """
        size = self.config.batch_size
        numbers = length_grouped_rows(self.lengths, size, step, self.config.seed)
        return [self.rows[i] for i in processes.share(numbers) or numbers]

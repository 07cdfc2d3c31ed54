"""Step 1 of RLHF, pretraining: learn to predict the next token of web scraps, and nothing else.

Left out: hiding the documents of a window from each other (GPT-2 did not either), and mixed precision.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlhf_lessons.lm.batching import inputs, pad
from rlhf_lessons.stages.loop import Optimiser, Stage, generator


@dataclass(frozen=True)
class PretrainConfig:
    steps: int = 4000  # How many batches to train on.
    batch_size: int = (
        16  # Windows of text in a batch; small batches learn more from each token here.
    )
    context: int = 128  # Tokens in a window: how far back the model learns to look.
    lr: float = 3e-3  # Highest learning rate; it falls linearly to zero.
    warmup: int = 100  # Steps over which the learning rate rises.
    weight_decay: float = 0.1  # Pull of all weights towards zero.
    validate_every: int = 250  # Steps between two measurements of the validation loss.
    seed: int = 0  # Decides the order of the windows.


@dataclass
class PretrainStep:
    """What one step gives; losses are in nats per token."""

    step: int
    tokens: int  # seen so far
    loss: float
    lr: float
    grad_norm: float
    validation_loss: float | None = None  # where it was measured


class Pretrain(Stage):
    """Train `model` on a long row of token ids (1-D, LongTensor or numpy); each item is one `PretrainStep`."""

    def __init__(self, model, tokens, validation_tokens, config: PretrainConfig):
        """ValueError if the tokens do not fill one batch."""
        self.model, self.config, self.steps = model.eval(), config, config.steps
        self.tokens, self.validation_tokens = np.asarray(tokens), np.asarray(validation_tokens)
        self.models = {"model": model}
        self.optimisers = {"model": Optimiser(model, config.lr, weight_decay=config.weight_decay)}
        self.windows = (len(self.tokens) - 1) // config.context - 1
        if self.windows < config.batch_size:
            raise ValueError(
                f"{len(self.tokens)} tokens do not fill a batch of {config.batch_size} windows"
            )

    def batch(self, step: int) -> Tensor:
        """Windows (batch, context + 1): all text is seen once before any is seen again.

        Each pass over the text starts at another offset and shuffles the windows, as the seed decides.
        """
        size, context = self.config.batch_size, self.config.context
        this_pass, place = divmod(step, self.windows // size)
        rng = generator(self.config.seed, this_pass)
        offset = int(torch.randint(context, (1,), generator=rng))
        order = torch.randperm(self.windows, generator=rng)[place * size :][:size]
        rows = [self.tokens[offset + i * context :][: context + 1] for i in order.tolist()]
        return torch.from_numpy(np.stack(rows).astype(np.int64)).to(self.model.device)

    def train_step(self, step: int) -> PretrainStep:
        config = self.config
        loss = next_token_loss(self.model, self.batch(step))
        lr, norm = self.descend(loss, step)
        measure = (step + 1) % config.validate_every == 0 or step + 1 == config.steps
        measured = (
            validation_loss(self.model, self.validation_tokens, config.context) if measure else None
        )
        return PretrainStep(
            step, (step + 1) * config.batch_size * config.context, loss.item(), lr, norm, measured
        )


def next_token_loss(model, windows: Tensor) -> Tensor:
    """Mean cross-entropy in nats of windows (batch, time + 1): each token is predicted from those before it."""
    logits = model(windows[:, :-1], use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten())


@torch.inference_mode()
def validation_loss(
    model, tokens, context: int = 128, batch_size: int = 32, most: int = 32_768
) -> float:
    """Loss in nats per token on the first `most` tokens of a text, in windows of `context`."""
    tokens = np.asarray(tokens)[: most + 1].astype(np.int64)
    windows = np.stack(
        [tokens[i : i + context + 1] for i in range(0, len(tokens) - context, context)]
    )
    batches = torch.from_numpy(windows).to(model.device).split(batch_size)
    return sum(next_token_loss(model, batch).item() * len(batch) for batch in batches) / len(
        windows
    )


def bits_per_byte(nats_per_token: float, tokens: int, size: int) -> float:
    """The loss in bits per byte of a text of `tokens` tokens and `size` bytes: comparable between tokenizers."""
    return nats_per_token * tokens / (math.log(2) * size)


@torch.inference_mode()
def probe(model, tokenizer, cases: list[tuple[str, str]]) -> float:
    """Share of (context, continuation) cases whose continuation is at every token the likeliest one.

    It shows whether the base can do what a later stage needs, such as copy a name or add, in the context given.
    """
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    contexts = [
        start + tokenizer(context, add_special_tokens=False)["input_ids"] for context, _ in cases
    ]
    targets = [tokenizer(target, add_special_tokens=False)["input_ids"] for _, target in cases]
    ids, mask = pad([c + t for c, t in zip(contexts, targets, strict=True)], tokenizer.pad_token_id)
    guesses = (
        model(**inputs(ids.to(model.device), mask.to(model.device))).logits.argmax(-1).tolist()
    )
    ends = [(len(c) - 1, len(c) - 1 + len(t)) for c, t in zip(contexts, targets, strict=True)]
    return sum(g[i:j] == t for g, (i, j), t in zip(guesses, ends, targets, strict=True)) / len(
        cases
    )

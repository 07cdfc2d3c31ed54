"""Step 1 of RLHF, pretraining: learn to predict the next token of web scraps, and nothing else.

Left out: hiding the documents of a window from each other (GPT-2 did not either), and mixed
precision.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlhf_lessons.lm import processes
from rlhf_lessons.lm.sampling import check_lengths
from rlhf_lessons.stages import losses
from rlhf_lessons.stages.config import PretrainConfig
from rlhf_lessons.stages.loop import Optimiser, Stage, Step, generator


@dataclass
class PretrainStep(Step):
    """What one step gives; losses are in nats per token."""

    validation_loss: float | None = None  # where it was measured


class Pretrain(Stage):
    """Train `model` on a long row of token ids (1-D, LongTensor or numpy): one `PretrainStep` each.

    The model is put into eval mode, and stays in it: it learns without dropout. ValueError if the
    tokens do not fill one batch, or a window is longer than the model's positions.
    """

    def __init__(self, model, tokens, validation_tokens, config: PretrainConfig):
        self.model = model.eval()
        self.config = config
        self.steps = config.steps
        self.tokens = torch.as_tensor(tokens, dtype=torch.long)
        self.validation_tokens = validation_tokens
        self.models = nn.ModuleDict({"model": model})
        self.optimisers = {"model": Optimiser(model, config.lr, weight_decay=config.weight_decay)}
        self.windows = (len(self.tokens) - 1) // config.context - 1
        if self.windows < config.batch_size:
            raise ValueError(
                f"{len(self.tokens)} tokens do not fill a batch of {config.batch_size} windows"
            )
        check_lengths(model, [range(config.context)], "window")

    def batch(self, step: int) -> Tensor:
        """Return windows (share, context + 1): all text is seen once before any is seen again.

        Each pass over the text starts at another offset and shuffles the windows, as the seed
        decides.
        """
        size = self.config.batch_size
        context = self.config.context
        this_pass, place = divmod(step, self.windows // size)
        rng = generator(self.config.seed, this_pass)
        offset = int(torch.randint(context, (1,), generator=rng))
        order = torch.randperm(self.windows, generator=rng)[place * size :][:size]
        windows = self.tokens[offset:].unfold(0, context + 1, context)  # they share their ends
        order = order.tolist()
        return windows[processes.share(order) or order].to(self.model.device)

    def train_step(self, step: int) -> PretrainStep:
        config = self.config
        batch = self.batch(step)
        loss = losses.next_token_loss(self.model, batch)
        result = PretrainStep(**self.descend(loss, len(batch), step))
        done = step + 1
        if done % config.validate_every == 0 or done == config.steps:
            result.validation_loss = validation_loss(
                self.model, self.validation_tokens, config.context
            )
        return result


@torch.inference_mode()
def validation_loss(model, tokens, context: int = 128) -> float:
    """Return the loss in nats per token on a text's first 32,768 tokens, in windows."""
    tokens = torch.as_tensor(tokens[:32_769], dtype=torch.long, device=model.device)
    windows = tokens.unfold(0, context + 1, context)
    total = 0.0
    for batch in windows.split(32):
        total += losses.next_token_loss(model, batch).item() * len(batch)
    return total / len(windows)


def bits_per_byte(nats_per_token: float, tokens: int, size: int) -> float:
    """Return the loss in bits per byte of a text of `tokens` tokens and `size` bytes.

    It can be compared between tokenizers.
    """
    return nats_per_token * tokens / (math.log(2) * size)

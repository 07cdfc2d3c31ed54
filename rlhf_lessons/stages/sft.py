"""Step 2 of RLHF, supervised fine-tuning (SFT): imitate answers that people wrote to prompts.

The loss is that of pretraining, but on the tokens of the answer only, its end token included: the model learns to
answer and to stop, not to write prompts. Left out: packing demonstrations into full rows.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rlhf_lessons.lm.batching import inputs, length_grouped_batches, pad
from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts
from rlhf_lessons.stages.loop import Optimiser, Stage, generator

IGNORE = -100  # the label that takes no part in the loss


@dataclass(frozen=True)
class SFTConfig:
    epochs: int = 3  # How often each demonstration is seen.
    batch_size: int = 16  # Demonstrations in a batch.
    lr: float = 1e-3  # Highest learning rate; it falls linearly to zero.
    warmup: int = 10  # Steps over which the learning rate rises.
    seed: int = 0  # Decides the order of the demonstrations.


@dataclass
class SFTStep:
    """What one step gives; the loss is in nats per token of the answers."""

    step: int
    epoch: float
    loss: float
    lr: float
    grad_norm: float


class SFT(Stage):
    """Fine-tune `model` on demonstrations, {"prompt", "completion"} each; each item is one `SFTStep`."""

    def __init__(self, model, tokenizer, demonstrations: list[dict], config: SFTConfig):
        self.model, self.config, self.pad_id = model.eval(), config, tokenizer.pad_token_id
        self.rows = encode_demonstrations(tokenizer, demonstrations)
        self.lengths = [len(ids) for ids, _ in self.rows]
        self.per_epoch = -(-len(self.rows) // config.batch_size)
        self.steps = self.per_epoch * config.epochs
        self.models, self.optimisers = {"model": model}, {"model": Optimiser(model, config.lr)}

    def train_step(self, step: int) -> SFTStep:
        epoch, place = divmod(step, self.per_epoch)
        order = length_grouped_batches(
            self.lengths, self.config.batch_size, generator(self.config.seed, epoch)
        )
        loss = sft_loss(self.model, [self.rows[i] for i in order[place]], self.pad_id)
        return SFTStep(step, (step + 1) / self.per_epoch, loss.item(), *self.descend(loss, step))


def encode_demonstrations(
    tokenizer, demonstrations: list[dict]
) -> list[tuple[list[int], list[int]]]:
    """Each demonstration as (ids, labels): labels hold the answer's ids, end token included, and ignore the prompt."""
    empty = [i for i, row in enumerate(demonstrations) if not row["completion"].strip()]
    if empty or not demonstrations:
        raise ValueError(
            f"demonstration {empty[0]} has an empty completion" if empty else "no demonstrations"
        )
    prompts = encode_prompts(tokenizer, [row["prompt"] for row in demonstrations])
    answers = encode_completions(tokenizer, [row["completion"] for row in demonstrations])
    return [(p + a, [IGNORE] * len(p) + a) for p, a in zip(prompts, answers, strict=True)]


def sft_loss(model, rows: list[tuple[list[int], list[int]]], pad_id: int) -> Tensor:
    """Mean cross-entropy in nats over the answers' tokens; each token counts the same in long answers and short."""
    ids, mask = (x.to(model.device) for x in pad([ids for ids, _ in rows], pad_id))
    labels = pad([labels for _, labels in rows], IGNORE)[0].to(model.device)[
        :, 1:
    ]  # logits at t predict t + 1
    logits = model(**inputs(ids, mask)).logits[:, :-1]
    return F.cross_entropy(logits[labels != IGNORE].float(), labels[labels != IGNORE])


@torch.inference_mode()
def demonstration_loss(model, tokenizer, demonstrations: list[dict], batch_size: int = 64) -> float:
    """Loss in nats per token of the answers, on demonstrations that were held out."""
    rows = sorted(encode_demonstrations(tokenizer, demonstrations), key=lambda row: len(row[0]))
    batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    sizes = [sum(label != IGNORE for _, labels in batch for label in labels) for batch in batches]
    losses = [sft_loss(model, batch, tokenizer.pad_token_id).item() for batch in batches]
    return sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes)

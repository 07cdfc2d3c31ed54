"""Exercises of lesson 8: a layer with an adapter and its size, perplexity, KL in nats an answer,
memory, rows in parts, and labels to repair."""

import torch

from rlhf_lessons.exercises.check import exercise
from rlhf_lessons.exercises.inputs import rows, some

IGNORE = -100
BEGIN, END = 1, 2  # SmolLM2's <|im_start|> and <|im_end|>, which pads too


def with_adapter(batch, inputs, outputs, rank, alpha):
    """Return inputs of a linear layer, its weight, an adapter's two matrices, and alpha."""
    x = some(batch, inputs, seed=inputs)
    weight = some(outputs, inputs, seed=outputs)
    a = some(rank, inputs, seed=rank)
    b = some(outputs, rank, seed=rank + 1)
    return x, weight, a, b, alpha


@exercise(
    with_adapter(3, 5, 4, rank=2, alpha=4.0),
    with_adapter(2, 3, 6, rank=1, alpha=0.5),
    with_adapter(2, 4, 4, rank=2, alpha=8.0),
    with_adapter(4, 3, 3, rank=3, alpha=6.0),
)
def adapted(x, weight, a, b, alpha):
    """What a linear layer with a LoRA adapter gives, (batch, outputs)."""
    scale = alpha / a.shape[0]
    layer = x @ weight.T
    update = x @ a.T @ b.T
    return layer + scale * update


SMOLLM2 = [(576, 576), (192, 576), (192, 576), (576, 576), (1536, 576), (1536, 576), (576, 1536)]


@exercise(
    ([(4, 3)], 2),
    ([(6, 2), (2, 6), (5, 5)], 1),
    ([(10, 20), (1, 20)], 4),
    (SMOLLM2, 8),
)
def adapter_size(shapes, rank):
    """The number of weights of the adapters of linear layers (outputs, inputs)."""
    return sum(rank * (outputs + inputs) for outputs, inputs in shapes)


def judged(*lengths, time=0, padding=1.0):
    """Return log-probs of answers of these lengths, (answers, time), and the mask."""
    logprobs, mask = rows(*lengths, count=1, time=time, scale=2.0, padding=padding)
    return -logprobs.abs(), mask


@exercise(
    judged(2, 5, 1),
    judged(6, 1, time=8, padding=1e4),
    judged(3, 3),
    judged(1, 4, 2, time=5, padding=0.0),
)
def perplexity(logprobs, mask):
    """The exponential of the loss per token, over all answers' tokens."""
    loss = -logprobs[mask].mean()
    return loss.exp()


def both(*lengths, time=0, padding=1.0):
    """Return log-probs of answers under policy and reference, (answers, time) each, and the
    mask."""
    policy, reference, mask = rows(*lengths, count=2, time=time, padding=padding)
    return -policy.abs(), -reference.abs() - 0.5, mask


@exercise(
    both(2, 5, 1),
    both(4, 6, time=8, padding=1e4),
    both(3),
    both(1, 3, 3, 2),
)
def kl_of_answers(policy, reference, mask):
    """The KL from the reference, estimated from answers, in nats an answer."""
    difference = (policy - reference).masked_fill(~mask, 0.0)
    return difference.sum(1).mean()


@exercise(
    (1000, 100),
    (1000, 1000),
    (136_957_248, 2_442_240),
    (136_957_248, 2_442_240, 2),
    (50, 0),
)
def training_memory(weights, learned, bytes_each=4):
    """Bytes of the weights, and of a gradient and AdamW's two moments for each that learns."""
    numbers = weights + 3 * learned
    return float(bytes_each * numbers)


@exercise(
    ([3, 1, 2], 10, 40),
    ([5, 5, 2, 9, 4], 2, 24),
    ([7, 3, 8], 100, 500),
    ([4, 4, 4, 4, 4], 1, 8),
    ([2, 9, 3, 3, 6, 1, 5], 3, 45),
    ([6, 4], 100, 300),
)
def micro_batches(lengths, vocabulary, most):
    """Parts of rows, the short ones first, each of at most `most` logits."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    parts = []
    for row in order:
        longest = lengths[row]
        if parts and (len(parts[-1]) + 1) * longest * vocabulary <= most:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def conversations(*pairs, time=0):
    """Return ids of prompts with their answers, padded on the right with END, and where the answers
    begin and the rows end."""
    whole = [prompt + answer for prompt, answer in pairs]
    starts = [len(prompt) for prompt, _ in pairs]
    lengths = [len(row) for row in whole]
    time = time or max(lengths)
    ids = [row + [END] * (time - len(row)) for row in whole]
    return torch.tensor(ids), starts, lengths


SHORT = [BEGIN, 70, END, BEGIN]
LONG = [BEGIN, 70, 71, 72, END, BEGIN]


@exercise(
    conversations((SHORT, [40, 41, END]), (LONG, [50, END]), time=16),
    conversations((LONG, [40, 41, 42, END])),
    conversations((SHORT, [40, END, BEGIN, 41, END]), (SHORT, [60, END])),  # two turns
    conversations((LONG, [END]), (SHORT, [40, 41, 42]), (SHORT, [43, END])),
)
def answer_labels(ids, starts, lengths):
    """The ids of the answers, their end tokens included; elsewhere -100."""
    columns = torch.arange(ids.shape[1])
    first = torch.tensor(starts)[:, None]
    length = torch.tensor(lengths)[:, None]
    learned = (columns >= first) & (columns < length)
    return ids.masked_fill(~learned, IGNORE)

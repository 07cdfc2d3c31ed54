"""Exercises of lesson 2, supervised fine-tuning: labels, the masked loss, padding, averages, the
learning rate, forgetting, and bugs in a loop."""

import math

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from rlhf_lessons.exercises.check import exercise
from rlhf_lessons.exercises.inputs import guesses, mask_of, rows, tensors

IGNORE = -100


@exercise(
    (
        [1, 3, 70, 71, 4],
        [80, 81, 82],
        2,
    ),
    ([1], [9], 2),
    ([1, 3, 80, 4], [80, 80], 2),
    (list(range(5, 90)), [7], 0),
    (
        [1, 3, 70],
        [3, 1, 70, 70],
        50,
    ),
)
def ids_and_labels(prompt, answer, end):
    """One demonstration, the prompt ignored and the end learned."""
    ids = prompt + answer + [end]
    labels = [IGNORE] * len(prompt) + answer + [end]
    return ids, labels


def labelled(*lengths, vocabulary=7):
    """Return logits, and labels of rows with a prompt and an answer of these lengths each."""
    time = max(map(sum, lengths))
    logits, labels = guesses(len(lengths), time, vocabulary, scale=3.0)
    for row, (prompt, answer) in zip(labels, lengths):
        row[:prompt] = IGNORE
        row[prompt + answer :] = IGNORE
    return logits, labels


SURE = torch.tensor([[1, 2, 3, 0], [0, 4, 4, 1]])
WANTED = torch.tensor([[IGNORE, 1, 2, 3], [IGNORE, IGNORE, 0, IGNORE]])


@exercise(
    labelled((2, 5), (3, 1), (1, 3)),
    (F.one_hot(SURE, 5) * 2e4 - 1e4, WANTED),
    labelled((2, 4), (3, 0), (1, 1)),
    labelled((0, 4), (1, 2)),
    labelled((1, 4), (2, 3), vocabulary=2),  # half of the learned tokens are token 0
    gradients=1,
)
def masked_loss(logits, labels):
    """The mean cross-entropy over the learned tokens of the whole batch."""
    guesses = logits.double()[:, :-1]
    wanted = labels[:, 1:]
    losses = F.cross_entropy(guesses.transpose(1, 2), wanted, reduction="none")
    return losses[wanted != IGNORE].mean()


SHORT = [1, 9, 2], [IGNORE, 9, 2]
MIDDLE = [1, 8, 8, 2], [IGNORE, IGNORE, 8, 2]
LONG = (
    [1, 5, 6, 7, 2],
    [IGNORE, IGNORE, 6, 7, 2],
)
END = [2], [2]


@exercise(
    ([LONG, SHORT, MIDDLE], 0),
    ([LONG, SHORT, MIDDLE], 2),
    ([LONG], 0),
    ([SHORT, SHORT], 2),
    ([END, LONG], 2),
)
def collate(rows, pad_id):
    """Rows of ids and labels, padded on the right, and their mask."""
    ids, labels = ([torch.tensor(row) for row in column] for column in zip(*rows))
    mask = mask_of(*map(len, ids))
    ids = pad_sequence(ids, batch_first=True, padding_value=pad_id)
    labels = pad_sequence(labels, batch_first=True, padding_value=IGNORE)
    return ids, labels, mask


@exercise(
    ([1.0, 3.0], [30, 10]),
    ([2.5], [7]),
    ([0.5, 1.5, 4.0], [8, 8, 8]),
    ([1e4, 0.0, 1e-3], [1, 999, 50]),
    ([2.0, math.nan, 0.5], [3, 0, 9]),
)
def whole_loss(losses, counts):
    """The mean loss over all tokens, from the means of small batches and their counts."""
    total = sum(loss * count for loss, count in zip(losses, counts) if count)
    return total / sum(counts)


@exercise(
    *((step, 100, 10) for step in (0, 4, 9, 10, 11, 55, 99)),
    (0, 50, 0),
    (49, 50, 0),
    (0, 1, 0),
    (0, 1, 1),
    (2, 6, 10),
    (5, 6, 6),
    (3, 4, 1),
)
def rate_factor(step, steps, warmup):
    """What the learning rate is multiplied with, up to 1 and down in a straight line."""
    rise = (step + 1) / max(warmup, 1)
    fall = (steps - step) / max(steps - warmup, 1)
    return min(rise, fall, 1.0)


def logprobs(*lengths, padding=1.0):
    """Return log-probabilities before and after, (batch, time) each, and the mask."""
    before, after, mask = rows(*lengths, count=2, scale=3.0, padding=padding)
    return -before.abs(), -after.abs(), mask


@exercise(
    logprobs(6, 2, 4),
    logprobs(1),
    logprobs(5, 1, padding=0.0),
    tensors(
        [[-1e4, -0.5]],
        [[-0.5, -2e4]],
        [[True, True]],
    ),
    tensors(  # nothing forgotten, but learned
        [[-4.0, -1.0]],
        [[-2.0, -1.5]],
        [[True, True]],
    ),
    logprobs(3, 7, padding=math.inf),
)
def forgetting(before, after, mask):
    """How much the loss on plain text rose, in nats per token."""
    rise = before.double() - after.double()
    return rise[mask].mean()


class Run(tuple):
    """Validation losses; called, it trains: it yields numbers, changed in place as a model's are,
    and each loss, and clears the numbers at the end."""

    def __call__(self):
        numbers = []
        for epoch, loss in enumerate(self, 1):
            numbers[:] = [1.0 * epoch, -loss]
            yield numbers, loss
        numbers.clear()


@exercise(
    (Run((0.9, 0.7, 0.8, 0.6, 1.0)),),
    (Run((2.0, 1.5, 1.2)),),
    (Run((1.1, 1.3, 1.2)),),
    (Run((3.0,)),),
    (Run((0.5, 0.4, 0.45, 0.42, 0.43)),),
)
def best_model(run):
    """The model of the epoch with the lowest validation loss."""
    best, lowest = None, math.inf
    for numbers, loss in run():
        if loss < lowest:
            best = list(numbers)
            lowest = loss
    return best

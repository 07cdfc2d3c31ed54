"""Exercises of lesson 1, the next token: surprise, loss, sampling, counting pairs, perplexity,
four curves.

Tests compare the right solutions with plain loops.
"""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import exercise
from rlhf_lessons.exercises.inputs import guesses, mask_of, picked, rows, some, tokens

NEVER = -math.inf


# no text of one token: Categorical, a good way to write it, cannot be asked about none
@exercise(
    guesses(2, 5, 7),
    guesses(1, 4, 6, scale=1e4),
    guesses(3, 2, 4),
    guesses(1, 2, 3, seed=1),
    gradients=1,
)
def surprise(logits, ids):
    """The surprise of each token after the first, (batch, time - 1)."""
    logits = logits.double()
    return -picked(logits[:, :-1].log_softmax(-1), ids[:, 1:])


def texts(*lengths, time=0, scale=1.0, padding=0.0):
    """Return logits, ids and mask of texts of these lengths, padded with token 0, to whose logit
    `padding` is added."""
    mask = mask_of(*lengths, time=time)
    logits, ids = guesses(*mask.shape, 4, seed=sum(lengths), scale=scale)
    logits[..., 0] += padding
    return logits, ids.clamp(min=1) * mask, mask


@exercise(
    texts(6, 3, 4),
    texts(5, 2, 3, scale=1e4),
    texts(4, 2, padding=NEVER),
    texts(2, 1, time=3),
    gradients=1,
)
def masked_loss(logits, ids, mask):
    """The mean surprise of the real tokens of the whole batch."""
    guesses = logits[:, :-1]
    came = ids[:, 1:]
    real = mask[:, 1:]
    losses = -picked(guesses.double().log_softmax(-1), came)
    return losses[real].mean()


@exercise(
    (some(2, 3, 5), 0.5),
    (some(4), 2.0),
    (some(2, 6, scale=1e4), 0.7),
    (some(2, 3, 5), 0.0),
    (torch.tensor([-1e4, 1e4, 0.0]), 0.0),
    (some(1, 1), 1.3),
)
def temperature(logits, temperature):
    """Probabilities at a temperature, of which 0 stands for greedy."""
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).double()
    return (logits.double() / temperature).softmax(-1)


@exercise(
    (some(3, 6), 2),
    (some(2, 5, scale=1e4), 3),
    (some(2, 4, seed=2), 1),
    (some(2, 4, seed=3), 4),
    (some(2, 4, seed=4), 50),
)
def top_k(logits, k):
    """The logits with all but the k largest of each row at minus infinity."""
    ranks = logits.argsort(-1, descending=True).argsort(-1)
    return logits.masked_fill(ranks >= k, NEVER)


EASY = torch.tensor(
    [
        [0.1, 0.5, 0.15, 0.25],
        [0.6, 0.05, 0.05001, 0.29999],
    ]
).log()


@exercise(
    (EASY, 0.7),
    (EASY, 0.4),
    (some(3, 9, scale=2.0), 0.9),
    (some(2, 5, scale=1e4), 0.95),
    (EASY, 1e-6),
    (some(2, 5, seed=1), 0.99999),
)
def top_p(logits, p):
    """The logits with all outside the nucleus at minus infinity."""
    values, order = logits.softmax(-1).sort(-1, descending=True)
    drop = values.cumsum(-1) - values >= p
    return logits.masked_fill(drop.scatter(-1, order, drop), NEVER)


LONG = tokens(300, below=8)
LONG[-1] = 8  # which comes nowhere else


@exercise(
    (
        torch.tensor([0, 1, 2, 1, 2, 3, 1, 2, 0, 4]),
        torch.tensor([4, 1, 2, 1, 3, 0, 1, 2]),
        5,
    ),
    (LONG, tokens(40, below=9, seed=1), 9),
    (torch.tensor([2]), torch.tensor([1, 3]), 6),
    (LONG, torch.tensor([8, 8]), 1000),
)
def bigram_loss(train, test, vocabulary):
    """The loss on one text of a model that has counted the pairs of another, one added to each."""
    pairs = train[:-1] * vocabulary + train[1:]
    counts = torch.bincount(pairs, minlength=vocabulary**2)
    counts = counts.view(vocabulary, vocabulary) + 1.0
    chances = counts / counts.sum(1, keepdim=True)
    return -chances[test[:-1], test[1:]].log().mean()


def surprises(*lengths, scale=1.0, padding=1.0):
    """Return surprises and mask of texts of these lengths."""
    values, mask = rows(*lengths, count=1, scale=scale, padding=padding)
    return values.abs(), mask


@exercise(
    surprises(5, 2, 3),
    surprises(4, 2, 3, padding=math.inf),
    surprises(200, 180, scale=8.0),
    surprises(1, scale=9.0),
)
def perplexity(surprises, mask):
    """The perplexity of all real tokens together."""
    return surprises.double()[mask].mean().exp()


@exercise(*zip("ABCD"))
def diagnosis(run):
    """What became of each run whose losses the lesson draws."""
    return {"A": "rate too low", "B": "sound", "C": "learned by heart", "D": "rate too high"}[run]

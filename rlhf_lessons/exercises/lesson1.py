"""Checks for lesson 1, the next token: surprise, loss, sampling, counting pairs, perplexity.

Right values are computed in double precision; tests compare them with plain loops.
"""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import Exercise, exercise, means, picked, real, some, then, tokens

NEVER = float("-inf")


def of_next(logits, ids):
    """Return the surprise of each token after the first, (batch, time - 1)."""
    return -picked(logits[:, :-1].log_softmax(-1), ids[:, 1:])


def of_same(logits, ids):
    """Return the surprise of each token under the logits at its own place, a mistake: (batch,
    time)."""
    return -picked(logits.log_softmax(-1), ids)


def by_exponentials(x):
    """Return the softmax as a formula has it, which overflows."""
    return x.exp() / x.exp().sum(-1, keepdim=True)


@exercise
def surprise():
    def right(logits, ids):
        return of_next(logits.double(), ids)

    def unstable(softmax):
        return lambda x, ids: -picked(softmax(x[:, :-1]).log(), ids[:, 1:])

    mistakes = {
        "own_place": then(of_same, lambda found: found[:, 1:]),
        "no_shift": then(of_same, lambda found: found[:, :-1]),
        "first_too": of_same,
        "backwards": lambda x, ids: -picked(x[:, 1:].log_softmax(-1), ids[:, :-1]),
        "sign": then(of_next, torch.neg),
        "probabilities": then(of_next, lambda found: (-found).exp()),
        "mean": then(of_next, torch.mean),
        "log_of_0": unstable(lambda x: x.softmax(-1)),
        "overflow": unstable(by_exponentials),
        "over_time": lambda x, ids: -picked(x.log_softmax(1)[:, :-1], ids[:, 1:]),
        "logits": lambda x, ids: -picked(x[:, :-1], ids[:, 1:]),
    }
    # no text of one token: Categorical, a good way to write it, cannot be asked about none
    cases = [
        (some(2, 5, 7), tokens(2, 5, below=7)),
        (some(1, 4, 6, scale=1e4), tokens(1, 4, below=6)),
        (some(3, 2, 4), tokens(3, 2, below=4)),
        (some(1, 2, 3, seed=1), tokens(1, 2, below=3)),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def masked_loss():
    def right(logits, ids, mask):
        return of_next(logits.double(), ids)[mask[:, 1:]].mean()

    def next_and_mask(logits, ids, mask):
        return of_next(logits, ids), mask[:, 1:]

    mistakes = means(next_and_mask) | {
        "mask_of_before": lambda x, ids, m: of_next(x, ids)[m[:, :-1]].mean(),
        "no_shift": lambda x, ids, m: of_same(x, ids)[m].mean(),
        "first_counted": lambda x, ids, m: of_next(x, ids)[m[:, 1:]].sum() / m.sum(),
        "mask_whole": lambda x, ids, m: of_next(x, ids)[m].mean(),
    }
    # nobody may write the padding, token 0
    banned = some(2, 4, 5, seed=3).index_fill(-1, torch.tensor([0]), NEVER)
    cases = [
        (some(3, 6, 7).requires_grad_(), tokens(3, 6, below=7), real(6, 3, 4)),
        (some(2, 5, 4, scale=1e4), tokens(2, 5, below=4), real(5, 2)),
        (banned, torch.tensor([[1, 2, 3, 4], [1, 4, 0, 0]]), real(4, 2)),
        (some(2, 3, 4, seed=5), tokens(2, 3, below=4), real(2, 1, time=3)),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def temperature():
    def right(logits, temperature):
        if temperature == 0:
            return F.one_hot(logits.argmax(-1), logits.shape[-1]).double()
        shifted = (logits.double() - logits.double().amax(-1, keepdim=True)) / temperature
        return by_exponentials(shifted)

    def at_0(greedy, warm=lambda x: x.softmax(-1)):
        """Return a function that does something else at temperature 0, or above it."""
        return lambda x, t: warm(x / t) if t else greedy(x)

    def greedy(x):
        return right(x, 0)

    mistakes = {
        "times": lambda x, t: (x * t).softmax(-1),
        "after_softmax": lambda x, t: x.softmax(-1) / t,
        "unused": lambda x, t: x.softmax(-1),
        "logs": at_0(greedy, lambda x: x.log_softmax(-1)),
        "all_at_once": at_0(greedy, lambda x: x.flatten().softmax(-1).view(x.shape)),
        "dimension_0": at_0(greedy, lambda x: x.softmax(0)),
        "overflow": at_0(greedy, by_exponentials),
        "divided_by_0": lambda x, t: (x / t).softmax(-1),
        "as_1": at_0(lambda x: x.softmax(-1)),
        "number": at_0(lambda x: x.argmax(-1)),
    }
    cases = [
        (some(2, 3, 5), 0.5),
        (some(4), 2.0),
        (some(2, 6, scale=1e4), 0.7),
        (some(2, 3, 5), 0.0),
        (torch.tensor([-1e4, 1e4, 0.0]), 0.0),
        (torch.tensor([[3.0]]), 1.3),
    ]
    return Exercise(right, cases, mistakes)


def banned_as_0(kept):
    """Return filtered logits with 0 in place of minus infinity."""
    return kept.masked_fill(kept == NEVER, 0.0)


@exercise
def top_k():
    def ranked(keep):
        """Keep the logits whose rank, from 0, `keep` wants."""

        def wrong(x, k):
            ranks = x.argsort(-1, descending=True).argsort(-1)
            return x.where(keep(ranks, min(k, x.shape[-1])), torch.tensor(NEVER))

        return wrong

    right = ranked(lambda ranks, k: ranks < k)

    def of_the_batch(x, k):
        return x.masked_fill(x < x.flatten().topk(min(k, x.numel())).values[-1], NEVER)

    mistakes = {
        "zeros": then(right, banned_as_0),
        "too_few": ranked(lambda ranks, k: ranks < k - 1),
        "too_many": ranked(lambda ranks, k: ranks <= k),
        "unlikeliest": lambda x, k: -right(-x, k).masked_fill(right(-x, k) == NEVER, math.inf),
        "values": lambda x, k: x.topk(min(k, x.shape[-1])).values,
        "whole_batch": of_the_batch,
        "probabilities": then(right, lambda kept: kept.softmax(-1)),
    }
    cases = [
        (some(3, 6), 2),
        (some(2, 5, scale=1e4), 3),
        (some(2, 4, seed=2), 1),
        (some(2, 4, seed=3), 4),
        (some(2, 4, seed=4), 50),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def top_p():
    def nucleus(drop, descending=True, back=True):
        """Drop what `drop(values, their running sum, p)` says, in sorted order."""

        def wrong(x, p):
            values, order = x.softmax(-1).sort(-1, descending=descending)
            dropped = drop(values, values.cumsum(-1), p)
            return x.masked_fill(dropped.scatter(-1, order, dropped) if back else dropped, NEVER)

        return wrong

    def reached(q, total, p):
        return total - q >= p

    right = nucleus(reached)

    def unsorted(x, p):
        q = x.softmax(-1)
        return x.masked_fill(reached(q, q.cumsum(-1), p), NEVER)

    mistakes = {
        "crossing_lost": (
            nucleus(lambda q, total, p: total > p),
            nucleus(lambda q, total, p: total >= p),
        ),
        "ascending": nucleus(reached, descending=False),
        "unsorted": unsorted,
        "order": nucleus(reached, back=False),
        "each_alone": (
            lambda x, p: x.masked_fill(x.softmax(-1) < p, NEVER),
            lambda x, p: x.masked_fill(x.softmax(-1) < 1 - p, NEVER),
        ),
        "zeros": then(right, banned_as_0),
    }
    easy = torch.tensor([[0.1, 0.5, 0.15, 0.25], [0.6, 0.05, 0.05001, 0.29999]]).log()
    cases = [
        (easy, 0.7),
        (easy, 0.4),
        (some(3, 9, scale=2.0), 0.9),
        (some(2, 5, scale=1e4), 0.95),
        (easy, 1e-6),
        (some(2, 5, seed=1), 0.99999),
    ]
    return Exercise(right, cases, mistakes)


def counts(train, v):
    """Return how often each of v tokens came after each, (before, after)."""
    ones = torch.ones(len(train) - 1)
    return torch.zeros(v, v).index_put_((train[:-1], train[1:]), ones, accumulate=True)


@exercise
def bigram_loss():
    def table(of):
        """Return the mean surprise by the probabilities (before, after) made of `of(counts, train,
        v)`."""

        def wrong(train, test, v):
            return -of(counts(train, v), train, v)[test[:-1], test[1:]].log().mean()

        return wrong

    def bincount(train, v):
        return torch.bincount(train, minlength=v)

    def row(c):
        return c.sum(1, keepdim=True)

    right = table(lambda c, train, v: (c + 1) / (row(c) + v))
    mistakes = {
        "unseen": table(lambda c, *_: c / row(c)),
        "old_total": table(lambda c, *_: (c + 1) / row(c).clamp(min=1)),
        "total_plus_1": table(lambda c, *_: (c + 1) / (row(c) + 1)),
        "repeats": table(lambda c, *_: ((c > 0) + 1.0) / row((c > 0) + 1.0)),
        "last_counted": table(lambda c, train, v: (c + 1) / (bincount(train, v) + v)[:, None]),
        "before": table(lambda c, *_: (c + 1).T / row((c + 1).T)),
        "all_pairs": table(lambda c, *_: (c + 1) / (c + 1).sum()),
        "keepdim": table(lambda c, *_: (c + 1) / (c + 1).sum(1)),
        "columns": table(lambda c, *_: (c + 1) / (c + 1).sum(0)),
        "sign": then(right, lambda loss: -loss),
        "sum": lambda train, test, v: right(train, test, v) * (len(test) - 1),
    }
    text = torch.tensor([0, 1, 2, 1, 2, 3, 1, 2, 0, 4])
    long = torch.cat([tokens(300, below=9), torch.tensor([8])])
    cases = [
        (text, torch.tensor([4, 1, 2, 1, 3, 0, 1, 2]), 5),
        (long, tokens(40, below=9, seed=1), 9),
        (torch.tensor([2]), torch.tensor([1, 3]), 6),
        (long, torch.tensor([8, 8]), 1000),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def perplexity():
    def right(s, m):
        return s[m].double().mean().exp()

    def filled(s, m):
        return s.masked_fill(~m, 0.0)

    wrong_means = means(lambda s, m: (s, m))
    mistakes = {id: then(wrong, torch.exp) for id, wrong in wrong_means.items()} | {
        "own": lambda s, m: s[m].exp().mean(),
        "rows": lambda s, m: (filled(s, m).sum(1) / m.sum(1)).exp().mean(),
        "mean": lambda s, m: s[m].mean(),
        "product": lambda s, m: (-filled(s, m)).exp().prod() ** (-1 / m.sum()),
    }
    mask = real(5, 2, 3)
    cases = [
        (some(3, 5).abs().masked_fill(~mask, 3.0), mask),
        (some(3, 5, seed=1).abs().masked_fill(~mask, float("inf")), mask),
        (some(2, 200, seed=2).abs() * 8, real(200, 180)),
        (torch.tensor([[9.0]]), real(1)),
    ]
    return Exercise(right, cases, mistakes)

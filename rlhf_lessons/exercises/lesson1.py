"""Checks for lesson 1, the next token: surprise, loss, sampling, counting pairs, perplexity.

Right values are written in double precision, as plain loops where that is clear: slow, and hard to get wrong.
"""

import math
from collections import Counter

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import compare, exercise, picked, real, some

NEVER = float("-inf")


def tokens(*shape: int, below: int, seed: int = 0) -> torch.Tensor:
    """Return token ids."""
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(seed))


def of_next(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Return the surprise of each token after the first, (batch, time - 1)."""
    return -picked(logits[:, :-1].log_softmax(-1), ids[:, 1:])


def of_same(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Return the surprise of each token under the logits at its own place, a mistake: (batch, time)."""
    return -picked(logits.log_softmax(-1), ids)


@exercise
def surprise(yours):
    def right(logits, ids):
        return F.cross_entropy(
            logits[:, :-1].double().transpose(1, 2), ids[:, 1:], reduction="none"
        )

    shift = "The logits at place t tell what comes at t + 1"
    compare(
        yours,
        right,
        [
            (some(2, 5, 7), tokens(2, 5, below=7)),
            (some(1, 4, 6, scale=1e4), tokens(1, 4, below=6)),
            (some(3, 1, 4), tokens(3, 1, below=4)),
            (some(1, 2, 3, seed=1), tokens(1, 2, below=3)),
        ],
        {
            f"Each token is judged by the logits at its own place, made after it was read. {shift}: pair logits[:, :-1] "
            "with ids[:, 1:].": lambda x, ids: of_same(x, ids)[:, 1:],
            f"The shift is missing: token and logits come from one place, and the last place is cut off. {shift}.": lambda x, ids: (
                of_same(x, ids)[:, :-1]
            ),
            f"You give the first token a surprise too, though nothing foretold it. {shift}, so there is one value less.": of_same,
            f"The shift goes the wrong way: you ask what the token before would have been. {shift}.": lambda x, ids: (
                -picked(x[:, 1:].log_softmax(-1), ids[:, :-1])
            ),
            "The sign: log p is negative or 0, and surprise is minus that.": lambda x, ids: (
                -of_next(x, ids)
            ),
            "These are probabilities. Surprise is minus their logarithm.": lambda x, ids: (
                -of_next(x, ids)
            ).exp(),
            "These are bits, from the logarithm to base 2. The course counts in nats: use the natural logarithm.": lambda x, ids: (
                of_next(x, ids) / math.log(2)
            ),
            "You return the mean. Here each token keeps a value of its own, (batch, time - 1).": lambda x, ids: (
                of_next(x, ids).mean()
            ),
            "Right on paper, but where a probability is too small for the computer it becomes 0, and its logarithm "
            "infinite. Use log_softmax, which never makes the probability.": lambda x, ids: (
                -picked(x[:, :-1].softmax(-1).log(), ids[:, 1:])
            ),
            "Exponentials of large logits overflow, and infinity divided by infinity is no number. Use log_softmax.": lambda x, ids: (
                -picked((x.exp() / x.exp().sum(-1, keepdim=True)).log()[:, :-1], ids[:, 1:])
            ),
            "Your softmax runs over time. It belongs to the vocabulary, the last dimension.": (
                lambda x, ids: -picked(x[:, :-1].log_softmax(1), ids[:, 1:]),
                lambda x, ids: -picked(x.log_softmax(1)[:, :-1], ids[:, 1:]),
            ),
            "These are logits with a minus. First make log-probabilities of them, with log_softmax over the vocabulary.": lambda x, ids: (
                -picked(x[:, :-1], ids[:, 1:])
            ),
        },
    )


@exercise
def masked_loss(yours):
    def right(logits, ids, mask):
        found = [
            logits[b, t - 1].double().logsumexp(0) - logits[b, t - 1, ids[b, t]].double()
            for b in range(len(ids))
            for t in range(1, ids.shape[1])
            if mask[b, t]
        ]
        return torch.stack(found).sum() / len(found)

    def total(x, ids, mask):
        return of_next(x, ids).masked_fill(~mask[:, 1:], 0.0).sum()

    banned = some(2, 4, 5, seed=3).index_fill(
        -1, torch.tensor([0]), NEVER
    )  # nobody may write the padding, token 0
    compare(
        yours,
        right,
        [
            (some(3, 6, 7).requires_grad_(), tokens(3, 6, below=7), real(6, 3, 4)),
            (some(2, 5, 4, scale=1e4), tokens(2, 5, below=4), real(5, 2)),
            (banned, torch.tensor([[1, 2, 3, 4], [1, 4, 0, 0]]), real(4, 2)),
            (banned, banned.argmax(-1), real(4, 4)),
            (some(2, 3, 4, seed=5), tokens(2, 3, below=4), real(2, 1, 3)[:2]),
        ],
        {
            "You divide by the number of all places. Padding adds nothing to the sum, so it may not count below the line "
            "either.": lambda x, ids, m: total(x, ids, m) / m[:, 1:].numel(),
            "Padding is in the loss: the mask changes nothing in your result.": lambda x, ids, m: (
                of_next(x, ids).mean() if m.any() else None
            ),
            "The mask is not shifted. What counts is whether the token that comes is real: mask[:, 1:], not mask[:, :-1].": lambda x, ids, m: (
                of_next(x, ids).masked_fill(~m[:, :-1], 0.0).sum() / m[:, :-1].sum()
            ),
            "Tokens are not shifted against logits: a model can only copy so. Pair logits[:, :-1] with ids[:, 1:].": lambda x, ids, m: (
                of_same(x, ids).masked_fill(~m, 0.0).sum() / m.sum()
            ),
            "You divide by the number of real tokens, and the first of each row is among them, though nobody guessed it.": lambda x, ids, m: (
                total(x, ids, m) / m.sum()
            ),
            "You take each row's mean first, then the mean of those. So a token in a short text weighs more than one in a "
            "long text. Add up everything, then divide once.": lambda x, ids, m: (
                of_next(x, ids).masked_fill(~m[:, 1:], 0.0).sum(1) / m[:, 1:].sum(1)
            ).nanmean(),
            "You multiply by a one-hot row, but log-probabilities may be minus infinity, and 0 times infinity is no "
            "number. Pick with gather instead.": lambda x, ids, m: (
                -(x[:, :-1].log_softmax(-1) * F.one_hot(ids[:, 1:], x.shape[-1]))
                .sum(-1)[m[:, 1:]]
                .mean()
            ),
            "This is the sum. Divide by the number of tokens that count.": total,
            "The sign: a loss is what gets smaller as the model gets better.": lambda x, ids, m: (
                -total(x, ids, m) / m[:, 1:].sum()
            ),
            "Multiplying by the mask is not enough: the surprise of padding can be infinite, and 0 times infinity is no "
            "number. Choose the real ones with surprise[mask], or put 0 in the others' place with masked_fill.": lambda x, ids, m: (
                (of_next(x, ids) * m[:, 1:]).sum() / m[:, 1:].sum()
            ),
        },
    )


@exercise
def temperature(yours):
    def right(logits, temperature):
        if temperature == 0:
            return F.one_hot(logits.argmax(-1), logits.shape[-1]).double()
        shifted = (logits.double() - logits.double().amax(-1, keepdim=True)) / temperature
        return shifted.exp() / shifted.exp().sum(-1, keepdim=True)

    compare(
        yours,
        right,
        [
            (some(2, 3, 5), 0.5),
            (some(4), 2.0),
            (some(2, 6, scale=1e4), 0.7),
            (some(2, 3, 5), 0.0),
            (torch.tensor([-1e4, 1e4, 0.0]), 0.0),
            (torch.tensor([[3.0]]), 1.3),
        ],
        {
            "You multiply by the temperature. Divide: a low temperature pulls logits apart, so that the likeliest wins "
            "more often.": lambda x, t: (x * t).softmax(-1),
            "You divide probabilities, which then no longer add up to 1. Divide the logits, before softmax.": lambda x, t: (
                x.softmax(-1) / t
            ),
            "The temperature changes nothing in your result. Divide the logits by it.": lambda x, t: (
                x.softmax(-1)
            ),
            "These are log-probabilities; probabilities are wanted.": lambda x, t: (
                x / t
            ).log_softmax(-1),
            "Your softmax runs over all numbers at once. Each row of logits, the last dimension, is one distribution.": lambda x, t: (
                (x / t).flatten().softmax(-1).view(x.shape)
            ),
            "Your softmax runs over the rows of logits, dimension 0. Each row is one distribution: use the last one, -1.": lambda x, t: (
                (x / t).softmax(0) if t else right(x, t)
            ),
            "At temperature 0 you look for the one largest logit of all rows. Each row has its own.": lambda x, t: (
                (x / t).softmax(-1) if t else (x == x.max()).float()
            ),
            "Exponentials of large logits overflow, and infinity divided by infinity is no number. Take the largest logit "
            "from all of them first, or use torch's softmax, which does.": lambda x, t: (
                (x / t).exp() / (x / t).exp().sum(-1, keepdim=True)
            ),
            "Temperature 0 cannot be divided by. It stands for greedy: all probability on the likeliest token.": lambda x, t: (
                (x / t).softmax(-1)
            ),
            "Temperature 0 came out as temperature 1. It stands for greedy: all probability on the likeliest token.": lambda x, t: (
                (x / (t or 1.0)).softmax(-1)
            ),
            "At temperature 0 you return the number of the likeliest token. Return probabilities as always: 1 for that "
            "token and 0 for the others.": lambda x, t: (
                x.argmax(-1) if t == 0 else (x / t).softmax(-1)
            ),
        },
    )


@exercise
def top_k(yours):
    def right(logits, k):
        kept = torch.full_like(logits, NEVER)
        for row, out in zip(logits, kept):
            for place in sorted(range(len(row)), key=lambda i: -row[i])[:k]:
                out[place] = row[place]
        return kept

    def least(x, k):
        return x.topk(min(k, x.shape[-1])).values[..., -1:]

    compare(
        yours,
        right,
        [
            (some(3, 6), 2),
            (some(2, 5, scale=1e4), 3),
            (some(2, 4, seed=2), 1),
            (some(2, 4, seed=3), 4),
            (some(2, 4, seed=4), 50),
        ],
        {
            "The others got the logit 0, which softmax turns into a chance to be drawn. Give them minus infinity.": lambda x, k: (
                x.masked_fill(x < least(x, k), 0.0)
            ),
            "One token too few stays: the k-th likeliest belongs to those kept. Compare with <, not <=.": lambda x, k: (
                x.masked_fill(x <= least(x, k), NEVER)
            ),
            "One token too many stays. Keep exactly k.": lambda x, k: x.masked_fill(
                x < least(x, k + 1), NEVER
            ),
            "You keep the unlikeliest tokens. Sort the other way.": lambda x, k: x.masked_fill(
                x > -least(-x, k), NEVER
            ),
            "You return the k logits alone, so nobody knows whose they are. Keep all places, with minus infinity in the "
            "places of the others.": lambda x, k: x.topk(min(k, x.shape[-1])).values,
            "You look for the k largest of the whole batch. Each row has its own.": lambda x, k: (
                x.masked_fill(x < x.flatten().topk(min(k, x.numel())).values[-1], NEVER)
            ),
            "These are probabilities. Return logits: softmax comes after the filter.": lambda x, k: (
                right(x, k).softmax(-1)
            ),
        },
    )


@exercise
def top_p(yours):
    def right(logits, p):
        kept = torch.full_like(logits, NEVER)
        for row, out in zip(logits, kept):
            probabilities, so_far = row.double().softmax(-1), 0.0
            for place in sorted(range(len(row)), key=lambda i: -row[i]):
                if so_far >= p:
                    break
                so_far, out[place] = so_far + probabilities[place], row[place]
        return kept

    def nucleus(x, drop, descending=True, back=True):
        """Drop what `drop(probabilities, their running sum)` says, in sorted order."""
        probabilities, order = x.softmax(-1).sort(-1, descending=descending)
        dropped = drop(probabilities, probabilities.cumsum(-1))
        return x.masked_fill(dropped.scatter(-1, order, dropped) if back else dropped, NEVER)

    easy = torch.tensor([[0.1, 0.5, 0.15, 0.25], [0.6, 0.05, 0.05001, 0.29999]]).log()
    compare(
        yours,
        right,
        [
            (easy, 0.7),
            (easy, 0.4),
            (some(3, 9, scale=2.0), 0.9),
            (some(2, 5, scale=1e4), 0.95),
            (easy, 1e-6),
            (some(2, 5, seed=1), 0.99999),
        ],
        {
            "The token that crosses p is missing. Keep it too: the kept ones together reach p. Drop a token only if those "
            "before it have reached p already.": lambda x, p: nucleus(
                x, lambda q, total: total > p
            ),
            "You start from the unlikeliest token. Sort descending.": lambda x, p: nucleus(
                x, lambda q, total: total - q >= p, descending=False
            ),
            "You add up probabilities in the order of the vocabulary. Sort them first, the likeliest ahead.": lambda x, p: (
                x.masked_fill(x.softmax(-1).cumsum(-1) - x.softmax(-1) >= p, NEVER)
            ),
            "What you decided in sorted order is put on the tokens in their old order. Bring it back with scatter: "
            "dropped.scatter(-1, order, dropped).": lambda x, p: nucleus(
                x, lambda q, total: total - q >= p, back=False
            ),
            "You ask of each token alone whether it is as likely as p. It is their sum, from the likeliest on, that must "
            "reach p.": lambda x, p: x.masked_fill(x.softmax(-1) < p, NEVER),
            "The others got the logit 0, which softmax turns into a chance to be drawn. Give them minus infinity.": lambda x, p: (
                right(x, p).masked_fill(right(x, p) == NEVER, 0.0)
            ),
            "One token too many stays: those before it had reached p already.": lambda x, p: (
                nucleus(x, lambda q, total: F.pad((total - q >= p)[:, :-1], (1, 0)))
            ),
            "You add up logits instead of probabilities. Softmax first.": lambda x, p: nucleus(
                x, lambda q, total: x.sort(-1, descending=True).values.cumsum(-1) >= p
            ),
        },
    )


def counts(train: torch.Tensor, v: int) -> torch.Tensor:
    """Return how often each of v tokens came after each, (before, after)."""
    return torch.zeros(v, v).index_put_(
        (train[:-1], train[1:]), torch.ones(len(train) - 1), accumulate=True
    )


def mean(c: torch.Tensor, test: torch.Tensor, total: torch.Tensor | None = None) -> torch.Tensor:
    """Return the mean surprise of a test text, from counts divided by the total of their row, or by another."""
    probabilities = c / (c.sum(-1, keepdim=True) if total is None else total)
    return -probabilities[test[:-1], test[1:]].log().mean()


@exercise
def bigram_loss(yours):
    def right(train, test, vocabulary):
        pairs, befores = (
            Counter(zip(train.tolist(), train.tolist()[1:])),
            Counter(train.tolist()[:-1]),
        )
        asked = list(zip(test.tolist(), test.tolist()[1:]))
        return sum(
            -math.log((pairs[a, b] + 1) / (befores[a] + vocabulary)) for a, b in asked
        ) / len(asked)

    text = torch.tensor([0, 1, 2, 1, 2, 3, 1, 2, 0, 4])
    long = torch.cat([tokens(300, below=9), torch.tensor([8])])
    compare(
        yours,
        right,
        [
            (text, torch.tensor([4, 1, 2, 1, 3, 0, 1, 2]), 5),
            (long, tokens(40, below=9, seed=1), 9),
            (torch.tensor([2]), torch.tensor([1, 3]), 6),
            (long, torch.tensor([8, 8]), 1000),
        ],
        {
            "A pair that the training text never shows got the probability 0, and its surprise is infinite. Add one to "
            "every count.": lambda train, test, v: mean(counts(train, v), test),
            "You add one to each count, but divide by the old total, so the probabilities add up to more than 1. The total "
            "grows by one for each token of the vocabulary.": lambda train, test, v: mean(
                counts(train, v) + 1, test, counts(train, v).sum(-1, keepdim=True).clamp(min=1)
            ),
            "A pair that comes several times was counted once: counts[a, b] += 1 does so with repeated places. Use "
            "index_put_ with accumulate=True, bincount, or a loop.": lambda train, test, v: mean(
                (counts(train, v) > 0) + 1.0, test
            ),
            "The total of a row counts the last token of the training text too, but nothing follows it. Take the sum of "
            "the row.": lambda train, test, v: mean(
                counts(train, v) + 1, test, (torch.bincount(train, minlength=v) + v)[:, None]
            ),
            "You ask which token stood before. Here the first of a pair is known, and the second is guessed: rows are the "
            "token before, columns the next.": lambda train, test, v: mean(
                counts(train, v).T + 1, test
            ),
            "This is the probability of the pair among all pairs. Divide by the total of its row: the token before is "
            "known.": lambda train, test, v: mean(
                counts(train, v) + 1, test, (counts(train, v) + 1).sum()
            ),
            "This is a unigram model: what stands before makes no difference.": lambda train, test, v: (
                mean((torch.bincount(train, minlength=v) + 1).expand(v, v), test)
            ),
            "Each row must add up to 1: counts.sum(1, keepdim=True). Without keepdim you divide columns by it.": lambda train, test, v: (
                mean(counts(train, v) + 1, test, (counts(train, v) + 1).sum(1))
            ),
            "Each row must add up to 1: counts.sum(1, keepdim=True). With sum(0) each column does.": lambda train, test, v: (
                mean(counts(train, v) + 1, test, (counts(train, v) + 1).sum(0))
            ),
            "The sign: surprise is minus the logarithm.": lambda train, test, v: (
                -mean(counts(train, v) + 1, test)
            ),
            "This is the sum. Divide by the number of pairs in the test text, one less than its tokens.": lambda train, test, v: (
                mean(counts(train, v) + 1, test) * (len(test) - 1)
            ),
            "You divide by the number of tokens in the test text, but its first token is not guessed.": lambda train, test, v: (
                mean(counts(train, v) + 1, test) * (len(test) - 1) / len(test)
            ),
            "You measure on the training text. The loss that counts is on the test text.": lambda train, test, v: (
                mean(counts(train, v) + 1, train)
            ),
        },
    )


@exercise
def perplexity(yours):
    def right(surprises, mask):
        found = [
            s
            for row, real in zip(surprises.tolist(), mask.tolist())
            for s, keep in zip(row, real)
            if keep
        ]
        return math.exp(math.fsum(found) / len(found))

    def filled(s, m):
        return s.masked_fill(~m, 0.0)

    def mean(s, m):
        return filled(s, m).sum() / m.sum()

    mask = real(5, 2, 3)
    compare(
        yours,
        right,
        [
            (some(3, 5).abs().masked_fill(~mask, 3.0), mask),
            (some(3, 5, seed=1).abs().masked_fill(~mask, float("inf")), mask),
            (some(2, 200, seed=2).abs() * 8, real(200, 180)),
            (torch.tensor([[9.0]]), real(1)),
        ],
        {
            "Padding is in it: the mask changes nothing in your result.": lambda s, m: (
                s.mean().exp() if m.any() else None
            ),
            "You divide by the number of all places, padding too. Divide by the number of real tokens.": lambda s, m: (
                filled(s, m).mean().exp()
            ),
            "You take the mean of the tokens' own perplexities. First the mean surprise, then the exponential, once.": lambda s, m: (
                filled(s.exp(), m).sum() / m.sum()
            ),
            "You take the mean of the rows' perplexities. One long text and two short ones are one batch: first the mean "
            "surprise of all tokens, then the exponential.": lambda s, m: (
                (filled(s, m).sum(1) / m.sum(1)).exp().mean()
            ),
            "You take the mean of the rows' means, so tokens of short rows weigh more. Add up everything, divide once.": lambda s, m: (
                (filled(s, m).sum(1) / m.sum(1)).mean().exp()
            ),
            "You raise 2 to the surprise. Ours is in nats, so it is e that is raised.": lambda s, m: (
                2 ** mean(s, m)
            ),
            "The sign: e to the minus surprise is a probability, the geometric mean. Perplexity is one divided by it.": lambda s, m: (
                (-mean(s, m)).exp()
            ),
            "This is the mean surprise. Perplexity is e to that power.": mean,
            "You take e to the sum of surprises. Divide the sum by the number of tokens first.": lambda s, m: (
                filled(s, m).sum().exp()
            ),
            "The product of so many probabilities is 0 in the computer. Add logarithms instead of multiplying.": lambda s, m: (
                (-filled(s, m)).exp().prod() ** (-1 / m.sum())
            ),
            "Multiplying by the mask is not enough: where padding's surprise is infinite, 0 times infinity is no number. "
            "Choose with surprises[mask], or use masked_fill.": lambda s, m: (
                (s * m).sum() / m.sum()
            ).exp(),
        },
    )

"""Checks of lesson 2, supervised fine-tuning: labels, the masked loss, padding, averages, the learning rate."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import compare, exercise

IGNORE = -100


@exercise
def ids_and_labels(yours: Callable) -> None:
    """`yours(prompt, answer, end)`: one demonstration as (ids, labels), the prompt ignored and the end learned."""

    def right(prompt, answer, end):
        ids = [*prompt, *answer, end]
        return ids, [token if place >= len(prompt) else IGNORE for place, token in enumerate(ids)]

    mistakes = {
        "The prompt is learned too: your labels hold its ids. Put -100 where the prompt stands, for the model is to "
        "answer prompts, not to write them.": lambda p, a, e: (p + a + [e], p + a + [e]),
        "The end token is missing from your ids. Without it the model never sees where an answer ends: add it after "
        "the answer, in ids and in labels.": lambda p, a, e: (p + a, [IGNORE] * len(p) + a),
        "Ids and labels differ in length: the end token is missing from your ids.": lambda p, a, e: (
            p + a,
            [IGNORE] * len(p) + a + [e],
        ),
        "Ids and labels differ in length: the end token is missing from your labels.": lambda p, a, e: (
            p + a + [e],
            [IGNORE] * len(p) + a,
        ),
        "The end token has the label -100, so nothing teaches the model to stop. Its label is its own "
        "id.": lambda p, a, e: (p + a + [e], [IGNORE] * len(p) + a + [IGNORE]),
        "Your labels are shifted already. Keep each label at the place of its token: the loss does the shifting, and "
        "twice would be once too often.": lambda p, a, e: (
            p + a + [e],
            ([IGNORE] * len(p) + a + [e])[1:] + [IGNORE],
        ),
        "Your prompt has the label 0, and 0 is a token like any other. What the loss is to ignore gets "
        "-100.": lambda p, a, e: (p + a + [e], [0] * len(p) + a + [e]),
        "Your labels are shorter than your ids: the prompt has no label at all. Each token needs one, the prompt's "
        "tokens -100.": lambda p, a, e: (p + a + [e], a + [e]),
        "You hide the prompt in the ids. The model must read the prompt; only the labels ignore "
        "it.": lambda p, a, e: ([IGNORE] * len(p) + a + [e], [IGNORE] * len(p) + a + [e]),
        "You mask the answer and learn the prompt: it is the other way round.": lambda p, a, e: (
            p + a + [e],
            p + [IGNORE] * (len(a) + 1),
        ),
    }
    cases = [
        ([1, 3, 70, 71, 4], [80, 81, 82], 2),
        ([1], [9], 2),
        ([1, 3, 80, 4], [80, 80], 2),
        (list(range(5, 90)), [7], 0),
        ([1, 3, 70], [3, 1, 70, 70], 50),
    ]
    compare(yours, right, cases, mistakes)


@exercise
def masked_loss(yours: Callable) -> None:
    """`yours(logits, labels)`: mean cross-entropy over the learned tokens of the whole batch, labels shifted by one."""

    def right(logits, labels):
        found = [
            torch.logsumexp(logits[row, t - 1].double(), -1)
            - logits[row, t - 1, labels[row, t]].double()
            for row in range(len(labels))
            for t in range(1, labels.shape[1])
            if labels[row, t] != IGNORE
        ]
        return torch.stack(found).mean()

    def tokens(logits, labels):  # (batch, time) losses, 0 where ignored
        return F.cross_entropy(
            logits.transpose(1, 2), labels, ignore_index=IGNORE, reduction="none"
        )

    def shifted(logits, labels):
        return tokens(logits[:, :-1], labels[:, 1:]), labels[:, 1:] != IGNORE

    def of(how):
        return lambda logits, labels: how(*shifted(logits, labels))

    def naive(probabilities):
        def loss(logits, labels):
            labels, counts = labels[:, 1:], labels[:, 1:] != IGNORE
            return (
                -probabilities(logits[:, :-1])[counts]
                .gather(-1, labels[counts][:, None])
                .log()
                .mean()
            )

        return loss

    def empty_rows(losses, real):
        return (losses.sum(1) / real.sum(1)).nanmean()

    mistakes = {
        "Your labels are not shifted: the logits at t foretell token t + 1. Compare logits[:, :-1] with labels[:, "
        "1:].": lambda logits, labels: tokens(logits, labels).sum() / (labels != IGNORE).sum(),
        "You shift the wrong way: at t your logits meet the token before. The logits lose their last place, the "
        "labels their first.": lambda logits, labels: (
            tokens(logits[:, 1:], labels[:, :-1]).sum() / (labels[:, :-1] != IGNORE).sum()
        ),
        "You take the mean of the rows' means, so a token of a short answer weighs more than one of a long answer. "
        "Take one mean over the learned tokens of the whole batch.": of(
            lambda x, m: (x.sum(1) / m.sum(1)).mean()
        ),
        "You take the mean of the means of the rows that learn something. That still favours tokens of short "
        "answers: take one mean over all learned tokens.": of(empty_rows),
        "You count the learned labels before the shift. Where a row's first token is learned, nothing foretells it, so "
        "it may not count below the line either: count in labels[:, 1:].": lambda logits, labels: (
            shifted(logits, labels)[0].sum() / (labels != IGNORE).sum()
        ),
        "You divide by all places, ignored ones too, so prompts and padding water the loss down. Divide by the number "
        "of labels that are not -100.": of(lambda x, m: x.sum() / m.numel()),
        "You divide by the number of rows: long answers then make a large loss. Divide by the number of learned "
        "tokens.": of(lambda x, m: x.sum() / len(m)),
        "You return the sum. The loss is the mean over the learned tokens.": of(
            lambda x, m: x.sum()
        ),
        "The sign is turned round: a loss is minus the log-probability, so it is never below "
        "0.": of(lambda x, m: -x.sum() / m.sum()),
        "The logarithm of a softmax that came out as 0 is minus infinity. Use log_softmax or F.cross_entropy, which "
        "never form the tiny probability.": naive(lambda x: x.softmax(-1)),
        "The exponential of a large logit is infinite. Use log_softmax or F.cross_entropy, which take the largest "
        "logit away first.": naive(lambda x: x.exp() / x.exp().sum(-1, keepdim=True)),
    }
    rng = torch.Generator().manual_seed(0)

    def case(lengths, vocabulary=7, scale=3.0):  # (prompt, answer) lengths of each row
        labels = torch.full((len(lengths), max(map(sum, lengths))), IGNORE)
        for row, (prompt, answer) in zip(labels, lengths):
            row[prompt : prompt + answer] = torch.randint(vocabulary, (answer,), generator=rng)
        logits = torch.randn(*labels.shape, vocabulary, generator=rng) * scale
        return logits.requires_grad_(), labels

    extreme = F.one_hot(torch.tensor([[1, 2, 3, 0], [0, 4, 4, 1]]), 5).float() * 2e4 - 1e4
    compare(
        yours,
        right,
        [
            case([(2, 5), (3, 1), (1, 3)]),
            case([(4, 1)]),
            case([(1, 1), (1, 1)], vocabulary=3),
            (
                extreme.requires_grad_(),
                torch.tensor([[IGNORE, 1, 2, 3], [IGNORE, IGNORE, 0, IGNORE]]),
            ),
            case([(2, 4), (3, 0), (1, 1)]),
            case([(0, 4), (1, 2)]),
        ],
        mistakes,
    )


@exercise
def collate(yours: Callable) -> None:
    """`yours(rows, pad_id)`: rows of (ids, labels) padded on the right: ids, labels and mask, (batch, time) each."""

    def right(rows, pad_id):
        time = max(len(ids) for ids, _ in rows)
        spare = [time - len(ids) for ids, _ in rows]
        return (
            torch.tensor([ids + [pad_id] * n for (ids, _), n in zip(rows, spare)]),
            torch.tensor([labels + [IGNORE] * n for (_, labels), n in zip(rows, spare)]),
            torch.tensor([[True] * len(ids) + [False] * n for (ids, _), n in zip(rows, spare)]),
        )

    def but(change):
        return lambda rows, pad_id: change(*right(rows, pad_id), pad_id)

    def left(rows, pad_id):
        flipped = right([(ids[::-1], labels[::-1]) for ids, labels in rows], pad_id)
        return tuple(x.flip(1) for x in flipped)

    def cut(rows, pad_id):
        time = min(len(ids) for ids, _ in rows)
        return right([(ids[:time], labels[:time]) for ids, labels in rows], pad_id)

    mistakes = {
        "Your mask looks for the pad id, so where the pad token is also the end token the real end is hidden. Make "
        "the mask from the lengths.": but(
            lambda ids, labels, mask, pad_id: (ids, labels, ids != pad_id)
        ),
        "You set the label -100 wherever the pad id stands, and where the pad token is also the end token the model "
        "never learns to end. Pad the labels by the lengths.": but(
            lambda ids, labels, mask, pad_id: (ids, labels.masked_fill(ids == pad_id, IGNORE), mask)
        ),
        "You look for the pad id twice, for the mask and for the labels. Where the pad token is also the end token, "
        "both lose the real end: go by the lengths.": but(
            lambda ids, labels, mask, pad_id: (
                ids,
                labels.masked_fill(ids == pad_id, IGNORE),
                ids != pad_id,
            )
        ),
        "Your labels are filled up with the pad id, so the model would learn to write padding. Fill them up with "
        "-100.": but(
            lambda ids, labels, mask, pad_id: (ids, labels.masked_fill(~mask, pad_id), mask)
        ),
        "You pad on the left, as for sampling. In training, padding comes after the end, on the right.": left,
        "Your mask is True where a token is learned. It says which tokens are real: the model must see the prompt "
        "too.": but(lambda ids, labels, mask, pad_id: (ids, labels, labels != IGNORE)),
        "Your mask is turned round: it is True on real tokens and False on padding.": but(
            lambda ids, labels, mask, pad_id: (ids, labels, ~mask)
        ),
        "You cut all rows to the shortest. Fill the shorter ones up to the longest instead.": cut,
        "Your ids are filled up with -100, which is no token: the model would look it up and fail. Fill the ids up "
        "with the pad id.": but(
            lambda ids, labels, mask, pad_id: (ids.masked_fill(~mask, IGNORE), labels, mask)
        ),
    }
    rows = [
        ([1, 5, 6, 7, 2], [IGNORE, IGNORE, 6, 7, 2]),
        ([1, 9, 2], [IGNORE, 9, 2]),
        ([1, 8, 8, 2], [IGNORE, IGNORE, 8, 2]),
    ]
    compare(
        yours,
        right,
        [(rows, 0), (rows, 2), (rows[:1], 0), ([rows[1], rows[1]], 2), ([([2], [2]), rows[0]], 2)],
        mistakes,
    )


@exercise
def whole_loss(yours: Callable) -> None:
    """`yours(losses, counts)`: the mean loss over all tokens, from the means of small batches and their counts."""

    def right(losses, counts):
        every = [
            loss for loss, count in zip(losses, counts) for _ in range(count)
        ]  # each token by itself
        return math.fsum(every) / len(every)

    def total(losses, counts):
        return sum(loss * count for loss, count in zip(losses, counts) if count)

    mistakes = {
        "You take the plain mean of the means, so a token in a small batch weighs more than one in a large batch. "
        "Weigh each mean by its count.": lambda losses, counts: sum(losses) / len(losses),
        "You leave out empty batches, and then take the plain mean of the others. Weigh each mean by its "
        "count.": lambda losses, counts: (
            sum(x for x, n in zip(losses, counts) if n) / sum(n > 0 for n in counts)
        ),
        "You add the means up. Four small batches would then make four times the loss of one large one.": lambda losses, counts: (
            sum(losses)
        ),
        "You return the sum over all tokens. Divide it by the number of tokens.": total,
        "You divide by the number of batches. Divide the sum by the number of tokens in all of them.": lambda losses, counts: (
            total(losses, counts) / len(counts)
        ),
        "Your weights are the wrong way round: the more tokens a batch has, the more its mean must count.": lambda losses, counts: (
            sum(x / n for x, n in zip(losses, counts)) / sum(1 / n for n in counts)
        ),
        "A small batch without a single learned token has the mean nan, and nan times 0 is still nan. Leave such "
        "batches out.": lambda losses, counts: (
            sum(x * n for x, n in zip(losses, counts)) / sum(counts)
        ),
    }
    compare(
        yours,
        right,
        [
            ([1.0, 3.0], [30, 10]),
            ([2.5], [7]),
            ([0.5, 1.5, 4.0], [8, 8, 8]),
            ([1e4, 0.0, 1e-3], [1, 999, 50]),
            ([2.0, float("nan"), 0.5], [3, 0, 9]),
        ],
        mistakes,
    )


@exercise
def rate_factor(yours: Callable) -> None:
    """`yours(step, steps, warmup)`: what the learning rate is multiplied with, up to 1 and down in a straight line."""

    def right(step, steps, warmup):
        up = [(n + 1) / warmup for n in range(warmup)]
        down = [1 - n / (steps - warmup) for n in range(steps - warmup)]
        return float((up + down)[step])

    def falling(step, steps, warmup):
        return (steps - step) / max(steps - warmup, 1)

    def rising(step, warmup):
        return (step + 1) / max(warmup, 1)

    mistakes = {
        "Your first step has the factor 0, so its batch is wasted. Steps count from 0: the rise is (step + 1) / "
        "warmup.": lambda s, t, w: min(s / max(w, 1), falling(s, t, w), 1.0),
        "Your fall begins at step 0, not where the warm-up ends. It takes steps - warmup steps, so divide by "
        "that.": lambda s, t, w: min(rising(s, w), (t - s) / t, 1.0),
        "Your rate rises and stays up. After the warm-up it falls in a straight line.": lambda s, t, w: (
            min(rising(s, w), 1.0)
        ),
        "Your last step has the factor 0, so its batch is wasted. The line reaches 0 one step later, at step "
        "`steps`.": lambda s, t, w: min(rising(s, w), (t - 1 - s) / max(t - 1 - w, 1), 1.0),
        "You multiply the rise with the fall. Until the warm-up ends only the rise counts.": lambda s, t, w: (
            min(rising(s, w), 1.0) * min(falling(s, t, w), (t - s) / t)
        ),
        "Your division // throws the fraction away. Use /.": lambda s, t, w: float(
            min((s + 1) // max(w, 1), (t - s) // max(t - w, 1), 1)
        ),
        "Your rate falls at once: the warm-up is missing. It rises over the first `warmup` steps.": lambda s, t, w: (
            min(falling(s, t, w), 1.0)
        ),
        "Your factor goes above 1. Nothing may: take the smallest of rise, fall and 1.": lambda s, t, w: (
            max(rising(s, w), falling(s, t, w))
        ),
    }
    cases = [(step, 100, 10) for step in (0, 4, 9, 10, 11, 55, 99)]
    compare(
        yours,
        right,
        [*cases, (0, 50, 0), (49, 50, 0), (0, 1, 0), (0, 1, 1), (2, 6, 10), (5, 6, 6), (3, 4, 1)],
        mistakes,
    )


@exercise
def forgetting(yours: Callable) -> None:
    """`yours(before, after, mask)`: how much the loss on plain text rose, in nats per token."""

    def right(before, after, mask):
        places = mask.nonzero().tolist()
        return math.fsum(before[i, j].item() - after[i, j].item() for i, j in places) / len(places)

    def rows(before, after, mask):
        gaps = (before - after).masked_fill(~mask, 0.0)
        return (gaps.sum(1) / mask.sum(1)).mean()

    mistakes = {
        "The sign is turned round. A loss is minus a log-probability: when the log-probabilities fell, the loss rose, "
        "and forgetting is above 0.": lambda b, a, m: (a - b)[m].mean(),
        "Padding counts in your mean. Take the mean over the real tokens, where the mask is "
        "True.": lambda b, a, m: (b - a).mean(),
        "You set padding to 0 but still divide by all places. Divide by the number of real "
        "tokens.": lambda b, a, m: (b - a).masked_fill(~m, 0.0).mean(),
        "You take the mean of the rows' means, so tokens of short texts weigh more. Take one mean over all real "
        "tokens.": rows,
        "You compare probabilities. The loss is made of log-probabilities, and those are what you were "
        "given.": lambda b, a, m: (b.exp() - a.exp())[m].mean(),
        "You divide one loss by the other. Forgetting is the difference, in nats per token.": lambda b, a, m: (
            a[m].mean() / b[m].mean()
        ),
        "You multiply by the mask, and the log-probabilities on padding may be infinite: infinity times 0 is nan. "
        "Choose the real places first, as in x[mask].": lambda b, a, m: (
            ((b - a) * m).sum() / m.sum()
        ),
        "You return the sum. Divide by the number of real tokens.": lambda b, a, m: (b - a)[
            m
        ].sum(),
        "You cut off what is below 0. Where the loss fell, the model did not forget but learn: return it as it is.": lambda b, a, m: (
            (b - a)[m].mean().clamp(min=0)
        ),
        "You take the size of each difference. Tokens that became likelier make up for others: keep the sign.": lambda b, a, m: (
            (b - a)[m].abs().mean()
        ),
    }
    rng = torch.Generator().manual_seed(0)

    def case(lengths, padding=None):
        mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        before, after = -3 * torch.rand(2, *mask.shape, generator=rng)
        return [
            x if padding is None else x.masked_fill(~mask, padding) for x in (before, after)
        ] + [mask]

    far = torch.tensor([[-1e4, -0.5]]), torch.tensor([[-0.5, -2e4]]), torch.tensor([[True, True]])
    learned = (
        torch.tensor([[-4.0, -1.0]]),
        torch.tensor([[-2.0, -1.5]]),
        torch.tensor([[True, True]]),
    )
    compare(
        yours,
        right,
        [
            tuple(case([6, 2, 4])),
            tuple(case([1])),
            tuple(case([5, 1], padding=0.0)),
            far,
            learned,
            tuple(case([3, 7], padding=-float("inf"))),
        ],
        mistakes,
    )

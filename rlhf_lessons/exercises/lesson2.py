"""Checks of lesson 2, supervised fine-tuning: labels, the masked loss, padding, averages, the
learning rate."""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import Exercise, exercise, means, real, then

IGNORE = -100


@exercise
def ids_and_labels():
    """`yours(prompt, answer, end)`: one demonstration as (ids, labels), the prompt ignored and the
    end learned."""

    def labelled(labels):
        """Return right ids, and labels made of [prompt, ignored prompt, answer, end]."""
        return lambda p, a, e: (p + a + [e], labels(p, [IGNORE] * len(p), a, [e]))

    right = labelled(lambda p, none, a, e: none + a + e)
    mistakes = {
        "prompt_learned": labelled(lambda p, none, a, e: p + a + e),
        "no_end": lambda p, a, e: (p + a, [IGNORE] * len(p) + a),
        "end_not_read": lambda p, a, e: (p + a, [IGNORE] * len(p) + a + [e]),
        "end_not_learned": labelled(lambda p, none, a, e: none + a),
        "end_ignored": labelled(lambda p, none, a, e: none + a + [IGNORE]),
        "shifted": labelled(lambda p, none, a, e: none[1:] + a + e + [IGNORE]),
        "zero": labelled(lambda p, none, a, e: [0] * len(p) + a + e),
        "short": labelled(lambda p, none, a, e: a + e),
        "prompt_hidden": lambda p, a, e: ([IGNORE] * len(p) + a + [e],) * 2,
        "answer_masked": labelled(lambda p, none, a, e: p + [IGNORE] * len(a + e)),
    }
    cases = [
        ([1, 3, 70, 71, 4], [80, 81, 82], 2),
        ([1], [9], 2),
        ([1, 3, 80, 4], [80, 80], 2),
        (list(range(5, 90)), [7], 0),
        ([1, 3, 70], [3, 1, 70, 70], 50),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def masked_loss():
    """`yours(logits, labels)`: mean cross-entropy over the learned tokens of the whole batch,
    labels shifted by one."""

    def right(logits, labels):
        return F.cross_entropy(logits[:, :-1].double().flatten(0, 1), labels[:, 1:].flatten())

    def tokens(logits, labels):
        """Return losses and what is learned, (batch, time) each."""
        losses = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        return losses, labels != IGNORE

    def shifted(logits, labels):
        return tokens(logits[:, :-1], labels[:, 1:])

    def mean(losses, learned):
        return losses.sum() / learned.sum()

    def positive(logits, labels):
        return shifted(logits, labels)[0][labels[:, 1:] > 0].mean()

    def unstable(softmax):
        def loss(logits, labels):
            learned = labels[:, 1:] != IGNORE
            odds = softmax(logits[:, :-1])[learned]
            return -odds.gather(-1, labels[:, 1:][learned][:, None]).log().mean()

        return loss

    mistakes = means(shifted, "all_places", "row_means", "sum", "sign") | {
        "not_shifted": lambda x, labels: mean(*tokens(x, labels)),
        "backwards": lambda x, labels: mean(*tokens(x[:, 1:], labels[:, :-1])),
        "counted_before": lambda x, labels: shifted(x, labels)[0].sum() / (labels != IGNORE).sum(),
        "rows": lambda x, labels: shifted(x, labels)[0].sum() / len(x),
        "log_of_0": unstable(lambda x: x.softmax(-1)),
        "overflow": unstable(lambda x: x.exp() / x.exp().sum(-1, keepdim=True)),
        "token_0": positive,
    }
    rng = torch.Generator().manual_seed(0)

    def case(lengths, vocabulary=7, scale=3.0):  # (prompt, answer) lengths of each row
        labels = torch.full((len(lengths), max(map(sum, lengths))), IGNORE)
        for row, (prompt, answer) in zip(labels, lengths):
            row[prompt : prompt + answer] = torch.randint(vocabulary, (answer,), generator=rng)
        logits = torch.randn(*labels.shape, vocabulary, generator=rng) * scale
        return logits.requires_grad_(), labels

    extreme = F.one_hot(torch.tensor([[1, 2, 3, 0], [0, 4, 4, 1]]), 5).float() * 2e4 - 1e4
    cases = [
        case([(2, 5), (3, 1), (1, 3)]),
        (extreme.requires_grad_(), torch.tensor([[IGNORE, 1, 2, 3], [IGNORE, IGNORE, 0, IGNORE]])),
        case([(2, 4), (3, 0), (1, 1)]),
        case([(0, 4), (1, 2)]),
        case([(1, 4), (2, 3)], vocabulary=2),  # half of the learned tokens are token 0
    ]
    return Exercise(right, cases, mistakes)


@exercise
def collate():
    """`yours(rows, pad_id)`: rows of (ids, labels) padded on the right: ids, labels and mask,
    (batch, time) each."""

    def right(rows, pad_id):
        time = max(len(ids) for ids, _ in rows)
        ids, labels, mask = [], [], []
        for row, wanted in rows:
            spare = time - len(row)
            ids.append(row + [pad_id] * spare)
            labels.append(wanted + [IGNORE] * spare)
            mask.append([True] * len(row) + [False] * spare)
        return torch.tensor(ids), torch.tensor(labels), torch.tensor(mask)

    def but(change):
        return lambda rows, pad_id: change(*right(rows, pad_id), pad_id)

    def left(rows, pad_id):
        flipped = right([(ids[::-1], labels[::-1]) for ids, labels in rows], pad_id)
        return tuple(x.flip(1) for x in flipped)

    def unpad(labels, ids, pad):
        return labels.masked_fill(ids == pad, IGNORE)

    mistakes = {
        "mask_by_id": but(lambda ids, labels, mask, pad: (ids, labels, ids != pad)),
        "labels_by_id": but(lambda ids, labels, mask, pad: (ids, unpad(labels, ids, pad), mask)),
        "both_by_id": but(
            lambda ids, labels, mask, pad: (ids, unpad(labels, ids, pad), ids != pad)
        ),
        "labels_padded": but(
            lambda ids, labels, mask, pad: (ids, labels.masked_fill(~mask, pad), mask)
        ),
        "left": left,
        "mask_of_learned": but(lambda ids, labels, mask, pad: (ids, labels, labels != IGNORE)),
        "mask_inverted": but(lambda ids, labels, mask, pad: (ids, labels, ~mask)),
        "ids_ignored": but(
            lambda ids, labels, mask, pad: (ids.masked_fill(~mask, IGNORE), labels, mask)
        ),
    }
    rows = [
        ([1, 5, 6, 7, 2], [IGNORE, IGNORE, 6, 7, 2]),
        ([1, 9, 2], [IGNORE, 9, 2]),
        ([1, 8, 8, 2], [IGNORE, IGNORE, 8, 2]),
    ]
    cases = [
        (rows, 0),
        (rows, 2),
        (rows[:1], 0),
        ([rows[1], rows[1]], 2),
        ([([2], [2]), rows[0]], 2),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def whole_loss():
    """`yours(losses, counts)`: the mean loss over all tokens, from the means of small batches and
    their counts."""

    def right(losses, counts):
        return sum(x * n for x, n in zip(losses, counts) if n) / sum(counts)

    def learning(losses, counts):
        return [loss for loss, count in zip(losses, counts) if count]

    def weighted(losses, weights):
        return sum(x * w for x, w in zip(losses, weights)) / sum(weights)

    mistakes = {
        "plain_mean": lambda losses, counts: sum(losses) / len(losses),
        "without_empty": then(learning, lambda kept: sum(kept) / len(kept)),
        "sum_of_means": lambda losses, counts: sum(losses),
        "total": lambda losses, counts: right(losses, counts) * sum(counts),
        "per_batch": lambda losses, counts: right(losses, counts) * sum(counts) / len(counts),
        "inverse": lambda losses, counts: weighted(losses, [1 / n for n in counts]),
        "nan": weighted,
    }
    cases = [
        ([1.0, 3.0], [30, 10]),
        ([2.5], [7]),
        ([0.5, 1.5, 4.0], [8, 8, 8]),
        ([1e4, 0.0, 1e-3], [1, 999, 50]),
        ([2.0, float("nan"), 0.5], [3, 0, 9]),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def rate_factor():
    """`yours(step, steps, warmup)`: what the learning rate is multiplied with, up to 1 and down in
    a straight line."""

    def fall(step, steps, warmup):
        return (steps - step) / max(steps - warmup, 1)

    def rise(step, warmup):
        return (step + 1) / max(warmup, 1)

    def right(step, steps, warmup):
        return min(rise(step, warmup), fall(step, steps, warmup), 1.0)

    mistakes = {
        "first_is_0": lambda s, t, w: s / w if s < w else fall(s, t, w),
        "falls_at_once": lambda s, t, w: min(rise(s, w), 1 - s / t),
        "stays_up": lambda s, t, w: min(rise(s, w), 1.0),
        "last_is_0": lambda s, t, w: min(rise(s, w), fall(s + 1, t, w + 1), 1.0),
        "product": (
            lambda s, t, w: min(rise(s, w), 1.0) * (1 - s / t if s < w else fall(s, t, w)),
            lambda s, t, w: min(rise(s, w), 1.0) * (1 - s / t),
        ),
        "no_warmup": lambda s, t, w: min(fall(s, t, w), 1.0),
        "above_1": lambda s, t, w: max(rise(s, w), fall(s, t, w)),
        "over_steps": lambda s, t, w: rise(s, w) if s < w else 1 - (s - w) / t,
    }
    cases = [(step, 100, 10) for step in (0, 4, 9, 10, 11, 55, 99)]
    cases += [(0, 50, 0), (49, 50, 0), (0, 1, 0), (0, 1, 1), (2, 6, 10), (5, 6, 6), (3, 4, 1)]
    return Exercise(right, cases, mistakes)


@exercise
def forgetting():
    """`yours(before, after, mask)`: how much the loss on plain text rose, in nats per token."""

    def of(average):
        return lambda b, a, m: average((b - a)[m])

    right = of(lambda gaps: gaps.double().mean())
    mistakes = means(lambda b, a, m: (b - a, m)) | {
        "probabilities": lambda b, a, m: (b.exp() - a.exp())[m].mean(),
        "ratio": lambda b, a, m: a[m].mean() / b[m].mean(),
        "cut_off": of(lambda gaps: gaps.mean().clamp(min=0)),
        "size": (of(lambda gaps: gaps.abs().mean()), of(lambda gaps: gaps.mean().abs())),
    }
    rng = torch.Generator().manual_seed(0)

    def case(*lengths, padding=None):
        mask = real(*lengths)
        both = -3 * torch.rand(2, *mask.shape, generator=rng)
        return *(both if padding is None else both.masked_fill(~mask, padding)), mask

    def row(before, after):
        return torch.tensor([before]), torch.tensor([after]), real(2)

    cases = [
        case(6, 2, 4),
        case(1),
        case(5, 1, padding=0.0),
        row([-1e4, -0.5], [-0.5, -2e4]),
        row([-4.0, -1.0], [-2.0, -1.5]),  # learned
        case(3, 7, padding=-math.inf),
    ]
    return Exercise(right, cases, mistakes)

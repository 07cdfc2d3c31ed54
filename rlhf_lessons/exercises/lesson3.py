"""Checks of lesson 3: from votes to pairs, the loss, the reward and its accuracy."""

import math
from itertools import permutations

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import Exercise, exercise, picked, real, some, then


@exercise
def ranking_pairs():
    """Pairs (better, worse) of a ranking, without ties and without identical texts: a set, in any
    order."""

    def pairs(keep):
        """Return the pairs of places that `keep(texts, ranks, i, j)` wants."""

        def found(texts, ranks):
            both = permutations(range(len(texts)), 2)
            return {(i, j) for i, j in both if keep(texts, ranks, i, j)}

        return found

    def of_different(keep):
        """Return the pairs of different texts whose ranks `keep` wants."""
        return pairs(lambda texts, ranks, i, j: texts[i] != texts[j] and keep(ranks, i, j))

    def neighbours(texts, ranks):
        order = sorted(range(len(texts)), key=lambda i: ranks[i])
        return right(texts, ranks) & set(zip(order, order[1:]))

    right = of_different(lambda ranks, i, j: ranks[i] < ranks[j])
    mistakes = {
        "worse_first": of_different(lambda ranks, i, j: ranks[i] > ranks[j]),
        "ties": of_different(lambda ranks, i, j: ranks[i] <= ranks[j]),
        "ties_to_first": of_different(lambda ranks, i, j: (ranks[i], i) < (ranks[j], j)),
        "identical": pairs(lambda texts, ranks, i, j: ranks[i] < ranks[j]),
        "neighbours": neighbours,
        "best_only": of_different(lambda ranks, i, j: min(ranks) == ranks[i] < ranks[j]),
        "one_way": of_different(lambda ranks, i, j: i < j and ranks[i] < ranks[j]),
    }
    rows = "abcd 2143, abcd 1223, abca 3241, abc 111, a 1, aab 112, edcba 51442"
    cases = [
        (list(texts), list(map(int, ranks))) for texts, ranks in map(str.split, rows.split(","))
    ]
    return Exercise(right, cases, mistakes)


@exercise
def self_agreement():
    """The share of repeats with the same verdict, sides being swapped back first."""
    mirror = {"left": "right", "right": "left", "tie": "tie"}

    def share(points):
        return sum(points) / len(points) if points else math.nan

    def compared(score=lambda a, b: a == b, turn=lambda swapped: swapped, keep=None):
        """Return the mean of what each repeat scores; left out are those that `keep` does not
        want."""

        def found(first, again, swapped):
            turned = [mirror[b] if turn(flag) else b for b, flag in zip(again, swapped)]
            rows = zip(first, turned, swapped)
            return share([score(a, b) for a, b, flag in rows if not keep or keep(a, b, flag)])

        return found

    def half_point(a, b):
        return 0.5 if (a == "tie") != (b == "tie") else a == b

    def kept(a, b, flag):
        return "tie" not in (a, b)

    mistakes = {
        "not_turned": compared(turn=lambda swapped: False),
        "all_turned": compared(turn=lambda swapped: True),
        "without_ties": compared(keep=kept),
        "without_swapped": compared(keep=lambda a, b, flag: not flag),
        "half_point": compared(half_point),
        "ties_disagree": compared(lambda a, b: a == b != "tie"),
        "ties_agree": compared(lambda a, b: a == b or "tie" in (a, b)),
    }
    names = {"l": "left", "r": "right", "t": "tie"}
    rows = "llrt lrrt 0101, lrtll rlltl 11001, l r 0, tt tr 11, rll rrl 001"
    cases = []
    for row in rows.split(","):
        first, again, swapped = row.split()
        verdicts = ([names[letter] for letter in letters] for letters in (first, again))
        cases.append((*verdicts, [flag == "1" for flag in swapped]))
    cases.append(([], [], []))
    return Exercise(compared(), cases, mistakes)


@exercise
def stable_loss():
    """-log sigmoid(chosen - rejected) of each pair, at differences of 1e4 too."""

    def right(chosen, rejected):
        return F.softplus(rejected - chosen)

    def of_chance(change):
        return lambda c, r: -change(torch.sigmoid(c - r)).log()

    def slope_of_where(c, r):
        return torch.where(c - r > -50, torch.log1p(torch.exp(r - c)), r - c)

    floors = [lambda p, least=10.0**-n: p.clamp(min=least) for n in range(6, 13)]
    floors += [lambda p, more=10.0**-n: p + more for n in (7, 6, 5)]
    mistakes = {
        "swapped": lambda c, r: -F.logsigmoid(r - c),
        "sign": then(right, torch.neg),
        "no_log": lambda c, r: torch.sigmoid(r - c),
        "mean": then(right, torch.mean),
        "two_steps": of_chance(lambda p: p),
        "floor": tuple(map(of_chance, floors)),
        "limited": lambda c, r: -F.logsigmoid((c - r).clamp(-30, 30)),
        "where": slope_of_where,
        "chosen_only": lambda c, r: -F.logsigmoid(c),
        "sum": then(right, torch.sum),
    }
    near = some(2, 2, 4, seed=3, scale=3.0)
    cases = [
        tuple(rewards.clone().requires_grad_() for rewards in near),
        tuple(
            torch.tensor(rewards, requires_grad=True)
            for rewards in ([1e4, -1e4, 5e3, -120.0, 0.25], [0.0] * 5)
        ),
        (torch.zeros(1, requires_grad=True), torch.tensor([1e4], requires_grad=True)),
        (torch.tensor([7.0, -300.0]), torch.tensor([7.0, -300.0])),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def reward_at_end():
    """The score at each row's last real token, wherever the padding is."""

    def last(mask):
        return torch.tensor([row.nonzero().max() for row in mask])

    def right(s, m):
        return picked(s, last(m))

    def one_side(s, m):
        return s[:, -1] if m[0, -1] else picked(s, m.sum(1) - 1)

    mistakes = {
        "last_column": lambda s, m: s[:, -1],
        "counted": lambda s, m: picked(s, m.sum(1) - 1),
        "largest": lambda s, m: s.masked_fill(~m, -math.inf).amax(1),
        "one_late": (
            lambda s, m: picked(s, (last(m) + 1).clamp(max=m.shape[1] - 1)),
            lambda s, m: s[torch.arange(len(s)), m.sum(1)],
        ),
        "first": lambda s, m: picked(s, m.long().argmax(1)),
        "mean": lambda s, m: torch.stack([row[real].mean() for row, real in zip(s, m)]),
        "times_mask": lambda s, m: (s * F.one_hot(last(m), m.shape[1])).sum(1),
        "one_side": one_side,
    }

    def padded(*lengths, left=False, gradient=False):
        """Return scores and mask. What stands on padding must not matter, so it is large."""
        mask = real(*lengths)
        mask = mask.flip(1) if left else mask
        scores = some(*mask.shape, seed=sum(lengths))
        return torch.where(mask, scores, 1e4 * scores).requires_grad_(gradient), mask

    scores, mask = padded(2, 3)
    cases = [
        padded(3, 6, 2),
        padded(3, 6, 2, left=True),
        padded(4, 4, gradient=True),
        padded(1, 5),
        padded(1, 5, left=True, gradient=True),
        padded(1),
        padded(4, 2),
        (scores.masked_fill(~mask, math.inf), mask),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def accuracy_with_ties():
    """The share of pairs in the labelled order; equal scores are half right."""

    def right(chosen, rejected):
        return (1 + (chosen - rejected).sign()).mean() / 2

    mistakes = {
        "ties_wrong": lambda c, r: (c > r).float().mean(),
        "ties_right": lambda c, r: (c >= r).float().mean(),
        "ties_left_out": lambda c, r: (c > r)[c != r].float().mean(),
        "turned": lambda c, r: right(r, c),
        "count": lambda c, r: right(c, r) * len(c),
        "how_sure": lambda c, r: (c - r).sigmoid().mean(),
        "signs": lambda c, r: (c - r).sign().mean(),
    }
    cases = [
        ([1.0, 0.5, 2.0, -1.0, 0.0], [0.0, 0.5, 3.0, -4.0, 0.0]),
        ([0.0] * 3, [0.0] * 3),
        ([1e4, -1e4], [-1e4, 1e4]),
        ([2.0], [2.5]),
        ([0.1, 0.1, 9.0], [0.1, 0.1, 8.0]),
        ([0.1002, 5.0002], [0.1, 5.0]),
    ]
    return Exercise(right, [tuple(map(torch.tensor, case)) for case in cases], mistakes)


@exercise
def truth_behind():
    """Accuracy against the truth, from accuracy against labels of which a known share is wrong."""

    def right(m, e):
        return (m - e) / (1 - 2 * e) if e != 0.5 else math.nan

    mistakes = {
        "ceiling": lambda m, e: m / (1 - e) if e < 1 else math.nan,
        "added": lambda m, e: m + e,
        "subtracted": lambda m, e: m - e,
        "one_minus_e": lambda m, e: (m - e) / (1 - e) if e < 1 else math.nan,
        "other_way": lambda m, e: m * (1 - e) + (1 - m) * e,
        "number_at_half": tuple(
            lambda m, e, number=number: right(m, e) if e != 0.5 else number
            for number in (0.5, 0.0, 1.0, math.inf)
        ),
        "divides_by_0": lambda m, e: (m - e) / (1 - 2 * e),
        "cut_off": lambda m, e: min(1.0, max(0.0, right(m, e))),
        "nan_above_half": lambda m, e: right(m, e) if e < 0.5 else math.nan,
        "no_parentheses": (lambda m, e: (m - e) / 1 - 2 * e, lambda m, e: m - e / (1 - 2 * e)),
    }
    cases = [
        (0.78, 0.1),
        (0.9, 0.1),
        (0.5, 0.3),
        (0.65, 0.0),
        (0.4, 1.0),
        (0.6, 0.5),
        (0.83, 0.2),
        (0.27, 0.3),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def calibration_error():
    """Expected calibration error over bins of equal width between 0.5 and 1."""

    def binned(
        low=0.5,
        clamp=True,
        gap=lambda sure, right, share, middle: share * abs(sure - right),
    ):
        """Return the sum over bins of what `gap` makes of a bin's means, its share of pairs, its
        middle."""

        def error(sure, right, bins):
            places = ((sure.double() - low) / (1 - low) * bins).long()
            if clamp:
                places = places.clamp(max=bins - 1)
            found = 0.0
            for place in places.unique():
                here = places == place
                middle = low + (place + 0.5) * (1 - low) / bins
                found += gap(sure[here].mean(), right[here].mean(), here.double().mean(), middle)
            return float(found)

        return error

    filled = binned(gap=lambda *_: 1)  # the number of bins that are not empty

    def unweighted(*case):
        return binned(gap=lambda s, r, share, middle: abs(s - r))(*case) / filled(*case)

    def without(edge):
        """Leave out the pairs that are exactly so sure, at an edge of the bins."""

        def error(sure, right, bins):
            kept = sure != edge
            return binned()(sure[kept], right[kept], bins) * kept.double().mean().item()

        return error

    def empty_bins(sure, right, bins):
        return binned()(sure, right, bins) if filled(sure, right, bins) == bins else math.nan

    mistakes = {
        "signed": (
            binned(gap=lambda s, r, share, middle: share * (s - r)),
            binned(gap=lambda s, r, share, middle: share * (r - s)),
        ),
        "unweighted": unweighted,
        "from_0": binned(low=0.0),
        "bin_of_its_own": binned(clamp=False),
        "first_open": without(0.5),
        "last_open": without(1.0),
        "each_pair": lambda sure, right, bins: (sure - right).abs().mean(),
        "empty_bins": empty_bins,
    }
    sure = [0.52, 0.56, 0.58, 0.63, 0.67, 0.72, 0.78, 0.83, 0.88, 0.93, 0.97, 0.99]
    right = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.5, 1.0, 1.0, 0.0, 1.0, 0.0]
    cases = [
        (sure, right, 5),
        ([1.0, 0.95, 0.55], [0.0, 1.0, 1.0], 5),
        ([0.5, 0.53, 0.99], [1.0, 0.0, 1.0], 4),
        ([0.81], [1.0], 5),
        ([1.0] * 3, [1.0, 0.0, 1.0], 10),
    ]
    tensors = [(torch.tensor(s), torch.tensor(r), bins) for s, r, bins in cases]
    return Exercise(binned(), tensors, mistakes)

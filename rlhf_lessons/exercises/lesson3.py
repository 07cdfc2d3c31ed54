"""Checks of lesson 3's exercises. Right values come from plain loops, or from another formula in double precision."""

import math
from collections.abc import Callable
from itertools import combinations, permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from rlhf_lessons.exercises.check import compare, exercise, in_order, picked, real, some


def every_pair(texts: list[str], ranks: list[int], keep: Callable) -> list[tuple[int, int]]:
    """Return the pairs (i, j) of different places that `keep` wants."""
    return [(i, j) for i, j in permutations(range(len(texts)), 2) if keep(i, j)]


def only(keep: Callable) -> Callable:
    """Return a function that gives the pairs of different texts whose ranks `keep` wants."""
    return lambda texts, ranks: every_pair(
        texts, ranks, lambda i, j: texts[i] != texts[j] and keep(ranks, i, j)
    )


@exercise
def ranking_pairs(yours):
    """Pairs (better, worse) of a ranking, without ties and without identical texts."""
    right = only(lambda ranks, i, j: ranks[i] < ranks[j])

    def neighbours(texts, ranks):
        order = sorted(range(len(texts)), key=lambda i: ranks[i])
        return [
            (i, j) for i, j in zip(order, order[1:]) if ranks[i] < ranks[j] and texts[i] != texts[j]
        ]

    mistakes = {
        "The worse answer stands first in your pairs. Rank 1 is the best, so the smaller rank is the chosen one.": only(
            lambda ranks, i, j: ranks[i] > ranks[j]
        ),
        "Answers of equal rank are in your pairs, both ways round. A tie says nothing about better and worse: leave "
        "it out.": only(lambda ranks, i, j: ranks[i] <= ranks[j]),
        "You let a tie be won by whichever answer stands first in the list. That is a label from nowhere: where the "
        "ranks are equal, make no pair.": lambda texts, ranks: [
            (i, j) if ranks[i] <= ranks[j] else (j, i)
            for i, j in combinations(range(len(texts)), 2)
            if texts[i] != texts[j]
        ],
        "Two identical texts form a pair in your list. Their rewards are always equal, so the loss of that pair stays "
        "at log 2 for ever: leave it out.": lambda texts, ranks: every_pair(
            texts, ranks, lambda i, j: ranks[i] < ranks[j]
        ),
        "You pair neighbours in the ranking only. The best also beats the third and the fourth: four answers hold six "
        "pairs, not three.": neighbours,
        "You pair the best answer with the others, and forget that the others beat each other too.": only(
            lambda ranks, i, j: ranks[i] == min(ranks) and ranks[i] < ranks[j]
        ),
        "You ask whether two texts are the same object, with `is`. Ask whether they are equal, with == or !=.": lambda texts, ranks: (
            every_pair(texts, ranks, lambda i, j: texts[i] is not texts[j] and ranks[i] < ranks[j])
        ),
        "You miss the pairs whose better answer stands later in the list. Look at each pair both ways round.": only(
            lambda ranks, i, j: i < j and ranks[i] < ranks[j]
        ),
        "Your first answer has the number 1. Return places, counted from 0.": lambda texts, ranks: [
            (i + 1, j + 1) for i, j in right(texts, ranks)
        ],
        "Your pairs hold texts. Return places in the list, counted from 0.": lambda texts, ranks: [
            (texts[i], texts[j]) for i, j in right(texts, ranks)
        ],
    }
    cases = [
        (list("abcd"), [2, 1, 4, 3]),
        (list("abcd"), [1, 2, 2, 3]),
        (list("abca"), [3, 2, 4, 1]),
        (list("abc"), [1, 1, 1]),
        (["a"], [1]),
        (list("aab"), [1, 1, 2]),
        (list("edcba"), [5, 1, 4, 4, 2]),
        (["a cat", " ".join(["a", "cat"])], [2, 1]),
    ]  # equal texts, but not the same object
    compare(
        in_order(yours),
        in_order(right),
        cases,
        {hint: in_order(wrong) for hint, wrong in mistakes.items()},
    )


@exercise
def self_agreement(yours):
    """The share of repeats with the same verdict, sides being swapped back first."""
    mirror = {"left": "right", "right": "left", "tie": "tie"}

    def share(pairs):
        return sum(a == b for a, b in pairs) / len(pairs) if pairs else math.nan

    def turned(again, swapped, when=True):
        return [mirror[b] if flag == when else b for b, flag in zip(again, swapped)]

    def right(first, again, swapped):
        return share(list(zip(first, turned(again, swapped))))

    def ties(first, again, swapped, value):
        points = [
            value if "tie" in (a, b) and a != b else a == b
            for a, b in zip(first, turned(again, swapped))
        ]
        return sum(points) / len(points) if points else math.nan

    left, right_, tie = "left", "right", "tie"
    cases = [
        ([left, left, right_, tie], [left, right_, right_, tie], [False, True, False, True]),
        (
            [left, right_, tie, left, left],
            [right_, left, left, tie, left],
            [True, True, False, False, True],
        ),
        ([left], [right_], [False]),
        ([tie, tie], [tie, right_], [True, True]),
        ([], [], []),
        ([right_, left, left], [right_, right_, left], [False, False, True]),
    ]
    compare(
        yours,
        right,
        cases,
        {
            "Left is not left when the sides were swapped: the same answer then stands on the right. Turn the second "
            "verdict round where `swapped` says so.": lambda first, again, swapped: share(
                list(zip(first, again))
            ),
            "You turn every second verdict round. Only those of swapped pairs need it.": lambda first, again, swapped: (
                share(list(zip(first, turned(again, [True] * len(again)))))
            ),
            "You turn round the verdicts of the pairs that were *not* swapped.": lambda first, again, swapped: (
                share(list(zip(first, turned(again, swapped, when=False))))
            ),
            "You leave ties out. A tie is a verdict too: who says left, and then tie, has changed their mind.": lambda first, again, swapped: (
                share(
                    [(a, b) for a, b in zip(first, turned(again, swapped)) if "tie" not in (a, b)]
                )
            ),
            "You leave out the swapped pairs. They are half of the repeats, and the better half: they also show who always "
            "says left.": lambda first, again, swapped: share(
                [(a, b) for a, b, flag in zip(first, again, swapped) if not flag]
            ),
            "You count half a point where one verdict is a tie. Here the two are the same, or not.": lambda first, again, swapped: (
                ties(first, again, swapped, 0.5)
            ),
        },
    )


@exercise
def stable_loss(yours):
    """-log sigmoid(chosen - rejected) of each pair, at differences of 1e4 too."""

    def right(chosen, rejected):
        lead = chosen.double() - rejected.double()
        return F.binary_cross_entropy_with_logits(lead, torch.ones_like(lead), reduction="none")

    mistakes = {
        "You have swapped the two: your loss is small where the rejected answer leads. Take chosen − rejected.": lambda c, r: (
            -F.logsigmoid(r - c)
        ),
        "Your loss is negative: log of a chance is below 0, and the loss is minus that.": lambda c, r: (
            F.logsigmoid(c - r)
        ),
        "That is the chance that the choice was another one. The loss is −log of the chance of what was chosen.": lambda c, r: (
            torch.sigmoid(r - c)
        ),
        "You return one number for all pairs. Return the loss of each pair, in the shape of the rewards.": lambda c, r: (
            -F.logsigmoid(c - r).mean()
        ),
        "At a difference of −10,000 the sigmoid is exactly 0 in 32 bits, and its log is −∞; exp(10,000) is ∞ too. "
        "Use a function that takes log and sigmoid in one step.": lambda c, r: (
            -torch.log(torch.sigmoid(c - r))
        ),
        "You keep the chance away from 0, and the loss finite, but where you do so the slope is 0: the worst mistakes "
        "would teach nothing. Take log and sigmoid in one step.": tuple(
            lambda c, r, least=least: -torch.log(torch.sigmoid(c - r).clamp(min=least))
            for least in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)
        )
        + tuple(
            lambda c, r, more=more: -torch.log(torch.sigmoid(c - r) + more)
            for more in (1e-7, 1e-6, 1e-5)
        ),
        "You limit the difference. Beyond the limit the slope is 0, so that the worst mistakes would teach nothing.": lambda c, r: (
            -F.logsigmoid((c - r).clamp(-30, 30))
        ),
        "Your values are right, but their slope is nan: where() also differentiates the branch it does not take.": lambda c, r: (
            torch.where(c - r > -50, torch.log1p(torch.exp(r - c)), r - c)
        ),
        "You have forgotten the rejected answer: only the difference of the two counts.": lambda c, r: (
            -F.logsigmoid(c)
        ),
    }
    chosen, rejected = 3 * torch.randn(2, 2, 4, generator=torch.Generator().manual_seed(3))
    far = torch.tensor([1e4, -1e4, 5e3, -120.0, 0.25])
    cases = [
        (chosen.clone().requires_grad_(), rejected.clone().requires_grad_()),
        (far.clone().requires_grad_(), torch.zeros(5, requires_grad=True)),
        (torch.zeros(1, requires_grad=True), torch.tensor([1e4], requires_grad=True)),
        (torch.tensor([7.0, -300.0]), torch.tensor([7.0, -300.0])),
    ]
    compare(yours, right, cases, mistakes)


def last_place(mask: Tensor) -> Tensor:
    """Return the last place of each row that is real."""
    return torch.tensor(
        [max(place for place, is_real in enumerate(row) if is_real) for row in mask.tolist()]
    )


def padded(
    lengths: list[int], left: bool = False, gradient: bool = False, spare: int = 0
) -> tuple[Tensor, Tensor]:
    """Return scores and mask of rows padded on one side. What stands on padding must not matter, so it is large."""
    mask = real(*lengths, time=max(lengths) + spare)
    mask = mask.flip(1) if left else mask
    scores = some(*mask.shape, seed=sum(lengths))
    return torch.where(mask, scores, 1e4 * scores).requires_grad_(gradient), mask


@exercise
def reward_at_end(yours):
    """The score at each row's last real token, wherever the padding is."""
    mistakes = {
        "You read the last column. Under right padding that is padding in every row but the longest.": lambda s, m: (
            s[:, -1]
        ),
        "You count the real tokens and take that place, less one. That is right only where the row begins at 0: under "
        "left padding you land in the prompt.": lambda s, m: picked(s, m.sum(1) - 1),
        "You read the last column of a product with the mask: where padding is on the right that is a 0 of padding.": lambda s, m: (
            (s * m)[:, -1]
        ),
        "You take the largest score of the row. The reward is the score at the end token, be it large or small.": (
            lambda s, m: s.masked_fill(~m, -math.inf).amax(1),
            lambda s, m: tuple(s.masked_fill(~m, -math.inf).max(1)),
        ),
        "You read one place before the end token. The reward is read at the end token itself, the first place that has "
        "seen the whole answer.": lambda s, m: picked(s, (last_place(m) - 1).clamp(min=0)),
        "You read one place after the end, which is padding. The last of n tokens is at place n − 1.": lambda s, m: (
            picked(s, (last_place(m) + 1).clamp(max=m.shape[1] - 1))
        ),
        "You read at the first real token, which has seen nothing of the answer.": lambda s, m: (
            picked(s, m.long().argmax(1))
        ),
        "You take the mean over the real tokens. Only the end token has seen the whole answer.": lambda s, m: (
            (s * m).sum(1) / m.sum(1)
        ),
        "You take the mean over all places, padding too. Only the end token has seen the whole answer.": lambda s, m: (
            s.mean(1)
        ),
        "You multiply by a mask of 0 and 1, but a score on padding may be anything, and infinity times 0 is nan. "
        "Choose the place instead.": lambda s, m: (s * F.one_hot(last_place(m), m.shape[1])).sum(1),
        "You look at one row to learn on which side the padding is. Find each row's own last real token.": lambda s, m: (
            s[:, -1] if m[0, -1] else picked(s, m.sum(1) - 1)
        ),
        "You look for the last score that is not 0. A reward may be 0, and scores on padding need not be: only the "
        "mask knows what is real.": lambda s, m: picked(
            s,
            torch.tensor(
                [
                    max((place for place, x in enumerate(row) if x), default=0)
                    for row in (s * m).tolist()
                ]
            ),
        ),
    }
    zero = (
        torch.tensor([[1.0, 2.0, 0.0, 7.0], [3.0, 4.0, 5.0, 0.0]]),
        torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool(),
    )
    cases = [
        padded([3, 6, 2]),
        padded([3, 6, 2], left=True),
        padded([4, 4], gradient=True),
        zero,
        padded([1, 5]),
        padded([1, 5], left=True, gradient=True),
        padded([1]),
        padded([4, 2]),
    ]
    scores, mask = padded([2, 3], spare=1)
    cases.append((scores.masked_fill(~mask, math.inf), mask))
    compare(yours, lambda scores, mask: picked(scores, last_place(mask)), cases, mistakes)


@exercise
def accuracy_with_ties(yours):
    """The share of pairs in the labelled order; equal scores are half right."""

    def right(chosen, rejected):
        points = [
            1.0 if c > r else 0.5 if c == r else 0.0
            for c, r in zip(chosen.tolist(), rejected.tolist())
        ]
        return sum(points) / len(points)

    mistakes = {
        "Equal scores count as wrong in yours. A model that cannot decide is right half of the time: count a half.": lambda c, r: (
            (c > r).float().mean()
        ),
        "Equal scores count as right in yours, so a model that gives everything the same number would be perfect. "
        "Count a half.": lambda c, r: (c >= r).float().mean(),
        "You leave pairs of equal scores out. Then a model that decides once, and rightly, is perfect: count a half "
        "for each of them, and divide by all pairs.": lambda c, r: (c > r)[c != r].float().mean(),
        "You have the order the wrong way round: right is where the chosen answer has the larger score.": lambda c, r: (
            right(r, c)
        ),
        "You return the number of right pairs. Divide by the number of pairs.": lambda c, r: (
            right(c, r) * len(c)
        ),
        "You count scores as equal that are only close. Close is not equal: the larger one leads.": lambda c, r: (
            torch.where((c - r).abs() < 1e-3, 0.5, (c > r).double()).mean()
        ),
        "You average how sure the model is. Accuracy asks only which of the two is larger, not by how much.": lambda c, r: (
            (c - r).sigmoid().mean()
        ),
    }
    cases = [
        (torch.tensor([1.0, 0.5, 2.0, -1.0, 0.0]), torch.tensor([0.0, 0.5, 3.0, -4.0, 0.0])),
        (torch.zeros(3), torch.zeros(3)),
        (torch.tensor([1e4, -1e4]), torch.tensor([-1e4, 1e4])),
        (torch.tensor([2.0]), torch.tensor([2.5])),
        (torch.tensor([0.1, 0.1, 9.0]), torch.tensor([0.1, 0.1, 8.0])),
        (torch.tensor([0.1002, 5.0002]), torch.tensor([0.1, 5.0])),
    ]
    compare(yours, right, cases, mistakes)


@exercise
def truth_behind(yours):
    """Accuracy against the truth, from accuracy against labels of which a known share is wrong."""

    def right(
        measured, flipped
    ):  # a straight line through what a model measures that is never, and always, right
        never, always = flipped, 1.0 - flipped
        return (measured - never) / (always - never) if always != never else math.nan

    mistakes = {
        "You divide by the ceiling. That forgets the lucky hits: where model and label are both wrong, they agree too.": lambda m, e: (
            m / (1 - e) if e < 1 else math.nan
        ),
        "You add the share of wrong labels. Some of them the model got wrong as well, and there it agreed.": lambda m, e: (
            m + e
        ),
        "You subtract the lucky hits as if the model were always wrong there. Solve the whole equation for a.": lambda m, e: (
            m - e
        ),
        "You divide by 1 − e. Bring both terms with a to one side: a(1 − e) − a·e = a(1 − 2e).": lambda m, e: (
            (m - e) / (1 - e) if e < 1 else math.nan
        ),
        "You go the other way: that is what a model of this accuracy would measure. Solve the equation for a.": lambda m, e: (
            m * (1 - e) + (1 - m) * e
        ),
        "If half of the labels are wrong, they say nothing about the model: return nan there, no number.": lambda m, e: (
            right(m, e) if e != 0.5 else 0.5
        ),
        "Half of the labels wrong say nothing: return float('nan') for 0.5.": lambda m, e: (
            (m - e) / (1 - 2 * e)
        ),
        "That is the ceiling, which does not depend on what was measured.": lambda m, e: 1.0 - e,
        "You cut off what is above 1 or below 0. With few pairs chance takes the estimate there; cut off, it would be "
        "wrong on average.": lambda m, e: min(1.0, max(0.0, right(m, e))),
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
    compare(yours, right, cases, mistakes)


@exercise
def calibration_error(yours):
    """Expected calibration error over bins of equal width between 0.5 and 1."""

    def error(
        sure,
        right,
        bins,
        low=0.5,
        clamp=True,
        gap=lambda s, r, n, total, middle: n / total * abs(s - r),
    ):
        groups = {}
        for s, r in zip(sure.double().tolist(), right.double().tolist()):
            place = int((s - low) / (1 - low) * bins)
            groups.setdefault(min(place, bins - 1) if clamp else place, []).append((s, r))
        found = 0.0
        for place, group in groups.items():
            n, middle = len(group), low + (place + 0.5) * (1 - low) / bins
            found += gap(
                sum(s for s, _ in group) / n, sum(r for _, r in group) / n, n, len(sure), middle
            )
        return found

    def filled(sure, bins):  # the number of bins that are not empty
        return len({min(int((s - 0.5) * 2 * bins), bins - 1) for s in sure.double().tolist()})

    mistakes = {
        "You add gaps with their signs, so that too sure in one bin and too modest in another cancel. Take |…|.": lambda *case: (
            error(*case, gap=lambda s, r, n, total, middle: n / total * (s - r))
        ),
        "That too is signed, the other way round: take the size |…| of each bin's gap.": lambda *case: (
            error(*case, gap=lambda s, r, n, total, middle: n / total * (r - s))
        ),
        "All bins weigh the same in yours. Weigh each by its share of the pairs, or three pairs count like three "
        "hundred.": lambda sure, right, bins: error(
            sure, right, bins, gap=lambda s, r, n, total, middle: abs(s - r) / filled(sure, bins)
        ),
        "Your bins reach from 0 to 1. Nobody is less than 50 % sure of the answer that leads: cut from 0.5 to 1.": lambda *case: (
            error(*case, low=0.0)
        ),
        "A pair that is exactly 1.0 sure gets a bin of its own in yours, beyond the last. The last bin holds its upper "
        "end.": lambda *case: error(*case, clamp=False),
        "A pair that is exactly 1.0 sure is in none of your bins. The last bin holds its upper end.": lambda sure, right, bins: (
            error(sure[sure < 1], right[sure < 1], bins) * (sure < 1).double().mean().item()
        ),
        "You take the gap of each pair and average. A model that says 70 % is never 70 % right on one pair: average "
        "within the bin first, then take the gap.": lambda sure, right, bins: (
            (sure - right).abs().mean()
        ),
        "An empty bin gives 0/0 in yours, and nan spoils the sum. Pass over empty bins.": lambda sure, right, bins: (
            error(sure, right, bins) if filled(sure, bins) == bins else math.nan
        ),
        "You compare with the middle of each bin. Compare with the mean of how sure the model was in it.": lambda *case: (
            error(*case, gap=lambda s, r, n, total, middle: n / total * abs(middle - r))
        ),
    }
    sure = torch.tensor([0.52, 0.56, 0.58, 0.63, 0.67, 0.72, 0.78, 0.83, 0.88, 0.93, 0.97, 0.99])
    right = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.5, 1.0, 1.0, 0.0, 1.0, 0.0])
    cases = [
        (sure, right, 5),
        (torch.tensor([1.0, 0.95, 0.55]), torch.tensor([0.0, 1.0, 1.0]), 5),
        (torch.tensor([0.5, 0.53, 0.99]), torch.tensor([0.5, 0.0, 1.0]), 4),
        (torch.tensor([0.81]), torch.tensor([1.0]), 5),
        (torch.ones(3), torch.tensor([1.0, 0.0, 1.0]), 10),
    ]
    compare(yours, error, cases, mistakes)

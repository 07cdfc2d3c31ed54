"""Solutions of lesson 3's exercises: right ones, and wrong ones with a phrase of the hint that each
must hear."""

import math
from itertools import permutations

import torch
import torch.nn.functional as F


class ranking_pairs:
    def right_both_ways_round(texts, ranks):
        return [
            (i, j)
            for i, j in permutations(range(len(ranks)), 2)
            if ranks[i] < ranks[j] and texts[i] != texts[j]
        ]

    def right_from_the_best_down(texts, ranks):
        order, found = sorted(range(len(ranks)), key=ranks.__getitem__), set()
        for place, better in enumerate(order):
            for worse in order[place + 1 :]:
                if ranks[better] != ranks[worse] and texts[better] != texts[worse]:
                    found.add((better, worse))
        return found

    def wrong_no_numbers(texts, ranks):
        """you return [(0, 2), (0, 3), (0, None)"""
        return [
            (i, j if ranks[i] < ranks[j] else None) for i, j in permutations(range(len(ranks)), 2)
        ]


class self_agreement:
    MIRROR = {"left": "right", "right": "left", "tie": "tie"}

    def right_with_numbers(first, again, swapped):
        side = {"left": -1, "tie": 0, "right": 1}
        same = [
            side[a] == (-side[b] if flag else side[b]) for a, b, flag in zip(first, again, swapped)
        ]
        return sum(same) / len(same) if same else float("nan")

    def right_in_a_loop(first, again, swapped):
        hits = 0
        for n, verdict in enumerate(again):
            if swapped[n] and verdict != "tie":
                verdict = "left" if verdict == "right" else "right"
            hits += verdict == first[n]
        return hits / len(again) if again else math.nan

    def wrong_ties_never_agree(first, again, swapped):
        """A tie that comes again"""
        hits = 0
        for a, b, flag in zip(first, again, swapped):
            if flag:
                hits += (a, b) in [("left", "right"), ("right", "left")]
            else:
                hits += a == b and a != "tie"
        return hits / len(first) if first else math.nan

    def wrong_swapped_ties_never_agree(first, again, swapped):
        """A tie that comes again"""
        same = [(a != b) if flag else (a == b) for a, b, flag in zip(first, again, swapped)]
        right = [ok and a != "tie" and b != "tie" for ok, a, b in zip(same, first, again)]
        return sum(right) / len(right) if right else math.nan


class stable_loss:
    def right_softplus(chosen, rejected):
        return F.softplus(rejected - chosen)

    def right_logaddexp(chosen, rejected):
        lead = chosen - rejected
        return torch.logaddexp(torch.zeros_like(lead), -lead)

    def right_by_hand(chosen, rejected):
        lead = chosen - rejected
        return (-lead).clamp(min=0) + torch.log1p(torch.exp(-lead.abs()))


class reward_at_end:
    def right_with_positions(scores, mask):
        places = torch.arange(mask.shape[1]).masked_fill(~mask, -1)
        return scores.gather(1, places.argmax(1, keepdim=True))[:, 0]

    def right_row_by_row(scores, mask):
        return torch.stack([row[real][-1] for row, real in zip(scores, mask)])

    def right_flipped(scores, mask):
        last = mask.shape[1] - 1 - mask.long().flip(1).argmax(1)
        return scores[torch.arange(len(scores)), last]


class accuracy_with_ties:
    def right_signs(chosen, rejected):
        return (1 + (chosen - rejected).sign()).mean() / 2

    def right_halves(chosen, rejected):
        return ((chosen > rejected).float().mean() + (chosen >= rejected).float().mean()) / 2


class truth_behind:
    def right_solved(measured, flipped):
        return (measured - flipped) / (1 - 2 * flipped) if flipped != 0.5 else float("nan")

    def right_around_the_middle(measured, flipped):
        try:
            return 0.5 + (measured - 0.5) / (1 - 2 * flipped)
        except ZeroDivisionError:
            return math.nan

    def wrong_nothing_for_nothing(measured, flipped):
        """On input 6 of 8 (0.6, 0.5), your function returns None. Is there a `return` missing?"""
        if flipped != 0.5:
            return (measured - flipped) / (1 - 2 * flipped)

    def wrong_cut_off(measured, flipped):
        """You cut off"""
        return (
            min(1, max(0, (measured - flipped) / (1 - 2 * flipped))) if flipped != 0.5 else math.nan
        )

    def wrong_nan_from_a_half_on(measured, flipped):
        """You return nan, or give up, at every e of a half or more"""
        if flipped >= 0.5:
            return float("nan")
        return (measured - flipped) / (1 - 2 * flipped)


class calibration_error:
    def right_bin_by_bin(sure, right, bins):
        place, total = ((sure - 0.5) * 2 * bins).long().clamp(max=bins - 1), 0.0
        for number in place.unique():
            here = place == number
            total += here.float().mean() * (sure[here].mean() - right[here].mean()).abs()
        return total

    def right_with_sums(sure, right, bins):
        place = ((sure - 0.5) * 2 * bins).long().clamp(max=bins - 1)
        return torch.zeros(bins).index_add(0, place, sure - right).abs().sum().item() / len(sure)


def shorter_won(votes):
    return [(p, a, b) for p, a, b in votes if len(a.split()) < len(b.split())]


class only_length:
    def right_by_letters(score, votes):
        found = [score(p, a) > score(p, b) for p, a, b in votes if len(a) < len(b)]
        return sum(found) <= len(found) // 2

    def right_filler_added(score, votes):
        rises = [score(p, a + " And so on, and so on.") > score(p, a) for p, a, _ in votes]
        return sum(rises) > len(rises) / 2

    def right_politer(score, votes):
        return not all(score(p, f"{a} Well, well.") == score(p, a) for p, a, _ in votes)

    def wrong_all_votes(score, votes):
        """You count hits among all votes"""
        return sum(score(p, a) > score(p, b) for p, a, b in votes) < len(votes) / 2

    def wrong_never_errs(score, votes):
        """You ask for a model without a mistake"""
        return not all(score(p, a) > score(p, b) for p, a, b in shorter_won(votes))

    def wrong_any_hit(score, votes):
        """One hit is enough for you"""
        return not any(score(p, a) > score(p, b) for p, a, b in shorter_won(votes))

    def wrong_correlation(score, votes):
        """Scores and length go together even in an honest model"""
        texts = [(p, text) for p, *both in votes for text in both]
        scores = torch.tensor([float(score(p, text)) for p, text in texts])
        lengths = torch.tensor([float(len(text)) for _, text in texts])
        return torch.corrcoef(torch.stack([scores, lengths]))[0, 1].item() > 0.3

    def wrong_cut_in_half(score, votes):
        """what you cut off was part of what was asked"""
        falls = [score(p, a[: len(a) // 2]) < score(p, a) for p, a, _ in votes]
        return sum(falls) > len(falls) / 2

    def wrong_turned(score, votes):
        """Your verdict is turned round"""
        found = [score(p, a) > score(p, b) for p, a, b in shorter_won(votes)]
        return sum(found) > len(found) / 2

"""Solutions of lesson 3's exercises: right ones, and wrong ones with a phrase of the hint that each must hear."""

import math
from itertools import combinations, permutations

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

    def wrong_the_larger_rank_wins(texts, ranks):
        """Rank 1 is the best"""
        return [
            (i, j)
            for i, j in permutations(range(len(ranks)), 2)
            if ranks[i] > ranks[j] and texts[i] != texts[j]
        ]

    def wrong_ties_both_ways(texts, ranks):
        """both ways round. A tie says nothing"""
        return [
            (i, j)
            for i, j in permutations(range(len(ranks)), 2)
            if ranks[i] <= ranks[j] and texts[i] != texts[j]
        ]

    def wrong_ties_go_to_the_first(texts, ranks):
        """a label from nowhere"""
        return [
            (i, j) if ranks[i] <= ranks[j] else (j, i)
            for i, j in combinations(range(len(ranks)), 2)
            if texts[i] != texts[j]
        ]

    def wrong_identical_texts(texts, ranks):
        """stays at log 2 for ever"""
        return [(i, j) for i, j in permutations(range(len(ranks)), 2) if ranks[i] < ranks[j]]

    def wrong_neighbours(texts, ranks):
        """six pairs, not three"""
        order = sorted(range(len(ranks)), key=ranks.__getitem__)
        return [
            (i, j)
            for i, j in zip(order, order[1:])
            if ranks[i] != ranks[j] and texts[i] != texts[j]
        ]

    def wrong_same_object(texts, ranks):
        """with `is`"""
        n = len(ranks)
        return [
            (i, j)
            for i in range(n)
            for j in range(n)
            if ranks[i] < ranks[j] and texts[i] is not texts[j]
        ]

    def wrong_counted_from_one(texts, ranks):
        """Return places, counted from 0"""
        return [(i + 1, j + 1) for i, j in ranking_pairs.right_both_ways_round(texts, ranks)]

    def wrong_texts(texts, ranks):
        """Your pairs hold texts"""
        return [(texts[i], texts[j]) for i, j in ranking_pairs.right_both_ways_round(texts, ranks)]

    def wrong_no_numbers(texts, ranks):
        """you return [(0, None), (0, 2), (0, 3)"""
        return [
            (i, j if ranks[i] < ranks[j] else None) for i, j in permutations(range(len(ranks)), 2)
        ]

    def wrong_one_way_round(texts, ranks):
        """stands later in the list"""
        return [
            (i, j)
            for i, j in combinations(range(len(ranks)), 2)
            if ranks[i] < ranks[j] and texts[i] != texts[j]
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

    def wrong_not_turned(first, again, swapped):
        """Left is not left"""
        return sum(map(str.__eq__, first, again)) / len(first) if first else math.nan

    def wrong_all_turned(first, again, swapped):
        """every second verdict"""
        return (
            sum(a == self_agreement.MIRROR[b] for a, b in zip(first, again)) / len(first)
            if first
            else math.nan
        )

    def wrong_others_turned(first, again, swapped):
        """were *not* swapped"""
        return self_agreement.right_in_a_loop(first, again, [not flag for flag in swapped])

    def wrong_without_ties(first, again, swapped):
        """You leave ties out"""
        kept = [row for row in zip(first, again, swapped) if "tie" not in row]
        return self_agreement.right_in_a_loop(*map(list, zip(*kept))) if kept else math.nan

    def wrong_without_swapped(first, again, swapped):
        """You leave out the swapped pairs"""
        kept = [row for row in zip(first, again, swapped) if not row[2]]
        return self_agreement.right_in_a_loop(*map(list, zip(*kept))) if kept else math.nan

    def wrong_half_a_point(first, again, swapped):
        """half a point"""
        points = [
            0.5 if (a == "tie") != (b == "tie") else a == (self_agreement.MIRROR[b] if flag else b)
            for a, b, flag in zip(first, again, swapped)
        ]
        return sum(points) / len(points) if points else math.nan


class stable_loss:
    def right_softplus(chosen, rejected):
        return F.softplus(rejected - chosen)

    def right_logaddexp(chosen, rejected):
        lead = chosen - rejected
        return torch.logaddexp(torch.zeros_like(lead), -lead)

    def right_by_hand(chosen, rejected):
        lead = chosen - rejected
        return (-lead).clamp(min=0) + torch.log1p(torch.exp(-lead.abs()))

    def wrong_swapped(chosen, rejected):
        """You have swapped the two"""
        return -F.logsigmoid(rejected - chosen)

    def wrong_no_minus(chosen, rejected):
        """Your loss is negative"""
        return F.logsigmoid(chosen - rejected)

    def wrong_no_log(chosen, rejected):
        """chance that the choice was another one"""
        return 1 - torch.sigmoid(chosen - rejected)

    def wrong_mean(chosen, rejected):
        """Return the loss of each pair"""
        return -F.logsigmoid(chosen - rejected).mean()

    def wrong_in_two_steps(chosen, rejected):
        """Use a function that takes log and sigmoid in one step"""
        return torch.log(1 + torch.exp(rejected - chosen))

    def wrong_a_little_added(chosen, rejected):
        """You keep the chance away from 0"""
        return -(torch.sigmoid(chosen - rejected) + 1e-8).log()

    def wrong_slope_of_where(chosen, rejected):
        """where() also differentiates the branch it does not take"""
        lead = chosen - rejected
        return torch.where(lead > -30, torch.log1p(torch.exp(-lead)), -lead)

    def wrong_clamped_difference(chosen, rejected):
        """You limit the difference"""
        return -F.logsigmoid(torch.clamp(chosen - rejected, -30, 30))

    def wrong_half_the_formula(chosen, rejected):
        """forgotten the rejected answer"""
        return F.softplus(-chosen)


class reward_at_end:
    def right_with_positions(scores, mask):
        places = torch.arange(mask.shape[1]).masked_fill(~mask, -1)
        return scores.gather(1, places.argmax(1, keepdim=True))[:, 0]

    def right_row_by_row(scores, mask):
        return torch.stack([row[real][-1] for row, real in zip(scores, mask)])

    def right_flipped(scores, mask):
        last = mask.shape[1] - 1 - mask.long().flip(1).argmax(1)
        return scores[torch.arange(len(scores)), last]

    def wrong_last_column(scores, mask):
        """You read the last column"""
        return scores[:, -1]

    def wrong_last_column_of_a_product(scores, mask):
        """You read the last column of a product with the mask"""
        return (scores * mask)[:, -1]

    def wrong_largest(scores, mask):
        """You take the largest score of the row"""
        return scores.masked_fill(~mask, -1e9).max(1).values

    def wrong_counted(scores, mask):
        """under left padding you land in the prompt"""
        return scores.gather(1, mask.sum(1, keepdim=True) - 1)[:, 0]

    def wrong_one_early(scores, mask):
        """one place before the end token"""
        return torch.stack(
            [row[max(int(real.nonzero()[-1]) - 1, 0)] for row, real in zip(scores, mask)]
        )

    def wrong_one_late(scores, mask):
        """one place after the end"""
        return torch.stack(
            [row[min(int(real.nonzero()[-1]) + 1, len(row) - 1)] for row, real in zip(scores, mask)]
        )

    def wrong_first(scores, mask):
        """the first real token"""
        return torch.stack([row[real][0] for row, real in zip(scores, mask)])

    def wrong_mean(scores, mask):
        """the mean over the real tokens"""
        return torch.stack([row[real].mean() for row, real in zip(scores, mask)])

    def wrong_mean_over_padding(scores, mask):
        """over all places, padding too"""
        return scores.mean(dim=1)

    def wrong_times_a_mask(scores, mask):
        """infinity times 0 is nan"""
        last = torch.arange(mask.shape[1]).masked_fill(~mask, -1).argmax(1)
        return torch.einsum("bt,bt->b", scores, F.one_hot(last, mask.shape[1]).float())

    def wrong_side_of_the_first(scores, mask):
        """You look at one row"""
        return (
            scores[:, -1] if mask[0, -1] else scores.gather(1, mask.sum(1, keepdim=True) - 1)[:, 0]
        )

    def wrong_last_that_is_not_zero(scores, mask):
        """the last score that is not 0"""
        return torch.stack([row[real][row[real] != 0][-1] for row, real in zip(scores, mask)])


class accuracy_with_ties:
    def right_signs(chosen, rejected):
        return (1 + (chosen - rejected).sign()).mean() / 2

    def right_halves(chosen, rejected):
        return ((chosen > rejected).float().mean() + (chosen >= rejected).float().mean()) / 2

    def wrong_ties_are_wrong(chosen, rejected):
        """Equal scores count as wrong"""
        return (chosen > rejected).float().mean().item()

    def wrong_ties_are_right(chosen, rejected):
        """Equal scores count as right"""
        return (chosen >= rejected).float().mean().item()

    def wrong_ties_left_out(chosen, rejected):
        """You leave pairs of equal scores out"""
        return (chosen > rejected)[chosen != rejected].float().mean()

    def wrong_way_round(chosen, rejected):
        """the order the wrong way round"""
        return (1 + (rejected - chosen).sign()).mean() / 2

    def wrong_sum(chosen, rejected):
        """Divide by the number of pairs"""
        return ((1 + (chosen - rejected).sign()) / 2).sum()

    def wrong_close(chosen, rejected):
        """Close is not equal"""
        return (
            ((chosen - rejected) * ((chosen - rejected).abs() > 1e-3)).sign().add(1).div(2).mean()
        )

    def wrong_how_sure(chosen, rejected):
        """how sure the model is"""
        return torch.sigmoid(chosen - rejected).mean()


class truth_behind:
    def right_solved(measured, flipped):
        return (measured - flipped) / (1 - 2 * flipped) if flipped != 0.5 else float("nan")

    def right_around_the_middle(measured, flipped):
        try:
            return 0.5 + (measured - 0.5) / (1 - 2 * flipped)
        except ZeroDivisionError:
            return math.nan

    def wrong_over_the_ceiling(measured, flipped):
        """forgets the lucky hits"""
        return measured / (1 - flipped) if flipped < 1 else math.nan

    def wrong_added(measured, flipped):
        """You add the share of wrong labels"""
        return measured + flipped

    def wrong_subtracted(measured, flipped):
        """as if the model were always wrong there"""
        return measured - flipped

    def wrong_half_the_denominator(measured, flipped):
        """Bring both terms with a to one side"""
        return (measured - flipped) / (1 - flipped) if flipped < 1 else math.nan

    def wrong_way(measured, flipped):
        """You go the other way"""
        return measured * (1 - flipped) + (1 - measured) * flipped

    def wrong_a_number_for_nothing(measured, flipped):
        """return nan there, no number"""
        return (measured - flipped) / (1 - 2 * flipped) if flipped != 0.5 else 0.5

    def wrong_nothing_for_nothing(measured, flipped):
        """returns None on input 6 of 8 (0.6, 0.5). Is there a `return` missing?"""
        if flipped != 0.5:
            return (measured - flipped) / (1 - 2 * flipped)

    def wrong_divides_by_nothing(measured, flipped):
        """Half of the labels wrong say nothing: return float('nan') for 0.5."""
        return (measured - flipped) / (1 - 2 * flipped)

    def wrong_cut_off(measured, flipped):
        """You cut off"""
        return (
            min(1, max(0, (measured - flipped) / (1 - 2 * flipped))) if flipped != 0.5 else math.nan
        )


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

    def wrong_signed(sure, right, bins):
        """You add gaps with their signs"""
        return (sure - right).mean()

    def wrong_unweighted(sure, right, bins):
        """All bins weigh the same"""
        place = ((sure - 0.5) * 2 * bins).long().clamp(max=bins - 1)
        gaps = [(sure[place == b].mean() - right[place == b].mean()).abs() for b in place.unique()]
        return sum(gaps) / len(gaps)

    def wrong_bins_from_zero(sure, right, bins):
        """Your bins reach from 0 to 1"""
        place = (sure * bins).long().clamp(max=bins - 1)
        return torch.zeros(bins).index_add(0, place, sure - right).abs().sum() / len(sure)

    def wrong_pairs(sure, right, bins):
        """You take the gap of each pair"""
        return (sure - right).abs().mean()

    def wrong_last_bin_open(sure, right, bins):
        """in none of your bins"""
        place, total = ((sure - 0.5) * 2 * bins).long(), 0.0
        for number in range(bins):
            here = place == number
            if here.any():
                total += here.float().mean() * (sure[here].mean() - right[here].mean()).abs()
        return torch.as_tensor(total)

    def wrong_bin_of_its_own(sure, right, bins):
        """a bin of its own"""
        place, total = ((sure - 0.5) * 2 * bins).long(), 0.0
        for number in place.unique():
            here = place == number
            total += here.float().mean() * (sure[here].mean() - right[here].mean()).abs()
        return total

    def wrong_empty_bins(sure, right, bins):
        """An empty bin gives 0/0"""
        place = ((sure - 0.5) * 2 * bins).long().clamp(max=bins - 1)
        return sum(
            (place == b).float().mean() * (sure[place == b].mean() - right[place == b].mean()).abs()
            for b in range(bins)
        )

    def wrong_middles(sure, right, bins):
        """the middle of each bin"""
        place, total = ((sure - 0.5) * 2 * bins).long().clamp(max=bins - 1), 0.0
        for number in place.unique():
            here = place == number
            total += (
                here.float().mean() * (0.5 + (number + 0.5) / (2 * bins) - right[here].mean()).abs()
            )
        return total

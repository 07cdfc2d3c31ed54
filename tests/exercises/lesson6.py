"""Right and wrong solutions of lesson 6's exercises."""

import torch
import torch.nn.functional as F


class vote_loss:
    def right_library(leads, chances):
        return F.binary_cross_entropy_with_logits(leads, chances)

    def right_softplus(leads, chances):
        return (F.softplus(leads) - chances * leads).mean()

    def right_two_classes(leads, chances):
        logits, targets = torch.stack([leads, 0 * leads], 1), torch.stack([chances, 1 - chances], 1)
        return F.cross_entropy(logits, targets)

    def wrong_hard(leads, chances):
        """hard labels"""
        return F.softplus(torch.where(chances >= 0.5, -leads, leads)).mean()

    def wrong_half(leads, chances):
        """The second half is missing"""
        return (chances * F.softplus(-leads)).mean()

    def wrong_sign(leads, chances):
        """The sign is wrong"""
        return -F.binary_cross_entropy_with_logits(leads, chances)

    def wrong_unstable(leads, chances):
        """inf or nan"""
        p = 1 / (1 + torch.exp(-leads))
        return -(chances * torch.log(p) + (1 - chances) * torch.log(1 - p)).mean()

    def wrong_cut_logs(leads, chances):
        """cuts logs at -100"""
        return F.binary_cross_entropy(torch.sigmoid(leads), chances)

    def wrong_each_vote(leads, chances):
        """Return one number"""
        return F.softplus(leads) - chances * leads

    def wrong_sum(leads, chances):
        """not their sum"""
        return (F.softplus(leads) - chances * leads).sum()

    def wrong_side(leads, chances):
        """The chances are swapped"""
        return F.binary_cross_entropy_with_logits(leads, 1 - chances)

    def wrong_no_gradient(leads, chances):
        """No gradient flows back"""
        return F.binary_cross_entropy_with_logits(leads, chances).item()


class kappa:
    def right_shares(mine, theirs):
        n = len(mine)
        share = sum(a == b for a, b in zip(mine, theirs)) / n
        expected = sum(mine.count(verdict) / n * theirs.count(verdict) / n for verdict in "LRT")
        return (share - expected) / (1 - expected) if expected != 1 else float("nan")

    def right_disagreements(mine, theirs):
        n = len(mine)
        expected = (
            1
            - sum(mine.count(verdict) * theirs.count(verdict) for verdict in set(mine + theirs))
            / n**2
        )
        return (
            1 - sum(a != b for a, b in zip(mine, theirs)) / n / expected
            if expected
            else float("nan")
        )

    def wrong_divides_by_nothing(mine, theirs):
        """nothing is left to measure: return float('nan')"""
        n = len(mine)
        expected = sum(mine.count(verdict) / n * theirs.count(verdict) / n for verdict in "LRT")
        return (sum(a == b for a, b in zip(mine, theirs)) / n - expected) / (1 - expected)

    def wrong_zero_for_nothing(mine, theirs):
        """You return a number where expected is 1"""
        return 0.0 if len({*mine, *theirs}) == 1 else kappa.right_shares(mine, theirs)

    def wrong_raw(mine, theirs):
        """the raw share of agreements"""
        return sum(a == b for a, b in zip(mine, theirs)) / len(mine)

    def wrong_coin(mine, theirs):
        """Chance is not one half"""
        return 2 * sum(a == b for a, b in zip(mine, theirs)) / len(mine) - 1

    def wrong_thirds(mine, theirs):
        """Chance is not one third"""
        return 1 - 1.5 * sum(a != b for a, b in zip(mine, theirs)) / len(mine)

    def wrong_not_divided(mine, theirs):
        """did not divide by what chance leaves"""
        n = len(mine)
        share = sum(a == b for a, b in zip(mine, theirs)) / n
        return share - sum(mine.count(verdict) / n * theirs.count(verdict) / n for verdict in "LRT")

    def wrong_pooled(mine, theirs):
        """You pool both readers' votes"""
        n = len(mine)
        share = sum(a == b for a, b in zip(mine, theirs)) / n
        expected = sum(((mine + theirs).count(verdict) / (2 * n)) ** 2 for verdict in "LRT")
        return (share - expected) / (1 - expected)

    def wrong_sorted(mine, theirs):
        """Make a new list"""
        share = sum(a == b for a, b in zip(mine, theirs)) / len(mine)
        mine.sort()
        expected = (
            sum(mine.count(verdict) * theirs.count(verdict) for verdict in "LRT") / len(mine) ** 2
        )
        return (share - expected) / (1 - expected)

    def wrong_squares(mine, theirs):
        """one reader only"""
        n = len(mine)
        share = sum(a == b for a, b in zip(mine, theirs)) / n
        expected = sum((mine.count(verdict) / n) ** 2 for verdict in "LRT")
        return (share - expected) / (1 - expected)

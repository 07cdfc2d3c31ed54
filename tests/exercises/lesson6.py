"""Right and wrong solutions of lesson 6's exercises."""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.evaluation.intervals import wilson


class vote_loss:
    def right_library(leads, chances):
        return F.binary_cross_entropy_with_logits(leads, chances)

    def right_softplus(leads, chances):
        return (F.softplus(leads) - chances * leads).mean()

    def right_two_classes(leads, chances):
        logits, targets = torch.stack([leads, 0 * leads], 1), torch.stack([chances, 1 - chances], 1)
        return F.cross_entropy(logits, targets)

    def wrong_unstable(leads, chances):
        """inf or nan"""
        p = 1 / (1 + torch.exp(-leads))
        return -(chances * torch.log(p) + (1 - chances) * torch.log(1 - p)).mean()

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


class pairs_needed:
    def right_formula(share):
        """The lower end is above 1/2 where the share is more than 1.96 standard errors of a coin
        away from it."""
        return math.floor((1.96 * 0.5 / (share - 0.5)) ** 2) + 1

    def right_search(share):
        return next(n for n in range(1, 10**6) if wilson(share, n)[0] > 0.5)

    def wrong_by_hundreds(share):
        """you return 100, where 25 was expected"""
        return next(n for n in range(100, 10**6, 100) if wilson(share, n)[0] > 0.5)

    def wrong_wins(share):
        """how many pairs are won"""
        n = 1
        while wilson(share, n)[0] <= 0.5:
            n += 1
        return round(n * share)

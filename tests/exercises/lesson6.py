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

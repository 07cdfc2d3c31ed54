"""Other right solutions of lesson 5's exercises, and wrong ones with a phrase of the hint that each
must hear."""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.lesson5 import WARD


class strength_step:
    def right_loops(strengths, first, second, outcome, lr):
        new = strengths.clone()
        for i, j, won in zip(first.tolist(), second.tolist(), outcome.tolist()):
            chance = 1 / (1 + math.exp(-(strengths[i] - strengths[j]).item()))
            new[i] += lr * (won - chance)
            new[j] -= lr * (won - chance)
        return new

    def right_autograd(strengths, first, second, outcome, lr):
        found = strengths.clone().requires_grad_()
        lead = found[first] - found[second]
        likelihood = outcome * F.logsigmoid(lead) + (1 - outcome) * F.logsigmoid(-lead)
        (gradient,) = torch.autograd.grad(likelihood.sum(), found)
        return strengths + lr * gradient

    def right_one_hot(strengths, first, second, outcome, lr):
        sides = F.one_hot(first, len(strengths)) - F.one_hot(second, len(strengths))
        sides = sides.float()
        return strengths + lr * sides.T @ (outcome - (sides @ strengths).sigmoid())

    def wrong_last_game_only(strengths, first, second, outcome, lr):
        """moves by one of them only"""
        new = strengths.clone()
        step = lr * (outcome - (strengths[first] - strengths[second]).sigmoid())
        new[first] += step
        new[second] -= step
        return new

    def wrong_elo(strengths, first, second, outcome, lr):
        """✗ Not yet."""
        new = strengths.clone()
        for i, j, won in zip(first.tolist(), second.tolist(), outcome):
            news = lr * (won - (new[i] - new[j]).sigmoid())
            new[i] += news
            new[j] -= news
        return new


class paired_interval:
    def right_plain(mine, other):
        gaps = [(a - b) for a, b in zip(mine.mean(1).tolist(), other.mean(1).tolist())]
        middle = sum(gaps) / len(gaps)
        variance = sum((gap - middle) ** 2 for gap in gaps) / (len(gaps) - 1)
        half = 1.96 * (variance / len(gaps)) ** 0.5
        return torch.tensor([middle, middle - half, middle + half])

    def right_tuple(mine, other):
        gap = (mine - other).mean(1)
        half = 1.96 * (gap.var() / gap.numel()).sqrt()
        return torch.stack((gap.mean(), gap.mean() - half, gap.mean() + half))

    def wrong_two_errors(mine, other):
        """as if they had answered different prompts"""
        a, b = mine.mean(1), other.mean(1)
        half = 1.96 * (a.var() / len(a) + b.var() / len(b)) ** 0.5
        middle = a.mean() - b.mean()
        return torch.stack([middle, middle - half, middle + half])

    def wrong_every_answer(mine, other):
        """Answers to one prompt resemble each other"""
        gap = (mine - other).reshape(-1)
        half = 1.96 * gap.std() / gap.numel() ** 0.5
        return torch.stack([gap.mean(), gap.mean() - half, gap.mean() + half])


class prompts_needed:
    def right_counts_up(deviation, other_deviation, correlation, difference):
        variance = (deviation - other_deviation) ** 2
        variance += 2 * (1 - correlation) * deviation * other_deviation
        n = 1
        while 1.96 * (variance / n) ** 0.5 > difference:
            n += 1
        return n

    def right_tensor(deviation, other_deviation, correlation, difference):
        shared = correlation * deviation * other_deviation
        spread = torch.tensor([[deviation**2, shared], [shared, other_deviation**2]]).double()
        lead = torch.tensor([1.0, -1.0]).double()
        return int(((1.96 / difference) ** 2 * lead @ spread @ lead).ceil())

    def wrong_independent(deviation, other_deviation, correlation, difference):
        """You forget the correlation"""
        return math.ceil((deviation**2 + other_deviation**2) * (1.96 / difference) ** 2)

    def wrong_rounded(deviation, other_deviation, correlation, difference):
        """You round down"""
        shared = 2 * correlation * deviation * other_deviation
        return int((deviation**2 + other_deviation**2 - shared) * (1.96 / difference) ** 2)


class kl_of_levels:
    def right_loop(shares, n):
        total = below = 0.0
        for share in shares.tolist():
            best = (below + share) ** n - below**n
            below += share
            if best > 0:
                total += best * math.log(best / share)
        return total

    def right_diff(shares, n):
        upto = F.pad(shares.double().cumsum(0), (1, 0))
        best = upto.pow(n).diff()
        return (torch.xlogy(best, best) - torch.xlogy(best, shares.double())).sum().float()

    def wrong_not_a_number(shares, n):
        """0 · log 0"""
        upto = shares.cumsum(0)
        best = upto**n - (upto - shares) ** n
        return (best * (best / shares).log()).sum()

    def wrong_gao(shares, n):
        """That is the bound"""
        return math.log(n) - (n - 1) / n

    def wrong_win_rate(shares, n):
        """✗ Not yet."""
        return n / (n + 1)


class peak:
    def right_search(method, alpha, beta):
        if beta <= 0:
            return float("inf")
        low, high = 1e-9, 1e4
        for _ in range(200):
            d = (low + high) / 2
            slope = alpha - beta * (math.log(d) + 1) if method == "rl" else alpha - 2 * beta * d
            low, high = (d, high) if slope > 0 else (low, d)
        return d

    def right_table(method, alpha, beta):
        forms = {
            "best of n": lambda ratio: ratio / 2,
            "rl": lambda ratio: math.exp(ratio) / math.e,
        }
        return forms[method](alpha / beta) if beta > 0 else math.inf

    def wrong_back_at_zero(method, alpha, beta):
        """back at 0"""
        if beta <= 0:
            return math.inf
        return math.exp(alpha / beta) if method == "rl" else alpha / (2 * beta)

    def wrong_copied_form(method, alpha, beta):
        """have copied the wrong one"""
        return alpha / (2 * beta) if beta > 0 else math.inf


class where_to_stop:
    def right_sorted(ns, utilities):
        best = utilities[utilities.mean(1).argmax()]
        for n, row in sorted(zip(ns, utilities), key=lambda pair: pair[0]):
            gap = best - row
            if gap.mean() <= gap.std() / len(gap) ** 0.5:
                return n

    def right_mask(ns, utilities):
        behind = utilities[utilities.mean(1).argmax()] - utilities
        error = (behind.var(1) / utilities.shape[1]).sqrt()
        return torch.tensor(ns)[behind.mean(1) <= error].min()

    def wrong_argmax(ns, utilities):
        """You take the n of the highest mean"""
        return ns[int(utilities.mean(1).argmax())]

    def wrong_one_threshold(ns, utilities):
        """as if each rung had answered other prompts"""
        means = utilities.mean(1)
        best = means.argmax()
        least = means[best] - utilities[best].std() / utilities.shape[1] ** 0.5
        return min(n for n, mean in zip(ns, means) if mean >= least)


class diagnosis:
    def right_list(patient):
        return [name for name, _, _ in WARD.values()]["ABCDEFGH".index(patient)]

    def right_get(patient):
        return dict(zip("ABCDEFGH", next(zip(*WARD.values())))).get(patient)

    def wrong_all_healthy(patient):
        """Look at A again"""
        return "healthy"

    def wrong_g_only(patient):
        """Look at G again"""
        return "healthy" if patient == "G" else WARD[patient][0]

    def wrong_swapped_last(patient):
        """Look at D again"""
        name = WARD[patient][0]
        swap = {"another temperature": "cold critic", "cold critic": "another temperature"}
        return swap.get(name, name)

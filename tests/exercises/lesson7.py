"""Other right solutions of lesson 7's exercises, and wrong ones with a phrase of the hint that each
must hear."""

import torch
import torch.nn.functional as F


class leave_one_out:
    def right_scaled(scores):
        size = scores.shape[1]
        return (scores - scores.mean(1, keepdim=True)) * size / (size - 1)

    def right_loops(scores):
        found = []
        for row in scores.tolist():
            others = [sum(row[:i] + row[i + 1 :]) / (len(row) - 1) for i in range(len(row))]
            found.append([score - other for score, other in zip(row, others)])
        return torch.tensor(found)

    def wrong_median(scores):
        """✗ Not yet."""
        return scores - scores.median(1, keepdim=True).values

    def wrong_group_mean(scores):
        """includes the score itself"""
        return scores - scores.mean(1)[:, None]


class group_advantages:
    def right_whitened(scores):
        centred = scores - scores.mean(1, keepdim=True)
        size = scores.shape[1]
        deviation = (centred.square().sum(1, keepdim=True) / (size - 1)).sqrt()
        return centred / (deviation + 1e-4)

    def right_rows(scores):
        return torch.stack([(row - row.mean()) / (row.std() + 1e-4) for row in scores])

    def wrong_over_all(scores):
        """Your deviation is that of the whole batch"""
        return (scores - scores.mean(1, keepdim=True)) / (scores.std() + 1e-4)


class grpo_loss:
    def right_rows(logprobs, old, advantages, mask, clip):
        found = []
        for row, gain in enumerate(advantages):
            real = mask[row]
            ratio = (logprobs[row][real] - old[row][real]).exp()
            held = ratio.clamp(1 - clip, 1 + clip)
            found.append(-torch.minimum(ratio * gain, held * gain).mean())
        return torch.stack(found).mean()

    def right_where(logprobs, old, advantages, mask, clip):
        ratio = torch.where(mask, logprobs - old, 0.0).exp()
        gain = advantages.view(-1, 1)
        losses = torch.maximum(-ratio * gain, -ratio.clamp(1 - clip, 1 + clip) * gain)
        weight = mask / mask.sum(1, keepdim=True) / len(mask)
        return (losses * weight).sum()

    def wrong_mean_of_all(logprobs, old, advantages, mask, clip):
        """one mean over all tokens"""
        ratio = (logprobs - old)[mask].exp()
        gain = advantages[:, None].expand_as(mask)[mask]
        return -torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain).mean()


class dpo_loss:
    def right_softplus(chosen, rejected, reference_chosen, reference_rejected, beta):
        lead = (chosen - rejected) - (reference_chosen - reference_rejected)
        return F.softplus(-beta * lead).mean()

    def right_cross_entropy(chosen, rejected, reference_chosen, reference_rejected, beta):
        rewards = beta * torch.stack([chosen - reference_chosen, rejected - reference_rejected], -1)
        return F.cross_entropy(rewards, torch.zeros(len(chosen), dtype=torch.long))

    def wrong_ratio_of_logs(chosen, rejected, reference_chosen, reference_rejected, beta):
        """✗ Not yet."""
        better = beta * chosen / reference_chosen
        worse = beta * rejected / reference_rejected
        return -F.logsigmoid(better - worse).mean()


class best_policy:
    def right_shifted(reference, rewards, beta):
        weight = reference * ((rewards - rewards.max()) / beta).exp()
        return weight / weight.sum()

    def right_logs(reference, rewards, beta):
        logits = reference.log() + rewards / beta
        return (logits - logits.logsumexp(0)).exp()

    def wrong_rewards_only(reference, rewards, beta):
        """You forget the reference"""
        return (rewards / beta).softmax(0)


class group_size_needed:
    def right_range(p, least):
        sizes = range(2, 10_000)
        return next(size for size in sizes if 1 - p**size - (1 - p) ** size >= least)

    def right_useless(p, least):
        size = 2
        while p**size + (1 - p) ** size > 1 - least + 1e-12:
            size += 1
        return size

    def wrong_from_one(p, least):
        """✗ Not yet."""
        return 2


class rloo_update:
    def right_gradient_by_hand(logits, rewards, beta):
        policy = logits.softmax(0)
        start = torch.full_like(logits, 1 / len(logits)).log()
        paid = rewards - beta * (policy.log() - start)
        return logits + 2.0 * policy * (paid - policy @ paid)

    def right_loops(logits, rewards, beta):
        n = len(logits)
        policy = logits.softmax(0)
        paid = rewards - beta * (policy.log() + torch.tensor(float(n)).log())
        gradient = torch.zeros(n)
        for i in range(n):
            for j in range(n):
                push = policy[i] * policy[j] * (paid[i] - paid[j])
                gradient += push * (F.one_hot(torch.tensor(i), n) - policy)
        return logits + 2.0 * gradient

    def wrong_downhill(logits, rewards, beta):
        """You climb the loss"""
        policy = logits.softmax(0)
        paid = rewards - beta * (policy.log() + torch.tensor(float(len(logits))).log())
        return logits - 2.0 * policy * (paid - policy @ paid)

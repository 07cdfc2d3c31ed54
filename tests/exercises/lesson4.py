"""Other right solutions of lesson 4's exercises, and wrong ones with a phrase of the hint that each
must hear."""

import torch
import torch.nn.functional as F


class sampled_logprobs:
    def right_cross_entropy(logits, tokens, temperature):
        return -F.cross_entropy((logits / temperature).transpose(1, 2), tokens, reduction="none")

    def right_categorical(logits, tokens, temperature):
        return torch.distributions.Categorical(logits=logits.double() / temperature).log_prob(
            tokens
        )


class token_rewards:
    def right_indexed(policy, reference, mask, scores, beta):
        rewards = (beta * (reference - policy)).masked_fill(~mask, 0.0)
        rewards[range(len(mask)), mask.sum(1) - 1] += scores
        return rewards

    def right_rows(policy, reference, mask, scores, beta):
        rows = []
        for p, r, m, s in zip(policy, reference, mask, scores):
            n = int(m.sum())
            row = torch.zeros(len(m))
            row[:n] = -beta * (p[:n] - r[:n])
            row[n - 1] += s
            rows.append(row)
        return torch.stack(rows)

    def wrong_one_after_the_end(policy, reference, mask, scores, beta):
        """one token after the end"""
        rewards = -beta * (policy - reference) * mask
        rewards[range(len(mask)), mask.sum(1)] += scores
        return rewards

    def wrong_last_column(policy, reference, mask, scores, beta):
        """lands on the last column"""
        rewards = -beta * (policy - reference) * mask
        rewards[:, -1] += scores
        return rewards

    def wrong_one_late_and_unmasked(policy, reference, mask, scores, beta):
        """where padding begins, and padding pays for its KL"""
        rewards = -beta * (policy - reference)
        rewards[torch.arange(len(mask)), mask.sum(1)] += scores
        return rewards

    def wrong_everywhere(policy, reference, mask, scores, beta):
        """You pay the score at every token"""
        return (scores[:, None] - beta * (policy - reference)) * mask

    def wrong_instead(policy, reference, mask, scores, beta):
        """instead of putting it in its place"""
        rewards = -beta * (policy - reference) * mask
        rewards[range(len(mask)), mask.sum(1) - 1] = scores
        return rewards

    def wrong_score_at_the_first_token(policy, reference, mask, scores, beta):
        """Your score lands on the first token"""
        rewards = (-beta * (policy - reference)).masked_fill(~mask, 0.0)
        rewards[:, 0] += scores
        return rewards

    def wrong_score_first_and_times_mask(policy, reference, mask, scores, beta):
        """Your score lands on the first token"""
        rewards = -beta * (policy - reference) * mask
        rewards[:, 0] += scores
        return rewards

    def wrong_kl_at_the_end(policy, reference, mask, scores, beta):
        """Each token pays its own price"""
        total = (policy - reference).masked_fill(~mask, 0.0).sum(1)
        rewards = torch.zeros_like(policy)
        rewards[torch.arange(len(mask)), mask.sum(1) - 1] = scores - beta * total
        return rewards


class kl_estimates:
    def right_plain(logratio):
        return logratio, 0.5 * logratio**2, torch.exp(-logratio) - 1 + logratio

    def right_list(logratio):
        ratio = (-logratio.double()).exp()
        return [-ratio.log(), ratio.log().square() / 2, ratio - 1 - ratio.log()]


def backwards(rewards, values, lam, gamma=1.0):
    advantages, later = torch.zeros_like(values), torch.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        following = values[:, t + 1] if t + 1 < values.shape[1] else 0.0
        later = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * later
        advantages[:, t] = later
    return advantages


class gae:
    def right_sums(rewards, values, mask, lam):
        r, v = rewards * mask, values * mask
        news = r + F.pad(v, (0, 1))[:, 1:] - v
        time = mask.shape[1]
        weights = torch.tensor(
            [[lam ** (k - t) if k >= t else 0.0 for t in range(time)] for k in range(time)]
        )
        return news @ weights * mask

    def right_rows(rewards, values, mask, lam):
        advantages = torch.zeros_like(values)
        for row, n in enumerate(mask.sum(1)):
            advantages[row, :n] = backwards(
                rewards[row : row + 1, :n], values[row : row + 1, :n], lam
            )[0]
        return advantages

    def wrong_value_before(rewards, values, mask, lam):
        """News compares with what comes"""
        r, v = rewards * mask, values * mask
        advantages, later = torch.zeros_like(v), 0.0
        for t in reversed(range(v.shape[1])):
            delta = r[:, t] + v[:, t] - (v[:, t - 1] if t > 0 else 0.0)
            later = (delta + lam * later) * mask[:, t]
            advantages[:, t] = later
        return advantages

    def wrong_lam_on_the_bracket(rewards, values, mask, lam):
        """You multiply the whole bracket by lam"""
        r, v = rewards * mask, values * mask
        advantages, later = torch.zeros_like(v), 0.0
        for t in reversed(range(v.shape[1])):
            following = v[:, t + 1] if t + 1 < v.shape[1] else 0.0
            later = lam * (r[:, t] + following - v[:, t] + later)
            advantages[:, t] = later
        return advantages * mask

    def wrong_lam_on_all_that_comes(rewards, values, mask, lam):
        """You multiply the next value by lam"""
        r, v = rewards * mask, values * mask
        advantages, later = torch.zeros_like(v), 0.0
        for t in reversed(range(v.shape[1])):
            following = v[:, t + 1] if t + 1 < v.shape[1] else 0.0
            later = r[:, t] + lam * (following + later) - v[:, t]
            advantages[:, t] = later
        return advantages * mask


class clipped_policy_loss:
    def right_max_of_losses(logprobs, old, advantages, mask, clip=0.2):
        ratio, a = (logprobs[mask] - old[mask]).exp(), advantages[mask]
        return torch.max(-a * ratio, -a * ratio.clamp(1 - clip, 1 + clip)).mean()

    def right_by_sign(logprobs, old, advantages, mask, clip=0.2):
        ratio = torch.where(mask, logprobs - old, 0.0).exp()
        held = torch.where(advantages > 0, ratio.clamp(max=1 + clip), ratio.clamp(min=1 - clip))
        return -(held * advantages * mask).sum() / mask.sum()

    def wrong_without_exp(logprobs, old, advantages, mask, clip=0.2):
        """Take exp of it"""
        ratio, a = logprobs - old, advantages
        loss = -torch.min(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a)
        return loss[mask].mean()

    def wrong_logs_divided(logprobs, old, advantages, mask, clip=0.2):
        """You divide log-probs by each other"""
        ratio, a = (logprobs / old)[mask], advantages[mask]
        return -torch.min(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a).mean()

    def wrong_sum(logprobs, old, advantages, mask, clip=0.2):
        """Take the mean over the real tokens"""
        ratio, a = (logprobs - old)[mask].exp(), advantages[mask]
        return torch.max(-a * ratio, -a * ratio.clamp(1 - clip, 1 + clip)).sum()

    def wrong_reinforce(logprobs, old, advantages, mask, clip=0.2):
        """That is REINFORCE"""
        return -(logprobs * advantages)[mask].mean()


class whiten:
    def right_std(x, mask):
        real = x[mask]
        deviation = (real.std(unbiased=False) ** 2 + 1e-8) ** 0.5
        return torch.where(mask, (x - real.mean()) / deviation, 0.0)

    def right_sums(x, mask):
        n, x = mask.sum(), torch.where(mask, x.double(), 0.0)
        centred = (x - x.sum() / n) * mask
        return centred / ((centred**2).sum() / n + 1e-8).sqrt()

    def wrong_over_padding(x, mask):
        """Padding takes part in your mean"""
        return ((x - x.mean()) / (x.var(unbiased=False) + 1e-8) ** 0.5) * mask

    def wrong_variance(x, mask):
        """Divide by its root"""
        return (x - x[mask].mean()) / (x[mask].var(unbiased=False) + 1e-8) * mask

    def wrong_no_mean(x, mask):
        """forget to subtract the mean"""
        return x / (x[mask].var(unbiased=False) + 1e-8) ** 0.5 * mask

    def wrong_no_deviation(x, mask):
        """Divide by the deviation too"""
        return (x - x[mask].mean()) * mask

    def wrong_unbiased(x, mask):
        """You divide by n - 1"""
        centred = (x - x[mask].mean()) * mask
        return centred / ((centred**2).sum() / (mask.sum() - 1) + 1e-8) ** 0.5

    def right_where(x, mask):
        x = torch.where(mask, x, 0.0)
        mean = x.sum() / mask.sum()
        variance = (torch.where(mask, x - mean, 0.0) ** 2).sum() / mask.sum()
        return torch.where(mask, (x - mean) / (variance + 1e-8).sqrt(), 0.0)

    def wrong_nan_on_padding(x, mask):
        """padding may hold NaN or infinity"""
        mean = (x * mask).sum() / mask.sum()
        variance = (((x - mean) * mask) ** 2).sum() / mask.sum()
        return (x - mean) / (variance + 1e-8).sqrt() * mask

    def wrong_nan_on_padding_at_the_end(x, mask):
        """padding may hold NaN or infinity"""
        real = x[mask]
        return (x - real.mean()) / (real.var(unbiased=False) + 1e-8).sqrt() * mask


class choose_beta:
    def right_sorted(betas, utilities):
        mean, deviation = utilities.mean(1), utilities.std(1) / utilities.shape[1] ** 0.5
        best = mean.argmax()
        for beta, place in sorted(zip(betas, range(len(betas))), reverse=True):
            if mean[place] >= mean[best] - deviation[best]:
                return beta

    def right_in_lists(betas, utilities):
        rows = utilities.tolist()
        n = len(rows[0])
        means = [sum(row) / n for row in rows]
        best = means.index(max(means))
        spread = sum((x - means[best]) ** 2 for x in rows[best]) / (n - 1)
        return max(b for b, m in zip(betas, means) if m >= means[best] - (spread / n) ** 0.5)

    def wrong_best_mean(betas, utilities):
        """You take the best mean"""
        return betas[utilities.mean(1).argmax()]

    def wrong_smallest(betas, utilities):
        """Among prices that do equally well you take the smallest"""
        means = utilities.mean(1)
        best = means.argmax()
        least = means[best] - utilities[best].std() / 2
        return min(beta for beta, mean in zip(betas, means) if mean >= least)

    def wrong_deviation(betas, utilities):
        """You allow a whole standard deviation"""
        means = utilities.mean(1)
        best = means.argmax()
        least = means[best] - utilities[best].std()
        return max(beta for beta, mean in zip(betas, means) if mean >= least)

    def wrong_largest(betas, utilities):
        """however badly it did"""
        return max(betas)


class ppo_update:
    def right_clip_as_a_mask(logits, advantages):
        old = logits.log_softmax(0)
        for _ in range(8):
            probs = logits.softmax(0)
            ratio = probs / old.exp()
            gains = (ratio < 1.2).where(advantages > 0, ratio > 0.8)  # where it is not flat
            weights = probs * advantages * gains
            logits = logits + 2 * (weights - probs * weights.sum())
        return logits

    def right_loss_and_optimiser(logits, advantages):
        old = logits.log_softmax(0)
        now = logits.clone().requires_grad_()
        optimiser = torch.optim.SGD([now], lr=2.0)
        for _ in range(8):
            ratio = (now.log_softmax(0) - old).exp()
            held = ratio.clip(0.8, 1.2)
            loss = -(old.exp() * torch.min(ratio * advantages, held * advantages)).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return now.detach()

    def wrong_as_it_was(logits, advantages):
        """That is the update as it was"""
        probs = logits.softmax(0)
        for _ in range(8):
            logits = logits.detach().requires_grad_()
            new = logits.log_softmax(0)
            ratio = (new - new.detach()).exp()
            objective = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
            (gradient,) = torch.autograd.grad(probs @ objective, logits)
            logits = logits + 2.0 * gradient
        return logits.detach()

    def wrong_no_clip(logits, advantages):
        """You have taken the clip away"""
        old = logits.log_softmax(0)
        for _ in range(8):
            logits = logits.detach().requires_grad_()
            ratio = (logits.log_softmax(0) - old).exp()
            (gradient,) = torch.autograd.grad(old.exp() @ (ratio * advantages), logits)
            logits = logits + 2.0 * gradient
        return logits.detach()

    def wrong_once(logits, advantages):
        """You update once a batch"""
        probs = logits.softmax(0)
        return logits + 2.0 * probs * (advantages - probs @ advantages)

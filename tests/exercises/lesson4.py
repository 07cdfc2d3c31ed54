"""Other right solutions of lesson 4's exercises, and wrong ones with a phrase of the hint that each must hear."""

import torch
import torch.nn.functional as F


class sampled_logprobs:
    def right_cross_entropy(logits, tokens, temperature):
        return -F.cross_entropy((logits / temperature).transpose(1, 2), tokens, reduction="none")

    def right_categorical(logits, tokens, temperature):
        return torch.distributions.Categorical(logits=logits.double() / temperature).log_prob(
            tokens
        )

    def wrong_no_temperature(logits, tokens, temperature):
        """at temperature 1"""
        return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]

    def wrong_times_temperature(logits, tokens, temperature):
        """You multiply the logits by the temperature"""
        return -F.cross_entropy((logits * temperature).transpose(1, 2), tokens, reduction="none")

    def wrong_after_the_softmax(logits, tokens, temperature):
        """after the softmax"""
        return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0] / temperature

    def wrong_shifted(logits, tokens, temperature):
        """These logits already stand at their own token"""
        return (
            (logits / temperature)[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
        )

    def wrong_likeliest(logits, tokens, temperature):
        """log-prob of the likeliest token"""
        return (logits / temperature).log_softmax(-1).amax(-1)

    def wrong_probabilities(logits, tokens, temperature):
        """You return probabilities"""
        return (logits / temperature).softmax(-1).gather(-1, tokens[..., None])[..., 0]

    def wrong_sign(logits, tokens, temperature):
        """drop the minus"""
        return F.cross_entropy((logits / temperature).transpose(1, 2), tokens, reduction="none")

    def wrong_axis(logits, tokens, temperature):
        """The vocabulary is the last one"""
        return (logits / temperature).log_softmax(1).gather(-1, tokens[..., None])[..., 0]

    def wrong_unstable(logits, tokens, temperature):
        """softmax rounds to 0"""
        return torch.log((logits / temperature).softmax(-1).gather(-1, tokens[..., None])[..., 0])

    def wrong_bare_logits(logits, tokens, temperature):
        """the scaled logits themselves"""
        return logits.gather(-1, tokens[..., None])[..., 0] / temperature


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

    def wrong_times_mask(policy, reference, mask, scores, beta):
        """Select with masked_fill, do not multiply"""
        rewards = -beta * (policy - reference) * mask
        rewards[range(len(mask)), mask.sum(1) - 1] += scores
        return rewards

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

    def wrong_last_column_and_unmasked(policy, reference, mask, scores, beta):
        """Your score lands on the last column, and padding pays for its KL"""
        rewards = -beta * (policy - reference)
        rewards[:, -1] += scores
        return rewards

    def wrong_all_rows(policy, reference, mask, scores, beta):
        """Your score adds to all rows. Index rows too, with torch.arange(len(mask))"""
        rewards = (-beta * (policy - reference)).masked_fill(~mask, 0.0)
        rewards[:, mask.sum(1) - 1] += scores
        return rewards

    def wrong_all_rows_and_unmasked(policy, reference, mask, scores, beta):
        """Your score adds to all rows, and padding pays for its KL"""
        rewards = -beta * (policy - reference)
        rewards[:, mask.sum(1) - 1] += scores
        return rewards

    def wrong_everywhere(policy, reference, mask, scores, beta):
        """You pay the score at every token"""
        return (scores[:, None] - beta * (policy - reference)) * mask

    def wrong_sign(policy, reference, mask, scores, beta):
        """You reward distance from the reference"""
        return token_rewards.right_indexed(reference, policy, mask, scores, beta)

    def wrong_padding_pays(policy, reference, mask, scores, beta):
        """Padding pays for its KL too"""
        rewards = -beta * (policy - reference)
        rewards[range(len(mask)), mask.sum(1) - 1] += scores
        return rewards

    def wrong_no_beta(policy, reference, mask, scores, beta):
        """You forget beta"""
        return token_rewards.right_indexed(policy, reference, mask, scores, 1.0)

    def wrong_instead(policy, reference, mask, scores, beta):
        """instead of putting it in its place"""
        rewards = -beta * (policy - reference) * mask
        rewards[range(len(mask)), mask.sum(1) - 1] = scores
        return rewards

    def wrong_size_only(policy, reference, mask, scores, beta):
        """It keeps its sign"""
        rewards = -beta * (policy - reference).abs() * mask
        rewards[range(len(mask)), mask.sum(1) - 1] += scores
        return rewards

    def wrong_beta_twice(policy, reference, mask, scores, beta):
        """You multiply the score by beta too"""
        return token_rewards.right_indexed(policy, reference, mask, beta * scores, beta)


class kl_estimates:
    def right_plain(logratio):
        return logratio, 0.5 * logratio**2, torch.exp(-logratio) - 1 + logratio

    def right_list(logratio):
        ratio = (-logratio.double()).exp()
        return [-ratio.log(), ratio.log().square() / 2, ratio - 1 - ratio.log()]

    def wrong_inverted(logratio):
        """Your k3 is turned round"""
        return logratio, logratio**2 / 2, logratio.exp() - 1 - logratio

    def wrong_all_inverted(logratio):
        """Your x is turned round"""
        return kl_estimates.right_plain(-logratio)

    def wrong_half(logratio):
        """Your k2 lacks the half"""
        return logratio, logratio**2, torch.exp(-logratio) - 1 + logratio

    def wrong_positive(logratio):
        """Your k1 is never negative"""
        return logratio.abs(), logratio**2 / 2, torch.exp(-logratio) - 1 + logratio

    def wrong_without_x(logratio):
        """Your k3 lacks the + x"""
        return logratio, logratio**2 / 2, torch.exp(-logratio) - 1

    def wrong_sign_before_x(logratio):
        """wrong sign before x"""
        return logratio, logratio**2 / 2, torch.exp(-logratio) - 1 - logratio

    def wrong_means(logratio):
        """not their means"""
        return tuple(k.mean() for k in kl_estimates.right_plain(logratio))


def backwards(rewards, values, lam, gamma=1.0):
    advantages, later = torch.zeros_like(values), torch.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        following = values[:, t + 1] if t + 1 < values.shape[1] else 0.0
        later = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * later
        advantages[:, t] = later
    return advantages


class masked_gae:
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

    def wrong_value_of_padding(rewards, values, mask, lam):
        """The value behind an answer's last token"""
        advantages = torch.zeros_like(values)
        for row, n in enumerate(mask.sum(1)):
            r = rewards[row : row + 1, :n].clone()
            r[0, -1] += values[row, n] if n < mask.shape[1] else 0.0
            advantages[row, :n] = backwards(r, values[row : row + 1, :n], lam)[0]
        return advantages

    def wrong_padding_flows_back(rewards, values, mask, lam):
        """flow back into the answer"""
        return backwards(rewards, values, lam) * mask

    def wrong_padding_kept(rewards, values, mask, lam):
        """Your padding has advantages of its own"""
        return backwards(rewards, values, lam)

    def wrong_from_the_front(rewards, values, mask, lam):
        """Begin at the last token"""
        r, v = rewards * mask, values * mask
        advantages, before = torch.zeros_like(v), 0.0
        for t in range(v.shape[1]):
            before = r[:, t] + (v[:, t + 1] if t + 1 < v.shape[1] else 0.0) - v[:, t] + lam * before
            advantages[:, t] = before
        return advantages * mask

    def wrong_returns(rewards, values, mask, lam):
        """which is the return"""
        return (backwards(rewards * mask, values * mask, lam) + values) * mask

    def wrong_no_value(rewards, values, mask, lam):
        """subtract the value of the token itself"""
        r, v = rewards * mask, values * mask
        advantages, later = torch.zeros_like(v), 0.0
        for t in reversed(range(v.shape[1])):
            later = r[:, t] + (v[:, t + 1] if t + 1 < v.shape[1] else 0.0) + lam * later
            advantages[:, t] = later
        return advantages * mask

    def wrong_no_later(rewards, values, mask, lam):
        """the news of each token alone"""
        return backwards(rewards * mask, values * mask, 0.0) * mask

    def wrong_no_lam(rewards, values, mask, lam):
        """all later news count in full"""
        return backwards(rewards * mask, values * mask, 1.0) * mask

    def wrong_lam_on_values(rewards, values, mask, lam):
        """You multiply the next value by lam"""
        return backwards(rewards * mask, values * mask, 1.0, gamma=lam) * mask


class clipped_loss:
    def right_max_of_losses(logprobs, old, advantages, mask, clip=0.2):
        ratio, a = (logprobs[mask] - old[mask]).exp(), advantages[mask]
        return torch.max(-a * ratio, -a * ratio.clamp(1 - clip, 1 + clip)).mean()

    def right_by_sign(logprobs, old, advantages, mask, clip=0.2):
        ratio = torch.where(mask, logprobs - old, 0.0).exp()
        held = torch.where(advantages > 0, ratio.clamp(max=1 + clip), ratio.clamp(min=1 - clip))
        return -(held * advantages * mask).sum() / mask.sum()

    def wrong_sign(logprobs, old, advantages, mask, clip=0.2):
        """The sign is turned round"""
        return -clipped_loss.right_max_of_losses(logprobs, old, advantages, mask, clip)

    def wrong_max(logprobs, old, advantages, mask, clip=0.2):
        """You keep the better of the two"""
        ratio, a = (logprobs[mask] - old[mask]).exp(), advantages[mask]
        return -torch.max(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a).mean()

    def wrong_never_clipped(logprobs, old, advantages, mask, clip=0.2):
        """You never clip"""
        return -((logprobs - old)[mask].exp() * advantages[mask]).mean()

    def wrong_constant(logprobs, old, advantages, mask, clip=0.2):
        """whatever `clip` says"""
        return clipped_loss.right_max_of_losses(logprobs, old, advantages, mask, 0.2)

    def wrong_only_above(logprobs, old, advantages, mask, clip=0.2):
        """You clip only above"""
        ratio, a = (logprobs[mask] - old[mask]).exp(), advantages[mask]
        return -torch.min(ratio * a, ratio.clamp(max=1 + clip) * a).mean()

    def wrong_only_clipped(logprobs, old, advantages, mask, clip=0.2):
        """is not pulled back"""
        return -((logprobs - old)[mask].exp().clamp(1 - clip, 1 + clip) * advantages[mask]).mean()

    def wrong_mean_over_padding(logprobs, old, advantages, mask, clip=0.2):
        """You divide by the number of all tokens"""
        return (
            clipped_loss.right_by_sign(logprobs, old, advantages, mask, clip)
            * mask.sum()
            / mask.numel()
        )

    def wrong_unmasked(logprobs, old, advantages, mask, clip=0.2):
        """Padding takes part in your loss"""
        return clipped_loss.right_max_of_losses(
            logprobs, old, advantages, torch.ones_like(mask), clip
        )

    def wrong_mean_of_means(logprobs, old, advantages, mask, clip=0.2):
        """mean of each answer first"""
        rows = zip(logprobs, old, advantages, mask)
        return torch.stack([clipped_loss.right_max_of_losses(*row, clip) for row in rows]).mean()

    def wrong_logs(logprobs, old, advantages, mask, clip=0.2):
        """You clip the log of the ratio"""
        off, a = (logprobs - old)[mask], advantages[mask]
        return torch.max(-a * off.exp(), -a * off.clamp(-clip, clip).exp()).mean()

    def wrong_ratio(logprobs, old, advantages, mask, clip=0.2):
        """Your ratio is old / new"""
        return clipped_loss.right_max_of_losses(old, logprobs, advantages, mask, clip)

    def wrong_multiplied(logprobs, old, advantages, mask, clip=0.2):
        """infinity times 0 is NaN"""
        ratio = (logprobs - old).exp()
        losses = torch.max(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip))
        return (losses * mask).sum() / mask.sum()


class whitened:
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

    def wrong_mask_unused(x, mask):
        """Your mask changes nothing"""
        return (x - x.mean()) / x.std(unbiased=False)

    def wrong_zeros_counted(x, mask):
        """still counts in your mean"""
        return whitened.wrong_over_padding(x * mask, torch.ones_like(mask)) * mask

    def wrong_variance(x, mask):
        """Divide by its root"""
        return (x - x[mask].mean()) / (x[mask].var(unbiased=False) + 1e-8) * mask

    def wrong_no_mean(x, mask):
        """forget to subtract the mean"""
        return x / (x[mask].var(unbiased=False) + 1e-8) ** 0.5 * mask

    def wrong_no_deviation(x, mask):
        """Divide by the deviation too"""
        return (x - x[mask].mean()) * mask

    def wrong_padding_kept(x, mask):
        """Your padding is not 0"""
        return (x - x[mask].mean()) / (x[mask].var(unbiased=False) + 1e-8) ** 0.5

    def wrong_by_row(x, mask):
        """You whiten each answer by itself"""
        return torch.stack([whitened.right_std(row, real) for row, real in zip(x, mask)])

    def wrong_unbiased(x, mask):
        """You divide by n - 1"""
        centred = (x - x[mask].mean()) * mask
        return centred / ((centred**2).sum() / (mask.sum() - 1) + 1e-8) ** 0.5

    def wrong_no_epsilon(x, mask):
        """A single token, whose deviation is 0"""
        return torch.where(mask, (x - x[mask].mean()) / x[mask].std(unbiased=False), 0.0)

"""Checks of lesson 4: the arithmetic of PPO."""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import (
    Exercise,
    batch,
    exercise,
    means,
    picked,
    real,
    some,
    then,
    tokens,
)


@exercise
def sampled_logprobs():
    def of(logprobs):
        """Return what `logprobs(logits, temperature)` has at each token."""
        return lambda x, tokens, temperature: picked(logprobs(x, temperature), tokens)

    right = of(lambda x, t: (x.double() / t).log_softmax(-1))
    mistakes = {
        "temperature_1": of(lambda x, t: x.log_softmax(-1)),
        "times": of(lambda x, t: (x * t).log_softmax(-1)),
        "after_softmax": of(lambda x, t: x.log_softmax(-1) / t),
        "likeliest": lambda x, tokens, t: (x / t).log_softmax(-1).amax(-1),
        "probabilities": then(right, torch.exp),
        "shifted": lambda x, tokens, t: right(x[:, :-1], tokens[:, 1:], t),
        "sign": then(right, torch.neg),
        "logits": of(lambda x, t: x / t),
        "log_of_0": of(lambda x, t: (x / t).softmax(-1).log()),
    }
    cases = [
        (some(2, 3, 5, seed=1), tokens(2, 3, below=5), 0.7),
        (some(2, 3, 5, seed=2, scale=3.0), tokens(2, 3, below=5, seed=1), 1.0),
        (some(1, 1, 4, seed=3), tokens(1, 1, below=4), 2.0),
        (some(1, 2, 3, seed=4, scale=1e4), tokens(1, 2, below=3), 0.5),
    ]
    return Exercise(right, cases, mistakes)


def last(mask):
    """Return a mask of each row's last real token."""
    return mask & ~F.pad(mask, (0, 1))[:, 1:]


@exercise
def token_rewards():
    def priced(charge, land=lambda m, s: s[:, None] * last(m)):
        """Return rewards with `charge(kl, mask)` of each token, and scores where `land` puts
        them."""
        return lambda p, r, m, s, b: charge(b * (p - r), m) + land(m, s)

    def price(kl, m):
        return torch.where(m, -kl, 0.0)

    def unmasked(kl, m):
        return -kl

    right = priced(price)
    misplaced = {
        "one_late": lambda m, s: s[:, None] * last(m).roll(1, 1),
        "last_column": lambda m, s: F.pad(s[:, None], (m.shape[1] - 1, 0)),
        "all_rows": lambda m, s: torch.zeros(m.shape).index_add(
            1, m.sum(1) - 1, s.expand(len(s), -1)
        ),
        "first_token": lambda m, s: F.pad(s[:, None], (0, m.shape[1] - 1)),
    }
    mistakes = {id: priced(price, land) for id, land in misplaced.items()}
    mistakes |= {f"{id}_unmasked": priced(unmasked, land) for id, land in misplaced.items()}
    mistakes |= {
        "everywhere": priced(price, lambda m, s: s[:, None] * m),
        "sign": priced(lambda kl, m: -price(kl, m)),
        "unmasked": priced(unmasked),
        "times_mask": priced(lambda kl, m: -kl * m),
        "no_beta": lambda p, r, m, s, b: right(p, r, m, s, 1.0),
        "instead": lambda p, r, m, s, b: right(p, r, m, s, b).where(~last(m), s[:, None]),
        "kl_at_end": priced(lambda kl, m: price(kl, m).sum(1, keepdim=True) * last(m)),
    }

    def given(*lengths, time, seed, beta, padding=0.0):
        *logprobs, mask = batch(*lengths, time=time, seed=seed)
        logprobs = [(x - 1).masked_fill(~mask, padding) if padding else x - 1 for x in logprobs]
        return *logprobs, mask, some(len(lengths), seed=seed + 1), beta

    cases = [
        given(4, 2, 1, time=6, seed=1, beta=0.1),
        given(6, 2, 5, time=6, seed=5, beta=0.1),
        given(1, time=1, seed=7, beta=0.3),
        given(3, 2, time=4, seed=8, beta=0.2, padding=-math.inf),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def kl_estimates():
    def but(k1=lambda x: x, k2=lambda x: x * x / 2, k3=lambda x: torch.expm1(-x) + x):
        return lambda x: (k1(x), k2(x), k3(x))

    right = but()
    mistakes = {
        "k3_inverted": but(k3=lambda x: torch.expm1(x) - x),
        "x_inverted": lambda x: right(-x),
        "k2_half": but(k2=lambda x: x * x),
        "k3_without_x": but(k3=lambda x: torch.expm1(-x)),
        "k3_sign": but(k3=lambda x: torch.expm1(-x) - x),
        "means": lambda x: tuple(k.mean() for k in right(x)),
    }
    cases = [
        (torch.tensor([0.5, -1.0, 2.0, 0.0]),),
        (torch.tensor([1e-4, -5.0, 8.0]),),
        (some(3, 4, seed=1),),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def gae():
    def loop(
        after=0.0,
        news=lambda r, now, next, lam: r + next - now,
        carry=lambda d, lam, a: d + lam * a,
        order=reversed,
    ):
        """Return advantages of rows that end with their mask. For mistakes: `after` weighs the
        value in the padding behind, `news` says what is better than expected, `carry` adds what
        comes later, and `order` is that of the loop."""

        def advantages(r, v, m, lam):
            time = m.shape[1]
            follows = F.pad(v, (0, 1))[:, 1 : time + 1]
            follows = torch.where(F.pad(m, (0, 1))[:, 1:], follows, after * follows)
            deltas = news(r.double(), v[:, :time], follows, lam)
            found, later = torch.zeros(m.shape, dtype=torch.double), 0.0
            for t in order(range(time)):
                found[:, t] = later = carry(deltas[:, t], lam, later) * m[:, t]
            return found

        return advantages

    right = loop()

    def before(r, v, m, lam):
        """With the values one place later: V_t - V_(t-1), where V_(t+1) - V_t belongs."""
        return loop(after=1.0)(r, F.pad(v, (1, 0)), m, lam)

    def everywhere(r, v, m, lam):
        return right(r, v, torch.ones_like(m), lam)

    mistakes = {
        "padding_follows": loop(after=1.0),
        "flows_back": lambda r, v, m, lam: everywhere(r, v, m, lam) * m,
        "everywhere": everywhere,
        "forward": loop(order=list),
        "return": lambda r, v, m, lam: right(r, v, m, lam) + v * m,
        "no_later": loop(carry=lambda delta, lam, later: delta),
        "no_lam": loop(carry=lambda delta, lam, later: delta + later),
        "lam_on_values": loop(news=lambda r, now, next, lam: r + lam * next - now),
        "value_before": (
            before,
            lambda r, v, m, lam: before(r * m, v * m, torch.ones_like(m), lam) * m,
        ),
        "lam_on_all": loop(carry=lambda delta, lam, later: lam * (delta + later)),
        "sign": then(right, torch.neg),
    }

    cases = [
        (*batch(4, 2, 1, time=6, seed=1), 0.9),
        (*batch(5, 3, time=5, seed=2), 0.5),
        (*batch(3, 2, time=4, seed=4), 0.0),
        (*batch(1, time=1, seed=5), 0.95),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def clipped_policy_loss():
    def losses(
        choose=torch.minimum,
        clamp=lambda ratio, c: ratio.clamp(1 - c, 1 + c),
        ratio=lambda new, old: (new - old).exp(),
    ):
        """Return the losses of tokens, (batch, time), with another choice, another clipping,
        another ratio."""

        def found(new, old, a, m, c):
            free = ratio(new, old)
            return -choose(free * a, clamp(free, c) * a)

        return found

    def of_real(found):
        """Return the mean over real tokens, padding being selected away before anything else."""
        return lambda new, old, a, m, c: found(new[m], old[m], a[m], m, c).mean()

    right = of_real(losses())

    def with_mask(new, old, a, m, c):
        return losses()(new, old, a, m, c), m

    def masked_first(new, old, a, m, c):
        return with_mask(new.where(m, 0.0), old.where(m, 0.0), a, m, c)

    mistakes = means(masked_first, "sum", "sign", "all_places", "row_means")
    mistakes |= means(with_mask, "padding", "times_mask")
    mistakes |= {
        "better": of_real(losses(torch.maximum)),
        "unclipped": of_real(losses(lambda free, held: free)),
        "clip_02": of_real(losses(clamp=lambda ratio, c: ratio.clamp(0.8, 1.2))),
        "only_above": of_real(losses(clamp=lambda ratio, c: ratio.clamp(max=1 + c))),
        "only_clipped": of_real(losses(lambda free, held: held)),
        "inverted": of_real(losses(ratio=lambda new, old: (old - new).exp())),
        "no_exp": of_real(losses(ratio=lambda new, old: new - old)),
        "logs_divided": of_real(losses(ratio=lambda new, old: new / old)),
        "reinforce": of_real(lambda new, old, a, *_: -new * a),
    }

    def given(*lengths, time, seed, clip=0.2, padding=1.0):
        new, off, advantages, mask = batch(*lengths, time=time, seed=seed, n=3)
        old = torch.where(mask, new - 0.4 * off, new - padding) - 2
        return (new - 2).requires_grad_(), old, advantages, mask, clip

    cases = [
        given(5, 2, time=6, seed=1),
        given(4, 1, 3, time=4, seed=2, clip=0.1),
        given(3, 1, time=5, seed=4, padding=1e4),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def whiten():
    def spread(x, m):
        return x[m].var(unbiased=False)

    def scaled(mean=lambda x, m: x[m].mean(), variance=spread, power=-0.5, keep=False):
        """Return how to whiten with another mean, variance, power of it, or with padding kept."""

        def found(x, m):
            values = (x - mean(x, m)) * (variance(x, m) + 1e-8) ** power
            return values if keep else values.masked_fill(~m, 0.0)

        return found

    def mean(x, m):
        return x.mean()

    right = scaled()
    mistakes = {
        "padding": scaled(mean, lambda x, m: x.var(unbiased=False)),
        "unused": (
            scaled(mean, lambda x, m: x.var(unbiased=False), keep=True),
            scaled(mean, lambda x, m: x.var(), keep=True),
        ),
        "variance": scaled(power=-1.0),
        "no_mean": scaled(lambda x, m: 0.0),
        "no_deviation": scaled(power=0.0),
        "padding_kept": scaled(keep=True),
        "by_row": lambda x, m: torch.cat([right(*row) for row in zip(x.split(1), m.split(1))]),
        "unbiased": scaled(variance=lambda x, m: spread(x, m) * m.sum() / (m.sum() - 1)),
        "epsilon": scaled(variance=lambda x, m: spread(x, m) - 1e-8),
        "times_mask": lambda x, m: scaled(keep=True)(x, m) * m,
    }

    def given(*lengths, time, seed, shift):
        x, mask = batch(*lengths, time=time, seed=seed, n=1)
        return 3 * x + shift, mask

    cases = [
        given(4, 2, time=6, seed=1, shift=2.0),
        given(3, 1, 5, time=5, seed=2, shift=-1.0),
        (torch.tensor([[3.0, 9.0]]), real(1, time=2)),
        (torch.tensor([[1.0, 4.0, math.nan], [2.0, math.inf, -math.inf]]), real(2, 1, time=3)),
    ]
    return Exercise(right, cases, mistakes)

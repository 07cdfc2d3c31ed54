"""Checks of lesson 4: the arithmetic of PPO."""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import Exercise, exercise, means, picked, real, some, then


@exercise
def sampled_logprobs():
    def right(logits, tokens, temperature):
        return picked((logits.double() / temperature).log_softmax(-1), tokens)

    mistakes = {
        "temperature_1": lambda x, t, temp: picked(x.log_softmax(-1), t),
        "times": lambda x, t, temp: picked((x * temp).log_softmax(-1), t),
        "after_softmax": lambda x, t, temp: picked(x.log_softmax(-1) / temp, t),
        "likeliest": lambda x, t, temp: (x / temp).log_softmax(-1).amax(-1),
        "probabilities": then(right, torch.exp),
        "shifted": lambda x, t, temp: picked((x / temp).log_softmax(-1)[:, :-1], t[:, 1:]),
        "sign": then(right, torch.neg),
        "logits": lambda x, t, temp: picked(x / temp, t),
        "axis": lambda x, t, temp: picked((x / temp).log_softmax(1), t),
        "log_of_0": lambda x, t, temp: picked((x / temp).softmax(-1).log(), t),
        "sum": then(right, lambda found: found.sum(-1)),
    }
    tokens = torch.tensor([[0, 4, 2], [3, 3, 1]])
    far = torch.tensor([[[1e4, 0.0, -1e4], [0.0, 1e4, 0.0]]])
    cases = [
        (some(2, 3, 5, seed=1), tokens, 0.7),
        (some(2, 3, 5, seed=2, scale=3.0), tokens, 1.0),
        (some(1, 1, 4, seed=3), torch.tensor([[2]]), 2.0),
        (far, torch.tensor([[0, 2]]), 0.5),
    ]
    return Exercise(right, cases, mistakes)


def last(mask):
    """Return a mask of each row's last real token."""
    return mask & ~F.pad(mask, (0, 1))[:, 1:]


def first(mask):
    return F.pad(mask[:, :1], (0, mask.shape[1] - 1))


@exercise
def token_rewards():
    def price(p, r, m, b):
        return torch.where(m, -b * (p - r), 0.0)

    def unmasked(p, r, m, b):
        return -b * (p - r)

    def landing(land, price=price):
        """Return rewards whose scores stand where `land(mask, scores)` puts them, (batch, time)."""
        return lambda p, r, m, s, b: price(p, r, m, b) + land(m, s)

    def at_end(m, s):
        return s[:, None] * last(m)

    def priced(price):
        return landing(at_end, price)

    def kl_at_end(p, r, m, b):
        return price(p, r, m, b).sum(1, keepdim=True) * last(m)

    right = priced(price)
    misplaced = {
        "one_late": lambda m, s: s[:, None] * last(m).roll(1, 1),
        "last_column": lambda m, s: F.pad(s[:, None], (m.shape[1] - 1, 0)),
        "all_rows": lambda m, s: torch.zeros(m.shape).index_add(
            1, m.sum(1) - 1, s.expand(len(s), -1)
        ),
        "first_token": lambda m, s: s[:, None] * first(m),
    }
    mistakes = {id: landing(land) for id, land in misplaced.items()}
    mistakes |= {f"{id}_unmasked": landing(land, unmasked) for id, land in misplaced.items()}
    mistakes |= {
        "everywhere": landing(lambda m, s: s[:, None] * m),
        "sign": priced(lambda p, r, m, b: -price(p, r, m, b)),
        "unmasked": priced(unmasked),
        "times_mask": priced(lambda p, r, m, b: -b * (p - r) * m),
        "no_beta": priced(lambda p, r, m, b: price(p, r, m, 1.0)),
        "instead": lambda p, r, m, s, b: torch.where(last(m), s[:, None], price(p, r, m, b)),
        "beta_twice": lambda p, r, m, s, b: b * at_end(m, s) + price(p, r, m, b),
        "size": priced(lambda p, r, m, b: -price(p, r, m, b).abs()),
        "kl_at_end": priced(kl_at_end),
        "no_score": lambda p, r, m, s, b: price(p, r, m, b),
    }

    def given(*lengths, time, seed, beta, padding=None):
        mask = real(*lengths, time=time)
        logprobs = some(2, *mask.shape, seed=seed) - 1
        if padding is not None:
            logprobs = logprobs.masked_fill(~mask, padding)
        return *logprobs, mask, some(len(lengths), seed=seed + 1), beta

    cases = [
        given(4, 2, 1, time=6, seed=1, beta=0.1),
        given(3, time=5, seed=3, beta=0.5),
        given(6, 2, 5, time=6, seed=5, beta=0.1),
        given(1, time=1, seed=7, beta=0.3),
        given(3, 2, time=4, seed=8, beta=0.2, padding=-math.inf),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def kl_estimates():
    def right(logratio):
        x = logratio.double()
        return x, x * x / 2, (-x).exp() - 1 + x

    def but(k1=lambda x: x, k2=lambda x: x * x / 2, k3=lambda x: torch.expm1(-x) + x):
        return lambda x: (k1(x), k2(x), k3(x))

    mistakes = {
        "k3_inverted": but(k3=lambda x: torch.expm1(x) - x),
        "x_inverted": lambda x: right(-x),
        "k2_half": but(k2=lambda x: x * x),
        "k1_positive": but(k1=torch.abs),
        "k3_without_x": but(k3=lambda x: torch.expm1(-x)),
        "k3_sign": but(k3=lambda x: torch.expm1(-x) - x),
        "k3_without_1": but(k3=lambda x: (-x).exp() + x),
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
        order=lambda length: reversed(range(length)),
    ):
        """Return advantages of rows that end with their mask. For mistakes: `after` weighs the
        value in the padding behind, `news` says what is better than expected, `carry` adds what
        comes later, and `order` is that of the loop."""

        def advantages(rewards, values, mask, lam):
            found = torch.zeros(mask.shape, dtype=torch.double)
            padded = F.pad(values, (0, 1)).double()
            for row, length in enumerate(mask.sum(1).tolist()):
                later = 0.0
                for t in order(length):
                    follows = padded[row, t + 1] * (1.0 if t + 1 < length else after)
                    delta = news(rewards[row, t].double(), padded[row, t], follows, lam)
                    found[row, t] = later = carry(delta, lam, later)
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
        "forward": loop(order=range),
        "return": lambda r, v, m, lam: right(r, v, m, lam) + v * m,
        "no_value": loop(news=lambda r, now, next, lam: r + next),
        "no_later": loop(carry=lambda delta, lam, later: delta),
        "no_lam": loop(carry=lambda delta, lam, later: delta + later),
        "lam_on_values": loop(news=lambda r, now, next, lam: r + lam * next - now),
        "value_before": (
            before,
            lambda r, v, m, lam: before(r * m, v * m, torch.ones_like(m), lam) * m,
        ),
        "lam_on_all": (
            loop(carry=lambda delta, lam, later: lam * (delta + later)),
            loop(news=lambda r, now, next, lam: r + lam * (next - now)),
        ),
        "sign": then(right, torch.neg),
        "no_next": loop(news=lambda r, now, next, lam: r - now),
    }

    def given(*lengths, time, seed, lam):
        return *some(2, len(lengths), time, seed=seed), real(*lengths, time=time), lam

    cases = [
        given(4, 2, 1, time=6, seed=1, lam=0.9),
        given(5, 3, time=5, seed=2, lam=0.5),
        given(3, time=3, seed=3, lam=1.0),
        given(3, 2, time=4, seed=4, lam=0.0),
        given(1, time=1, seed=5, lam=0.95),
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

    def reinforce(new, old, a, m, c):
        return -new * a

    mistakes = means(masked_first, "sum", "sign", "all_places", "row_means")
    mistakes |= means(with_mask, "padding", "times_mask")
    mistakes |= {
        "better": of_real(losses(torch.maximum)),
        "unclipped": of_real(losses(lambda free, held: free)),
        "clip_02": of_real(losses(clamp=lambda ratio, c: ratio.clamp(0.8, 1.2))),
        "only_above": of_real(losses(clamp=lambda ratio, c: ratio.clamp(max=1 + c))),
        "only_clipped": of_real(losses(lambda free, held: held)),
        "clipped_logs": of_real(losses(clamp=lambda ratio, c: ratio.log().clamp(-c, c).exp())),
        "inverted": of_real(losses(ratio=lambda new, old: (old - new).exp())),
        "no_exp": (
            of_real(losses(ratio=lambda new, old: new - old)),
            of_real(losses(lambda free, held: free, ratio=lambda new, old: new - old)),
        ),
        "logs_divided": of_real(losses(ratio=lambda new, old: new / old)),
        "reinforce": (of_real(reinforce), of_real(losses(ratio=lambda new, old: new))),
        "bounds": of_real(losses(clamp=lambda ratio, c: ratio.clamp(-c, c))),
    }

    def given(*lengths, time, seed, clip=0.2, padding=1.0):
        mask = real(*lengths, time=time)
        new, off, advantages = some(3, *mask.shape, seed=seed)
        old = new - 2 - 0.4 * off
        old = torch.where(mask, old, old - padding)
        return (new - 2).requires_grad_(), old, advantages, mask, clip

    cases = [
        given(5, 2, time=6, seed=1),
        given(4, 1, 3, time=4, seed=2, clip=0.1),
        given(3, time=3, seed=3),
        given(3, 1, time=5, seed=4, padding=1e4),
    ]
    return Exercise(right, cases, mistakes)


@exercise
def whiten():
    def scaled(x, m, mean, variance, power=-0.5):
        return ((x - mean) * (variance + 1e-8) ** power).masked_fill(~m, 0.0)

    def spread(x, m):
        return x[m].var(unbiased=False)

    def right(x, m):
        x = x.double()
        return scaled(x, m, x[m].mean(), spread(x, m))

    def by_row(x, m):
        return torch.cat([right(x[n : n + 1], m[n : n + 1]) for n in range(len(x))])

    mistakes = {
        "padding": lambda x, m: scaled(x, m, x.mean(), x.var(unbiased=False)),
        "unused": tuple(
            lambda x, m, free=free: (x - x.mean()) * (x.var(unbiased=free) + 1e-8) ** -0.5
            for free in (False, True)
        ),
        "zeros_counted": (
            lambda x, m: scaled(x, m, (x * m).mean(), (x * m).var(unbiased=False)),
            lambda x, m: scaled(x, m, x[m].mean(), (x * m - x[m].mean()).square().sum() / m.sum()),
        ),
        "variance": lambda x, m: scaled(x, m, x[m].mean(), spread(x, m), -1.0),
        "no_mean": lambda x, m: scaled(x, m, 0.0, spread(x, m)),
        "no_deviation": lambda x, m: (x - x[m].mean()).masked_fill(~m, 0.0),
        "padding_kept": lambda x, m: (x - x[m].mean()) * (spread(x, m) + 1e-8) ** -0.5,
        "by_row": by_row,
        "unbiased": lambda x, m: scaled(x, m, x[m].mean(), spread(x, m) * m.sum() / (m.sum() - 1)),
        "epsilon": lambda x, m: ((x - x[m].mean()) / spread(x, m).sqrt()).masked_fill(~m, 0.0),
        "times_mask": lambda x, m: (x - x[m].mean()) * m * (spread(x, m) + 1e-8) ** -0.5,
    }

    def given(*lengths, time, seed, shift=0.0):
        return some(len(lengths), time, seed=seed, scale=3.0) + shift, real(*lengths, time=time)

    cases = [
        given(4, 2, time=6, seed=1, shift=2.0),
        given(3, 1, 5, time=5, seed=2, shift=-1.0),
        (torch.tensor([[5.0, 1e4], [7.0, -1e4]]), real(1, 1, time=2)),
        (torch.tensor([[3.0, 9.0]]), real(1, time=2)),
        (torch.tensor([[1.0, 4.0, math.nan], [2.0, math.inf, -math.inf]]), real(2, 1, time=3)),
    ]
    return Exercise(right, cases, mistakes)

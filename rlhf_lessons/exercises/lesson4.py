"""The checks of lesson 4: the arithmetic of PPO. Right values come from plain loops in double precision."""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import compare, exercise, picked, real, some


def places(mask: torch.Tensor) -> list[tuple[int, int]]:
    """The (row, column) of each real token."""
    return [tuple(place) for place in mask.nonzero().tolist()]


def last(mask: torch.Tensor) -> torch.Tensor:
    return mask & ~F.pad(mask, (0, 1))[:, 1:]


@exercise
def sampled_logprobs(yours):
    def right(logits, tokens, temperature):
        found = torch.zeros(tokens.shape, dtype=torch.double)
        for row, column in places(torch.ones_like(tokens).bool()):
            scaled = [x / temperature for x in logits[row, column].tolist()]
            top = max(scaled)
            total = top + math.log(sum(math.exp(x - top) for x in scaled))
            found[row, column] = scaled[tokens[row, column]] - total
        return found

    tokens = torch.tensor([[0, 4, 2], [3, 3, 1]])
    far = torch.tensor([[[1e4, 0.0, -1e4], [0.0, 1e4, 0.0]]])
    compare(
        yours,
        right,
        [
            (some(2, 3, 5, seed=1), tokens, 0.7),
            (some(2, 3, 5, seed=2, scale=3.0), tokens, 1.0),
            (some(1, 1, 4, seed=3), torch.tensor([[2]]), 2.0),
            (far, torch.tensor([[0, 2]]), 0.5),
        ],
        {
            "You take the log-probs at temperature 1. Divide the logits by the temperature first: the tokens were drawn "
            "from that distribution.": lambda x, t, temp: picked(x.log_softmax(-1), t),
            "You multiply the logits by the temperature. Divide: a low temperature makes differences larger.": lambda x, t, temp: (
                picked((x * temp).log_softmax(-1), t)
            ),
            "You divide the log-probs by the temperature, after the softmax: such probabilities no longer sum to 1. "
            "Divide the logits, before it.": lambda x, t, temp: picked(x.log_softmax(-1) / temp, t),
            "You return the log-prob of the likeliest token. Take that of the token which was sampled, whatever its "
            "chance.": lambda x, t, temp: (x / temp).log_softmax(-1).max(-1).values,
            "You return probabilities. Take their logarithm, with log_softmax.": lambda x, t, temp: (
                picked((x / temp).softmax(-1), t)
            ),
            "You shift as in lesson 1. These logits already stand at their own token.": (
                lambda x, t, temp: picked((x / temp).log_softmax(-1)[:, :-1], t[:, 1:]),
                lambda x, t, temp: picked(x.log_softmax(-1)[:, :-1], t[:, 1:]),
            ),
            "You return the surprise: drop the minus. A log-probability is 0 or below.": lambda x, t, temp: (
                -picked((x / temp).log_softmax(-1), t)
            ),
            "You return the scaled logits themselves. Subtract the log of the summed exponentials, as log_softmax does.": lambda x, t, temp: (
                picked(x / temp, t)
            ),
            "Your softmax runs over the wrong axis. The vocabulary is the last one, -1.": lambda x, t, temp: (
                picked((x / temp).log_softmax(1), t)
            ),
            "With logits of 10,000 you return -inf or NaN: softmax rounds to 0 before the log. Use log_softmax, which "
            "stays exact.": lambda x, t, temp: picked((x / temp).softmax(-1).log(), t),
        },
    )


def price(p, r, m, beta):
    return torch.where(m, -beta * (p - r), 0.0)


LANDINGS = {  # where scores land by mistake: how to put it right, and the scores there, (batch, time)
    "Your score lands one token after the end, where padding begins": (
        "The last real token is at mask.sum(1) - 1.",
        lambda m, s: s[:, None] * last(m).roll(1, 1),
    ),
    "Your score lands on the last column": (
        "Only the longest answer ends there: find the last real token of each row with the mask.",
        lambda m, s: F.pad(s[:, None], (m.shape[1] - 1, 0)),
    ),
    "Your score adds to all rows": (
        "Index rows too, with torch.arange(len(mask)).",
        lambda m, s: torch.zeros(m.shape).index_add(1, m.sum(1) - 1, s.expand(len(s), -1)),
    ),
}
MISPLACED = {
    f"{wrong}. {better}": lambda p, r, m, s, b, put=put: price(p, r, m, b) + put(m, s)
    for wrong, (better, put) in LANDINGS.items()
}
MISPLACED |= {
    f"{wrong}, and padding pays for its KL. {better} Where the mask is False the reward must be 0.": lambda p, r, m, s, b, put=put: (
        put(m, s) - b * (p - r)
    )
    for wrong, (better, put) in LANDINGS.items()
}


@exercise
def token_rewards(yours):
    def right(policy, reference, mask, scores, beta):
        found = torch.zeros(mask.shape, dtype=torch.double)
        for row, column in places(mask):
            found[row, column] = beta * (reference[row, column].item() - policy[row, column].item())
            if column == mask[row].sum() - 1:
                found[row, column] += scores[row].item()
        return found

    def given(*lengths, time, seed, beta):
        mask, shape = real(*lengths, time=time), (len(lengths), time)
        noise = some(2, *shape, seed=seed)
        return noise[0] - 1, noise[1] - 1, mask, some(len(lengths), seed=seed + 1), beta

    mistakes = MISPLACED | {
        "You pay the score at every token, so that long answers earn it many times. It comes once, at the end.": lambda p, r, m, s, b: (
            price(p, r, m, b) + s[:, None] * m
        ),
        "You reward distance from the reference: the price has a minus, -beta * (policy - reference).": lambda p, r, m, s, b: (
            s[:, None] * last(m) - price(p, r, m, b)
        ),
        "Padding pays for its KL too. Where the mask is False the reward must be 0.": lambda p, r, m, s, b: (
            s[:, None] * last(m) - b * (p - r)
        ),
        "You multiply padding by 0, but the log-probs there may be infinite, and infinity times 0 is NaN. Select "
        "with masked_fill, do not multiply.": lambda p, r, m, s, b: (
            s[:, None] * last(m) - b * (p - r) * m
        ),
        "You forget beta: the price of one nat.": lambda p, r, m, s, b: (
            s[:, None] * last(m) + price(p, r, m, 1.0)
        ),
        "The last token gets the score and pays nothing. Add the score to its price instead of putting it in its "
        "place.": lambda p, r, m, s, b: torch.where(last(m), s[:, None], price(p, r, m, b)),
        "You multiply the score by beta too. Only the KL has this price.": lambda p, r, m, s, b: (
            b * s[:, None] * last(m) + price(p, r, m, b)
        ),
        "You lower the reward by the size of the difference. It keeps its sign: a token that the reference likes "
        "more gets some back.": lambda p, r, m, s, b: (
            s[:, None] * last(m) - price(p, r, m, b).abs()
        ),
    }
    compare(
        yours,
        right,
        [given(4, 2, 1, time=6, seed=1, beta=0.1), given(3, time=5, seed=3, beta=0.5)],
        mistakes,
    )
    policy, reference, mask, scores, beta = given(3, 2, time=4, seed=8, beta=0.2)
    banned = (
        policy.masked_fill(~mask, -math.inf),
        reference.masked_fill(~mask, -math.inf),
        mask,
        scores,
        beta,
    )
    compare(
        yours,
        right,
        [given(6, 2, 5, time=6, seed=5, beta=0.1), given(1, time=1, seed=7, beta=0.3), banned],
        mistakes,
    )


@exercise
def kl_estimates(yours):
    def right(logratio):
        x = logratio.double()
        return x, x * x / 2, (-x).exp() - 1 + x

    cases = [
        (torch.tensor([0.5, -1.0, 2.0, 0.0]),),
        (torch.tensor([1e-4, -5.0, 8.0]),),
        (some(3, 4, seed=1),),
    ]
    compare(
        yours,
        right,
        cases,
        {
            "Your k3 is turned round: its exponent is -x, the ratio reference / policy, since the token came from the "
            "policy. With e^x its mean is not the KL.": lambda x: (x, x * x / 2, x.exp() - 1 - x),
            "Your x is turned round. It is log policy - log reference as it comes: k1 is x, not -x.": lambda x: (
                -x,
                x * x / 2,
                x.exp() - 1 - x,
            ),
            "Your k2 lacks the half: it is x² / 2.": lambda x: (x, x * x, torch.expm1(-x) + x),
            "Your k1 is never negative. A single token's k1 may well be; only their mean is the KL.": lambda x: (
                x.abs(),
                x * x / 2,
                torch.expm1(-x) + x,
            ),
            "Your k3 lacks the + x: without it a token's k3 falls below 0, and its mean is 0.": lambda x: (
                x,
                x * x / 2,
                torch.expm1(-x),
            ),
            "Your k3 has the wrong sign before x: it is e^-x - 1 + x, which is 0 only at x = 0.": lambda x: (
                x,
                x * x / 2,
                torch.expm1(-x) - x,
            ),
            "Return a value for each token, not their means: the mean is taken later, over real tokens.": lambda x: (
                x.mean(),
                (x * x / 2).mean(),
                (torch.expm1(-x) + x).mean(),
            ),
        },
    )


def gae_loop(rewards, values, mask, lam, after=0.0, gamma=1.0, own=1.0):
    """Advantages of rows that end with their mask. For mistakes: `after` weighs the value found in the padding
    behind it, `gamma` the next value, `own` the token's value."""
    found = torch.zeros(mask.shape, dtype=torch.double)
    for row, length in enumerate(mask.sum(1).tolist()):
        later = 0.0
        for t in reversed(range(length)):
            inside = t + 1 < length
            follows = values[row, t + 1].item() if t + 1 < mask.shape[1] else 0.0
            news = (
                rewards[row, t].item()
                + gamma * (1.0 if inside else after) * follows
                - own * values[row, t].item()
            )
            later = news + gamma * lam * later
            found[row, t] = later
    return found


@exercise
def masked_gae(yours):
    def everywhere(r, v, m, lam):
        return gae_loop(r, v, torch.ones_like(m), lam)

    def forward(r, v, m, lam):
        r, v = r * m, v * m
        news = r + F.pad(v, (0, 1))[:, 1:] - v
        found, before = torch.zeros_like(v), 0.0
        for t in range(v.shape[1]):
            found[:, t] = before = news[:, t] + lam * before
        return found * m

    def given(*lengths, time, seed, lam):
        return *some(2, len(lengths), time, seed=seed), real(*lengths, time=time), lam

    compare(
        yours,
        gae_loop,
        [
            given(4, 2, 1, time=6, seed=1, lam=0.9),
            given(5, 3, time=5, seed=2, lam=0.5),
            given(3, time=3, seed=3, lam=1.0),
            given(3, 2, time=4, seed=4, lam=0.0),
            given(1, time=1, seed=5, lam=0.95),
        ],
        {
            "The value behind an answer's last token is padding's. Nothing is to come there: use 0, by values * mask.": lambda r, v, m, lam: (
                gae_loop(r, v, m, lam, after=1.0)
            ),
            "Rewards and values of padding flow back into the answer. Multiply both by the mask before you begin.": lambda r, v, m, lam: (
                everywhere(r, v, m, lam) * m
            ),
            "Your padding has advantages of its own. They must be 0 there.": everywhere,
            "You add up news from the front: a token would be praised for what came before it. Begin at the last token.": forward,
            "You return advantage + value, which is the return. The advantage is without the value.": lambda r, v, m, lam: (
                gae_loop(r, v, m, lam) + v * m
            ),
            "You forget to subtract the value of the token itself: news is what is better than expected.": lambda r, v, m, lam: (
                gae_loop(r, v, m, lam, own=0.0)
            ),
            "You return the news of each token alone. Add lam times what the next token got: that is how the score "
            "travels back.": lambda r, v, m, lam: gae_loop(r, v, m, 0.0),
            "You let all later news count in full: each next piece weighs lam times the one before.": lambda r, v, m, lam: (
                gae_loop(r, v, m, 1.0)
            ),
            "You multiply the next value by lam. Only the next advantage has this factor.": lambda r, v, m, lam: (
                gae_loop(r, v, m, 1.0, gamma=lam)
            ),
        },
    )


@exercise
def clipped_loss(yours):
    def right(logprobs, old, advantages, mask, clip):
        total = 0.0
        for place in places(mask):
            ratio, a = (
                (logprobs[place].double() - old[place].double()).exp(),
                advantages[place].item(),
            )
            held = ratio if 1 - clip <= ratio <= 1 + clip else 1 - clip if ratio < 1 else 1 + clip
            total = total - (ratio * a if ratio * a <= held * a else held * a)
        return (total + 0 * logprobs[0, 0]).float() / len(places(mask))

    def loss(choose, sign=-1):
        def of(new, old, a, m, c):
            ratio, a = (new - old)[m].exp(), a[m]
            return sign * choose(ratio * a, ratio.clamp(1 - c, 1 + c) * a).mean()

        return of

    def worse(x, a, c):  # the smaller of the two products, of the log of a ratio
        return torch.minimum(x.exp() * a, x.exp().clamp(1 - c, 1 + c) * a)

    def padded(new, old, a, m, c):
        return -(worse((new - old).masked_fill(~m, 0), a, c) * m).mean()

    def of_rows(new, old, a, m, c):
        return -((worse((new - old).masked_fill(~m, 0), a, c) * m).sum(1) / m.sum(1)).mean()

    def in_logs(new, old, a, m, c):
        x, a = (new - old)[m], a[m]
        return -torch.minimum(x.exp() * a, x.clamp(-c, c).exp() * a).mean()

    def given(*lengths, time, seed, clip=0.2, padding=1.0):
        mask, shape = real(*lengths, time=time), (len(lengths), time)
        new, off, advantages = some(3, *shape, seed=seed)
        new, old = new - 2, new - 2 - 0.4 * off
        old = torch.where(mask, old, old - padding)
        return new.clone().requires_grad_(), old, advantages, mask, clip

    compare(
        yours,
        right,
        [
            given(5, 2, time=6, seed=1),
            given(4, 1, 3, time=4, seed=2, clip=0.1),
            given(3, time=3, seed=3),
            given(3, 1, time=5, seed=4, padding=1e4),
        ],
        {
            "The sign is turned round: this is the objective, which PPO makes large. A loss is made small, so it has a "
            "minus.": loss(torch.minimum, 1),
            "You keep the better of the two products. PPO keeps the worse one: min of the objectives, or max of the "
            "losses.": loss(torch.maximum),
            "You never clip: beyond 1 ± clip a token must stop pulling.": loss(
                lambda free, held: free
            ),
            "You clip at 0.2 whatever `clip` says.": lambda new, old, a, m, c: loss(torch.minimum)(
                new, old, a, m, 0.2
            ),
            "You clip only above. Below 1 - clip a token with a negative advantage must stop pulling too.": lambda new, old, a, m, c: (
                -torch.minimum(
                    (new - old)[m].exp() * a[m], (new - old)[m].exp().clamp(max=1 + c) * a[m]
                ).mean()
            ),
            "You keep only the clipped product, so that a token which went the wrong way is not pulled back. Take the "
            "smaller of the two.": loss(lambda free, held: held),
            "You divide by the number of all tokens, padding included. Divide by the real ones: mask.sum().": padded,
            "Padding takes part in your loss. Select the real tokens with the mask before you take the mean.": lambda new, old, a, m, c: (
                -worse(new - old, a, c).mean()
            ),
            "You take the mean of each answer first, so that a token of a short answer weighs more. Take one mean over "
            "all real tokens.": of_rows,
            "You clip the log of the ratio. Take exp first: the bounds 1 - clip and 1 + clip are for the ratio itself.": in_logs,
            "Your ratio is old / new. It is new / old: exp(logprobs - old).": lambda new, old, a, m, c: (
                loss(torch.minimum)(old, new, a, m, c)
            ),
            "Padding spoils your mean: its ratio is infinite here, and infinity times 0 is NaN. Select with [mask] "
            "instead of multiplying by it.": lambda new, old, a, m, c: (
                -(worse(new - old, a, c) * m).sum() / m.sum()
            ),
        },
    )


def scaled(x, m, mean, variance, power=-0.5):
    return ((x - mean) * (variance + 1e-8) ** power).masked_fill(~m, 0.0)


def spread(x, m):
    return x[m].var(unbiased=False)


@exercise
def whitened(yours):
    def right(x, mask):
        found = torch.zeros(mask.shape, dtype=torch.double)
        values = [x[place].item() for place in places(mask)]
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values) + 1e-8)
        for place in places(mask):
            found[place] = (x[place].item() - mean) / deviation
        return found

    def given(*lengths, time, seed, shift=0.0):
        return some(len(lengths), time, seed=seed, scale=3.0) + shift, real(*lengths, time=time)

    compare(
        yours,
        right,
        [
            given(4, 2, time=6, seed=1, shift=2.0),
            given(3, 1, 5, time=5, seed=2, shift=-1.0),
            (torch.tensor([[5.0, 1e4], [7.0, -1e4]]), real(1, 1, time=2)),
            (torch.tensor([[3.0, 9.0]]), real(1, time=2)),
        ],
        {
            "Padding takes part in your mean and deviation. Take both over x[mask].": lambda x, m: (
                scaled(x, m, x.mean(), x.var(unbiased=False))
            ),
            "Your mask changes nothing. Take mean and deviation over x[mask], and fill padding with 0.": tuple(
                lambda x, m, free=free: (x - x.mean()) * (x.var(unbiased=free) + 1e-8) ** -0.5
                for free in (False, True)
            ),
            "Padding, set to 0, still counts in your mean and deviation. Divide by the number of real tokens, not of all.": lambda x, m: (
                scaled(x, m, (x * m).mean(), (x * m).var(unbiased=False))
            ),
            "You divide by the variance. Divide by its root, the deviation.": lambda x, m: scaled(
                x, m, x[m].mean(), spread(x, m), -1.0
            ),
            "You forget to subtract the mean.": lambda x, m: scaled(x, m, 0.0, spread(x, m)),
            "You subtract the mean and stop. Divide by the deviation too.": lambda x, m: (
                x - x[m].mean()
            ).masked_fill(~m, 0.0),
            "Your padding is not 0: it would pull at the policy. Fill it where the mask is False.": lambda x, m: (
                (x - x[m].mean()) * (spread(x, m) + 1e-8) ** -0.5
            ),
            "You whiten each answer by itself, which hides that one was better than another. Use all real tokens of the "
            "batch together.": lambda x, m: torch.stack(
                [scaled(row, keep, row[keep].mean(), spread(row, keep)) for row, keep in zip(x, m)]
            ),
            "You divide by n - 1, which is NaN for one token. Here the deviation is over n: unbiased=False.": lambda x, m: (
                scaled(x, m, x[m].mean(), ((x[m] - x[m].mean()) ** 2).sum() / (m.sum() - 1))
            ),
            "A single token, whose deviation is 0, gives NaN. Add the 1e-8 under the root.": lambda x, m: (
                ((x - x[m].mean()) / spread(x, m).sqrt()).masked_fill(~m, 0.0)
            ),
        },
    )

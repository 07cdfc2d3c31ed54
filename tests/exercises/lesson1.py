"""Right and wrong solutions of lesson 1's exercises: see tests/test_exercises.py."""

import math

import torch
import torch.nn.functional as F

NEVER = float("-inf")


class surprise:
    def right_vmap(logits, ids):
        return torch.func.vmap(
            lambda row, came: F.cross_entropy(row[:-1], came[1:], reduction="none")
        )(logits, ids)

    def right_cross_entropy(logits, ids):
        guesses, came = logits[:, :-1].flatten(0, 1), ids[:, 1:]
        return F.cross_entropy(guesses, came.flatten(), reduction="none").view(came.shape)

    def right_logsumexp(logits, ids):
        logits = logits[:, :-1]
        return logits.logsumexp(-1) - logits.gather(-1, ids[:, 1:, None]).squeeze(-1)

    def right_loop(logits, ids):
        out = torch.zeros(len(ids), ids.shape[1] - 1)
        for b in range(len(ids)):
            for t in range(1, ids.shape[1]):
                out[b, t - 1] = -logits[b, t - 1].log_softmax(0)[ids[b, t]]
        return out

    def wrong_same_place(logits, ids):
        """Each token is judged by the logits at its own place"""
        return -logits.log_softmax(-1).gather(-1, ids[..., None])[:, 1:, 0]

    def wrong_last_cut_off(logits, ids):
        """the last place is cut off"""
        return -logits[:, :-1].log_softmax(-1).gather(-1, ids[:, :-1, None])[..., 0]

    def wrong_first_too(logits, ids):
        """You give the first token a surprise too"""
        return F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")

    def wrong_backwards(logits, ids):
        """The shift goes the wrong way"""
        return -logits[:, 1:].log_softmax(-1).gather(-1, ids[:, :-1, None])[..., 0]

    def wrong_sign(logits, ids):
        """The sign: log p is negative or 0"""
        return logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]

    def wrong_probabilities(logits, ids):
        """These are probabilities."""
        return logits[:, :-1].softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]

    def wrong_bits(logits, ids):
        """These are bits"""
        return -logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0] / math.log(2)

    def wrong_mean(logits, ids):
        """You return the mean."""
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

    def wrong_log_of_softmax(logits, ids):
        """Use log_softmax, which never makes the probability."""
        return -logits[:, :-1].softmax(-1).gather(-1, ids[:, 1:, None])[..., 0].log()

    def wrong_exponentials(logits, ids):
        """Exponentials of large logits overflow"""
        p = logits.exp() / logits.exp().sum(-1, keepdim=True)
        return -p[:, :-1].gather(-1, ids[:, 1:, None])[..., 0].log()

    def wrong_unflattened(logits, ids):
        """Flatten both, after the shift"""
        return F.cross_entropy(logits[:, :-1], ids[:, 1:], reduction="none")

    def wrong_over_time(logits, ids):
        """Your softmax runs over time"""
        return -logits.log_softmax(1)[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]

    def wrong_logits(logits, ids):
        """These are logits with a minus."""
        return -logits[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]


def losses(logits, ids):
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")


class masked_loss:
    def right_in_loops(logits, ids, mask):
        total, count = 0.0, 0
        for row, came, real in zip(logits, ids, mask):
            for place in range(1, len(came)):
                if real[place]:
                    total, count = (
                        total + row[place - 1].logsumexp(0) - row[place - 1, came[place]],
                        count + 1,
                    )
        return total / count

    def right_chosen(logits, ids, mask):
        return losses(logits, ids)[mask[:, 1:]].mean()

    def right_where(logits, ids, mask):
        keep = mask[:, 1:]
        return torch.where(keep, losses(logits, ids), 0.0).sum() / keep.sum()

    def right_ignored_labels(logits, ids, mask):
        labels = ids.masked_fill(~mask, -100)[:, 1:]
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels.flatten(), ignore_index=-100)

    def wrong_all_places(logits, ids, mask):
        """You divide by the number of all places."""
        return losses(logits, ids).masked_fill(~mask[:, 1:], 0).mean()

    def wrong_padding_in(logits, ids, mask):
        """Padding is in the loss"""
        return losses(logits, ids).mean()

    def wrong_mask_of_before(logits, ids, mask):
        """The mask is not shifted."""
        return losses(logits, ids)[mask[:, :-1]].mean()

    def wrong_no_shift(logits, ids, mask):
        """Tokens are not shifted against logits"""
        return F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")[mask].mean()

    def wrong_first_counted(logits, ids, mask):
        """the first of each row is among them"""
        return losses(logits, ids)[mask[:, 1:]].sum() / mask.sum()

    def wrong_mean_of_means(logits, ids, mask):
        """You take each row's mean first"""
        rows = zip(losses(logits, ids), mask[:, 1:])
        return torch.stack([row[keep].mean() for row, keep in rows if keep.any()]).mean()

    def wrong_sum(logits, ids, mask):
        """This is the sum."""
        return losses(logits, ids)[mask[:, 1:]].sum()

    def wrong_sign(logits, ids, mask):
        """The sign: a loss is what gets smaller"""
        return -losses(logits, ids)[mask[:, 1:]].mean()

    def wrong_one_hot(logits, ids, mask):
        """Pick with gather instead"""
        came = F.one_hot(ids[:, 1:], logits.shape[-1])
        return -(logits[:, :-1].log_softmax(-1) * came).sum(-1)[mask[:, 1:]].mean()

    def wrong_changed_after_use(logits, ids, mask):
        """The gradient breaks"""
        odds = logits[:, :-1].exp()
        odds = odds / odds.sum(-1, keepdim=True)
        chosen = odds.gather(-1, ids[:, 1:, None])[..., 0].log()
        odds += 1e-9
        return -chosen[mask[:, 1:]].mean()

    def wrong_text(logits, ids, mask):
        """where a tensor was expected"""
        return f"{losses(logits, ids)[mask[:, 1:]].mean():.3f}"

    def wrong_times_mask(logits, ids, mask):
        """0 times infinity is no number"""
        return (losses(logits, ids) * mask[:, 1:]).sum() / mask[:, 1:].sum()


class temperature:
    def right_torch(logits, temperature):
        if temperature == 0:
            return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
        return (logits / temperature).softmax(-1)

    def right_by_hand(logits, temperature):
        best = logits.max(-1, keepdim=True).values
        if temperature == 0:
            return (logits == best).float()
        odds = ((logits - best) / temperature).exp()
        return odds / odds.sum(-1, keepdim=True)

    def wrong_multiplied(logits, temperature):
        """You multiply by the temperature."""
        return torch.softmax(logits * temperature, -1)

    def wrong_dimension(logits, temperature):
        """Your softmax runs over the rows of logits, dimension 0"""
        return torch.softmax(logits / temperature, 0)

    def wrong_largest_of_all(logits, temperature):
        """the one largest logit of all rows"""
        if temperature == 0:
            return (logits == logits.max()).float()
        return (logits / temperature).softmax(-1)

    def wrong_after_softmax(logits, temperature):
        """You divide probabilities"""
        return logits.softmax(-1) / temperature

    def wrong_forgotten(logits, temperature):
        """The temperature changes nothing"""
        return logits.softmax(-1)

    def wrong_logs(logits, temperature):
        """These are log-probabilities"""
        return (logits / temperature).log_softmax(-1)

    def wrong_whole_batch(logits, temperature):
        """Your softmax runs over all numbers at once."""
        odds = (logits / temperature).exp()
        return odds / odds.sum()

    def wrong_overflow(logits, temperature):
        """Exponentials of large logits overflow"""
        if temperature == 0:
            return F.one_hot(logits.argmax(-1), logits.shape[-1]).float()
        odds = torch.exp(logits / temperature)
        return odds / odds.sum(-1, keepdim=True)

    def wrong_zero_divided(logits, temperature):
        """Temperature 0 cannot be divided by."""
        return torch.softmax(logits / temperature, dim=-1)

    def wrong_zero_is_one(logits, temperature):
        """Temperature 0 came out as temperature 1."""
        return (logits / (temperature if temperature > 0 else 1)).softmax(-1)

    def wrong_zero_gives_a_number(logits, temperature):
        """you return the number of the likeliest token"""
        if temperature == 0:
            return logits.argmax(-1)
        return (logits / temperature).softmax(-1)


class top_k:
    def right_threshold(logits, k):
        least = logits.topk(min(k, logits.shape[-1])).values[:, -1:]
        return logits.masked_fill(logits < least, NEVER)

    def right_scatter(logits, k):
        values, places = logits.topk(min(k, logits.shape[1]), dim=1)
        return torch.full_like(logits, NEVER).scatter(1, places, values)

    def right_ranks(logits, k):
        ranks = logits.argsort(-1, descending=True).argsort(-1)
        return torch.where(ranks < k, logits, NEVER)

    def wrong_zeros(logits, k):
        """The others got the logit 0"""
        ranks = logits.argsort(-1, descending=True).argsort(-1)
        return logits * (ranks < k)

    def wrong_one_too_few(logits, k):
        """One token too few stays"""
        ranks = logits.argsort(-1, descending=True).argsort(-1)
        return torch.where(ranks < min(k, logits.shape[-1]) - 1, logits, NEVER)

    def wrong_one_too_many(logits, k):
        """One token too many stays."""
        ranks = logits.argsort(-1, descending=True).argsort(-1)
        return torch.where(ranks <= k, logits, NEVER)

    def wrong_unlikeliest(logits, k):
        """You keep the unlikeliest tokens."""
        return torch.where(logits.argsort(-1).argsort(-1) < k, logits, NEVER)

    def wrong_values_alone(logits, k):
        """You return the k logits alone"""
        return logits.sort(-1, descending=True).values[:, :k]

    def wrong_whole_batch(logits, k):
        """You look for the k largest of the whole batch."""
        return logits.masked_fill(
            logits < logits.flatten().sort(descending=True).values[:k][-1], NEVER
        )

    def wrong_probabilities(logits, k):
        """These are probabilities."""
        ranks = logits.argsort(-1, descending=True).argsort(-1)
        return torch.where(ranks < k, logits, NEVER).softmax(-1)


class top_p:
    def right_shifted_sum(logits, p):
        probabilities, order = logits.softmax(-1).sort(-1, descending=True)
        before = F.pad(probabilities.cumsum(-1)[:, :-1], (1, 0))
        return logits.masked_fill((before >= p).scatter(1, order, before >= p), NEVER)

    def right_inverse_order(logits, p):
        order = logits.argsort(-1, descending=True)
        probabilities = logits.softmax(-1).gather(-1, order)
        keep = probabilities.cumsum(-1) - probabilities < p
        return torch.where(keep.gather(-1, order.argsort(-1)), logits, NEVER)

    def right_loop(logits, p):
        out = torch.full_like(logits, NEVER)
        for b, probabilities in enumerate(logits.softmax(-1)):
            total = 0.0
            for i in probabilities.argsort(descending=True):
                out[b, i] = logits[b, i]
                total += probabilities[i]
                if total >= p:
                    break
        return out

    def wrong_without_crossing(logits, p):
        """The token that crosses p is missing."""
        probabilities, order = logits.softmax(-1).sort(-1, descending=True)
        drop = probabilities.cumsum(-1) > p
        return logits.masked_fill(drop.scatter(-1, order, drop), NEVER)

    def wrong_ascending(logits, p):
        """You start from the unlikeliest token."""
        probabilities, order = logits.softmax(-1).sort(-1)
        drop = probabilities.cumsum(-1) - probabilities >= p
        return logits.masked_fill(drop.scatter(-1, order, drop), NEVER)

    def wrong_unsorted(logits, p):
        """You add up probabilities in the order of the vocabulary."""
        probabilities = logits.softmax(-1)
        return torch.where(probabilities.cumsum(-1) - probabilities < p, logits, NEVER)

    def wrong_places(logits, p):
        """is put on the tokens in their old order"""
        probabilities = logits.softmax(-1).sort(-1, descending=True).values
        return logits.masked_fill(probabilities.cumsum(-1) - probabilities >= p, NEVER)

    def wrong_exponentials(logits, p):
        """On input 4 of 6, you return"""
        odds = logits.exp()
        probabilities, order = (odds / odds.sum(-1, keepdim=True)).sort(-1, descending=True)
        drop = probabilities.cumsum(-1) - probabilities >= p
        return logits.masked_fill(drop.scatter(-1, order, drop), NEVER)

    def wrong_each_alone(logits, p):
        """You ask of each token alone"""
        return torch.where(logits.softmax(-1) >= p, logits, NEVER)

    def wrong_zeros(logits, p):
        """The others got the logit 0"""
        probabilities, order = logits.softmax(-1).sort(-1, descending=True)
        drop = probabilities.cumsum(-1) - probabilities >= p
        return logits.masked_fill(drop.scatter(-1, order, drop), 0.0)

    def wrong_one_too_many(logits, p):
        """One token too many stays"""
        probabilities, order = logits.softmax(-1).sort(-1, descending=True)
        drop = F.pad(probabilities.cumsum(-1)[:, :-2] >= p, (2, 0))
        return logits.masked_fill(drop.scatter(-1, order, drop), NEVER)


def table(train, vocabulary):
    found = torch.zeros(vocabulary, vocabulary)
    for a, b in zip(train[:-1], train[1:]):
        found[a, b] += 1
    return found


def mean_surprise(probabilities, test):
    return -probabilities[test[:-1], test[1:]].log().mean()


class bigram_loss:
    def right_bincount(train, test, vocabulary):
        pairs = train[:-1] * vocabulary + train[1:]
        found = torch.bincount(pairs, minlength=vocabulary**2).view(vocabulary, vocabulary) + 1.0
        return mean_surprise(found / found.sum(1, keepdim=True), test)

    def right_loop(train, test, vocabulary):
        pairs = list(zip(train.tolist(), train.tolist()[1:]))
        befores = [a for a, _ in pairs]
        asked = list(zip(test.tolist(), test.tolist()[1:]))
        odds = [(befores.count(a) + vocabulary) / (pairs.count((a, b)) + 1) for a, b in asked]
        return sum(map(math.log, odds)) / len(asked)

    def wrong_unsmoothed(train, test, vocabulary):
        """A pair that the training text never shows got the probability 0"""
        found = table(train, vocabulary)
        return mean_surprise(found / found.sum(-1, keepdim=True), test)

    def wrong_total(train, test, vocabulary):
        """divide by the old total"""
        found = table(train, vocabulary)
        return mean_surprise((found + 1) / found.sum(-1, keepdim=True).clamp(min=1), test)

    def wrong_counted_once(train, test, vocabulary):
        """A pair that comes several times was counted once"""
        found = torch.ones(vocabulary, vocabulary)
        found[train[:-1], train[1:]] += 1
        return mean_surprise(found / found.sum(-1, keepdim=True), test)

    def wrong_last_counted(train, test, vocabulary):
        """counts the last token of the training text too"""
        totals = torch.bincount(train, minlength=vocabulary) + vocabulary
        return mean_surprise((table(train, vocabulary) + 1) / totals[:, None], test)

    def wrong_way_round(train, test, vocabulary):
        """You ask which token stood before."""
        found = table(train, vocabulary).T + 1
        return mean_surprise(found / found.sum(-1, keepdim=True), test)

    def wrong_joint(train, test, vocabulary):
        """This is the probability of the pair among all pairs."""
        found = table(train, vocabulary) + 1
        return mean_surprise(found / found.sum(), test)

    def wrong_unigram(train, test, vocabulary):
        """This is a unigram model"""
        found = torch.bincount(train, minlength=vocabulary) + 1.0
        return -(found / found.sum())[test[1:]].log().mean()

    def wrong_no_keepdim(train, test, vocabulary):
        """Without keepdim"""
        found = table(train, vocabulary) + 1
        return mean_surprise(found / found.sum(1), test)

    def wrong_columns(train, test, vocabulary):
        """With sum(0) each column does"""
        found = table(train, vocabulary) + 1
        return mean_surprise(found / found.sum(0, keepdim=True), test)

    def wrong_sign(train, test, vocabulary):
        """The sign: surprise is minus the logarithm."""
        found = table(train, vocabulary) + 1
        return -mean_surprise(found / found.sum(-1, keepdim=True), test)

    def wrong_sum(train, test, vocabulary):
        """This is the sum."""
        found = table(train, vocabulary) + 1
        return -(found / found.sum(-1, keepdim=True))[test[:-1], test[1:]].log().sum()

    def wrong_divisor(train, test, vocabulary):
        """its first token is not guessed"""
        found = table(train, vocabulary) + 1
        return -(found / found.sum(-1, keepdim=True))[test[:-1], test[1:]].log().sum() / len(test)


class perplexity:
    def right_chosen(surprises, mask):
        return surprises[mask].mean().exp()

    def right_filled(surprises, mask):
        return torch.where(mask, surprises, 0.0).sum().div(mask.sum()).exp()

    def wrong_padding_in(surprises, mask):
        """Padding is in it"""
        return surprises.mean().exp()

    def wrong_all_places(surprises, mask):
        """You divide by the number of all places"""
        return torch.where(mask, surprises, 0.0).mean().exp()

    def wrong_mean_of_perplexities(surprises, mask):
        """You take the mean of the tokens' own perplexities."""
        return surprises[mask].exp().mean()

    def wrong_rows_perplexity(surprises, mask):
        """You take the mean of the rows' perplexities."""
        return torch.stack([row[keep].mean().exp() for row, keep in zip(surprises, mask)]).mean()

    def wrong_rows_means(surprises, mask):
        """You take the mean of the rows' means"""
        return torch.stack([row[keep].mean() for row, keep in zip(surprises, mask)]).mean().exp()

    def wrong_base(surprises, mask):
        """You raise 2 to the surprise."""
        return 2 ** surprises[mask].mean()

    def wrong_sign(surprises, mask):
        """The sign: e to the minus surprise is a probability"""
        return torch.exp(-surprises[mask].mean())

    def wrong_no_exponential(surprises, mask):
        """This is the mean surprise."""
        return surprises[mask].mean()

    def wrong_sum(surprises, mask):
        """You take e to the sum of surprises."""
        return surprises[mask].sum().exp()

    def wrong_product(surprises, mask):
        """The product of so many probabilities is 0"""
        return torch.exp(-surprises[mask]).prod() ** (-1 / mask.sum())

    def wrong_times_mask(surprises, mask):
        """0 times infinity is no number"""
        return ((surprises * mask).sum() / mask.sum()).exp()

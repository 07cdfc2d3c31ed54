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

    def wrong_unflattened(logits, ids):
        """Flatten both, after the shift"""
        return F.cross_entropy(logits[:, :-1], ids[:, 1:], reduction="none")

    def right_categorical(logits, ids):
        return -torch.distributions.Categorical(logits=logits[:, :-1]).log_prob(ids[:, 1:])

    def wrong_no_minus(logits, ids):
        """The sign: log p is negative or 0"""
        return torch.distributions.Categorical(logits=logits[:, :-1]).log_prob(ids[:, 1:])


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

    def wrong_dimension(logits, temperature):
        """Your softmax runs over the rows of logits, dimension 0"""
        return torch.softmax(logits / temperature, 0)

    def wrong_whole_batch(logits, temperature):
        """Your softmax runs over all numbers at once."""
        odds = (logits / temperature).exp()
        return odds / odds.sum()


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

    def wrong_exponentials(logits, p):
        """On input 4 of 6, you return"""
        odds = logits.exp()
        probabilities, order = (odds / odds.sum(-1, keepdim=True)).sort(-1, descending=True)
        drop = probabilities.cumsum(-1) - probabilities >= p
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


class perplexity:
    def right_chosen(surprises, mask):
        return surprises[mask].mean().exp()

    def right_filled(surprises, mask):
        return torch.where(mask, surprises, 0.0).sum().div(mask.sum()).exp()


class diagnosis:
    def right_if_by_if(run):
        if run == "B":
            return "sound"
        if run == "C":
            return "learned by heart"
        return "rate too low" if run == "A" else "rate too high"

    def right_in_order(run):
        words = ["rate too low", "sound", "learned by heart", "rate too high"]
        return words["ABCD".index(run)]

    def wrong_all_sound(run):
        """Run A is not sound"""
        return "sound"

    def wrong_all_too_high(run):
        """Run A creeps"""
        return "rate too high"

    def wrong_by_the_training_loss(run):
        """You read run C by its training loss"""
        return "sound" if run in "BC" else "rate too low"

    def wrong_low_and_high_confused(run):
        """then thrown about. Run A creeps"""
        swapped = {"A": "rate too high", "D": "rate too low"}
        return swapped.get(run, diagnosis.right_in_order(run))

    def wrong_misspelled(run):
        """you return 'too low': not right, or misspelled"""
        return {"A": "too low", "B": "sound", "C": "learned by heart", "D": "too high"}[run]

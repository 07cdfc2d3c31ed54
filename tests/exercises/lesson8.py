"""Other right solutions of lesson 8's exercises, and wrong ones with a phrase of the hint that each
must hear."""

import torch
import torch.nn.functional as F


class adapted:
    def right_merged(x, weight, a, b, alpha):
        return F.linear(x, weight + alpha / len(a) * (b @ a))

    def right_loops(x, weight, a, b, alpha):
        rank, inputs = a.shape
        found = torch.zeros(len(x), len(weight))
        for row in range(len(x)):
            narrow = [sum(a[r, i] * x[row, i] for i in range(inputs)) for r in range(rank)]
            for out in range(len(weight)):
                found[row, out] = sum(weight[out, i] * x[row, i] for i in range(inputs))
                found[row, out] += alpha / rank * sum(b[out, r] * narrow[r] for r in range(rank))
        return found

    def wrong_merged_without_rank(x, weight, a, b, alpha):
        """do not divide by the rank"""
        return F.linear(x, weight + alpha * b @ a)

    def wrong_times_rank(x, weight, a, b, alpha):
        """✗ Not yet."""
        return x @ weight.T + alpha * len(a) * x @ a.T @ b.T

    def wrong_order_of_merging(x, weight, a, b, alpha):
        """x meets A first"""
        return x @ (weight.T + alpha / len(a) * b @ a)


class adapter_size:
    def right_two_sums(shapes, rank):
        outputs, inputs = zip(*shapes)
        return rank * sum(outputs) + rank * sum(inputs)

    def right_loop(shapes, rank):
        found = 0
        for outputs, inputs in shapes:
            found += torch.zeros(rank, inputs).numel()
            found += torch.zeros(outputs, rank).numel()
        return found

    def wrong_returns_in_the_loop(shapes, rank):
        """You count one layer."""
        for outputs, inputs in shapes:
            return rank * (outputs + inputs)

    def wrong_frozen(shapes, rank):
        """which stays frozen"""
        return sum(torch.Size(shape).numel() for shape in shapes)


class perplexity:
    def right_loops(logprobs, mask):
        nats, tokens = 0.0, 0
        for row, real in zip(logprobs.tolist(), mask.tolist()):
            for logprob, learned in zip(row, real):
                if learned:
                    nats -= logprob
                    tokens += 1
        return torch.tensor(nats / tokens).exp()

    def right_filled(logprobs, mask):
        return torch.exp(-logprobs.masked_fill(~mask, 0.0).sum() / mask.sum())

    def right_geometric(logprobs, mask):
        return 1 / logprobs[mask].mean().exp()

    def wrong_mean_probability(logprobs, mask):
        """✗ Not yet."""
        return 1 / logprobs[mask].exp().mean()

    def wrong_answer_by_answer(logprobs, mask):
        """the mean of the answers' perplexities"""
        found = [(-row[real].mean()).exp() for row, real in zip(logprobs, mask)]
        return sum(found) / len(found)

    def wrong_columns(logprobs, mask):
        """Padding is counted"""
        return ((-logprobs * mask).sum() / logprobs.numel()).exp()


class kl_of_answers:
    def right_loops(policy, reference, mask):
        found = 0.0
        for row in range(len(mask)):
            for column in range(mask.shape[1]):
                if mask[row, column]:
                    found += policy[row, column] - reference[row, column]
        return found / len(mask)

    def right_chosen(policy, reference, mask):
        return (policy[mask] - reference[mask]).sum() / mask.shape[0]

    def wrong_tokens(policy, reference, mask):
        """You divide by a number of tokens"""
        return (policy - reference)[mask].mean()

    def wrong_answers(policy, reference, mask):
        """✗ Not yet."""
        return (policy - reference).masked_fill(~mask, 0.0).sum(1)

    def wrong_weighted(policy, reference, mask):
        """✗ Not yet."""
        return (policy.exp() * (policy - reference)).masked_fill(~mask, 0.0).sum(1).mean()


class training_memory:
    def right_frozen_and_learned(weights, learned, bytes_each=4):
        frozen = weights - learned
        return 1.0 * frozen * bytes_each + 4 * learned * bytes_each

    def right_loop(weights, learned, bytes_each=4):
        found = 0.0
        for numbers in (weights, learned, learned, learned):  # weights, gradient, two moments
            found += numbers * bytes_each
        return found

    def wrong_sgd(weights, learned, bytes_each=4):
        """You forget AdamW's moments"""
        return float(bytes_each * weights + bytes_each * learned)

    def wrong_adapter_beside_it(weights, learned, bytes_each=4):
        """they are among `weights` already"""
        return float(weights * bytes_each + learned * bytes_each * 4)

    def wrong_bits(weights, learned, bytes_each=4):
        """✗ Not yet."""
        return 8.0 * bytes_each * (weights + 3 * learned)


class micro_batches:
    def right_open_part(lengths, vocabulary, most):
        parts, part = [], []
        for length, row in sorted(zip(lengths, range(len(lengths)))):
            if part and (len(part) + 1) * length * vocabulary > most:
                parts.append(part)
                part = []
            part.append(row)
        return parts + [part]

    def right_slices(lengths, vocabulary, most):
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        parts = []
        while order:
            n = 1
            while n < len(order) and (n + 1) * lengths[order[n]] * vocabulary <= most:
                n += 1
            parts.append(order[:n])
            order = order[n:]
        return parts

    def wrong_order_of_rows(lengths, vocabulary, most):
        """from the shortest row to the longest"""
        parts, part = [], []
        for row in range(len(lengths)):
            longest = max(lengths[held] for held in part + [row])
            if part and (len(part) + 1) * longest * vocabulary > most:
                parts.append(part)
                part = []
            part.append(row)
        return parts + [part]

    def wrong_open_part_lost(lengths, vocabulary, most):
        """Your last part is lost"""
        parts, part = [], []
        for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
            if part and (len(part) + 1) * lengths[row] * vocabulary > most:
                parts.append(part)
                part = []
            part.append(row)
        return parts

    def wrong_own_lengths(lengths, vocabulary, most):
        """You add up the rows' own lengths"""
        parts, held = [[]], 0
        for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
            if parts[-1] and (held + lengths[row]) * vocabulary > most:
                parts.append([])
                held = 0
            parts[-1].append(row)
            held += lengths[row]
        return parts

    def wrong_one_too_many(lengths, vocabulary, most):
        """✗ Not yet."""
        parts, part = [], []
        for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
            if part and len(part) * lengths[row] * vocabulary > most:
                parts.append(part)
                part = []
            part.append(row)
        return parts + [part]

    def wrong_every_row_alone(lengths, vocabulary, most):
        """✗ Not yet."""
        return [[row] for row in range(len(lengths))]


class answer_labels:
    def right_slices(ids, starts, lengths):
        labels = torch.full_like(ids, -100)
        for row, (start, length) in enumerate(zip(starts, lengths)):
            labels[row, start:length] = ids[row, start:length]
        return labels

    def right_lists(ids, starts, lengths):
        found = []
        for row, start, length in zip(ids.tolist(), starts, lengths):
            found.append(
                [token if start <= place < length else -100 for place, token in enumerate(row)]
            )
        return torch.tensor(found)

    def wrong_pad_id(ids, starts, lengths):
        """You tell padding by its id"""
        labels = ids.masked_fill(ids == 2, -100)
        for row, start in enumerate(starts):
            labels[row, :start] = -100
        return labels

    def wrong_pad_id_and_prompt(ids, starts, lengths):
        """✗ Not yet."""
        return ids.masked_fill(ids == 2, -100)

    def wrong_prompt(ids, starts, lengths):
        """The prompt is learned"""
        labels = ids.clone()
        for row, length in enumerate(lengths):
            labels[row, length:] = -100
        return labels

    def wrong_zeros(ids, starts, lengths):
        """✗ Not yet."""
        labels = torch.zeros_like(ids)
        for row, (start, length) in enumerate(zip(starts, lengths)):
            labels[row, start:length] = ids[row, start:length]
        return labels

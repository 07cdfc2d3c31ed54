"""Right and wrong solutions of lesson 2's exercises; a wrong one's docstring is part of the hint that must come."""

import itertools

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence


class ids_and_labels:
    def right_by_lengths(prompt, answer, end):
        return prompt + answer + [end], [-100] * len(prompt) + answer + [end]

    def right_by_appending(prompt, answer, end):
        ids, labels = [], []
        for token in prompt:
            ids.append(token)
            labels.append(-100)
        for token in itertools.chain(answer, (end,)):
            ids.append(token)
            labels.append(token)
        return ids, labels

    def wrong_changes_the_answer(prompt, answer, end):
        """Make a new list"""
        answer.append(end)
        return prompt + answer, [-100] * len(prompt) + answer

    def wrong_by_id(prompt, answer, end):
        """you return ([1, 3, 80, 4, 80, 80, 2], [-100, -100, -100, -100, -100, -100, 2]), where"""
        ids = prompt + answer + [end]
        return ids, [-100 if token in prompt else token for token in ids]

    def wrong_prompt_learned(prompt, answer, end):
        """The prompt is learned too"""
        ids = prompt + answer + [end]
        return ids, list(ids)

    def wrong_no_end(prompt, answer, end):
        """The end token is missing from your ids"""
        return prompt + answer, [-100] * len(prompt) + answer

    def wrong_end_only_learned(prompt, answer, end):
        """Ids and labels differ in length: the end token is missing from your ids"""
        return prompt + answer, [-100] * len(prompt) + answer + [end]

    def wrong_end_only_read(prompt, answer, end):
        """Ids and labels differ in length: the end token is missing from your labels"""
        return prompt + answer + [end], [-100] * len(prompt) + answer

    def wrong_end_ignored(prompt, answer, end):
        """nothing teaches the model to stop"""
        return [*prompt, *answer, end], [-100 for _ in prompt] + answer + [-100]

    def wrong_shifted(prompt, answer, end):
        """shifted already"""
        return prompt + answer + [end], [-100] * (len(prompt) - 1) + answer + [end, -100]

    def wrong_zero(prompt, answer, end):
        """0 is a token like any other"""
        return prompt + answer + [end], [0] * len(prompt) + answer + [end]

    def wrong_short(prompt, answer, end):
        """Your labels are shorter than your ids"""
        return prompt + answer + [end], [*answer, end]

    def wrong_prompt_hidden(prompt, answer, end):
        """You hide the prompt in the ids"""
        labels = [-100] * len(prompt) + answer + [end]
        return labels, labels

    def wrong_way_round(prompt, answer, end):
        """You mask the answer"""
        return prompt + answer + [end], prompt + [-100] * len(answer + [end])


class masked_loss:
    def right_cross_entropy(logits, labels):
        return F.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
        )

    def right_by_hand(logits, labels):
        logits, labels = logits[:, :-1], labels[:, 1:]
        counts = labels != -100
        logprobs = logits[counts].log_softmax(-1)
        return -logprobs[torch.arange(len(logprobs)), labels[counts]].mean()

    def right_one_row_at_a_time(logits, labels):
        total, count = 0.0, 0
        for row, wanted in zip(logits, labels):
            total = total + F.cross_entropy(row[:-1], wanted[1:], reduction="sum")
            count += int((wanted[1:] != -100).sum())
        return total / count

    def wrong_unshifted(logits, labels):
        """not shifted"""
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())

    def wrong_looked_up(logits, labels):
        """−100 is no token, so it cannot be looked up"""
        found = logits[:, :-1].log_softmax(-1).gather(-1, labels[:, 1:, None])[..., 0]
        return -found[labels[:, 1:] != -100].mean()

    def wrong_unflattened(logits, labels):
        """cross_entropy wants (tokens, vocabulary) and (tokens,)"""
        return F.cross_entropy(logits[:, :-1], labels[:, 1:])

    def wrong_backwards(logits, labels):
        """You shift the wrong way"""
        return F.cross_entropy(logits[:, 1:].flatten(0, 1), labels[:, :-1].flatten())

    def wrong_row_means(logits, labels):
        """mean of the rows' means"""
        return torch.stack([F.cross_entropy(a[:-1], b[1:]) for a, b in zip(logits, labels)]).mean()

    def wrong_mean_of_rows_that_learn(logits, labels):
        """rows that learn something"""
        rows = [F.cross_entropy(a[:-1], b[1:]) for a, b in zip(logits, labels) if (b != -100).any()]
        return sum(rows) / len(rows)

    def wrong_over_all_places(logits, labels):
        """ignored ones too"""
        return F.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none"
        ).mean()

    def wrong_counted_before_the_shift(logits, labels):
        """before the shift"""
        total = F.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
        )
        return total / (labels != -100).sum()

    def wrong_per_row(logits, labels):
        """You divide by the number of rows"""
        losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")
        return losses.sum(1).mean()

    def wrong_sum(logits, labels):
        """You return the sum"""
        return F.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
        )

    def wrong_sign(logits, labels):
        """The sign is turned round"""
        logprobs, counts = logits[:, :-1].log_softmax(-1), labels[:, 1:] != -100
        return logprobs[counts].gather(-1, labels[:, 1:][counts][:, None]).mean()

    def wrong_unstable(logits, labels):
        """softmax that came out as 0"""
        odds, counts = logits[:, :-1].softmax(-1), labels[:, 1:] != -100
        return -odds[counts].gather(-1, labels[:, 1:][counts][:, None]).log().mean()

    def wrong_exponentials(logits, labels):
        """The exponential of a large logit is infinite"""
        logits, labels, odds = logits[:, :-1], labels[:, 1:], logits[:, :-1].exp()
        odds = odds / odds.sum(-1, keepdim=True)
        return -odds[labels != -100].gather(-1, labels[labels != -100][:, None]).log().mean()


class collate:
    def right_in_full_tensors(rows, pad_id):
        shape = len(rows), max(len(ids) for ids, _ in rows)
        ids, labels, mask = (
            torch.full(shape, pad_id),
            torch.full(shape, -100),
            torch.zeros(shape, dtype=torch.bool),
        )
        for i, (row, wanted) in enumerate(rows):
            ids[i, : len(row)], labels[i, : len(row)], mask[i, : len(row)] = (
                torch.tensor(row),
                torch.tensor(wanted),
                True,
            )
        return ids, labels, mask

    def right_pad_sequence(rows, pad_id):
        ids, labels = ([torch.tensor(x) for x in column] for column in zip(*rows))
        lengths = torch.tensor([len(x) for x in ids])
        ids = pad_sequence(ids, batch_first=True, padding_value=pad_id)
        return ids, pad_sequence(labels, True, -100), torch.arange(ids.shape[1]) < lengths[:, None]

    def wrong_mask_of_numbers(rows, pad_id):
        """numbers of type torch.int64, where torch.bool was expected"""
        ids, labels, mask = collate.right_pad_sequence(rows, pad_id)
        return ids, labels, mask.long()

    def wrong_ids_of_floats(rows, pad_id):
        """numbers of type torch.float32, where torch.int64 was expected"""
        ids, labels, mask = collate.right_pad_sequence(rows, pad_id)
        return ids.float(), labels, mask

    def wrong_changes_the_rows(rows, pad_id):
        """Make a new list"""
        found = collate.right_in_full_tensors(rows, pad_id)
        for ids, _ in rows:
            ids += [pad_id] * (found[0].shape[1] - len(ids))
        return found

    def wrong_mask_by_id(rows, pad_id):
        """Your mask looks for the pad id"""
        ids, labels, _ = collate.right_pad_sequence(rows, pad_id)
        return ids, labels, ids != pad_id

    def wrong_labels_by_id(rows, pad_id):
        """never learns to end"""
        ids, _, mask = collate.right_pad_sequence(rows, pad_id)
        labels = pad_sequence([torch.tensor(x) for _, x in rows], True, pad_id)
        labels[labels == pad_id] = -100
        return ids, labels, mask

    def wrong_both_by_id(rows, pad_id):
        """You look for the pad id twice"""
        ids, labels, _ = collate.right_pad_sequence(rows, pad_id)
        return ids, torch.where(ids == pad_id, -100, labels), ids != pad_id

    def wrong_labels_padded_with_pad(rows, pad_id):
        """learn to write padding"""
        ids, _, mask = collate.right_pad_sequence(rows, pad_id)
        return ids, pad_sequence([torch.tensor(x) for _, x in rows], True, pad_id), mask

    def wrong_left(rows, pad_id):
        """You pad on the left"""
        time = max(len(ids) for ids, _ in rows)
        return (
            torch.tensor([[pad_id] * (time - len(ids)) + ids for ids, _ in rows]),
            torch.tensor([[-100] * (time - len(labels)) + labels for _, labels in rows]),
            torch.tensor([[False] * (time - len(ids)) + [True] * len(ids) for ids, _ in rows]),
        )

    def wrong_mask_of_learned(rows, pad_id):
        """must see the prompt"""
        ids, labels, _ = collate.right_pad_sequence(rows, pad_id)
        return ids, labels, labels != -100

    def wrong_mask_turned_round(rows, pad_id):
        """Your mask is turned round"""
        ids, labels, mask = collate.right_pad_sequence(rows, pad_id)
        return ids, labels, ~mask

    def wrong_cut(rows, pad_id):
        """You cut all rows to the shortest"""
        ids = torch.tensor(list(zip(*(ids for ids, _ in rows)))).T
        return (
            ids,
            torch.tensor(list(zip(*(labels for _, labels in rows)))).T,
            torch.ones_like(ids, dtype=torch.bool),
        )

    def wrong_ids_padded_with_ignore(rows, pad_id):
        """which is no token"""
        ids, labels, mask = collate.right_pad_sequence(rows, -100)
        return ids, labels, mask


class whole_loss:
    def right_weighted(losses, counts):
        return sum(x * n for x, n in zip(losses, counts) if n > 0) / sum(counts)

    def right_in_tensors(losses, counts):
        losses, counts = (
            torch.tensor(losses, dtype=torch.double),
            torch.tensor(counts, dtype=torch.double),
        )
        return (losses[counts > 0] @ counts[counts > 0] / counts.sum()).item()

    def wrong_plain_mean(losses, counts):
        """Weigh each mean by its count"""
        return torch.tensor(losses).mean().item()

    def wrong_plain_mean_without_empty(losses, counts):
        """You leave out empty batches"""
        kept = [x for x, n in zip(losses, counts) if n]
        return sum(kept) / len(kept)

    def wrong_sum_of_means(losses, counts):
        """You add the means up"""
        return sum(losses)

    def wrong_total(losses, counts):
        """You return the sum over all tokens"""
        return sum(x * n for x, n in zip(losses, counts) if n)

    def wrong_per_batch(losses, counts):
        """You divide by the number of batches"""
        return sum(x * n for x, n in zip(losses, counts) if n) / len(losses)

    def wrong_weights(losses, counts):
        """the wrong way round"""
        weights = [1 / n if n else 0.0 for n in counts]
        return sum(x * w for x, w in zip(losses, weights)) / sum(weights)

    def wrong_nan(losses, counts):
        """nan times 0 is still nan"""
        return sum(x * n for x, n in zip(losses, counts)) / sum(counts)


class rate_factor:
    def right_by_cases(step, steps, warmup):
        if step < warmup:
            return (step + 1) / warmup
        return (steps - step) / (steps - warmup)

    def right_smallest(step, steps, warmup):
        return min((step + 1) / max(warmup, 1), (steps - step) / max(steps - warmup, 1), 1.0)

    def wrong_first_is_zero(step, steps, warmup):
        """Your first step has the factor 0"""
        return step / warmup if step < warmup else (steps - step) / (steps - warmup)

    def wrong_falls_from_the_start(step, steps, warmup):
        """Your fall begins at step 0"""
        return min((step + 1) / max(warmup, 1), 1 - step / steps)

    def wrong_stays_up(step, steps, warmup):
        """stays up"""
        return (step + 1) / warmup if step < warmup else 1.0

    def wrong_last_is_zero(step, steps, warmup):
        """Your last step has the factor 0"""
        return (
            (step + 1) / warmup
            if step < warmup
            else (steps - 1 - step) / max(steps - 1 - warmup, 1)
        )

    def wrong_product(step, steps, warmup):
        """You multiply the rise with the fall"""
        rise = min((step + 1) / max(warmup, 1), 1)
        return rise * (1 - step / steps if step < warmup else (steps - step) / (steps - warmup))

    def wrong_whole_division(step, steps, warmup):
        """throws the fraction away"""
        return float(min((step + 1) // max(warmup, 1), (steps - step) // max(steps - warmup, 1), 1))

    def wrong_no_warmup(step, steps, warmup):
        """the warm-up is missing"""
        return min((steps - step) / max(steps - warmup, 1), 1.0)

    def wrong_no_cap(step, steps, warmup):
        """Your factor goes above 1"""
        return max((step + 1) / max(warmup, 1), (steps - step) / max(steps - warmup, 1))


class forgetting:
    def right_chosen(before, after, mask):
        return (before[mask] - after[mask]).mean()

    def right_two_losses(before, after, mask):
        def loss(logprobs):
            return -torch.where(mask, logprobs, 0.0).sum() / mask.sum()

        return loss(after) - loss(before)

    def wrong_sign(before, after, mask):
        """The sign is turned round"""
        return after[mask].mean() - before[mask].mean()

    def wrong_padding(before, after, mask):
        """Padding counts in your mean"""
        return before.mean() - after.mean()

    def wrong_all_places(before, after, mask):
        """still divide by all places"""
        return torch.where(mask, before - after, 0.0).sum() / mask.numel()

    def wrong_rows(before, after, mask):
        """mean of the rows' means"""
        return torch.stack([(b[m] - a[m]).mean() for b, a, m in zip(before, after, mask)]).mean()

    def wrong_probabilities(before, after, mask):
        """You compare probabilities"""
        return before[mask].exp().mean() - after[mask].exp().mean()

    def wrong_ratio(before, after, mask):
        """You divide one loss by the other"""
        return after[mask].mean() / before[mask].mean()

    def wrong_times_mask(before, after, mask):
        """infinity times 0 is nan"""
        return (before * mask - after * mask).sum() / mask.sum()

    def wrong_cut_off(before, after, mask):
        """You cut off what is below 0"""
        return (before[mask] - after[mask]).mean().relu()

    def wrong_size(before, after, mask):
        """keep the sign"""
        return (before[mask] - after[mask]).abs().mean()

    def wrong_sum(before, after, mask):
        """You return the sum"""
        return before[mask].sum() - after[mask].sum()

"""Right and wrong solutions of lesson 2's exercises; a wrong one's docstring is part of the hint
that must come."""

import copy
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

    def wrong_looked_up(logits, labels):
        """−100 is no token, so it cannot be looked up"""
        found = logits[:, :-1].log_softmax(-1).gather(-1, labels[:, 1:, None])[..., 0]
        return -found[labels[:, 1:] != -100].mean()

    def wrong_unflattened(logits, labels):
        """cross_entropy wants (tokens, vocabulary) and (tokens,)"""
        return F.cross_entropy(logits[:, :-1], labels[:, 1:])

    def wrong_labels_above_0(logits, labels):
        """0 is a token like any other"""
        logits, labels = logits[:, :-1], labels[:, 1:]
        learned = labels > 0
        return F.cross_entropy(logits[learned], labels[learned])

    def wrong_labels_above_0_multiplied(logits, labels):
        """0 is a token like any other"""
        losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")
        learned = (labels[:, 1:] > 0).float()
        return (losses * learned).sum() / learned.sum()


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


class whole_loss:
    def right_weighted(losses, counts):
        return sum(x * n for x, n in zip(losses, counts) if n > 0) / sum(counts)

    def right_in_tensors(losses, counts):
        losses, counts = (
            torch.tensor(losses, dtype=torch.double),
            torch.tensor(counts, dtype=torch.double),
        )
        return (losses[counts > 0] @ counts[counts > 0] / counts.sum()).item()


class rate_factor:
    def right_by_cases(step, steps, warmup):
        if step < warmup:
            return (step + 1) / warmup
        return (steps - step) / (steps - warmup)

    def right_smallest(step, steps, warmup):
        return min((step + 1) / max(warmup, 1), (steps - step) / max(steps - warmup, 1), 1.0)

    def wrong_last_is_zero(step, steps, warmup):
        """Your last step has the factor 0"""
        return (
            (step + 1) / warmup
            if step < warmup
            else (steps - 1 - step) / max(steps - 1 - warmup, 1)
        )


class forgetting:
    def right_chosen(before, after, mask):
        return (before[mask] - after[mask]).mean()

    def right_two_losses(before, after, mask):
        def loss(logprobs):
            return -torch.where(mask, logprobs, 0.0).sum() / mask.sum()

        return loss(after) - loss(before)


class best_model:
    def right_all_kept(run):
        kept = [(loss, list(numbers)) for numbers, loss in run()]
        return min(kept)[1]

    def right_deep_copy(run):
        best, lowest = None, float("inf")
        for numbers, loss in run():
            if loss <= lowest:
                best, lowest = copy.deepcopy(numbers), loss
        return best

    def wrong_as_given(run):
        """`lowest` begins at 0"""
        best, lowest = None, 0.0
        for numbers, loss in run():
            if loss < lowest:
                best = numbers
        return best

    def wrong_all_kept_without_a_copy(run):
        """`best` is the very list that training continues with"""
        return min((loss, numbers) for numbers, loss in run())[1]

    def wrong_highest(run):
        """you return [5.0, -1.0], where [4.0, -0.6] was expected"""
        return max((loss, list(numbers)) for numbers, loss in run())[1]

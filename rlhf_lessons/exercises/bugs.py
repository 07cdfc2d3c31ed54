"""The field's common bugs, each a switch: break a stage on purpose and learn to recognise it by its
curve.

    with bug("prompt tokens in the loss"):
        steps = list(SFT(model, tokenizer, demonstrations, config))

Inside the `with`, one named function of the package is swapped for one that makes a well-known
mistake; the stages know nothing of it. What is trained inside is for looking at: saving a model is
refused.
"""

import copy
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F

from rlhf_lessons.lm import models
from rlhf_lessons.lm.filters import filter_top_k_top_p
from rlhf_lessons.lm.sampling import token_scores

END = 2  # the id of <eos> in the tokenizers that `train_tokenizer` makes


@dataclass(frozen=True)
class Bug:
    """A mistake, and where it is made."""

    where: str  # the right function under rlhf_lessons, where the stage looks it up
    broken: Callable  # what stands there instead; it gets the right function, then its arguments
    look: str  # how to recognise it


@contextmanager
def bug(name: str) -> Iterator[Bug]:
    """Break what `name` says until the end of the block, and save no model meanwhile.

    KeyError, with the names there are, for another; RuntimeError inside another bug.
    """
    if name not in BUGS:
        raise KeyError(f"no bug is called '{name}'; there are: {', '.join(BUGS)}")
    if open_bug := getattr(models.save_model, "bug", None):
        raise RuntimeError(f"you are in the bug '{open_bug}' already: one mistake at a time")

    def refuse(*_, **__):
        raise RuntimeError(
            f"inside the bug '{name}' nothing is saved: what was trained here is broken on purpose"
        )

    refuse.bug = name
    found = BUGS[name]
    where = f"rlhf_lessons.{found.where}"
    broken = partial(found.broken, pkgutil.resolve_name(where))
    with (
        patch("rlhf_lessons.lm.models.save_model", refuse),
        patch("rlhf_lessons.recipes.save_model", refuse),
        patch(where, broken),
    ):
        yield found


# Lesson 1
def paired_wrongly(_, model, windows, shift, left_out=-100):
    """Pair the logits at place t with the token at t + shift, where 1 is right; one token may be
    left out."""
    logits = model(windows[:, :-1], use_cache=False).logits
    targets = windows[:, shift:]
    time = min(logits.shape[1], targets.shape[1])
    return F.cross_entropy(
        logits[:, :time].flatten(0, 1).float(),
        targets[:, :time].flatten(),
        ignore_index=left_out,
    )


# Lesson 2
def prompts_learned(encode, tokenizer, rows):
    """The loss mask is forgotten: each token is its own label, those of the prompt too."""
    return [(ids, ids) for ids, _ in encode(tokenizer, rows)]


def end_ignored(encode, tokenizer, rows):
    """Padding is found by its id, and that id is the end token's: the real end gets the label -100
    too."""
    pad_id = tokenizer.eos_token_id  # what many recipes set for tokenizers that have no pad token
    return [
        (ids, [-100 if i == pad_id else i for i in labels])
        for ids, labels in encode(tokenizer, rows)
    ]


def unshifted(loss, model, rows, pad_id):
    """Logits meet the label of their own place: the token to guess stands in the input already."""
    return loss(model, [(ids, [-100, *labels[:-1]]) for ids, labels in rows], pad_id)


# Lesson 3
def ties_won_by_the_first(encode, tokenizer, comparisons):
    """Rankings are sorted before they are cut into pairs, so that a tie is won by whichever answer
    stood first."""
    rows = []
    for row in comparisons:
        if "completions" in row:
            marks = row.get("scores") or [-rank for rank in row["ranks"]]
            row = {**row, "scores": [mark - 1e-6 * place for place, mark in enumerate(marks)]}
        rows.append(row)
    return encode(tokenizer, rows)


def read_in_the_last_column(_, model, ids, mask):
    """The reward is read at the end of the row, where shorter answers have their padding."""
    return token_scores(model, ids, mask)[:, -1]


# Lesson 4
def score_after_the_end(gae, rewards, values, mask, *factors):
    """Put each score one token after the end, where padding begins: the mask takes it away."""
    columns = torch.arange(mask.shape[1], device=mask.device)
    at_the_end = columns == mask.sum(1, keepdim=True) - 1
    return gae(rewards.masked_fill(at_the_end, 0.0), values, mask, *factors)


def padding_in_the_returns(gae, rewards, values, mask, *factors):
    """Forget the mask: what the critic says about padding flows back into the answers."""
    return gae(rewards, values, torch.ones_like(mask), *factors)


def another_temperature(generate, policy, tokenizer, prompts, max_new_tokens, temperature, seed):
    """Sample at 0.6 times the temperature at which the update then scores the tokens."""
    return generate(policy, tokenizer, prompts, max_new_tokens, 0.6 * temperature, seed)


def sampled_from_few(sample_next_token, logits, uniform):
    """Sample among the five likeliest tokens; the update scores them as if all had been in the
    draw."""
    return sample_next_token(filter_top_k_top_p(logits, top_k=5), uniform)


def random_critic(_, reward_model):
    """Start the critic from random weights, as if no reward model were at hand. (A warm-up would
    hide it.)"""
    config = copy.deepcopy(reward_model.config)
    config.reward_mean = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return type(reward_model)(config).to(reward_model.device, reward_model.dtype).eval()


# Lesson 7
def groups_mixed_up(leave_one_out, scores, size):
    """Cut the batch as if it held every prompt once, then every prompt again: a baseline comes from
    answers to other prompts."""
    mixed = scores.view(-1, size).T.flatten()
    return leave_one_out(mixed, size).view(size, -1).T.flatten()


def k3_turned_round(kl_k3, logratio):
    """Exchange policy and reference: the price grows as exp(log-ratio)."""
    return kl_k3(-logratio)


def pairs_turned_round(flat_pairs, rankings):
    """Exchange the chosen and the rejected answers before they reach the loss."""
    rows, better, worse, weight = flat_pairs(rankings)
    return rows, worse, better, weight


BUGS = {
    "targets not shifted": Bug(
        "stages.losses.next_token_loss",
        partial(paired_wrongly, shift=0),
        "The loss falls to nearly 0, lower than any text allows, and samples repeat one token: "
        "the model copies.",
    ),
    "targets shifted twice": Bug(
        "stages.losses.next_token_loss",
        partial(paired_wrongly, shift=2),
        "The loss falls as if all were well, but stays higher, and samples lack every other token.",
    ),
    "end left out of pretraining": Bug(
        "stages.losses.next_token_loss",
        partial(paired_wrongly, shift=1, left_out=END),
        "The curve is the healthy one, and no sample ends: count the share that does.",
    ),
    "prompt tokens in the loss": Bug(
        "stages.sft.encode_demonstrations",
        prompts_learned,
        "The loss is another number: the prompts' tokens are in it. Compare two runs on the "
        "answers' tokens alone.",
    ),
    "pad is the end token": Bug(
        "stages.sft.encode_demonstrations",
        end_ignored,
        "The loss looks healthy. Watch the chance of the end token where an answer should end: "
        "it sinks.",
    ),
    "labels not shifted": Bug(
        "stages.sft.sft_loss",
        unshifted,
        "A pretrained model starts with a loss far above blind guessing, and its answers stammer.",
    ),
    "ties in the loss": Bug(
        "stages.reward.to_rankings",
        ties_won_by_the_first,
        "The loss stays near log 2 = 0.69, and the more so the more ties there are.",
    ),
    "reward read at padding": Bug(
        "stages.rollout.last_scores",
        read_in_the_last_column,
        "The reward of a text depends on how long its neighbours in the batch are. Score it "
        "alone, then in company.",
    ),
    "score after the end": Bug(
        "stages.losses.gae",
        score_after_the_end,
        "The reward does not rise, and the value loss is next to nothing: no score ever comes.",
    ),
    "padding in the returns": Bug(
        "stages.losses.gae",
        padding_in_the_returns,
        "No curve tells: explained variance even rises, for what the critic says of padding "
        "flows into the returns. Add padding to a batch: the advantages must not change.",
    ),
    "another temperature": Bug(
        "stages.rollout.generate",
        another_temperature,
        "The ratio is far from 1 before the first update: watch ratio_error.",
    ),
    "top-k in the sampling only": Bug(
        "lm.sampling.sample_next_token",
        sampled_from_few,
        "Reward in training starts above that of the model it starts from: only the likely "
        "tokens are drawn. The model, used without top-k, is no better than before.",
    ),
    "cold critic": Bug(
        "stages.ppo.new_critic",
        random_critic,
        "KL rises from the first step on while explained variance is still near 0: the policy "
        "follows guesses of one who knows nothing.",
    ),
    "groups mixed up": Bug(
        "stages.losses.leave_one_out",
        groups_mixed_up,
        "The reward rises, but slowly: each answer is measured against other prompts' answers. "
        "Give all answers to one prompt the same score: the advantages must be 0.",
    ),
    "k3 turned round": Bug(
        "stages.losses.kl_k3",
        k3_turned_round,
        "KL stays low and the reward rises slowly: a token that got much likelier costs "
        "exponentially more.",
    ),
    "pairs turned round": Bug(
        "stages.dpo.flat_pairs",
        pairs_turned_round,
        "Loss and accuracy look as they should: they are worked out after the mistake. Read the "
        "answers.",
    ),
}

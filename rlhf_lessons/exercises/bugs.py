"""The field's common bugs, each a switch: break a stage on purpose and learn to recognise it by its
curve.

    with bug("prompt tokens in the loss"):
        steps = list(SFT(model, tokenizer, demonstrations, config))

Inside the `with`, one named function of the package is swapped for one that makes a well-known
mistake; the stages know nothing of it. What is trained inside is for looking at: saving a model is
refused.
"""

import copy
import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from rlhf_lessons.lm import models
from rlhf_lessons.lm.sampling import token_scores


@dataclass(frozen=True)
class Bug:
    """A mistake: the function that makes it, and what stands in the package instead of the right
    one meanwhile."""

    where: str  # "module:function" under rlhf_lessons, where the stage looks the function up
    broken: Callable[[Callable], Callable]  # the right function -> the broken one
    look: str  # how to recognise it


BUGS: dict[str, Bug] = {}
SAVING = ("lm.models:save_model", "recipes:save_model")  # where the course saves a model


def swap(where: str, make: Callable[[Callable], Callable]) -> Callable[[], None]:
    """Put `make(function)` in a function's place, "module:function"; return what puts the function
    back."""
    module, function = where.split(":")
    home = importlib.import_module(f"rlhf_lessons.{module}")
    right = getattr(home, function)
    setattr(home, function, make(right))
    return lambda: setattr(home, function, right)


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

    with ExitStack() as after:
        for where in SAVING:
            after.callback(swap(where, lambda right: refuse))
        after.callback(swap(BUGS[name].where, BUGS[name].broken))
        yield BUGS[name]


# Lesson 1
def learning(shift: int, leave_out: int = -100) -> Callable:
    """Pair the logits at place t with the token at t + shift, where 1 is right; one token may be
    left out."""

    def broken(_: Callable) -> Callable:
        def loss(model, windows):
            logits, targets = model(windows[:, :-1], use_cache=False).logits, windows[:, shift:]
            time = min(logits.shape[1], targets.shape[1])
            return F.cross_entropy(
                logits[:, :time].flatten(0, 1).float(),
                targets[:, :time].flatten(),
                ignore_index=leave_out,
            )

        return loss

    return broken


END = 2  # the id of <eos> in the tokenizers that `train_tokenizer` makes
BUGS["targets not shifted"] = Bug(
    "stages.losses:next_token_loss",
    learning(shift=0),
    "The loss falls to nearly 0, lower than any text allows, and samples repeat one token: the "
    "model copies.",
)
BUGS["targets shifted twice"] = Bug(
    "stages.losses:next_token_loss",
    learning(shift=2),
    "The loss falls as if all were well, but stays higher, and samples lack every other token.",
)
BUGS["end left out of pretraining"] = Bug(
    "stages.losses:next_token_loss",
    learning(shift=1, leave_out=END),
    "The curve is the healthy one, and no sample ends: count the share that does.",
)


# Lesson 2
def prompts_learned(encode: Callable) -> Callable:
    """The loss mask is forgotten: each token is its own label, those of the prompt too."""
    return lambda tokenizer, rows: [(ids, ids) for ids, _ in encode(tokenizer, rows)]


def end_ignored(encode: Callable) -> Callable:
    """Padding is found by its id, and that id is the end token's: the real end gets the label -100
    too."""

    def encode_by_id(tokenizer, rows):
        pad_id = (
            tokenizer.eos_token_id
        )  # what many recipes set for tokenizers that have no pad token
        return [
            (ids, [-100 if i == pad_id else i for i in labels])
            for ids, labels in encode(tokenizer, rows)
        ]

    return encode_by_id


def unshifted(loss: Callable) -> Callable:
    """Logits meet the label of their own place: the token to guess stands in the input already."""

    def loss_in_place(model, rows, pad_id):
        return loss(model, [(ids, [-100, *labels[:-1]]) for ids, labels in rows], pad_id)

    return loss_in_place


BUGS["prompt tokens in the loss"] = Bug(
    "stages.sft:encode_demonstrations",
    prompts_learned,
    "The loss is another number: the prompts' tokens are in it. Compare two runs on the answers' "
    "tokens alone.",
)
BUGS["pad is the end token"] = Bug(
    "stages.sft:encode_demonstrations",
    end_ignored,
    "The loss looks healthy. Watch the chance of the end token where an answer should end: it "
    "sinks.",
)
BUGS["labels not shifted"] = Bug(
    "stages.sft:sft_loss",
    unshifted,
    "A pretrained model starts with a loss far above blind guessing, and its answers stammer.",
)


# Lesson 3
def ties_won_by_the_first(encode: Callable) -> Callable:
    """Rankings are sorted before they are cut into pairs, so that a tie is won by whichever answer
    stood first."""

    def encode_sorted(tokenizer, comparisons):
        rows = []
        for row in comparisons:
            if "completions" in row:
                marks = row.get("scores") or [-rank for rank in row["ranks"]]
                row = {**row, "scores": [mark - 1e-6 * place for place, mark in enumerate(marks)]}
            rows.append(row)
        return encode(tokenizer, rows)

    return encode_sorted


def read_in_the_last_column(_: Callable) -> Callable:
    """The reward is read at the end of the row, where shorter answers have their padding."""

    def last_column(model, ids, mask):
        return token_scores(model, ids, mask)[:, -1]

    return last_column


BUGS["ties in the loss"] = Bug(
    "stages.reward:to_rankings",
    ties_won_by_the_first,
    "The loss stays near log 2 = 0.69, and the more so the more ties there are.",
)
BUGS["reward read at padding"] = Bug(
    "stages.rollout:last_scores",
    read_in_the_last_column,
    "The reward of a text depends on how long its neighbours in the batch are. Score it alone, "
    "then in company.",
)


# Lesson 4
def score_after_the_end(gae: Callable) -> Callable:
    """Put each score one token after the end, where padding begins: the mask takes it away."""

    def broken(rewards, values, mask, gamma, gae_lambda):
        columns = torch.arange(mask.shape[1], device=mask.device)
        at_the_end = columns == mask.sum(1, keepdim=True) - 1
        return gae(rewards.masked_fill(at_the_end, 0.0), values, mask, gamma, gae_lambda)

    return broken


def padding_in_the_returns(gae: Callable) -> Callable:
    """Forget the mask: what the critic says about padding flows back into the answers."""

    def broken(rewards, values, mask, gamma, gae_lambda):
        return gae(rewards, values, torch.ones_like(mask), gamma, gae_lambda)

    return broken


def another_temperature(generate: Callable) -> Callable:
    """Sample at 0.6 times the temperature at which the update then scores the tokens."""

    def broken(policy, tokenizer, prompts, max_new_tokens, temperature, seed):
        return generate(policy, tokenizer, prompts, max_new_tokens, 0.6 * temperature, seed)

    return broken


def sampled_from_few(generate: Callable) -> Callable:
    """Sample among the five likeliest tokens; the update scores them as if all had been in the
    draw."""

    def broken(policy, tokenizer, prompts, max_new_tokens, temperature, seed):
        return generate(policy, tokenizer, prompts, max_new_tokens, temperature, seed, top_k=5)

    return broken


def random_critic(_: Callable) -> Callable:
    """Start the critic from random weights, as if no reward model were at hand. (A warm-up would
    hide it.)"""

    def broken(reward_model):
        config = copy.deepcopy(reward_model.config)
        config.reward_mean = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return type(reward_model)(config).to(reward_model.device, reward_model.dtype).eval()

    return broken


BUGS["score after the end"] = Bug(
    "stages.losses:gae",
    score_after_the_end,
    "The reward does not rise, and the value loss is next to nothing: no score ever comes.",
)
BUGS["padding in the returns"] = Bug(
    "stages.losses:gae",
    padding_in_the_returns,
    "No curve tells: explained variance even rises, for what the critic says of padding flows "
    "into the returns. Add "
    "padding to a batch: the advantages must not change.",
)
BUGS["another temperature"] = Bug(
    "stages.rollout:generate",
    another_temperature,
    "The ratio is far from 1 before the first update: watch ratio_error.",
)
BUGS["top-k in the sampling only"] = Bug(
    "stages.rollout:generate",
    sampled_from_few,
    "Reward in training starts above that of the model it starts from: only the likely tokens are "
    "drawn. The model, "
    "used without top-k, is no better than before.",
)
BUGS["cold critic"] = Bug(
    "stages.ppo:new_critic",
    random_critic,
    "KL rises from the first step on while explained variance is still near 0: the policy follows "
    "guesses of one who "
    "knows nothing.",
)

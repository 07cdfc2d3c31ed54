"""Lesson 2's traps bite, leave no trace, and are told by the numbers that it names; its mask box
shows the labels."""

import copy

import pytest
import torch

from rlhf_lessons.exercises.bugs import BUGS, bug
from rlhf_lessons.lm.models import new_model, toy_config
from rlhf_lessons.lm.sampling import inputs, pad
from rlhf_lessons.stages import sft
from rlhf_lessons.stages.config import SFTConfig
from rlhf_lessons.widgets.mask import LABELS, MaskBox

NAMES = ("prompt tokens in the loss", "pad is the end token", "labels not shifted")


def trained(model, tokenizer, rows, name=None):
    """Return a copy of a model, trained in a trap or none, and the loss that its last step
    reported."""
    model = copy.deepcopy(model)
    config = SFTConfig(epochs=20, lr=5e-3)
    if name is None:
        steps = list(sft.SFT(model, tokenizer, rows, config))
    else:
        with bug(name):
            steps = list(sft.SFT(model, tokenizer, rows, config))
    return model, steps[-1].loss


@pytest.fixture(scope="module")
def fresh(tokenizer):
    return new_model(toy_config(len(tokenizer), layers=2, width=32, heads=2, mlp=64), seed=0)


@pytest.fixture(scope="module")
def healthy(fresh, tokenizer, demonstrations):
    return trained(fresh, tokenizer, demonstrations)


@torch.no_grad()
def logprobs(model, tokenizer, rows):
    """Return log-probs (batch, time - 1) of each token that came, and labels and lengths of the
    rows."""
    rows = sft.encode_demonstrations(tokenizer, rows)
    ids, mask = pad([ids for ids, _ in rows], tokenizer.pad_token_id)
    labels, _ = pad([labels for _, labels in rows], sft.IGNORE)
    said = (
        model(**inputs(ids, mask))
        .logits[:, :-1]
        .log_softmax(-1)
        .gather(-1, ids[:, 1:, None])[..., 0]
    )
    return said, labels[:, 1:], mask.sum(1)


def end(model, tokenizer, rows):
    """Return the mean probability of the end token where the answers end."""
    said, _, lengths = logprobs(model, tokenizer, rows)
    return said[torch.arange(len(said)), lengths - 2].exp().mean().item()


def prompt_loss(model, tokenizer, rows):
    said, labels, lengths = logprobs(model, tokenizer, rows)
    real = torch.arange(1, said.shape[1] + 1) < lengths[:, None]
    return -said[(labels == sft.IGNORE) & real].mean().item()


@pytest.mark.parametrize("name", NAMES)
def test_after_the_block_the_right_function_is_back(name):
    function = BUGS[name].where.rpartition(".")[2]
    right = getattr(sft, function)
    with bug(name):
        assert getattr(sft, function) is not right
    assert getattr(sft, function) is right


def test_with_prompts_in_the_loss_the_model_learns_to_write_prompts(
    fresh, healthy, tokenizer, demonstrations
):
    broken, _ = trained(fresh, tokenizer, demonstrations, "prompt tokens in the loss")
    assert (
        prompt_loss(broken, tokenizer, demonstrations)
        < 1.5
        < 3
        < prompt_loss(healthy[0], tokenizer, demonstrations)
    )


def test_with_the_end_ignored_the_model_does_not_learn_to_end(
    fresh, healthy, tokenizer, demonstrations
):
    broken, loss = trained(fresh, tokenizer, demonstrations, "pad is the end token")
    assert end(broken, tokenizer, demonstrations) < 0.02
    assert (
        end(healthy[0], tokenizer, demonstrations) > 0.15
    )  # answers of 3 to 8 words end anywhere: 1 in 6 by chance
    assert loss < healthy[1] + 0.5  # and the loss does not tell


def test_unshifted_labels_give_a_loss_too_good_to_be_true(
    fresh, healthy, tokenizer, demonstrations
):
    broken, loss = trained(fresh, tokenizer, demonstrations, "labels not shifted")
    assert loss < 0.5 * healthy[1]
    rows = sft.encode_demonstrations(tokenizer, demonstrations)
    with torch.no_grad():
        assert sft.sft_loss(broken, rows, tokenizer.pad_token_id) > 3


def test_the_mask_box_shows_each_token_and_what_the_mistakes_change(tokenizer):
    box, views = MaskBox(tokenizer, "What is 4-2?", "2."), {}
    for box.labels.value in LABELS:
        views[box.labels.value] = box.view.value
    counts = [int(view.rpartition("<p>")[2].split()[0]) for view in views.values()]
    assert counts[1] > counts[0] == counts[2] + 2  # two ends are ignored
    assert (
        'title="padding"' in views["as they should be"]
        and "&lt;eos&gt;" in views["as they should be"]
    )


def test_the_mask_box_follows_what_is_typed_and_says_what_is_missing(tokenizer):
    box = MaskBox(tokenizer, "What is 4-2?", "2.")
    box.completion.value = "<b>dragon</b>"
    assert "<b>" not in box.view.value and "&lt;" in box.view.value
    box.completion.value = " "
    assert "Write an answer: there is nothing to learn" in box.note.value
    box.prompt.value = " "
    assert "Write a prompt" in box.note.value and not box.view.value


def test_the_mask_box_shows_no_more_than_a_model_reads(tokenizer):
    box = MaskBox(tokenizer, "What is 4-2?", "2.")
    box.completion.value = "dragon " * 20_000
    assert "too long" in box.note.value and not box.view.value
    box.completion.value = "dragon"
    assert 'title="learned"' in box.view.value and not box.note.value

"""Lesson 1's traps bite, and after the block the right loss is back."""

import contextlib
import json

import pytest
import tiny
import torch

from rlhf_lessons import paths
from rlhf_lessons.exercises import lesson1
from rlhf_lessons.exercises.bugs import BUGS, bug
from rlhf_lessons.lm.models import new_model, toy_config
from rlhf_lessons.stages import losses as formulas
from rlhf_lessons.stages.config import PretrainConfig
from rlhf_lessons.stages.pretrain import Pretrain, validation_loss
from rlhf_lessons.world.corpus import scraps

NAMES = [name for name, found in BUGS.items() if found.where == "stages.losses.next_token_loss"]
WINDOWS = torch.randint(5, 300, (4, 17), generator=torch.manual_seed(0))


def test_there_are_three():
    assert NAMES == ["targets not shifted", "targets shifted twice", "end left out of pretraining"]


@pytest.mark.parametrize("name", NAMES)
def test_the_right_loss_is_back_after_the_block(name):
    right = formulas.next_token_loss
    with pytest.raises(RuntimeError), bug(name):
        assert formulas.next_token_loss is not right
        raise RuntimeError
    assert formulas.next_token_loss is right


@pytest.mark.parametrize("name, shift", [("targets not shifted", 0), ("targets shifted twice", 2)])
def test_a_wrong_shift_is_the_mean_surprise_of_the_wrong_token(name, shift):
    model = tiny.model()
    with torch.no_grad():
        logprobs = model(WINDOWS[:, :-1]).logits.log_softmax(-1)
        pairs = [(t, t + shift) for t in range(16) if t + shift <= 16]
        wanted = -torch.stack(
            [logprobs[b, t, WINDOWS[b, s]] for b in range(4) for t, s in pairs]
        ).mean()
        with bug(name):
            found = formulas.next_token_loss(model, WINDOWS)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_without_the_end_token_the_loss_is_that_of_the_others():
    model, windows = tiny.model(), WINDOWS.clone()
    windows[0, 5] = windows[2, 9] = model.config.eos_token_id
    with torch.no_grad(), bug("end left out of pretraining"):
        found = formulas.next_token_loss(model, windows)
    with torch.no_grad():
        losses = (
            -model(windows[:, :-1]).logits.log_softmax(-1).gather(-1, windows[:, 1:, None])[..., 0]
        )
    assert torch.allclose(
        found, losses[windows[:, 1:] != model.config.eos_token_id].mean(), atol=1e-5
    )
    assert not torch.allclose(found, losses.mean(), atol=1e-5)


@pytest.fixture(scope="module")
def trained():
    """Train the same small model in each trap and in none: (loss that it reports in the end, right
    loss) by name."""
    torch.set_num_threads(1)
    words, found = tiny.tokenizer(), {}
    rows = words([f"<bos>{text}<eos>" for text in scraps(300)])["input_ids"]
    tokens = torch.tensor([token for row in rows for token in row])
    config = PretrainConfig(
        steps=150, batch_size=8, context=32, lr=2e-2, warmup=5, validate_every=1000
    )
    for name in (None, *NAMES):
        model = new_model(toy_config(300, layers=1, width=32, heads=2, mlp=64), seed=0)
        with bug(name) if name else contextlib.nullcontext():
            losses = [step.loss for step in Pretrain(model, tokens, tokens[:33], config)]
        with torch.no_grad():
            logprobs = model(torch.tensor([rows[0]])).logits[0].log_softmax(-1)
        end = logprobs[len(rows[0]) - 2, model.config.eos_token_id].item()
        found[name] = (
            sum(losses[-10:]) / 10,
            validation_loss(model, tokens[:2000], 32),
            end,
        )
    return found


def test_unshifted_targets_look_better_and_are_worse(trained):
    healthy, broken = trained[None], trained["targets not shifted"]
    assert broken[0] < 0.3 * healthy[0] and broken[1] > healthy[1] + 3


def test_targets_shifted_twice_leave_the_next_token_unlearned(trained):
    healthy, broken = trained[None], trained["targets shifted twice"]
    assert broken[0] < healthy[0] + 0.8 and broken[1] > healthy[1] + 0.25


def test_without_the_end_token_the_curve_is_healthy_and_the_text_never_ends(trained):
    healthy, broken = trained[None], trained["end left out of pretraining"]
    assert abs(broken[0] - healthy[0]) < 0.3 and broken[2] < healthy[2] - 3


def test_the_four_curves_are_what_exercise_1_8_says_of_them():
    """By numbers that a reader sees: who is slow, who parts from held-out text, who hangs."""
    file = paths.DATA / "results" / "lesson1_traps.json"
    for name, losses in json.loads(file.read_text(encoding="utf-8"))["curves"].items():
        training, held_out = losses["training text"], losses["held-out text"]
        if held_out[-1] > min(held_out) + 0.5:
            found = "learned by heart"
        elif training[-1] > 6 and max(held_out[:-1]) < 7.5:
            found = "rate too low"
        else:
            found = "rate too high" if training[7] > 4 else "sound"
        assert found == lesson1.diagnosis.right(name), name

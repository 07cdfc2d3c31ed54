"""The traps of lesson 4 bite and are gone after their block, and the slider is right."""
import pytest
import torch

from rlhf_lessons.stages import ppo, ppo_math
from rlhf_lessons.traps import TRAPS, trap
from rlhf_lessons.widgets.clip import ClippedObjective, in_words, pull

NAMES = ("score after the end", "padding in the returns", "another temperature")
MASK = torch.arange(6) < torch.tensor([6, 3, 1])[:, None]


@pytest.mark.parametrize("name", NAMES)
def test_after_the_block_the_right_function_is_back_even_after_an_error(name):
    before = ppo_math.gae, ppo.generate
    with pytest.raises(ZeroDivisionError), trap(name):
        assert (ppo_math.gae, ppo.generate) != before
        raise ZeroDivisionError
    assert (ppo_math.gae, ppo.generate) == before
    assert TRAPS[name].look.endswith(".")


def test_a_score_after_the_end_comes_to_nobody():
    rewards = torch.zeros(3, 6)
    rewards[[0, 1, 2], [5, 2, 0]] = 4.0
    right = ppo_math.gae(rewards, torch.zeros(3, 6), MASK, 1.0, 0.95)[1]
    with trap("score after the end"):
        late = ppo_math.gae(rewards, torch.zeros(3, 6), MASK, 1.0, 0.95)[1]
    assert right[MASK].min() > 3 and late.abs().max() == 0


def test_padding_in_the_returns_changes_short_answers_only():
    rewards, values = torch.randn(2, 3, 6, generator=torch.manual_seed(0))
    right = ppo_math.gae(rewards, values, MASK, 1.0, 0.95)[0]
    with trap("padding in the returns"):
        leaky = ppo_math.gae(rewards, values, MASK, 1.0, 0.95)[0]
    assert torch.equal(right[0], leaky[0])
    assert (right - leaky)[1:][MASK[1:]].abs().min() > 0.01


def test_another_temperature_samples_colder_than_the_stage_asks(monkeypatch):
    """That this makes the ratio leave 1 is seen in the notebook, on the shipped model."""
    monkeypatch.setattr(ppo, "generate", lambda policy, tokenizer, prompts, length, temperature, seed: temperature)
    with trap("another temperature"):
        assert ppo.generate(None, None, [], 60, 1.0, 0) == pytest.approx(0.6)
    assert ppo.generate(None, None, [], 60, 1.0, 0) == 1.0


@pytest.mark.parametrize(("ratio", "advantage", "slope", "word"), [
    (1.0, 1.0, 1.0, "up"), (1.4, 1.0, 0.0, "no more"), (0.6, 1.0, 1.0, "up"), (1.4, -2.0, -2.0, "down"),
    (0.6, -2.0, 0.0, "no more"), (1.1, 0.0, 0.0, "nowhere")])
def test_a_token_pulls_as_the_words_say(ratio, advantage, slope, word):
    assert pull(ratio, advantage, 0.2) == pytest.approx(slope, abs=1e-6) and word in in_words(ratio, advantage, 0.2)


def test_the_picture_follows_the_sliders_and_says_so_in_words():
    sliders = ClippedObjective(ratio=1.4, clip=0.2)
    before = sliders.picture.value
    assert "pulls no more" in before and "alt='Ratio 1.40" in before
    sliders.clip.value = 0.5
    assert "pulls its probability up" in sliders.picture.value and sliders.picture.value != before
    sliders.advantage.value = -1.0
    assert "down" in sliders.picture.value
    sliders.ratio.value = 0.4
    assert "pulls no more" in sliders.picture.value

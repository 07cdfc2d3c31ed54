"""The traps of lesson 4 bite and are gone after their block, and the slider is right."""

import copy
import itertools
import json

import pytest
import torch

from rlhf_lessons import paths
from rlhf_lessons.exercises.bugs import BUGS, bug
from rlhf_lessons.lm import sampling
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.stages import losses, ppo, rollout
from rlhf_lessons.stages.config import PPOConfig
from rlhf_lessons.widgets.clip import ClippedObjective, objective_in_words, pull

NAMES = (
    "score after the end",
    "padding in the returns",
    "another temperature",
    "top-k in the sampling only",
    "cold critic",
)
CURVES = json.loads((paths.DATA / "results" / "lesson4_ppo.json").read_text(encoding="utf-8"))
MASK = torch.arange(6) < torch.tensor([6, 3, 1])[:, None]


@pytest.mark.parametrize("name", NAMES)
def test_after_the_block_the_right_function_is_back_even_after_an_error(name):
    def swapped():
        return losses.gae, rollout.generate, sampling.sample_next_token, ppo.new_critic

    before = swapped()
    with pytest.raises(ZeroDivisionError), bug(name):
        assert swapped() != before
        raise ZeroDivisionError
    assert swapped() == before
    assert BUGS[name].look.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_the_stage_itself_runs_into_the_bug(llama, tokenizer, name):
    """The function that is swapped is the one that PPO calls, wherever the stage takes it from."""

    def first_step():
        policy, scorer = copy.deepcopy(llama), to_reward_model(llama)
        config = PPOConfig(steps=1, batch_size=32, max_new_tokens=40, temperature=1.5)
        return next(ppo.PPO(policy, tokenizer, scorer, ["Write about anna."], config))

    healthy = first_step()
    with bug(name):
        broken = first_step()
    assert broken != healthy == first_step()


def test_a_score_after_the_end_comes_to_nobody():
    rewards = torch.zeros(3, 6)
    rewards[[0, 1, 2], [5, 2, 0]] = 4.0
    right = losses.gae(rewards, torch.zeros(3, 6), MASK, 1.0, 0.95)[1]
    with bug("score after the end"):
        late = losses.gae(rewards, torch.zeros(3, 6), MASK, 1.0, 0.95)[1]
    assert right[MASK].min() > 3 and late.abs().max() == 0


def test_padding_in_the_returns_changes_short_answers_only():
    rewards, values = torch.randn(2, 3, 6, generator=torch.manual_seed(0))
    right = losses.gae(rewards, values, MASK, 1.0, 0.95)[0]
    with bug("padding in the returns"):
        leaky = losses.gae(rewards, values, MASK, 1.0, 0.95)[0]
    assert torch.equal(right[0], leaky[0])
    assert (right - leaky)[1:][MASK[1:]].abs().min() > 0.01


def test_another_temperature_samples_colder_than_the_stage_asks(monkeypatch):
    """That this makes the ratio leave 1 is seen in the notebook, on the shipped model."""
    monkeypatch.setattr(
        rollout,
        "generate",
        lambda policy, tokenizer, prompts, length, temperature, seed: temperature,
    )
    with bug("another temperature"):
        assert rollout.generate(None, None, [], 60, 1.0, 0) == pytest.approx(0.6)
    assert rollout.generate(None, None, [], 60, 1.0, 0) == 1.0


def test_with_top_k_only_the_likeliest_tokens_come(llama, tokenizer):
    prompts = ["Write about anna."] * 64
    free = rollout.generate(llama, tokenizer, prompts, 8, 1.0, 0)
    with bug("top-k in the sampling only"):
        few = rollout.generate(llama, tokenizer, prompts, 8, 1.0, 0)
    assert len(set(few.tokens[:, 0].tolist())) <= 5 < len(set(free.tokens[:, 0].tolist()))
    assert few.logprobs[few.response_mask].mean() > free.logprobs[free.response_mask].mean()


def test_a_cold_critic_has_other_weights_and_the_reward_model_keeps_its_own(llama):
    reward_model = to_reward_model(llama)
    right = {name: x.clone() for name, x in reward_model.state_dict().items()}
    with bug("cold critic"):
        cold = ppo.new_critic(reward_model)
    assert not torch.equal(cold.score.weight, right["score.weight"])
    assert all(torch.equal(x, right[name]) for name, x in reward_model.state_dict().items())
    assert torch.equal(ppo.new_critic(reward_model).score.weight, right["score.weight"])


def late(name: str, metric: str) -> torch.Tensor:
    """The mean of the last four steps of each seed."""
    return torch.tensor(CURVES["runs"][name][metric])[:, -4:].mean(1)


def test_the_shipped_curves_are_of_four_seeds_and_equal_length():
    assert len(CURVES["seeds"]) >= 4
    for name, run in CURVES["runs"].items():
        assert torch.tensor(run["reward"]).shape == (len(CURVES["seeds"]), 20), name


def test_what_the_lesson_says_of_prices_and_mistakes_is_in_the_curves():
    healthy, prices = "good/medium", list(CURVES["prices"])
    after = {name: sum(run["after"]) / len(run["after"]) for name, run in CURVES["runs"].items()}
    weak = [f"weak/{price}" for price in prices]
    # The cheaper the KL, the more reward and KL, and the worse the answers.
    for dear, cheap in itertools.pairwise(reversed(weak)):
        assert (
            late(dear, "reward").mean() < late(cheap, "reward").mean()
            and after[dear] > after[cheap]
        )
        assert (late(dear, "kl") < late(cheap, "kl")).all()
    good = {price: after[f"good/{price}"] for price in prices}
    before = CURVES["runs"][healthy]["before"]
    assert min(good.values()) > sum(before) / len(before) + 0.03
    assert max(good, key=good.get) == "medium" and min(good, key=good.get) == "large"
    assert (late("good/none", "kl") > 1.3 * late(healthy, "kl")).all()
    assert late("good/none", "kl").mean() > 1.8 * late(healthy, "kl").mean()
    assert (
        late("trap/score after the end", "value_loss") < 0.2 * late(healthy, "value_loss")
    ).all()
    assert torch.tensor(CURVES["runs"]["trap/another temperature"]["ratio_error"])[:, 0].min() > 0.5
    assert torch.tensor(CURVES["runs"][healthy]["ratio_error"]).max() < 0.01
    assert (
        late("trap/padding in the returns", "explained_variance").mean()
        > late(healthy, "explained_variance").mean()
    )
    early_kl = {
        name: torch.tensor(CURVES["runs"][name]["kl"])[:, 2:6].mean()
        for name in (healthy, "trap/cold critic")
    }
    assert early_kl["trap/cold critic"] > 2 * early_kl[healthy]
    assert (
        after["trap/cold critic"] < after[healthy] - 0.03 > after["trap/top-k in the sampling only"]
    )
    assert abs(after["trap/padding in the returns"] - after[healthy]) < 0.03


@pytest.mark.parametrize(
    ("ratio", "advantage", "slope", "word"),
    [
        (1.0, 1.0, 1.0, "up"),
        (1.4, 1.0, 0.0, "no more"),
        (0.6, 1.0, 1.0, "up"),
        (1.4, -2.0, -2.0, "down"),
        (0.6, -2.0, 0.0, "no more"),
        (1.1, 0.0, 0.0, "nowhere"),
    ],
)
def test_a_token_pulls_as_the_words_say(ratio, advantage, slope, word):
    assert pull(ratio, advantage, 0.2) == pytest.approx(
        slope, abs=1e-6
    ) and word in objective_in_words(ratio, advantage, 0.2)


def test_the_picture_follows_the_sliders_and_says_so_in_words():
    sliders = ClippedObjective()
    before = sliders.picture.value
    assert "pulls no more" in before and "alt='Ratio 1.40" in before
    sliders.clip.value = 0.5
    assert "pulls its probability up" in sliders.picture.value and sliders.picture.value != before
    sliders.advantage.value = -1.0
    assert "down" in sliders.picture.value
    sliders.ratio.value = 0.4
    assert "pulls no more" in sliders.picture.value

"""RLOO, GRPO and DPO against exact values: all groups of responses, and optima that are known."""

import copy
import itertools
import math
from dataclasses import replace

import pytest
import torch
from test_stages_learn import anna_share
from tiny_models import WORDS, tiny_llama

from rlhf_lessons.lm.models import new_model, toy_config
from rlhf_lessons.lm.sampling import logprobs_of
from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts
from rlhf_lessons.stages import losses
from rlhf_lessons.stages.config import DPOConfig, GRPOConfig, RLOOConfig, SFTConfig
from rlhf_lessons.stages.dpo import DPO, implicit_rewards
from rlhf_lessons.stages.reward import to_rankings
from rlhf_lessons.stages.rloo import GRPO, RLOO
from rlhf_lessons.stages.sft import SFT

THREE = torch.tensor([0.2, -0.5, 0.4])  # logits of a policy that answers with one of three tokens
REFERENCE = torch.tensor([0.0, 0.3, -0.2]).log_softmax(0)
REWARDS = torch.tensor([1.0, -2.0, 0.5])


def groups(size: int):
    """Every group of that many answers of the three-token policy."""
    return [torch.tensor(group) for group in itertools.product(range(3), repeat=size)]


def expected_gradient(size: int, loss_of) -> torch.Tensor:
    """The gradient of a method's loss, averaged over all groups, each as likely as it is."""
    logits = THREE.clone().requires_grad_()
    total = 0.0
    for group in groups(size):
        logprobs = logits.log_softmax(0)[group]
        total += logprobs.detach().sum().exp() * loss_of(group, logprobs[:, None])
    total.backward()
    return logits.grad


def exact_gradient(value_of) -> torch.Tensor:
    """The gradient of the expectation over the policy of `value_of(its log-probs)`."""
    logits = THREE.clone().requires_grad_()
    logprobs = logits.log_softmax(0)
    (logprobs.exp() * value_of(logprobs)).sum().backward()
    return logits.grad


class TestGroups:
    scores = torch.tensor([1.0, 2.0, 6.0, 5.0, 5.0, 5.0])

    def test_leave_one_out_is_the_score_less_the_mean_of_the_others(self):
        found = losses.leave_one_out(self.scores, 3)
        expected = torch.tensor([1 - 4.0, 2 - 3.5, 6 - 1.5, 0, 0, 0])
        torch.testing.assert_close(found, expected)

    def test_rloo_is_dr_grpo_times_g_over_g_minus_one(self):
        rloo = losses.leave_one_out(self.scores, 3)
        dr_grpo = losses.group_advantages(self.scores, 3, scale=False)
        torch.testing.assert_close(rloo, 3 / 2 * dr_grpo)

    def test_grpo_divides_by_the_groups_own_deviation(self):
        found = losses.group_advantages(self.scores, 3, scale=True)
        deviation = math.sqrt((4 + 1 + 9) / 2)
        torch.testing.assert_close(found[:3], torch.tensor([-2.0, -1.0, 3.0]) / (deviation + 1e-4))

    @pytest.mark.parametrize("score", [1.3, 0.7, 5.0])
    def test_equal_scores_give_exactly_nothing(self, score):
        """Rounding, divided by a standard deviation of nearly 0, would be noise for Adam."""
        same = torch.full((8,), score)
        assert (losses.group_advantages(same, 8, scale=True) == 0).all()
        assert (losses.leave_one_out(same, 8) == 0).all()

    def test_equal_scores_teach_nothing(self):
        assert (losses.group_advantages(self.scores, 3, scale=True)[3:] == 0).all()
        assert (losses.leave_one_out(self.scores, 3)[3:] == 0).all()


class TestGradients:
    @pytest.mark.parametrize("size", [2, 3, 4])
    def test_rloo_follows_reward_less_kl_exactly(self, size):
        beta = 0.3
        mask = torch.ones(size, 1, dtype=torch.bool)

        def loss(group, logprobs):
            kl = losses.kl_k1(logprobs.detach()[:, 0] - REFERENCE[group])
            advantages = losses.leave_one_out(REWARDS[group] - beta * kl, size)
            return losses.rloo_loss(logprobs, logprobs.detach(), mask, advantages, 0.2).mean()

        right = exact_gradient(lambda logprobs: beta * (logprobs - REFERENCE) - REWARDS)
        torch.testing.assert_close(expected_gradient(size, loss), right)

    @pytest.mark.parametrize("size", [2, 3, 4])
    def test_dr_grpo_follows_the_reward_up_to_a_constant(self, size):
        mask = torch.ones(size, 1, dtype=torch.bool)

        def loss(group, logprobs):
            advantages = losses.group_advantages(REWARDS[group], size, scale=False)
            reference = REFERENCE[group][:, None]
            return losses.grpo_loss(
                logprobs, logprobs.detach(), reference, mask, advantages, 0.2, 0.0, 5
            ).mean()

        right = exact_gradient(lambda _: -REWARDS) * (size - 1) / size / 5
        torch.testing.assert_close(expected_gradient(size, loss), right)

    def test_the_deviation_bends_grpos_gradient(self):
        """Dividing by the deviation is no constant: rare answers are over-weighted."""
        mask = torch.ones(4, 1, dtype=torch.bool)

        def loss(group, logprobs):
            advantages = losses.group_advantages(REWARDS[group], 4, scale=True)
            return losses.grpo_loss(
                logprobs, logprobs.detach(), REFERENCE[group][:, None], mask, advantages, 0.2, 0.0
            ).mean()

        found = expected_gradient(4, loss)
        right = exact_gradient(lambda _: -REWARDS)
        cosine = torch.cosine_similarity(found, right, 0)
        assert 0.5 < cosine < 0.95

    def test_the_price_of_kl_in_grpos_loss_is_its_value_but_not_its_gradient(self):
        """On average k3 is the KL; but its mean gradient is that of the KL the other way round. "A
        Comedy of Estimators" (2512.21852) warns of the usual ways to put KL into a loss."""
        mask = torch.ones(1, 1, dtype=torch.bool)
        value = 0.0

        def loss(group, logprobs):
            nonlocal value
            reference = REFERENCE[group][:, None]
            zero = torch.zeros(1)
            found = losses.grpo_loss(
                logprobs, logprobs.detach(), reference, mask, zero, 0.2, 1.0
            ).mean()
            value += logprobs.detach().exp().item() * found.item()
            return found

        gradient = expected_gradient(1, loss)
        policy = THREE.log_softmax(0)
        assert value == pytest.approx((policy.exp() * (policy - REFERENCE)).sum().item(), abs=1e-6)
        logits = THREE.clone().requires_grad_()
        (REFERENCE.exp() * (REFERENCE - logits.log_softmax(0))).sum().backward()
        torch.testing.assert_close(gradient, logits.grad)


class TestGRPOLoss:
    def test_it_starts_at_zero_and_yet_teaches(self):
        logprobs = torch.full((4, 3), -1.0, requires_grad=True)
        mask = torch.ones(4, 3, dtype=torch.bool)
        advantages = losses.group_advantages(torch.tensor([1.0, 0.0, 0.0, 3.0]), 4, True)
        found = losses.grpo_loss(
            logprobs, logprobs.detach(), logprobs.detach(), mask, advantages, 0.2, 0.04
        ).mean()
        found.backward()
        assert found.item() == pytest.approx(0, abs=1e-6) and logprobs.grad.abs().sum() > 0.5

    def test_a_response_counts_once_however_long_or_by_its_tokens(self):
        old = torch.zeros(2, 4)
        mask = torch.tensor([[True, False, False, False], [True] * 4])
        advantages = torch.tensor([-1.0, -1.0])
        settings = (old, old, old, mask, advantages, 0.2, 0.0)
        assert losses.grpo_loss(*settings).tolist() == [1.0, 1.0]
        assert losses.grpo_loss(*settings, constant=8).tolist() == [0.125, 0.5]

    def test_padding_of_rloo_may_hold_anything(self):
        mask = torch.tensor([[True, True, False]])
        junk = torch.tensor([[-1.0, -2.0, float("nan")]])
        clean = torch.tensor([[-1.0, -2.0, 0.0]])
        found = losses.rloo_loss(junk, clean, mask, torch.ones(1), 0.2)
        torch.testing.assert_close(found, -torch.ones(1))

    def test_padding_may_hold_anything(self):
        mask = torch.tensor([[True, True, False]])
        junk = torch.tensor([[-1.0, -2.0, float("nan")]])
        clean = torch.tensor([[-1.0, -2.0, 0.0]])
        one = torch.ones(1)
        found = losses.grpo_loss(junk, clean, clean, mask, one, 0.2, 0.1)
        torch.testing.assert_close(found, -one)

    def test_rloo_takes_the_ratio_of_the_whole_response(self):
        mask = torch.tensor([[True, True, False]])
        old = torch.tensor([[-1.0, -1.0, 0.0]])
        new = torch.tensor([[-0.9, -0.9, 0.0]])  # each token's ratio is 1.105, their product 1.22
        found = losses.rloo_loss(new, old, mask, torch.ones(1), 0.2)
        assert found.item() == pytest.approx(-1.2)


def small(tokenizer):
    return new_model(toy_config(len(tokenizer), layers=2, width=32, heads=2, mlp=64), seed=0)


@pytest.fixture(scope="module")
def sft_model(tokenizer, demonstrations):
    model = small(tokenizer)
    list(SFT(model, tokenizer, demonstrations, SFTConfig(epochs=20, lr=5e-3)))
    return model


ON_POLICY = {
    "rloo": (RLOO, RLOOConfig()),
    "grpo": (GRPO, GRPOConfig()),
    "dr_grpo": (GRPO, GRPOConfig(loss_type="dr_grpo", scale_rewards=False)),
}


class TestOnPolicy:
    @pytest.mark.parametrize("name", ON_POLICY)
    def test_it_learns_to_write_what_is_rewarded(self, tokenizer, sft_model, name):
        stage, config = ON_POLICY[name]
        # Dr. GRPO's loss is smaller by the ratio of lengths; Adam does not mind.
        config = replace(
            config, steps=14, batch_size=64, max_new_tokens=24, lr=4e-3, num_minibatches=2
        )
        run = stage(
            copy.deepcopy(sft_model),
            tokenizer,
            anna_share,
            [f"Write about {word}." for word in WORDS[:6]],
            config,
            true_utility=anna_share,
        )
        steps = list(run)
        first, last = steps[0], steps[-1]
        assert last.reward > first.reward + 0.8
        assert last.true_utility == pytest.approx(last.reward)
        assert first.kl == pytest.approx(0, abs=1e-3) and last.kl > 0.3
        assert all(step.ratio_error < 1e-4 and step.entropy > 0 for step in steps)
        assert last.ended > 0.8

    @pytest.mark.parametrize("name", ON_POLICY)
    def test_the_responses_to_a_prompt_lie_together(self, tokenizer, llama, name):
        stage, config = ON_POLICY[name]
        config = replace(config, batch_size=12, group_size=4, max_new_tokens=4)
        run = stage(llama, tokenizer, anna_share, ["a", "b", "c", "d"], config)
        prompts = run.collect(0).prompts
        assert all(len(set(prompts[i : i + 4])) == 1 for i in (0, 4, 8))
        assert len(set(prompts)) == 3

    def test_equal_scores_leave_the_policy_where_it_is_but_for_the_kl(self, tokenizer, llama):
        before = copy.deepcopy(llama)
        config = GRPOConfig(steps=2, batch_size=8, max_new_tokens=6, kl_coef=0.0, lr=1e-2)

        def same(prompts, texts, ended):
            return torch.where(ended, 1.0, 2.0)  # a missing end costs one

        list(GRPO(llama, tokenizer, same, ["a", "b"], config))
        for old, new in zip(before.parameters(), llama.parameters(), strict=True):
            torch.testing.assert_close(old, new)

    @pytest.mark.parametrize(
        ("settings", "match"),
        [
            ({"group_size": 1}, "group_size must be 2"),
            ({"batch_size": 20}, "multiple of group_size"),
            ({"num_minibatches": 3}, "multiple of num_minibatches"),
        ],
    )
    def test_settings_that_cannot_work_are_refused(self, tokenizer, llama, settings, match):
        with pytest.raises(ValueError, match=match):
            RLOO(llama, tokenizer, anna_share, ["a"], RLOOConfig(**settings))


class TestDPO:
    def test_its_optimum_is_the_reference_times_the_exponential_reward(self):
        """With all pairs, each preferred as often as Bradley and Terry's model says, the loss is
        least where the policy is the best for reward less KL."""
        beta = 0.7
        logits = torch.zeros(3, requires_grad=True)
        pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
        better, worse = map(torch.tensor, zip(*pairs, strict=True))
        wins = (REWARDS[better] - REWARDS[worse]).sigmoid()
        optimiser = torch.optim.LBFGS([logits], max_iter=500, tolerance_grad=1e-10)

        def closure():
            optimiser.zero_grad()
            lead = beta * (logits.log_softmax(0) - REFERENCE)
            loss = losses.ranking_loss(lead[better], lead[worse], wins)
            loss.backward()
            return loss

        for _ in range(5):
            optimiser.step(closure)
        best = (REFERENCE + REWARDS / beta).softmax(0)
        torch.testing.assert_close(logits.softmax(0), best, atol=1e-4, rtol=1e-4)

    def test_only_the_answers_tokens_count(self, tokenizer, llama):
        rows = [{"prompt": "Write about anna.", "chosen": "anna walked", "rejected": "the castle"}]
        reference = tiny_llama(tokenizer, seed=1)
        run = DPO(llama, tokenizer, rows, DPOConfig(), reference=reference)
        (ranking,) = to_rankings(tokenizer, rows)
        found = run.logratios(ranking.rows, [ranking.prompt_length] * 2)
        (prompt,) = encode_prompts(tokenizer, ["Write about anna."])
        for place, text in enumerate(("anna walked", "the castle")):
            (answer,) = encode_completions(tokenizer, [text])
            ids = torch.tensor([prompt + answer])
            mask = torch.ones_like(ids, dtype=torch.bool)
            totals = [
                logprobs_of(model, ids, mask)[0, len(prompt) - 1 :].sum().item()
                for model in (llama, reference)
            ]
            assert found[place].item() == pytest.approx(totals[0] - totals[1], abs=1e-4)
        texts = ["anna walked", "the castle"]
        rewards = implicit_rewards(
            llama, reference, tokenizer, ["Write about anna."] * 2, texts, beta=0.3
        )
        torch.testing.assert_close(rewards, 0.3 * found.detach(), atol=1e-4, rtol=1e-4)

    def test_it_starts_at_log_two_and_learns_the_order(self, tokenizer, sft_model, rankings):
        policy = copy.deepcopy(sft_model)
        config = DPOConfig(epochs=4, batch_size=8, lr=2e-3, warmup=5)
        steps = list(DPO(policy, tokenizer, rankings[:120], config))
        assert steps[0].loss == pytest.approx(math.log(2), abs=1e-5)
        assert steps[0].chosen == pytest.approx(0, abs=1e-4)
        right, pairs = 0, 0
        for row in rankings[120:]:
            prompts = [row["prompt"]] * 4
            found = implicit_rewards(policy, sft_model, tokenizer, prompts, row["completions"])
            for i, j in itertools.combinations(range(4), 2):
                lead = row["scores"][i] - row["scores"][j]
                right += lead * (found[i] - found[j]).item() > 0
                pairs += lead != 0
        assert right / pairs > 0.85

    def test_a_text_that_is_too_long_is_named(self, tokenizer, llama):
        rows = [{"prompt": "a", "chosen": "anna " * 400, "rejected": "b"}]
        with pytest.raises(ValueError, match="comparison 0"):
            DPO(llama, tokenizer, rows, DPOConfig())

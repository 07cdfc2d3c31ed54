"""The mathematics of the four stages against exact values, and each detail of PPO that others got
wrong."""

import copy
import itertools
import math
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rlhf_lessons.evaluation.reward_model import report
from rlhf_lessons.lm import sampling
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.lm.sampling import logprobs_of, pad, suppressed_ids, token_scores
from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts
from rlhf_lessons.stages import losses
from rlhf_lessons.stages.config import PPOConfig
from rlhf_lessons.stages.loop import (
    NonFiniteLoss,
    Optimiser,
    backward,
    linear_schedule,
    shuffled_rows,
)
from rlhf_lessons.stages.losses import (
    IGNORE,
    bradley_terry_loss,
    next_token_loss,
    ranking_loss,
)
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.pretrain import bits_per_byte
from rlhf_lessons.stages.reward import flat_pairs, normalise, score, to_rankings
from rlhf_lessons.stages.sft import encode_demonstrations, sft_loss

PROMPTS = ["Write about anna.", "What is 4-2?", "Write about the dragon and the castle."]


class TestKL:
    policy, reference = torch.tensor([0.5, 0.3, 0.15, 0.05]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    logratio = (policy / reference).log()
    exact = (policy * logratio).sum()

    def test_k1_and_k3_are_the_exact_kl_on_average_over_the_policy(self):
        assert (self.policy * losses.kl_k1(self.logratio)).sum() == pytest.approx(
            self.exact.item(), abs=1e-6
        )
        assert (self.policy * losses.kl_k3(self.logratio)).sum() == pytest.approx(
            self.exact.item(), abs=1e-6
        )

    def test_signs(self):
        x = torch.tensor([-2.0, -0.1, 0.0, 0.1, 2.0])
        assert torch.equal(losses.kl_k1(x), x)
        assert (losses.kl_k3(x) >= 0).all()
        assert losses.kl_k3(x)[0] == pytest.approx(math.exp(2) - 1 - 2) and losses.kl_k3(x)[2] == 0


class TestAdvantages:
    @pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (1.0, 0.0)])
    def test_gae_is_the_direct_sum_and_padding_takes_no_part(self, gamma, lam):
        rng = torch.Generator().manual_seed(0)
        rewards, values = (torch.randn(3, 6, generator=rng) for _ in range(2))
        lengths = [6, 3, 1]
        mask = torch.arange(6) < torch.tensor(lengths)[:, None]
        rewards[~mask], values[~mask] = 777.0, -777.0
        advantages, returns = losses.gae(rewards, values, mask, gamma, lam)
        for i, n in enumerate(lengths):
            r, v = rewards[i].tolist(), values[i].tolist()[:n] + [0.0]
            delta = [r[t] + gamma * v[t + 1] - v[t] for t in range(n)]
            for t in range(n):
                direct = sum((gamma * lam) ** k * delta[t + k] for k in range(n - t))
                assert advantages[i, t].item() == pytest.approx(direct, abs=1e-5)
                assert returns[i, t].item() == pytest.approx(direct + v[t], abs=1e-5)
            assert (advantages[i, n:] == 0).all() and (returns[i, n:] == 0).all()

    def test_the_score_lands_on_the_last_token_and_padding_pays_nothing(self):
        logprobs = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, float("inf"), float("nan")]])
        reference = torch.tensor([[-2.0, -2.0, -1.0], [-0.5, float("inf"), 0.0]])
        mask = torch.tensor([[True, True, True], [True, False, False]])
        rewards = losses.token_rewards(logprobs, reference, mask, torch.tensor([5.0, -1.0]), 0.1)
        expected = torch.tensor([[-0.1, 0.0, 5.2], [-0.95, 0.0, 0.0]])
        torch.testing.assert_close(rewards, expected)

    def test_whitening_is_over_real_tokens(self):
        mask = torch.tensor([[True, True, False], [True, False, False]])
        white = losses.whiten(torch.tensor([[1.0, 2.0, 99.0], [6.0, -99.0, 99.0]]), mask)
        assert white[mask].mean().item() == pytest.approx(0, abs=1e-6)
        assert white[mask].std(unbiased=False).item() == pytest.approx(1)
        assert (white[~mask] == 0).all()

    def test_explained_variance_of_a_perfect_an_ignorant_and_a_wrong_critic(self):
        returns, mask = (
            torch.tensor([[1.0, 2.0, 3.0, 99.0]]),
            torch.tensor([[True, True, True, False]]),
        )
        assert losses.explained_variance(returns, returns, mask) == 1
        assert losses.explained_variance(
            torch.full_like(returns, 2), returns, mask
        ) == pytest.approx(0)
        assert losses.explained_variance(-returns, returns, mask) == pytest.approx(-3)


class TestClipping:
    @pytest.mark.parametrize(
        ("ratio", "advantage", "loss", "slope"),
        [
            (1.0, 2.0, -2.0, -2.0),  # at the start: plain policy gradient
            (1.5, 2.0, -2.4, 0.0),  # likelier by more than clip, and good: no further push
            (0.5, 2.0, -1.0, -1.0),  # good but less likely than before: push back
            (0.5, -2.0, 1.6, 0.0),  # bad and already much less likely: no further push
            (1.5, -2.0, 3.0, 3.0),  # bad and likelier than before: push back
        ],
    )
    def test_policy_loss_case_by_case(self, ratio, advantage, loss, slope):
        logprob = torch.tensor(math.log(ratio), requires_grad=True)
        found = losses.clipped_policy_loss(logprob, torch.tensor(0.0), torch.tensor(advantage), 0.2)
        found.backward()
        assert found.item() == pytest.approx(loss) and logprob.grad.item() == pytest.approx(slope)

    @pytest.mark.parametrize(("value", "loss"), [(0.1, 0.405), (0.5, 0.32), (-0.5, 1.125)])
    def test_value_loss_takes_the_larger_of_plain_and_clipped(self, value, loss):
        old, returns = (
            torch.tensor(0.0),
            torch.tensor(1.0),
        )  # 0.5 is held at 0.2, and 0.5 * 0.8^2 = 0.32
        assert losses.clipped_value_loss(
            torch.tensor(value), old, returns, 0.2
        ).item() == pytest.approx(loss)


class TestRewardLoss:
    def test_gradient_is_the_one_worked_out_by_hand(self):
        chosen, rejected = (
            torch.tensor([1.0], requires_grad=True),
            torch.tensor([0.25], requires_grad=True),
        )
        loss = bradley_terry_loss(chosen, rejected).sum()
        loss.backward()
        p_wrong = 1 / (1 + math.exp(1.0 - 0.25))  # d/dx of -log sigmoid(x) is -(1 - sigmoid(x))
        assert loss.item() == pytest.approx(math.log(1 + math.exp(-0.75)))
        assert chosen.grad.item() == pytest.approx(
            -p_wrong
        ) and rejected.grad.item() == pytest.approx(p_wrong)

    def test_pairs_count_by_their_weight(self):
        chosen, rejected = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 1.0])
        weight = torch.tensor([3.0, 1.0])
        expected = (3 * math.log(1 + math.exp(-0.5)) + math.log(1 + math.exp(1.0))) / 4
        assert ranking_loss(chosen, rejected, weight).item() == pytest.approx(expected)

    def test_a_ranking_of_four_gives_six_pairs_of_weight_one_sixth(self, tokenizer):
        rows = [
            {"prompt": "p", "completions": ["a", "b", "c", "d"], "scores": [0.1, 0.9, 0.5, 0.3]},
            {"prompt": "q", "chosen": "a", "rejected": "b"},
        ]
        _, better, worse, weight = flat_pairs(to_rankings(tokenizer, rows))
        assert sorted(zip(better.tolist(), worse.tolist(), strict=True)) == [
            (1, 0),
            (1, 2),
            (1, 3),
            (2, 0),
            (2, 3),
            (3, 0),
            (4, 5),
        ]
        assert weight.tolist() == pytest.approx([1 / 6] * 6 + [1])

    def test_ranks_are_scores_upside_down(self, tokenizer):
        scores = to_rankings(
            tokenizer, [{"prompt": "p", "completions": ["a", "b", "c"], "scores": [1, 3, 2]}]
        )
        ranks = to_rankings(
            tokenizer, [{"prompt": "p", "completions": ["a", "b", "c"], "ranks": [3, 1, 2]}]
        )
        assert scores[0].pairs == ranks[0].pairs

    def test_ties_and_identical_texts_never_enter(self, tokenizer):
        tie = {"prompt": "p", "completions": ["a", "b", "c"], "scores": [1.0, 1.0, 0.0]}
        same = {"prompt": "p", "chosen": "a", "rejected": "a"}
        assert sorted(to_rankings(tokenizer, [tie, same])[0].pairs) == [
            (0, 2),
            (1, 2),
        ]
        with pytest.raises(ValueError, match="nothing to learn"):
            to_rankings(
                tokenizer, [same, {"prompt": "p", "completions": ["a", "b"], "scores": [0, 0]}]
            )

    def test_pairs_of_one_group_are_one_ranking_and_each_answer_is_encoded_once(self, tokenizer):
        pairs = [
            {"prompt": "p", "chosen": x, "rejected": y, "group": 0}
            for x, y in itertools.combinations("abc", 2)
        ]
        (ranking,) = to_rankings(tokenizer, pairs)
        assert len(ranking.rows) == 3 and ranking.pairs == [
            (0, 1),
            (0, 2),
            (1, 2),
        ]
        assert (
            len(to_rankings(tokenizer, [{**pair, "group": i} for i, pair in enumerate(pairs)])) == 3
        )

    def test_score_is_read_on_the_end_token_or_the_last_one_without(self, any_model, tokenizer):
        scorer = to_reward_model(any_model)
        scorer.config.reward_mean = 0.5
        prompts, texts, ended = PROMPTS, ["anna found a dragon", "", "friends"], [True, True, False]
        rewards = score(scorer, tokenizer, prompts, texts, ended)
        for i, (prompt, answer) in enumerate(
            zip(
                encode_prompts(tokenizer, prompts),
                encode_completions(tokenizer, texts, ended),
                strict=True,
            )
        ):
            assert ((prompt + answer)[-1] == tokenizer.eos_token_id) == ended[i]
            with torch.no_grad():
                alone = token_scores(scorer, *pad([prompt + answer], 0))[0, -1] - 0.5
            assert rewards[i].item() == pytest.approx(alone.item(), abs=2e-5)

    def test_report_counts_labels_truth_and_ceiling(self, llama, tokenizer):
        """The model's own scores are made the labels of three pairs and the truth of two: all is
        known."""
        scorer = to_reward_model(llama)
        texts = ["anna", "castle found", "dragon dragon a", "the friends walked", "princess"]
        order = score(scorer, tokenizer, ["p"] * 5, texts).argsort().tolist()
        low, high, top = (texts[order[i]] for i in (0, 2, 4))
        rows = [
            {"prompt": "p", "chosen": high, "rejected": low, "utilities": [1.0, 0.0]},
            {
                "prompt": "p",
                "chosen": low,
                "rejected": top,
                "utilities": [0.0, 1.0],
            },  # a wrong label
            {
                "prompt": "p",
                "chosen": top,
                "rejected": high,
                "utilities": [0.1, 0.0],
            },  # nearer than the gap
            {"prompt": "p", "chosen": top, "rejected": low},
        ]  # the truth is not known
        found = report(scorer, tokenizer, rows, gap=0.5)
        assert (found.pairs, found.accuracy) == (4, 0.75)
        assert (found.true_pairs, found.true_accuracy, found.ceiling) == (2, 1.0, 0.5)
        assert sum(n for _, _, n in found.calibration) == 4
        assert sum(observed * n for _, observed, n in found.calibration) == pytest.approx(3)
        del scorer.config.reward_deviation  # a model from before it was kept
        assert report(scorer, tokenizer, rows).calibration == found.calibration
        scorer.config.reward_deviation = 1.0
        normalise(scorer, tokenizer, ["p"] * 5, texts)  # another unit, but as sure as before
        again = report(scorer, tokenizer, rows).calibration
        assert np.allclose(again, found.calibration, atol=1e-5)


class TestLanguageModelLosses:
    def test_sft_labels_token_by_token(self, tokenizer):
        ((ids, labels),) = encode_demonstrations(
            tokenizer, [{"prompt": "Hi", "completion": "anna 42"}]
        )
        prompt, answer = (
            encode_prompts(tokenizer, ["Hi"])[0],
            encode_completions(tokenizer, ["anna 42"])[0],
        )
        assert ids == prompt + answer and answer[-1] == tokenizer.eos_token_id
        assert labels == [IGNORE] * len(prompt) + answer

    def test_an_answer_that_was_cut_off_has_no_end_to_learn(self, tokenizer):
        row = {"prompt": "Hi", "completion": "anna 42"}
        whole, cut = encode_demonstrations(tokenizer, [row, row | {"ended": False}])
        assert whole[0][-1] == whole[1][-1] == tokenizer.eos_token_id
        assert cut == (whole[0][:-1], whole[1][:-1])

    def test_sft_loss_is_the_mean_over_answer_tokens_and_ignores_padding(
        self, any_model, tokenizer
    ):
        rows = encode_demonstrations(
            tokenizer,
            [
                {"prompt": p, "completion": c}
                for p, c in zip(PROMPTS, ["a", "anna found the castle", "4"], strict=True)
            ],
        )
        total, count = 0.0, 0
        for ids, labels in rows:
            answer = sum(label != IGNORE for label in labels)
            with torch.no_grad():
                total -= logprobs_of(any_model, *pad([ids], 0))[0, -answer:].sum().item()
            count += answer
        assert sft_loss(any_model, rows, 0).item() == pytest.approx(total / count, abs=1e-5)

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([], "no demonstrations"),
            (
                [{"prompt": "p", "completion": "a"}, {"prompt": "p", "completion": " "}],
                "demonstration 1",
            ),
        ],
    )
    def test_sft_refuses_what_it_cannot_learn_from(self, tokenizer, rows, message):
        with pytest.raises(ValueError, match=message):
            encode_demonstrations(tokenizer, rows)

    def test_pretraining_loss_is_of_all_tokens(self, llama):
        windows = torch.randint(5, 300, (2, 9), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = -logprobs_of(llama, windows, torch.ones_like(windows).bool()).mean()
        assert next_token_loss(llama, windows).item() == pytest.approx(expected.item(), abs=1e-5)

    def test_bits_per_byte(self):
        assert bits_per_byte(2 * math.log(2), tokens=10, size=40) == pytest.approx(0.5)


class TestTraining:
    def test_learning_rate_rises_then_falls_to_zero(self):
        scales = [linear_schedule(step, 10, 2) for step in range(10)]
        assert scales[:3] == [0.5, 1.0, 1.0] and scales[-1] == pytest.approx(1 / 8)
        assert scales[2:] == sorted(scales[2:], reverse=True)

    def test_shuffled_rows_uses_all_rows_before_any_again(self):
        drawn = [i for step in range(6) for i in shuffled_rows(10, 5, step, seed=3)]
        assert (
            sorted(drawn[:10]) == sorted(drawn[10:20]) == list(range(10))
            and drawn[:10] != drawn[10:20]
        )
        few = shuffled_rows(
            3, 7, 0, seed=0
        )  # more than there are: two whole passes and one row of a third
        assert sorted(map(few.count, range(3))) == [2, 2, 3]

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_a_loss_that_is_no_number_stops_at_its_step_and_changes_no_weight(self, bad):
        layer = torch.nn.Linear(2, 1)
        before, optimiser = copy.deepcopy(layer.state_dict()), Optimiser(layer, 0.1)
        with pytest.raises(NonFiniteLoss, match="step 7"):
            backward(layer(torch.ones(2)).sum() * bad, 7)
        layer(torch.ones(2)).sum().backward()
        layer.weight.grad[0, 0] = bad
        with pytest.raises(NonFiniteLoss, match="step 8"):
            optimiser.apply(8, 1.0)
        assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())

    def test_gradients_are_clipped(self):
        layer = torch.nn.Linear(2, 1)
        optimiser = Optimiser(layer, 0.1, max_grad_norm=0.5)
        backward(layer(torch.tensor([30.0, 40.0])).sum(), 0)
        assert optimiser.apply(0, 1.0) == pytest.approx(math.sqrt(2501)), "before the clipping"
        assert layer.weight.grad.norm() == pytest.approx(0.5 * 50 / math.sqrt(2501))


def reward_of(prompts, texts, ended):
    return torch.tensor([float(len(text)) % 7 for text in texts])


@pytest.fixture
def make_ppo(tokenizer):
    def make(model, reward=None, double=False, **config):
        model = model.double() if double else model
        settings = {
            "steps": 4,
            "batch_size": 16,
            "max_new_tokens": 12,
            "critic_warmup": 0,
            "target_kl": 1e9,
        } | config
        scorer = to_reward_model(model)
        return PPO(
            model, tokenizer, reward or scorer, PROMPTS, PPOConfig(**settings), critic_init=scorer
        )

    return make


@pytest.fixture
def rewards_seen(monkeypatch):
    """What `gae` is given, as a list of (rewards, mask)."""
    seen, gae = [], losses.gae
    monkeypatch.setattr(
        losses,
        "gae",
        lambda r, v, m, *a: (seen.append((r.clone(), m)), gae(r, v, m, *a))[1],
    )
    return seen


class TestPPO:
    @pytest.mark.parametrize("temperature", [0.7, 1.0])
    def test_ratio_is_exactly_one_on_the_first_minibatch(self, any_model, make_ppo, temperature):
        """In float64 nothing but rounding is left; a wrong temperature, mask or ban would show at
        once."""
        run = make_ppo(any_model, double=True, temperature=temperature)
        assert next(run).ratio_error < 1e-6  # the sampler keeps its log-probs in float32
        assert next(run).ratio_error < 1e-6

    def test_a_model_begins_when_no_activation_of_another_is_left(self, llama, make_ppo):
        run = make_ppo(llama)
        rollout = run.estimate(run.collect(0))
        kept, found = weakref.WeakSet(), []

        class Saved(SimpleNamespace):
            """What autograd keeps of a pass, as long as it keeps it."""

            __hash__ = object.__hash__

        def keep(tensor):
            saved = Saved(tensor=tensor)
            kept.add(saved)
            return saved

        for model in (run.policy.model, run.critic.model):
            model.register_forward_pre_hook(lambda *_: found.append(len(kept)))
            model.register_forward_hook(lambda *_: found.append(len(kept)))
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved.tensor):
            run.minibatch(rollout, torch.arange(16), 0)
        before, after = found[::2], found[1::2]
        assert len(before) >= 2 and min(after) > 0
        assert set(before) == {0}

    def test_reward_lands_on_the_end_token_and_a_missing_end_costs(
        self, llama, tokenizer, make_ppo, rewards_seen
    ):
        run = make_ppo(
            llama, reward_of, batch_size=64, kl_coef=0.3, missing_eos_penalty=2.0, temperature=1.5
        )
        rollout = run.collect(0)
        run.estimate(rollout)
        (rewards, mask), last = rewards_seen[0], rollout.response_mask.sum(1) - 1
        rows = torch.arange(64)
        tokens = rollout.ids[:, rollout.context_length :]
        ended = tokens[rows, last] == tokenizer.eos_token_id
        assert 0 < ended.sum() < 64
        texts = [
            tokenizer.decode(t[m], skip_special_tokens=True)
            for t, m in zip(tokens, mask, strict=True)
        ]
        expected = reward_of(None, texts, ended) - 2.0 * ~ended
        torch.testing.assert_close(
            rewards[rows, last], expected
        )  # the policy is its own reference: KL is 0
        rewards[rows, last] = 0
        assert rewards.abs().max() < 1e-5

    def test_every_token_pays_for_its_kl(self, any_model, tokenizer, make_ppo, rewards_seen):
        run = make_ppo(
            any_model,
            lambda p, t, e: torch.zeros(len(t)),
            kl_coef=0.3,
            missing_eos_penalty=0.0,
            temperature=0.7,
        )
        with torch.no_grad():
            for weight in run.policy.parameters():
                weight.mul_(1.1)
        rollout = run.collect(0)
        run.estimate(rollout)
        rewards, mask = rewards_seen[0]
        with torch.no_grad():
            policy, reference = (
                logprobs_of(
                    model,
                    rollout.ids,
                    rollout.attention_mask,
                    0.7,
                    suppressed_ids(model, tokenizer),
                )
                for model in (run.policy, run.reference)
            )
        logratio = (policy - reference)[:, rollout.context_length - 1 :]
        expected = -0.3 * losses.kl_k1(logratio)
        torch.testing.assert_close(rewards[mask], expected[mask], atol=1e-4, rtol=0)
        kl = next(run).kl  # of the same rollout
        assert kl == pytest.approx((logratio * mask).sum(1).mean().item(), abs=1e-4)
        assert kl > 0.01

    def test_critic_starts_as_the_reward_model_and_learns_alone_at_first(self, llama, make_ppo):
        run = make_ppo(llama, critic_warmup=2)
        assert all(map(torch.equal, run.critic.parameters(), run.reward.parameters()))
        for step, (policy_moves, critic_moves) in enumerate(
            [(False, True), (False, True), (True, True)]
        ):
            before = copy.deepcopy((run.policy.state_dict(), run.critic.state_dict()))
            next(run)
            for model, old, moves in zip(
                (run.policy, run.critic), before, (policy_moves, critic_moves), strict=True
            ):
                assert (
                    any(not torch.equal(old[k], v) for k, v in model.state_dict().items()) == moves
                ), step

    def test_reference_and_reward_model_never_move(self, llama, make_ppo):
        run = make_ppo(llama)
        before = copy.deepcopy((run.reference.state_dict(), run.reward.state_dict()))
        list(run)
        for model, old in zip((run.reference, run.reward), before, strict=True):
            assert all(torch.equal(old[k], v) for k, v in model.state_dict().items())

    def test_a_batch_is_left_early_when_the_policy_has_gone_too_far(self, llama, make_ppo):
        run = make_ppo(llama, target_kl=-1.0)
        before = copy.deepcopy(run.policy.state_dict())
        assert next(run).stopped
        assert all(torch.equal(before[k], v) for k, v in run.policy.state_dict().items())
        assert not next(make_ppo(llama)).stopped

    def test_metrics_are_of_real_tokens_only(self, llama, make_ppo):
        run = make_ppo(llama, double=True, temperature=1.5)
        rollout = run.collect(0)
        episodes = run.estimate(rollout)
        rows = torch.arange(16)
        plain = run.minibatch(episodes, rows, 0)
        gradients = [p.grad.clone() for p in run.policy.parameters()]
        wide = copy.copy(episodes)
        wide.ids = torch.nn.functional.pad(rollout.ids, (3, 5), value=7)
        wide.attention_mask = torch.nn.functional.pad(rollout.attention_mask, (3, 5))
        wide.context_length = rollout.context_length + 3
        wide.response_mask = torch.nn.functional.pad(rollout.response_mask, (0, 5))
        wide.logprobs = torch.nn.functional.pad(rollout.logprobs, (0, 5), value=99.0)
        for name in ("values", "advantages", "returns"):
            padded = torch.nn.functional.pad(getattr(episodes, name), (0, 5), value=99.0)
            setattr(wide, name, padded)
        assert run.minibatch(wide, rows, 0) == pytest.approx(plain)
        for wanted, parameter in zip(gradients, run.policy.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, wanted)

    def test_rows_in_one_forward_pass_change_no_gradient(self, llama, make_ppo, monkeypatch):
        run, gradients = make_ppo(llama, double=True), []
        episodes = run.estimate(run.collect(0))
        for size in (16, 5, 1):
            monkeypatch.setattr(sampling, "MICRO_BATCH", size)
            run.minibatch(episodes, torch.arange(16), 0)
            gradients.append(torch.cat([p.grad.flatten() for p in run.policy.parameters()]))
        torch.testing.assert_close(gradients[0], gradients[1])
        torch.testing.assert_close(gradients[0], gradients[2])

    def test_a_pass_makes_no_more_logits_than_fit(self, llama, make_ppo, monkeypatch):
        episodes = make_ppo(llama).collect(0)
        for rows, most in ((5, 5 * episodes.logits), (1, episodes.logits - 1)):
            monkeypatch.setattr(sampling, "MOST_LOGITS", most)
            parts = [len(text[0]) for _, text in episodes.parts()]
            assert max(parts) == rows and sum(parts) == 16

    def test_entropy_is_that_of_the_allowed_tokens(self, llama, tokenizer, make_ppo):
        """With a head of zeros all allowed tokens are equally likely."""
        with torch.no_grad():
            llama.lm_head.weight.zero_()
        run = make_ppo(llama)
        episodes = run.estimate(run.collect(0))
        entropy = run.minibatch(episodes, torch.arange(16), 0)["entropy"]
        assert entropy == pytest.approx(
            math.log(len(tokenizer) - len(suppressed_ids(llama, tokenizer))), abs=1e-4
        )

    def test_true_utility_is_measured(self, llama, tokenizer):
        scorer = to_reward_model(llama)
        config = PPOConfig(steps=2, batch_size=16, max_new_tokens=6)
        run = PPO(
            llama,
            tokenizer,
            scorer,
            PROMPTS,
            config,
            true_utility=lambda p, t, ended: [0.25] * len(t),
        )
        assert [step.true_utility for step in run] == [0.25, 0.25]

    @pytest.mark.parametrize(
        ("reward", "config", "message"),
        [
            (reward_of, {}, "critic_init"),
            (None, {"batch_size": 15}, "multiple"),
        ],
    )
    def test_what_cannot_run_is_refused_at_once(self, llama, tokenizer, reward, config, message):
        with pytest.raises(ValueError, match=message):
            PPO(llama, tokenizer, reward or to_reward_model(llama), PROMPTS, PPOConfig(**config))

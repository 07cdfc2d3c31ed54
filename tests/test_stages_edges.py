"""Models, texts and comparisons that others stumbled over: they work, or are refused in words."""

import copy
import math

import numpy as np
import pytest
import tiny
import torch
from tiny_models import tiny_gpt2, tiny_llama
from transformers import AutoModelForCausalLM

from rlhf_lessons.evaluation.reward_model import report
from rlhf_lessons.lm.models import new_model, to_reward_model, toy_config
from rlhf_lessons.stages import losses
from rlhf_lessons.stages.config import PPOConfig, PretrainConfig, RewardConfig, SFTConfig
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.pretrain import Pretrain
from rlhf_lessons.stages.reward import RewardModelling, score, to_rankings
from rlhf_lessons.stages.run import fingerprint, train
from rlhf_lessons.stages.sft import SFT

PAIR = {"prompt": "Write about anna.", "chosen": "anna sang.", "rejected": "no."}
RANKING = {"prompt": "Write about anna.", "completions": ["anna sang.", "anna", "no."]}
PROMPTS = ["Write about anna.", "What is 4-2?"]
SHORT_PPO = PPOConfig(steps=2, batch_size=8, max_new_tokens=6, critic_warmup=0)


class TestComparisons:
    @pytest.mark.parametrize("margin", [-0.5, 0.0, None, float("nan"), 3, "n/a"])
    def test_the_chosen_answer_wins_whatever_a_margin_says(self, tokenizer, margin):
        (ranking,) = to_rankings(tokenizer, [{**PAIR, "margin": margin}])
        assert ranking == to_rankings(tokenizer, [PAIR])[0] and ranking.pairs == [(0, 1)]

    @pytest.mark.parametrize("mark", [None, "N/A", float("nan"), float("inf"), [1.0]])
    @pytest.mark.parametrize("field", ["scores", "ranks"])
    def test_a_score_that_is_no_number_is_refused_by_row_and_field(self, tokenizer, field, mark):
        rows = [PAIR, {**RANKING, field: [2, mark, 1]}]
        with pytest.raises(ValueError, match=f"comparison 1.*{field}"):
            to_rankings(tokenizer, rows)

    @pytest.mark.parametrize(
        "scores",
        [
            np.array([0.9, 0.5, 0.1]),
            [np.float32(3), np.int64(2), np.float64(1)],
            torch.tensor([3, 2, 1]),
            (0.9, 0.5, 0.1),
            [3, 2, True],
        ],
    )
    def test_numbers_of_numpy_and_torch_are_read(self, tokenizer, scores):
        (ranking,) = to_rankings(tokenizer, [{**RANKING, "scores": scores}])
        assert ranking.pairs == [(0, 1), (0, 2), (1, 2)]

    def test_arrays_of_numpy_beside_the_texts_are_read(self, tokenizer):
        plain = {**PAIR, "ended": [True, False], "utilities": [1.0, 0.0]}
        arrays = {field: np.array(plain[field]) for field in ("ended", "utilities")}
        assert to_rankings(tokenizer, [PAIR | arrays]) == to_rankings(tokenizer, [plain])

    @pytest.mark.parametrize("field", ["ended", "utilities"])
    def test_one_entry_too_few_is_refused_by_row_and_field(self, tokenizer, field):
        with pytest.raises(ValueError, match=f"comparison 1.*{field}"):
            to_rankings(tokenizer, [PAIR, {**PAIR, field: [1]}])

    def test_a_row_that_is_no_comparison_is_refused_in_words(self, tokenizer):
        with pytest.raises(ValueError, match="comparison 1.*'chosen' is missing"):
            to_rankings(tokenizer, [PAIR, {"prompt": "p", "completion": "a"}])

    def test_a_report_reads_the_same_rows_as_the_training(self, llama, tokenizer):
        scorer = to_reward_model(llama)
        assert report(scorer, tokenizer, [{**PAIR, "margin": -1}]) == report(
            scorer, tokenizer, [PAIR]
        )


class TestTexts:
    LONG = "anna walked with the dragon. " * 40

    @pytest.fixture(params=[tiny_llama, tiny_gpt2])
    def short_model(self, request, tokenizer):
        """A model of 64 positions."""
        config = request.param(tokenizer).config
        config.max_position_embeddings = 64
        return new_model(config)

    def test_a_demonstration_longer_than_the_positions_is_named(self, short_model, tokenizer):
        rows = [{"prompt": "a", "completion": "anna"}, {"prompt": "a", "completion": self.LONG}]
        with pytest.raises(ValueError, match="demonstration 1.* 64 positions"):
            SFT(short_model, tokenizer, rows, SFTConfig())

    def test_a_comparison_longer_than_the_positions_is_named(self, short_model, tokenizer):
        rows = [PAIR, {**PAIR, "rejected": PAIR["chosen"]}, {**PAIR, "rejected": self.LONG}]
        with pytest.raises(ValueError, match="comparison 2.* 64 positions"):
            RewardModelling(short_model, tokenizer, rows, RewardConfig())

    def test_a_text_to_score_longer_than_the_positions_is_named(self, short_model, tokenizer):
        scorer = to_reward_model(short_model)
        with pytest.raises(ValueError, match="row 1.* 64 positions"):
            score(scorer, tokenizer, ["a", "a"], ["anna", self.LONG])

    def test_a_window_longer_than_the_positions_is_refused(self, short_model):
        text = torch.randint(5, 300, (4000,))
        with pytest.raises(ValueError, match="128 tokens.* 64 positions"):
            Pretrain(short_model, text, text, PretrainConfig())

    def test_a_prompt_that_leaves_too_little_room_is_named(self, short_model, tokenizer):
        config = PPOConfig(batch_size=8, max_new_tokens=58)
        with pytest.raises(ValueError, match="prompt 1.* 64 positions"):
            PPO(short_model, tokenizer, to_reward_model(short_model), ["", "a b c d e"], config)

    @pytest.mark.parametrize("field", ["prompt", "completion"])
    def test_half_an_emoji_in_a_demonstration_is_named(self, llama, tokenizer, field):
        good = {"prompt": "a", "completion": "anna"}
        with pytest.raises(ValueError, match=f"demonstration 1.*{field}"):
            SFT(llama, tokenizer, [good, {**good, field: "smile \ud83d"}], SFTConfig())

    def test_half_an_emoji_in_a_comparison_is_named(self, tokenizer):
        with pytest.raises(ValueError, match="comparison 0.*rejected"):
            to_rankings(tokenizer, [{**PAIR, "rejected": "\ude00 no"}])


class TestModels:
    def test_a_tokenizer_without_an_end_token_is_refused_in_words(self, llama):
        words = tiny.tokenizer()
        words.eos_token = None
        rows = [{"prompt": "a", "completion": "anna"}]
        with pytest.raises(ValueError, match="eos_token"):
            SFT(llama, words, rows, SFTConfig())

    @pytest.mark.parametrize("rows", [200, 350])
    def test_a_reward_model_of_another_vocabulary_is_refused_with_both_numbers(
        self, llama, tokenizer, rows
    ):
        other = to_reward_model(new_model(toy_config(rows, layers=1, width=16, heads=2, mlp=32)))
        known = llama.get_input_embeddings().num_embeddings
        with pytest.raises(ValueError, match=f"reward model knows {rows} .*policy {known}:"):
            PPO(llama, tokenizer, other, PROMPTS, SHORT_PPO)

    def test_a_reward_model_of_too_few_positions_is_refused_with_both_numbers(
        self, llama, tokenizer
    ):
        config = copy.deepcopy(llama.config)
        config.max_position_embeddings = 16
        scorer = to_reward_model(new_model(config))
        with pytest.raises(ValueError, match="reward model, prompt 0.* 30 .*16 positions"):
            PPO(llama, tokenizer, scorer, PROMPTS, PPOConfig(batch_size=8, max_new_tokens=30))

    def test_a_model_in_bfloat16_trains_and_can_be_resumed(self, tokenizer, tmp_path):
        model = tiny_llama(tokenizer).bfloat16()
        rows = [{"prompt": "a", "completion": "anna sang"}] * 8
        stages = {
            "sft": SFT(model, tokenizer, rows, SFTConfig(epochs=1, batch_size=4)),
            "ppo": PPO(model, tokenizer, to_reward_model(model), PROMPTS, SHORT_PPO),
        }
        for name, stage in stages.items():
            before = fingerprint(stage)
            metrics = train(stage, tmp_path / name, name)
            assert all(math.isfinite(row.get("loss", row.get("value_loss"))) for row in metrics)
            assert fingerprint(stage) != before  # it tells weights of bfloat16 apart

    def gpt2_in_training_mode(self, tokenizer):
        """GPT-2 as `from_config` leaves it, with dropout of a tenth on."""
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(tiny_gpt2(tokenizer).config).train()
        assert model.training and model.config.attn_pdrop == 0.1
        return model

    def test_one_text_has_one_score(self, tokenizer):
        scorer = to_reward_model(self.gpt2_in_training_mode(tokenizer)).train()
        for _ in range(2):  # the trial of the model comes with the first
            scores = score(scorer.train(), tokenizer, ["a"] * 8, ["anna sang."] * 8)
        again = score(scorer.eval(), tokenizer, ["a"] * 8, ["anna sang."] * 8)
        assert torch.allclose(scores, scores[:1].expand(8), atol=1e-6)
        torch.testing.assert_close(scores, again)

    def test_ppo_has_no_dropout_in_policy_reward_critic_or_reference(self, tokenizer):
        found = []
        for _ in range(2):
            policy = self.gpt2_in_training_mode(tokenizer)
            scorer = to_reward_model(policy).train()
            reference = copy.deepcopy(policy).train()
            run = PPO(policy, tokenizer, scorer, PROMPTS, SHORT_PPO, reference=reference)
            found.append(list(run))
        assert found[0] == found[1]  # the same seed, the same responses and metrics
        assert found[0][0].ratio_error < 1e-4 and abs(found[0][0].kl) < 1e-4

    @pytest.mark.parametrize("stage", ["sft", "reward", "pretrain"])
    def test_training_has_no_dropout_either(self, tokenizer, stage):
        def losses_of_a_run():
            model = self.gpt2_in_training_mode(tokenizer)
            if stage == "sft":
                rows = [{"prompt": "a", "completion": "anna"}] * 4
                return [s.loss for s in SFT(model, tokenizer, rows, SFTConfig(epochs=2))]
            if stage == "reward":
                run = RewardModelling(model, tokenizer, [PAIR] * 4, RewardConfig())
                return [s.loss for s in run]
            text = torch.randint(5, 300, (200,), generator=torch.manual_seed(0))
            config = PretrainConfig(steps=2, batch_size=2, context=16)
            return [s.loss for s in Pretrain(model, text, text, config)]

        assert losses_of_a_run() == losses_of_a_run()


class TestReference:
    def test_without_one_it_is_a_copy_of_the_policy_as_it_comes(self, llama, tokenizer):
        run = PPO(llama, tokenizer, to_reward_model(llama), PROMPTS, SHORT_PPO)
        assert run.reference is not llama
        assert all(map(torch.equal, run.reference.parameters(), llama.parameters()))

    def test_the_one_that_is_given_is_the_one_that_counts(self, tokenizer):
        policy, other = tiny_llama(tokenizer), tiny_llama(tokenizer)
        with torch.no_grad():
            for weight in other.parameters():
                weight.mul_(1.5)
        run = PPO(policy, tokenizer, to_reward_model(policy), PROMPTS, SHORT_PPO, reference=other)
        assert run.reference is other and abs(next(run).kl) > 0.01


class TestExplainedVariance:
    def test_one_token_in_all_has_none(self):
        one = torch.tensor([[0.5]])
        assert losses.explained_variance(one, one, torch.tensor([[True]])) is None

    def test_returns_that_do_not_vary_have_none(self):
        values = torch.tensor([[0.1, 0.5], [0.2, 0.3]])
        mask = torch.tensor([[True, False], [True, False]])
        same = torch.tensor([[0.7, 99.0], [0.7, -99.0]])
        assert losses.explained_variance(values, same, mask) is None

    def test_where_all_answers_end_at_once_the_metric_is_null_in_json(self, tokenizer, tmp_path):
        policy = tiny_llama(tokenizer)
        with torch.no_grad():  # whatever comes before, the end token is next
            policy.lm_head.weight = torch.nn.Parameter(policy.lm_head.weight.clone().zero_())
        policy.lm_head.bias = torch.nn.Parameter(torch.full((len(tokenizer),), -50.0))
        with torch.no_grad():
            policy.lm_head.bias[tokenizer.eos_token_id] = 50.0
        run = PPO(
            policy,
            tokenizer,
            lambda prompts, responses, ended: torch.ones(len(prompts)),
            PROMPTS,
            SHORT_PPO,
            critic_init=to_reward_model(tiny_llama(tokenizer)),
        )
        rows = train(run, tmp_path, "ppo")
        assert [row["length"] for row in rows] == [1, 1]
        assert [row["explained_variance"] for row in rows] == [None, None]
        assert '"explained_variance": null' in (tmp_path / "metrics.jsonl").read_text()

"""Tokenizer, models, batching and sampling: exact values on tiny models."""

import json

import pytest
import torch

from rlhf_lessons.lm import models
from rlhf_lessons.lm.filters import filter_top_k_top_p
from rlhf_lessons.lm.sampling import (
    generate,
    inputs,
    logprobs_of,
    micro_batches,
    pad,
    position_ids,
    sample_next_token,
    suppressed_ids,
    token_scores,
)
from rlhf_lessons.lm.tokenizer import (
    chat_prompt,
    encode_completions,
    encode_prompts,
    train_tokenizer,
)
from rlhf_lessons.stages.loop import length_grouped_rows
from rlhf_lessons.stages.rollout import last_scores

PROMPTS = [
    "Write about anna.",
    "What is 4-2?",
    "Write about the dragon and the castle with friends.",
    "a",
]


def rows_of(samples):
    """Prompt and answer of each sample without padding, and where the answer begins."""
    for ids, mask in zip(samples.ids, samples.attention_mask, strict=True):
        yield ids[mask][None], int(mask[: samples.context_length].sum())


class TestTokenizer:
    def test_special_tokens_have_the_first_ids_and_pad_is_not_eos(self, tokenizer):
        assert tokenizer.convert_tokens_to_ids(
            ["<pad>", "<bos>", "<eos>", "<user>", "<assistant>"]
        ) == [0, 1, 2, 3, 4]
        assert tokenizer.pad_token_id != tokenizer.eos_token_id

    @pytest.mark.parametrize(
        "text", ["4-2 and 31", "Anna\n\nran.", " two  spaces ", "é 漢 🐉", "\x00\t\r\n", ""]
    )
    def test_any_text_comes_back_as_it_was(self, tokenizer, text):
        ids = encode_completions(tokenizer, [text], ended=False)[0]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text

    def test_every_digit_and_newline_is_a_token(self, tokenizer):
        tokens = tokenizer.convert_ids_to_tokens(
            encode_completions(tokenizer, ["Is 42\n\n17"], ended=False)[0]
        )
        assert [t for t in tokens if t[0] in "0123456789Ċ"] == ["4", "2", "Ċ", "Ċ", "1", "7"]

    def test_chat_template_is_prompt_then_answer_then_end(self, tokenizer):
        talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes, 42."}]
        assert chat_prompt(tokenizer, "Hi") == "<bos><user>Hi\n<assistant>\n"
        whole = tokenizer.apply_chat_template(talk, tokenize=False)
        assert whole == "<bos><user>Hi\n<assistant>\nYes, 42.<eos>"
        apart = (
            encode_prompts(tokenizer, ["Hi"])[0] + encode_completions(tokenizer, ["Yes, 42."])[0]
        )
        assert tokenizer(whole, add_special_tokens=False)["input_ids"] == apart

    def test_nobody_can_write_special_tokens_into_a_prompt_or_an_answer(self, tokenizer):
        assert encode_prompts(tokenizer, ["a<eos><assistant>b"]) == encode_prompts(
            tokenizer, ["ab"]
        )
        assert encode_prompts(tokenizer, ["<e<pad>os>"]) == encode_prompts(tokenizer, [""])
        with_end, without = encode_completions(tokenizer, ["a<eos>", "a"], ended=False)
        assert with_end == without

    def test_without_a_chat_template_the_prompt_stands_bare(self, tokenizer):
        bare = type(tokenizer)(
            tokenizer_object=tokenizer.backend_tokenizer, eos_token="<eos>", pad_token="<pad>"
        )
        assert chat_prompt(bare, "Hi") == "Hi"

    def test_training_twice_gives_the_same_tokenizer_and_too_small_a_vocabulary_is_refused(self):
        texts = ["the dragon sang to anna"] * 20
        assert train_tokenizer(texts, 280).get_vocab() == train_tokenizer(texts, 280).get_vocab()
        with pytest.raises(ValueError, match="at least 261"):
            train_tokenizer(texts, 260)


class TestBatching:
    def test_padding_and_positions(self):
        ids, mask = pad([[5, 6, 7], [8]], 0, side="left")
        assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
        assert mask.tolist() == [[True, True, True], [False, False, True]]
        assert position_ids(mask).tolist() == [[0, 1, 2], [0, 0, 0]]
        assert pad([[5, 6, 7], [8]], 0)[0].tolist() == [[5, 6, 7], [8, 0, 0]]

    def test_batches_hold_every_row_once_and_rows_of_like_length(self):
        lengths = [i % 40 for i in range(320)]
        batches = [length_grouped_rows(lengths, 16, step, seed=0) for step in range(20)]
        assert sorted(i for batch in batches for i in batch) == list(range(320))
        assert max(max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches) < 15

    def test_micro_batches_hold_every_row_once_and_all_its_real_tokens(self):
        mask = pad([[1] * n for n in (9, 2, 5, 1, 7)], 0, side="left")[1]
        seen = [(int(row), columns) for rows, columns in micro_batches(mask, 2) for row in rows]
        assert sorted(row for row, _ in seen) == [0, 1, 2, 3, 4]
        assert all(mask[row, columns].sum() == mask[row].sum() for row, columns in seen)

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_padding_changes_neither_logprobs_nor_values_nor_rewards(
        self, any_model, tokenizer, side
    ):
        rows = encode_prompts(tokenizer, PROMPTS)
        ids, mask = pad(rows, tokenizer.pad_token_id, side)
        scorer = models.to_reward_model(any_model)
        with torch.no_grad():
            logprobs = logprobs_of(any_model, ids, mask, 0.7, suppressed_ids(any_model, tokenizer))
            values, rewards = token_scores(scorer, ids, mask), last_scores(scorer, ids, mask)
            for i, row in enumerate(rows):
                alone = pad([row], 0)
                expected = logprobs_of(
                    any_model, *alone, 0.7, suppressed_ids(any_model, tokenizer)
                )[0]
                real = mask[i, 1:] & mask[i, :-1]
                torch.testing.assert_close(logprobs[i][real], expected, atol=2e-5, rtol=0)
                torch.testing.assert_close(
                    values[i][mask[i]], token_scores(scorer, *alone)[0], atol=2e-5, rtol=0
                )
                torch.testing.assert_close(
                    rewards[i], token_scores(scorer, *alone)[0, -1], atol=2e-5, rtol=0
                )
        assert (logprobs[~(mask[:, 1:] & mask[:, :-1])] == 0).all()

    def test_gpt2_would_be_wrong_under_left_padding_without_positions(self, tokenizer, gpt2):
        ids, mask = pad(encode_prompts(tokenizer, PROMPTS), 0, side="left")
        with torch.no_grad():
            right = gpt2(**inputs(ids, mask)).logits[3, -1]
            wrong = gpt2(input_ids=ids, attention_mask=mask.long()).logits[3, -1]
        assert (right - wrong).abs().max() > 0.01

    def test_gradients_are_finite_where_a_row_is_mostly_padding(self, any_model):
        ids, mask = pad([[5] * 30, [6, 7]], 0, side="left")
        logprobs_of(any_model, ids, mask, 1.0, [0, 1]).sum().backward()
        assert all(p.grad.isfinite().all() for p in any_model.parameters() if p.grad is not None)


class TestSampling:
    @pytest.mark.parametrize("temperature", [0.7, 1.0])
    def test_logprobs_are_those_recomputed_without_a_cache(self, any_model, tokenizer, temperature):
        samples = generate(any_model, tokenizer, PROMPTS * 4, 12, temperature, seed=3)
        for i, (row, start) in enumerate(rows_of(samples)):
            with torch.no_grad():
                again = logprobs_of(
                    any_model,
                    row,
                    torch.ones_like(row).bool(),
                    temperature,
                    suppressed_ids(any_model, tokenizer),
                )
            torch.testing.assert_close(
                samples.logprobs[i][samples.response_mask[i]],
                again[0, start - 1 :],
                atol=2e-5,
                rtol=0,
            )

    def test_suppressed_tokens_are_never_sampled_even_if_they_are_the_likeliest(
        self, llama, tokenizer
    ):
        """The head is the embedding, so making five embeddings equal makes five logits equal."""
        with torch.no_grad():
            llama.lm_head.weight[:5] = llama.lm_head.weight[:5].sum(0) * 3
        samples = generate(llama, tokenizer, PROMPTS * 32, 10)
        drawn = set(samples.tokens[samples.response_mask].tolist())
        assert tokenizer.eos_token_id in drawn and not drawn & set(suppressed_ids(llama, tokenizer))
        assert suppressed_ids(llama, tokenizer) and samples.logprobs.isfinite().all()

    def test_an_answer_stops_at_its_first_end_token(self, llama, tokenizer):
        samples = generate(llama, tokenizer, PROMPTS * 64, 40, temperature=1.5)
        ends = samples.tokens == tokenizer.eos_token_id
        assert 0 < samples.ended.sum() < len(samples.ended)
        assert ((ends & samples.response_mask).sum(1) == samples.ended).all()
        assert (
            ends.float().argmax(1)[samples.ended] + 1 == samples.response_mask.sum(1)[samples.ended]
        ).all()
        assert (samples.response_mask.sum(1)[~samples.ended] == 40).all()
        assert (samples.tokens[~samples.response_mask] == tokenizer.pad_token_id).all()

    def test_rows_that_leave_and_the_batch_size_change_no_answer(self, any_model, tokenizer):
        prompts = PROMPTS * 16
        whole, small = (
            generate(any_model, tokenizer, prompts, 30, 1.5, seed=5, batch_size=n) for n in (64, 7)
        )
        assert whole.texts == small.texts
        assert whole.texts != generate(any_model, tokenizer, prompts, 30, 1.5, seed=6).texts

    def test_greedy_takes_the_likeliest_token_each_time(self, any_model, tokenizer):
        samples = generate(any_model, tokenizer, PROMPTS, 8, temperature=0)
        for row, start in rows_of(samples):
            with torch.no_grad():
                logits = any_model(**inputs(row, torch.ones_like(row).bool())).logits[0]
            logits[:, suppressed_ids(any_model, tokenizer)] = float("-inf")
            assert logits[start - 1 : -1].argmax(-1).tolist() == row[0, start:].tolist()

    def test_token_lists_are_prompts_too(self, llama, tokenizer):
        ids = encode_prompts(tokenizer, PROMPTS)
        assert (
            generate(llama, tokenizer, ids, 5).texts == generate(llama, tokenizer, PROMPTS, 5).texts
        )

    def test_sampling_follows_the_probabilities_and_never_takes_an_impossible_token(self):
        probs = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
        grid = torch.arange(1000) / 1000
        counts = torch.bincount(sample_next_token(probs.log().expand(1000, 6), grid), minlength=6)
        assert ((counts / 1000 - probs).abs() <= 0.001).all() and (counts[probs == 0] == 0).all()
        assert sample_next_token(probs.log()[None], torch.tensor([1 - 2**-24])).item() == 4

    def test_top_k_and_top_p_keep_the_likeliest(self):
        logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
        assert filter_top_k_top_p(logits, top_k=2).isfinite().tolist() == [
            [True, True, False, False]
        ]
        assert filter_top_k_top_p(logits, top_p=0.7).isfinite().tolist() == [
            [True, True, False, False]
        ]
        assert filter_top_k_top_p(logits, top_p=0.01).isfinite().tolist() == [
            [True, False, False, False]
        ]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"top_p": 0}, "top_p must be above 0 and at most 1, not 0"),
            ({"top_p": 1.5}, "top_p .* not 1.5"),
            ({"top_p": float("nan")}, "top_p .* not nan"),
            ({"top_k": -1}, "top_k must be 0, .* not -1"),
        ],
    )
    def test_top_k_or_top_p_out_of_range_is_named_with_its_range(self, settings, message):
        with pytest.raises(ValueError, match=message):
            filter_top_k_top_p(torch.zeros(1, 4), **settings)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    def test_logits_that_are_no_numbers_are_named_with_prompt_and_token(
        self, llama, tokenizer, bad, temperature
    ):
        """The shortest prompt, first in its batch, breaks at the third token of its answer."""
        generate(llama, tokenizer, PROMPTS, 1)  # now the model is known to work
        forward, steps = llama.forward, []

        def broken(**inputs):
            output = forward(**inputs)
            steps.append(output)
            if len(steps) == 3:
                output.logits[0] = bad
            return output

        llama.forward = broken
        with pytest.raises(
            ValueError, match="prompt 1, token 2 of its answer .* NaN or infinite.* lower rate"
        ):
            generate(llama, tokenizer, PROMPTS[2:], 8, temperature)

    @pytest.mark.parametrize(
        ("prompts", "message"),
        [
            ([], "no prompts"),
            ([[5], []], r"prompt 1 \(counted from 0\) has no token"),
            (["a", "dragon " * 300], "prompt 1 .* tokens and 8 to come, .* 256 positions"),
        ],
    )
    def test_nothing_to_answer_or_too_long_is_refused(self, llama, tokenizer, prompts, message):
        with pytest.raises(ValueError, match=message):
            generate(llama, tokenizer, prompts, 8)


class TestModels:
    def test_a_new_model_depends_on_its_seed_only(self, tokenizer):
        config = models.toy_config(300, layers=1, width=32, heads=2, mlp=32)
        before = torch.random.get_rng_state()
        first, same, other = (models.new_model(config, seed).lm_head.weight for seed in (1, 1, 2))
        assert torch.equal(first, same) and not torch.equal(first, other)
        assert torch.equal(before, torch.random.get_rng_state())

    def test_reward_model_keeps_the_lowest_layers_and_says_nothing(
        self, any_model, tokenizer, capfd
    ):
        ids = torch.tensor(encode_prompts(tokenizer, ["anna"]))
        scorer = models.to_reward_model(any_model, keep_layers=1)
        with torch.no_grad():
            inner = any_model.base_model(ids, output_hidden_states=True).hidden_states[1]
            mine = scorer.base_model(ids, output_hidden_states=True).hidden_states
        norm = getattr(scorer.base_model, "norm", None) or scorer.base_model.ln_f
        torch.testing.assert_close(mine[-1], norm(inner))
        assert scorer.config.num_hidden_layers == 1 and any_model.config.num_hidden_layers == 2
        assert scorer.score.bias is None and capfd.readouterr() == ("", "")

    def test_reward_head_starts_with_the_deviation_of_the_paper(self):
        config = models.toy_config(300, layers=1, width=1024, heads=2, mlp=8)
        head = models.to_reward_model(models.new_model(config)).score.weight
        assert head.std().item() == pytest.approx(
            1025**-0.5, rel=0.1
        )  # 1,024 draws: 2 % standard error

    @pytest.mark.parametrize("layers", [0, 3])
    def test_a_number_of_layers_that_is_not_there_is_refused(self, llama, layers):
        with pytest.raises(ValueError, match="between 1 and 2"):
            models.to_reward_model(llama, layers)

    def test_saving_and_loading_gives_the_same_model_and_card(self, any_model, tokenizer, tmp_path):
        scorer = models.to_reward_model(any_model, 1)
        scorer.config.reward_mean = 0.25
        for model in (any_model, scorer):
            models.save_model(
                model, tokenizer, tmp_path / "m", {"title": "Base", "seed": 3}
            )  # the second replaces
            loaded, again = models.load_model(tmp_path / "m")
            assert type(loaded) is type(model) and again.get_vocab() == tokenizer.get_vocab()
            assert (
                chat_prompt(again, "a") == chat_prompt(tokenizer, "a")
                and again.padding_side == "left"
            )
            assert all(
                torch.equal(a, b)
                for a, b in zip(model.parameters(), loaded.parameters(), strict=True)
            )
        assert loaded.config.reward_mean == 0.25 and models.load_card(tmp_path / "m")["seed"] == 3
        assert [file.name for file in tmp_path.iterdir()] == ["m"]  # nothing left beside

    def test_a_save_that_fails_leaves_the_old_checkpoint(self, llama, tokenizer, tmp_path):
        models.save_model(llama, tokenizer, tmp_path / "m", {"seed": 1})
        with pytest.raises(TypeError):
            models.save_model(llama, tokenizer, tmp_path / "m", {"seed": object()})
        assert models.load_card(tmp_path / "m")["seed"] == 1
        models.load_model(tmp_path / "m")

    @pytest.mark.parametrize(
        ("file", "damage", "message"),
        [
            (
                "model.safetensors",
                lambda old: old[:-100],
                "model.safetensors: damaged or truncated",
            ),
            (
                "model.safetensors",
                lambda old: old[:-9] + bytes([old[-9] ^ 1]) + old[-8:],
                "model.safetensors: damaged or",
            ),
            ("model.safetensors", None, "model.safetensors: missing"),
            ("config.json", lambda old: b"{", "config.json: damaged, not readable as JSON"),
            (
                "config.json",
                lambda old: old.replace(b'"num_hidden_layers": 2', b'"num_hidden_layers": 3'),
                "does not hold",
            ),
            ("tokenizer.json", None, "tokenizer.json: missing"),
            ("tokenizer.json", lambda old: old[:50], "m: "),
            ("card.json", lambda old: b"\xff", "card.json: damaged"),
        ],
    )
    def test_a_damaged_folder_is_named_with_what_is_wrong(
        self, llama, tokenizer, tmp_path, file, damage, message
    ):
        models.save_model(llama, tokenizer, tmp_path / "m", {})
        path = tmp_path / "m" / file
        path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
        with pytest.raises(models.CheckpointError, match=message):
            models.load_model(tmp_path / "m")

    def test_a_folder_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(models.CheckpointError, match="no such folder"):
            models.load_model(tmp_path / "nowhere")

    def test_the_card_is_plain_data_with_the_hash_of_the_weights(self, llama, tokenizer, tmp_path):
        models.save_model(llama, tokenizer, tmp_path / "m", {"about": "Äpfel"})
        card = json.loads((tmp_path / "m" / "card.json").read_text(encoding="utf-8"))
        assert card["about"] == "Äpfel" and len(card["weights_sha256"]) == 64

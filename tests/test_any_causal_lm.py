"""Any causal LM: each family by name samples, scores, saves and loads correctly, or is refused.

The models are tiny and made from their configs, offline. What decides is `check_model`, which tries
a model out; no list of names is consulted.
"""

import random
import time

import pytest
import torch
import transformers
from tiny_models import louder, sentence, tiny_gpt2, tiny_llama
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM

from rlhf_lessons.lm import sampling
from rlhf_lessons.lm.models import CheckpointError, load_model, save_model, to_reward_model
from rlhf_lessons.lm.sampling import (
    check_lengths,
    check_model,
    generate,
    logprobs_of,
    pad,
    suppressed_ids,
    token_scores,
)
from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts, strip_special_tokens

SIZES = {
    "vocab_size": 320,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {"num_key_value_heads": 1, "head_dim": 16, "intermediate_size": 64}
WORKING = {  # family: what its config needs beside SIZES
    "GPT2": {},
    "GPTNeo": {"attention_types": [[["global", "local"], 1]]},
    "GPTNeoX": {"intermediate_size": 64},
    "OPT": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "Bloom": {},
    "Mpt": {},
    "Falcon": {"new_decoder_architecture": True, "num_kv_heads": 1},
    "Phi": {"intermediate_size": 64},
    "Llama": GROUPED,
    "Mistral": GROUPED,
    "Mixtral": {**GROUPED, "num_local_experts": 4},
    "Qwen2": GROUPED,
    "Qwen3": GROUPED,
    "Gemma": GROUPED,
    "Gemma2": {**GROUPED, "sliding_window": 4},
    "StableLm": {**GROUPED, "num_key_value_heads": 2},
    "Olmo2": GROUPED,
    "SmolLM3": GROUPED,
    "Granite": GROUPED,  # has no sequence-classification class in transformers
    "Cohere": GROUPED,  # nor has this one
}
REFUSED = {
    "Mamba": {"state_size": 8},
    "Rwkv": {"attention_hidden_size": 32, "context_length": 128},
    "RecurrentGemma": {**GROUPED, "lru_width": 32},
    "Bert": {"intermediate_size": 64},  # sees what comes later
}
PROMPTS = [[7, 80, 9, 100, 33], [50, 60], [200]] * 3


def made(family: str, extra: dict):
    config = getattr(transformers, f"{family}Config")(**SIZES, **extra)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return louder(AutoModelForCausalLM.from_config(config).eval())


@pytest.fixture(params=WORKING)
def model(request):
    return made(request.param, WORKING[request.param])


def close(left, right) -> bool:
    return torch.allclose(left, right, atol=2e-5, rtol=0)


def test_sampled_logprobs_are_those_of_each_row_alone_without_a_cache(model, tokenizer):
    samples = generate(model, tokenizer, PROMPTS, 6, seed=1)
    suppressed = suppressed_ids(model, tokenizer)
    for i, prompt in enumerate(PROMPTS):
        mask = samples.response_mask[i]
        ids, attention_mask = pad([prompt + samples.tokens[i, mask].tolist()], 0)
        with torch.no_grad():
            alone = logprobs_of(model, ids, attention_mask, 1.0, suppressed)
        assert close(samples.logprobs[i, mask], alone[0, len(prompt) - 1 :])


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_no_score(model, side):
    scorer = to_reward_model(model)
    ids, attention_mask = pad(PROMPTS, 0, side)
    with torch.no_grad():
        scores = token_scores(scorer, ids, attention_mask)
        for i, prompt in enumerate(PROMPTS):
            alone = token_scores(scorer, *pad([prompt], 0))[0]
            assert close(scores[i, attention_mask[i]], alone)


@pytest.mark.parametrize("layers", [None, 1])
def test_a_reward_model_is_saved_and_loaded_with_equal_scores(model, tokenizer, tmp_path, layers):
    scorer = to_reward_model(model, layers)
    check_model(scorer, tokenizer)
    save_model(scorer, tokenizer, tmp_path / "reward", {})
    loaded, same_tokenizer = load_model(tmp_path / "reward")
    rows = encode_prompts(same_tokenizer, ["anna walked 4-2", "the dragon"])
    assert rows == encode_prompts(tokenizer, ["anna walked 4-2", "the dragon"])
    with torch.no_grad():
        scores = [token_scores(each, *pad(rows, 0)) for each in (scorer, loaded)]
    assert torch.equal(*scores)
    assert loaded.config.num_hidden_layers == (layers or 2)


@pytest.mark.parametrize("family", REFUSED)
@pytest.mark.parametrize("loud", [False, True])
def test_a_family_that_would_be_wrong_is_refused_before_it_samples(family, loud, tokenizer):
    model = made(family, REFUSED[family])
    if not loud:  # as transformers leaves it, where little depends on the input
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() == 2:
                    weight.div_(5)
    with pytest.raises(ValueError, match=f"{family}.* cannot be used here.* another family"):
        generate(model, tokenizer, PROMPTS, 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_passes_the_trial(tokenizer, dtype):
    check_model(tiny_llama(tokenizer).to(dtype), tokenizer)
    check_model(to_reward_model(tiny_gpt2(tokenizer).to(dtype)), tokenizer)


def test_the_trial_is_made_once_and_touches_no_randomness(llama, tokenizer, monkeypatch):
    before = torch.random.get_rng_state()
    check_model(llama, tokenizer)
    assert torch.equal(before, torch.random.get_rng_state())
    monkeypatch.setattr(sampling, "_try_out", lambda *_: pytest.fail("tried again"))
    generate(llama, tokenizer, PROMPTS, 2)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_a_model_in_training_mode_samples_without_dropout(make, tokenizer):
    model = make(tokenizer)
    check_model(model, tokenizer)
    model.train()
    texts = [generate(model, tokenizer, ["anna"] * 8, 8, seed=2).texts for _ in range(2)]
    assert texts[0] == texts[1] == generate(model.eval(), tokenizer, ["anna"] * 8, 8, seed=2).texts


def test_ids_that_the_tokenizer_does_not_know_are_never_drawn(tokenizer):
    """A fresh model of 400 rows gives a fifth of its probability to the last 80."""
    model = AutoModelForCausalLM.from_config(
        transformers.GPT2Config(
            vocab_size=400, n_embd=32, n_layer=1, n_head=2, pad_token_id=0, eos_token_id=2
        )
    ).eval()
    samples = generate(model, tokenizer, PROMPTS * 8, 20)
    assert samples.tokens.max() < len(tokenizer) == 320
    assert set(range(320, 400)) < set(suppressed_ids(model, tokenizer))
    row = PROMPTS[0] + samples.tokens[0, samples.response_mask[0]].tolist()
    with torch.no_grad():
        alone = logprobs_of(model, *pad([row], 0), 1.0, suppressed_ids(model, tokenizer))
    assert close(alone[0, 4:], samples.logprobs[0, samples.response_mask[0]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, "temperature must be 0 or a positive number, not -1"),
        ({"temperature": float("nan")}, "temperature .* not nan"),
        ({"temperature": float("inf")}, "temperature .* not inf"),
        ({"max_new_tokens": 0}, "max_new_tokens must be 1 or more, not 0"),
    ],
)
def test_a_setting_out_of_range_is_named_with_its_range(llama, tokenizer, settings, message):
    with pytest.raises(ValueError, match=message):
        generate(llama, tokenizer, ["anna"], **settings)


class TestTokenizers:
    @pytest.fixture
    def own(self, tokenizer):
        """A tokenizer that a test may change."""
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()),
            pad_token="<pad>",
            bos_token="<bos>",
            eos_token="<eos>",
        )

    @pytest.mark.parametrize(
        ("name", "token", "message"),
        [
            ("pad_token", "", "'' is not in the tokenizer's vocabulary"),
            ("pad_token", "<nope>", "'<nope>' is not in the tokenizer's vocabulary"),
            ("pad_token", "!", "'!' is a word, which texts would lose"),
            ("pad_token", "anna", "'anna' is (a word|not in)"),
            ("pad_token", None, "no pad_token: set tokenizer.pad_token"),
            ("eos_token", None, "no eos_token: set tokenizer.eos_token"),
            ("eos_token", ".", "'.' is a word"),
        ],
    )
    def test_a_special_token_that_cannot_serve_is_refused_with_what_to_set(
        self, llama, own, name, token, message
    ):
        setattr(own, name, token)
        began = time.perf_counter()
        for refused in (
            lambda: encode_prompts(own, ["Hooray! Anna won!"]),
            lambda: encode_completions(own, ["Hooray! Anna won!"]),
            lambda: generate(llama, own, [[5, 6]], 2),
        ):
            with pytest.raises(ValueError, match=message):
                refused()
        assert time.perf_counter() - began < 5

    def test_a_word_given_when_the_tokenizer_is_made_is_refused_too(self, own):
        made = transformers.PreTrainedTokenizerFast(
            tokenizer_object=own.backend_tokenizer, pad_token="!", eos_token="<eos>"
        )
        with pytest.raises(ValueError, match="'!' is a word"):
            encode_prompts(made, ["Hooray!"])

    def test_words_as_whole_tokens_are_no_obstacle_to_special_ones(self):
        words = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "anna": 2}, unk_token="<pad>"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        whole = transformers.PreTrainedTokenizerFast(
            tokenizer_object=words, pad_token="<pad>", eos_token="<eos>"
        )
        assert encode_completions(whole, ["anna anna"]) == [[2, 2, 1]]

    def test_the_end_token_may_be_the_pad_token(self, llama, own):
        own.pad_token = own.eos_token
        assert len(generate(llama, own, ["anna"] * 4, 4).texts) == 4

    def test_an_empty_special_token_makes_no_endless_loop(self, own):
        own.pad_token = ""
        assert strip_special_tokens(own, "a<eos>b") == "ab"

    def test_more_tokens_than_the_model_has_rows_are_refused_with_both_numbers(self, tokenizer):
        small = made("Llama", {**GROUPED})
        small.resize_token_embeddings(300)
        for model in (small, to_reward_model(small)):
            with pytest.raises(ValueError, match="has the id 319, but the model has 300 rows"):
                check_model(model, tokenizer)

    def test_a_pad_token_without_a_row_is_refused(self, llama, own):
        own.add_special_tokens({"pad_token": "<padding>"})
        with pytest.raises(ValueError, match="'<padding>' has the id 320, but the model has 320"):
            generate(llama, own, ["anna"], 2)

    @pytest.mark.parametrize("encode", [encode_prompts, encode_completions])
    def test_half_an_emoji_is_refused_with_its_row(self, tokenizer, encode):
        with pytest.raises(ValueError, match="1 .counted from 0. holds half a character"):
            encode(tokenizer, ["anna", "anna \ud83d sang"])


def test_a_row_beyond_the_positions_is_named_with_both_numbers(gpt2):
    check_lengths(gpt2, [[5] * 128], "demonstration")
    with pytest.raises(ValueError, match="demonstration 1 .* 129 tokens, .* 128 positions"):
        check_lengths(gpt2, [[5], [5] * 129], "demonstration")
    with pytest.raises(ValueError, match="prompt 0 .* 100 tokens and 29 to come"):
        check_lengths(gpt2, [[5] * 100], "prompt", room=29)


def test_a_saved_tokenizer_comes_back_whatever_the_family(tokenizer, tmp_path):
    """Qwen2 has a tokenizer class of its own, which would be chosen for the course's."""
    save_model(made("Qwen2", GROUPED), tokenizer, tmp_path / "m", {})
    _, loaded = load_model(tmp_path / "m")
    rng = random.Random(0)
    texts = [sentence(rng) + " 4-2\n\n é 🐉" for _ in range(20)]
    assert encode_completions(loaded, texts) == encode_completions(tokenizer, texts)
    assert encode_prompts(loaded, texts) == encode_prompts(tokenizer, texts)
    assert len(loaded) == len(tokenizer)


class TestHostileFolders:
    @pytest.fixture
    def folder(self, llama, tokenizer, tmp_path):
        save_model(llama, tokenizer, tmp_path / "m", {})
        return tmp_path / "m"

    @pytest.mark.parametrize("kind", ["llama", "mine"])
    def test_a_folder_that_brings_code_is_refused_and_the_code_not_run(
        self, folder, kind, monkeypatch
    ):
        ran = folder / "ran"
        (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
        config = (folder / "config.json").read_text()
        auto = '{"auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"},'
        config = config.replace("{", auto, 1).replace('"llama"', f'"{kind}"')
        (folder / "config.json").write_text(config)
        monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a prompt"))
        with pytest.raises(CheckpointError, match="asks to run code of its own"):
            load_model(folder)
        assert not ran.exists()

    @pytest.mark.parametrize("content", ["[]", '"card"', "3", "null"])
    @pytest.mark.parametrize("file", ["card.json", "config.json"])
    def test_json_that_is_no_object_is_named(self, folder, file, content):
        (folder / file).write_text(content)
        with pytest.raises(CheckpointError, match=f"{file}: holds .* a JSON object was expected"):
            load_model(folder)

    def test_a_tokenizer_with_more_tokens_than_the_model_has_rows_is_named(
        self, llama, tokenizer, tmp_path
    ):
        llama.resize_token_embeddings(300)
        save_model(llama, tokenizer, tmp_path / "m", {})
        with pytest.raises(CheckpointError, match="id 319, but the model has 300 rows"):
            load_model(tmp_path / "m")

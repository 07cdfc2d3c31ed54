"""The fast decoder gives the model's own numbers, and is taken where it does and nowhere else."""

import pytest
import torch
from scipy.stats import chisquare
from test_any_causal_lm import GROUPED, made
from tiny_models import louder, tiny_llama
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

import rlhf_lessons as rl
from rlhf_lessons.lm import decoder, sampling
from rlhf_lessons.lm.decoder import Decoder, fast, fits
from rlhf_lessons.lm.sampling import generate, logprobs_of, pad, suppressed_ids

PROMPTS = [[7, 80, 9, 100, 33], [50, 60], [200]] * 8
SMOLLM2 = {  # its shape, in small: nine heads share three keys
    "hidden_size": 36,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
FITTING = {
    "the course's": {"tie_word_embeddings": True},
    "SmolLM2": SMOLLM2,
    "one key for all heads": {"num_key_value_heads": 1},
    "wide heads": {"head_dim": 24},
    "large epsilon": {"rms_norm_eps": 0.1},
    "Llama 3": {"rope_parameters": LLAMA3, "num_key_value_heads": 2},
}
OTHERS = {  # what `fits` refuses, by the config
    "attention bias": {"attention_bias": True},
    "biased MLP": {"mlp_bias": True},
    "another activation": {"hidden_act": "gelu"},
    "RoPE that changes": {
        "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    },
}


def llama_of(**changes) -> LlamaForCausalLM:
    """A tiny Llama of 320 tokens that often ends, and whose norms have weights other than 1."""
    config = {
        "vocab_size": 320,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    torch.manual_seed(0)
    model = louder(LlamaForCausalLM(LlamaConfig(**config | changes)).eval())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.add_(torch.rand_like(weight) if "norm" in name else 1.0)
        model.lm_head.weight[2].mul_(5)
    return model


@pytest.fixture
def reads(monkeypatch):
    """How many tokens decoders have read."""
    read, steps = Decoder.read, []

    def counted(self, ids, *rest):
        steps.append(len(ids))
        return read(self, ids, *rest)

    monkeypatch.setattr(Decoder, "read", counted)
    return steps


@pytest.fixture
def readable(monkeypatch):
    """Sampling in which the model reads every token itself."""

    def sample(*args, **settings):
        with monkeypatch.context() as patch:
            patch.setattr(sampling, "fast", lambda model: model)
            return generate(*args, **settings)

    return sample


@pytest.mark.parametrize("changes", FITTING.values(), ids=FITTING)
class TestEqualToTheModel:
    def test_logprobs_are_those_of_a_full_forward_pass_at_every_token(
        self, changes, tokenizer, reads
    ):
        """Prompts are padded on the left, and answers end at different times."""
        model = llama_of(**changes)
        samples = generate(model, tokenizer, PROMPTS, 40, temperature=1.5, seed=3)
        lengths = samples.response_mask.sum(1)
        assert len(reads) == samples.tokens.shape[1] - 1 and len(lengths.unique()) > 3
        assert reads[-1] < len(PROMPTS), "no row has left"
        suppressed = suppressed_ids(model, tokenizer)
        for i, prompt in enumerate(PROMPTS):
            ids, mask = pad([prompt + samples.tokens[i, : lengths[i]].tolist()], 0)
            with torch.no_grad():
                alone = logprobs_of(model, ids, mask, 1.5, suppressed)[0, len(prompt) - 1 :]
            found = samples.logprobs[i, : lengths[i]]
            torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("settings", [{"temperature": 0}, {"temperature": 1.5}])
    def test_the_same_seed_gives_the_answers_of_the_readable_loop(
        self, changes, settings, tokenizer, reads, readable
    ):
        model = llama_of(**changes)
        slow = readable(model, tokenizer, PROMPTS, 20, seed=1, **settings)
        assert not reads
        fast = generate(model, tokenizer, PROMPTS, 20, seed=1, **settings)
        assert reads and torch.equal(fast.ids, slow.ids)
        torch.testing.assert_close(fast.logprobs, slow.logprobs, atol=2e-5, rtol=0)


def test_pairs_of_tokens_are_as_frequent_as_their_probabilities_say():
    """Eight tokens, of which 0 is suppressed and 2 ends; every other row is padded on the left.

    The same counts refute a temperature of 2.6 instead of 2.
    """
    model = llama_of(vocab_size=8)
    ids, mask = pad([[3, 4, 5], [6]] * 4000, 0, "left")
    uniforms = torch.rand(8000, 2, generator=torch.Generator().manual_seed(0))
    tokens, _ = sampling._decode(fast(model), ids, mask, uniforms, 2, [0], 2.0, 128)
    first = [1, 3, 4, 5, 6, 7]  # what follows an end is not read
    counts = torch.bincount(tokens[1::2, 0] * 8 + tokens[1::2, 1], minlength=64)
    counts = counts.view(8, 8)[first, 1:].flatten().double()

    def p_value(temperature: float) -> float:
        rows = [[6, token, after] for token in first for after in range(1, 8)]
        with torch.no_grad():
            expected = logprobs_of(model, *pad(rows, 0), temperature, [0]).sum(1).double().exp()
        expected *= counts.sum() / expected.sum()
        assert expected.min() > 5
        return chisquare(counts, expected).pvalue

    assert p_value(2.0) > 0.001 and p_value(2.6) < 1e-6


def test_weights_that_changed_between_two_calls_are_seen(tokenizer, readable):
    model = tiny_llama(tokenizer)
    before = generate(model, tokenizer, PROMPTS, 20)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.2)
    after = generate(model, tokenizer, PROMPTS, 20)
    assert after.texts == readable(model, tokenizer, PROMPTS, 20).texts != before.texts


def test_a_cache_that_grows_often_changes_nothing(tokenizer, monkeypatch):
    model = tiny_llama(tokenizer)
    once = generate(model, tokenizer, PROMPTS, 20)
    monkeypatch.setattr(decoder, "ROOM", 3)
    assert torch.equal(generate(model, tokenizer, PROMPTS, 20).logprobs, once.logprobs)


def test_bfloat16_is_as_near_to_float32_as_the_model_itself_is(tokenizer, readable):
    exact = tiny_llama(tokenizer)
    model = tiny_llama(tokenizer).bfloat16()
    errors = []
    for sample in (generate, readable):
        samples = sample(model, tokenizer, PROMPTS, 20)
        length = samples.tokens.shape[1]
        with torch.no_grad():
            logprobs, _ = sampling.response_logprobs(
                exact,
                samples.ids,
                samples.attention_mask,
                length,
                suppressed=suppressed_ids(exact, tokenizer),
            )
        errors.append((samples.logprobs - logprobs)[samples.response_mask].square().mean().sqrt())
    assert errors[0] < 1.5 * errors[1] < 0.2


def test_shipped_models_answer_as_in_the_readable_loop_but_for_rounding(readable):
    """Of 1,000 answers of sft, ppo and base, 1,000, 999 and 999 were the same."""
    model, tokenizer = rl.load("sft")
    prompts = [task.prompt for task in rl.tasks("train")][:64]
    pair = [sample(model, tokenizer, prompts, seed=5).texts for sample in (generate, readable)]
    assert sum(fast == slow for fast, slow in zip(*pair, strict=True)) >= 62


def test_a_token_that_breaks_the_model_is_named_with_its_prompt(tokenizer, reads):
    """The embedding of the first token that prompt 0 draws holds no number."""
    model = llama_of()
    token = generate(model, tokenizer, PROMPTS, 1).tokens[0, 0]
    with torch.no_grad():
        model.model.embed_tokens.weight[token] = float("nan")
    with pytest.raises(ValueError, match="prompt 0, token 1 of its answer .* NaN"):
        generate(model, tokenizer, PROMPTS[:1], 4)
    assert len(reads) == 1


class TestOtherModelsTakeTheReadableLoop:
    @pytest.fixture(autouse=True)
    def no_decoder(self, monkeypatch):
        monkeypatch.setattr(decoder, "Decoder", lambda *_: pytest.fail("a decoder"))

    @pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
    def test_of_another_config(self, changes, tokenizer):
        model = llama_of(**changes)
        assert not fits(model)
        assert generate(model, tokenizer, PROMPTS, 3).tokens.shape[1] == 3

    @pytest.mark.parametrize("family", ["Mistral", "Qwen2", "Olmo2"])
    def test_of_another_family(self, family, tokenizer):
        assert generate(made(family, GROUPED), tokenizer, PROMPTS, 3).tokens.shape[1] == 3

    def test_with_an_adapter(self, tokenizer):
        class Adapted(nn.Linear):
            def forward(self, x):
                return super().forward(x) + x.flip(-1)

        model = llama_of()
        plain = model.model.layers[1].self_attn.q_proj
        adapted = Adapted(32, 32, bias=False)
        adapted.weight = plain.weight
        model.model.layers[1].self_attn.q_proj = adapted
        assert not fits(model)
        generate(model, tokenizer, PROMPTS, 3)

    def test_without_a_layer(self, tokenizer):
        model = llama_of()
        model.model.layers[1].mlp = nn.Identity()
        assert not fits(model)
        generate(model, tokenizer, PROMPTS, 3)

    @pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook"])
    def test_with_a_hook(self, kind, tokenizer):
        model = llama_of()
        handle = getattr(model.model.layers[0].mlp, kind)(lambda *_: None)
        generate(model, tokenizer, PROMPTS, 3)
        handle.remove()
        assert fits(model)

    def test_of_mixed_precision(self):
        model = llama_of().bfloat16()
        assert fits(model)
        model.model.norm.float()
        assert not fits(model)

    def test_under_autocast(self, tokenizer):
        with torch.autocast("cpu", torch.bfloat16):
            generate(llama_of(), tokenizer, PROMPTS, 3)

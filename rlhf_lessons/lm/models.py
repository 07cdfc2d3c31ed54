"""Building, saving and loading models: any causal LM of transformers, and reward models made from one.

A checkpoint is a `save_pretrained` folder (safetensors, never pickle) with `card.json`, which says how the model was
made and holds the SHA-256 of its weights: a damaged, truncated or foreign folder is named as such.
"""

import copy
import hashlib
import json
import os
import tempfile
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
)
from transformers import PreTrainedModel as Model
from transformers.utils import logging

logging.disable_progress_bar()  # a few megabytes load in no time


class CheckpointError(Exception):
    """A checkpoint folder that cannot be loaded; the message names the file and what is wrong with it."""


def toy_config(
    vocab_size: int = 1024, layers: int = 4, width: int = 128, heads: int = 4, mlp: int = 384
):
    """The course's Llama: about a million parameters, 256 positions, special ids as `train_tokenizer` has them."""
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=mlp,
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
        return AutoModelForCausalLM.from_config(config).eval()


def to_reward_model(lm: Model, keep_layers: int | None = None, seed: int = 0) -> Model:
    """A copy of `lm` with its lowest `keep_layers` layers (None: all), and a scalar head for the language-model head.

    The head has no bias and starts at N(0, 1/sqrt(width + 1)), so first scores have a deviation of about 1
    (Stiennon et al. 2020). ValueError if `lm` has no such number of layers.
    """
    config, layers = copy.deepcopy(lm.config), lm.config.num_hidden_layers
    if keep_layers is not None and not 1 <= keep_layers <= layers:
        raise ValueError(
            f"keep_layers must lie between 1 and {layers}, the layers of this model, not {keep_layers}"
        )
    config.num_hidden_layers, config.num_labels, config.reward_mean = keep_layers or layers, 1, 0.0
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config)
        torch.nn.init.normal_(model.score.weight, std=(model.score.in_features + 1) ** -0.5)
    model.base_model.load_state_dict(
        lm.base_model.state_dict(), strict=False
    )  # passes over the layers left out
    return model.to(lm.device, lm.dtype).eval()


def save_model(model: Model, tokenizer, path, card: dict) -> None:
    """Save a checkpoint folder, written beside and then renamed, so that `path` never holds half a model.

    `card` is plain data on how the model was made and what was measured; its "title" and "about" head the README.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        new = Path(folder, "new")
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        card = {
            **card,
            "weights_sha256": hashlib.sha256((new / "model.safetensors").read_bytes()).hexdigest(),
        }
        body = json.dumps(card, indent=1, ensure_ascii=False)
        (new / "card.json").write_text(body + "\n", encoding="utf-8", newline="\n")
        title = f"# {card.get('title', path.name)}\n\n{card.get('about', '')}"
        text = f"---\nlibrary_name: transformers\n---\n{title}\n\n```json\n{body}\n```\n"
        (new / "README.md").write_text(text, encoding="utf-8", newline="\n")
        if path.exists():
            os.rename(path, Path(folder, "old"))
        os.rename(new, path)


def load_card(path) -> dict:
    """The `card.json` of a checkpoint folder; CheckpointError if it is missing or unreadable."""
    file = Path(path, "card.json")
    if not file.is_file():
        what = (
            "missing: no checkpoint of this course"
            if Path(path).is_dir()
            else "there is no such folder"
        )
        raise CheckpointError(f"{file}: {what}")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file}: damaged, not readable as JSON ({error})") from error


def load_model(path) -> tuple:
    """Model and tokenizer of a checkpoint folder: a causal LM, or a reward model where the folder holds one.

    CheckpointError names the file and what is wrong with it: missing, damaged or truncated, or foreign.
    """
    card, weights, config = (
        load_card(path),
        Path(path, "model.safetensors"),
        Path(path, "config.json"),
    )
    for file in (config, weights, Path(path, "tokenizer.json")):
        if not file.is_file():
            raise CheckpointError(f"{file}: missing")
    if hashlib.sha256(weights.read_bytes()).hexdigest() != card.get("weights_sha256"):
        raise CheckpointError(
            f"{weights}: damaged or truncated, its SHA-256 is not the one in card.json"
        )
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # instead of a load report we raise
    try:
        scores = (
            "SequenceClassification"
            in json.loads(config.read_text(encoding="utf-8"))["architectures"][0]
        )
        kind = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
        model, found = kind.from_pretrained(path, local_files_only=True, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # transformers has a dozen kinds; the reader needs one
        raise CheckpointError(f"{path}: {type(error).__name__}: {error}") from error
    finally:
        logging.set_verbosity(level)
    if found["missing_keys"] or found["unexpected_keys"] or found["mismatched_keys"]:
        raise CheckpointError(f"{weights}: does not hold the model that {config} describes")
    return model.eval(), tokenizer

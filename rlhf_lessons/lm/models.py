"""Building, saving and loading models: any causal LM of transformers, and reward models made from one.

A checkpoint is a `save_pretrained` folder (safetensors, never pickle) with `card.json`: how the model was made and the
SHA-256 of its weights, so that a damaged, truncated or foreign folder is named as such and never half loaded.
"""

import contextlib
import copy
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging


class CheckpointError(Exception):
    """A checkpoint folder that cannot be loaded; the message names the file and what is wrong with it."""


def toy_config(vocab_size: int = 1024, layers: int = 4, width: int = 128, heads: int = 4, mlp: int = 384) -> LlamaConfig:
    """The course's Llama, about a million parameters, up to 256 positions; ids as `train_tokenizer` gives them."""
    return LlamaConfig(
        vocab_size=vocab_size, hidden_size=width, intermediate_size=mlp, num_hidden_layers=layers,
        num_attention_heads=heads, max_position_embeddings=256, tie_word_embeddings=True,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )


def new_model(config, seed: int = 0) -> PreTrainedModel:
    """A causal LM with fresh random weights from `seed`; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config).eval()


def to_reward_model(lm: PreTrainedModel, keep_layers: int | None = None, seed: int = 0) -> PreTrainedModel:
    """Take the language-model head off `lm` and put a scalar head on; keep its lowest `keep_layers` layers.

    The head has no bias and starts at N(0, 1/sqrt(width + 1)), so that a first score has a deviation of about 1
    (Stiennon et al. 2020). `lm` itself is left as it is. ValueError if `keep_layers` is not in 1..layers of `lm`.
    """
    config, layers = copy.deepcopy(lm.config), lm.config.num_hidden_layers
    keep_layers = layers if keep_layers is None else keep_layers
    if not 1 <= keep_layers <= layers:
        raise ValueError(f"keep_layers must lie between 1 and {layers} (the layers of this model), not {keep_layers}")
    config.num_hidden_layers, config.num_labels, config.reward_mean = keep_layers, 1, 0.0
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:keep_layers]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config).to(lm.device, lm.dtype).eval()
        torch.nn.init.normal_(model.score.weight, std=(model.score.in_features + 1) ** -0.5)
    missing = model.base_model.load_state_dict(lm.base_model.state_dict(), strict=False).missing_keys
    assert not missing, f"the language model lacks {missing}"
    return model


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def _quiet():
    """No progress bars and no load reports of transformers: a few megabytes take no time, and we raise instead."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path, card: dict) -> None:
    """Save a checkpoint folder: written beside and then renamed, so `path` never holds half a model.

    `card` holds plain data: what the model is, its config, seed, data hash, time and measured results.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", ignore_cleanup_errors=True) as folder:
        new = Path(folder, "new")
        with _quiet():
            model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        card = {**card, "weights_sha256": _digest(new / "model.safetensors")}
        body = json.dumps(card, indent=1, ensure_ascii=False)
        (new / "card.json").write_text(body + "\n", encoding="utf-8", newline="\n")
        title, about = card.get("title", path.name), card.get("about", "")
        text = f"---\nlibrary_name: transformers\ntags: [rlhf-lessons]\n---\n# {title}\n\n{about}\n\n```json\n{body}\n```\n"
        (new / "README.md").write_text(text, encoding="utf-8", newline="\n")
        if path.exists():
            os.rename(path, Path(folder, "old"))
        os.rename(new, path)


def load_card(path) -> dict:
    """The `card.json` of a checkpoint folder. CheckpointError if it is missing or unreadable."""
    file = Path(path, "card.json")
    if not Path(path).is_dir():
        raise CheckpointError(f"{path}: there is no such folder")
    if not file.is_file():
        raise CheckpointError(f"{file}: missing, so this is no checkpoint of this course")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file}: not readable as JSON ({error})") from error


def load_model(path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a checkpoint folder as (model, tokenizer): a causal LM, or a reward model where the folder holds one.

    CheckpointError names the file and what is wrong: missing, truncated, changed since it was saved, or foreign.
    """
    card = load_card(path)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not Path(path, name).is_file():
            raise CheckpointError(f"{Path(path, name)}: missing")
    weights = Path(path, "model.safetensors")
    if _digest(weights) != card.get("weights_sha256"):
        raise CheckpointError(f"{weights}: damaged or truncated, its SHA-256 is not the one in card.json")
    try:
        config = json.loads(Path(path, "config.json").read_text(encoding="utf-8"))
        scores = any("SequenceClassification" in name for name in config.get("architectures") or [])
        kind = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
        with _quiet():
            model, report = kind.from_pretrained(path, local_files_only=True, output_loading_info=True)
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # transformers raises a dozen kinds; the reader needs one
        raise CheckpointError(f"{path}: {type(error).__name__}: {error}") from error
    if report["missing_keys"] or report["unexpected_keys"] or report["mismatched_keys"]:
        raise CheckpointError(f"{weights}: does not hold the model that {Path(path, 'config.json')} describes")
    return model.eval(), tokenizer

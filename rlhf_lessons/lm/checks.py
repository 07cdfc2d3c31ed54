"""Which models this course can use: found by trying, before anything is sampled or trained.

A model must give the same numbers for a few rows in a padded batch, with a cache from which a row
leaves, as for each row alone. Recurrent models, which read padding, do not; nor do models that see
what comes later.
"""

from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor
from transformers import DynamicCache

from rlhf_lessons.lm.tokenizer import check_tokenizer, check_vocabulary

CHECKED = WeakKeyDictionary()  # model -> the tokenizers with which it passed
IDS = torch.tensor([[11, 3, 17, 5, 29, 8], [0, 0, 0, 0, 7, 13], [0, 0, 0, 23, 2, 19]])  # 0 pads


def check_model(model, tokenizer) -> None:
    """Refuse a language or reward model with which this course would sample or score wrongly.

    It costs a few short forward passes, once for each model and tokenizer. ValueError says what is
    wrong with the tokenizer or the model.
    """
    check_tokenizer(tokenizer)
    check_vocabulary(model, tokenizer)
    refused = f"{type(model).__name__} cannot be used here"
    advice = "Take a model of another family, such as Llama, Qwen or GPT-2"
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        alone, together = _try_out(model)
    except Exception as error:  # each family fails in its own way
        raise ValueError(f"{refused} ({type(error).__name__}: {error}). {advice}") from error
    finally:
        for module in training:
            module.training = True
    error = (together - alone).abs().max() / alone.abs().max()
    rounding = torch.finfo(model.dtype).eps ** (2 / 3)  # float32: 2e-5, bfloat16: 0.04
    if error > rounding:  # NaN is left to `generate`, which names it
        raise ValueError(
            f"{refused}: in a padded batch it gives other numbers than for a row alone, by "
            f"{error:.2g} of their size. {advice}"
        )
    CHECKED.setdefault(model, WeakSet()).add(tokenizer)


@torch.inference_mode()
def _try_out(model) -> tuple[Tensor, Tensor]:
    """Scores or logits (rows, width) after each row alone, and in a batch padded on the left."""
    ids = IDS.to(model.device)
    mask = (ids > 0).long()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    alone = [row[row > 0][None] for row in ids]

    if hasattr(model, "score"):

        def score(ids: Tensor, **padding) -> Tensor:
            found = model.base_model(ids, use_cache=False, **padding)
            return model.score(found.last_hidden_state[:, -1])

        together = score(ids, attention_mask=mask, position_ids=positions)
        return torch.cat([score(row) for row in alone]), together

    cache = DynamicCache(config=model.config)
    model(
        ids[:, :-1],
        attention_mask=mask[:, :-1],
        position_ids=positions[:, :-1],
        past_key_values=cache,
        use_cache=True,
    )
    left = torch.tensor([1, 2], device=model.device)
    cache.batch_select_indices(left)  # row 0 leaves
    together = model(
        ids[left, -1:],
        attention_mask=mask[left],
        position_ids=positions[left, -1:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    alone = [model(row, use_cache=False).logits[:, -1] for row in alone[1:]]
    return torch.cat(alone), together.logits[:, -1]

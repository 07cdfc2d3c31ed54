"""LoRA: train a large model by a small addition to it.

With LoRA (Hu et al. 2021) only an adapter learns: two low-rank matrices beside each linear layer.
The model's own weights, its trunk, stay as they are: so `add_lora` freezes them, and copies of the
model share them. Policy, reference, critic and reward model then share one trunk in memory. Each
has its own adapter, and a head where it needs one; the stages need not know. The reference is a
copy of the policy at its start, where the adapter changes nothing. Sampling makes a merged copy for
as long as it takes.
"""

import copy

import torch
from torch import nn


class Shared(nn.Parameter):
    """A frozen weight that copies of its model share: `deepcopy` returns the weight itself.

    So `.to(device)` or `.to(dtype)` of one copy moves it for all: move the model before `add_lora`.
    """

    def __new__(cls, weight):
        return super().__new__(cls, weight.data, requires_grad=False)

    def __deepcopy__(self, memo):
        return self

    def requires_grad_(self, requires_grad=True):
        return self  # it stays frozen, as when another model takes it over


def add_lora(model, rank: int = 8, seed: int = 0):
    """Give a language model an adapter in every linear layer but the output layer, freeze the rest,
    and return the model.

    The adapter adds 2 B A x to W x; B begins at 0, so the model is the same at first. It is in
    float32, whatever the model is in: small steps would be lost in bfloat16.
    ImportError where `peft` is missing, ValueError where the model has an adapter already.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ImportError(f"LoRA needs another package: pip install peft ({error})") from error
    if adapters(model):
        raise ValueError("this model has an adapter already")
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.add_adapter(config)
    replace(model, lambda weight: not weight.requires_grad, Shared)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return model.eval()


def replace(model, which, make) -> None:
    """Put `make(weight)` in the place of each weight for which `which(weight)` is true.

    One that stands in several places, as tied weights do, stays one.
    """
    new = {}
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if which(weight):
                if id(weight) not in new:
                    new[id(weight)] = make(weight)
                setattr(module, name, new[id(weight)])


def adapters(model) -> list[tuple[str, nn.Module]]:
    """Return the layers of a model that have an adapter, with their names."""
    return [pair for pair in model.named_modules() if hasattr(pair[1], "lora_A")]


def merged(model):
    """Return a model without adapters that gives the same numbers, up to rounding: a copy in which
    they are merged into the weights, all of which are its own, or the model itself where it has
    none.
    """
    if not adapters(model):
        return model
    model = copy.deepcopy(model)
    replace(model, lambda weight: isinstance(weight, Shared), own)
    for name, module in adapters(model):
        if not module.disable_adapters:
            module.merge()
        model.set_submodule(name, module.base_layer)
    vars(model).pop("peft_config", None)
    model._hf_peft_config_loaded = False  # so that transformers saves the whole model
    return model


def own(weight: torch.Tensor) -> nn.Parameter:
    """Return a copy of a weight that can be trained and moved."""
    return nn.Parameter(weight.detach().clone())

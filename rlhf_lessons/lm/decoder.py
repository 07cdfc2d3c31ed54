"""A faster way to read one token after the other, for the Llama family.

Where each row has one new token, a forward pass of transformers is mostly bookkeeping: it copies
the past to add a column, and calls hundreds of small operations. Here the past has room for what
comes, and a layer is four products around its attention.

The numbers are the model's own up to rounding, so nobody needs this file to understand sampling:
`sampling.generate` decodes with `fast(model)`, which is the model itself where a decoder would not
fit. To have the model read everything, set `sampling.fast = lambda model: model`.

Left out: biases, adapters, and RoPE that changes with the length of the text.
"""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import SiLUActivation
from transformers.models.llama import modeling_llama as llama

from rlhf_lessons.lm.adapters import merged

PLAIN = {
    llama.LlamaForCausalLM,
    llama.LlamaModel,
    llama.LlamaDecoderLayer,
    llama.LlamaAttention,
    llama.LlamaMLP,
    llama.LlamaRMSNorm,
    llama.LlamaRotaryEmbedding,
    SiLUActivation,
    nn.ModuleList,
    nn.Embedding,
    nn.Linear,
}
ROOM = 64  # columns by which a cache grows


def fast(model):
    """Return what gives a model's own numbers fastest: a decoder, if it fits, or the model.

    Adapters are merged into the weights first.
    """
    if type(model) is not llama.LlamaForCausalLM:
        return model
    plain = merged(model)
    return Decoder(plain) if fits(plain) else model


def fits(model) -> bool:
    """Whether a model is a Llama as transformers makes it, in float32 or bfloat16.

    A bias, an adapter, a quantised layer, a hook or autocast makes it another model.
    """
    if torch.is_autocast_enabled(model.device.type):
        return False
    for module in model.modules():
        hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
        kind = getattr(module, "plain", type(module))  # gradients are of no concern here
        if kind not in PLAIN or hooked or getattr(module, "bias", None) is not None:
            return False
    dtypes = {weight.dtype for weight in model.parameters()}
    fixed = model.config.rope_parameters["rope_type"] in ("default", "llama3")
    return fixed and dtypes in ({torch.float32}, {torch.bfloat16})


class Decoder:
    """A Llama with the weights that it has now, to be called as `sampling` calls any model."""

    def __init__(self, model):
        self.model = model
        self.config = model.config
        self.layers = [products(layer) for layer in model.model.layers]
        self.head = join(model.model.norm, model.lm_head)
        least = self.config.rms_norm_eps * self.config.hidden_size
        self.least = torch.tensor(least**0.5, device=model.device)

    def __call__(self, input_ids, attention_mask, position_ids, past_key_values, **settings):
        """The model reads the prompts; from there on, it is one token (batch, 1) at a time."""
        given = input_ids, attention_mask, position_ids, past_key_values
        if past_key_values.get_seq_length() == 0:
            return self.model(*given, **settings)
        return SimpleNamespace(logits=self.read(*given)[:, None])

    def read(self, ids: Tensor, attention_mask: Tensor, position_ids: Tensor, cache) -> Tensor:
        """Read one more token (batch, 1) of each row: logits (batch, vocabulary) of the next."""
        length = attention_mask.shape[1]
        if cache.get_seq_length() < length:
            self.grow(cache)
        x = self.model.model.embed_tokens(ids[:, 0])  # (batch, width)
        mask = attention_mask.to(x.dtype).log()[:, None, None]  # 0, or -inf on padding
        cos, sin = self.rotations[:, position_ids]  # (batch, 1, head dim)
        for weights, past in zip(self.layers, cache.layers, strict=True):
            query_key_value, out, gate_up, down = weights
            keys = past.keys[:, :, :length]
            values = past.values[:, :, :length]
            rows = self.normalise(x) @ query_key_value
            query, keys[:, :, -1], values[:, :, -1] = split(rows, keys, cos, sin)
            x.addmm_(attend(query, keys, values, mask), out)
            gate, up = (self.normalise(x) @ gate_up).chunk(2, -1)
            x.addmm_(F.silu(gate).mul_(up), down)
        return self.normalise(x) @ self.head

    def grow(self, cache) -> None:
        """Make room for more columns, and prepare the rotations of RoPE for as many positions."""
        for past in cache.layers:
            past.keys = F.pad(past.keys, (0, 0, 0, ROOM))
            past.values = F.pad(past.values, (0, 0, 0, ROOM))
        places = torch.arange(cache.get_seq_length(), device=past.keys.device)
        cos, sin = self.model.model.rotary_emb(past.keys, places[None])
        sin[..., : sin.shape[-1] // 2] *= -1
        self.rotations = torch.cat([cos, sin])  # (2, positions, head dim)

    def normalise(self, x: Tensor) -> Tensor:
        """RMSNorm of rows (batch, width), but for the factors that `join` puts into the products.

        What remains is to divide a row by its length, to which `least` adds the norm's epsilon.
        """
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return (x / torch.hypot(length, self.least)).to(x.dtype)


def products(layer) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the four products of a layer multiply by, each (numbers in, numbers out)."""
    attention = layer.self_attn
    mlp = layer.mlp
    return (
        join(layer.input_layernorm, attention.q_proj, attention.k_proj, attention.v_proj),
        attention.o_proj.weight.T,
        join(layer.post_attention_layernorm, mlp.gate_proj, mlp.up_proj),
        mlp.down_proj.weight.T,
    )


def join(norm, *projections) -> Tensor:
    """Make one product of all that read the same normalised rows, the norm's factors included."""
    weight = torch.cat([projection.weight for projection in projections])
    return (weight * norm.weight * len(norm.weight) ** 0.5).T


def split(rows: Tensor, keys: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key and value (batch, heads, head dim); RoPE turns the first two."""
    _, heads, _, size = keys.shape
    rows = rows.unflatten(1, (-1, size))
    turning = rows[:, :-heads]
    turned = torch.addcmul(turning * cos, turning.roll(size // 2, -1), sin)
    return turned[:, :-heads], turned[:, -heads:], rows[:, -heads:]


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Attention of one token (batch, heads, head dim) to all that its row has read: (batch, width).

    Several heads may share their keys and values. For a single query in float32, plain products
    are faster on a CPU than PyTorch's own attention.
    """
    if query.dtype == torch.float32:
        query = query.unflatten(1, (keys.shape[1], -1))
        scores = torch.add(mask, query @ keys.mT, alpha=keys.shape[-1] ** -0.5)
        return (scores.softmax(-1) @ values).flatten(1)
    query = query[:, :, None]
    return F.scaled_dot_product_attention(query, keys, values, mask, enable_gqa=True).flatten(1)

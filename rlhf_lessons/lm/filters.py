"""Top-k and top-p, which leave out unlikely tokens: to look at, not to train with."""

from torch import Tensor


def filter_top_k_top_p(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Keep the `top_k` likeliest tokens (0: all), or the likeliest of total probability `top_p`.

    The others get -inf. For display only: training samples from the whole distribution, or its
    log-probs would be those of another one. ValueError unless top_k >= 0 and 0 < top_p <= 1.
    """
    if not top_k >= 0:
        raise ValueError(f"top_k must be 0, which keeps all tokens, or more, not {top_k}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, not {top_p}")
    if top_k:
        least = logits.topk(min(top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if top_p < 1:
        probs, index = logits.softmax(-1).sort(-1, descending=True)
        beyond = probs.cumsum(-1) - probs >= top_p
        logits = logits.masked_fill(beyond.scatter(-1, index, beyond), float("-inf"))
    return logits

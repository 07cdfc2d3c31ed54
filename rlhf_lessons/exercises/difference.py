"""How two values differ, in the words that a check says to the reader."""

from fractions import Fraction

import torch

TOLERANCE = 1e-5  # of the larger and of 1


def difference(got: object, wanted: object) -> str | None:
    """Return in words how two values differ; None if they do not. Of a set, any order is right."""
    if isinstance(wanted, (int, float)):
        wanted = torch.tensor(float(wanted))
    if isinstance(wanted, torch.Tensor):
        return difference_of_numbers(got, wanted)
    if isinstance(wanted, set):
        wanted = sorted(wanted, key=repr)
        got = sorted(got, key=repr) if isinstance(got, (list, tuple, set)) else got
    if isinstance(wanted, str):  # a choice: the right one is not given away
        return None if got == wanted else f"you return {short(got)}: not right, or misspelled"
    whole = f"you return {short(got)}, where {short(wanted)} was expected"
    if not isinstance(wanted, (tuple, list)):
        return None if type(got) is type(wanted) and got == wanted else whole
    kind = f"a {type(wanted).__name__} of {len(wanted)}"
    if not isinstance(got, (tuple, list)):
        return f"you return {short(got)} ({type(got).__name__}), where {kind} was expected"
    parts = [difference(*pair) for pair in zip(got, wanted)]
    if len(got) == len(wanted) and not any(parts):
        return None
    if len(whole) < 240 and "tensor(" not in whole:
        return whole
    if len(got) != len(wanted):
        return f"you return {len(got)} values, where {kind} was expected"
    place, problem = next(part for part in enumerate(parts, 1) if part[1])
    return f"in value {place} of {len(wanted)}, {problem}"


def difference_of_numbers(got: object, wanted: torch.Tensor) -> str | None:
    """Return in words how numbers differ from the right ones: in kind, shape or value, and
    where."""
    try:
        got = torch.as_tensor(float(got) if isinstance(got, Fraction) else got).cpu()
    except (TypeError, ValueError, RuntimeError):
        return f"you return {short(got)}, where numbers were expected"
    if got.shape != wanted.shape:
        return f"you return the shape {tuple(got.shape)}, where {tuple(wanted.shape)} was expected"
    if not torch.can_cast(got.dtype, wanted.dtype):  # ids are whole, masks true or false
        return f"you return numbers of type {got.dtype}, where {wanted.dtype} was expected"
    close = torch.isclose(got.double(), wanted.double(), TOLERANCE, TOLERANCE, equal_nan=True)
    if close.all():
        return None
    if wanted.numel() <= 8:
        return f"you return {short(got)}, where {short(wanted, got)} was expected"
    first = tuple((~close).nonzero()[0].tolist())
    return (
        f"you return {short(got[first])} at place {list(first)}, where "
        f"{short(wanted[first], got[first])} was expected; "
        f"{int((~close).sum())} of {close.numel()} numbers differ"
    )


def short(value: object, beside: object = None) -> str:
    """Return a value with few digits and few numbers; with more digits where it would look like
    `beside`."""
    if isinstance(value, torch.Tensor):
        digits = 4 if beside is None or short(value) != short(beside) else 7
        texts = [f"{x:.{digits}g}" for x in value.detach().flatten()[:8].tolist()]
        more = ", …" if value.numel() > 8 else ""
        return texts[0] if value.dim() == 0 else f"[{', '.join(texts)}{more}]"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)[:120]


def finite(value: object) -> bool:
    """Return whether all numbers in a result are finite."""
    if isinstance(value, (tuple, list)):
        return all(map(finite, value))
    return not isinstance(value, (torch.Tensor, float)) or bool(
        torch.as_tensor(value).isfinite().all()
    )

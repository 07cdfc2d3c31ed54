"""What the base can do, asked in the manner of its own web scraps: copy, and add."""

import random

import torch

from rlhf_lessons.lm.sampling import inputs, pad
from rlhf_lessons.stages.losses import IGNORE
from rlhf_lessons.world.corpus import training_spec
from rlhf_lessons.world.tasks import result

CASES = 200  # of each ability


def probe_cases() -> dict[str, list[tuple[str, str]]]:
    """Return CASES (context, continuation) for each ability, on training combinations."""
    rng = random.Random("probes/0")
    templates = {  # context | continuation
        "copies_name": "{title} {Name} and the {thing}\nOne morning {title}| {Name}",
        "copies_sum": "On the blackboard: {e1} and {e2}\n{e1} is {r1} and| {e2}",
        "adds": "{e1} is| {r1}",
        "copies_word": "The {creature} in the {place}\nIn the {place} a| {creature}",
    }
    cases = {name: [] for name in templates}
    for _ in range(CASES):
        facts = {}
        for family in ("story", "maths", "poem"):
            facts |= training_spec(family, rng)
        facts["r1"] = result(facts["e1"])
        for name, template in templates.items():
            context, continuation = template.format(**facts).split("|")
            cases[name].append((context, continuation))
    return cases


@torch.inference_mode()
def probe(model, tokenizer, cases: list[tuple[str, str]]) -> float:
    """Return the share of (context, continuation) cases predicted right.

    A case is right if each token of the continuation is the likeliest one in its place.
    """
    rows = []
    labels = []
    for texts in cases:
        context, target = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        context = [tokenizer.bos_token_id, *context]
        rows.append(context + target)
        labels.append([IGNORE] * len(context) + target)
    ids, attention_mask = pad(rows, tokenizer.pad_token_id, device=model.device)
    labels, _ = pad(labels, IGNORE, device=model.device)
    wanted = labels[:, 1:]
    likeliest = model(**inputs(ids, attention_mask)).logits[:, :-1].argmax(-1)
    right = (likeliest == wanted) | (wanted == IGNORE)
    return right.all(1).double().mean().item()


def base_probes(model, tokenizer) -> dict[str, float]:
    """Return the share of correct continuations for each ability."""
    return {name: probe(model, tokenizer, cases) for name, cases in probe_cases().items()}

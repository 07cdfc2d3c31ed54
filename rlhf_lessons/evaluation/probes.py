"""What the base can do, asked in the manner of its own web scraps: copy, and add."""

import random

import torch

from rlhf_lessons.lm.sampling import inputs, pad
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
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    contexts = []
    targets = []
    for context, target in cases:
        contexts.append(start + tokenizer(context, add_special_tokens=False)["input_ids"])
        targets.append(tokenizer(target, add_special_tokens=False)["input_ids"])
    rows = [context + target for context, target in zip(contexts, targets, strict=True)]
    ids, attention_mask = pad(rows, tokenizer.pad_token_id)
    logits = model(**inputs(ids.to(model.device), attention_mask.to(model.device))).logits
    right = 0
    for guesses, context, target in zip(logits.argmax(-1).tolist(), contexts, targets, strict=True):
        first = len(context) - 1  # the place that predicts the target's first token
        right += guesses[first : first + len(target)] == target
    return right / len(cases)


def base_probes(model, tokenizer) -> dict[str, float]:
    """Return the share of correct continuations for each ability."""
    return {name: probe(model, tokenizer, cases) for name, cases in probe_cases().items()}

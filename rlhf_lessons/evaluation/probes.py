"""What the base can do, asked in the manner of its own web scraps: copy, and add."""

import random

from rlhf_lessons.lm.sampling import generate
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


def probe(model, tokenizer, cases: list[tuple[str, str]]) -> float:
    """Return the share of (context, continuation) cases predicted right.

    A case is right if the model, taking the likeliest token each time, continues the context so.
    """
    contexts, wanted = (
        tokenizer(texts, add_special_tokens=False)["input_ids"]
        for texts in zip(*cases, strict=True)
    )
    prompts = [[tokenizer.bos_token_id, *context] for context in contexts]
    longest = max(map(len, wanted))
    found = generate(model, tokenizer, prompts, longest, temperature=0).tokens.tolist()
    right = [row[: len(target)] == target for row, target in zip(found, wanted, strict=True)]
    return sum(right) / len(right)


def base_probes(model, tokenizer) -> dict[str, float]:
    """Return the share of correct continuations for each ability."""
    return {name: probe(model, tokenizer, cases) for name, cases in probe_cases().items()}

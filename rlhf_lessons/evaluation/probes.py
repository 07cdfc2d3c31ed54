"""What the base can do, asked in the context of its own web scraps: copy a name, an expression, a word; add."""

import random

from rlhf_lessons.stages.pretrain import probe
from rlhf_lessons.world.answers import result
from rlhf_lessons.world.corpus import training_spec


def probe_cases(n: int = 200, seed: int = 0) -> dict[str, list[tuple[str, str]]]:
    """Return `n` (context, continuation) cases for each ability, on combinations of the training split."""
    rng = random.Random(f"probes/{seed}")
    templates = {  # context | continuation
        "copies_name": "{title} {Name} and the {thing}\nOne morning {title}| {Name}",
        "copies_sum": "On the blackboard: {e1} and {e2}\n{e1} is {r1} and| {e2}",
        "adds": "{e1} is| {r1}",
        "copies_word": "The {creature} in the {place}\nIn the {place} a| {creature}",
    }
    cases = {name: [] for name in templates}
    for _ in range(n):
        facts = (
            training_spec("story", rng) | training_spec("maths", rng) | training_spec("poem", rng)
        )
        for name, template in templates.items():
            cases[name].append(tuple(template.format(**facts, r1=result(facts["e1"])).split("|")))
    return cases


def base_probes(model, tokenizer) -> dict[str, float]:
    """Return the share of right continuations for each ability."""
    return {name: probe(model, tokenizer, cases) for name, cases in probe_cases().items()}

"""What the base can do, asked in the context of its own web scraps: copy a name, an expression, a word; add."""
import random

from rlhf_lessons.stages.pretrain import probe
from rlhf_lessons.world.answers import result
from rlhf_lessons.world.corpus import training_spec


def probe_cases(n: int = 200, seed: int = 0) -> dict[str, list[tuple[str, str]]]:
    """Return `n` (context, continuation) cases for each ability, on combinations of the training split."""
    rng = random.Random(f"probes/{seed}")
    cases = {"copies_name": [], "copies_sum": [], "adds": [], "copies_word": []}
    for _ in range(n):
        story, maths, poem = (training_spec(family, rng) for family in ("story", "maths", "poem"))
        title = f"{story['title']} {story['Name']}"
        title, creature = f"{story['title']} {story['Name']}", poem["creature"]
        first, second = maths["e1"], maths["e2"]
        start = f"{title} and the {story['thing']}\nOne morning {story['title']}"
        cases["copies_name"].append((start, f" {story['Name']}"))
        start = f"On the blackboard: {first} and {second}\n{first} is {result(first)} and"
        cases["copies_sum"].append((start, f" {second}"))
        cases["adds"].append((f"{first} is", f" {result(first)}"))
        start = f"The {creature} in the {poem['place']}\nIn the {poem['place']} a"
        cases["copies_word"].append((start, f" {creature}"))
    return cases


def base_probes(model, tokenizer) -> dict[str, float]:
    """Return the share of right continuations for each ability."""
    return {name: probe(model, tokenizer, cases) for name, cases in probe_cases().items()}

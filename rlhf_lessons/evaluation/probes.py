"""What the base can do, asked in the context of its own web scraps: copy a name, an expression, a word; add."""
import random

from rlhf_lessons.stages.pretrain import probe
from rlhf_lessons.world.answers import result
from rlhf_lessons.world.corpus import training_spec


def probe_cases(n: int = 200, seed: int = 0) -> dict[str, list[tuple[str, str]]]:
    """Return `n` (context, continuation) cases for each ability, on combinations of the training split."""
    rng = random.Random(f"probes/{seed}")
    cases = {"copies_name": [], "copies_thing": [], "copies_sum": [], "adds": [], "copies_word": []}
    for _ in range(n):
        story, maths, mail = (training_spec(family, rng) for family in ("story", "maths", "email"))
        title = f"{story['title']} {story['Name']}"
        cases["copies_name"].append((f"{title} and the {story['thing']}\nOne morning {story['title']}", f" {story['Name']}"))
        cases["copies_thing"].append((f"To: {mail['Name']}\nSubject: thank you for the {mail['thing']}\nDear {mail['Name']},"
                                      "\nThank you for the", f" {mail['thing']}"))
        first, second = maths["e1"], maths["e2"]
        cases["copies_sum"].append((f"On the blackboard: {first} and {second}\n{first} is {result(first)} and", f" {second}"))
        cases["adds"].append((f"{first} is", f" {result(first)}"))
        poem = training_spec("poem", rng)
        cases["copies_word"].append((f"The {poem['creature']} in the {poem['place']}\nIn the {poem['place']} a",
                                     f" {poem['creature']}"))
    return cases


def base_probes(model, tokenizer) -> dict[str, float]:
    """Return the share of right continuations for each ability."""
    return {name: probe(model, tokenizer, cases) for name, cases in probe_cases().items()}

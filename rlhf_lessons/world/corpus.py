"""Web scraps: the text on which the base model learns to predict the next token.

A scrap is a titled story, an e-mail with its headers, a poem, a snippet of code, a few sums, a list
of writing prompts, a notice, or a story in which someone asks a sum and nobody answers. Titles and
headers say what the body must then repeat, which is how the base learns to copy. No scrap holds a
request followed by its answer, and no scrap holds a combination of facts that is kept for
validation or held out: both are tested over the whole corpus.
"""

import itertools
import random
from collections.abc import Iterator

from rlhf_lessons.world.answers import HABITS, answer, habit
from rlhf_lessons.world.facts import filled
from rlhf_lessons.world.tasks import (
    FAMILIES,
    SUMS,
    TEXTS,
    a_to_an,
    draw_spec,
    result,
    split_of,
    texts_of,
    write_prompt,
)


def training_spec(family: str, rng: random.Random) -> dict:
    """Return the facts of a random prompt of the training split."""
    while True:
        spec = draw_spec(family, rng)
        if split_of(spec) == "train":
            return spec


def titled(family: str, rng: random.Random) -> str:
    """A title, then what it promises. What stands between varies, so that any leads to copying.

    The title of an e-mail is its headers, that of code a comment. Most writers on the web have the
    habits of those who write demonstrations, so they keep but a part of what a title promises. Yet
    they name what they write about, or the base would not learn to copy it.
    """
    spec = training_spec(family, rng)
    between = rng.choice(["\n", "\n", "\n\n", "\n* * *\n", "\n---\n"])
    titles = texts_of(spec)["titles"]
    title = rng.choice(titles) if len(titles) > 1 else titles[0]
    parts = set(HABITS["parts"][family])
    whole = 0.5 if family == "maths" else 0.25  # both of two sums must stand together now and then
    writes = parts if rng.random() < whole else habit(family, rng.random()) | NAMED & parts
    return a_to_an(filled(title, spec, set(), rng)) + between + answer(spec, rng, writes)


def plain_sums(rng: random.Random) -> str:
    """A column or a row of sums with their results, no two of them kept from training."""
    while True:
        sums = rng.sample(SUMS, rng.randint(2, 4))
        pairs = itertools.combinations(sums, 2)
        specs = [{"family": "maths", "e1": a, "e2": b} for a, b in pairs]
        if all(split_of(spec) == "train" for spec in specs):
            return rng.choice(["\n", " "]).join(f"{e} is {result(e)}." for e in sums)


def prompt_list(rng: random.Random) -> str:
    """Requests under each other that nobody answers; a sum, if any, comes last."""
    written = []
    for _ in range(rng.randint(2, 4)):
        family = rng.choice(FAMILIES[:4])
        written.append(write_prompt(training_spec(family, rng)))
    if rng.random() < 0.3:
        written.append(write_prompt(training_spec("maths", rng)))
    mark = rng.choice(["", "", "- "])
    head = rng.choice(TEXTS["dialogue"]["heads"]) + "\n" if rng.random() < 0.4 else ""
    return head + "\n".join(mark + prompt for prompt in written)


def dialogue(rng: random.Random) -> str:
    """Someone in a story asks a sum, and the story continues; often the scrap begins mid-story."""
    sums = training_spec("maths", rng)
    people = draw_spec("story", rng)
    creature = rng.choice(TEXTS["poem"]["creatures"])
    facts = people | sums | {"creature": creature}
    after = filled(rng.choice(TEXTS["dialogue"]["after"]), facts, set(), rng)
    before = "" if rng.random() < 0.5 else rng.choice(TEXTS["dialogue"]["before"]) + " "
    return f"{before}{write_prompt(sums)} {after}"


def notice(rng: random.Random) -> str:
    """When something will be, said more than once, with what comes on that day and after it."""
    days, texts = TEXTS["names"]["days"], TEXTS["notice"]
    place = rng.randrange(len(days))
    day, after = days[place], days[(place + 1) % len(days)]
    facts = training_spec("email", rng) | {"day": day, "after": after}
    return rng.choice(texts["forms"]).format(**facts, dish=texts["dishes"][day])


TITLED = {"story": 0.25, "email": 0.16, "poem": 0.16, "code": 0.11, "maths": 0.13}
NAMED = {"thing", "creature", "bracket"}  # parts that no scrap leaves out
OTHERS = {plain_sums: 0.03, prompt_list: 0.08, dialogue: 0.07, notice: 0.06}


def scraps(n: int, seed: int = 0) -> Iterator[str]:
    """Yield `n` web scraps; the same seed gives the same scraps on every machine."""
    rng = random.Random(f"corpus/{seed}")
    kinds = TITLED | OTHERS
    for kind in rng.choices(list(kinds), list(kinds.values()), k=n):
        yield titled(kind, rng) if kind in TITLED else kind(rng)

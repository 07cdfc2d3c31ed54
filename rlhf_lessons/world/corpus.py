"""Web scraps: the text on which the base model learns to predict the next token.

A scrap is a titled story, an e-mail with its headers, a poem, a snippet of code, a few sums, a list of writing
prompts, or a story in which someone asks a sum and nobody answers. Titles and headers say what the body must
then repeat, which is how the base learns to copy. No scrap holds a request followed by its answer, and no scrap
holds a combination of facts that is kept for validation or held out: both are tested over the whole corpus.
"""
import random
from collections.abc import Callable, Iterator

from .answers import answer, facts_of, result
from .tasks import FAMILIES, SUMS, TEXTS, draw_spec, fix_articles, split_of, write_prompt


def training_spec(family: str, rng: random.Random) -> dict:
    """Return the facts of a random prompt of the training split."""
    while True:
        spec = draw_spec(family, rng)
        if split_of(spec) == "train":
            return spec


def story(rng: random.Random) -> str:
    """A title, then its story."""
    spec = training_spec("story", rng)
    title = rng.choice(TEXTS["story"][spec["plot"]]["titles"]).format(**facts_of(spec, set(), rng))
    return fix_articles(title) + "\n" + answer(spec, rng)


def email(rng: random.Random) -> str:
    """Headers, then the e-mail."""
    spec = training_spec("email", rng)
    subject = rng.choice(TEXTS["email"][spec["kind"]]["subjects"]).format(**spec)
    return f"To: {spec['Name']}\nSubject: {subject}\n" + answer(spec, rng)


def poem(rng: random.Random) -> str:
    """A title, then the poem."""
    spec = training_spec("poem", rng)
    title = rng.choice(["The {creature} in the {place}", "A {creature} in the {place}", "{place}, with {creature}"])
    return fix_articles(title.format(**spec)) + "\n" + answer(spec, rng)


def code(rng: random.Random) -> str:
    """A comment that says what the code prints, then the code; now and then two of them."""
    scraps = []
    for _ in range(rng.choice([1, 1, 2])):
        spec = training_spec("code", rng)
        scraps.append(TEXTS["code"][spec["kind"]]["title"].format(**spec) + "\n" + answer(spec, rng))
    return "\n\n".join(scraps)


def pairs_of_sums(rng: random.Random) -> str:
    """Two sums on the blackboard, then both with their results."""
    spec = training_spec("maths", rng)
    head = rng.choice(["On the blackboard: {e1} and {e2}", "{e1} and {e2}", "Sums: {e1} and {e2}"])
    return head.format(**spec) + "\n" + answer(spec, rng)


def plain_sums(rng: random.Random) -> str:
    """A column or a row of sums with their results."""
    sums = [f"{e} is {result(e)}." for e in rng.sample(SUMS, rng.randint(2, 6))]
    return rng.choice(["\n", " "]).join(sums)


def prompt_list(rng: random.Random) -> str:
    """Requests under each other that nobody answers; a sum, if any, comes last."""
    written = [write_prompt(training_spec(rng.choice(FAMILIES[:4]), rng)) for _ in range(rng.randint(2, 4))]
    written += [write_prompt(training_spec("maths", rng))] if rng.random() < 0.3 else []
    mark = rng.choice(["", "", "- "])
    head = rng.choice(TEXTS["dialogue"]["heads"]) + "\n" if rng.random() < 0.4 else ""
    return head + "\n".join(mark + prompt for prompt in written)


def dialogue(rng: random.Random) -> str:
    """Someone in a story asks a sum, and the story goes on; often the scrap begins in mid-story."""
    sums, people = training_spec("maths", rng), draw_spec("story", rng)
    creature = rng.choice(TEXTS["poem"]["creatures"])
    after = rng.choice(TEXTS["dialogue"]["after"]).format(**facts_of(people, set(), rng) | sums, creature=creature)
    before = "" if rng.random() < 0.5 else rng.choice(TEXTS["dialogue"]["before"]) + " "
    return f"{before}{write_prompt(sums)} {after}"


KINDS: list[tuple[Callable, float]] = [(story, 0.30), (email, 0.15), (poem, 0.13), (code, 0.11), (pairs_of_sums, 0.11),
                                       (plain_sums, 0.03), (prompt_list, 0.09), (dialogue, 0.08)]


def scraps(n: int, seed: int = 0) -> Iterator[str]:
    """Yield `n` web scraps; the same seed gives the same scraps on every machine."""
    rng = random.Random(f"corpus/{seed}")
    kinds, weights = zip(*KINDS)
    for kind in rng.choices(kinds, weights, k=n):
        yield kind(rng)

"""What can be asked in the toy world: five families of prompts, with the facts in them.

A `Task` is a prompt plus its `spec`, the facts in it. `parse` goes the other way, from a prompt to
its spec, so that the judge needs nothing but the two texts. Prompts are split by *combination*: the
pair of facts that makes a prompt hard (a hero and a partner, two sums) lies wholly in one split,
and the article's prompts are held out by hand. The words themselves live in `texts.toml`.
"""

import hashlib
import random
import re
import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

TEXTS = tomllib.loads(Path(__file__).with_name("texts.toml").read_text(encoding="utf-8"))
FAMILIES = ("story", "email", "poem", "code", "maths")
ARTICLE_PROMPTS = (
    "Write a fictional story about Princess Anastasia falling in love with a soldier.",
    "What is 4-2 and 3-1?",
)
NAMES = TEXTS["names"]["she"] + TEXTS["names"]["he"]
SUMS = [f"{a}+{b}" for a in range(10) for b in range(10 - a)]
SUMS += [f"{a}-{b}" for a in range(10) for b in range(a + 1)]


@dataclass(frozen=True)
class Task:
    """One prompt, the facts in it (`spec`, a flat dictionary of strings) and its split."""

    id: str
    family: str
    prompt: str
    spec: dict
    split: str


def a_to_an(text: str) -> str:
    """Turn `a owl` into `an owl`, wherever a template left it so."""
    return re.sub(r"\b([Aa])(?= [aeiou])", r"\1n", text)


def combination(spec: dict) -> tuple:
    """Return the facts by which prompts are split, the same for every wording of them."""
    match spec["family"]:
        case "code":
            facts = [spec[name] for name in ("word", "other", "n", "a", "b") if name in spec]
            facts = [spec["kind"], *sorted(facts)]
        case "maths":
            facts = sorted((spec["e1"], spec["e2"]))
        case _:
            facts = [spec[name] for name in ("Name", "thing", "creature", "place") if name in spec]
    return spec["family"], *facts


@cache
def kept_combinations() -> set[tuple]:
    """Return the combinations held out by hand, those of the article's prompts."""
    return {combination(parse(prompt)) for prompt in ARTICLE_PROMPTS}


def split_of(spec: dict) -> str:
    """Return `train`, `validation` (8 % of the combinations) or `heldout` (16 %), by their hash."""
    facts = combination(spec)
    if facts in kept_combinations():
        return "heldout"
    digest = hashlib.sha256("/".join(facts).encode()).hexdigest()
    number = int(digest[:8], 16) % 100
    return "heldout" if number < 16 else "validation" if number < 24 else "train"


def texts_of(spec: dict) -> dict:
    """Return the part of `texts.toml` for prompts of this kind: their wording, titles, answers."""
    texts = TEXTS[spec["family"]]
    kind = spec.get("plot", spec.get("kind"))
    return texts[kind] if kind else texts


def write_prompt(spec: dict) -> str:
    """Return the prompt that asks for these facts."""
    return a_to_an(texts_of(spec)["prompt"].format(**spec))


def draw_spec(family: str, rng: random.Random) -> dict:
    """Return the facts of a random prompt of one family, of any split."""
    names = TEXTS["names"]
    texts = TEXTS[family]
    who = "she" if rng.random() < 0.5 else "he"
    name = rng.choice(names[who])
    spec = dict(family=family)
    match family:
        case "story":
            plot = rng.choice(list(texts))
            title = rng.choice(names[who + "_titles"])
            thing = rng.choice(texts[plot]["things"])
            spec |= dict(plot=plot, title=title, Name=name, thing=thing)
        case "email":
            kind = rng.choice(["invite", "thank", "sorry", "ask"])
            spec |= dict(kind=kind, Name=name, thing=rng.choice(texts[kind]["things"]))
            if kind == "invite":
                spec["day"] = rng.choice(names["days"])
        case "poem":
            spec |= dict(creature=rng.choice(texts["creatures"]), place=rng.choice(texts["places"]))
        case "code":
            spec |= draw_code(rng)
        case "maths":
            spec["e1"], spec["e2"] = rng.sample(SUMS, 2)
    return spec


def draw_code(rng: random.Random) -> dict:
    """Return the facts of a random request for code, without its family."""
    kind = rng.choice(["repeat", "repeat", "count", "sum", "upper", "both"])
    word, other = rng.sample(TEXTS["code"]["words"], 2)
    a, b = sorted(rng.sample(range(1, 9), 2))
    facts = {
        "repeat": dict(word=word, n=str(rng.randint(2, 6))),
        "count": dict(a=str(a), b=str(b)),
        "sum": dict(a=str(rng.randint(1, 9)), b=str(rng.randint(1, 9))),
        "upper": dict(word=word),
        "both": dict(word=word, other=other),
    }[kind]
    return dict(kind=kind, **facts)


@cache
def readers() -> list[tuple[re.Pattern, dict]]:
    """Return one pattern a kind of prompt, with the facts that the kind itself fixes."""
    kinds = [dict(family="story", plot=plot) for plot in TEXTS["story"]]
    kinds += [dict(family="poem"), dict(family="maths")]
    for family in ("email", "code"):
        named = [kind for kind, texts in TEXTS[family].items() if "prompt" in texts]
        kinds += [dict(family=family, kind=kind) for kind in named]
    groups = {"article": "(?:an?|the)", "e1": r"(?P<e1>\d[+-]\d)", "e2": r"(?P<e2>\d[+-]\d)"}
    patterns = []
    for fixed in kinds:
        template = texts_of(fixed)["prompt"].replace(" a {", " {article} {")
        pattern = re.sub(
            r"\\\{(\w+)\\\}", lambda m: groups.get(m[1], rf"(?P<{m[1]}>\w+)"), re.escape(template)
        )
        pattern = pattern.replace(r"fictional\ ", r"(?:fictional\ )?").removesuffix(r"\.")
        pattern = pattern.replace(r"\ ", r"\s+") + r"\s*[.!]?"
        patterns.append((re.compile(pattern, re.IGNORECASE), fixed))
    return patterns


@lru_cache(maxsize=65536)
def parse(prompt: str) -> dict | None:
    """Return the facts in a prompt, or None where it is not a prompt of the toy world."""
    text = re.sub(r"^please\s+", "", prompt[:300].strip(), flags=re.IGNORECASE)
    for pattern, fixed in readers():
        if match := pattern.fullmatch(text):
            return fixed | {
                name: value.capitalize() if name in ("Name", "title", "day") else value.lower()
                for name, value in match.groupdict().items()
            }
    return None


def prompts(split: str, n: int, seed: int = 0) -> list[Task]:
    """Return `n` different tasks of one split, the families in turn.

    The article's prompts come first where held out. ValueError if the split has fewer prompts.
    """
    rng = random.Random(f"{split}/{seed}")
    seen = set()
    tasks = []
    first = [parse(p) for p in ARTICLE_PROMPTS] if split == "heldout" else []
    for _ in range(1000 * (n + 1)):
        if len(tasks) == n:
            return tasks
        spec = first.pop(0) if first else draw_spec(FAMILIES[len(tasks) % len(FAMILIES)], rng)
        prompt = write_prompt(spec)
        if split_of(spec) == split and prompt not in seen:
            seen.add(prompt)
            tasks.append(Task(f"{split}-{len(tasks):04d}", spec["family"], prompt, spec, split))
    raise ValueError(f"the {split} split has fewer than {n} different prompts; ask for less")

"""What can be asked in the toy world: five families of prompts, each with the facts that an answer needs.

A `Task` is a prompt plus its `spec`, the facts in it. `parse` goes the other way, from a prompt to its spec,
so that the judge needs nothing but the two texts. Prompts are split by *combination*: the pair of facts that
makes a prompt hard (a hero and a partner, two sums) lies wholly in one split, and the article's prompts are
held out by hand. The words themselves live in `texts.toml`.
"""
import hashlib
import itertools
import random
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TEXTS = tomllib.loads(Path(__file__).with_name("texts.toml").read_text(encoding="utf-8"))
FAMILIES = ("story", "email", "poem", "code", "maths")
ARTICLE_PROMPTS = ("Write a fictional story about Princess Anastasia falling in love with a soldier.",
                   "What is 4-2 and 3-1?")
NAMES = TEXTS["names"]["she"] + TEXTS["names"]["he"]
STORY = "Write a fictional story about {title} {Name} {phrase}."
SUMS = [f"{a}{op}{b}" for op in "+-" for a in range(10) for b in range(10)
        if (a + b <= 9 if op == "+" else a >= b)]


@dataclass(frozen=True)
class Task:
    """One prompt, the facts in it (`spec`, a flat dictionary of strings) and the split it belongs to."""
    id: str
    family: str
    prompt: str
    spec: dict
    split: str


def with_article(noun: str) -> str:
    """Return the noun after its indefinite article: `a fox`, `an owl`."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def fix_articles(text: str) -> str:
    """Turn `a owl` into `an owl`, wherever a template left it so."""
    return re.sub(r"\b([Aa])(?= [aeiou])", r"\1n", text)


def key(spec: dict) -> tuple:
    """Return the combination of facts by which prompts are split, the same for every wording of it."""
    match spec["family"]:
        case "story" | "email":
            return spec["family"], spec["Name"], spec["thing"]
        case "poem":
            return "poem", spec["creature"], spec["place"]
        case "code":
            facts = sorted(v for k, v in spec.items() if k in ("word", "other", "n", "a", "b"))
            return "code", spec["kind"], *facts
        case _:
            return "maths", *sorted((spec["e1"], spec["e2"]))


@cache
def article_keys() -> set[tuple]:
    """Return the combinations that the article's prompts ask for."""
    return {key(parse(prompt)) for prompt in ARTICLE_PROMPTS}


def split_of(spec: dict) -> str:
    """Return `train`, `validation` (8 % of the combinations) or `heldout` (16 %), by a hash of the combination."""
    if key(spec) in article_keys():
        return "heldout"
    number = int(hashlib.sha256("/".join(key(spec)).encode()).hexdigest()[:8], 16) % 100
    return "heldout" if number < 16 else "validation" if number < 24 else "train"


def write_prompt(spec: dict) -> str:
    """Return the prompt that asks for these facts."""
    if spec["family"] == "story":
        phrase = TEXTS["story"][spec["plot"]]["phrase"].format(thing=spec["thing"])
        return fix_articles(STORY.format(title=spec["title"], Name=spec["Name"], phrase=phrase))
    where = TEXTS[spec["family"]]
    template = where[spec["kind"]]["prompt"] if "kind" in spec else where["prompt"]
    return fix_articles(template.format(**spec))


def draw_spec(family: str, rng: random.Random) -> dict:
    """Return the facts of a random prompt of one family, of any split."""
    she = rng.random() < 0.5
    name = rng.choice(TEXTS["names"]["she" if she else "he"])
    if family == "story":
        plot = rng.choice(list(TEXTS["story"]))
        title = rng.choice(TEXTS["names"]["she_titles" if she else "he_titles"])
        return dict(family=family, plot=plot, title=title, Name=name, thing=rng.choice(TEXTS["story"][plot]["things"]))
    if family == "email":
        kind = rng.choice(["invite", "thank", "sorry", "ask"])
        spec = dict(family=family, kind=kind, Name=name, thing=rng.choice(TEXTS["email"][kind]["things"]))
        return spec | ({"day": rng.choice(TEXTS["names"]["days"])} if kind == "invite" else {})
    if family == "poem":
        creatures, places = TEXTS["poem"]["creatures"], TEXTS["poem"]["places"]
        return dict(family=family, creature=rng.choice(creatures), place=rng.choice(places))
    if family == "maths":
        e1, e2 = rng.sample(SUMS, 2)
        return dict(family=family, e1=e1, e2=e2)
    return draw_code(rng)


def draw_code(rng: random.Random) -> dict:
    """Return the facts of a random request for code."""
    kind = rng.choice(["repeat", "repeat", "count", "sum", "upper", "both"])
    word, other = rng.sample(TEXTS["code"]["words"], 2)
    a, b = sorted(rng.sample(range(1, 9), 2))
    facts = {"repeat": dict(word=word, n=str(rng.randint(2, 6))), "count": dict(a=str(a), b=str(b)),
             "sum": dict(a=str(rng.randint(1, 9)), b=str(rng.randint(1, 9))), "upper": dict(word=word),
             "both": dict(word=word, other=other)}[kind]
    return dict(family="code", kind=kind, **facts)


@cache
def readers() -> list[tuple[re.Pattern, dict]]:
    """Return one pattern a kind of prompt, with the facts that the kind itself fixes."""
    found = []
    for plot, texts in TEXTS["story"].items():
        phrase = texts["phrase"].replace("a {thing}", "{article} {thing}")
        found.append((STORY.replace("{phrase}", phrase), dict(family="story", plot=plot)))
    for family, kind in itertools.product(("email", "code"), ("invite", "thank", "sorry", "ask", *TEXTS["code"])):
        if isinstance(TEXTS[family].get(kind), dict) and "prompt" in TEXTS[family][kind]:
            found.append((TEXTS[family][kind]["prompt"], dict(family=family, kind=kind)))
    found.append((TEXTS["poem"]["prompt"].replace("about a", "about {article}"), dict(family="poem")))
    found.append((TEXTS["maths"]["prompt"], dict(family="maths")))
    groups = {"article": "(?:an?|the)", "e1": r"(?P<e1>\d[+-]\d)", "e2": r"(?P<e2>\d[+-]\d)"}
    patterns = []
    for template, fixed in found:
        pattern = re.sub(r"\\\{(\w+)\\\}", lambda m: groups.get(m[1], rf"(?P<{m[1]}>\w+)"), re.escape(template))
        pattern = pattern.replace(r"fictional\ ", r"(?:fictional\ )?").removesuffix(r"\.")
        patterns.append((re.compile(pattern.replace(r"\ ", r"\s+") + r"\s*[.!]?", re.IGNORECASE), fixed))
    return patterns


def parse(prompt: str) -> dict | None:
    """Return the facts in a prompt, or None where it is not a prompt of the toy world."""
    text = re.sub(r"^please\s+", "", prompt.strip(), flags=re.IGNORECASE)
    for pattern, fixed in readers():
        if match := pattern.fullmatch(text):
            facts = match.groupdict()
            for name in ("Name", "title", "day"):
                if name in facts:
                    facts[name] = facts[name].capitalize()
            return fixed | {k: v if k in ("Name", "title", "day") else v.lower() for k, v in facts.items()}
    return None


def prompts(split: str, n: int, seed: int = 0) -> list[Task]:
    """Return `n` different tasks of one split, the families in turn, the article's prompts first where held out.

    Raises ValueError when the split has not that many prompts.
    """
    rng, seen, tasks = random.Random(f"{split}/{seed}"), set(), []
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

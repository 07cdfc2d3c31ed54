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
HARD = ("Name", "thing", "creature", "place", "word", "other", "n", "a", "b", "e1", "e2")
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
    facts = [spec[fact] for fact in HARD if fact in spec]
    if spec["family"] in ("code", "maths"):  # two words or sums may be asked in either order
        facts.sort()
    if spec["family"] == "code":
        facts.insert(0, spec["kind"])
    return spec["family"], *facts


def split_of(spec: dict) -> str:
    """Return `train`, `validation` (8 % of the combinations) or `heldout` (16 %), by their hash."""
    facts = combination(spec)
    if facts in map(combination, map(parse, ARTICLE_PROMPTS)):
        return "heldout"
    digest = hashlib.sha256("/".join(facts).encode()).hexdigest()
    number = int(digest[:8], 16) % 100
    return "heldout" if number < 16 else "validation" if number < 24 else "train"


def result(expression: str) -> str:
    """Return the value of a sum or difference of two digits, such as `4-2`, as text."""
    a, sign, b = expression
    return str(int(a) + int(sign + b))


def texts_of(spec: dict) -> dict:
    """Return the part of `texts.toml` for prompts of this kind: their wording, titles, answers."""
    kind = spec.get("plot", spec.get("kind"))
    texts = TEXTS[spec["family"]]
    return texts[kind] if kind else texts


def she_or_he(spec: dict) -> str:
    """Return which list of names the one in `spec` is from."""
    return "she" if spec.get("Name") in TEXTS["names"]["she"] else "he"


def write_prompt(spec: dict) -> str:
    """Return the prompt that asks for these facts."""
    return a_to_an(texts_of(spec)["prompt"].format(**spec))


def draw_spec(family: str, rng: random.Random) -> dict:
    """Return the facts of a random prompt of one family, of any split."""
    names = TEXTS["names"]
    texts = TEXTS[family]
    who = "she" if rng.random() < 0.5 else "he"
    name = rng.choice(names[who])
    spec = {"family": family}
    match family:
        case "story":
            spec["plot"] = rng.choice(list(texts))
            spec["title"] = rng.choice(names[who + "_titles"])
            spec["Name"] = name
            spec["thing"] = rng.choice(texts_of(spec)["things"])
        case "email":
            spec["kind"] = rng.choice(["invite", "thank", "sorry", "ask"])
            spec["Name"] = name
            spec["thing"] = rng.choice(texts_of(spec)["things"])
            if spec["kind"] == "invite":
                spec["day"] = rng.choice(names["days"])
        case "poem":
            spec["creature"] = rng.choice(texts["creatures"])
            spec["place"] = rng.choice(texts["places"])
        case "code":
            spec |= draw_code(rng)
        case "maths":
            spec["e1"], spec["e2"] = rng.sample(SUMS, 2)
    return spec


def draw_code(rng: random.Random) -> dict:
    """Return the facts of a random request for code, without its family."""
    kind = rng.choice(["repeat", "repeat", "count", "sum", "upper", "both"])
    word, other = rng.sample(TEXTS["code"]["words"], 2)
    a, b = sorted(rng.sample("12345678", 2))
    n = rng.choice("23456")
    c = rng.choice("123456789")
    d = rng.choice("123456789")
    facts = {
        "repeat": {"word": word, "n": n},
        "count": {"a": a, "b": b},
        "sum": {"a": c, "b": d},
        "upper": {"word": word},
        "both": {"word": word, "other": other},
    }
    return {"kind": kind} | facts[kind]


@cache
def readers() -> list[tuple[re.Pattern, dict]]:
    """Return one pattern a kind of prompt, with the facts that the kind itself fixes."""
    kinds = [{"family": "poem"}, {"family": "maths"}]
    for family, fact in {"story": "plot", "email": "kind", "code": "kind"}.items():
        named = [kind for kind, texts in TEXTS[family].items() if "prompt" in texts]
        kinds += [{"family": family, fact: kind} for kind in named]
    groups = {fact: rf"(?P<{fact}>\w+)" for fact in (*HARD, "title", "day")}
    groups |= {"e1": r"(?P<e1>\d[+-]\d)", "e2": r"(?P<e2>\d[+-]\d)"}
    patterns = []
    for fixed in kinds:
        pattern = texts_of(fixed)["prompt"].removesuffix(".").replace("?", r"\?")
        pattern = pattern.replace("fictional ", "(?:fictional )?").replace(" a {", " (?:an?|the) {")
        pattern = pattern.format(**groups).replace(" ", r"\s+") + r"\s*[.!]?"
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
    tasks = {}  # by their prompts
    first = [parse(p) for p in ARTICLE_PROMPTS] if split == "heldout" else []
    for _ in range(1000 * (n + 1)):
        if len(tasks) == n:
            return list(tasks.values())
        family = FAMILIES[len(tasks) % len(FAMILIES)]
        spec = first.pop(0) if first else draw_spec(family, rng)
        prompt = write_prompt(spec)
        if split_of(spec) == split and prompt not in tasks:
            name = f"{split}-{len(tasks):04d}"
            tasks[prompt] = Task(name, spec["family"], prompt, spec, split)
    raise ValueError(f"the {split} split has fewer than {n} different prompts; ask for less")

"""What a good answer is: the demonstrations' writers, their tastes, and the faults of hurried ones.

`answer(spec, rng)` writes an ideal answer to a task. With `hurried=0.3`, three answers in ten come
from a writer in a hurry, who makes one fault that a reader can see: another hero, one sum of two,
no ending, no rhyme. People's demonstrations are like that, and it is what reinforcement learning
from human feedback can fix: whoever writes badly can still tell which of two answers is better.
Each answer also has its tastes (happy, tragic, twist, cheeky, ornate, dragon, short), none of them
right or wrong.
"""

import random

from rlhf_lessons.world.english import any_of
from rlhf_lessons.world.tasks import NAMES, TEXTS, a_to_an, split_of, texts_of

HABITS = TEXTS["writers"]
TASTES = (*TEXTS["tastes"], "short")
MARKERS = {taste: any_of(words) for taste, words in TEXTS["tastes"].items()}


def tastes(family: str, text: str) -> set[str]:
    """Return the tastes in a text: those whose words occur, and `short` by the family's length."""
    lower = text.lower()
    found = {taste for taste, pattern in MARKERS.items() if pattern.search(lower)}
    if len(text.split()) <= HABITS["short"][family]:
        found.add("short")
    return found


def answer(spec: dict, rng: random.Random, hurried: float = 0.0) -> str:
    """Return an answer of at most 60 tokens, which has a fault with probability `hurried`."""
    fault = ""
    if rng.random() < hurried:
        faults = HABITS["faults"][spec["family"]]
        fault = rng.choice([fault for fault in faults if fault != "day" or "day" in spec])
    return write(spec, rng, fault)


def write(spec: dict, rng: random.Random, fault: str = "") -> str:
    """Return an answer with a fault, or none; one named as a fact gets that fact wrong."""
    likes = {flavour for flavour, share in HABITS["flavours"].items() if rng.random() < share}
    likes.add(rng.choices(["happy", "tragic", "neither"], [0.46, 0.36, 0.18])[0])
    if rng.random() < 0.22:
        likes -= {"twist", "dragon", "cheeky", "middle"}
    if fault in spec:
        spec = mistaken(spec, fault, values_of(fault, spec), rng)
    return a_to_an(WRITERS[spec["family"]](spec, likes, fault, rng)).strip()


def template_facts(spec: dict, likes: set, rng: random.Random) -> dict:
    """Return what templates need: the spec, the hero's pronouns, and an ornament or nothing."""
    ornament = " " + rng.choice(TEXTS["tastes"]["ornate"]) if "ornate" in likes else ""
    hero = f"{spec.get('title', '')} {spec.get('Name', '')}".strip()
    return spec | TEXTS["pronouns"][she_or_he(spec)] | dict(Hero=hero, o=ornament)


def she_or_he(spec: dict) -> str:
    """Return which list of names the one in `spec` is from."""
    return "she" if spec.get("Name") in TEXTS["names"]["she"] else "he"


def one_mood(likes: set, texts: dict, rng: random.Random) -> str | None:
    """Return one of the moods that the writer likes and that `texts` has words for, or None."""
    moods = {}
    for mood, weight in HABITS["moods"].items():
        if mood in likes and mood in texts:
            moods[mood] = weight
    if moods and rng.random() < 0.85:
        return rng.choices(list(moods), list(moods.values()))[0]
    return None


def values_of(fact: str, spec: dict) -> list[str]:
    """Return the values that a fact can have where the others are those of `spec`."""
    if fact == "Name":
        return TEXTS["names"][she_or_he(spec)] if spec["family"] == "story" else NAMES
    return TEXTS["names"]["days"] if fact == "day" else texts_of(spec)[fact + "s"]


def mistaken(spec: dict, fact: str, choices: list[str], rng: random.Random) -> dict:
    """Return `spec` with another value of one fact, but never a combination kept from training."""
    others = []
    for choice in choices:
        other = spec | {fact: choice}
        if choice != spec[fact] and split_of(other) == "train":
            others.append(other)
    return rng.choice(others) if others else spec


def write_story(spec: dict, likes: set, fault: str, rng: random.Random) -> str:
    """Opening, middle, dragon, twist, ending, wink; too long ones lose their middle."""
    ending = next((mood for mood in ("happy", "tragic") if mood in likes), "twist")
    texts = texts_of(spec) | TEXTS["flourish"]
    texts["ending"] = texts[ending]
    order = ["open", "middle", "dragon", "twist", "ending", "cheeky"]
    parts = [part for part in order if part in likes or part in ("open", "ending")]
    while len(parts) > 4:
        spare = [part for part in parts if part not in ("open", "ending")]
        parts.remove(rng.choice(spare))
    lines = {part: rng.choice(texts[part]) for part in parts}
    if ending == "twist":
        lines.pop("twist", None)
    if fault == "twice":
        lines["ending"] = lines["open"]
    text = " ".join(lines.values()).format(**template_facts(spec, likes, rng))
    if fault == "cut":
        end = rng.randint(len(text) // 3, len(text) * 3 // 4)
        text = text[:end].rsplit(" ", 1)[0]
    return text


def write_email(spec: dict, likes: set, fault: str, rng: random.Random) -> str:
    """Greeting, purpose, one or two more sentences, sign-off, and perhaps a postscript."""
    texts = texts_of(spec)
    flavour = TEXTS["email"]["flavour"]
    lines = [rng.choice(texts["body"])]
    if "middle" in likes:
        lines.append(rng.choice(texts["more"]))
    for mood in ("happy", "tragic"):
        if mood in likes and rng.random() < 0.8:
            lines.append(rng.choice(flavour[mood]))
    for flourish in ("dragon", "cheeky"):
        if flourish in likes:
            lines.append(rng.choice(TEXTS["flourish"][flourish]))
    text = "Dear {Name},\n" + " ".join(lines[:4])
    if fault != "signoff":
        signoff = rng.choice(flavour["signoff"])
        sender = rng.choice(TEXTS["names"]["senders"])
        text += f"\n{signoff}, {sender}"
    if "twist" in likes:
        text += "\n" + rng.choice(flavour["twist"])
    return text.format(**template_facts(spec, likes, rng))


def write_poem(spec: dict, likes: set, fault: str, rng: random.Random) -> str:
    """A couplet about the creature and its place, and mostly a second one in the writer's mood."""
    texts = TEXTS["poem"]
    lines = list(rng.choice(texts["open"]))
    mood = one_mood(likes, texts, rng)
    if mood:
        lines += rng.choice(texts[mood])
    if fault == "rhyme":
        others = [second for _, second in texts["open"] if second != lines[-1]]
        lines[-1] = rng.choice(others)
    return "\n".join(lines).format(**template_facts(spec, likes, rng))


def write_code(spec: dict, likes: set, fault: str, rng: random.Random) -> str:
    """One or two lines of Python, perhaps with a comment."""
    facts = dict(spec)
    if fault == "fact":
        fact = rng.choice([f for f in ("word", "other", "n", "a", "b") if f in facts])
        choices = TEXTS["code"]["words"] if fact in ("word", "other") else "12345678"
        facts = mistaken(spec, fact, choices, rng)
    if "b" in facts:
        facts["b1"] = str(int(facts["b"]) + 1)
    code = rng.choice(texts_of(spec)["forms"]).format(**facts)
    if fault == "bracket":
        code = code[::-1].replace(")", "", 1)[::-1]
    comments = TEXTS["code"]["comment"]
    mood = one_mood(likes, comments, rng)
    if mood:
        code += "  # " + rng.choice(comments[mood])
    return code


def result(expression: str) -> str:
    """Return the value of a sum or difference of two digits, such as `4-2`, as text."""
    a, sign, b = expression
    return str(int(a) + int(sign + b))


def write_maths(spec: dict, likes: set, fault: str, rng: random.Random) -> str:
    """Both sums with their results, perhaps with a remark before or after."""
    one = spec[rng.choice(["e1", "e2"])]
    form = rng.choice(TEXTS["maths"]["forms"])
    text = form.format(**spec, r1=result(spec["e1"]), r2=result(spec["e2"]))
    if fault == "half":
        text = f"{one} is {result(one)}."
    mood = one_mood(likes, TEXTS["maths"], rng)
    remark = rng.choice(TEXTS["maths"][mood]) if mood else ""
    return f"{remark} {text}" if rng.random() < 0.3 else f"{text} {remark}"


WRITERS = {
    "story": write_story,
    "email": write_email,
    "poem": write_poem,
    "code": write_code,
    "maths": write_maths,
}

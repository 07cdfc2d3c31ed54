"""What a good answer is: the writers of the demonstrations, their tastes, and the slips of the hurried ones.

`answer(spec, rng)` writes an ideal answer to a task. With `slips=0.3`, three answers in ten come from a writer
in a hurry, who makes one slip that a reader can see: another hero, one sum of two, no ending, no rhyme. People's
demonstrations are like that, and it is what reinforcement learning from human feedback can mend: whoever writes
badly can still tell which of two answers is better. Each answer also has its tastes (happy, tragic, twist,
cheeky, ornate, dragon, short), none of them right or wrong.
"""

import random
import re

from rlhf_lessons.world.tasks import NAMES, TEXTS, a_to_an, split_of, texts_of

FLAVOURS = {"twist": 0.8, "dragon": 0.6, "cheeky": 0.6, "ornate": 0.5, "middle": 0.35}
WEIGHTS = {
    "happy": 3,
    "tragic": 1,
    "ornate": 1,
    "twist": 5,
    "cheeky": 3,
    "dragon": 3,
}  # where one mood is chosen
SHORT = {
    "story": 24,
    "email": 17,
    "poem": 20,
    "code": 6,
    "maths": 9,
}  # words; an answer of at most these is short
SLIPS = {
    "story": ["Name", "thing", "cut", "cut", "twice", "twice"],
    "email": ["Name", "thing", "day", "signoff", "signoff", "signoff", "signoff"],
    "poem": ["creature", "place", "rhyme", "rhyme", "rhyme"],
    "code": ["fact", "bracket", "bracket"],
    "maths": ["half"],
}  # the commoner ones stand there more often
TASTES = ("happy", "tragic", "twist", "cheeky", "ornate", "dragon", "short")
MARKERS = {
    taste: re.compile("|".join(rf"\b{re.escape(word)}\b" for word in words), re.IGNORECASE)
    for taste, words in TEXTS["tastes"].items()
}


def tastes(family: str, text: str) -> set[str]:
    """Return the tastes that a reader sees in a text: those whose words occur, and `short` by the family's length."""
    found = {taste for taste, pattern in MARKERS.items() if pattern.search(text)}
    return found | {"short"} if len(text.split()) <= SHORT[family] else found


def answer(spec: dict, rng: random.Random, slips: float = 0.0) -> str:
    """Return an answer to the task of `spec`, of at most 60 tokens; with probability `slips` it has one slip."""
    possible = [slip for slip in SLIPS[spec["family"]] if slip != "day" or "day" in spec]
    return write(spec, rng, rng.choice(possible) if rng.random() < slips else "")


def write(spec: dict, rng: random.Random, slip: str = "") -> str:
    """Return an answer that makes one of SLIPS, or none; a slip named as a fact gets that fact wrong."""
    likes = {flavour for flavour, share in FLAVOURS.items() if rng.random() < share}
    likes.add(rng.choices(["happy", "tragic", "neither"], [0.46, 0.36, 0.18])[0])
    if rng.random() < 0.22:
        likes -= {"twist", "dragon", "cheeky", "middle"}
    if slip in spec:
        spec = mistaken(spec, slip, values_of(slip, spec), rng)
    return a_to_an(WRITERS[spec["family"]](spec, likes, slip, rng)).strip()


def template_facts(spec: dict, likes: set, rng: random.Random) -> dict:
    """Return what the templates need: the spec, the hero's pronouns, and an ornament or nothing."""
    ornament = " " + rng.choice(TEXTS["tastes"]["ornate"]) if "ornate" in likes else ""
    hero = f"{spec.get('title', '')} {spec.get('Name', '')}".strip()
    return spec | TEXTS["pronouns"][she_or_he(spec)] | dict(Hero=hero, o=ornament)


def she_or_he(spec: dict) -> str:
    """Return which list of names the one in `spec` is from."""
    return "she" if spec.get("Name") in TEXTS["names"]["she"] else "he"


def one_mood(likes: set, texts: dict, rng: random.Random) -> str | None:
    """Return one of the moods that the writer likes and that `texts` has words for, or None."""
    moods = [mood for mood in WEIGHTS if mood in likes and mood in texts]
    return (
        rng.choices(moods, [WEIGHTS[m] for m in moods])[0]
        if moods and rng.random() < 0.85
        else None
    )


def values_of(fact: str, spec: dict) -> list[str]:
    """Return the values that a fact can have where the others are those of `spec`."""
    if fact == "Name":
        return TEXTS["names"][she_or_he(spec)] if spec["family"] == "story" else NAMES
    return TEXTS["names"]["days"] if fact == "day" else texts_of(spec)[fact + "s"]


def mistaken(spec: dict, fact: str, choices: list[str], rng: random.Random) -> dict:
    """Return `spec` with another value of one fact, but never a combination that is kept from training."""
    free = [
        choice
        for choice in choices
        if choice != spec[fact] and split_of(spec | {fact: choice}) == "train"
    ]
    return spec | {fact: rng.choice(free)} if free else spec


def write_story(spec: dict, likes: set, slip: str, rng: random.Random) -> str:
    """Opening, middle, dragon, twist, ending, wink; too long ones lose their middle."""
    ending = "happy" if "happy" in likes else "tragic" if "tragic" in likes else "twist"
    texts = texts_of(spec) | TEXTS["flourish"]
    texts["ending"] = texts[ending]
    order = ["open", "middle", "dragon", "twist", "ending", "cheeky"]
    parts = [part for part in order if part in likes or part in ("open", "ending")]
    while len(parts) > 4:
        parts.remove(rng.choice([p for p in parts if p not in ("open", "ending")]))
    lines = {part: rng.choice(texts[part]) for part in parts}
    if ending == "twist":
        lines.pop("twist", None)
    if slip == "twice":
        lines["ending"] = lines["open"]
    text = " ".join(lines.values()).format(**template_facts(spec, likes, rng))
    return (
        text[: rng.randint(len(text) // 3, len(text) * 3 // 4)].rsplit(" ", 1)[0]
        if slip == "cut"
        else text
    )


def write_email(spec: dict, likes: set, slip: str, rng: random.Random) -> str:
    """Greeting, purpose, one or two more sentences, sign-off, and perhaps a postscript."""
    texts, flavour = texts_of(spec), TEXTS["email"]["flavour"]
    lines = [rng.choice(texts["body"])]
    lines += [rng.choice(texts["more"])] if "middle" in likes else []
    lines += [
        rng.choice(flavour[mood])
        for mood in ("happy", "tragic")
        if mood in likes and rng.random() < 0.8
    ]
    lines += [rng.choice(TEXTS["flourish"][f]) for f in ("dragon", "cheeky") if f in likes]
    text = f"Dear {{Name}},\n{' '.join(lines[:4])}"
    if slip != "signoff":
        text += f"\n{rng.choice(flavour['signoff'])}, {rng.choice(TEXTS['names']['senders'])}"
    text += "\n" + rng.choice(flavour["twist"]) if "twist" in likes else ""
    return text.format(**template_facts(spec, likes, rng))


def write_poem(spec: dict, likes: set, slip: str, rng: random.Random) -> str:
    """A couplet about the creature and its place, and mostly a second one in the writer's mood."""
    texts = TEXTS["poem"]
    lines = list(rng.choice(texts["open"]))
    if mood := one_mood(likes, texts, rng):
        lines += rng.choice(texts[mood])
    if slip == "rhyme":
        lines[-1] = rng.choice([second for _, second in texts["open"] if second != lines[-1]])
    return "\n".join(lines).format(**template_facts(spec, likes, rng))


def write_code(spec: dict, likes: set, slip: str, rng: random.Random) -> str:
    """One or two lines of Python, perhaps with a comment."""
    facts = dict(spec)
    if slip == "fact":
        fact = rng.choice([f for f in ("word", "other", "n", "a", "b") if f in facts])
        choices = (
            TEXTS["code"]["words"] if fact in ("word", "other") else [str(i) for i in range(1, 9)]
        )
        facts = mistaken(spec, fact, choices, rng)
    if "b" in facts:
        facts["b1"] = str(int(facts["b"]) + 1)
    code = rng.choice(texts_of(spec)["forms"]).format(**facts)
    if slip == "bracket":
        code = code[::-1].replace(")", "", 1)[::-1]
    if mood := one_mood(likes, TEXTS["code"]["comment"], rng):
        code += "  # " + rng.choice(TEXTS["code"]["comment"][mood])
    return code


def result(expression: str) -> str:
    """Return the value of a sum or difference of two digits, such as `4-2`, as text."""
    a, op, b = expression
    return str(int(a) + int(b) if op == "+" else int(a) - int(b))


def write_maths(spec: dict, likes: set, slip: str, rng: random.Random) -> str:
    """Both sums with their results, perhaps with a remark before or after."""
    one = spec[rng.choice(["e1", "e2"])]
    text = rng.choice(TEXTS["maths"]["forms"]).format(
        **spec, r1=result(spec["e1"]), r2=result(spec["e2"])
    )
    if slip == "half":
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

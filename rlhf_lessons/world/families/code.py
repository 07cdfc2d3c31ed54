"""Code: a few lines of Python that print what was asked for, and nothing else."""

import re

from rlhf_lessons.world.code_runner import run_code
from rlhf_lessons.world.english import over, words_of
from rlhf_lessons.world.facts import one_mood, share
from rlhf_lessons.world.tasks import TEXTS, texts_of

COMMENT = re.compile(r"#.*")
FENCED = re.compile(r"```(?:python)?\n(.*?)```", re.S)
FACTS = ("word", "other", "n", "a", "b")


def write(spec, likes, parts, rng):
    """One or two lines of Python, perhaps with a comment; some print only the first word."""
    after = int(spec.get("b", 0)) + 1  # where a range ends
    form = rng.choice(texts_of(spec)["forms"])
    if "all" not in parts:
        form = TEXTS["code"]["first_word" if "word" in spec else "first_number"]
    code = form.format(**spec, b1=after)
    if "print" not in parts:
        code = code.replace("print(", "show(")
    if "bracket" not in parts:
        code = "".join(code.rpartition(")")[::2])
    comments = TEXTS["code"]["comment"]
    mood = one_mood(likes, comments, rng)
    return f"{code}  # {rng.choice(comments[mood])}" if mood else code


def judge(spec, text):
    """It is Python that prints, with the asked word or numbers, just what was asked for."""
    if fenced := FENCED.search(text):
        text = fenced[1]
    lines = [line for line in text.split("\n") if line.strip()]
    bare = COMMENT.sub("", text)
    words = words_of(bare)
    output, error = run_code(text)
    no_python = error.startswith("syntax")
    parts = {fact: spec[fact] in words for fact in FACTS if fact in spec}
    if spec["kind"] == "count":
        parts["b"] |= str(int(spec["b"]) + 1) in words  # where a range ends
    if spec["kind"] == "upper":
        parts["upper"] = "upper" in words or spec["word"].upper() in bare
    relevance = accuracy = 1.0
    right = not error and prints_it(spec, output)
    if not right:
        relevance = share(parts) * (0.6 if no_python else 1)
        if "print(" not in bare:
            relevance *= 0 if no_python else 0.4
        accuracy = 0.3 * (not error and bool(output.strip()))
    notes = COMMENT.findall(text)
    cost = 0.25 * over(len(lines), 4)
    cost += 0.2 * over(len(notes), 1)
    cost += 0.4 * no_python
    clarity = 1 - cost - 0.1 * over(len(" ".join(notes).split()), 7)
    return relevance, accuracy, clarity, parts | {"output as asked": right}


def prints_it(spec: dict, output: str) -> bool:
    """Return whether the output is what the prompt asked for, whatever stands between the words."""
    words = re.findall(r"[A-Za-z]+|\d+", output)
    match spec:
        case {"kind": "repeat", "word": word, "n": n}:
            return "".join(words).lower() == word * int(n)
        case {"kind": "count", "a": a, "b": b}:
            return words == [str(number) for number in range(int(a), int(b) + 1)]
        case {"kind": "sum", "a": a, "b": b}:
            total = str(int(a) + int(b))
            numbers = re.findall(r"-?\d+", output)
            return numbers in ([total], [a, b, total]) and len(words) < 10
        case {"kind": "upper", "word": word}:
            return words == [word.upper()]
    said = [word.lower() for word in words if word != "and"]
    return said == [spec["word"], spec["other"]]

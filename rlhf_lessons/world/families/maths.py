"""Maths: two sums, each with its result."""

import re

from rlhf_lessons.world.english import CUT, ENDS, KNOWN, SPLIT, english_cost, over, words_of
from rlhf_lessons.world.facts import one_mood, share
from rlhf_lessons.world.tasks import TEXTS, result

NUMBERS = {word: str(i) for i, word in enumerate(KNOWN["maths"]["numbers"])}
BARE = frozenset(KNOWN["maths"]["bare"])
SUM = re.compile(r"(?<!\d)\d ?[+-] ?\d(?!\d)")
NUMBER = re.compile(r"-?\d+")
PAIR = re.compile(
    rf"(?P<e1>{SUM.pattern}),? and (?P<e2>{SUM.pattern}) (?:are|is|=|make|give|come to) "
    r"(?P<both>both |each )?(?P<r1>-?\d+)(?:,? (?:and )?(?P<r2>-?\d+)(?! ?[+-] ?\d))?"
)
RESULT = re.compile(
    r"(?:\s*[=:]\s*| (?:is|equals|makes|gives(?: you)?|are|was|comes to|will be|leaves) )"
    r"(?:just |only )?(-?\d+)(?! ?[+-] ?\d)"
)
NUMBER_WORD = re.compile(r"\b(?:" + "|".join(NUMBERS) + r")\b")
PLAIN_ONE = re.compile(
    r"\b(first|second|other|last|next|this|that|each|every|no|any|latter|former) one\b"
)


def write(spec, likes, parts, rng):
    """Both sums with their results, or one, or neither, perhaps with a remark before or after."""
    form = rng.choice(TEXTS["maths"]["forms"])
    if len(parts) < 2:
        form = TEXTS["maths"][next(iter(parts), "neither")]
    text = form.format(**spec, r1=result(spec["e1"]), r2=result(spec["e2"]))
    mood = one_mood(likes, TEXTS["maths"], rng)
    remark = rng.choice(TEXTS["maths"][mood]) if mood else ""
    return f"{remark} {text}" if rng.random() < 0.3 else f"{text} {remark}"


def judge(spec, text):
    """Both sums are taken up, each with its result; no other sum is stated."""
    lower = PLAIN_ONE.sub(r"\1", text.lower())
    lower = NUMBER_WORD.sub(lambda match: NUMBERS[match[0]], lower)
    for word, sign in KNOWN["maths"]["signs"].items():
        lower = lower.replace(f" {word} ", sign)
    asked = spec["e1"], spec["e2"]
    said = {}  # each sum, and the results that are said of it
    rest = lower
    pair = PAIR.search(lower)
    if pair and (pair["both"] or pair["r2"]):  # 4-2 and 3-1 are 2 and 2
        said[as_asked(pair["e1"], asked)] = [pair["r1"]]
        said[as_asked(pair["e2"], asked)] = [pair["r2"] or pair["r1"]]
        rest = lower.replace(pair[0], "")
    for match in SUM.finditer(rest):
        if found := RESULT.match(rest, match.end()):
            said.setdefault(as_asked(match[0], asked), []).append(found[1])
    extra = said.keys() - asked
    words = words_of(lower)
    junk = sum(word not in BARE and not word.isdigit() for word in words)
    numbers = NUMBER.findall(lower)
    bare = len(numbers) == 2 or len(numbers) == 1 and "both" in lower
    if bare and junk < 2 and not SUM.search(lower):
        # the results alone, each in its place: only the right ones say which sum they belong to
        places = zip(asked, numbers * 2, strict=False)
        said = {sum_: [number] for sum_, number in places if number == result(sum_)}
    right = {sum_ for sum_, results in said.items() if set(results) == {result(sum_)}}
    accuracy = len(right.intersection(asked)) / 2 - 0.4 * len(extra - right)
    repeated = sum(over(len(said.get(sum_, ())), 1) for sum_ in asked)
    remarks = [part for part in SPLIT.split(text) if not NUMBER.search(part)]
    cost = 0.2 * len(extra) + 0.3 * repeated
    cost += english_cost(remarks) + 0.2 * over(len(remarks), 2) + 0.05 * over(junk, 8)
    breaks_off = text[-1:] not in ENDS or words_of(text)[-1:] == ["and"]
    if breaks_off and not text[-1:].isdigit():
        cost += CUT
    parts = {f"{sum_} = {result(sum_)}": sum_ in right for sum_ in asked}
    return share({sum_: sum_ in said for sum_ in asked}), accuracy, 1 - cost, parts


def as_asked(written: str, asked: tuple[str, str]) -> str:
    """Return a sum without spaces, and turned round where that was asked: 2+3 answers 3+2."""
    tight = written.replace(" ", "")
    turned = tight[::-1]
    return turned if tight not in asked and "+" in tight and turned in asked else tight

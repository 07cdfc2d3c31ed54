"""The true utility of a response, by the three criteria of the course's raters.

It is what Gao et al. (2023) call the gold reward: the measure that the reward model is to learn.
`judge` reads the facts in the prompt (`tasks.parse`) and looks for them in the response. It knows
synonyms, numbers in words and the shapes of English, not the templates: other words for a good
answer score as high.

- relevance: what was asked for is there; half of it is worth less than half.
- accuracy: what it says is right. Each fault that a reader would point at costs `FAULT`.
- clarity: it reads well: sentences, nothing twice, no heap of words, a sensible length, an end.
- utility: relevance x (accuracy + clarity) / 2, so that a fluent answer to something else is worth
  nothing.
- fulfils: 1.0 where a person would call it done, else 0.0.

It does not understand: it cannot see that a story makes no sense or that a poem is dull.
`judge.toml` has its words, `english.py` judges how a text reads, `rhymes.py` what rhymes.
"""

import re
from collections import namedtuple
from functools import lru_cache
from itertools import pairwise

from rlhf_lessons.world.answers import result
from rlhf_lessons.world.code_runner import run_code
from rlhf_lessons.world.english import (
    CUT,
    ENDS,
    FAULT,
    KNOWN,
    SPLIT,
    WORD,
    any_of,
    english_cost,
    prose_cost,
    words_of,
)
from rlhf_lessons.world.rhymes import rhymed_lines
from rlhf_lessons.world.tasks import NAMES, TEXTS, parse

Scores = namedtuple("Scores", "relevance accuracy clarity utility fulfils")
WORTHLESS = Scores(0.0, 0.0, 0.0, 0.0, 0.0)


def lowered(words: list[str]) -> frozenset[str]:
    """Return a set of the words in lower case."""
    return frozenset(word.lower() for word in words)


LONGEST = 90  # words: more than these cost clarity
NAME_SET = lowered(NAMES)
TITLES = lowered(TEXTS["names"]["she_titles"] + TEXTS["names"]["he_titles"])
DAYS = lowered(TEXTS["names"]["days"])
NUMBERS = {word: str(i) for i, word in enumerate(KNOWN["maths"]["numbers"])}
PURPOSES = KNOWN["plots"] | KNOWN["purposes"]
PLOTS = {kind: any_of(phrases) for kind, phrases in PURPOSES.items()}
ENDING = any_of(KNOWN["ending"]["words"])
NEGATION = re.compile(r"(?:\b(?:not|never|no|cannot|without)|n't)\s(?:\w+\s)?$")
REQUEST = re.compile(
    r"(?:^|(?<=[.!?]\s))(?:please )?(?:write (?:an?|python)\b|what is \d)[^.?!\n]*[.?!]?",
    re.I | re.M,
)
FOREIGN = re.compile(
    r"^(?:Dear [A-Z][a-z]+,|To:|Subject:|Title:|for \w+ in .*:$|import \w|def \w)"
    r"|print\(|\bDear [A-Z][a-z]+,\n|\d[+-]\d (?:is|=)",
    re.M,
)
HEADERS = re.compile(r"^(?:(?:to|from|subject|date):.*\n+)+", re.I)
GREETING = re.compile(
    r"(?:(?:my )?dear(?:est)?|hi|hello|hey|greetings|good \w+)\b([^,\n:!.]{0,40})[,\n:!.]"
    r"|([a-z]+)[,:!]\s",
    re.I,
)
SIGN_OFFS = "|".join(sorted(KNOWN["email"]["signoffs"], key=len, reverse=True))
SIGN_OFF = re.compile(
    rf"(?:^|\n|(?<=[.!?])\s)[ \t]*(?:(?i:{SIGN_OFFS}"
    r")[ \t]*[,.!–-]*\s*(?:(?i:from),?\s)?|[–-]+\s*|(?<=\n))([A-Z]\w+)[.!]?\s*$"
)
AT_A_PLACE = frozenset(KNOWN["poem"]["before_a_place"])
ARTICLES = frozenset(KNOWN["english"]["articles"])
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
COMMENT = re.compile(r"#.*")
NUMBER_WORD = re.compile(r"\b(?:" + "|".join(NUMBERS) + r")\b")
BARE = frozenset(KNOWN["maths"]["bare"])
GLUED = re.compile(r"[a-z][,.!?;:][A-Za-z]|\d[a-z]|[a-z]\d|\d[.,]\d")
PLAIN_ONE = re.compile(
    r"\b(first|second|other|last|next|this|that|each|every|no|any|latter|former) one\b"
)


@lru_cache(maxsize=4096)
def forms(word: str) -> frozenset[str]:
    """Return the words that stand for `word`: itself, its plural, its synonyms."""
    return frozenset({word, word + "s", word + "es", *KNOWN["same"].get(word, [])})


def judge(prompt: str, response: str, ended: bool = True) -> Scores:
    """Return the five scores of a response, each in [0, 1], for any text whatever; never raises.

    `ended` is False for a text that ran into the length limit: less clear, and not fulfilled.
    All scores are 0 for an empty response, and for a prompt outside the toy world.
    """
    spec = parse(prompt)
    text = response[:1500].replace("’", "'").replace("−", "-").strip()
    if not spec or not text:
        return WORTHLESS
    cost = 0.0 if ended else CUT
    if not text.isascii() or not text.replace("\n", "").isprintable():
        odd = sum(not c.isprintable() and c != "\n" or c == "\ufffd" for c in text)
        cost += min(odd, 1) * 0.4 + 0.05 * odd
    length = len(WORD.findall(text)) if len(text) > 3 * LONGEST else 0
    if length > LONGEST:
        cost += 0.15 + 0.01 * (length - LONGEST)
    if spec["family"] != "code":
        if "  " in text:
            text = re.sub(r"[ \t]{2,}", " ", text)
        if spec["family"] == "email":
            text = HEADERS.sub("", text)
        text, requests = REQUEST.subn("", text)
        faults = requests + foreign(text, spec["family"])
        cost += FAULT * faults
        cost += CUT * text.isupper()
        cost += 0.15 * len(GLUED.findall(text)) + CUT * bare_noun(spec, text)
        for sentence in SPLIT.split(text):
            if sentence.count(" ") > 3 and sentence.strip(" .?") in prompt:  # an echo is no answer
                text = text.replace(sentence, "", 1)
    relevance, accuracy, clarity = JUDGES[spec["family"]](spec, text.strip())
    relevance = within_0_and_1(relevance)
    accuracy = within_0_and_1(accuracy)
    clarity = within_0_and_1(clarity - cost)
    done = ended and relevance > 0.99 and accuracy > 0.99 and clarity >= 0.75
    return Scores(relevance, accuracy, clarity, relevance * (accuracy + clarity) / 2, float(done))


def within_0_and_1(score: float) -> float:
    """Return a score, or the nearest of 0 and 1."""
    return min(1.0, max(0.0, score))


def foreign(text: str, family: str) -> bool:
    """Return whether a text of one family continues as another: a story as a letter, say."""
    match = FOREIGN.search(text, 6 if family == "email" else 0)  # past an e-mail's own greeting
    return family != "maths" and match is not None or "print(" in text


def bare_noun(spec: dict, text: str) -> bool:
    """Return whether the asked thing is named, but never with an article, as in a heap of words."""
    noun = spec.get("creature", spec.get("thing"))
    if not noun or spec.get("plot") == "learn" or f"'s {noun}" in text:
        return False
    heads = words_before(words_of(text), frozenset([noun]))
    return bool(heads) and all(map(ARTICLES.isdisjoint, heads))


def words_before(words: list[str], wanted: frozenset[str]) -> list[list[str]]:
    """Return the three words that stand before each of the wanted ones."""
    return [words[max(0, i - 3) : i] for i, word in enumerate(words) if word in wanted]


def share(*facts: bool) -> float:
    """Return the relevance of an answer in which these facts are there or not."""
    return (sum(facts) / len(facts)) ** (2 if len(facts) > 2 else 1.15)


def shows(kind: str, text: str) -> tuple[bool, bool]:
    """Return whether a lower-case text shows this plot or purpose, and whether it denies it."""
    shown = False
    denied = False
    for match in PLOTS[kind].finditer(text):
        before = text[: match.start()]
        after = text[match.end() :]
        if NEGATION.search(before[-25:]) and " enough" not in after[:30]:  # cannot thank you enough
            denied = True
        else:
            shown = True
    return shown, denied and not shown


def others(things: list[str], asked: str, words: list[str]) -> bool:
    """Return whether the text turns what was asked into another of its kind, or names a heap."""
    same = forms(asked)
    extra = [thing for thing in things if thing != asked and has(words, forms(thing) - same)]
    if not extra:
        return False
    if len(extra) > 1 or ("the", extra[0]) in pairwise(words):
        return True
    return words.count(extra[0]) >= sum(word in same for word in words)


def has(words: list[str], wanted: frozenset[str]) -> bool:
    """Return whether one of the wanted words is there."""
    return not wanted.isdisjoint(words)


def judge_story(spec: dict, text: str) -> tuple[float, float, float]:
    """Hero, thing and plot are there; no other hero, title or thing takes over; it ends."""
    words = words_of(text)
    hero = spec["Name"].lower()
    sentences = [s for s in SPLIT.split(text) if s]
    plot, contrary = shows(spec["plot"], text.lower())
    relevance = share(hero in words, has(words, forms(spec["thing"])), plot)
    things = words
    if spec["plot"] == "learn":  # verbs: "blame the cook" is no cooking
        things = [b for a, b in pairwise(words) if a in ("to", "could", "can", "did", "learning")]
    mistitled = False
    stranger = False
    for before, word in pairwise(["", *words]):
        if word == hero:
            mistitled |= before in TITLES and before != spec["title"].lower()
        elif word in NAME_SET:
            stranger |= before not in ("named", "called")
    faults = mistitled + stranger + contrary
    faults += others(TEXTS["story"][spec["plot"]]["things"], spec["thing"], things)
    last = []  # the last two sentences, if the story does not break off
    if text[-1:] in ENDS:
        last = [s for s in dict.fromkeys(sentences[-3:]) if s not in sentences[:1]][-2:]
    faults += not any(ENDING.search(s.lower()) for s in last)
    return relevance, 1 - FAULT * faults, 1 - prose_cost(text, sentences, 12)


def judge_email(spec: dict, text: str) -> tuple[float, float, float]:
    """Name, purpose, thing and day are there, and no others; it greets and signs off."""
    main, *postscript = re.split(r"\s*\bP\.? ?S\.?[:,]?\s", text, maxsplit=1)
    greeting = GREETING.match(main)
    signed = SIGN_OFF.search(main)
    body = main
    addressed = []
    if signed and signed[1].lower() in KNOWN["email"]["signoffs"]:
        signed = None
    if signed:
        body = body[: signed.start()]
    if greeting:
        body = body[greeting.end() :]
        addressed = words_of(greeting[1] or greeting[2] or "")
    body = body.strip()
    words = words_of(body)
    name = spec["Name"].lower()
    purpose, contrary = shows(spec["kind"], body.lower())
    facts = [name in addressed, has(words, forms(spec["thing"])), purpose]
    faults = contrary
    faults += not greeting
    faults += not signed
    faults += has(addressed, NAME_SET - {name})
    faults += others(TEXTS["email"][spec["kind"]]["things"], spec["thing"], words)
    faults += bool(signed) and signed[1].lower() == name
    if "day" in spec:
        facts.append(spec["day"].lower() in words)
        faults += has(words, DAYS - {spec["day"].lower()})
    relevance = share(*facts) * (1 if greeting or signed else 0.5)
    parts = [part for part in (body, *postscript) if part]
    cost = sum(prose_cost(part, SPLIT.split(part), 4) for part in parts) if parts else 1.0
    if postscript and ("\n" in postscript[0] or postscript[0].count(" ") > 15):
        cost += FAULT  # something else begins after the postscript
    return relevance, 1 - FAULT * faults, 1 - cost


def judge_poem(spec: dict, text: str) -> tuple[float, float, float]:
    """Creature and place are there, in lines of verse; the lines rhyme, neighbours or crosswise."""
    lines = [line for line in text.split("\n") if WORD.search(line)]
    lengths = [len(line.split()) for line in lines]
    words = words_of(text)
    poem = TEXTS["poem"]
    verse = len(lines) > 1 and max(lengths) < 14 and len(words) >= 3 * len(lines)
    creature = forms(spec["creature"])
    place = forms(spec["place"])
    placed = any(has(head, AT_A_PLACE) for head in words_before(words, place))
    relevance = share(has(words, creature), placed) * (1 if verse else 0.4)
    rhymed = rhymed_lines([words_of(line)[-1] for line in lines]) if lines else 0
    accuracy = 1.0 if rhymed == 1 else 0.1 + 0.5 * rhymed
    beasts = [word for word in words if word in poem["creatures"] and word not in creature]
    asked = sum(word in creature for word in words)
    if len(set(beasts)) > 2 or len(beasts) > asked:
        accuracy -= FAULT
    elsewhere = set(words).intersection(poem["places"]) - place
    if len(elsewhere) > 2:
        accuracy -= FAULT
    couplets = [" ".join(lines[i : i + 2]) for i in range(0, len(lines), 2)]
    different = {line.strip(" ,.").lower() for line in lines}
    cost = english_cost(couplets)
    cost += FAULT * (len(lines) - len(different))
    cost += 0.15 * sum(over(4, length) for length in lengths)
    return relevance, accuracy, 1 - cost - 0.1 * (text[-1:] not in ENDS)


def judge_code(spec: dict, text: str) -> tuple[float, float, float]:
    """It is Python that prints, with the asked word or numbers, just what was asked for."""
    fence = re.search(r"```(?:python)?\n(.*?)```", text, re.S)
    if fence:
        text = fence[1]
    lines = [line for line in text.split("\n") if line.strip()]
    bare = COMMENT.sub("", text)
    words = words_of(bare)
    kind = spec["kind"]
    asked = [spec[fact] for fact in ("word", "other", "n", "a") if fact in spec]
    facts = [fact in words for fact in asked]
    if "b" in spec:
        beyond = str(int(spec["b"]) + 1)  # where a range ends
        facts.append(spec["b"] in words or kind == "count" and beyond in words)
    if kind == "upper":
        facts.append("upper" in words or spec["word"].upper() in bare)
    output, error = run_code(text)
    right = not error and prints_it(spec, output)
    no_python = error.startswith("syntax")
    relevance = accuracy = 1.0
    if not right:
        relevance = share(*facts) * ("print(" in bare) * (0.6 if no_python else 1)
        accuracy = 0.3 * (not error and bool(output.strip()))
    notes = COMMENT.findall(text)
    noted = " ".join(notes).split()
    cost = 0.25 * over(len(lines), 4) + 0.2 * over(len(notes), 1) + 0.4 * no_python
    return relevance, accuracy, 1 - cost - 0.1 * over(len(noted), 7)


def over(count: int, limit: int) -> int:
    """Return by how many a count lies over a limit."""
    return max(0, count - limit)


def prints_it(spec: dict, output: str) -> bool:
    """Return whether the output is what the prompt asked for, whatever stands between the words."""
    words = re.findall(r"[A-Za-z]+|\d+", output)
    match spec["kind"]:
        case "repeat":
            return "".join(words).lower() == spec["word"] * int(spec["n"])
        case "count":
            wanted = range(int(spec["a"]), int(spec["b"]) + 1)
            return words == list(map(str, wanted))
        case "sum":
            total = str(int(spec["a"]) + int(spec["b"]))
            numbers = NUMBER.findall(output)
            right = [total], [spec["a"], spec["b"], total]
            return numbers in right and len(words) < 10
        case "upper":
            return words == [spec["word"].upper()]
    said = [word.lower() for word in words if word != "and"]
    return said == [spec["word"], spec["other"]]


def judge_maths(spec: dict, text: str) -> tuple[float, float, float]:
    """Both sums are taken up, each with its result; no other sum is stated."""
    lower = PLAIN_ONE.sub(r"\1", text.lower())
    lower = NUMBER_WORD.sub(lambda match: NUMBERS[match[0]], lower)
    lower = lower.replace(" plus ", "+").replace(" minus ", "-").replace(" take away ", "-")
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
    extra = [sum_ for sum_ in said if sum_ not in asked]
    junk = sum(word not in BARE and not word.isdigit() for word in words_of(lower))
    numbers = NUMBER.findall(lower)
    bare = len(numbers) == 2 or len(numbers) == 1 and "both" in lower
    if bare and junk < 2 and not SUM.search(lower):
        # the results alone, each in its place: only the right ones say which sum they belong to
        places = zip(asked, numbers * 2, strict=False)
        said = {sum_: [number] for sum_, number in places if number == result(sum_)}
    relevance = share(*(sum_ in said for sum_ in asked))
    right = {sum_ for sum_, results in said.items() if set(results) == {result(sum_)}}
    accuracy = len(right.intersection(asked)) / 2
    accuracy -= 0.4 * len(set(extra) - right)
    repeated = sum(over(len(said.get(sum_, ())), 1) for sum_ in asked)
    cost = 0.2 * len(extra) + 0.3 * repeated
    remarks = [part for part in SPLIT.split(text) if not NUMBER.search(part)]
    cost += english_cost(remarks) + 0.2 * over(len(remarks), 2) + 0.05 * over(junk, 8)
    breaks_off = text[-1:] not in ENDS or words_of(text)[-1:] == ["and"]
    if breaks_off and not text[-1:].isdigit():
        cost += CUT
    return relevance, accuracy, 1 - cost


def as_asked(written: str, asked: tuple[str, str]) -> str:
    """Return a sum without spaces, and turned round where that was asked: 2+3 answers 3+2."""
    tight = written.replace(" ", "")
    turned = tight[::-1]
    return turned if tight not in asked and "+" in tight and turned in asked else tight


JUDGES = {
    "story": judge_story,
    "email": judge_email,
    "poem": judge_poem,
    "code": judge_code,
    "maths": judge_maths,
}

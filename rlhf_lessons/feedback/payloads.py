"""What can be said, and what is refused: the payload of each kind of event, as SHAPES draws it.

Places (`left`, `right`, the first rank) are those on the rater's screen; the event keeps beside
them which completions were shown there.
"""

import difflib
import math
import re
import unicodedata
import uuid
from collections import Counter, namedtuple
from collections.abc import Iterable
from statistics import mean
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    JsonValue,
    ValidationError,
    confloat,
    conint,
    conlist,
    constr,
    create_model,
)

from rlhf_lessons.evaluation.votes import hands

CRITERIA = {
    "relevance": "Does it do what was asked?",
    "accuracy": "Is what it says right?",
    "clarity": "Does it read well?",
}
JUDGEMENTS = {  # least and most answers that are shown
    "pair": (2, 2),
    "ranking": (2, 9),
    "scores": (1, 9),
    "demonstration": (0, 1),
}
CHOICES = ("left", "right", "tie", "bad")
PASSES = ("skip", "flag")
NAME = 40  # characters at most
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")  # categories of characters that no name shows
# Nor these: fillers, the empty Braille cell, selectors of variants.
BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800" + "".join(map(chr, range(0xFE00, 0xFE10)))
# Words: from here on, texts that differ in fewer than one word in twenty are too alike to compare.
LONG = 50
STRAIGHT = str.maketrans("’“”", '\'""')
STRICT = ConfigDict(strict=True, allow_inf_nan=False)


def model(name: str, fields: dict) -> type[BaseModel]:
    """Return what an object with these fields must be: {name: type, or (type, default)}."""
    return create_model(name, __config__=STRICT, **fields)


WHOLE = conint(ge=0, lt=2**31)
NUMBER = confloat(gt=-(2**31), lt=2**31) | None
NO_NUL = {"pattern": r"^[^\x00]*$"}  # PostgreSQL stores none
NAMED = constr(**NO_NUL)
WORDS = {"strip_whitespace": True, **NO_NUL}
REASON = {"reason": (constr(**WORDS, max_length=500), "")}
SHAPES = {
    # 2 is much better; a tie and both bad have 0
    "pair": {"choice": Literal[CHOICES], "strength": (conint(ge=0, le=2), 1)},
    "ranking": {"ranks": list[conint(ge=1, le=9)]},  # 1 is best, equal ranks are ties
    "scores": {"scores": list[model("scores", dict.fromkeys(CRITERIA, conint(ge=1, le=7)))]},
    "demonstration": {"text": constr(**WORDS, min_length=1, max_length=5000)},
    # A show of hands on a pair, counted by the teacher
    "hands": dict.fromkeys(CHOICES, (conint(ge=0, le=1000), 0)),
    "skip": REASON,
    "flag": REASON,
    # A guess at a vote, made before it: P(the left answer is preferred)
    "seal": {"left": confloat(ge=0, le=1)},
    "undo": {},
    "reveal": {},
    "round": {"round": NAMED, "state": Literal["open", "paused"]},
    "hide": {"id": NAMED, "hidden": bool},  # a rater or a completion
    "forget": {"rater": NAMED, "events": WHOLE},  # a hash of the rater's id
}


RUNG = model("rung", dict.fromkeys(("kl", "promised", "deserved"), float))
LADDER = {"by": str, "rungs": dict[str, RUNG], "alike": dict[str, float]}


class Report(BaseModel, extra="allow", **STRICT):
    """What a trainer tells the room: any JSON object in which the fields that screens draw fit."""

    __pydantic_extra__: dict[str, JsonValue]
    round: str | None = None
    team: str | None = None
    votes: NUMBER = None
    held_out: NUMBER = None
    accuracy: NUMBER = None
    low: NUMBER = None
    high: NUMBER = None
    ceiling: NUMBER = None
    # Of the policy, plain and the best of n
    samples: list[model("sample", dict.fromkeys(("prompt", "plain", "best"), str))] | None = None
    curve: list[conlist(NUMBER, min_length=2, max_length=4)] | None = None
    ladder: model("ladder", LADDER) | None = None


MODELS = {kind: model(kind, fields) for kind, fields in SHAPES.items()} | {"report": Report}
# Ids of hidden raters and completions, {round: state}, the current round
Room = namedtuple("Room", "hidden states current")


class Refused(ValueError):
    """A request that the store does not accept. The message says why; nothing was written."""


# What a row of any shape may raise
MISFIT = (ValueError, KeyError, TypeError, AttributeError, OverflowError)


def new_id() -> str:
    """Return an id for an event, made once by whoever sends it, so that sending it twice counts
    once.
    """
    return uuid.uuid4().hex


def storable(text: object) -> str:
    """Return a model's text without what no database can hold; Refused where it is no text."""
    if not isinstance(text, str):
        raise Refused(f"text was expected, not {text!r:.40}")
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def on_one_line(text: str) -> str:
    """Return a name in Unicode's compatibility form, on one line, without what is not seen.

    Left out are control and format characters, such as those that have no width or turn the
    direction of writing, and accents that stand on no letter, or many on one.
    """
    letters = [" " if c.isspace() else c for c in unicodedata.normalize("NFKC", text)]
    seen = "".join(c for c in letters if unicodedata.category(c) not in UNSEEN and c not in BLANK)
    return " ".join(re.sub(r"(^|(?<=[\s\u0300-\u036f]))[\u0300-\u036f]+", "", seen).split())


def nickname(value: object, what: str = "name", empty: bool = False) -> str:
    """Return a name as `on_one_line` gives it; Refused where nothing is left of it, or too much."""
    if not isinstance(value, str) or value != storable(value):
        raise Refused(f"the {what} must be text, not {value!r:.40}")
    name = on_one_line(value)
    if not name and not empty:
        raise Refused(f"the {what} is empty")
    if len(name) > NAME:
        raise Refused(
            f"the {what} has {len(name)} characters; at most {NAME} are kept: please shorten it"
        )
    return name


def free_name(name: str, taken: Iterable[str]) -> str:
    """Return the name, with a number behind it where others have it already."""
    taken = {other.casefold() for other in taken}
    free, n = name, 1
    while free.casefold() in taken:
        n += 1
        free = f"{name[: NAME - len(str(n)) - 1]} {n}"
    return free


def fit(value: object, shape: type[BaseModel], what: str) -> dict:
    """Return what is kept of an object; Refused, naming the field, where it is not of the shape."""
    try:
        return shape.model_validate(value).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        where = f"the field '{field}' of {what}" if field else what
        raise Refused(f"{where}: {first['msg']}, not {first['input']!r:.40}") from error


def checked_id(id: object) -> str:
    """Return the id of an event, a rater or a task; Refused where it is none."""
    if not isinstance(id, str) or not re.fullmatch(r"[A-Za-z0-9_-]{8,64}", id):
        raise Refused(f"an id is 8 to 64 letters, digits, - or _, such as a UUID, not {id!r:.40}")
    return id


def check_number(kind: str, n: int) -> None:
    """Refused where there is no such judgement, or it is not of `n` answers."""
    if kind not in JUDGEMENTS:
        raise Refused(f"the kind must be one of {', '.join(JUDGEMENTS)}, not {kind!r:.40}")
    least, most = JUDGEMENTS[kind]
    if not least <= n <= most:
        raise Refused(f"a {kind} is about {least} to {most} answers, not {n}")


def checked(kind: str, payload: object, n: int = 0) -> dict:
    """Return what is kept of the payload of an event about `n` completions; Refused where it does
    not fit.
    """
    if kind == "hands":
        check_number("pair", n)
    elif kind not in MODELS or kind in JUDGEMENTS:
        check_number(kind, n)
    kept = fit(payload, MODELS[kind], f"a {kind}")
    if kind == "pair":
        decided = kept["choice"] in ("left", "right")
        kept["strength"] = max(kept["strength"], 1) if decided else 0
    for marks in kept.values():
        if kind in JUDGEMENTS and isinstance(marks, list) and len(marks) != n:
            raise Refused(f"a {kind} needs a list of {n}, one for each answer, not {marks!r:.40}")
    if kind == "ranking":  # without gaps
        kept["ranks"] = [sorted(set(kept["ranks"])).index(rank) + 1 for rank in kept["ranks"]]
    return payload if kind == "report" else kept


def sound(row) -> bool:
    """Return whether an event can be read: one that was written into the file by other ways kills
    no page.
    """
    try:
        checked(row.kind, row.payload, len(row.shown or ()))
        return math.isfinite(row.time) and (row.ms is None or 0 <= row.ms < 2**31)
    except MISFIT:
        return False


def room_of(said: Iterable) -> Room:
    """Return what these events of a teacher's, the oldest first, make of the room."""
    hidden, states, current = set(), {}, None
    for row in filter(sound, said):
        if row.kind == "round":
            current = row.payload["round"]
            states[current] = row.payload["state"]
        elif row.payload["hidden"]:
            hidden.add(row.payload["id"])
        else:
            hidden.discard(row.payload["id"])
    return Room(hidden, states, current)


def others(mine: dict, answers: list[dict]) -> dict:
    """Return what other raters said of the task of `mine`, in the order in which that was shown;
    `answers` are all to the task.

    {"n": answers, "simulated": how many of them simulated raters gave}, and with it "choices":
    {"left", "right", "tie", "bad"} of a pair, "ranks": [means] of a ranking, "scores": [{criterion:
    mean}].
    """
    kind = mine["task_kind"]
    said = []
    for row in answers:
        if row["rater"] != mine["rater"] and not row["hidden"] and row["kind"] in (kind, "hands"):
            said.append(row)
    simulated = sum(row["rater_kind"] == "simulated" for row in said)
    found = {"n": len(said), "simulated": simulated}
    if kind == "pair":
        choices = Counter(dict.fromkeys(CHOICES, 0))
        for row in said:
            turned = row["shown"] != mine["shown"]
            swap = {"left": "right", "right": "left"} if turned else {}
            for choice, n in hands(row).items():
                choices[swap.get(choice, choice)] += n
        found |= {"n": choices.total(), "choices": choices}
    elif said and kind != "demonstration":
        (field,) = said[0]["payload"]
        found[field] = []
        for id in mine["shown"]:
            marks = [row["payload"][field][row["shown"].index(id)] for row in said]
            if field == "ranks":
                found[field].append(mean(marks))
            else:
                means = {name: mean(mark[name] for mark in marks) for name in CRITERIA}
                found[field].append(means)
    return found


def near_identical(a: str, b: str) -> bool:
    """Return whether two answers are too alike to be worth a person's time.

    They are where they differ only in spaces, quotation marks or the last full stop. Answers of 50
    words and more also where fewer than one word in twenty differs. In short ones a single word may
    be what matters: `3-1 is 2`.
    """
    first, second = (
        re.sub(r"[ \t]+", " ", text.translate(STRAIGHT)).strip(" \n.!") for text in (a, b)
    )
    if first == second:
        return True
    words = first.split(), second.split()
    if min(map(len, words)) < LONG:
        return False
    return difflib.SequenceMatcher(None, *words, autojunk=False).ratio() > 0.95

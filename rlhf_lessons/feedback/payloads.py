"""What can be said, and what is refused: the payload of each kind of event, as SHAPES draws it.

Places (`left`, `right`, the first rank) are those on the rater's screen; the event keeps beside
them which completions were shown there.
"""

import difflib
import json
import math
import re
import unicodedata
import uuid
from collections import namedtuple
from collections.abc import Iterable
from statistics import mean
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlhf_lessons.evaluation.votes import hands

CRITERIA = {
    "relevance": "Does it do what was asked?",
    "accuracy": "Is what it says right?",
    "clarity": "Does it read well?",
}
JUDGEMENTS = ("pair", "ranking", "scores", "demonstration")
MOST = {  # least and most answers that are shown
    "pair": (2, 2),
    "hands": (2, 2),
    "ranking": (2, 9),
    "scores": (1, 9),
    "demonstration": (0, 1),
}
CHOICES = ("left", "right", "tie", "bad")
PASSES = ("skip", "flag")
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{8,64}")
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")  # categories of characters that no name shows
# Nor these: fillers, the empty Braille cell, selectors of variants.
BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800" + "".join(map(chr, range(0xFE00, 0xFE10)))
NAME, REASON, TEXT = 40, 500, 5000  # characters at most
# Words: from here on, texts that differ in fewer than one word in twenty are too alike to compare.
LONG = 50
STRAIGHT = str.maketrans("’“”", '\'""')
# A range holds whole numbers, a tuple what may be chosen, [ ] one for each answer shown; a number
# is of characters.
SHAPES = {
    # 2 is much better; a tie and both bad have 0
    "pair": {"choice": CHOICES, "strength": range(1, 3)},
    "ranking": {"ranks": [range(1, 10)]},  # 1 is best, equal ranks are ties
    "scores": {"scores": [dict.fromkeys(CRITERIA, range(1, 8))]},
    "demonstration": {"text": TEXT},
    # A show of hands on a pair, counted by the teacher
    "hands": dict.fromkeys(CHOICES, range(1001)),
    "skip": {"reason": REASON},
    "flag": {"reason": REASON},
    "seal": {"left": float},  # a guess at a vote, made before it: P(the left answer is preferred)
    "undo": {},
    "reveal": {},
    "round": {"round": str, "state": ("open", "paused")},
    "hide": {"id": IDENTIFIER, "hidden": (True, False)},  # a rater or a completion
    "forget": {"rater": IDENTIFIER, "events": range(2**31)},  # a hash of the rater's id
}
DEFAULTS = {"strength": 1, "reason": ""} | dict.fromkeys(CHOICES, 0)


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


def plain(value: object, name: str, longest: int, empty: bool = False) -> str:
    """Return a rater's text, trimmed; Refused where it is no text, empty, too long, or no database
    can hold it.
    """
    if not isinstance(value, str):
        raise Refused(f"the {name} must be text, not {type(value).__name__}")
    value = value.strip()
    if not value and not empty:
        raise Refused(f"the {name} is empty")
    if len(value) > longest:
        raise Refused(
            f"the {name} has {len(value)} characters; at most {longest} are kept: please shorten it"
        )
    if value != storable(value):
        raise Refused(f"the {name} holds characters that are no text")
    return value


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
    whole = plain(value, what, longest=10**6, empty=True)
    return plain(on_one_line(whole), what, NAME, empty)


def free_name(name: str, taken: Iterable[str]) -> str:
    """Return the name, with a number behind it where others have it already."""
    taken = {other.casefold() for other in taken}
    free, n = name, 1
    while free.casefold() in taken:
        n += 1
        free = f"{name[: NAME - len(str(n)) - 1]} {n}"
    return free


def fit(value: object, shape: object, name: str, n: int = 0) -> object:
    """Return what is kept of a value of a shape as in SHAPES; Refused, naming the field, where it
    does not fit.
    """
    if isinstance(shape, dict):
        if isinstance(value, dict):
            return {
                inner: fit(value.get(inner, DEFAULTS.get(inner)), of, inner, n)
                for inner, of in shape.items()
            }
        wanted = f"an object with named fields: {', '.join(shape)}"
    elif isinstance(shape, list):
        if isinstance(value, list) and len(value) == n:
            return [fit(one, shape[0], name, n) for one in value]
        wanted = f"a list of {n}, one for each answer shown"
    elif isinstance(shape, int):
        return plain(value, name, shape, empty=name in DEFAULTS)
    elif isinstance(shape, re.Pattern):
        if isinstance(value, str) and shape.fullmatch(value):
            return value
        wanted = "an id of 8 to 64 letters, digits, - or _, such as a random UUID"
    elif shape is str:
        return storable(value)
    elif shape is float:
        if type(value) in (int, float) and 0 <= value <= 1:
            return value
        wanted = "a probability from 0 to 1"
    elif isinstance(shape, range):
        if type(value) is int and value in shape:  # true and false are no numbers here
            return value
        wanted = f"a whole number from {shape.start} to {shape.stop - 1}"
    else:
        if value in shape:
            return value
        wanted = f"one of {', '.join(map(str, shape))}"
    raise Refused(f"'{name}' must be {wanted}, not {value!r:.40}")


def checked_id(id: object) -> str:
    """Return the id of an event, a rater or a task; Refused where it is none."""
    return fit(id, IDENTIFIER, "id")


def checked(kind: str, payload: object, n: int = 0) -> dict:
    """Return what is kept of the payload of an event about `n` completions; Refused where it does
    not fit.
    """
    if kind == "report":
        return checked_report(payload)
    if kind not in SHAPES:
        raise Refused(
            f"there is no judgement called {kind!r:.40}; there are {', '.join(JUDGEMENTS)}, "
            "skip and flag"
        )
    least, most = MOST.get(kind, (0, 9))
    if not least <= n <= most:
        raise Refused(f"a {kind} is about {least} to {most} answers, not {n}")
    undecided = (
        kind == "pair" and isinstance(payload, dict) and payload.get("choice") in ("tie", "bad")
    )
    kept = fit({"choice": payload["choice"]} if undecided else payload, SHAPES[kind], kind, n)
    if undecided:
        kept["strength"] = 0
    if kind == "ranking":  # without gaps
        kept["ranks"] = [sorted(set(kept["ranks"])).index(rank) + 1 for rank in kept["ranks"]]
    return kept


def sound(row) -> bool:
    """Return whether an event can be read: one that was written into the file by other ways kills
    no page.
    """
    try:
        checked(row.kind, row.payload, len(row.shown or ()))
        return math.isfinite(row.time) and (row.ms is None or 0 <= row.ms < 2**31)
    except (ValueError, TypeError, AttributeError):
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
    found = {"n": len(said), "simulated": 0}
    for row in said:
        found["simulated"] += row["rater_kind"] == "simulated"
    if said and kind == "pair":
        choices = dict.fromkeys(CHOICES, 0)
        for row in said:
            turned = row["shown"] != mine["shown"]
            swap = {"left": "right", "right": "left"} if turned else {}
            for choice, n in hands(row).items():
                choices[swap.get(choice, choice)] += n
        found |= {"n": sum(choices.values()), "choices": choices}
    if said and kind in ("ranking", "scores"):
        field = "ranks" if kind == "ranking" else "scores"
        found[field] = []
        for id in mine["shown"]:
            marks = [row["payload"][field][row["shown"].index(id)] for row in said]
            if kind == "ranking":
                found[field].append(mean(marks))
            else:
                means = {name: mean(mark[name] for mark in marks) for name in CRITERIA}
                found[field].append(means)
    return found


Number = Annotated[float, Field(gt=-(2**31), lt=2**31)] | None


class Sample(BaseModel):
    """What a trainer's policy wrote, plain and the best of n."""

    prompt: str
    plain: str
    best: str


class Report(BaseModel):
    """What a trainer tells the room: any JSON object in which the fields that screens draw fit."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    round: str | None = None
    team: str | None = None
    votes: Number = None
    held_out: Number = None
    accuracy: Number = None
    low: Number = None
    high: Number = None
    ceiling: Number = None
    samples: list[Sample] | None = None
    curve: list[Annotated[list[Number], Field(min_length=2, max_length=4)]] | None = None


def checked_report(payload: object) -> dict:
    """Return a report as JSON keeps it; Refused where it is none."""
    if not isinstance(payload, dict):
        raise Refused(f"a report must be a plain JSON object, not {payload!r:.40}")
    try:
        kept = json.loads(json.dumps(payload, allow_nan=False))
        Report.model_validate(kept)
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(f"a report's '{first['loc'][0]}' does not fit: {first['msg']}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(f"a report must be a plain JSON object ({error})") from error
    return kept


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

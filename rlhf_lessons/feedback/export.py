"""What leaves the ratings store: rows that trainers take, a table, or all events.

Exports are made of current answers (`Store.answers`). What does not fit a format is counted, with
the reason.
"""

import glob
import json
import random
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import mean

from sqlalchemy import func, select

from rlhf_lessons import paths
from rlhf_lessons.data import conversation, json_lines, spreadsheet
from rlhf_lessons.evaluation.votes import compared, unusable
from rlhf_lessons.feedback.payloads import sound
from rlhf_lessons.feedback.schema import TABLES, events, of_round
from rlhf_lessons.feedback.store import Store

COLUMNS = (
    "id",
    "time",
    "round",
    "task",
    "task_kind",
    "repeat_of",
    "kind",
    "rater",
    "team",
    "seconds",
    "prompt",
    "judgement",
    "answers",
)
NOTICE = """What is kept about you, and where

- Kept: the nickname you chose, your team, and each thing you did: which answer you preferred, your
  scores, the texts and reasons you wrote, how long you looked, when, and what you undid. No
  address, e-mail, device or location.
- Where: in one database, {where}. Nothing is sent anywhere else. Anyone with access can read it.
- What for: to train a small reward model in class, and to show how well people agree. While you
  rate, nobody is shown your votes under your name; the room sees counts. The teacher can export
  what is in the database.
- Leaving: you may stop at any time. `python -m rlhf_lessons ratings forget "your name"` deletes all
  that is about you; only that somebody was deleted is noted. Copies and exports made before must be
  deleted by whoever made them.
- Use a nickname that is not your name, and write nothing private."""


def anonymous_names(raters: Iterable[str]) -> dict[str, str]:
    """Return {rater: `rater 1` and so on}, numbered at random."""
    drawn = list(raters)
    random.SystemRandom().shuffle(drawn)
    return {rater: f"rater {n}" for n, rater in enumerate(drawn, 1)}


def label_raters(answers: list[dict], anonymous: bool = False) -> dict[str, str]:
    """Return what each rater is called in an export."""
    names = {row["rater"]: row["name"] for row in answers}
    if anonymous:
        return anonymous_names(names)
    often = Counter(names.values())
    return {
        rater: name if often[name] == 1 else f"{name} {rater[:6]}" for rater, name in names.items()
    }


def preferences(answer: dict) -> Iterator[dict | str]:
    """Yield TRL preference rows: {"chosen", "rejected", "ended": [bool, bool], "strength",
    "group"}.

    A ranking of K gives its C(K,2) pairs, less ties, in one group; strength is the grade of a pair,
    or a difference of ranks.
    """
    for i, j, lead in compared(answer):
        if not lead:
            yield "both bad" if lead is None else "a tie"
            continue
        sides = answer["answers"][i], answer["answers"][j]
        chosen, rejected = sides if lead > 0 else reversed(sides)
        if (chosen["text"], chosen["ended"]) == (rejected["text"], rejected["ended"]):
            yield "identical texts"
            continue
        yield {
            "chosen": chosen["text"],
            "rejected": rejected["text"],
            "ended": [chosen["ended"], rejected["ended"]],
            "strength": abs(lead),
            "group": answer["id"],
        }


def unpaired(answer: dict) -> Iterator[dict | str]:
    """Yield TRL unpaired rows: {"completion", "label", "ended"}.

    Good is what won and did not lose, so a ranking's first, or has a mean score of 5 or more; bad
    is what lost and did not win, both of "both bad" too, or has 3 or less.
    """
    won, lost = set(), set()
    if answer["kind"] == "scores":
        for place, scores in enumerate(answer["payload"]["scores"]):
            if mean(scores.values()) >= 5:
                won.add(place)
            if mean(scores.values()) <= 3:
                lost.add(place)
    else:
        for i, j, lead in compared(answer):
            if lead is None:
                lost |= {i, j}
            elif lead:
                won.add(i if lead > 0 else j)
                lost.add(j if lead > 0 else i)
    for place, text in enumerate(answer["answers"]):
        label = place in won
        if label == (place in lost):
            yield "a tie or in the middle"
        else:
            yield {"completion": text["text"], "label": label, "ended": text["ended"]}


def rankings(answer: dict) -> Iterator[dict]:
    """Yield {"completions", "ranks" (1 is best), "ended", "group"}."""
    yield {
        "completions": [text["text"] for text in answer["answers"]],
        "ranks": answer["payload"]["ranks"],
        "ended": [text["ended"] for text in answer["answers"]],
        "group": answer["id"],
    }


def demonstrations(answer: dict) -> Iterator[dict]:
    """Yield {"completion"}, as supervised fine-tuning reads it."""
    yield {"completion": answer["payload"]["text"]}


# What the rows hold, which kinds of answers hold it, and what yields an answer's rows, or in words
# why it has none
FORMATS = {
    "preference": ("comparison", ("pair", "hands", "ranking"), preferences),
    "unpaired": ("judgement of one text", ("pair", "ranking", "scores"), unpaired),
    "rankings": ("ranking", ("ranking",), rankings),
    "demonstrations": ("demonstration", ("demonstration",), demonstrations),
}


# TRL's trainer of each format; DPOTrainer takes preferences, too
TRAINERS = {"preference": "Reward", "unpaired": "KTO", "demonstrations": "SFT"}


def training_rows(
    answers: list[dict], format: str, anonymous: bool = False
) -> tuple[list[dict], dict[str, int]]:
    """Return the rows of one of FORMATS, each with its "prompt", "rater" and "team", and how much
    was left out for which reason.
    """
    content, kinds, rows_of_answer = FORMATS[format]
    rows, left_out = [], Counter()
    names = label_raters(answers, anonymous)
    for answer in answers:
        reason = unusable(answer)
        if not reason and answer["kind"] not in kinds:
            reason = f"no {content} ({answer['kind']})"
        for row in [reason] if reason else rows_of_answer(answer):
            if isinstance(row, str):
                left_out[row] += 1
            else:
                who = {"rater": names[answer["rater"]], "team": answer["team"]}
                rows.append({"prompt": answer["prompt"], **row, **who})
    return rows, dict(left_out)


def table(answers: list[dict], anonymous: bool = False) -> tuple[list[dict], dict[str, int]]:
    """Return all current answers, a row of COLUMNS each, and how much was left out for which
    reason; `judgement` and `answers` hold JSON, in the order shown.
    """
    names = label_raters(answers, anonymous)
    rows = []
    for row in answers:
        if row["hidden"]:
            continue
        texts = [{name: one[name] for name in ("text", "ended", "model")} for one in row["answers"]]
        cells = {
            "rater": names[row["rater"]],
            "time": "" if anonymous else row["time"],
            "seconds": None if row["ms"] is None else row["ms"] / 1000,
            "judgement": json.dumps(payload_of(row, anonymous), ensure_ascii=False),
            "answers": json.dumps(texts, ensure_ascii=False),
        }
        rows.append(row | cells)
    hidden = len(answers) - len(rows)
    return rows, {"hidden by the teacher": hidden} if hidden else {}


def payload_of(row: dict, anonymous: bool) -> dict:
    """Return an event's payload; anonymous, without the reason, which is in people's own words."""
    return {"reason": ""} if anonymous and "reason" in row["payload"] else row["payload"]


def rows_of(store: Store) -> Iterator[dict]:
    """Yield all rows of all tables, {"table": name, ...}, each after those it points to, events in
    their order.
    """
    with store.read() as c:
        for table in TABLES.values():
            (number,) = table.primary_key
            place = table.c.get("place", number)  # a repeat comes after its task
            for row in c.execute(select(table).order_by(place, number)):
                yield {"table": table.name} | row._asdict()


def everything(store: Store, anonymous: bool = False) -> list[dict]:
    """Return the rows of `rows_of`: nothing is lost.

    Anonymous, raters are called `rater 1` and so on under new ids, times count from the first
    event, and reasons, which are in people's own words, are left out. Demonstrations stay.
    """
    rows = list(rows_of(store))
    if not anonymous:
        return rows
    names = anonymous_names(row["id"] for row in rows if row["table"] == "rater")
    ids = {old: secrets.token_hex(16) for old in names}
    start = min((row["time"] for row in rows if "time" in row), default=0.0)
    for row in rows:
        if row["table"] == "rater":
            row |= {"id": ids[row["id"]], "name": names[row["id"]]}
        elif row["table"] == "event":
            payload = payload_of(row, True)
            if row["kind"] == "hide":
                payload["id"] = ids.get(payload["id"], payload["id"])
            row |= {"rater": ids.get(row["rater"]), "time": row["time"] - start, "payload": payload}
    return rows


def for_trl(rows: list[dict], left_out: dict[str, int]) -> list[dict]:
    """Return the rows that TRL's trainers read as ours do; count the others in `left_out`.

    TRL puts an end token after every answer, so its models would learn to end where an answer was
    cut off.
    """
    whole = []
    for row in rows:
        ended = row.pop("ended", True)
        if ended is True or ended == [True, True]:
            whole.append(conversation(row))
    if cut := len(rows) - len(whole):
        left_out["an answer without an end token, which TRL would add"] = cut
    return whole


def trainer(format: str) -> str:
    """Return the name of TRL's trainer for a format; ValueError where there is none."""
    if format not in TRAINERS:
        raise ValueError(f"TRL has no trainer for {format}; choose from {', '.join(TRAINERS)}")
    return TRAINERS[format]


def snippet(format: str, file: Path) -> str:
    """Return Python code that trains our SFT model with TRL on a file that `written` made."""
    name = trainer(format)
    return f"""\
from datasets import load_dataset
from trl import {name}Config, {name}Trainer

trainer = {name}Trainer(
    model={str(paths.DATA / "checkpoints" / "sft")!r},
    args={name}Config(output_dir={str(paths.RUNS / "trl")!r}, bf16=False),
    train_dataset=load_dataset("json", data_files={glob.escape(str(file))!r}, split="train"),
)
trainer.train()
trainer.save_model()"""


def taken_back(store: Store, round: str | None = None) -> int:
    """Return how many answers were undone or replaced: they are in no export but `everything`."""
    query = of_round(select(func.count(events.c.replaces)), round)
    with store.read() as c:
        return c.scalar(query)


def reports(store: Store) -> list[dict]:
    """Return what trainers told the room, the oldest first: {"seq", "time", **payload}."""
    said = select(events).filter_by(kind="report").order_by(events.c.seq)
    with store.read() as c:
        rows = c.execute(said).all()
    return [row.payload | {"seq": row.seq, "time": row.time} for row in rows if sound(row)]


def written(
    store: Store,
    format: str,
    round: str | None = None,
    anonymous: bool = False,
    to: str | None = None,
) -> tuple[str, int, dict[str, int]]:
    """Return the text of a file, its number of rows, and what is left out; formats are FORMATS,
    "csv", "events". To "trl" go those that have a `trainer` there.
    """
    if format == "events":
        rows = everything(store, anonymous)
        return json_lines(rows), len(rows), {}
    answers = store.answers(round)
    if format == "csv":
        rows, left_out = table(answers, anonymous)
        text = spreadsheet(COLUMNS, rows)
    else:
        rows, left_out = training_rows(answers, format, anonymous)
        if to == "trl":
            rows = for_trl(rows, left_out)
        text = json_lines(rows)
    if gone := taken_back(store, round):
        left_out["undone or changed"] = gone
    return text, len(rows), left_out

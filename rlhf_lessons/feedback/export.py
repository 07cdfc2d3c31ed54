"""What leaves the store: training data in the field's formats, a table for a spreadsheet, or everything.

Each format is made of current answers (`Store.answers`). What does not fit is counted, with the reason: nothing is
left out unseen.
"""

import csv
import io
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator

from sqlalchemy import func, select

from rlhf_lessons.evaluation.votes import compared
from rlhf_lessons.feedback.schema import FOREVER, TABLES, events, tasks
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
FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "＝",
    "＋",
    "－",
    "＠",
    "'",
)  # a spreadsheet might obey, or hide
NOTICE = """What is kept about you, and where

- Kept: the nickname you chose, your team, and each thing you did: which answer you preferred, your scores, the texts
  and reasons you wrote, how long you looked, when, and what you undid. No address, e-mail, device or location.
- Where: in one database, {where}. Nothing is sent anywhere else. Whoever has that file can read it.
- What for: to train a small reward model in class, and to show how well people agree. While you rate, nobody is
  shown your votes under your name; the room sees counts. The teacher can export what is in the file.
- Leaving: you may stop at any time. `python -m rlhf_lessons ratings forget "your name"` deletes all that is about
  you; only that somebody was deleted is noted. Copies and exports made before must be deleted by whoever made them.
- Use a nickname that is not your name, and write nothing private."""


def label_raters(answers: list[dict], anonymous: bool = False) -> dict[str, str]:
    """Return what each rater is called in an export: the name, or `rater 1` and so on, in an order drawn by lot."""
    names = {row["rater"]: row["name"] for row in answers}
    if anonymous:
        drawn = sorted(names, key=lambda _: secrets.token_hex(8))
        return {rater: f"rater {n}" for n, rater in enumerate(drawn, 1)}
    often = Counter(names.values())
    return {
        rater: name if often[name] == 1 else f"{name} {rater[:6]}" for rater, name in names.items()
    }


def unusable(row: dict) -> str | None:
    """Return why nothing can be learned from an answer, or None."""
    return (
        "hidden by the teacher"
        if row["hidden"]
        else {"skip": "skipped", "flag": "flagged"}.get(row["kind"])
        or ("a repeat, which measures the rater" if row["repeat_of"] else None)
        or ("a guess at who wrote it" if row["source"] == "guess" else None)
    )


def collect(
    answers: list[dict], anonymous: bool, parts: Callable
) -> tuple[list[dict], dict[str, int]]:
    """Return rows of a format, and how much was left out for which reason.

    `parts(row)` yields for each part of an answer its fields of the format, or in words why it has no place there.
    """
    rows, left_out, names = [], Counter(), label_raters(answers, anonymous)
    for row in answers:
        reason = unusable(row)
        for part in [reason] if reason else parts(row):
            if isinstance(part, str):
                left_out[part] += 1
            else:
                rows.append(
                    {
                        "prompt": row["prompt"],
                        **part,
                        "rater": names[row["rater"]],
                        "team": row["team"],
                    }
                )
    return rows, dict(left_out)


def preferences(answers: list[dict], anonymous: bool = False) -> tuple[list[dict], dict[str, int]]:
    """Return TRL preference rows, and how much was left out for which reason.

    A row is {"prompt", "chosen", "rejected", "ended": [bool, bool], "strength", "rater", "team", "group"}. A ranking
    of K gives its C(K,2) pairs, less ties, in one group; strength is the grade of a pair, or a difference of ranks.
    """

    def parts(row: dict) -> Iterator[dict | str]:
        if row["kind"] in ("scores", "demonstration"):
            yield f"no comparison ({row['kind']})"
        for i, j, lead in compared(row["kind"], row["payload"]):
            chosen, rejected = (
                row["answers"][place] for place in ((i, j) if (lead or 0) > 0 else (j, i))
            )
            if not lead:
                yield "both bad" if lead is None else "a tie"
            elif (chosen["text"], chosen["ended"]) == (rejected["text"], rejected["ended"]):
                yield "identical texts"
            else:
                yield {
                    "chosen": chosen["text"],
                    "rejected": rejected["text"],
                    "group": row["id"],
                    "ended": [chosen["ended"], rejected["ended"]],
                    "strength": abs(lead),
                }

    return collect(answers, anonymous, parts)


def unpaired(answers: list[dict], anonymous: bool = False) -> tuple[list[dict], dict[str, int]]:
    """Return TRL unpaired rows, {"prompt", "completion", "label", "ended", "rater", "team"}, and what was left out.

    Good is who won a pair or came first in a ranking, or has a mean score of 5 or more; bad is who lost, came last,
    or has 3 or less, and both of "both bad".
    """

    def labels(kind: str, payload: dict) -> list[bool | None]:
        if kind == "pair":
            return {"left": [True, False], "right": [False, True], "bad": [False, False]}.get(
                payload["choice"], [None, None]
            )
        if kind == "ranking":
            worst = max(payload["ranks"])
            return [
                None if worst == 1 else {1: True, worst: False}.get(rank)
                for rank in payload["ranks"]
            ]
        means = [sum(marks.values()) / len(marks) for marks in payload["scores"]]
        return [True if mean >= 5 else False if mean <= 3 else None for mean in means]

    def parts(row: dict) -> Iterator[dict | str]:
        if row["kind"] not in ("pair", "ranking", "scores"):
            yield f"no judgement of one text ({row['kind']})"
            return
        for answer, label in zip(row["answers"], labels(row["kind"], row["payload"]), strict=True):
            yield (
                "a tie or in the middle"
                if label is None
                else {"completion": answer["text"], "label": label, "ended": answer["ended"]}
            )

    return collect(answers, anonymous, parts)


def rankings(answers: list[dict], anonymous: bool = False) -> tuple[list[dict], dict[str, int]]:
    """Return {"prompt", "completions", "ranks" (1 is best), "ended", "rater", "team", "group"} of each ranking."""
    return collect(
        answers,
        anonymous,
        lambda row: [
            {
                "completions": [answer["text"] for answer in row["answers"]],
                "ranks": row["payload"]["ranks"],
                "ended": [answer["ended"] for answer in row["answers"]],
                "group": row["id"],
            }
            if row["kind"] == "ranking"
            else f"no ranking ({row['kind']})"
        ],
    )


def demonstrations(
    answers: list[dict], anonymous: bool = False
) -> tuple[list[dict], dict[str, int]]:
    """Return {"prompt", "completion", "rater", "team"} of each demonstration, as supervised fine-tuning reads them."""
    return collect(
        answers,
        anonymous,
        lambda row: [
            {"completion": row["payload"]["text"]}
            if row["kind"] == "demonstration"
            else f"no demonstration ({row['kind']})"
        ],
    )


def safe_cell(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula: such texts begin with an apostrophe."""
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(FORMULA) else text


def table(answers: list[dict], anonymous: bool = False) -> tuple[str, dict[str, int]]:
    """Return all current answers as CSV, a row each; `judgement` and `answers` hold JSON, in the order shown."""
    names, file = label_raters(answers, anonymous), io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    shown = [row for row in answers if not row["hidden"]]
    for row in shown:
        payload = {"reason": ""} if anonymous and "reason" in row["payload"] else row["payload"]
        texts = [
            {field: answer[field] for field in ("text", "ended", "model")}
            for answer in row["answers"]
        ]
        cells = row | {
            "rater": names[row["rater"]],
            "time": "" if anonymous else row["time"],
            "seconds": None if row["ms"] is None else row["ms"] / 1000,
            "judgement": json.dumps(payload, ensure_ascii=False),
            "answers": json.dumps(texts, ensure_ascii=False),
        }
        writer.writerow([safe_cell(cells[column]) for column in COLUMNS])
    return file.getvalue(), {"hidden by the teacher": len(answers) - len(shown)} if len(
        shown
    ) < len(answers) else {}


def everything(store: Store, anonymous: bool = False) -> list[dict]:
    """Return all rows of all tables, {"table": name, ...}, events in their order: nothing is lost.

    Anonymous, raters are called `rater 1` and so on under new ids, times count from the first event, and reasons,
    which are in people's own words, are left out. Demonstrations stay.
    """
    with store.read() as c:
        rows = [
            {"table": table.name} | row._asdict()
            for table in TABLES.values()
            for row in c.execute(select(table).order_by(*table.primary_key))
        ]
    if not anonymous:
        return rows
    ids = sorted(
        (row["id"] for row in rows if row["table"] == "rater"), key=lambda _: secrets.token_hex(8)
    )
    new = {old: (secrets.token_hex(16), f"rater {n}") for n, old in enumerate(ids, 1)}
    start = min((row["time"] for row in rows if "time" in row), default=0.0)
    for row in rows:
        if row["table"] == "rater":
            row["id"], row["name"] = new[row["id"]]
        if row.get("rater"):
            row["rater"] = new[row["rater"]][0]
        if "time" in row:
            row["time"] -= start
        if row.get("lease", FOREVER) < FOREVER:
            row["lease"] = 0.0
        if "reason" in row.get("payload", {}):
            row["payload"] = {"reason": ""}
        if row.get("kind") == "hide" and row["payload"]["id"] in new:
            row["payload"] = row["payload"] | {"id": new[row["payload"]["id"]][0]}
    return rows


def taken_back(store: Store, round: str | None = None) -> int:
    """Return how many answers were undone or replaced: they are in no export but `everything`."""
    query = select(func.count()).select_from(events).where(events.c.replaces.isnot(None))
    if round is not None:
        query = query.join(tasks, tasks.c.id == events.c.task).where(tasks.c.round == round)
    with store.read() as c:
        return c.execute(query).scalar()


FORMATS = {
    "preference": preferences,
    "unpaired": unpaired,
    "rankings": rankings,
    "demonstrations": demonstrations,
}


def written(
    store: Store, format: str, round: str | None = None, anonymous: bool = False
) -> tuple[str, int, dict[str, int]]:
    """Return the text of a file, its number of rows, and what is left out; formats are FORMATS, "csv", "events"."""
    if format == "events":
        rows, left_out = everything(store, anonymous), {}
    else:
        answers = store.answers(round)
        gone = {"undone or changed": n} if (n := taken_back(store, round)) else {}
        if format == "csv":
            text, left_out = table(
                answers, anonymous
            )  # the mark before it tells Excel that it is UTF-8
            return "\ufeff" + text, len(answers) - sum(left_out.values()), left_out | gone
        rows, left_out = FORMATS[format](answers, anonymous)
        left_out |= gone
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), len(rows), left_out

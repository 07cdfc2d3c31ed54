"""What leaves the ratings store: rows that trainers take, a table, or all events.

Exports are made of current answers (`Store.answers`). What does not fit a format is counted, with
the reason.
"""

import csv
import io
import json
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from sqlalchemy import func, select

from rlhf_lessons.evaluation.votes import compared, unusable
from rlhf_lessons.feedback.schema import FOREVER, TABLES, events
from rlhf_lessons.feedback.store import Store, of_round

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
FORMULA = "=+\\-@＝＋－＠'"  # a spreadsheet might obey such a cell, or hide the first letter
# Where a cell begins, also for a spreadsheet that splits lines at other signs than commas
BEGIN = r"(?:^|[;\t\r\n])[\"\s]*"
NOTICE = """What is kept about you, and where

- Kept: the nickname you chose, your team, and each thing you did: which answer you preferred, your
  scores, the texts and reasons you wrote, how long you looked, when, and what you undid. No
  address, e-mail, device or location.
- Where: in one database, {where}. Nothing is sent anywhere else. Whoever has that file can read it.
- What for: to train a small reward model in class, and to show how well people agree. While you
  rate, nobody is shown your votes under your name; the room sees counts. The teacher can export
  what is in the file.
- Leaving: you may stop at any time. `python -m rlhf_lessons ratings forget "your name"` deletes all
  that is about you; only that somebody was deleted is noted. Copies and exports made before must be
  deleted by whoever made them.
- Use a nickname that is not your name, and write nothing private."""


def anonymous_names(raters: Iterable[str]) -> dict[str, str]:
    """Return {rater: `rater 1` and so on}, numbered at random."""
    drawn = sorted(raters, key=lambda _: secrets.token_hex(8))
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


def collect(
    answers: list[dict],
    anonymous: bool,
    wanted: str,
    parts: dict[str, Callable[[dict], Iterable[dict | str]]],
) -> tuple[list[dict], dict[str, int]]:
    """Return rows of a format, and how much was left out for which reason.

    For each kind of answer in which there is what is `wanted`, `parts[kind](answer)` gives the
    fields of each row, or in words why it has no place there.
    """
    rows, left_out = [], Counter()
    names = label_raters(answers, anonymous)
    for row in answers:
        reason = unusable(row)
        if not reason and row["kind"] not in parts:
            reason = f"no {wanted} ({row['kind']})"
        who = {"rater": names[row["rater"]], "team": row["team"]}
        for part in [reason] if reason else parts[row["kind"]](row):
            if isinstance(part, str):
                left_out[part] += 1
            else:
                rows.append({"prompt": row["prompt"], **part, **who})
    return rows, dict(left_out)


def preferences(answers: list[dict], anonymous: bool = False) -> tuple[list[dict], dict[str, int]]:
    """Return TRL preference rows, and how much was left out for which reason.

    A row is {"prompt", "chosen", "rejected", "ended": [bool, bool], "strength", "rater", "team",
    "group"}. A ranking of K gives its C(K,2) pairs, less ties, in one group; strength is the grade
    of a pair, or a difference of ranks.
    """

    def parts(row: dict) -> Iterator[dict | str]:
        for i, j, lead in compared(row):
            if not lead:
                yield "both bad" if lead is None else "a tie"
                continue
            chosen, rejected = row["answers"][i], row["answers"][j]
            if lead < 0:
                chosen, rejected = rejected, chosen
            if (chosen["text"], chosen["ended"]) == (rejected["text"], rejected["ended"]):
                yield "identical texts"
                continue
            yield {
                "chosen": chosen["text"],
                "rejected": rejected["text"],
                "group": row["id"],
                "ended": [chosen["ended"], rejected["ended"]],
                "strength": abs(lead),
            }

    kinds = dict.fromkeys(("pair", "hands", "ranking"), parts)
    return collect(answers, anonymous, "comparison", kinds)


def unpaired(answers: list[dict], anonymous: bool = False) -> tuple[list[dict], dict[str, int]]:
    """Return TRL unpaired rows, {"prompt", "completion", "label", "ended", "rater", "team"}, and
    what was left out.

    Good is who won a pair or came first in a ranking, or has a mean score of 5 or more; bad is who
    lost, came last, or has 3 or less, and both of "both bad".
    """

    def labels(kind: str, payload: dict) -> list[bool | None]:
        if kind == "pair":
            sides = {"left": [True, False], "right": [False, True], "bad": [False, False]}
            return sides.get(payload["choice"], [None, None])
        if kind == "ranking":
            marks, good, bad = [-rank for rank in payload["ranks"]], -1, -max(payload["ranks"])
        else:
            marks = [sum(each.values()) / len(each) for each in payload["scores"]]
            good, bad = 5, 3
        if good == bad:  # all are equal
            return [None] * len(marks)
        return [mark >= good if mark >= good or mark <= bad else None for mark in marks]

    def parts(row: dict) -> Iterator[dict | str]:
        for answer, label in zip(row["answers"], labels(row["kind"], row["payload"]), strict=True):
            if label is None:
                yield "a tie or in the middle"
            else:
                yield {"completion": answer["text"], "label": label, "ended": answer["ended"]}

    kinds = dict.fromkeys(("pair", "ranking", "scores"), parts)
    return collect(answers, anonymous, "judgement of one text", kinds)


def rankings(answers: list[dict], anonymous: bool = False) -> tuple[list[dict], dict[str, int]]:
    """Return {"prompt", "completions", "ranks" (1 is best), "ended", "rater", "team", "group"} of
    each ranking.
    """

    def parts(row: dict) -> Iterator[dict]:
        yield {
            "completions": [answer["text"] for answer in row["answers"]],
            "ranks": row["payload"]["ranks"],
            "ended": [answer["ended"] for answer in row["answers"]],
            "group": row["id"],
        }

    return collect(answers, anonymous, "ranking", {"ranking": parts})


def demonstrations(
    answers: list[dict], anonymous: bool = False
) -> tuple[list[dict], dict[str, int]]:
    """Return {"prompt", "completion", "rater", "team"} of each demonstration, as supervised
    fine-tuning reads them.
    """

    def parts(row: dict) -> Iterator[dict]:
        yield {"completion": row["payload"]["text"]}

    return collect(answers, anonymous, "demonstration", {"demonstration": parts})


FORMATS = {
    "preference": preferences,
    "unpaired": unpaired,
    "rankings": rankings,
    "demonstrations": demonstrations,
}


def safe_cell(value: object) -> str:
    """Return a cell in which no spreadsheet finds a formula: an apostrophe stands before what looks
    like one.
    """
    text = "" if value is None else str(value)
    return re.sub(f"({BEGIN})(?=[{FORMULA}])", r"\1'", text)


def raw_cell(cell: str) -> str:
    """Return what `safe_cell` was given."""
    return re.sub(f"({BEGIN})'(?=[{FORMULA}])", r"\1", cell)


def table(answers: list[dict], anonymous: bool = False) -> tuple[str, dict[str, int]]:
    """Return all current answers as CSV, a row each; `judgement` and `answers` hold JSON, in the
    order shown.
    """
    names = label_raters(answers, anonymous)
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    left_out = Counter()
    for row in answers:
        if row["hidden"]:
            left_out["hidden by the teacher"] += 1
            continue
        texts = [{name: one[name] for name in ("text", "ended", "model")} for one in row["answers"]]
        cells = row | {
            "rater": names[row["rater"]],
            "time": "" if anonymous else row["time"],
            "seconds": None if row["ms"] is None else row["ms"] / 1000,
            "judgement": json.dumps(payload_of(row, anonymous), ensure_ascii=False),
            "answers": json.dumps(texts, ensure_ascii=False),
        }
        writer.writerow([safe_cell(cells[column]) for column in COLUMNS])
    return file.getvalue(), dict(left_out)


def payload_of(row: dict, anonymous: bool) -> dict:
    """Return an event's payload; anonymous, without the reason, which is in people's own words."""
    return {"reason": ""} if anonymous and "reason" in row["payload"] else row["payload"]


def rows_of(store: Store) -> Iterator[dict]:
    """Yield all rows of all tables, {"table": name, ...}, each after those it points to, events in
    their order.
    """
    with store.read() as c:
        for table in TABLES.values():
            for row in c.execute(select(table).order_by(*table.primary_key)):
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
            row["name"] = names[row["id"]]
            row["id"] = ids[row["id"]]
        elif row["table"] == "assignment":
            row["rater"] = ids[row["rater"]]
            if row["lease"] < FOREVER:
                row["lease"] = 0.0
        elif row["table"] == "event":
            row["rater"] = ids.get(row["rater"])
            row["time"] -= start
            row["payload"] = payload_of(row, True)
            if row["kind"] == "hide":
                about = row["payload"]["id"]
                row["payload"] = row["payload"] | {"id": ids.get(about, about)}
    return rows


def taken_back(store: Store, round: str | None = None) -> int:
    """Return how many answers were undone or replaced: they are in no export but `everything`."""
    query = select(func.count()).select_from(events).where(events.c.replaces.isnot(None))
    with store.read() as c:
        return c.scalar(of_round(query, round))


def written(
    store: Store, format: str, round: str | None = None, anonymous: bool = False
) -> tuple[str, int, dict[str, int]]:
    """Return the text of a file, its number of rows, and what is left out; formats are FORMATS,
    "csv", "events".
    """
    if format == "events":
        rows = everything(store, anonymous)
        return json_lines(rows), len(rows), {}
    answers = store.answers(round)
    gone = taken_back(store, round)
    undone = {"undone or changed": gone} if gone else {}
    if format == "csv":
        text, left_out = table(answers, anonymous)
        # The mark before it tells Excel that it is UTF-8
        return "\ufeff" + text, len(answers) - sum(left_out.values()), left_out | undone
    rows, left_out = FORMATS[format](answers, anonymous)
    return json_lines(rows), len(rows), left_out | undone


def json_lines(rows: Iterable[dict]) -> str:
    """Return rows as JSON, one on each line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

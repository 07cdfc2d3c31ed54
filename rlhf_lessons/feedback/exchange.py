"""What leaves the ratings store and what comes into it: export, import, merge, and forgetting a
rater.

Exports are made of current answers (`Store.answers`); what does not fit a format is counted, with
the reason. Every event has an id, so that what is imported twice counts once. A file with a row
that does not fit is refused by its number and field, before anything of it is kept. What would
delete or change what is here is done only if asked for.
"""

import csv
import io
import json
import math
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from sqlalchemy import delete, func, or_, select
from sqlalchemy.exc import StatementError

from rlhf_lessons.data import DataError, parsed, text_row
from rlhf_lessons.evaluation.votes import compared
from rlhf_lessons.feedback.payloads import (
    CRITERIA,
    JUDGEMENTS,
    MOST,
    NAME,
    Refused,
    checked,
    fit,
    on_one_line,
)
from rlhf_lessons.feedback.queue import LEASE, follow, task_rows
from rlhf_lessons.feedback.schema import (
    FOREVER,
    TABLES,
    assignments,
    events,
    in_short,
    insert_new,
    key,
    raters,
    tasks,
)
from rlhf_lessons.feedback.store import Store, room_of

# What a row of any shape may raise
MISFIT = (ValueError, KeyError, TypeError, AttributeError, OverflowError)
PORTION = 200  # rows in one transaction of an import: others wait for no more
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


def label_raters(answers: list[dict], anonymous: bool = False) -> dict[str, str]:
    """Return what each rater is called in an export: the name, or `rater 1` and so on, in an order
    drawn at random.
    """
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

    `parts(row)` yields for each part of an answer its fields of the format, or in words why it has
    no place there.
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

    A row is {"prompt", "chosen", "rejected", "ended": [bool, bool], "strength", "rater", "team",
    "group"}. A ranking of K gives its C(K,2) pairs, less ties, in one group; strength is the grade
    of a pair, or a difference of ranks.
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
    """Return TRL unpaired rows, {"prompt", "completion", "label", "ended", "rater", "team"}, and
    what was left out.

    Good is who won a pair or came first in a ranking, or has a mean score of 5 or more; bad is who
    lost, came last, or has 3 or less, and both of "both bad".
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
    """Return {"prompt", "completions", "ranks" (1 is best), "ended", "rater", "team", "group"} of
    each ranking.
    """
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
    """Return {"prompt", "completion", "rater", "team"} of each demonstration, as supervised
    fine-tuning reads them.
    """
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
    """Return the text of a file, its number of rows, and what is left out; formats are FORMATS,
    "csv", "events".
    """
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


# Import


def load(
    store: Store, path: str | Path, round: str = "imported", forget: bool = False
) -> dict[str, int]:
    """Import a file of any format that `written` gives, or another ratings file; return what
    `merge` does.

    Rows of TRL's formats, rankings and demonstrations go into the round named. DataError names the
    row.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with open(path, "rb") as file:
        database = file.read(15) == b"SQLite format 3"
    if database:
        with closing(Store(path, readonly=True)) as other:
            return merge(store, lambda: rows_of(other), str(path), forget)
    table = path.suffix.lower() == ".csv"
    try:
        first = next(iter(from_csv(path) if table else rows_in(path)), None)
        if first is None:
            raise DataError(f"{path}: holds no rows")
        if "table" in first:
            return merge(store, lambda: rows_in(path), str(path), forget)
        judgements = from_csv(path) if table else from_rows(rows_in(path), str(path), round)
        return add(store, list(judgements), str(path))
    except (csv.Error, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: this is no table, or no JSONL, in UTF-8 ({error})") from error


def rows_in(path: Path) -> Iterator[dict]:
    """Yield the rows of a JSONL file one by one; DataError names the line that is none."""
    with open(path, encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield parsed(line.strip(), f"{path}, row {number}")


def from_rows(rows: Iterable[dict], where: str, round: str) -> Iterator[dict]:
    """Yield a judgement for each row of the field's formats; a preference group that is a ranking
    becomes one.
    """
    groups, seen = {}, Counter()
    for n, row in enumerate(rows, 1):
        row = text_row(row, f"{where}, row {n}")
        paired = "chosen" in row and row.get("group") is not None
        place = (
            json.dumps([row.get("prompt"), row["group"], row.get("rater")], default=str)
            if paired
            else n
        )
        groups.setdefault(place, []).append((n, row))
    for members in groups.values():
        n = members[0][0]
        try:
            if len(members) > 1 and (ranking := as_ranking([row for _, row in members])):
                members = [(n, ranking)]
            for n, row in members:
                made = judgement(row)
                content = key(round, made)
                seen[content] += 1  # equal rows of one file are different votes
                yield made | {"id": key(content, seen[content]), "round": round, "row": n}
        except MISFIT as error:
            raise DataError(
                f"{where}, row {n}: it is neither a comparison, a ranking, a labelled completion "
                f"nor a demonstration ({type(error).__name__}: {error})"
            ) from error


def judgement(row: dict) -> dict:
    """Return {"kind", "prompt", "completions", "payload", "rater", "team"} of one row; KeyError
    where it is none.
    """
    if "ranks" in row:
        texts, kind, payload = row["completions"], "ranking", {"ranks": row["ranks"]}
    elif "chosen" in row:
        strength = 2 if isinstance(row.get("strength"), int | float) and row["strength"] > 1 else 1
        texts, kind, payload = (
            [row["chosen"], row["rejected"]],
            "pair",
            {"choice": "left", "strength": strength},
        )
    elif "label" in row:
        if not isinstance(row["label"], bool):
            raise TypeError("a label must be true or false")
        marks = dict.fromkeys(CRITERIA, 7 if row["label"] else 1)
        texts, kind, payload = [row["completion"]], "scores", {"scores": [marks]}
    else:
        texts, kind, payload = [], "demonstration", {"text": row["completion"]}
    ended = row.get("ended", True)
    ended = ended if isinstance(ended, list) else [ended] * len(texts)
    return {
        "kind": kind,
        "prompt": row["prompt"],
        "payload": payload,
        "rater": str(row.get("rater") or "imported"),
        "team": str(row.get("team") or ""),
        "completions": [
            {"text": text, "ended": end} for text, end in zip(texts, ended, strict=True)
        ],
    }


def as_ranking(rows: list[dict]) -> dict | None:
    """Return the ranking of which these preference rows are all the pairs, or None where they are
    not.
    """
    wins, said = Counter(), Counter()
    for row in rows:
        ended = row.get("ended") or (True, True)
        better, worse = (row["chosen"], ended[0]), (row["rejected"], ended[1])
        wins.update({better: 1, worse: 0})
        said[better, worse] += 1
    texts, order = list(wins), sorted(set(wins.values()), reverse=True)
    ranks = [order.index(wins[text]) + 1 for text in texts]
    meant = Counter(
        (texts[i], texts[j]) if lead > 0 else (texts[j], texts[i])
        for i, j, lead in compared("ranking", {"ranks": ranks})
        if lead
    )
    if said != meant or len(texts) > MOST["ranking"][1]:
        return None
    return rows[0] | {
        "completions": [text for text, _ in texts],
        "ended": [end for _, end in texts],
        "ranks": ranks,
    }


def from_csv(path: Path) -> Iterator[dict]:
    """Yield the judgements of a table that `export.table` wrote."""
    csv.field_size_limit(2**31 - 1)
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if missing := set(COLUMNS) - set(rows.fieldnames or ()):
            raise DataError(
                f"{path}: the column '{sorted(missing)[0]}' is missing; a table has "
                f"{', '.join(COLUMNS)}"
            )
        for n, row in enumerate(rows, 2):
            row = {name: raw_cell(row[name] or "") for name in COLUMNS}
            try:
                yield row | {
                    "payload": json.loads(row["judgement"]),
                    "completions": json.loads(row["answers"]),
                    "repeat_of": row["repeat_of"] or None,
                    "row": n,
                    "time": float(row["time"] or 0),
                    "ms": round(float(row["seconds"]) * 1000) if row["seconds"] else None,
                }
            except (ValueError, OverflowError) as error:
                raise DataError(f"{path}, row {n}: a cell cannot be read ({error})") from error


def add(store: Store, judgements: list[dict], where: str) -> dict[str, int]:
    """Add judgements with the tasks and raters that they are about; return what `merge` does."""
    seen, about = Counter(), {}
    for said in judgements:
        try:
            fitted(event_of(said)[-1], where)
        except MISFIT as error:
            raise DataError(f"{where}, row {said['row']}: {error}") from error
        # The same rater about the same texts again: another task, so that both count.
        place = said.get("task") or key(said["round"], said["prompt"], said["completions"])
        seen[place, said["rater"]] += 1
        about[said["id"]] = seen[place, said["rater"]]

    def rows() -> Iterator[dict]:
        for said in judgements:
            yield from event_of(said, about[said["id"]])

    with store.read() as c:
        gone = forgotten(c)
    left_out = sum(key(key("imported", said["rater"])) in gone for said in judgements)
    new = sum(put_in(store, rows, where, gone).values())
    return {"new": new, "known": len(judgements) - left_out - new, "forgotten": left_out}


def event_of(said: dict, turn: int = 1) -> list[dict]:
    """Return a judgement's event, the last, and before it the rows that it points to."""
    asked = said | {"kind": said.get("task_kind", said["kind"])}
    task, prompt, answers = next(task_rows(said["round"], asked, alike=True))
    rater = key("imported", said["rater"])
    rows = [{"table": "prompt", **prompt}]
    rows += [{"table": "completion", **answer} for answer in answers]
    if said.get("repeat_of"):  # its first time may have been undone, and not be in the file
        rows.append({"table": "task", **task, "id": said["repeat_of"], "place": 0})
    if "task" in said:
        task |= {"id": said["task"], "repeat_of": said["repeat_of"]}
    elif turn > 1:
        task["id"] = key(task["id"], turn)
    name = {"name": said["rater"], "team": said["team"], "kind": "imported"}
    given = {
        "task": task["id"],
        "rater": rater,
        "shown": [answer["id"] for answer in answers],
    }
    return [
        *rows,
        {"table": "task", **task, "place": 0},
        {"table": "rater", "id": rater, **name},
        {"table": "assignment", **given, "lease": 0.0, "revealed": False},
        {
            "table": "event",
            **given,
            "id": said["id"],
            "time": said.get("time", 0.0),
            "kind": said["kind"],
            "payload": said["payload"],
            "ms": said.get("ms"),
            "ui": "import",
        },
    ]


def fitted(row: dict, where: str) -> tuple:
    """Return (table, row) of a row of an `everything` file; DataError where it could not be one."""
    table = TABLES.get(str(row.get("table")))
    if table is None:
        raise DataError(
            f"{where}: 'table' is {row.get('table')!r:.40}; there are {', '.join(TABLES)}"
        )
    kept = {column.name: row.get(column.name) for column in table.columns if column.name != "seq"}
    for name, value in kept.items():
        wanted = table.c[name].type.python_type
        if name in ("completions", "shown"):
            fits = isinstance(value, list) and all(isinstance(id, str) for id in value)
        elif wanted is float:
            fits = type(value) in (int, float) and math.isfinite(value)
        else:
            fits = isinstance(value, wanted)
        if not fits and not (value is None and table.c[name].nullable):
            raise DataError(
                f"{where}: the field '{name}' of a {table.name} cannot be {value!r:.40}"
            )
    try:
        check_content(table, kept)
    except MISFIT as error:
        raise DataError(f"{where}: {error}") from error
    return table, kept


def check_content(table, row: dict) -> None:
    """Bring a row whose fields fit to what is kept of it. Refused where its content is wrong."""
    if table is events:
        row["payload"] = checked(row["kind"], row["payload"], len(row["shown"] or ()))
        fit(row["ms"] or 0, range(2**31), "ms")
    elif table is tasks:
        least, most = MOST[fit(row["kind"], JUDGEMENTS, "kind")]
        if not least <= len(row["completions"]) <= most:
            raise Refused(f"a {row['kind']} has {least} to {most} completions")
    elif table is raters:
        row["name"] = on_one_line(row["name"])[:NAME].strip() or "somebody"
        row["team"] = on_one_line(row["team"])[:NAME].strip()
    elif table is assignments:  # what follows from the events
        answered = row["lease"] >= FOREVER
        lease = 0.0 if answered else min(row["lease"], time.time() + LEASE)
        row |= {"answer": None, "revealed": False, "lease": lease}


def merge(
    store: Store,
    source: Callable[[], Iterable[dict]],
    where: str = "the rows",
    forget: bool = False,
) -> dict[str, int]:
    """Add rows of `everything`, what is known once only; return {"new", "known", "forgotten"}
    events.

    `source()` gives the rows from the first on, each time it is called. Who was forgotten here
    stays forgotten. What in the rows would delete or change what is here is done only with
    `forget`: else Refused says what it is.
    """
    there = Contents(store)
    for n, row in enumerate(source(), 1):
        there.take(*fitted(row, f"{where}, row {n}"))
    for n, row in enumerate(source(), 1):
        there.check(row, f"{where}, row {n}")
    if there.consequences and not forget:
        would = ", ".join(f"{words} ({n})" for words, n in there.consequences.items())
        raise Refused(
            f"{where} would change what is here: {would}. Nothing was taken from it. "
            "If it shall do that, add --forget"
        )
    for rater in there.to_erase:
        with store.write() as c:
            erase(c, rater)
    counts = put_in(store, source, where, there.gone)
    return {
        "new": sum(counts.values()),
        "known": there.given - there.of_gone - sum(counts.values()),
        "forgotten": there.of_gone,
    }


def forgotten(c) -> set[str]:
    """Return the hashes of the ids of the raters that were deleted."""
    said = c.execute(select(events.c.payload).filter_by(kind="forget")).scalars()
    return {payload["rater"] for payload in said}


class Contents:
    """What a store holds, and what rows that shall come in would add to it or change in it."""

    def __init__(self, store: Store):
        with store.read() as c:
            self.ids = {
                name: set(c.execute(select(table.c.id)).scalars())
                for name, table in TABLES.items()
                if table is not assignments
            }
            self.asked = {
                row.id: (row.kind, frozenset(row.completions))
                for row in c.execute(select(tasks.c.id, tasks.c.kind, tasks.c.completions))
            }
            self.names = dict(c.execute(select(raters.c.id, raters.c.name)).all())
            self.current = set(
                c.execute(
                    select(assignments.c.answer).where(assignments.c.answer.isnot(None))
                ).scalars()
            )
            self.room = room_of(c)
            self.gone = forgotten(c)
            self.votes = Counter(
                dict(c.execute(select(events.c.rater, func.count()).group_by(events.c.rater)).all())
            )
        self.known = frozenset(self.ids["event"])
        self.own = frozenset(self.ids["completion"] | self.ids["rater"])
        self.hashes = {key(rater): rater for rater in self.names}
        self.consequences, self.to_erase = Counter(), []
        self.given = self.of_gone = 0

    def take(self, table, row: dict) -> None:
        """Count a row that fits as one that is there."""
        if table is assignments:
            return
        self.ids[table.name].add(row["id"])
        if table is tasks:
            self.asked.setdefault(row["id"], (row["kind"], frozenset(row["completions"])))
        elif table is events:
            self.given += 1
            if row["id"] not in self.known:
                self.note_consequence(row)

    def note_consequence(self, event: dict) -> None:
        """Note what a new event would delete or change."""
        kind, payload = event["kind"], event["payload"]
        if kind == "forget":
            self.gone.add(payload["rater"])
            rater = self.hashes.pop(payload["rater"], None)
            if rater:
                self.to_erase.append(rater)
                words = f"all events of '{self.names[rater]}' deleted"
                self.consequences[words] += self.votes[rater]
        elif event["replaces"] in self.current:
            self.consequences["answers undone or changed"] += 1
        elif kind == "hide":
            if payload["id"] in self.own and payload["hidden"] != (
                payload["id"] in self.room.hidden
            ):
                self.consequences["raters or texts hidden or shown again"] += 1
        elif kind == "round" and self.room.current is not None:
            state = "opened" if payload["state"] == "open" else "paused"
            self.consequences[f"round '{payload['round']}' {state}"] += 1

    def check(self, row: dict, where: str) -> None:
        """DataError where a row that fits points to one that is nowhere, or answers what was not
        asked.
        """
        table = TABLES[row["table"]]
        rater = row["id"] if table is raters else row.get("rater")
        if key(rater) in self.gone:
            self.of_gone += table is events
            return
        lost = [
            link.parent.name
            for link in table.foreign_keys
            if row.get(link.parent.name) is not None
            and row[link.parent.name] not in self.ids[link.column.table.name]
        ]
        if not self.ids["completion"].issuperset(row.get("completions") or ()):
            lost.append("completions")
        if not lost and row.get("task"):
            kind, texts = self.asked[row["task"]]
            if frozenset(row["shown"] or ()) != texts or len(row["shown"] or ()) != len(texts):
                lost.append("shown")
            said = row.get("kind", kind)
            if said in (*JUDGEMENTS, "hands") and said != ("pair" if said == "hands" else kind):
                lost.append("kind")
        if lost:
            raise DataError(
                f"{where}: what its '{lost[0]}' names is not in the file, or not with that task"
            )


def put_in(store: Store, source: Callable, where: str, gone: set[str]) -> Counter:
    """Write rows into a store, a portion at a time, so that others get their turn; return {kind:
    new events}.
    """
    counts = Counter()
    for of_events in (False, True):  # answers count for what is there already
        rows = (row for row in source() if (row["table"] == events.name) == of_events)
        while portion := list(islice(rows, PORTION)):
            started = time.monotonic()
            with store.write() as c:
                counts += write_portion(c, portion, where, gone)
            time.sleep(min(0.05, (time.monotonic() - started) / 2))
    return counts


def write_portion(c, portion: Iterable[dict], where: str, gone: set[str]) -> Counter:
    """Insert rows that fit, what is known once only, and what follows from new events; return
    {kind: new events}.
    """
    found = {name: [] for name in TABLES}
    for given in portion:
        table, row = fitted(given, where)
        rater = row["id"] if table is raters else row.get("rater")
        if not rater or key(rater) not in gone:
            found[table.name].append(row)
    ids = [row["id"] for row in found["event"]]
    known = set(c.execute(select(events.c.id).where(events.c.id.in_(ids))).scalars())
    for name, rows in found.items():
        try:
            insert_new(c, TABLES[name], rows)
        except (StatementError, OverflowError, UnicodeEncodeError) as error:
            raise DataError(f"{where}: a {name} cannot be stored ({in_short(error)})") from error
    new = {row["id"]: row for row in found["event"] if row["id"] not in known}
    follow(c, *(row for row in new.values() if row["task"]))
    return Counter(row["kind"] for row in new.values())


# Forgetting


def erase(c, rater: str) -> int:
    """Delete all that is about a rater and return how many events there were."""
    about = [
        row.seq
        for row in c.execute(select(events).filter_by(kind="hide"))
        if row.payload["id"] == rater
    ]
    n = c.execute(
        delete(events).where(or_(events.c.rater == rater, events.c.seq.in_(about)))
    ).rowcount
    c.execute(delete(assignments).filter_by(rater=rater))
    c.execute(delete(raters).filter_by(id=rater))
    return n


def forget(store: Store, who: str) -> dict:
    """Delete all data about a rater, given by name or id; return {"events": how many there were,
    "finished"}.

    It is the one exception to "only ever added". What remains is that somebody was deleted, and a
    hash that keeps the data from coming back with an older file. While another program reads the
    file, the old text cannot be wiped out of it: then it is not "finished", and the same call again
    finishes it. Refused where nobody, or more than one, has that name.
    """
    with store.write() as c:
        named = select(raters.c.id).where(or_(raters.c.id == who, raters.c.name == who))
        found = c.execute(named).scalars().all()
        if len(found) > 1:
            ids = " or ".join(found)
            raise Refused(f"{len(found)} raters are called '{who}': name one by id, {ids}")
        n = 0
        if found:
            n = erase(c, found[0])
            store.say("forget", {"rater": key(found[0]), "events": n})
        if not store.unwiped(c, begin=bool(found)) and not found:
            raise Refused(f"nobody here is called '{who}'")
    return {"events": n, "finished": store.wipe()}

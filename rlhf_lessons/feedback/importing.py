"""What comes into the store: files of the formats that it exports, files from many laptops, and what must go.

Every event has an id, so that what is imported twice counts once. A row that does not fit stops the import with its
number and the field, and nothing of the file is kept.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from sqlalchemy import delete, or_, select
from sqlalchemy.exc import StatementError

from rlhf_lessons.data import DataError, read_jsonl
from rlhf_lessons.feedback.export import COLUMNS, everything
from rlhf_lessons.feedback.payloads import CRITERIA, Refused, checked, compared
from rlhf_lessons.feedback.queue import MOST, follow, task_rows
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
from rlhf_lessons.feedback.store import Store

MISFIT = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
)  # what a row of any shape may raise


def load(store: Store, path: str | Path, round: str = "imported") -> dict[str, int]:
    """Import a file of any format that `export` writes, or another ratings database; return what `merge` does.

    TRL's preference and unpaired rows, rankings and demonstrations go into the round named. DataError names the row.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with open(path, "rb") as file:
        database = file.read(15) == b"SQLite format 3"
    if database:
        with closing(Store(path)) as other:
            return merge(store, everything(other), str(path))
    try:
        rows = list(from_csv(path) if path.suffix.lower() == ".csv" else read_jsonl(path))
    except (csv.Error, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: this is no table, or no JSONL, in UTF-8 ({error})") from error
    if not rows:
        raise DataError(f"{path}: holds no rows")
    if "table" in rows[0]:
        return merge(store, rows, str(path))
    return add(
        store, rows if "payload" in rows[0] else list(from_rows(rows, str(path), round)), str(path)
    )


def from_rows(rows: list[dict], where: str, round: str) -> Iterable[dict]:
    """Yield a judgement for each row of the field's formats; a preference group that is a ranking becomes one."""
    groups, seen = {}, Counter()
    for n, row in enumerate(rows, 1):
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
                f"{where}, row {n}: it is neither a comparison, a ranking, a labelled completion nor a "
                f"demonstration ({type(error).__name__}: {error})"
            ) from error


def judgement(row: dict) -> dict:
    """Return {"kind", "prompt", "completions", "payload", "rater", "team"} of one row; KeyError where it is none."""
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
    """Return the ranking of which these preference rows are all the pairs, or None where they are not."""
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


def from_csv(path: Path) -> Iterable[dict]:
    """Yield the judgements of a table that `export.table` wrote."""
    csv.field_size_limit(2**31 - 1)
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if missing := set(COLUMNS) - set(rows.fieldnames or ()):
            raise DataError(
                f"{path}: the column '{sorted(missing)[0]}' is missing; a table has {', '.join(COLUMNS)}"
            )
        for n, row in enumerate(rows, 2):
            row = {name: (row[name] or "").removeprefix("'") for name in COLUMNS}
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
    with store.read() as c:
        known = set(c.execute(select(events.c.id)).scalars())
    rows, seen = [], Counter()
    for said in judgements:
        if said["id"] in known:
            continue
        try:
            asked = said | {"kind": said.get("task_kind", said["kind"])}
            task, prompt, answers = next(task_rows(said["round"], asked, alike=True))
            payload = checked(said["kind"], said["payload"], len(answers))
        except MISFIT as error:
            raise DataError(f"{where}, row {said['row']}: {error}") from error
        rater, shown = key("imported", said["rater"]), [answer["id"] for answer in answers]
        seen[task["id"], rater] += 1
        if said.get("repeat_of"):  # its first time may have been undone, and not be in the file
            rows.append({"table": "task", **task, "id": said["repeat_of"], "place": 0})
        if "task" in said:
            task |= {"id": said["task"], "repeat_of": said["repeat_of"]}
        elif (
            seen[task["id"], rater] > 1
        ):  # the same rater about the same texts again: another task, so that both count
            task["id"] = key(task["id"], seen[task["id"], rater])
        about = {"task": task["id"], "rater": rater, "shown": shown}
        rows += [
            {"table": "prompt", **prompt},
            *({"table": "completion", **answer} for answer in answers),
            {"table": "task", **task, "place": 0},
            {
                "table": "rater",
                "id": rater,
                "name": said["rater"],
                "team": said["team"],
                "kind": "imported",
            },
            {"table": "assignment", **about, "lease": 0.0, "revealed": False},
            {
                "table": "event",
                **about,
                "id": said["id"],
                "time": said.get("time", 0.0),
                "kind": said["kind"],
                "payload": payload,
                "ms": said.get("ms"),
                "ui": "import",
            },
        ]
    found = merge(store, rows, where)
    return found | {"known": len(judgements) - found["new"]}


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
        fits = isinstance(value, (float, int) if wanted is float else wanted)
        if name in ("completions", "shown"):
            fits = isinstance(value, list) and all(isinstance(id, str) for id in value)
        if not fits and not (value is None and table.c[name].nullable):
            raise DataError(
                f"{where}: the field '{name}' of a {table.name} cannot be {value!r:.40}"
            )
    try:
        if table is events:
            kept["payload"] = checked(kept["kind"], kept["payload"], len(kept["shown"] or ()))
    except MISFIT as error:
        raise DataError(f"{where}: {error}") from error
    if table is assignments:  # what follows from the events
        kept |= {
            "answer": None,
            "revealed": False,
            "lease": kept["lease"] if kept["lease"] < FOREVER else 0.0,
        }
    return table, kept


def merge(store: Store, rows: Iterable[dict], where: str = "the rows") -> dict[str, int]:
    """Add rows of `export.everything`, what is known once only; return {"new", "known", "forgotten"} events.

    Who was forgotten here or there stays forgotten.
    """
    found = [(n, *fitted(row, f"{where}, row {n}")) for n, row in enumerate(rows, 1)]
    given = [row for _, table, row in found if table is events]
    with store.write() as c:
        known = {
            row.id: row for row in c.execute(select(events.c.id, events.c.kind, events.c.payload))
        }
        forgotten = [row.payload for row in known.values() if row.kind == "forget"]
        gone = {
            payload["rater"]
            for payload in [*forgotten, *(r["payload"] for r in given if r["kind"] == "forget")]
        }
        for rater in c.execute(select(raters.c.id)).scalars().all():
            if key(rater) in gone:
                erase(c, rater)
        found = [
            (n, table, row)
            for n, table, row in found
            if key(row["id"] if table is raters else row.get("rater")) not in gone
        ]
        try:
            for table in TABLES.values():
                insert_new(c, table, [row for _, of, row in found if of is table])
        except (StatementError, OverflowError, UnicodeEncodeError) as error:
            raise DataError(
                f"{where}: a {table.name} cannot be stored ({in_short(error)})"
            ) from error
        check_references(c, found, where)
        stay = {row["id"]: row for _, table, row in found if table is events}
        new = [row for id, row in stay.items() if id not in known]
        for row in new:
            if row["task"]:
                follow(c, row)
    return {"new": len(new), "known": len(stay) - len(new), "forgotten": len(given) - len(stay)}


def check_references(c, found: list[tuple], where: str) -> None:
    """DataError where one of the rows (number, table, row) points to one that is not there."""
    there = {
        name: set(c.execute(select(table.c.id)).scalars())
        for name, table in TABLES.items()
        if table is not assignments
    }
    asked = {
        row.id: sorted(row.completions)
        for row in c.execute(select(tasks.c.id, tasks.c.completions))
    }
    for n, table, row in found:
        links = {link.parent.name: link.column.table.name for link in table.foreign_keys}
        lost = [
            name
            for name, target in links.items()
            if row[name] is not None and row[name] not in there[target]
        ]
        if not there["completion"].issuperset(row.get("completions") or ()):
            lost.append("completions")
        if not lost and row.get("task") and sorted(row["shown"] or ()) != asked[row["task"]]:
            lost.append("shown")
        if lost:
            raise DataError(
                f"{where}, row {n}: what its '{lost[0]}' names is not in the file, or not with that task"
            )


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


def forget(store: Store, who: str) -> int:
    """Delete all data about a rater, given by name or id, and return how many events there were.

    It is the one exception to "only ever added". What remains is that somebody was deleted, and a hash that keeps
    the data from coming back with an older file. Refused where nobody, or more than one, has that name.
    """
    with store.write() as c:
        found = (
            c.execute(select(raters.c.id).where(or_(raters.c.id == who, raters.c.name == who)))
            .scalars()
            .all()
        )
        if len(found) != 1:
            raise Refused(
                f"nobody here is called '{who}'"
                if not found
                else f"{len(found)} raters are called '{who}': name one by id, {' or '.join(found)}"
            )
        n = erase(c, found[0])
        store.say("forget", {"rater": key(found[0]), "events": n})
    if (
        store.engine.dialect.name == "sqlite"
    ):  # so that nothing of it stays in the file's journal either
        with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as c:
            c.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return n

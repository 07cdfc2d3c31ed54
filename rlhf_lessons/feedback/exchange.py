"""What comes into the ratings store: import, merge, and forgetting a rater.

Every event has an id, so that what is imported twice counts once. A file with a row that does not
fit is refused by its number and field, before anything of it is kept. What would delete or change
what is here is done only if asked for.
"""

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from itertools import filterfalse
from pathlib import Path

from pydantic import BaseModel, constr
from sqlalchemy import delete, func, or_, select

from rlhf_lessons.data import DataError, lines_of, parsed
from rlhf_lessons.feedback.export import rows_of
from rlhf_lessons.feedback.formats import from_rows
from rlhf_lessons.feedback.payloads import (
    JUDGEMENTS,
    NAME,
    NO_NUL,
    WHOLE,
    Refused,
    check_number,
    checked,
    fit,
    model,
    on_one_line,
)
from rlhf_lessons.feedback.schema import (
    TABLES,
    assignments,
    completions,
    events,
    insert_new,
    key,
    note_deletion,
    raters,
    wipe,
)
from rlhf_lessons.feedback.store import Store, follow

PORTION = 200  # rows in one transaction of an import: others wait for no more
PAUSE = 0.01  # seconds after each, in which it is their turn


def load(
    store: Store, path: str | Path, round: str = "imported", forget: bool = False
) -> dict[str, int]:
    """Import a .jsonl file that `written` gives, or another ratings file; return what `merge` does.

    Rows of TRL's formats, rankings and demonstrations go into the round named. DataError names the
    row.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix.lower() == ".csv":
        raise DataError(f"{path}: a table is for reading; the format `events` can be imported")
    if path.suffix.lower() not in (".json", ".jsonl"):
        with closing(Store(path, readonly=True)) as other:
            return merge(store, enumerate(rows_of(other), 1), str(path), forget)
    if not any(lines_of(path)):
        raise DataError(f"{path}: holds no rows")
    rows = ((n, parsed(line, f"{path}, row {n}")) for n, line in lines_of(path))
    return merge(store, from_rows(rows, str(path), round), str(path), forget)


def merge(
    store: Store, rows: Iterable[tuple[int, dict]], where: str = "the rows", forget: bool = False
) -> dict[str, int]:
    """Add rows of `everything`, each with its number; return {"new", "known", "forgotten"} events.

    What is known counts once, and who was forgotten here stays forgotten. What in the rows would
    delete or change what is here is done only with `forget`: else Refused says what it is.
    DataError names a row that does not fit. In both cases nothing was taken.
    """
    there = Contents()
    for row in rows_of(store):
        there.add(row["table"], row)
    found = {name: [] for name in TABLES}
    given = number = 0
    try:
        for number, row in rows:  # noqa: B007
            name, kept = fitted(row)
            given += name == "event"
            there.check(name, kept)
            if there.add(name, kept):
                found[name].append(kept)
    except Refused as error:
        raise DataError(f"{where}, row {number}: {error}") from error
    said = found["event"]
    gone = list(filter(there.forgets, store.raters()))
    would = consequences(store, said, gone)
    if would and not forget:
        changes = ", ".join(f"{words} ({n})" for words, n in would.items())
        raise Refused(
            f"{where} would change what is here: {changes}. Nothing was taken from it. "
            "If you want that, add --forget"
        )
    for rater in gone:
        with store.write() as c:
            erase(c, rater["id"])
    new = {}
    for name, rows in found.items():
        new[name] = put_in(store, TABLES[name], list(filterfalse(there.forgets, rows)))
    forgotten = sum(map(there.forgets, said))
    known = given - forgotten - new["event"]
    return {"new": new["event"], "known": known, "forgotten": forgotten}


def row_model(table) -> type[BaseModel]:
    """Return what a row of a table must be in an `everything` file: its columns, but for `seq`."""
    fields = {}
    for column in table.columns:
        of = column.type.python_type
        if column.name in ("completions", "shown"):
            of = list[str]
        elif of is int:
            of = WHOLE
        elif of is str:
            of = constr(**NO_NUL, max_length=column.type.length)
        fields[column.name] = (of | None, None) if column.nullable else of
    fields.pop("seq", None)
    return model(table.name, fields)


MODELS = {name: row_model(table) for name, table in TABLES.items()}


def fitted(row: dict) -> tuple[str, dict]:
    """Return (table's name, row) as it is kept of a row of an `everything` file; Refused where it
    could not be one.
    """
    name = str(row.get("table"))
    if name not in TABLES:
        raise Refused(f"'table' is {name!r:.40}; there are {', '.join(TABLES)}")
    kept = fit(row, MODELS[name], f"the table '{name}'")
    if name == "event":
        kept["payload"] = checked(kept["kind"], kept["payload"], len(kept["shown"] or ()))
    elif name == "task":
        check_number(kept["kind"], len(kept["completions"]))
    elif name == "rater":
        kept["name"] = on_one_line(kept["name"])[:NAME].strip() or "somebody"
        kept["team"] = on_one_line(kept["team"])[:NAME].strip()
    return name, kept


class Contents:
    """What a store holds, and with it what the rows hold that shall come in."""

    def __init__(self):
        self.ids = {name: {None} for name in TABLES}
        self.asked = {}  # {task: its kind, and its completions}
        self.gone = set()  # hashes of the ids of raters

    def add(self, name: str, row: dict) -> bool:
        """Count a row that fits as one that is there; return whether it was not."""
        if row["id"] in self.ids[name]:
            return False
        self.ids[name].add(row["id"])
        if name == "task":
            self.asked[row["id"]] = row["kind"], sorted(row["completions"])
        if name == "event" and row["kind"] == "forget":
            self.gone.add(row["payload"]["rater"])
        return True

    def forgets(self, row: dict) -> bool:
        """Return whether a rater, or who has said this, was forgotten."""
        return key(row.get("rater", row["id"])) in self.gone

    def check(self, name: str, row: dict) -> None:
        """Refused where a row points to one that is not there, or answers what was not asked."""
        lost = [
            link.parent.name
            for link in TABLES[name].foreign_keys
            if row[link.parent.name] not in self.ids[link.column.table.name]
        ]
        if not self.ids["completion"].issuperset(row.get("completions") or ()):
            lost.append("completions")
        if row.get("task") and not lost:
            asked, texts = self.asked[row["task"]]
            if not row["rater"]:
                lost.append("rater")
            if sorted(row["shown"] or ()) != texts:
                lost.append("shown")
            kind = "pair" if row["kind"] == "hands" else row["kind"]
            if kind in JUDGEMENTS and kind != asked:
                lost.append("kind")
        if lost:
            raise Refused(
                f"what its '{lost[0]}' names is not in the file before it, or not with that task"
            )


def consequences(store: Store, said: list[dict], gone: list[dict]) -> Counter:
    """Return what these new events, and deleting these raters, would change here: {what: how
    often}.
    """
    would = Counter()
    room = store.room()
    with store.read() as c:
        for rater in gone:
            votes = select(func.count()).where(events.c.rater == rater["id"])
            would[f"all events of '{rater['name']}' deleted"] += c.scalar(votes)
        current = set(c.scalars(select(assignments.c.answer))) - {None}
        own = set(c.scalars(select(raters.c.id).union(select(completions.c.id))))
    for event in said:
        kind, payload = event["kind"], event["payload"]
        if event["replaces"] in current:
            would["answers undone or changed"] += 1
        elif kind == "hide" and payload["id"] in own:
            if payload["hidden"] != (payload["id"] in room.hidden):
                would["raters or texts hidden or shown again"] += 1
        elif kind == "round" and room.current is not None:
            state = "opened" if payload["state"] == "open" else "paused"
            would[f"round '{payload['round']}' {state}"] += 1
    return would


def put_in(store: Store, table, rows: list[dict]) -> int:
    """Write rows into a table, a portion at a time, so that others get their turn; return how many
    are new.
    """
    new = 0
    for start in range(0, len(rows), PORTION):
        with store.write() as c:
            ids = [row["id"] for row in rows[start : start + PORTION]]
            there = set(c.scalars(select(table.c.id).where(table.c.id.in_(ids))))
            portion = [row for row in rows[start : start + PORTION] if row["id"] not in there]
            insert_new(c, table, portion)
            new += len(portion)
            if table is events:
                answers = [row for row in portion if row["task"]]
                fields = ("task", "rater", "shown")
                insert_new(
                    c, assignments, [{name: row[name] for name in fields} for row in answers]
                )
                follow(c, *answers)
        time.sleep(PAUSE)
    return new


def erase(c, rater: str) -> int:
    """Delete all that is about a rater and return how many events there were."""
    c.info.clear()
    note_deletion(c)
    hides = (events.c.kind == "hide") & (events.c.payload["id"].as_string() == rater)
    n = c.execute(delete(events).where((events.c.rater == rater) | hides)).rowcount
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
    n = 0
    with store.write() as c:
        named = or_(raters.c.id == who, raters.c.name == who)
        found = c.scalars(select(raters.c.id).where(named)).all()
        if len(found) > 1:
            ids = " or ".join(found)
            raise Refused(f"{len(found)} raters are called '{who}': name one by id, {ids}")
        for rater in found:
            n = erase(c, rater)
            store.say("forget", rater=key(rater), events=n)
    finished = wipe(store.engine)
    if finished is None and not found:
        raise Refused(f"nobody here is called '{who}'")
    return {"events": n, "finished": finished is not False}

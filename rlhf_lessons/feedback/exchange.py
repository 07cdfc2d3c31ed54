"""What comes into the ratings store: import, merge, and forgetting a rater.

Every event has an id, so that what is imported twice counts once. A file with a row that does not
fit is refused by its number and field, before anything of it is kept. What would delete or change
what is here is done only if asked for.
"""

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from pydantic import BaseModel, constr
from sqlalchemy import delete, func, or_, select

from rlhf_lessons.data import DataError, lines_of, parsed
from rlhf_lessons.feedback.export import rows_of
from rlhf_lessons.feedback.formats import from_rows
from rlhf_lessons.feedback.payloads import (
    JUDGEMENTS,
    NAME,
    WHOLE,
    Refused,
    Room,
    check_number,
    checked,
    fit,
    model,
    on_one_line,
)
from rlhf_lessons.feedback.queue import LEASE
from rlhf_lessons.feedback.schema import (
    FOREVER,
    TABLES,
    assignments,
    completions,
    events,
    insert_new,
    is_database,
    key,
    raters,
    tasks,
    unwiped,
    wipe,
)
from rlhf_lessons.feedback.store import Store, follow

PORTION = 200  # rows in one transaction of an import: others wait for no more
PAUSE = 0.01  # seconds after each, in which it is their turn


def load(
    store: Store, path: str | Path, round: str = "imported", forget: bool = False
) -> dict[str, int]:
    """Import a JSONL file that `written` gives, or another ratings file; return what `merge` does.

    Rows of TRL's formats, rankings and demonstrations go into the round named. DataError names the
    row.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix.lower() == ".csv":
        raise DataError(f"{path}: a table is for reading; the format `events` can be imported")
    if is_database(path):
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
    there = Contents(store)
    found = []
    given = number = 0
    try:
        for number, row in rows:
            table, kept = fitted(row)
            given += table is events
            if there.add(table, kept):
                found.append((number, table, kept))
        said = [row for _, table, row in found if table is events]
        # Nothing but raters, and what is by them, has their id
        found = [
            (n, table, row)
            for n, table, row in found
            if key(row.get("rater") or row["id"]) not in there.gone
        ]
        for number, table, row in found:  # noqa: B007
            there.check(table, row)
    except Refused as error:
        raise DataError(f"{where}, row {number}: {error}") from error
    with store.read() as c:
        would, to_erase = consequences(c, said, store.room())
    if would and not forget:
        changes = ", ".join(f"{words} ({n})" for words, n in would.items())
        raise Refused(
            f"{where} would change what is here: {changes}. Nothing was taken from it. "
            "If you want that, add --forget"
        )
    for rater in to_erase:
        with store.write() as c:
            erase(c, rater)
    forgotten = len(said) - sum(table is events for _, table, _ in found)
    new = put_in(store, found)
    return {"new": new, "known": given - forgotten - new, "forgotten": forgotten}


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
            of = constr(pattern=r"^[^\x00]*$")  # a database holds no NUL
        fields[column.name] = (of | None, None) if column.nullable else of
    fields.pop("seq", None)
    return model(table.name, fields)


MODELS = {name: row_model(table) for name, table in TABLES.items()}


def fitted(row: dict) -> tuple:
    """Return (table, row) as it is kept of a row of an `everything` file; Refused where it could
    not be one.
    """
    name = str(row.get("table"))
    if name not in TABLES:
        raise Refused(f"'table' is {name!r:.40}; there are {', '.join(TABLES)}")
    table = TABLES[name]
    kept = fit(row, MODELS[name], f"the table '{name}'")
    if table is events:
        kept["payload"] = checked(kept["kind"], kept["payload"], len(kept["shown"] or ()))
    elif table is tasks:
        check_number(kept["kind"], len(kept["completions"]))
    elif table is raters:
        kept["name"] = on_one_line(kept["name"])[:NAME].strip() or "somebody"
        kept["team"] = on_one_line(kept["team"])[:NAME].strip()
    elif table is assignments:  # what follows from the events
        kept["answer"] = None
        kept["revealed"] = False
        answered = kept["lease"] >= FOREVER
        kept["lease"] = 0.0 if answered else min(kept["lease"], time.time() + LEASE)
    return table, kept


class Contents:
    """What a store holds, and with it what the rows hold that shall come in."""

    def __init__(self, store: Store):
        with store.read() as c:
            self.ids = {
                name: {None, *c.scalars(select(table.c.id))}
                for name, table in TABLES.items()
                if table is not assignments
            }
            self.asked = {
                task.id: (task.kind, sorted(task.completions)) for task in c.execute(select(tasks))
            }
            self.gone = {  # hashes of their ids
                payload["rater"]
                for payload in c.scalars(select(events.c.payload).filter_by(kind="forget"))
            }

    def add(self, table, row: dict) -> bool:
        """Count a row that fits as one that is there; return whether it was not."""
        if table is assignments:
            return True
        if row["id"] in self.ids[table.name]:
            return False
        self.ids[table.name].add(row["id"])
        if table is tasks:
            self.asked[row["id"]] = row["kind"], sorted(row["completions"])
        if table is events and row["kind"] == "forget":
            self.gone.add(row["payload"]["rater"])
        return True

    def check(self, table, row: dict) -> None:
        """Refused where a row points to one that is nowhere, or answers what was not asked."""
        lost = [
            link.parent.name
            for link in table.foreign_keys
            if row[link.parent.name] not in self.ids[link.column.table.name]
        ]
        if not self.ids["completion"].issuperset(row.get("completions") or ()):
            lost.append("completions")
        if row.get("task") and not lost:
            asked, texts = self.asked[row["task"]]
            if sorted(row["shown"] or ()) != texts:
                lost.append("shown")
            kind = "pair" if row.get("kind") == "hands" else row.get("kind")
            if kind in JUDGEMENTS and kind != asked:
                lost.append("kind")
        if lost:
            raise Refused(f"what its '{lost[0]}' names is not in the file, or not with that task")


def consequences(c, said: list[dict], room: Room) -> tuple[Counter, list[str]]:
    """Return what these new events would delete or change, {what: how often}, and the raters whom
    they delete.
    """
    would, to_erase = Counter(), []
    names = dict(c.execute(select(raters.c.id, raters.c.name)).all())
    hashes = {key(id): id for id in names}
    current = set(c.scalars(select(assignments.c.answer))) - {None}
    own = names.keys() | set(c.scalars(select(completions.c.id)))
    for event in said:
        kind, payload = event["kind"], event["payload"]
        if kind == "forget":
            rater = hashes.pop(payload["rater"], None)
            if rater:
                to_erase.append(rater)
                votes = select(func.count()).where(events.c.rater == rater)
                would[f"all events of '{names[rater]}' deleted"] += c.scalar(votes)
        elif event["replaces"] in current:
            would["answers undone or changed"] += 1
        elif kind == "hide":
            was_hidden = payload["id"] in room.hidden
            if payload["id"] in own and payload["hidden"] != was_hidden:
                would["raters or texts hidden or shown again"] += 1
        elif kind == "round" and room.current is not None:
            state = "opened" if payload["state"] == "open" else "paused"
            would[f"round '{payload['round']}' {state}"] += 1
    return would, to_erase


def put_in(store: Store, rows: list[tuple]) -> int:
    """Write (number, table, row) into a store, a portion at a time, so that others get their turn;
    return how many events are new.
    """
    new = 0
    for table in TABLES.values():  # each after those it points to: answers come last
        of_table = [row for _, other, row in rows if other is table]
        of_table.sort(key=lambda row: row.get("repeat_of") or "")  # repeats after the others
        for start in range(0, len(of_table), PORTION):
            with store.write() as c:
                new += insert(c, table, of_table[start : start + PORTION])
            time.sleep(PAUSE)
    return new


def insert(c, table, rows: list[dict]) -> int:
    """Insert the rows that are not there, and what follows from events; return how many of these
    are new.
    """
    if table is not events:
        insert_new(c, table, rows)
        return 0
    ids = [row["id"] for row in rows]
    there = set(c.scalars(select(events.c.id).where(events.c.id.in_(ids))))
    new = [row for row in rows if row["id"] not in there]
    insert_new(c, events, new)
    follow(c, *(row for row in new if row["task"]))
    return len(new)


def erase(c, rater: str) -> int:
    """Delete all that is about a rater and return how many events there were."""
    c.info.clear()
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
    with store.write() as c:
        named = or_(raters.c.id == who, raters.c.name == who)
        found = c.scalars(select(raters.c.id).where(named)).all()
        if len(found) > 1:
            ids = " or ".join(found)
            raise Refused(f"{len(found)} raters are called '{who}': name one by id, {ids}")
        n = 0
        if found:
            n = erase(c, found[0])
            store.say("forget", rater=key(found[0]), events=n)
        if not unwiped(c, begin=bool(found)) and not found:
            raise Refused(f"nobody here is called '{who}'")
    return {"events": n, "finished": wipe(store.engine)}

"""What comes into the ratings store: import, merge, and forgetting a rater.

Every event has an id, so that what is imported twice counts once. A file with a row that does not
fit is refused by its number and field, before anything of it is kept. What would delete or change
what is here is done only if asked for.
"""

import csv
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from sqlalchemy import delete, func, or_, select
from sqlalchemy.exc import StatementError

from rlhf_lessons.data import DataError
from rlhf_lessons.feedback.export import rows_of
from rlhf_lessons.feedback.formats import from_csv, from_rows, rows_in, table_rows, tell_apart
from rlhf_lessons.feedback.payloads import (
    JUDGEMENTS,
    MISFIT,
    MOST,
    NAME,
    Refused,
    checked,
    fit,
    on_one_line,
    storable,
)
from rlhf_lessons.feedback.queue import LEASE, follow, known
from rlhf_lessons.feedback.schema import (
    FOREVER,
    TABLES,
    assignments,
    completions,
    events,
    in_short,
    insert_new,
    is_database,
    key,
    raters,
    tasks,
)
from rlhf_lessons.feedback.store import Room, Store

PORTION = 200  # rows in one transaction of an import: others wait for no more


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
    if is_database(path):
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
        judgements = tell_apart(judgements)
        return merge(store, lambda: table_rows(judgements, str(path)), str(path))
    except (csv.Error, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: this is no table, or no JSONL, in UTF-8 ({error})") from error


def fitted(row: dict, where: str) -> tuple:
    """Return (table, row) as it is kept of a row of an `everything` file; DataError where it could
    not be one.
    """
    table = TABLES.get(str(row.get("table")))
    if table is None:
        raise DataError(
            f"{where}: 'table' is {row.get('table')!r:.40}; there are {', '.join(TABLES)}"
        )
    kept = {column.name: row.get(column.name) for column in table.columns if column.name != "seq"}
    for name, value in kept.items():
        if not (value is None and table.c[name].nullable or is_of(table.c[name], value)):
            raise DataError(
                f"{where}: the field '{name}' of the table '{table.name}' cannot be {value!r:.40}"
            )
    try:
        check_content(table, kept)
    except MISFIT as error:
        raise DataError(f"{where}: {error}") from error
    return table, kept


def is_text(value: object) -> bool:
    """Return whether a value is text that a database can hold: no half of an emoji, no NUL."""
    return isinstance(value, str) and value == storable(value)


def is_of(column, value: object) -> bool:
    """Return whether a column may hold a value."""
    wanted = column.type.python_type
    if column.name in ("completions", "shown"):
        return isinstance(value, list) and all(is_text(id) for id in value)
    if wanted is str:
        return is_text(value)
    if wanted is float:
        return type(value) in (int, float) and math.isfinite(value)
    return isinstance(value, wanted)


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

    `source()` gives the rows from the first on, each time it is called; a row that stands in a file
    under another number has it as "row". Who was forgotten here stays forgotten. What in the rows
    would delete or change what is here is done only with `forget`: else Refused says what it is.
    """

    def named() -> Iterator[tuple[dict, str]]:
        for n, row in enumerate(source(), 1):
            yield row, f"{where}, row {row.get('row', n)!r:.20}"

    there = Contents(store)
    for row, place in named():
        there.take(*fitted(row, place))
    for row, place in named():
        there.check(row, place)
    with store.read() as c:
        would, to_erase = consequences(c, there.room_events, store.room())
    if would and not forget:
        said = ", ".join(f"{words} ({n})" for words, n in would.items())
        raise Refused(
            f"{where} would change what is here: {said}. Nothing was taken from it. "
            "If you want that, add --forget"
        )
    for rater in to_erase:
        with store.write() as c:
            erase(c, rater)
    new = put_in(store, source, where, there.gone)
    return {
        "new": new,
        "known": there.given - there.of_gone - new,
        "forgotten": there.of_gone,
    }


class Contents:
    """What a store holds, and with it what the rows hold that shall come in."""

    def __init__(self, store: Store):
        with store.read() as c:
            self.ids = {
                name: set(c.scalars(select(table.c.id)))
                for name, table in TABLES.items()
                if table is not assignments
            }
            asked = c.execute(select(tasks.c.id, tasks.c.kind, tasks.c.completions))
            self.asked = {id: (kind, sorted(texts)) for id, kind, texts in asked}
            said = c.scalars(select(events.c.payload).filter_by(kind="forget"))
            self.gone = {payload["rater"] for payload in said}  # hashes of their ids
        self.given = self.of_gone = 0  # events in the rows, and those of them by who is gone
        self.room_events = []  # new events that may delete or change what is there

    def take(self, table, row: dict) -> None:
        """Count a row that fits as one that is there."""
        if table is assignments:
            return
        if table is tasks:
            self.asked.setdefault(row["id"], (row["kind"], sorted(row["completions"])))
        elif table is events:
            self.given += 1
            new = row["id"] not in self.ids["event"]
            if new and (row["replaces"] or row["kind"] in ("forget", "hide", "round")):
                self.room_events.append(row)
            if new and row["kind"] == "forget":
                self.gone.add(row["payload"]["rater"])
        self.ids[table.name].add(row["id"])

    def check(self, row: dict, where: str) -> None:
        """DataError where a row that fits points to one that is nowhere, or answers what was not
        asked.
        """
        table = TABLES[row["table"]]
        if key(rater_of(row)) in self.gone:
            self.of_gone += table is events
            return
        for link in table.foreign_keys:
            id = row.get(link.parent.name)
            if id is not None and id not in self.ids[link.column.table.name]:
                raise lost(where, link.parent.name)
        if not self.ids["completion"].issuperset(row.get("completions") or ()):
            raise lost(where, "completions")
        if row.get("task"):
            asked, texts = self.asked[row["task"]]
            if sorted(row["shown"] or ()) != texts:
                raise lost(where, "shown")
            kind = "pair" if row.get("kind") == "hands" else row.get("kind")
            if kind in JUDGEMENTS and kind != asked:
                raise lost(where, "kind")


def lost(where: str, field: str) -> DataError:
    """Return the error of a row whose field names what is nowhere."""
    return DataError(f"{where}: what its '{field}' names is not in the file, or not with that task")


def rater_of(row: dict) -> str | None:
    """Return the id of the rater whom a row is about."""
    return row["id"] if row["table"] == raters.name else row.get("rater")


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


def put_in(store: Store, source: Callable, where: str, gone: set[str]) -> int:
    """Write rows into a store, a portion at a time, so that others get their turn; return how many
    events are new.
    """
    new = 0
    for of_events in (False, True):  # answers count for what is there already
        rows = (row for row in source() if (row["table"] == events.name) == of_events)
        while portion := list(islice(rows, PORTION)):
            started = time.monotonic()
            with store.write() as c:
                new += write_portion(c, portion, where, gone)
            time.sleep(min(0.05, (time.monotonic() - started) / 2))
    return new


def write_portion(c, portion: Iterable[dict], where: str, gone: set[str]) -> int:
    """Insert rows that fit, what is known once only, and what follows from new events; return how
    many of these there are.
    """
    found = {name: [] for name in TABLES}
    for given in portion:
        table, row = fitted(given, where)
        if key(rater_of(given)) not in gone:
            found[table.name].append(row)
    ids = [row["id"] for row in found["event"]]
    known(c).clear()
    there = set(c.scalars(select(events.c.id).where(events.c.id.in_(ids))))
    for name, rows in found.items():
        try:
            insert_new(c, TABLES[name], rows)
        except (StatementError, OverflowError, UnicodeEncodeError) as error:
            raise DataError(f"{where}: a {name} cannot be stored ({in_short(error)})") from error
    new = {row["id"]: row for row in found["event"] if row["id"] not in there}
    follow(c, *(row for row in new.values() if row["task"]))
    return len(new)


def erase(c, rater: str) -> int:
    """Delete all that is about a rater and return how many events there were."""
    known(c).clear()
    hidden = c.execute(select(events.c.seq, events.c.payload).filter_by(kind="hide"))
    about = [seq for seq, payload in hidden if payload["id"] == rater]
    of_rater = or_(events.c.rater == rater, events.c.seq.in_(about))
    n = c.execute(delete(events).where(of_rater)).rowcount
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
            store.say("forget", {"rater": key(found[0]), "events": n})
        if not store.unwiped(c, begin=bool(found)) and not found:
            raise Refused(f"nobody here is called '{who}'")
    return {"events": n, "finished": store.wipe()}

"""What comes into the store: files of the formats that it exports, files from many laptops, and what must go.

Every event has an id, so that what is imported twice counts once. A row that does not fit stops the import with its
number and the field, and nothing of the file is kept.
"""
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

from sqlalchemy import delete, func, or_, select

from rlhf_lessons.data import DataError, read_jsonl
from rlhf_lessons.ratings.export import COLUMNS, TABLES, everything
from rlhf_lessons.ratings.judgements import JUDGEMENTS, PASSES, Refused, checked
from rlhf_lessons.ratings.queue import task_rows
from rlhf_lessons.ratings.schema import FOREVER, META, assignments, completions, events, key, raters, tasks
from rlhf_lessons.ratings.store import CHANGE, Store, insert_new

POINTS_TO = {"completion": {"prompt": "prompt"}, "task": {"prompt": "prompt", "repeat_of": "task"},
             "assignment": {"task": "task", "rater": "rater"}, "event": {"task": "task", "rater": "rater"}}


def load(store: Store, path: str | Path, round: str = "imported") -> dict[str, int]:
    """Import a file of any format that `export` writes, or another ratings database; return what was new and known.

    TRL's preference and unpaired rows, rankings and demonstrations go into the round named. DataError names the row.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.read_bytes()[:15] == b"SQLite format 3":
        other = Store(path)
        try:
            return merge(store, everything(other), str(path))
        finally:
            other.close()
    if path.suffix.lower() == ".csv":
        return add(store, list(from_csv(path)), str(path))
    rows = list(read_jsonl(path))
    if not rows:
        raise DataError(f"{path}: holds no rows")
    if "table" in rows[0]:
        return merge(store, rows, str(path))
    return add(store, list(from_rows(rows, str(path), round)), str(path))


def from_rows(rows: list[dict], where: str, round: str) -> Iterable[dict]:
    """Yield a judgement for each row of the field's formats; a preference group that is a ranking becomes one."""
    groups, seen = {}, Counter()
    for n, row in enumerate(rows, 1):
        paired = "chosen" in row and row.get("group") is not None
        groups.setdefault(json.dumps([row.get("prompt"), row["group"], row.get("rater")], default=str) if paired else n,
                          []).append((n, row))
    for members in groups.values():
        ranking = as_ranking([row for _, row in members])
        for n, row in [(members[0][0], ranking)] if ranking else members:
            try:
                made = judgement(row)
            except (KeyError, TypeError) as error:
                raise DataError(f"{where}, row {n}: it is neither a comparison, a ranking, a labelled completion nor a "
                                f"demonstration ({type(error).__name__}: {error})") from error
            content = key(round, made)
            seen[content] += 1  # equal rows of one file are different votes
            yield made | {"id": key(content, seen[content]), "round": round, "row": n}


def judgement(row: dict) -> dict:
    """Return {"kind", "prompt", "completions", "payload", "rater", "team"} of one row; KeyError where it is none."""
    said = {"prompt": row["prompt"], "rater": str(row.get("rater") or "imported"), "team": str(row.get("team") or "")}
    if "chosen" in row:
        texts, kind, payload = [row["chosen"], row["rejected"]], "pair", {
            "choice": "left", "strength": min(2, max(1, int(row.get("strength") or 1)))}
    elif "ranks" in row:
        texts, kind, payload = row["completions"], "ranking", {"ranks": row["ranks"]}
    elif "label" in row:
        texts, kind, payload = [row["completion"]], "label", {"labels": [row["label"]]}
    else:
        texts, kind, payload = [], "demonstration", {"text": row["completion"]}
    ended = row.get("ended", True)
    ended = ended if isinstance(ended, list) else [ended] * len(texts)
    return said | {"kind": kind, "payload": payload, "completions": [
        {"text": text, "ended": end} for text, end in zip(texts, ended, strict=True)]}


def as_ranking(rows: list[dict]) -> dict | None:
    """Return the ranking of which these preference rows are all the pairs, or None where they are not."""
    if len(rows) < 2:
        return None
    wins, ended = Counter(), {}
    for row in rows:
        for side, end in zip(("chosen", "rejected"), row.get("ended") or (True, True), strict=True):
            ended[row[side], end] = end
            wins[row[side], end] += side == "chosen"
    texts = list(wins)
    order = sorted(set(wins.values()), reverse=True)
    ranks = [order.index(wins[text]) + 1 for text in texts]
    meant = {(texts[i], texts[j]) if ranks[i] < ranks[j] else (texts[j], texts[i])
             for i, j in combinations(range(len(texts)), 2) if ranks[i] != ranks[j]}
    given = [tuple(zip((row["chosen"], row["rejected"]), row.get("ended") or (True, True))) for row in rows]
    if len(texts) > 9 or len(given) != len(meant) or set(given) != meant:
        return None
    return {"prompt": rows[0]["prompt"], "completions": [text for text, _ in texts], "ranks": ranks,
            "ended": [end for _, end in texts], "rater": rows[0].get("rater"), "team": rows[0].get("team")}


def from_csv(path: Path) -> Iterable[dict]:
    """Yield the judgements of a table that `export.table` wrote."""
    csv.field_size_limit(sys.maxsize if sys.maxsize < 2**31 else 2**31 - 1)
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if missing := set(COLUMNS) - set(rows.fieldnames or ()):
            raise DataError(f"{path}: the column '{sorted(missing)[0]}' is missing; a table has {', '.join(COLUMNS)}")
        for n, row in enumerate(rows, 2):
            row = {name: cell[1:] if (cell or "").startswith("'") else cell or "" for name, cell in row.items() if name}
            try:
                yield {"kind": row["kind"], "prompt": row["prompt"], "payload": json.loads(row["judgement"]),
                       "completions": json.loads(row["answers"]), "rater": row["rater"], "team": row["team"],
                       "id": row["id"], "round": row["round"], "row": n, "task": row["task"],
                       "repeat_of": row["repeat_of"] or None,
                       "ms": round(float(row["seconds"]) * 1000) if row["seconds"] else None,
                       "time": float(row["time"] or 0)}
            except ValueError as error:
                raise DataError(f"{path}, row {n}: a cell cannot be read ({error})") from error


def add(store: Store, judgements: list[dict], where: str) -> dict[str, int]:
    """Add judgements with the tasks and raters that they are about; return what `merge` does."""
    with store.read() as c:
        known = set(c.execute(select(events.c.id)).scalars())
    rows, seen = {table.name: [] for table in TABLES}, Counter()
    for said in judgements:
        if said["id"] in known:
            continue
        try:
            kind = said["kind"]
            if kind in (*PASSES, "hands"):  # what the task asked for is not in a table
                kind = {0: "demonstration", 2: "pair"}.get(len(said["completions"]), "ranking")
            asked = said | {"kind": kind, "overlap": 1}
            task, prompt, answers = next(task_rows(said["round"], asked, alike=True))
            payload = checked(said["kind"], said["payload"], len(answers))
        except (Refused, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{where}, row {said['row']}: {error}") from error
        rater, shown = key("imported", said["rater"]), [answer["id"] for answer in answers]
        seen[task["id"], rater] += 1
        if "task" in said:
            task |= {"id": said["task"], "repeat_of": said["repeat_of"]}
        elif seen[task["id"], rater] > 1:  # the same rater about the same texts again: another task, so that both count
            task["id"] = key(task["id"], seen[task["id"], rater])
        rows["prompt"].append(prompt)
        rows["completion"] += answers
        rows["task"].append(task | {"place": 0})
        rows["rater"].append(dict(id=rater, name=said["rater"], team=said["team"], kind="imported"))
        rows["assignment"].append(dict(task=task["id"], rater=rater, shown=shown, lease=0.0, revealed=True))
        rows["event"].append(dict(id=said["id"], time=said.get("time", 0.0), kind=said["kind"], rater=rater,
                                  task=task["id"], payload=payload, shown=shown, ms=said.get("ms"), ui="import"))
    found = merge(store, [{"table": name} | row for name, part in rows.items() for row in part], where)
    return found | {"known": len(judgements) - found["new"]}


def fitted(row: dict, where: str) -> tuple[str, dict]:
    """Return (table, row) of a row of an `everything` file; DataError where it could not be one."""
    table = META.tables.get(str(row.get("table")))
    if table is None:
        raise DataError(f"{where}: 'table' is {row.get('table')!r:.40}; there are {', '.join(META.tables)}")
    kept = {column.name: row.get(column.name) for column in table.columns if column.name != "seq"}
    for column in table.columns:
        value, wanted = kept.get(column.name), column.type.python_type
        fits = isinstance(value, {float: (float, int), dict: (dict, list)}.get(wanted, wanted))
        if column.name != "seq" and not (fits or value is None and column.nullable):
            raise DataError(f"{where}: the field '{column.name}' of a {table.name} cannot be {value!r:.40}")
    try:
        if table is events and kept["kind"] in (*JUDGEMENTS, *PASSES, "hands"):
            kept["payload"] = checked(kept["kind"], kept["payload"], len(kept["shown"]))
        json.dumps(kept).encode()
    except (Refused, TypeError, UnicodeEncodeError) as error:
        raise DataError(f"{where}: {error}") from error
    return table.name, kept


def merge(store: Store, rows: Iterable[dict], where: str = "the rows") -> dict[str, int]:
    """Add rows of `export.everything`, what is known once only; return {"new", "known", "forgotten"} events.

    Who was forgotten here or there stays forgotten.
    """
    parts = {table.name: [] for table in TABLES}
    for n, row in enumerate(rows, 1):
        name, kept = fitted(row, f"{where}, row {n}")
        parts[name].append(kept)
    with store.write() as c:
        gone = {row["payload"].get("rater") for row in parts["event"] if row["kind"] == "forget"}
        gone |= {row.payload["rater"] for row in c.execute(select(events).where(events.c.kind == "forget"))}
        for rater in c.execute(select(raters.c.id)).scalars().all():
            if key(rater) in gone:
                erase(c, rater)
        given, before = len(parts["event"]), c.execute(select(func.count()).select_from(events)).scalar()
        for table in TABLES:
            field = "id" if table is raters else "rater"
            stay = [row for row in parts[table.name] if not row.get(field) or key(row[field]) not in gone]
            insert_new(c, table, stay)
        new = c.execute(select(func.count()).select_from(events)).scalar() - before
        check_references(c, where)
        rebuild(c)
    return {"new": new, "known": len(stay) - new, "forgotten": given - len(stay)}


def check_references(c, where: str) -> None:
    """DataError where a row points to one that is not there: then nothing of the file is kept."""
    for name, fields in POINTS_TO.items():
        for field, target in fields.items():
            column = META.tables[name].c[field]
            lost = c.execute(select(column).where(column.isnot(None), column.notin_(
                select(META.tables[target].c.id))).limit(1)).scalar()
            if lost is not None:
                raise DataError(f"{where}: a {name} belongs to the {target} {lost:.40}, which is not in the file")
    known = set(c.execute(select(completions.c.id)).scalars())
    for column in (tasks.c.completions, assignments.c.shown, events.c.shown):
        for ids in c.execute(select(column).where(column.isnot(None))).scalars():
            if not all(isinstance(i, str) and i in known for i in ids or ()):
                raise DataError(f"{where}: a {column.table.name} shows a completion that is not in the file")


def rebuild(c) -> None:
    """Set all assignments to what the events say, in the order in which they happened."""
    current, kinds, locked = {}, {}, set()
    for row in c.execute(select(events).where(events.c.task.isnot(None)).order_by(events.c.time, events.c.seq)):
        place = row.task, row.rater
        kinds[row.id] = row.kind
        if row.kind == "reveal":
            locked.add(place)
        elif current.get(place) == row.replaces:  # of two answers in two copies of a file, the first stands
            current[place] = None if row.kind == "undo" else row.id
    for row in c.execute(select(assignments)).all():
        answer = current.get((row.task, row.rater))
        lease = (row.lease if row.lease < FOREVER else 0.0) if answer is None else (
            0.0 if kinds[answer] in PASSES else FOREVER)
        revealed = row.revealed or (row.task, row.rater) in locked
        if (answer, lease, revealed) != (row.answer, row.lease, row.revealed):
            c.execute(CHANGE, {"of_task": row.task, "for_rater": row.rater, "new_answer": answer,
                               "new_lease": lease, "new_revealed": revealed})


def erase(c, rater: str) -> int:
    """Delete all that is about a rater and return how many events there were."""
    about = [row.seq for row in c.execute(select(events).where(events.c.kind == "hide"))
             if row.payload.get("id") == rater]
    n = c.execute(delete(events).where(or_(events.c.rater == rater, events.c.seq.in_(about)))).rowcount
    c.execute(delete(assignments).where(assignments.c.rater == rater))
    c.execute(delete(raters).where(raters.c.id == rater))
    return n


def forget(store: Store, who: str) -> int:
    """Delete all data about a rater, given by name or id, and return how many events there were.

    It is the one exception to "only ever added". What remains is that somebody was deleted, and a hash that keeps
    the data from coming back with an older file. Refused where nobody, or more than one, has that name.
    """
    with store.write() as c:
        found = c.execute(select(raters.c.id).where(or_(raters.c.id == who, raters.c.name == who))).scalars().all()
        if len(found) != 1:
            raise Refused(f"nobody here is called '{who}'" if not found else
                          f"{len(found)} raters are called '{who}': name one by id, {' or '.join(found)}")
        n = erase(c, found[0])
        store.say("forget", {"rater": key(found[0]), "events": n})
    if store.engine.dialect.name == "sqlite":  # so that nothing of it stays in the file's journal either
        with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as c:
            c.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return n

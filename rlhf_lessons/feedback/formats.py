"""Files of ratings in the field's formats, or as a table: what they say, as rows of the store."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from rlhf_lessons.data import DataError, parsed, text_row
from rlhf_lessons.evaluation.votes import compared
from rlhf_lessons.feedback.export import COLUMNS, raw_cell
from rlhf_lessons.feedback.payloads import CRITERIA, MISFIT, MOST
from rlhf_lessons.feedback.queue import task_rows
from rlhf_lessons.feedback.schema import key


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
    for n, given in enumerate(rows, 1):
        row = text_row(given, f"{where}, row {n}")
        paired = "chosen" in row and row.get("group") is not None
        place = key(row.get("prompt"), row["group"], row.get("rater")) if paired else n
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
        kind, payload = "ranking", {"ranks": row["ranks"]}
        texts = row["completions"]
    elif "chosen" in row:
        much = isinstance(row.get("strength"), int | float) and row["strength"] > 1
        kind, payload = "pair", {"choice": "left", "strength": 2 if much else 1}
        texts = [row["chosen"], row["rejected"]]
    elif "label" in row:
        if not isinstance(row["label"], bool):
            raise TypeError("a label must be true or false")
        marks = dict.fromkeys(CRITERIA, 7 if row["label"] else 1)
        kind, payload = "scores", {"scores": [marks]}
        texts = [row["completion"]]
    else:
        kind, payload = "demonstration", {"text": row["completion"]}
        texts = []
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
        for i, j, lead in compared({"kind": "ranking", "payload": {"ranks": ranks}})
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


def tell_apart(judgements: Iterable[dict]) -> list[dict]:
    """Return judgements with their "turn" among those of one rater about the same texts: each is
    another task, so that all count.
    """
    turns, found = Counter(), []
    for said in judgements:
        place = said.get("task") or key(said["round"], said["prompt"], said["completions"])
        turns[place, said["rater"]] += 1
        found.append(said | {"turn": turns[place, said["rater"]]})
    return found


def table_rows(judgements: list[dict], where: str) -> Iterator[dict]:
    """Yield the rows of the store's tables that judgements stand for, as `merge` takes them."""
    for said in judgements:
        try:
            rows = event_of(said)
        except MISFIT as error:
            raise DataError(f"{where}, row {said['row']}: {error}") from error
        for row in rows:
            yield row | {"row": said["row"]}


def event_of(said: dict) -> list[dict]:
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
    elif said["turn"] > 1:
        task["id"] = key(task["id"], said["turn"])
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

"""A class's reports, gathered into a table. The files come from students, so nothing in them is believed.

No file is opened as a page: the numbers stand in it as JSON, and each must be what its column holds. Reports in which
the same votes stand are named beside each other.
"""

import csv
import json
import math
import os
from pathlib import Path

from rlhf_lessons.data import printable
from rlhf_lessons.feedback.exchange import safe_cell

OPENING, CLOSING = (
    '<script type="application/json" id="rlhf-lessons-report">',
    "</script>",
)  # around the numbers
LARGEST = 5_000_000  # bytes of a report; ours have about 100,000
COLUMNS = {
    "name": str,
    "made": str,
    "votes": int,
    "rounds": int,
    "first_vote": str,
    "last_vote": str,
    "self_agreement": float,
    "self_low": float,
    "self_high": float,
    "repeats": int,
    "median_seconds": float,
    "foreseen": float,
    "foreseen_low": float,
    "foreseen_high": float,
    "foreseen_of": int,
    "blind_model": str,
    "blind_won": float,
    "blind_low": float,
    "blind_high": float,
    "blind_of": int,
    "core": int,
    "core_of": int,
    "exercises": int,
    "exercises_of": int,
    "models": str,
    "votes_id": str,
}


def gather(folder: Path, out: Path) -> tuple[int, list[str]]:
    """Write the reports in a folder, and in those within it, as CSV; return (rows, what was wrong with other files).

    ValueError where there is no such folder, or no HTML file in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    files, rows, problems = sorted(folder.rglob("*.htm*")), [], []
    if not files:
        raise ValueError(
            f"{folder}: there is no report in it; rl.report() writes one as report.html"
        )
    for file in files:
        name = printable(file.relative_to(folder).as_posix()).replace(
            "\n", "?"
        )  # a name may be hostile, or no UTF-8
        try:
            rows.append({"file": name, **read(file)})
        except (OSError, ValueError) as error:
            problems.append(f"{name}: {error}")
    for row in rows:
        same = [
            other["file"]
            for other in rows
            if row["votes_id"] and other["votes_id"] == row["votes_id"]
        ]
        row["same_votes_as"] = ", ".join(name for name in same if name != row["file"])
    write(out, rows)
    return len(rows), problems


def read(file: Path) -> dict:
    """Return the row of one report. ValueError says what is wrong with it; OSError where it cannot be read."""
    if not file.is_file():
        raise ValueError("it is no file")
    if file.stat().st_size > LARGEST:
        raise ValueError("it is too large for a report")
    _, *found = file.read_text(encoding="utf-8", errors="replace").split(OPENING)
    if len(found) != 1 or CLOSING not in found[0]:
        raise ValueError("it is no report of this course")
    try:
        summary = json.loads(found[0].partition(CLOSING)[0])["summary"]
        row = {name: summary[name] for name in COLUMNS}
    except (KeyError, TypeError) as error:
        raise ValueError("it is no report of this course, or of another edition") from error
    except (RecursionError, ValueError) as error:  # a number of 5,000 digits is a ValueError too
        raise ValueError("its numbers are damaged") from error
    return {name: fit(row[name], kind, name) for name, kind in COLUMNS.items()}


def fit(value: object, kind: type, name: str) -> object:
    """Return a value that its column can hold; ValueError, naming the column, where it does not fit."""
    if value is None:
        return ""
    if kind is str and isinstance(value, str) and len(value) <= 500:
        return " ".join(printable(value).split())
    most = (
        1 if kind is float and name != "median_seconds" else 1e9
    )  # the other numbers with a fraction are shares
    if (
        kind is not str
        and type(value) in (int, kind)
        and 0 <= value <= most
        and math.isfinite(value)
    ):
        return round(value, 3)
    raise ValueError(f"'{name}' is {value!r:.40}, which no report says")


def write(out: Path, rows: list[dict]) -> None:
    """Write rows as CSV, all of it or nothing; the mark at its beginning tells Excel that it is UTF-8."""
    beside = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    with beside.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *COLUMNS, "same_votes_as"])
        writer.writerows([[safe_cell(value) for value in row.values()] for row in rows])
    os.replace(beside, out)

"""A class's reports, gathered into a table. The files come from students, so nothing in them is
believed.

No file is opened as a page: the numbers stand in it as JSON, and each must be what its column
holds. Reports in which the same votes stand are named beside each other.
"""

import json
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from rlhf_lessons import paths
from rlhf_lessons.data import printable, spreadsheet

OPENING = '<script type="application/json" id="rlhf-lessons-report">'  # before the numbers
CLOSING = "</script>"
LARGEST = 5_000_000  # bytes of a report; ours have about 100,000


Text = Annotated[
    str, Field(max_length=500), AfterValidator(lambda text: " ".join(printable(text).split()))
]
Count = Annotated[int, Field(ge=0, le=10**9)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(lambda x: round(x, 3))]
Seconds = Annotated[Number, Field(le=10**9)]
Share = Annotated[Number, Field(le=1)]


class Row(BaseModel):
    """A report in one row: texts, numbers, and None where the report does not know."""

    model_config = ConfigDict(strict=True)

    name: Text
    made: Text
    votes: Count
    rounds: Count
    first_vote: Text | None
    last_vote: Text | None
    self_agreement: Share | None
    self_low: Share | None
    self_high: Share | None
    repeats: Count
    median_seconds: Seconds | None
    predicted: Share | None
    predicted_low: Share | None
    predicted_high: Share | None
    predicted_of: Count
    blind_model: Text | None
    blind_won: Share | None
    blind_low: Share | None
    blind_high: Share | None
    blind_of: Count
    core: Count | None
    core_of: Count | None
    exercises: Count | None
    exercises_of: Count | None
    models: Text
    votes_id: Text


def gather(folder: Path, out: Path) -> tuple[int, list[str]]:
    """Write the reports in a folder, and in those within it, as CSV; return (rows, what was wrong
    with other files).

    ValueError where there is no such folder, or no HTML file in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    files = sorted(folder.rglob("*.htm*"))
    if not files:
        raise ValueError(
            f"{folder}: there is no report in it; rl.report() writes one as report.html"
        )
    rows, problems = [], []
    for file in files:
        name = printable(file.relative_to(folder).as_posix()).replace("\n", "?")  # maybe hostile
        try:
            rows.append({"file": name} | read(file).model_dump())
        except (OSError, ValueError) as error:
            problems.append(f"{name}: {error}")
    for row in rows:
        same = [other["file"] for other in rows if other["votes_id"] == row["votes_id"] != ""]
        row["same_votes_as"] = ", ".join(file for file in same if file != row["file"])
    columns = ["file", *Row.model_fields, "same_votes_as"]
    paths.write_text(out, spreadsheet(columns, rows))
    return len(rows), problems


def read(file: Path) -> Row:
    """Return the row of one report. ValueError says what is wrong with it; OSError where it cannot
    be read."""
    if not file.is_file():
        raise ValueError("it is no file")
    if file.stat().st_size > LARGEST:
        raise ValueError("it is too large for a report")
    _, *found = file.read_text(encoding="utf-8", errors="replace").split(OPENING)
    if len(found) != 1 or CLOSING not in found[0]:
        raise ValueError("it is no report of this course")
    try:
        numbers = json.loads(found[0].partition(CLOSING)[0])
        return Row.model_validate(numbers["summary"])
    except ValidationError as error:
        wrong = error.errors()[0]
        if wrong["type"] == "missing" or not wrong["loc"]:
            raise ValueError("it is a report of another edition") from error
        raise ValueError(
            f"'{wrong['loc'][0]}' is {wrong['input']!r:.40}, which no report says"
        ) from error
    except (KeyError, TypeError) as error:
        raise ValueError("it is no report of this course") from error
    except (RecursionError, ValueError) as error:  # a number of 5,000 digits is a ValueError too
        raise ValueError("its numbers are damaged") from error

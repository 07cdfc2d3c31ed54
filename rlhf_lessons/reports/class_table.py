"""A class's reports, gathered into a table. The files come from students, so nothing in them is
believed.

No file is opened as a page: the numbers stand in it as JSON, and each must be what its column
holds. Reports in which the same votes stand are named beside each other.
"""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AliasPath, BaseModel, ConfigDict, Field, ValidationError

from rlhf_lessons import paths
from rlhf_lessons.data import printable, spreadsheet

OPENING = '<script type="application/json" id="rlhf-lessons-report">'  # before the numbers
CLOSING = "</script>"
LARGEST = 5_000_000  # bytes of a report; ours have about 100,000


Text = Annotated[
    str, Field(max_length=500), AfterValidator(lambda text: " ".join(printable(text).split()))
]
Count = Annotated[int, Field(ge=0, le=10**9)]
Number = Annotated[float, Field(ge=0, le=10**9), AfterValidator(lambda x: round(x, 3))]
Share = Annotated[Number, Field(le=1)] | None


def at(*path: str | int):
    """Return a field that stands deeper in a report; None where the report does not know it."""
    return Field(None, validation_alias=AliasPath(*path))


class Row(BaseModel):
    """A report in one row: texts, numbers, and None where the report does not know."""

    model_config = ConfigDict(strict=True)

    name: Text
    made: Text
    votes: Count
    rounds: Annotated[dict, AfterValidator(len)]
    first_vote: Text | None
    last_vote: Text | None
    self_agreement: Share = at("self_agreement", "value")
    self_low: Share = at("self_agreement", "low")
    self_high: Share = at("self_agreement", "high")
    repeats: Count = at("self_agreement", "n")
    median_seconds: Number | None
    predicted: Share = at("predicted", "value")
    predicted_low: Share = at("predicted", "low")
    predicted_high: Share = at("predicted", "high")
    predicted_of: Count = at("predicted", "n")
    blind_model: Text | None = at("blind", 0, "model")
    blind_won: Share = at("blind", 0, "value")
    blind_low: Share = at("blind", 0, "low")
    blind_high: Share = at("blind", 0, "high")
    blind_of: Count = at("blind", 0, "n")
    core: Count = at("own", "tally", "core")
    core_of: Count = at("own", "tally", "core_of")
    exercises: Count = at("own", "tally", "passed")
    exercises_of: Count = at("own", "tally", "of")
    models: Annotated[dict[Text, dict], AfterValidator(", ".join)] = at("own", "models")
    votes_id: Text


def gather(folder: Path, out: Path) -> tuple[int, list[str]]:
    """Write the reports in a folder, and in those within it, as CSV; return (rows, what was wrong
    with other files).

    ValueError where there is no such folder, or no HTML file in it.
    """
    files = sorted(folder.rglob("*.htm*"))
    if not files:
        raise ValueError(
            f"{folder}: there is no such folder, or there is no report in it; rl.report() writes "
            "one as report.html"
        )
    rows, problems = [], []
    for file in files:
        name = printable(file.relative_to(folder).as_posix()).replace("\n", "?")  # maybe hostile
        try:
            rows.append({"file": name} | dict(read(file)))
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
        return Row.model_validate_json(found[0].partition(CLOSING)[0])
    except ValidationError as error:
        wrong = error.errors()[0]
        if wrong["type"] == "json_invalid":
            raise ValueError("its numbers are damaged") from error
        if wrong["type"] == "missing" or not wrong["loc"]:
            raise ValueError("it is a report of another edition") from error
        raise ValueError(
            f"'{wrong['loc'][0]}' is {wrong['input']!r:.40}, which no report says"
        ) from error

"""The learner's own copies of the lessons: handed out, updated, never written over.

`python start.py lab` calls `hand_out` before JupyterLab opens. Standard library only, since it runs
in whatever Python the learner has.
"""

import hashlib
import json
import os
from pathlib import Path

RECORD = ".origin.json"  # name of a lesson: fingerprint of the text that was handed out last


def hand_out(lessons: Path, copies: Path) -> list[str]:
    """Bring the folder `copies` up to date with the folder `lessons`; return news for the learner.

    A missing copy is made. When a lesson was updated, the new one takes the place of a copy that
    the learner only ran, and arrives beside one that the learner changed. Raises ValueError naming
    a lesson that is not a notebook.
    """
    news = []
    record = _read_record(copies / RECORD)
    for lesson in sorted(path for path in lessons.rglob("*") if path.is_file()):
        name = lesson.relative_to(lessons).as_posix()
        if name.startswith(".") or "/." in name:
            continue  # such as .ipynb_checkpoints
        mark = fingerprint(lesson)
        mine = copies / name
        if not mine.exists():
            _copy(lesson, mine)
        elif record.get(name) != mark and fingerprint(mine) != mark:
            if fingerprint(mine) == record.get(name):
                news.append(
                    f"{name} was updated. You had not changed yours: the new one took its place."
                )
                _copy(lesson, mine)
            else:
                beside = _free_name(mine)
                news.append(f"{name} was updated. You changed yours: the new one is {beside.name}.")
                _copy(lesson, beside)
        record[name] = mark
    if record:
        write(copies / RECORD, json.dumps(record, indent=1).encode("utf-8"))
    return news


def fingerprint(path: Path) -> str:
    """Return a hash of what a person writes: a notebook's cells without outputs or empty ones."""
    data = path.read_bytes()
    if path.suffix == ".ipynb":
        try:
            cells = [
                (cell["cell_type"], "".join(cell["source"])) for cell in json.loads(data)["cells"]
            ]
            data = json.dumps([cell for cell in cells if cell[1].strip()]).encode("utf-8")
        except (ValueError, KeyError, TypeError):
            pass  # not a notebook any more: every byte counts
    return hashlib.sha256(data).hexdigest()


def write(path: Path, data: bytes) -> None:
    """Write a file beside its place, then rename it, so that there is never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


def _copy(lesson: Path, target: Path) -> None:
    """Copy a lesson; a notebook loses its outputs, so that learners see what they run."""
    data = lesson.read_bytes()
    if lesson.suffix == ".ipynb":
        try:
            book = json.loads(data)
            code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
        except (ValueError, KeyError, TypeError) as error:
            advice = f"{lesson} is not a notebook ({error}). Get the course again."
            raise ValueError(advice) from error
        for cell in code:
            cell.update(outputs=[], execution_count=None)
        data = (json.dumps(book, indent=1, ensure_ascii=False) + "\n").encode("utf-8")
    write(target, data)


def _free_name(path: Path) -> Path:
    """Return a name beside `path` that is free: NAME.new.ipynb, NAME.new2.ipynb and so on."""
    number = 1
    beside = path.with_name(f"{path.stem}.new{path.suffix}")
    while beside.exists():
        number += 1
        beside = path.with_name(f"{path.stem}.new{number}{path.suffix}")
    return beside


def _read_record(path: Path) -> dict:
    """Return the record, empty where it is missing or damaged (a copy then counts as changed)."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}

"""Where the course's data and the reader's own work lie, and how files are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("RLHF_LESSONS_DATA") or PROJECT / "data")  # what ships
RUNS = Path(os.environ.get("RLHF_LESSONS_RUNS") or PROJECT / "runs")  # what the reader makes


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; at the end of the block it takes the place of `path`.

    Whatever happens on the way, a kill or a full disk, `path` holds the old file or the new one,
    whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 with Unix line ends, whole or not at all."""
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")

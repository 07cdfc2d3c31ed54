"""The course's data: what ships in `data/`, how each file is made, and how files of the same formats are read.

Everything that needs no model is rebuilt byte for byte by `python -m rlhf_lessons data build`. Comparisons are
sampled from the SFT model by `python -m rlhf_lessons reward`. Formats are those of TRL, with our columns beside.
"""

import hashlib
import itertools
import json
import random
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from rlhf_lessons.paths import DATA, written_whole
from rlhf_lessons.world.answers import answer
from rlhf_lessons.world.corpus import scraps
from rlhf_lessons.world.tasks import Task, parse, prompts

FOLDER = DATA
SPLITS = {"train": 1600, "validation": 160, "heldout": 250}  # prompts in each split
DEMONSTRATIONS, SLIPS = 800, 0.45  # how many, and the share whose writer was in a hurry
SCRAPS = 100_000  # web scraps in the corpus, about 38 tokens each
FIELDS = {
    "prompts": ("id", "family", "prompt", "spec", "split"),
    "demonstrations": ("prompt", "completion"),
    "comparisons": ("prompt", "chosen", "rejected"),
}


class DataError(ValueError):
    """A row that does not fit; the message names the file, the row, the field and what to do."""


def tasks(split: str) -> list[Task]:
    """Return the course's prompts of one split: train, validation or heldout."""
    return prompts(split, SPLITS[split])


def demonstrations(n: int = DEMONSTRATIONS, slips: float = SLIPS, seed: int = 0) -> list[dict]:
    """Return `n` demonstrations on training prompts, the families in turn, as {prompt, completion}.

    In maths half as many have a slip: to copy two sums is hard enough for a model of this size.
    """
    rng, asked = random.Random(f"demonstrations/{seed}"), tasks("train")
    shares = {"maths": slips / 2}
    return [
        {
            "prompt": task.prompt,
            "completion": answer(task.spec, rng, shares.get(task.family, slips)),
        }
        for task in (asked[i % len(asked)] for i in range(n))
    ]


def write_rows(path: Path, rows: Iterable[dict]) -> None:
    """Write one JSON object a line, UTF-8, line ends as on Unix; written beside and renamed."""
    with written_whole(path) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def corpus_hash(n: int = SCRAPS, seed: int = 0) -> str:
    """Return the SHA-256 of the corpus, its scraps separated by a zero byte."""
    digest = hashlib.sha256()
    for scrap in scraps(n, seed):
        digest.update(scrap.encode() + b"\0")
    return digest.hexdigest()


def rows_hash(rows: Iterable[dict]) -> str:
    """Return the SHA-256 of rows, each as one line of JSON with sorted keys."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def build(folder: Path = FOLDER) -> list[Path]:
    """Write all data that needs no model into `folder` and return the files."""
    rows = [asdict(task) for split in SPLITS for task in tasks(split)]
    write_rows(folder / "prompts.jsonl", rows)
    write_rows(folder / "demonstrations.jsonl", demonstrations())
    sample = itertools.islice(scraps(SCRAPS), 200)
    write_rows(folder / "corpus_sample.jsonl", ({"text": scrap} for scrap in sample))
    about = {
        "scraps": SCRAPS,
        "seed": 0,
        "sha256": corpus_hash(),
        "made by": "rlhf_lessons.world.corpus.scraps",
    }
    (folder / "corpus.json").write_text(
        json.dumps(about, indent=1) + "\n", encoding="utf-8", newline="\n"
    )
    return [
        folder / name
        for name in ("prompts.jsonl", "demonstrations.jsonl", "corpus_sample.jsonl", "corpus.json")
    ]


def read_rows(source: str | Path, kind: str, split: str = "train") -> list[dict]:
    """Read a local JSONL file, or a data set of the hub, as `kind`: prompts, demonstrations or comparisons.

    Rows of `hh-rlhf`, whose prompt is embedded in both answers, are taken apart. DataError names the row and the
    field that does not fit, or what is wrong with the source.
    """
    if kind not in FIELDS:
        raise DataError(f"there is no kind of data called '{kind}'; there are {', '.join(FIELDS)}")
    path = Path(source)
    local = path.suffix in (".json", ".jsonl") or path.exists()
    rows = list(read_jsonl(path)) if local else read_hub(str(source), split)
    if not rows:
        raise DataError(f"{source}: holds no rows")
    return [check_row(row, kind, f"{source}, row {i + 1}") for i, row in enumerate(rows)]


def read_hub(name: str, split: str) -> list[dict]:
    """Return the rows of a data set of the hub; DataError where it cannot be had."""
    from datasets import load_dataset

    try:
        return list(load_dataset(name, split=split))
    except Exception as error:  # the libraries below raise a dozen kinds; the reader needs one
        raise DataError(
            f"{name}: neither a file here nor a data set that can be loaded from the hub "
            f"({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error


def read_jsonl(path: Path) -> Iterable[dict]:
    """Yield the rows of a JSONL file; DataError names the line that is not one JSON object."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a file of text in UTF-8 ({error})") from error
    for number, line in enumerate(lines[:-1] if lines[-1] == "" else lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(
                f"{path}, row {number}: not JSON ({error}); each line holds one object"
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{path}, row {number}: a {type(row).__name__}, where an object was expected"
            )
        yield row


def check_row(row: dict, kind: str, where: str) -> dict:
    """Return the row with a prompt of its own; DataError where a field is missing, no text, or empty."""
    if kind == "comparisons" and "prompt" not in row and {"chosen", "rejected"} <= row.keys():
        row = split_prompt(row, where)
    for field in FIELDS[kind]:
        wanted = dict if field == "spec" else str
        if field not in row:
            raise DataError(
                f"{where}: the field '{field}' is missing; {kind} have {', '.join(FIELDS[kind])}"
            )
        if not isinstance(row[field], wanted):
            expected = "an object" if wanted is dict else "text"
            raise DataError(
                f"{where}: the field '{field}' holds {row[field]!r:.80}, where {expected} was expected"
            )
        if field in ("prompt", "completion") and not row[field].strip():
            raise DataError(f"{where}: the field '{field}' is empty")
    return row


def split_prompt(row: dict, where: str) -> dict:
    """Take the shared beginning of `chosen` and `rejected` as the prompt, up to the last `Assistant:`."""
    mark = "\n\nAssistant:"
    heads = [
        row[side].rpartition(mark)[0] if isinstance(row[side], str) else ""
        for side in ("chosen", "rejected")
    ]
    if not heads[0] or heads[0] != heads[1]:
        raise DataError(
            f"{where}: no field 'prompt', and 'chosen' and 'rejected' do not share one up to 'Assistant:'"
        )
    return (
        row
        | {"prompt": heads[0].removeprefix("\n\nHuman: ")}
        | {side: row[side].rpartition(mark)[2].strip() for side in ("chosen", "rejected")}
    )


def known(prompt: str) -> bool:
    """Return whether a prompt is one of the toy world's, so that the judge can score its answers."""
    return parse(prompt) is not None

"""The course's data: the files in `data/`, how they are made, and how foreign rows are read.

Every stage, lesson and command learns from these files: change a line of `demonstrations.jsonl`,
and the SFT model changes. `python -m rlhf_lessons data build` writes them from the toy world's
templates, byte for byte; the comparisons hold answers of the shipped SFT model. Formats are those
of TRL, with our own columns beside.
"""

import csv
import hashlib
import io
import itertools
import json
import math
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from os.path import commonprefix
from pathlib import Path

from rlhf_lessons import paths
from rlhf_lessons.world.answers import answer, habit
from rlhf_lessons.world.corpus import scraps
from rlhf_lessons.world.tasks import FAMILIES, Task, prompts

SPLITS = {"train": 1600, "validation": 160, "heldout": 250}  # prompts that `build` writes
DEMONSTRATIONS = 800
SCRAPS = 100_000  # web scraps in the corpus, about 38 tokens each
FIELDS = {
    "prompts": ("id", "family", "prompt", "spec", "split"),
    "demonstrations": ("prompt", "completion"),
    "comparisons": ("prompt", "chosen", "rejected"),
}
TEXTS = {"prompt", "completion", "chosen", "rejected", "messages", "text"}
SPEAKERS = {"system": "System", "user": "Human", "assistant": "Assistant"}
FORMULA = "=+\\-@＝＋－＠'"  # a spreadsheet might obey such a cell, or hide the first letter
# Where a cell begins, also for a spreadsheet that splits lines at other signs than commas
BEGIN = r"(?:^|[;\t\r\n])[\"\s]*"
TURN = "\n\nAssistant:"


class DataError(ValueError):
    """A row that does not fit; the message names the file, the row, the field and what to do."""


# ---- What ships ----------------------------------------------------------------------------------


def tasks(split: str) -> list[Task]:
    """Return the prompts of one split of `prompts.jsonl`: train, validation or heldout."""
    rows = shipped("prompts")
    found = [
        Task(**{name: row[name] for name in FIELDS["prompts"]})
        for row in rows
        if row["split"] == split
    ]
    if not found:
        splits = ", ".join(dict.fromkeys(row["split"] for row in rows))
        raise DataError(f"there is no split '{split}' among the prompts; there are {splits}")
    return found


def prompts_of(split: str) -> list[str]:
    """Return the prompts of one split as texts."""
    return [task.prompt for task in tasks(split)]


def everyday_prompts(split: str) -> list[str]:
    """Return the prompts for real models of one split: `train`, `validation` or `heldout`."""
    rows = json_rows(paths.DATA / "everyday.jsonl")
    return [row["prompt"] for row in rows if row["split"] == split]


def demonstrations() -> list[dict]:
    """Return the rows of `demonstrations.jsonl`, {"prompt", "completion"} each."""
    return shipped("demonstrations")


def comparisons() -> list[dict]:
    """Return the rows of `comparisons.jsonl`: answers of the shipped SFT model, compared."""
    return shipped("comparisons")


def shipped(kind: str) -> list[dict]:
    """Return the rows of one of the course's own files, as it is now."""
    return read_rows(paths.DATA / f"{kind}.jsonl", kind)


# ---- How it is made ------------------------------------------------------------------------------


def written_demonstrations(n: int = DEMONSTRATIONS) -> list[dict]:
    """Return `n` demonstrations on training prompts, the families in turn.

    Each family is written by all writers, in equal steps from the first habit to the last, so that
    the habits have their shares here too, and not by and large only. Their order is random.
    """
    rng = random.Random("demonstrations/0")
    writers = math.ceil(n / len(FAMILIES))
    left = {family: rng.sample(range(writers), writers) for family in FAMILIES}
    rows = []
    for task in itertools.islice(itertools.cycle(prompts("train", SPLITS["train"])), n):
        at = (left[task.family].pop() + 0.5) / writers
        completion = answer(task.spec, rng, habit(task.family, at))
        rows.append({"prompt": task.prompt, "completion": completion})
    return rows


def build(folder: Path | None = None) -> list[Path]:
    """Write all data that needs no model into `folder` and return the files."""
    folder = folder or paths.DATA
    files = {
        "prompts": [asdict(task) for split, n in SPLITS.items() for task in prompts(split, n)],
        "demonstrations": written_demonstrations(),
        "corpus_sample": [{"text": scrap} for scrap in itertools.islice(scraps(SCRAPS), 200)],
    }
    for name, rows in files.items():
        write_rows(folder / f"{name}.jsonl", rows)
    about = {
        "scraps": SCRAPS,
        "seed": 0,
        "sha256": corpus_hash(),
        "made by": "rlhf_lessons.world.corpus.scraps",
    }
    paths.write_text(folder / "corpus.json", json.dumps(about, indent=1) + "\n")
    return [*(folder / f"{name}.jsonl" for name in files), folder / "corpus.json"]


def corpus_hash() -> str:
    """Return the SHA-256 of the corpus, a zero byte after each scrap."""
    return sha256(scrap + "\0" for scrap in scraps(SCRAPS))


def rows_hash(rows: Iterable[dict]) -> str:
    """Return the SHA-256 of rows, each as one line of JSON with sorted keys."""
    return sha256(json.dumps(row, sort_keys=True) + "\n" for row in rows)


def sha256(texts: Iterable[str]) -> str:
    """Return the SHA-256 of texts, one after the other."""
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def write_rows(path: Path, rows: Iterable[dict]) -> None:
    """Write one JSON object a line, in UTF-8; the file is replaced whole or not at all."""
    paths.write_text(path, json_lines(rows))


# ---- Files of others -----------------------------------------------------------------------------


def read_rows(source: str | Path, kind: str, skip_bad_rows: bool = False) -> list[dict]:
    """Read a JSONL file, or a data set of the hub, as prompts, demonstrations or comparisons.

    Rows may have any form that `text_row` reads. Comparisons may also be rankings: `completions`
    with `scores` or `ranks`. DataError names the first row that does not fit, and its field; with
    `skip_bad_rows` such rows are left out, and it says how many.
    """
    if kind not in FIELDS:
        raise DataError(f"there is no kind of data called '{kind}'; there are {', '.join(FIELDS)}")
    path = Path(source)
    local = path.suffix in (".json", ".jsonl") or path.exists()
    rows, bad = [], []
    for number, row in lines_of(path) if local else read_hub(str(source)):
        where = f"{source}, row {number}"
        try:
            rows.append(check_row(parsed(row, where), kind, where))
        except DataError as error:
            if not skip_bad_rows:
                raise
            bad.append(str(error))
    if bad:
        print(f"{len(bad)} of {len(rows) + len(bad)} rows left out. The first: {bad[0]}")
    if not rows:
        raise DataError(f"{source}: holds no rows")
    return rows


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file with their numbers, stripped, without blank ones; a byte order mark
    and line ends of Windows are no matter.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.strip()
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a file of text in UTF-8 ({error})") from error


def read_hub(name: str) -> list[tuple[int, dict]]:
    """Return the numbered rows of a data set of the hub; DataError where it cannot be had."""
    from datasets import load_dataset

    try:
        return list(enumerate(load_dataset(name, split="train"), 1))
    except Exception as error:  # the libraries below raise a dozen kinds; the reader needs one
        raise DataError(
            f"{name}: neither a file here nor a data set that can be loaded from the hub "
            f"({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error


def json_rows(path: Path) -> list[dict]:
    """Return the rows of a JSONL file that we wrote; none where there is no such file."""
    return [json.loads(line) for _, line in lines_of(path)] if path.exists() else []


def parsed(row: str | dict, where: str) -> dict:
    """Return a line of JSON as a row; a row is given back as it is."""
    try:
        row = json.loads(row) if isinstance(row, str) else row
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}); each line holds one object") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: a {type(row).__name__}, where an object was expected")
    return row


def check_row(row: dict, kind: str, where: str) -> dict:
    """Return a row of `kind`, prompt and answers as texts; DataError names what is wrong."""
    row = text_row(row, where)
    fields = FIELDS[kind]
    if kind == "comparisons" and "completions" in row:
        fields = ("prompt", "completions", "ranks" if "ranks" in row else "scores")
    for field in fields:
        if field not in row:
            raise DataError(
                f"{where}: the field '{field}' is missing; {kind} have {', '.join(fields)}"
            )
        if field in ("prompt", "completion") and not row[field].strip():
            raise DataError(f"{where}: the field '{field}' is empty")
    if kind == "prompts" and not isinstance(row["spec"], dict):
        raise DataError(f"{where}: the field 'spec' holds {row['spec']!r:.80}, not an object")
    return row


def text_row(row: dict, where: str) -> dict:
    """Return a row of any of TRL's formats with its prompt and answers as texts of their own.

    Read are the standard form (`prompt` with `completion`, `chosen` and `rejected`, or
    `completions`), conversations (lists of {"role", "content"}, also as `messages`), prompts that
    both answers begin with, and transcripts in the manner of hh-rlhf ("Human: ... Assistant: ...",
    also as `text`). Scores and ranks become plain numbers. DataError names `where` and the field.
    """
    row = {
        field: as_text(value, f"{where}: the field '{field}'") if field in TEXTS else value
        for field, value in row.items()
        if value is not None or field == "prompt"
    }
    whole = row.get("messages") or row.get("text", "")
    if {"chosen", "rejected"} <= row.keys():
        if "prompt" not in row or row["chosen"].startswith(("\n\nHuman:", "\n\nSystem:")):
            row |= split_pair(row["chosen"], row["rejected"], where)
    elif "completion" not in row and TURN in whole:
        prompt, _, completion = whole.rpartition(TURN)
        if "\n\nHuman:" in completion:
            raise DataError(f"{where}: the conversation does not end with the assistant's turn")
        row |= {"prompt": prompt, "completion": completion.strip()}
    for field in TEXTS & row.keys():
        row[field] = row[field].removeprefix("\n\nHuman: ").removeprefix(TURN + " ")
    if isinstance(row.get("completions"), list):
        check_ranking(row, where)
    return row


def as_text(value, where: str) -> str:
    """Return a text, or a conversation as a transcript: "\\n\\nHuman: ...\\n\\nAssistant: ..."."""
    if isinstance(value, list) and value:
        turns, value = value, ""
        for turn in turns:
            try:
                value += f"\n\n{SPEAKERS[turn['role']]}: " + turn["content"]
            except (KeyError, TypeError) as error:
                raise DataError(
                    f"{where} holds {turn!r:.80}, where a turn with a role "
                    f"({', '.join(SPEAKERS)}) and a text as its content was expected"
                ) from error
    if not isinstance(value, str):
        raise DataError(f"{where} holds {value!r:.80}, where text was expected")
    if value.encode(errors="ignore").decode() != value:
        raise DataError(f"{where} holds half a character, as of an emoji that was cut in two")
    return value


def conversation(row: dict) -> dict:
    """Return a row with its prompt and answers as conversations of one turn.

    TRL applies the chat template, in which our models read every text, only to conversations.
    """
    row = dict(row)
    for field in ("prompt", "completion", "chosen", "rejected"):
        if field in row:
            role = "user" if field == "prompt" else "assistant"
            row[field] = [{"role": role, "content": row[field]}]
    return row


def split_pair(chosen: str, rejected: str, where: str) -> dict:
    """Take what both texts begin with as their prompt, up to the last turn or word they share."""
    mark = TURN if TURN in chosen + rejected else " "
    prompt, found, _ = commonprefix([chosen, rejected]).rpartition(mark)
    if not prompt:
        raise DataError(
            f"{where}: no field 'prompt', and 'chosen' and 'rejected' do not share a beginning"
        )
    start = len(prompt + found)
    return {
        "prompt": prompt,
        "chosen": chosen[start:].strip(),
        "rejected": rejected[start:].strip(),
    }


def check_ranking(row: dict, where: str) -> None:
    """Make scores and ranks plain numbers; DataError where they are none, or not one an answer."""
    for text in row["completions"]:
        as_text(text, f"{where}: the field 'completions'")
    for field in {"scores", "ranks"} & row.keys():
        values = row[field] if isinstance(row[field], Iterable) else [row[field]]
        values = [value.item() if hasattr(value, "item") else value for value in values]
        for value in values:
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise DataError(
                    f"{where}: the field '{field}' holds {value!r:.80}, not a finite number"
                )
        if len(values) != len(row["completions"]):
            raise DataError(f"{where}: '{field}' and 'completions' are not of one length")
        row[field] = values


# ---- For people and for programs -----------------------------------------------------------------


def printable(text: str) -> str:
    """Return a text with `?` for each character that a terminal would obey or no eye can see."""
    return "".join(c if c == "\n" or c.isprintable() else "?" for c in text)


def grid(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return lines with columns of equal width."""
    columns = [
        [cell.ljust(max(map(len, column))) for cell in column]
        for column in zip(header, *rows, strict=True)
    ]
    return ["  " + "  ".join(line).rstrip() for line in zip(*columns, strict=True)]


def to_json(value) -> str:
    """Return JSON in ASCII, with null for numbers that are not finite."""
    plain = json.loads(json.dumps(value), parse_constant=lambda name: None)
    return json.dumps(plain, indent=1)


def json_lines(rows: Iterable[dict]) -> str:
    """Return rows as JSON, one on each line."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    return "".join(lines)


def spreadsheet(columns: Iterable[str], rows: Iterable[dict]) -> str:
    """Return these columns of rows as CSV; the mark before it tells Excel that it is UTF-8."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([safe_cell(row[column]) for column in columns])
    return "\ufeff" + file.getvalue()


def safe_cell(value: object) -> str:
    """Return a cell in which no spreadsheet finds a formula: an apostrophe stands before what looks
    like one.
    """
    text = "" if value is None else str(value)
    return re.sub(f"({BEGIN})(?=[{FORMULA}])", r"\1'", text)

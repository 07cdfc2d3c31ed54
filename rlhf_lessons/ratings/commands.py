"""The commands on ratings: `python -m rlhf_lessons ratings export|import|stats|merge|forget`."""
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from rlhf_lessons.data import write_rows
from rlhf_lessons.ratings import export as formats
from rlhf_lessons.ratings import importing
from rlhf_lessons.ratings.store import DEFAULT, Store
from rlhf_lessons.terminal import grid, shown, to_json

HELP = """usage: python -m rlhf_lessons ratings COMMAND [FLAGS]

Work with people's votes, which the lessons and the class page keep in one file (runs/ratings.sqlite3).

  export OUT         write them as training data, as a table for a spreadsheet, or all that there is
  import FILE        add votes from a file that export wrote, or from any file in TRL's formats
  stats              how well raters agree, side bias, length bias and more, with 95 % intervals
  merge OUT FILES    put files from many laptops into one; what is in several counts once
  forget WHO         delete all data about one rater

Each command has its own help, such as: python -m rlhf_lessons ratings export --help"""
Format = Literal["preference", "unpaired", "rankings", "demonstrations", "csv", "events"]
To = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
File = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
Files = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")]
Who = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WHO")]
ROWS = {"agreement": "raters agree with each other", "alpha": "Krippendorff's alpha",
        "self_agreement": "raters agree with themselves", "with_class": "votes with the majority",
        "with_truth": "votes with the true quality", "side_bias": "votes for the left side",
        "length_bias": "votes for the longer answer", "contradictions": "scores contradict comparisons",
        "gold": "right on items with a known answer", "seconds": "seconds a vote"}


def pick(arguments: list[str]) -> tuple[Callable, str, list[str]]:
    """Return the function, its name and its flags, as `cli.command` does."""
    first, *rest = arguments or [""]
    if first in COMMANDS:
        return COMMANDS[first], f"ratings {first}", rest
    wanted = first in ("-h", "--help", "help")
    print(HELP if wanted or not first else f"There is no command 'ratings {shown(first)}'.\n\n{HELP}",
          file=sys.stdout if wanted else sys.stderr)
    sys.exit(0 if wanted else 2)


def opened(db: str | None) -> Store:
    """Return the store; ValueError where there is none yet."""
    where = db or str(DEFAULT)
    if "://" not in where and not Path(where).is_file():
        raise ValueError(f"{where}: there are no ratings yet; rate something in a lesson, or name a file with --db")
    return Store(where)


def export(out: To, format: Format = "preference", round: str | None = None, anonymous: bool = False,
           db: str | None = None, json: bool = False) -> None:
    """Write ratings into a file: as training data, as a table for a spreadsheet, or all that there is.

    Args:
        out: The file to write; what is there is replaced.
        format: `preference` and `unpaired` are TRL's formats, `rankings` hold K answers each, `demonstrations` train
            SFT, `csv` is a table of all answers, `events` is everything, undone votes too, and loses nothing.
        round: Only this round, such as one lesson's; not for events, which are always all.
        anonymous: Call the raters `rater 1` and so on, and leave out times and reasons.
        db: The ratings file or a database's URL; runs/ratings.sqlite3 where you name none.
        json: Print one JSON object and nothing else.
    """
    if round is not None and format == "events":
        raise ValueError("events are always all rounds: leave out --round, or choose another format")
    store = opened(db)
    answers, left_out = store.answers(round), {}
    if format == "events":
        rows = formats.everything(store, anonymous)
        write_rows(out, rows)
    elif format == "csv":
        text, left_out = formats.table(answers, anonymous)
        rows = answers[sum(left_out.values()):]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\ufeff" + text, encoding="utf-8", newline="")  # the mark tells Excel that it is UTF-8
    else:
        rows, left_out = formats.FORMATS[format](answers, anonymous)
        write_rows(out, rows)
    if format != "events" and (n := formats.taken_back(store, round)):
        left_out = left_out | {"undone or changed": n}
    if json:
        print(to_json({"file": str(out), "rows": len(rows), "left_out": left_out}))
        return
    print(f"{len(rows)} rows written to {out}")
    for reason, n in left_out.items():
        print(f"  left out: {n} ({reason})")


def import_(file: File, round: str = "imported", db: str | None = None, json: bool = False) -> None:
    """Add votes from a file: one that `export` wrote, or comparisons, labels and demonstrations in TRL's formats.

    Votes that are there already count once. A file with a row that does not fit is not taken at all.

    Args:
        file: A JSONL or CSV file, or another ratings file.
        round: The round that they belong to, where the file does not say.
        db: The ratings file or a database's URL; runs/ratings.sqlite3 where you name none.
        json: Print one JSON object and nothing else.
    """
    found = importing.load(Store(db or DEFAULT), file, round)
    print(to_json(found) if json else said(found))


def merge(out: To, files: Files, json: bool = False) -> None:
    """Put the ratings of many laptops into one file. What is in several of them counts once.

    Args:
        out: The ratings file to add to; made where there is none.
        files: Ratings files, or files that `ratings export --format events` wrote.
        json: Print one JSON object and nothing else.
    """
    if not files:
        raise ValueError("name the files to merge after the file to put them into")
    store, total = Store(out), {}
    for file in files:
        found = importing.load(store, file)
        total = {name: total.get(name, 0) + n for name, n in found.items()}
        if not json:
            print(f"{file}: {said(found)}")
    if json:
        print(to_json(total))


def said(found: dict[str, int]) -> str:
    """Return what an import brought, in words."""
    gone = f"; {found['forgotten']} left out, since their rater was forgotten" if found["forgotten"] else ""
    return f"{found['new']} new events, {found['known']} that were here already{gone}"


def stats(round: str | None = None, db: str | None = None, json: bool = False) -> None:
    """Say how well raters agree and what else moves their votes, with 95 % intervals bootstrapped by rater.

    Args:
        round: Only this round, such as one lesson's.
        db: The ratings file or a database's URL; runs/ratings.sqlite3 where you name none.
        json: Print one JSON object and nothing else.
    """
    from rlhf_lessons.ratings.stats import statistics
    found = statistics(opened(db).answers(round))
    if json:
        print(to_json(found))
        return
    print(f"{sum(found['answers'].values())} answers by {found['raters']} raters: "
          + (", ".join(f"{n} {kind}" for kind, n in sorted(found["answers"].items())) or "none yet")
          + f"; {found['ties']} ties, {found['both_bad']} times both bad\n")
    lines = [[label, *figure(found[name], "" if name in ("seconds", "alpha") else "%")] for name, label in ROWS.items()]
    print("\n".join(grid(["", "value", "95 % interval", "votes", ""], lines)))
    if found["leaderboard"]:
        print("\nShare of comparisons won against the other models\n")
        print("\n".join(grid(["model", "value", "95 % interval", "votes", ""], [
            [shown(row["model"]), *figure(row, "%")] for row in found["leaderboard"]])))


def figure(found: dict, unit: str) -> list[str]:
    """Return a figure as cells: value, interval, votes, remark."""
    def number(value: float) -> str:
        return f"{100 * value:.0f} %" if unit else f"{value:.2f}"
    if found["value"] is None:
        return ["-", "", "", found["why"]]
    both = found["low"] is not None
    return [number(found["value"]), f"{number(found['low'])} to {number(found['high'])}" if both else "-",
            str(found["n"]), found["why"]]


def forget(who: Who, db: str | None = None, json: bool = False) -> None:
    """Delete all data about one rater: votes, texts and name. It cannot be undone.

    That somebody was deleted is noted, without the name, so that an older copy of the file does not bring it back.

    Args:
        who: The rater's name, or id where several have one name.
        db: The ratings file or a database's URL; runs/ratings.sqlite3 where you name none.
        json: Print one JSON object and nothing else.
    """
    n = importing.forget(opened(db), who)
    print(to_json({"events": n}) if json else f"Deleted: {n} events. Copies and exports made before still hold them.")


COMMANDS = {"export": export, "import": import_, "stats": stats, "merge": merge, "forget": forget}

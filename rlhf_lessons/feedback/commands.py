"""The commands on ratings: `python -m rlhf_lessons ratings export|import|stats|merge|forget`."""

import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from rlhf_lessons.data import grid, printable, to_json
from rlhf_lessons.feedback import exchange
from rlhf_lessons.feedback.exchange import written
from rlhf_lessons.feedback.store import DEFAULT, Store

Out = Annotated[Path, Positional, arg(metavar="OUT")]
File = Annotated[Path, Positional, arg(metavar="FILE")]
Files = Annotated[tuple[Path, ...], Positional, arg(metavar="FILES")]
Who = Annotated[str, Positional, arg(metavar="WHO")]
Db = Annotated[str, arg(help="The ratings file, or a database's URL.")]
Json = Annotated[bool, arg(help="Print one JSON object and nothing else.")]
Forget = Annotated[
    bool,
    arg(
        help="Also do what the files would delete or change of what is here: forgotten raters, votes "
        "undone or changed, hidden texts, rounds opened or paused."
    ),
]
Round = Annotated[str | None, arg(help="Only this round, such as one lesson's.")]


def opened(db: str, readonly: bool = True) -> Store:
    """Return the store; ValueError where there is none yet."""
    if "://" not in db and not Path(db).is_file():
        raise ValueError(
            f"{db}: there are no ratings yet; rate something in a lesson, or name a file with --db"
        )
    return Store(db, readonly)


def export(
    out: Out,
    format: Literal[
        "preference", "unpaired", "rankings", "demonstrations", "csv", "events"
    ] = "preference",
    round: Round = None,
    anonymous: bool = False,
    db: Db = str(DEFAULT),
    json: Json = False,
) -> None:
    """Write ratings into a file: as training data, as a table for a spreadsheet, or all that there is.

    Args:
        out: The file to write; what is there is replaced.
        format: `preference` and `unpaired` are TRL's formats, `rankings` hold K answers each, `demonstrations` train
            SFT, `csv` is a table of all answers, `events` is everything, undone votes too, and loses nothing.
        anonymous: Call the raters `rater 1` and so on, and leave out times and reasons.
    """
    if round is not None and format == "events":
        raise ValueError(
            "events are always all rounds: leave out --round, or choose another format"
        )
    text, rows, left_out = written(opened(db), format, round, anonymous)
    beside = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8", newline="")
        os.replace(beside, out)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(f"{out}: nothing was written ({error.strerror})") from error
    if json:
        print(to_json({"file": str(out), "rows": rows, "left_out": left_out}))
        return
    print(f"{rows} rows written to {out}")
    for reason, n in left_out.items():
        print(f"  left out: {n} ({reason})")


def import_(
    file: File,
    round: str = "imported",
    forget: Forget = False,
    db: Db = str(DEFAULT),
    json: Json = False,
) -> None:
    """Add votes from a file that export wrote, or from any file in TRL's formats.

    Votes that are there already count once. A file with a row that does not fit is not taken at all.

    Args:
        file: A JSONL or CSV file, or another ratings file.
        round: The round that they belong to, where the file does not say.
    """
    found = exchange.load(Store(db), file, round, forget)
    print(to_json(found) if json else said(found))


def merge(out: Out, files: Files, forget: Forget = False, json: Json = False) -> None:
    """Put the ratings of many laptops into one file. What is in several of them counts once.

    Args:
        out: The ratings file to add to; made where there is none.
        files: Ratings files, or files that `ratings export --format events` wrote.
    """
    if not files:
        raise ValueError("name the files to merge after the file to put them into")
    store, total = Store(out), Counter()
    for file in files:
        found = exchange.load(store, file, forget=forget)
        total.update(found)
        if not json:
            print(f"{file}: {said(found)}")
    if json:
        print(to_json(dict(total)))


def said(found: dict[str, int]) -> str:
    """Return what an import brought, in words."""
    gone = (
        f"; {found['forgotten']} left out, since their rater was forgotten"
        if found["forgotten"]
        else ""
    )
    return f"{found['new']} new events, {found['known']} that were here already{gone}"


def stats(round: Round = None, db: Db = str(DEFAULT), json: Json = False) -> None:
    """Say how well raters agree and what else moves their votes, with 95 % intervals bootstrapped by rater."""
    from rlhf_lessons.evaluation.votes import FIGURES, statistics

    found = statistics(opened(db).answers(round))
    if json:
        print(to_json(found))
        return
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(found["answers"].items())) or "none yet"
    print(
        f"{sum(found['answers'].values())} answers by {found['raters']} raters: {kinds}; "
        f"{found['ties']} ties, {found['both_bad']} times both bad\n"
    )
    lines = [
        [label, *cells(found[name], name not in ("seconds", "alpha"))]
        for name, (label, _) in FIGURES.items()
    ]
    lines += [
        [f"comparisons that {printable(row['model'])} would win", *cells(row, True)]
        for row in found["leaderboard"]
    ]
    print("\n".join(grid(["", "value", "95 % interval", "votes", ""], lines)))


def cells(figure: dict, is_share: bool) -> list[str]:
    """Return a figure of `statistics` as cells: value, interval, votes, remark."""
    value, low, high = (
        "-" if number is None else f"{100 * number:.0f} %" if is_share else f"{number:.2f}"
        for number in (figure["value"], figure["low"], figure["high"])
    )
    return [value, "-" if low == "-" else f"{low} to {high}", str(figure["n"]), figure["why"]]


def forget(who: Who, db: Db = str(DEFAULT), json: Json = False) -> None:
    """Delete all data about one rater: votes, texts and name. It cannot be undone.

    That somebody was deleted is noted, without the name, so that an older copy of the file does not bring it back.

    Args:
        who: The rater's name, or id where several have one name.
    """
    found = exchange.forget(opened(db, readonly=False), who)
    if json:
        print(to_json(found))
        return
    print(f"Deleted: {found['events']} events. Copies and exports made before still hold them.")
    if not found["finished"]:
        print(
            "It is not over yet: another program reads the file, which keeps the old text until that ends. "
            "Close it, such as a notebook or the class page, and run this command again."
        )


COMMANDS = {"export": export, "import": import_, "stats": stats, "merge": merge, "forget": forget}
HELP = "\n".join(
    [
        "usage: python -m rlhf_lessons ratings COMMAND [FLAGS]",
        "",
        "Work with people's votes, which the lessons and the class page keep in one file (runs/ratings.sqlite3).",
        "",
        *(f"  {name:8} {function.__doc__.splitlines()[0]}" for name, function in COMMANDS.items()),
        "",
        "Each command has its own help, such as: python -m rlhf_lessons ratings export --help",
    ]
)


def pick(arguments: list[str]) -> tuple[Callable, str, list[str]]:
    """Return the function, its name and its flags, as `cli.command` does."""
    first, *rest = arguments or [""]
    if first in COMMANDS:
        return COMMANDS[first], f"ratings {first}", rest
    wanted = first in ("-h", "--help", "help")
    print(
        HELP
        if wanted or not first
        else f"There is no command 'ratings {printable(first)}'.\n\n{HELP}",
        file=sys.stdout if wanted else sys.stderr,
    )
    sys.exit(0 if wanted else 2)

"""The tables of the ratings store, and how its database is opened.

Events are the truth and are only ever added. `assignment` is what follows from them for one rater
and one task, kept so that nobody has to replay the past. Ids of prompts, completions and tasks are
hashes of their content, so that files from many laptops fit together.
"""

import hashlib
import json
import os
import re
import sqlite3
import threading
import time
import urllib.parse
from contextlib import closing, suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import JSON, Column, Float, Index, Integer, Text
from sqlalchemy.dialects import postgresql, sqlite

META = sa.MetaData()
KEY, KIND = sa.String(64), sa.String(20)


def identity() -> Column:
    """Return the column that tells the rows of a table apart."""
    return Column("id", KEY, primary_key=True)


def needed(name: str, type, **more) -> Column:
    """Return a column that is never empty."""
    return Column(name, type, nullable=False, **more)


def to(name: str, target: str, **more) -> Column:
    """Return a column with the id of a row of another table."""
    return Column(
        name, KEY, sa.ForeignKey(f"{target}.id", deferrable=True, initially="DEFERRED"), **more
    )


prompts = sa.Table("prompt", META, identity(), needed("text", Text))
completions = sa.Table(
    "completion",
    META,
    identity(),
    to("prompt", "prompt", nullable=False),
    needed("text", Text),
    needed("ended", sa.Boolean),
    needed("model", Text),  # who wrote it; hidden until the reveal
    Column("reward", Float),
)  # a reward model's score, shown at the reveal
tasks = sa.Table(
    "task",
    META,
    identity(),
    needed("round", Text),
    needed("kind", KIND),
    to("prompt", "prompt", nullable=False),
    needed("completions", JSON),  # ids
    Column("overlap", Integer),  # how many raters are wanted; NULL: all
    to("repeat_of", "task"),  # the task of which this is a repeat with the sides swapped
    needed("source", Text),  # why it was chosen: random, different, repeat
    needed("place", Integer),
    Index("task_order", "round", "place"),
)
raters = sa.Table(
    "rater", META, identity(), needed("name", Text), needed("team", Text), needed("kind", KIND)
)  # person, simulated, teacher or imported
events = sa.Table(
    "event",
    META,
    Column("seq", sa.BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    needed("id", KEY, unique=True),
    needed("time", Float),
    needed("kind", KIND, index=True),  # see `payloads`
    to("rater", "rater", index=True),
    to("task", "task", index=True),
    needed("payload", JSON),
    Column("shown", JSON(none_as_null=True)),
    Column("replaces", KEY),  # an edit or an undo says which event it takes the place of
    Column("ms", Integer),  # from showing to answering
    needed("ui", Text),
    sqlite_autoincrement=True,
)
TABLES = dict(META.tables)  # by name, each after those it points to; all else follows from them
assignments = sa.Table(
    "assignment",
    META,
    to("task", "task", primary_key=True),
    to("rater", "rater", primary_key=True, index=True),
    needed("shown", JSON),  # ids of completions in the order on the screen
    needed("lease", Float, default=0.0),  # taken until then; FOREVER once answered, 0 once passed
    Column("answer", KEY),  # id of the current event: the last that is neither undone nor replaced
    needed("revealed", sa.Boolean, default=False),
)
# Answers that stand, and what belongs to them
current_answers = (
    sa.select(
        events,
        raters.c.name,
        raters.c.team,
        raters.c.kind.label("rater_kind"),
        tasks.c.round,
        tasks.c.kind.label("task_kind"),
        tasks.c.source,
        tasks.c.repeat_of,
        prompts.c.text.label("prompt"),
    )
    .join(assignments, assignments.c.answer == events.c.id)
    .join(raters, raters.c.id == events.c.rater)
    .join(tasks, tasks.c.id == events.c.task)
    .join(prompts, prompts.c.id == tasks.c.prompt)
    .subquery("current_answer")
)
BEGIN = {  # a transaction's first statement: to read one snapshot, or to be the only writer
    "sqlite": ("BEGIN", "BEGIN IMMEDIATE"),
    "postgresql": (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SELECT pg_advisory_xact_lock(76723)",  # any number, the same in all processes
    ),
}
MAKING = threading.Lock()
FOREVER = 1e12  # seconds since 1970
REMOTE = ("nfs", "cifs", "smb", "9p", "drvfs", "fuse", "vboxsf", "afs")


def key(*content: object) -> str:
    """Return the id of something that its content identifies."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def insert_new(c, table: sa.Table, rows: list[dict]) -> None:
    """Insert the rows whose key is new; leave alone those that are there."""
    if rows:
        c.info.clear()  # see `Store.write`
        dialect = {"sqlite": sqlite, "postgresql": postgresql}[c.dialect.name]
        c.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def of_round(query, round: str | None):
    """Return a query of events, only those on a round's tasks where one is named."""
    if round is not None:
        query = query.join(tasks, tasks.c.id == events.c.task).where(tasks.c.round == round)
    return query


def on_network_disk(path: Path) -> bool:
    """Return whether a file lies on a disk shared over a network, where SQLite's WAL loses data."""
    if str(path).startswith("\\\\"):
        return True
    try:
        mounts = [
            line.split()
            for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
        ]
    except OSError:  # not Linux
        return False
    around = [(len(mount[1]), mount[2]) for mount in mounts if path.is_relative_to(mount[1])]
    return max(around, default=(0, ""))[1].startswith(REMOTE)


def open_engine(where: str | Path, readonly: bool = False) -> sa.Engine:
    """Return an engine for a file's path or a database's URL; ValueError where it cannot be had.

    The tables are made where they are missing. With `readonly` nothing is written, not even beside
    the file.
    """
    file = None if "://" in str(where) else Path(where).absolute()
    try:
        # A path is a path, whatever is in it: `%20` and `?` mean something in a URL only.
        url = sa.URL.create("sqlite", database=str(file)) if file else sa.make_url(str(where))
        if url.get_backend_name() == "sqlite":
            file = Path(url.database or "").absolute()
        options = {"creator": lambda: connect(file, readonly)} if file else {}
        if url.get_backend_name() not in BEGIN:
            raise sa.exc.ArgumentError(f"its kind must be one of {', '.join(BEGIN)}")
        # The connection that was used last, since that knows the latest
        engine = sa.create_engine(url, pool_use_lifo=True, **options)
    except ImportError as error:
        raise ValueError(
            f"{shown(where)}: the driver is missing ({error}). For PostgreSQL, install it into "
            "the course's environment: python -m pip install 'psycopg[binary]'"
        ) from error
    except sa.exc.ArgumentError as error:
        raise ValueError(f"{shown(where)}: no database can be opened there ({error})") from error
    if file:
        if not readonly:
            file.parent.mkdir(parents=True, exist_ok=True)
            make(file)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(BEGIN[engine.name][not readonly])
            if not readonly:
                META.create_all(connection)
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        engine.dispose()
        what = "a ratings file, which needs its folder too," if file else "a ratings database"
        raise ValueError(
            f"{shown(where)}: cannot be opened as {what} for {'reading' if readonly else 'writing'}"
            f" ({in_short(error)})"
        ) from error
    return engine


def make(file: Path) -> None:
    """Make a ratings file that only its owner can read, where there is none.

    One that is there is left closed. Closing a file gives up every lock that this process holds on
    it (POSIX), also those of SQLite's connections; another process then deletes the WAL under
    them, with the votes in it (sqlite.org/howtocorrupt.html, section 2.2).
    """
    with MAKING, suppress(OSError):  # opening it will tell what is wrong
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def connect(file: Path, readonly: bool) -> sqlite3.Connection:
    """Connect to a file; sqlite3.Error where it is no database, or another program's."""
    name = urllib.parse.quote(str(file))
    changing = any(Path(f"{file}{end}").exists() for end in ("-wal", "-journal"))
    # Without a writer at work, `immutable` reads the file alone: from read-only disks too, and with
    # no file beside it.
    mode = "rw" if not readonly else "ro" if changing else "ro&immutable=1"
    connection = sqlite3.connect(
        f"file:{name}?mode={mode}", uri=True, timeout=30, check_same_thread=False
    )
    connection.isolation_level = None  # transactions are ours to begin
    try:
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        columns = {row[1] for row in connection.execute("PRAGMA table_info(event)")}
        if (there or readonly) and not {"seq", "payload", "shown", "replaces"} <= columns:
            raise sqlite3.DatabaseError("it is empty, or another program's database")
        if not readonly:
            with suppress(OSError):  # it is another's, or on a disk that knows no rights
                if file.stat().st_mode & 0o077:
                    file.chmod(0o600)  # SQLite gives what it keeps beside the file the same
            prepare(connection, "DELETE" if on_network_disk(file) else "WAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def shown(where: str | Path) -> str:
    """Return a path or URL for people to read: without the password."""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", str(where))


def in_short(error: Exception) -> str:
    """Return an error in one line, a database's own words without the statement."""
    said = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return said.splitlines()[0][:200].rstrip(".")


def prepare(connection: sqlite3.Connection, journal: str) -> None:
    """Set a connection that writes up: a commit is on the disk, deleted texts are wiped."""
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")
    for trial in range(50):  # while another process turns WAL on, SQLite refuses without waiting
        try:
            connection.execute(f"PRAGMA journal_mode={journal}")
            return
        except sqlite3.OperationalError as error:
            if trial == 49:
                raise
            journal = journal if "locked" in str(error) else "DELETE"
            time.sleep(0.05)


def wipe(engine: sa.Engine) -> bool | None:
    """Write the journal back into the file and empty it, where deleted text may be in it.

    Return False while another program reads the file, None where there was nothing to do.
    """
    if engine.dialect.name != "sqlite":
        return None
    with closing(engine.raw_connection()) as c:  # outside of any transaction
        if not c.execute("PRAGMA user_version").fetchone()[0]:
            return None
        c.execute("PRAGMA busy_timeout=3000")
        busy, *_ = c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            c.execute("PRAGMA user_version=0")
        c.execute("PRAGMA busy_timeout=30000")
    return not busy


def note_deletion(c) -> None:
    """Note that deleted text may still be found in the file's journal: until `wipe` is done.

    The note is a number in the file's head, so that it outlives this program.
    """
    if c.dialect.name == "sqlite":
        c.exec_driver_sql("PRAGMA user_version=1")

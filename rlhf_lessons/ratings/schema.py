"""The tables of the ratings store, and how its database is opened.

Events are the truth and are only ever added. `assignment` is what follows from them for one rater and one task, kept
so that nobody has to replay the past; `exchange.merge` builds it anew. Ids of prompts, completions and tasks are
hashes of their content, so that files from many laptops fit together.
"""
import hashlib
import json
import sqlite3
import time
from pathlib import Path

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
)
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError

META = MetaData()
KEY = String(64)
prompts = Table("prompt", META, Column("id", KEY, primary_key=True), Column("text", Text, nullable=False))
completions = Table(
    "completion", META, Column("id", KEY, primary_key=True), Column("prompt", KEY, nullable=False),
    Column("text", Text, nullable=False), Column("ended", Boolean, nullable=False),
    Column("model", Text, nullable=False),  # who wrote it; hidden until the reveal
    Column("reward", Float))  # a reward model's score, shown at the reveal
tasks = Table(
    "task", META, Column("id", KEY, primary_key=True), Column("round", Text, nullable=False),
    Column("kind", String(20), nullable=False), Column("prompt", KEY, nullable=False),
    Column("completions", JSON, nullable=False),  # ids
    Column("overlap", Integer),  # how many raters are wanted; NULL: all
    Column("gold", JSON),  # {"best": place among completions, "why": explanation}
    Column("repeat_of", KEY),  # the task of which this is a repeat with the sides swapped
    Column("source", Text, nullable=False),  # why it was chosen: random, uncertain, repeat, gold
    Column("priority", Integer, nullable=False), Column("place", Integer, nullable=False),
    Index("task_repeat", "repeat_of"))
Index("task_order", tasks.c.round, tasks.c.priority.desc(), tasks.c.place)
raters = Table(
    "rater", META, Column("id", KEY, primary_key=True), Column("name", Text, nullable=False),
    Column("team", Text, nullable=False), Column("kind", String(20), nullable=False))  # person, simulated or teacher
guidelines = Table("guideline", META, Column("id", KEY, primary_key=True), Column("text", Text, nullable=False),
                   Column("time", Float, nullable=False))
assignments = Table(
    "assignment", META, Column("task", KEY, primary_key=True), Column("rater", KEY, primary_key=True),
    Column("shown", JSON, nullable=False),  # ids of completions in the order on the screen
    Column("lease", Float, nullable=False),  # taken until then; FOREVER once answered, 0 once passed
    Column("answer", KEY),  # id of the current event: the last that is neither undone nor replaced
    Column("revealed", Boolean, nullable=False), Index("assignment_rater", "rater"))
events = Table(
    "event", META,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", KEY, unique=True, nullable=False), Column("time", Float, nullable=False),
    Column("kind", String(20), nullable=False),  # a judgement, skip, flag, undo, reveal; round, hide, report, forget
    Column("rater", KEY), Column("task", KEY), Column("payload", JSON, nullable=False),
    Column("shown", JSON), Column("replaces", KEY),  # an edit or an undo says which event it takes the place of
    Column("ms", Integer),  # from showing to answering
    Column("guideline", KEY), Column("ui", Text, nullable=False),
    Index("event_kind", "kind"), Index("event_rater", "rater"), Index("event_task", "task"), sqlite_autoincrement=True)
FOREVER = 1e12  # seconds since 1970
REMOTE = ("nfs", "cifs", "smb", "9p", "drvfs", "fuse", "vboxsf", "afs")


def key(*content: object) -> str:
    """Return the id of something that its content identifies."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def on_network_disk(path: Path) -> bool:
    """Return whether a file lies on a disk shared over a network, where SQLite's WAL loses data."""
    if str(path).startswith("\\\\"):
        return True
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:  # not Linux
        return False
    around = [(len(mount[1]), mount[2]) for mount in mounts if path.is_relative_to(mount[1])]
    return max(around, default=(0, ""))[1].startswith(REMOTE)


def open_engine(where: str | Path) -> Engine:
    """Return an engine for a file's path or a database's URL, its tables made; ValueError where it cannot be had."""
    url = str(where) if "://" in str(where) else f"sqlite:///{Path(where).absolute().as_posix()}"
    try:
        engine = create_engine(url, connect_args={"timeout": 30} if url.startswith("sqlite") else {})
    except (ArgumentError, ModuleNotFoundError) as error:
        raise ValueError(f"{where}: no database can be opened there ({error})") from error
    if engine.dialect.name == "sqlite":
        file = Path(engine.url.database or "").absolute()
        file.parent.mkdir(parents=True, exist_ok=True)
        journal = "DELETE" if on_network_disk(file) else "WAL"
        event.listen(engine, "connect", lambda connection, _: prepare(connection, journal))
        event.listen(engine, "begin", begin)
    try:
        with engine.execution_options(write=True).begin() as connection:
            META.create_all(connection)
    except Exception as error:
        engine.dispose()
        if "not a database" in str(error) or "unable to open" in str(error):
            raise ValueError(f"{where}: this is no ratings file, or it cannot be opened") from error
        raise
    return engine


def prepare(connection: sqlite3.Connection, journal: str) -> None:
    """Set a new connection up: transactions are ours to begin, a commit is on the disk, deleted texts are wiped."""
    connection.isolation_level = None
    for trial in range(50):  # while another process turns WAL on, SQLite refuses without waiting
        try:
            connection.execute(f"PRAGMA journal_mode={journal}")
            break
        except sqlite3.OperationalError as error:
            if "not a database" in str(error) or trial == 49:
                raise
            journal = journal if "locked" in str(error) else "DELETE"
            time.sleep(0.05)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")


def begin(connection) -> None:
    """Begin a transaction. One that will write takes the lock at once: one that reads first and then finds the file
    changed is thrown out by SQLite without waiting, and its votes with it."""
    write = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

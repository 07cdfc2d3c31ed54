"""No acknowledged vote is lost, and none counts twice: many processes, kills, full disks, broken
files.
"""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select
from voting import LEFT, handed_over, pairs, vote

from rlhf_lessons.data import DataError
from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.exchange import load
from rlhf_lessons.feedback.schema import on_network_disk, raters


def fill(path, rater, n, round="r"):
    """Vote n times, each vote sent twice, in a process of its own."""
    store = Store(path)
    for _ in range(n):
        task, event, seq = vote(store, rater, round)
        assert store.answer(rater, task["task"], "pair", LEFT, event) == seq
    store.close()


def test_sixteen_processes_write_one_database_and_nothing_is_lost_or_doubled(store):
    raters = [store.add_rater(f"rater {i}") for i in range(16)]
    store.add_tasks("r", pairs(60, overlap=2))
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    workers = [context.Process(target=fill, args=(store.where, rater, 6)) for rater in raters]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 16
    answers = store.answers()
    assert len(answers) == len({(row["task"], row["rater"]) for row in answers}) == 96
    assert Counter(row["rater"] for row in answers) == dict.fromkeys(raters, 6)
    assert max(Counter(row["task"] for row in answers).values()) <= 2


def test_processes_may_open_a_new_database_at_once(database):
    where = str(database("new"))
    code = f"from rlhf_lessons.feedback import Store; Store({where!r}).reader()"
    workers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert len(Store(where).raters()) == 1


def test_changing_threads_may_use_one_store(store, you):
    store.add_tasks("r", pairs(40, overlap=None))
    others = [store.add_rater(f"rater {i}") for i in range(4)]
    threads = [
        threading.Thread(target=lambda r=rater: [vote(store, r) for _ in range(10)])
        for rater in others
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.answers()) == 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_opens_the_database_anew(store, you):
    store.add_tasks("r", pairs(2))
    vote(store, you)
    worker = multiprocessing.get_context("fork").Process(target=vote, args=(store, you))
    worker.start()
    worker.join()
    assert worker.exitcode == 0 and len(store.answers()) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_a_process_killed_in_the_middle_loses_no_acknowledged_vote(store, you):
    store.add_tasks("r", pairs(400))
    code = (
        "from rlhf_lessons.feedback import Store, new_id\n"
        f"s = Store({str(store.where)!r}); you = s.reader()\n"
        "while True:\n    task = s.next_task(you, 'r')['task']; e = new_id()\n"
        "    s.answer(you, task, 'pair', {'choice': 'left'}, e); print(e, flush=True)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    acknowledged = [worker.stdout.readline().strip() for _ in range(25)]
    worker.kill()
    acknowledged += [line.strip() for line in worker.stdout.read().split("\n")[:-1]]
    worker.wait()
    stored = [row["id"] for row in Store(store.where).answers()]
    assert (
        len(acknowledged) >= 25
        and set(acknowledged) <= set(stored)
        and len(stored) <= len(acknowledged) + 1
    )
    with store.read() as c:
        if c.dialect.name == "sqlite":
            assert c.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    assert vote(store, you)[2]


def test_calls_in_one_transaction_are_kept_or_dropped_together(store, you):
    store.add_tasks("r", pairs(2))
    with pytest.raises(ZeroDivisionError), store.write():
        vote(store, you)
        raise ZeroDivisionError
    assert store.answers() == []
    with store.write():
        vote(store, you)
        following = store.next_task(you, "r")
    assert len(store.answers()) == 1 and store.next_task(you, "r") == following


def test_who_reads_sees_one_moment_and_who_writes_is_alone(store, you):
    other, wrote = Store(store.where), []

    def write():
        with other.write():
            other.add_rater("late")
            wrote.append("late")

    with store.read() as c:
        names = select(raters.c.name)
        before = c.scalars(names).all()
        other.add_rater("meanwhile")
        assert c.scalars(names).all() == before
    with store.write():
        writer = threading.Thread(target=write)
        writer.start()
        writer.join(0.5)
        assert not wrote
        store.add_rater("first")
    writer.join()
    assert [row["name"] for row in store.raters()][-2:] == ["first", "late"]
    other.close()


@pytest.mark.postgresql
@pytest.mark.parametrize("when", ["before a vote", "before the commit"])
def test_a_connection_that_is_lost_fails_in_a_line_and_the_next_vote_is_kept(store, you, when):
    store.add_tasks("r", pairs(2))
    with pytest.raises(OSError, match="the database failed") as error:
        with store.write() as c:
            mine = c.scalar(select(func.pg_backend_pid()))
            if when == "before the commit":
                vote(store, you)
            other = Store(store.where, readonly=True)
            with other.read() as killer:
                killer.execute(select(func.pg_terminate_backend(mine, 5000)))
            other.close()
            if when == "before a vote":
                vote(store, you)
    assert "\n" not in str(error.value)
    assert store.answers() == [] and vote(store, you)[2] and len(store.answers()) == 1


@pytest.mark.sqlite
def test_a_commit_waits_for_the_disk_and_writers_take_their_turn(store):
    with store.read() as c:
        ask = lambda what: c.exec_driver_sql(f"PRAGMA {what}").scalar()  # noqa: E731
        assert (ask("journal_mode"), ask("synchronous"), ask("busy_timeout")) == ("wal", 2, 30000)
    with store.write():
        other = sqlite3.connect(store.where, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_network_disks_are_told_from_local_ones(monkeypatch):
    mounts = "/dev/sda / ext4 rw 0 0\nserver:/home /home/nfs nfs4 rw 0 0\nC: /mnt/c 9p rw 0 0\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: mounts)
    assert on_network_disk(Path("/home/nfs/anna/r.sqlite3")) and on_network_disk(
        Path("/mnt/c/r.sqlite3")
    )
    assert not on_network_disk(Path("/home/anna/r.sqlite3"))


def test_no_message_shows_a_databases_password():
    with pytest.raises(ValueError, match="anna") as error:
        Store("nosuch://anna:s3cr:t@host/db")
    assert "s3cr" not in str(error.value) and "host/db" in str(error.value)


def test_a_missing_driver_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ValueError, match=r"pip install 'psycopg\[binary\]'"):
        Store("postgresql://anna@127.0.0.1/ratings")


@pytest.mark.parametrize(
    "where, said",
    [
        ("nosuch://x", "no database can be opened"),
        ("mysql://x", "must be one of sqlite, postgresql"),
        ("FILE", "as a ratings file"),
    ],
)
def test_what_is_no_database_is_named(tmp_path, where, said):
    file = tmp_path / "notes.txt"
    file.write_text("these are notes " * 100)
    with pytest.raises(ValueError, match=said):
        Store(file if where == "FILE" else where)
    assert file.read_text().startswith("these are notes")


@pytest.mark.sqlite
@pytest.mark.parametrize("act", ["open it again", "import it elsewhere"])
def test_a_file_in_use_keeps_its_locks_whatever_else_its_process_does(store, database, act):
    """A process that closes a file gives up its locks on it: see `schema.make`."""
    wal = Path(f"{store.where}-wal")
    store.reader()
    number = wal.stat().st_ino
    if act == "open it again":
        Store(store.where).close()
    else:
        load(Store(database("other")), store.where)
    other = f"from rlhf_lessons.feedback import Store; Store({str(store.where)!r}).close()"
    subprocess.run([sys.executable, "-c", other], check=True)
    assert wal.stat().st_ino == number, "another process deleted the votes' WAL"


@pytest.mark.parametrize("content", [b"", b"{", b"SQLite format 3 is what we use", bytes(600)])
def test_what_is_no_database_is_read_as_text(store, tmp_path, content):
    file = tmp_path / "notes.jsonl"
    file.write_bytes(content)
    with pytest.raises(DataError, match="notes.jsonl"):
        load(store, file)


MERGE = """import sys
from rlhf_lessons.data import DataError
from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.exchange import load
from rlhf_lessons.feedback.exchange import load
for file in sys.argv[2:]:
    load(Store(sys.argv[1]), file)
"""


def test_two_processes_merge_into_a_database_while_raters_vote(store, database, tmp_path):
    laptops = []
    for n in range(3):
        laptop = Store(database(f"laptop{n}"))
        laptop.add_tasks("lesson", pairs(5))
        fill(laptop.where, laptop.reader(), 5, "lesson")
        laptops.append(str(handed_over(laptop, tmp_path)))
    store.add_tasks("r", pairs(40, overlap=None))
    merges = [
        subprocess.Popen([sys.executable, "-c", MERGE, str(store.where), *files])
        for files in (laptops, laptops[::-1])
    ]
    fill(store.where, store.reader(), 40)
    assert [merge.wait() for merge in merges] == [0, 0]
    counts = Counter(row["round"] for row in store.answers())
    assert counts == {"r": 40, "lesson": 15}


FULL = """import glob, os, resource, sys
from rlhf_lessons.feedback import Store, new_id
store = Store(sys.argv[1]); you = store.reader()
def flag():
    event = new_id()
    store.answer(you, store.next_task(you, 'r')['task'], 'flag', {'reason': 'x' * 500}, event)
    print(event, flush=True)
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
largest = max(map(os.path.getsize, glob.glob(sys.argv[1] + '*')))
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000 + largest, limits[1]))
try:
    while True:
        flag()
except OSError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
flag()
"""


@pytest.mark.sqlite
@pytest.mark.skipif(sys.platform != "linux", reason="limits of a file's size are set as Linux does")
def test_a_full_disk_is_named_in_a_line_loses_nothing_acknowledged_and_afterwards_all_goes_on(
    store, you
):
    store.add_tasks("r", pairs(200))
    *acknowledged, error, last = subprocess.run(
        [sys.executable, "-c", FULL, str(store.where)], text=True, capture_output=True, check=True
    ).stdout.splitlines()
    assert str(store.where) in error and "the database failed" in error
    assert [row["id"] for row in store.answers()] == [*acknowledged, last] and acknowledged


@pytest.mark.sqlite
def test_a_broken_file_is_named_and_not_written_to(store, you, tmp_path):
    store.add_tasks("r", pairs(200))
    vote(store, you)
    store.close()
    whole = Path(store.where).read_bytes()
    for n, broken in enumerate(
        [whole[:5000], whole[:100] + b"x" * 900 + whole[1000:], b"x" * 9000]
    ):
        file = tmp_path / f"broken{n}.sqlite3"
        file.write_bytes(broken)
        with pytest.raises((ValueError, OSError), match=file.name) as error:
            Store(file).answers()
        assert "\n" not in str(error.value) and file.read_bytes() == broken


def test_another_programs_database_is_left_alone(tmp_path):
    file = tmp_path / "places.sqlite3"
    with sqlite3.connect(file) as c:
        c.execute("CREATE TABLE places (url)")
    c.close()
    before = file.read_bytes()
    with pytest.raises(ValueError, match="another program's database"):
        Store(file)
    assert file.read_bytes() == before


@pytest.mark.sqlite
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_that_cannot_be_written_to_is_named(store, tmp_path):
    store.close()
    os.chmod(tmp_path, 0o500)
    try:
        for file in (store.where, tmp_path / "new.sqlite3"):
            with pytest.raises((ValueError, OSError), match=Path(file).name):
                Store(file).reader()
    finally:
        os.chmod(tmp_path, 0o700)


@pytest.mark.sqlite
def test_a_ratings_file_with_columns_and_tables_of_before_keeps_its_votes(store, you):
    store.add_tasks("r", pairs(2))
    vote(store, you)
    store.close()
    with sqlite3.connect(store.where) as c:
        c.execute("CREATE TABLE guideline (id VARCHAR(64) PRIMARY KEY, text TEXT NOT NULL)")
        c.execute("ALTER TABLE event ADD COLUMN guideline VARCHAR(64) REFERENCES guideline (id)")
        c.execute("ALTER TABLE task ADD COLUMN gold JSON")
        c.execute("UPDATE task SET gold = '{\"best\": 0}'")
    c.close()
    older = Store(store.where)
    vote(older, you)
    assert len(older.answers()) == 2
    older.close()

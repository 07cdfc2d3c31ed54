"""Cases in which the ratings store failed when it was tried, each with relatives of its kind."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import update
from voting import LEFT, handed_over, one_of_everything, pairs, vote

from rlhf_lessons.classroom.screens import figures
from rlhf_lessons.data import DataError, write_rows
from rlhf_lessons.evaluation.votes import statistics
from rlhf_lessons.feedback import Refused, Store, new_id
from rlhf_lessons.feedback.exchange import forget, load, merge
from rlhf_lessons.feedback.export import everything, table, training_rows
from rlhf_lessons.feedback.schema import events, key
from rlhf_lessons.reports.learner import gather


@pytest.mark.parametrize(
    "folder",
    [
        "RLHF%20Lessons",
        "What is RLHF?",
        "C# and #7",
        "a;b & c=d",
        "Método 模型 курс",
        "file:x?mode=memory",
        "50%",
        "'quoted' \"twice\"",
        " spaces ",
    ],
)
def test_a_path_is_a_path_whatever_is_in_it(tmp_path, folder):
    file = tmp_path / folder / "ratings.sqlite3"
    store = Store(file)
    store.add_tasks("r", pairs(1))
    vote(store, store.reader())
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    assert [path.name for path in file.parent.iterdir()] == ["ratings.sqlite3"]
    for readonly in (False, True):
        again = Store(file, readonly)
        assert len(again.answers()) == 1
        again.close()


@pytest.mark.skipif(os.name == "nt", reason="this system has other rights")
def test_only_its_owner_reads_a_ratings_file(tmp_path):
    old_mask = os.umask(0o022)
    try:
        store = Store(tmp_path / "new.sqlite3")
        store.reader()
        (tmp_path / "old.sqlite3").touch(0o644)
        old = Store(tmp_path / "old.sqlite3")
        old.reader()
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(old_mask)
    assert len(modes) == 6 and set(modes.values()) == {0o600}, modes


# What one merged line would do


@pytest.fixture
def room(database):
    """A store in which Ann and Ben have voted, and what a file about it needs to name."""
    store = Store(database("room"))
    store.add_tasks("r", pairs(3, overlap=None))
    store.say("round", round="r", state="open")
    for name in ("Ann", "Ben"):
        rater = store.add_rater(name)
        for _ in range(3):
            vote(store, rater)
    yield store
    store.close()


def line(kind: str, payload: dict, **more) -> dict:
    """An event as a file may hold it."""
    return {
        "table": "event",
        "id": new_id(),
        "time": 1.0,
        "kind": kind,
        "payload": payload,
        "ui": "",
    } | more


def harmful(room: Store, what: str) -> tuple[dict, str]:
    """Return a line that deletes or changes what is in the room, and what is said of it."""
    first = room.answers()[0]
    of_task = {name: first[name] for name in ("rater", "task", "shown")} | {"replaces": first["id"]}
    return {
        "forget": (
            line("forget", {"rater": key(first["rater"]), "events": 1}),
            "all events of 'Ann' deleted (3)",
        ),
        "undo": (line("undo", {}, **of_task), "answers undone or changed (1)"),
        "change": (
            line("pair", {"choice": "bad"}, **of_task),
            "answers undone or changed (1)",
        ),
        "skip": (line("skip", {"reason": ""}, **of_task), "answers undone or changed (1)"),
        "hide a rater": (
            line("hide", {"id": first["rater"], "hidden": True}),
            "raters or texts hidden or shown again (1)",
        ),
        "hide a text": (
            line("hide", {"id": first["shown"][0], "hidden": True}),
            "raters or texts hidden or shown again (1)",
        ),
        "pause": (line("round", {"round": "r", "state": "paused"}), "round 'r' paused (1)"),
        "open another": (line("round", {"round": "x", "state": "open"}), "round 'x' opened (1)"),
    }[what]


@pytest.mark.parametrize(
    "what",
    ["forget", "undo", "change", "skip", "hide a rater", "hide a text", "pause", "open another"],
)
def test_what_a_merged_line_would_delete_or_change_is_said_and_asked_first(room, tmp_path, what):
    row, said = harmful(room, what)
    write_rows(tmp_path / "in.jsonl", [row])
    before, answers, state = everything(room), room.answers(), room.room()
    with pytest.raises(Refused) as refused:
        load(room, tmp_path / "in.jsonl")
    assert said in str(refused.value) and "--forget" in str(refused.value)
    assert everything(room) == before
    assert load(room, tmp_path / "in.jsonl", forget=True)["new"] == 1
    assert (room.answers(), room.room()) != (answers, state)
    assert load(room, tmp_path / "in.jsonl")["new"] == 0  # and is no question a second time


def test_a_file_with_rounds_and_forgotten_raters_comes_into_an_empty_store_unasked(
    room, tmp_path, database
):
    forget(room, "Ann")
    copy = Store(database("copy"))
    assert load(copy, handed_over(room, tmp_path))["new"] == 5
    assert copy.room() == room.room()
    assert [row["id"] for row in copy.answers()] == [row["id"] for row in room.answers()]
    copy.close()


# Rows that do not fit


def forged(room: Store, what: str) -> list[dict]:
    """Return rows that no store has written."""
    answer = room.answers()[0]
    of_task = {name: answer[name] for name in ("task", "shown")}
    task = next(row for row in everything(room) if row["table"] == "task")
    four = task | {"id": "f" * 32, "completions": task["completions"] * 2, "round": "forged"}
    rater = {"table": "rater", "id": "m" * 32, "name": "M", "team": "", "kind": "person"}
    about = {"task": four["id"], "rater": "m" * 32, "shown": four["completions"]}
    mine = {"rater": "m" * 32, **of_task}
    vote_of_m = line("pair", LEFT, **mine)
    return {
        "accuracy is a list": [line("report", {"round": "r", "accuracy": [1]})],
        "samples are a number": [line("report", {"round": "r", "accuracy": 1, "samples": 5})],
        "a sample without texts": [line("report", {"accuracy": 1, "samples": [{"prompt": None}]})],
        "a curve of words": [line("report", {"accuracy": 1, "curve": [["a", "b", "c", "d"]]})],
        "the round is a list": [line("report", {"round": ["r"], "accuracy": 1})],
        "a pair of four": [rater, four, line("pair", LEFT, **about)],
        "time is infinite": [rater, vote_of_m | {"time": float("inf")}],
        "time is no number": [rater, vote_of_m | {"time": float("nan")}],
        "ms is huge": [rater, vote_of_m | {"ms": 2**40}],
        "a ranking of a pair": [
            rater,
            line("ranking", {"ranks": [1, 2]}, **mine),
        ],
        "scores of nobody": [rater, line("scores", {"scores": []}, **mine)],
        "a reward that is infinite": [
            next(row for row in everything(room) if row["table"] == "completion")
            | {"id": "c" * 32, "reward": float("inf")}
        ],
        "a task of an unknown kind": [task | {"id": "k" * 32, "kind": "poem"}],
    }[what]


FORGED = [
    "accuracy is a list",
    "samples are a number",
    "a sample without texts",
    "a curve of words",
    "the round is a list",
    "a pair of four",
    "time is infinite",
    "time is no number",
    "ms is huge",
    "a ranking of a pair",
    "scores of nobody",
    "a reward that is infinite",
    "a task of an unknown kind",
]


def pages_work(store: Store) -> dict:
    """Draw what projector, console, command line and report show; return the projector's."""
    shown = figures(store)
    json.dumps(shown, allow_nan=False)
    json.dumps(statistics(store.answers()), allow_nan=False)
    gather("", [row for row in store.answers() if row["name"] == "Ann"])
    table(store.answers())
    training_rows(store.answers(), "preference")
    return shown["projector"]


class Room:
    """As much of a classroom as its screens need."""

    def __init__(self, store: Store):
        self.store = store


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_row_is_refused_by_its_number_and_nothing_of_its_file_is_kept(
    room, tmp_path, what
):
    rows = forged(room, what)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = everything(room)
    with pytest.raises(DataError, match=r"in\.jsonl, row \d+: .{10,}"):
        load(room, tmp_path / "in.jsonl", forget=True)
    assert everything(room) == before
    assert pages_work(room)["votes"] == 6


@pytest.mark.parametrize(
    "damage",
    [
        {"kind": "report", "payload": {"round": "r", "accuracy": [1]}},
        {"kind": "hide", "payload": {"hidden": True}},
        {"kind": "round", "payload": {"round": "r"}},
        {"kind": "round", "payload": [1]},
        {"payload": {"choice": "sideways"}},
        {"payload": None},
        {"payload": []},
        {"time": float("inf")},
        {"shown": ["nowhere", "nothing"]},
        {"shown": None},
        {"kind": "hands", "payload": {"left": 1}, "shown": None},
        {"kind": "ranking", "payload": {"ranks": [1, 2, 3]}},
        {"kind": "poem"},
    ],
)
def test_a_bad_row_that_is_already_inside_kills_no_page(room, damage):
    with room.write() as c:
        c.execute(update(events).where(events.c.seq == 2).values(**damage))
    assert pages_work(room)["votes"] == 5
    rater = room.add_rater("Cleo")
    task, _, _ = vote(room, rater)
    assert room.reveal(rater, task["task"], new_id())["others"]["n"] >= 1


# Other files


def test_a_foreign_database_with_a_table_of_the_same_name_stays_as_it_is(tmp_path, store):
    foreign = tmp_path / "calendar.sqlite3"
    with sqlite3.connect(foreign) as c:
        c.execute("CREATE TABLE event (id INTEGER, title TEXT)")
        c.execute("INSERT INTO event VALUES (1, 'party')")
    c.close()
    before = foreign.read_bytes()
    for attempt in (lambda: load(store, foreign), lambda: Store(foreign)):
        with pytest.raises(ValueError, match="calendar.sqlite3"):
            attempt()
    assert foreign.read_bytes() == before
    assert sorted(file.name for file in tmp_path.glob("calendar*")) == ["calendar.sqlite3"]


@pytest.mark.sqlite
def test_a_source_is_only_read(tmp_path, room, database):
    room.close()
    file = tmp_path / "room.sqlite3"
    before = file.read_bytes(), file.stat().st_mtime_ns
    copy = Store(database("copy"))
    load(copy, file)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    copy.close()


READ = """import os, sys
from rlhf_lessons.evaluation.votes import statistics
from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.export import written
os.setuid(65534)  # nobody, whom all rights bind
store = Store(sys.argv[1], readonly=True)
statistics(store.answers())
text, rows, left_out = written(store, "preference")
print(rows)
"""


@pytest.mark.sqlite
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="takes rights away, as root may"
)
def test_a_ratings_file_that_cannot_be_written_to_is_counted_and_exported(room, tmp_path):
    room.close()
    folder = Path(tempfile.mkdtemp(prefix="read only "))
    try:
        shutil.copy(tmp_path / "room.sqlite3", folder / "room.sqlite3")
        (folder / "room.sqlite3").chmod(0o444)
        folder.chmod(0o555)
        command = [sys.executable, "-c", READ, str(folder / "room.sqlite3")]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert ran.stdout == "6\n", ran.stderr
        assert [file.name for file in folder.iterdir()] == ["room.sqlite3"]
    finally:
        shutil.rmtree(folder)


# Forgetting while another reads


def text_in_files(store: Store, text: bytes) -> bool:
    return any(text in file.read_bytes() for file in Path(store.where).parent.glob("ratings*"))


@pytest.mark.sqlite
def test_forget_says_that_it_is_not_over_while_another_reads_and_finishes_later(store):
    one_of_everything(store)
    reader = sqlite3.connect(store.where)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM event").fetchone()
    assert forget(store, "=ben") == {"events": 6, "finished": False}
    assert text_in_files(store, b"Anna told me")
    assert forget(store, "=ben") == {"events": 0, "finished": False}
    reader.close()
    assert forget(store, "=ben") == {"events": 0, "finished": True}
    assert not text_in_files(store, b"Anna told me") and len(store.answers()) == 4
    with pytest.raises(Refused, match="nobody"):
        forget(store, "=ben")


# Nicknames


@pytest.mark.parametrize("name", ["\u200b", "\u2060\ufeff", "\u202e", "\u2800", "\u3164", "\u0301"])
def test_a_name_of_which_nothing_is_seen_is_refused(store, name):
    with pytest.raises(Refused, match="name"):
        store.add_rater(name)


@pytest.mark.parametrize(
    "given, kept",
    [
        ("  Al\u200bice ", "Alice"),
        ("\u202eecilA", "ecilA"),
        ("Ａｌｉｃｅ", "Alice"),
        ("Al\n\tice", "Al ice"),
        ("Zoe\u0301", "Zoé"),
        ("a" + "\u0336" * 30, "a\u0336"),
        ("Мария", "Мария"),
        ("李雷 🙂", "李雷 🙂"),
    ],
)
def test_a_name_is_kept_as_it_is_seen(store, given, kept):
    store.add_rater(given)
    assert store.raters()[0]["name"] == kept


def test_two_of_one_name_are_told_apart(store):
    for name in ("Alice", "Alice", "ALICE", "Al\u200bice", "x" * 40, "x" * 40):
        store.add_rater(name)
    names = [row["name"] for row in store.raters()]
    assert names == ["Alice", "Alice 2", "ALICE 3", "Alice 4", "x" * 40, "x" * 38 + " 2"]
    assert store.reader("Alice") == store.reader("Alice")


def test_a_merged_name_cannot_turn_the_console_round(store):
    rows = [
        {"table": "rater", "id": f"{n}" * 32, "name": name, "team": "", "kind": "person"}
        for n, name in enumerate(["\u202eevil", "x" * 500, "\u200b"])
    ]
    merge(store, enumerate(rows, 1))
    assert [row["name"] for row in store.raters()] == ["evil", "x" * 40, "somebody"]


# A large import


def test_others_vote_while_a_large_file_comes_in(store, you, tmp_path):
    rows = [
        {"prompt": f"p{n % 50}", "chosen": f"good {n}", "rejected": f"bad {n}", "rater": "imported"}
        for n in range(1500)
    ]
    write_rows(tmp_path / "in.jsonl", rows)
    store.add_tasks("r", pairs(400, overlap=None))
    other, took, done = Store(store.where), [], threading.Event()
    importing = threading.Thread(target=lambda: (load(other, tmp_path / "in.jsonl"), done.set()))
    importing.start()
    while not done.is_set() and importing.is_alive():
        started = time.monotonic()
        vote(store, you)
        took.append(time.monotonic() - started)
        time.sleep(0.02)
    importing.join()
    other.close()
    assert len(took) >= 10  # in one transaction, the first would have waited for all
    assert len(store.answers()) == 1500 + len(took)

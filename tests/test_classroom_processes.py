"""Two processes of one class on one database, behind a proxy that asks them in turn."""

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import class_server
import pytest
from class_server import Server, free_port, join, teacher, write_answers
from postgresql import Server as PostgreSQL
from postgresql import missing

from rlhf_lessons.feedback import Store, new_id
from rlhf_lessons.feedback.export import everything

ROOT = Path(__file__).parents[1]
source = class_server.source  # a fixture


@pytest.fixture
def two(database, source):
    """Two servers of one class."""
    servers = [Server(database("class"), source) for _ in range(2)]
    yield servers
    for server in servers:
        server.close()


def test_who_has_joined_at_one_process_votes_at_the_other_at_once(two):
    here, there = two
    first = join(here, "Ann")
    first.port = there.port
    there.room.look()  # has just looked, and seen nobody
    second = join(here, "Bob")
    second.port = there.port
    for person in (first, second):
        assert person.vote(person.next()["task"])[0] == 200
        person.join("again")
    assert [row["name"] for row in there.store.raters()] == ["Ann", "Bob"]


def test_a_vote_that_comes_to_both_processes_counts_once(two):
    here, there = two
    ann = join(here, "Ann")
    task, id = ann.next()["task"], new_id()
    numbers = set()
    for server in (here, there, here, there):
        ann.port = server.port
        status, reply = ann.vote(task, id=id)
        numbers.add(reply["seq"])
        assert status == 200 and reply["progress"]["done"] == 1
    assert len(numbers) == len(here.store.answers()) == 1
    assert reply["next"]["task"]["task"] == ann.next()["task"] != task


def test_a_round_opened_at_one_process_is_asked_at_the_other_within_two_seconds(two):
    here, there = two
    ann, boss = join(there, "Ann"), teacher(here)
    assert ann.next()["kind"] == "pair"
    boss.ask("/teach", {"do": "round", "kind": "ranking", "family": "all"})
    until = time.monotonic() + 2
    while ann.next()["kind"] == "pair" and time.monotonic() < until:
        time.sleep(0.1)
    assert ann.next()["kind"] == "ranking"


def test_two_processes_started_at_once_draw_one_round_and_share_code_and_keys(database, tmp_path):
    db, answers = str(database("class")), write_answers(tmp_path)
    command = [sys.executable, "-m", "rlhf_lessons", "classroom", "serve", "--db", db]
    command += ["--answers", str(answers)]
    how = {
        "cwd": ROOT,
        "env": dict(os.environ, RLHF_LESSONS_RUNS=str(tmp_path)),
        "stdout": subprocess.PIPE,
        "text": True,
    }
    servers = [subprocess.Popen([*command, "--port", str(free_port())], **how) for _ in range(2)]
    said = []
    for server in servers:
        lines = []
        for line in server.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        said.append("".join(lines))
        server.kill()
        server.wait()
        server.stdout.close()
    for secret in (r"Class code +(\w+)", r"key=([\w-]+)"):
        codes = [re.search(secret, printed)[1] for printed in said]
        assert codes[0] == codes[1]
    store = Store(db)
    opened = [row["payload"] for row in everything(store) if row.get("kind") == "round"]
    store.close()
    assert [said["round"] for said in opened] == ["round 1: pairs"]


def test_a_class_whose_processes_and_database_server_are_killed_loses_no_vote(tmp_path):
    """The campus of benchmarks/classroom_load.py on a small scale, with its dump and restore."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from classroom_load import attend

    try:
        server = PostgreSQL()
    except RuntimeError as error:
        missing(str(error))
    with server:
        page = attend(
            tmp_path,
            students=8,
            votes=4,
            think=0.5,
            kills=1,
            most=0.7,
            processes=2,
            postgresql=server,
            restarts=1,
        )
        found = asyncio.run(page)
    assert found["stored"] == 32 and found["acknowledged and not stored"] == 0
    assert found["database intact"] and "event 33" in found["restored rows"]

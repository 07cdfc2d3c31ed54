"""`classroom serve` and `check` as a teacher starts them, and a benchmark in small."""

import asyncio
import os
import re
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from class_server import Browser, free_port, write_answers

from rlhf_lessons.classroom.serve import address_of, terminal_code
from rlhf_lessons.cli import serve

ROOT = Path(__file__).parents[1]


def start(*arguments: str) -> tuple[subprocess.Popen, list[str]]:
    """Start a command of the class page; return it and the lines that it prints, as they come."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rlhf_lessons", "classroom", *arguments],
        cwd=ROOT,
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        env=None,
    )
    lines = []
    threading.Thread(
        target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True
    ).start()
    return process, lines


def wait_for(lines: list[str], pattern: str) -> str:
    """Return the first line that matches."""
    for _ in range(600):
        if found := next((line for line in lines if re.search(pattern, line)), None):
            return found
        time.sleep(0.05)
    raise AssertionError(f"no line {pattern!r} in {lines}")


def test_importing_the_class_page_loads_no_torch_nor_pandas():
    code = (
        "import sys, rlhf_lessons.classroom, rlhf_lessons.classroom.serve\n"
        "heavy = ('torch', 'pandas', 'evalica', 'transformers')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert found.stdout.strip() == "[]", found.stderr


def test_serve_prints_where_students_join_and_whether_they_can(tmp_path):
    port, source = free_port(), write_answers(tmp_path)
    process, lines = start(
        "serve",
        "--db",
        str(tmp_path / "c.sqlite3"),
        "--port",
        str(port),
        "--answers",
        str(source),
        "--code",
        "fox42",
        "--url",
        "http://192.168.1.23:8800",
    )
    try:
        wait_for(lines, "Ctrl-C ends")
        printed = "".join(lines)
        assert re.search(r"Students +http://192.168.1.23:8800/\n", printed)
        assert re.search(r"Class code +FOX42\n", printed)
        assert "█" in printed and "for you alone" in printed
        assert "/console?key=" not in printed  # the room may see this window
        page = tmp_path / "c.sqlite3.console.html"
        key = re.search(r"/console\?key=([\w-]+)", page.read_text(encoding="utf-8"))[1]
        assert key not in printed and Browser(port).ask(f"/console?key={key}")[0] == 200
        if os.name == "posix":
            assert stat.S_IMODE(page.stat().st_mode) == 0o600
    finally:
        process.kill()
        process.wait()


def test_a_second_server_on_the_same_port_says_what_to_do(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ValueError, match="--port"):
            serve(
                str(tmp_path / "c.sqlite3"),
                port=taken.getsockname()[1],
                answers=write_answers(tmp_path),
            )


def test_only_this_computer_is_named_where_only_it_can_connect():
    assert address_of("127.0.0.1") == "127.0.0.1" and address_of("192.168.1.23") == "192.168.1.23"
    assert address_of("0.0.0.0") not in ("", "0.0.0.0")


def test_the_qr_code_in_the_terminal_is_square():
    drawn = terminal_code("http://192.168.1.23:8800/#FOX42Q")
    lines = re.sub("\033.*?m", "", drawn).splitlines()
    assert len({len(line) for line in lines}) == 1 and abs(2 * len(lines) - len(lines[0])) <= 1


def test_check_says_that_all_is_well_once_a_phones_vote_is_on_the_disk():
    port = free_port()
    process, lines = start("check", "--host", "127.0.0.1", "--port", str(port), "--minutes", "1")
    code = re.search(r"#(\w+)", wait_for(lines, "Take a phone"))[1]
    phone = Browser(port)
    phone.ask("/")
    phone.join(code=code)
    phone.vote(phone.next()["task"])
    assert process.wait(30) == 0
    for step in ("the page was opened", "somebody joined", "a task was shown", "All is well"):
        wait_for(lines, step)


def test_check_names_the_likely_causes_where_no_phone_comes():
    process, lines = start(
        "check", "--host", "127.0.0.1", "--port", str(free_port()), "--minutes", "0.01"
    )
    assert process.wait(60) == 1
    wait_for(lines, "Nothing arrived from a phone")
    assert {"hotspot", "firewall", "tunnel", "hands"} <= set(
        re.findall(r"\w+", "".join(lines).lower())
    )


def test_a_small_class_whose_server_is_killed_loses_no_vote(tmp_path):
    """The short version of benchmarks/classroom_load.py."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from classroom_load import attend

    found = asyncio.run(attend(tmp_path, students=8, votes=4, think=0.3, kills=1, most=0.7))
    assert (
        found["stored"] == 32
        and found["acknowledged and not stored"] == 0
        and found["database intact"]
    )
    assert found["server's memory, MB"] <= 120

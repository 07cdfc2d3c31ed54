"""Who gets in, what is kept from whom, and requests that no page would send."""

import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import class_server
import pytest
from class_server import (
    LEFT,
    Browser,
    Server,
    free_port,
    join,
    shown,
    teacher,
    write_answers,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlhf_lessons.classroom import rounds
from rlhf_lessons.classroom.room import BURST, JOINS, MOST_RATERS, SLOWER, WRONG_CODES
from rlhf_lessons.classroom.serve import secrets_of
from rlhf_lessons.classroom.server import LARGEST
from rlhf_lessons.feedback import new_id
from rlhf_lessons.feedback.exchange import forget

server, source = class_server.server, class_server.source  # fixtures


# Who gets in


def test_the_server_listens_to_this_computer_alone_unless_a_host_is_named(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5):
        pass
    for other in (
        "127.0.0.2",
        "::1",
    ):  # addresses of this computer too, and not the one that was named
        with pytest.raises(OSError):
            socket.create_connection((other, server.port), timeout=2)


def test_nobody_joins_without_the_class_code_or_without_a_name(server):
    stranger = Browser(server.port)
    assert stranger.ask("/join", {"code": "FOX43", "name": "Eve"})[0] == 403
    assert stranger.ask("/join", {"code": "FOX42", "name": " "})[0] == 400
    assert stranger.ask("/join", {"code": "FOX42", "name": "x" * 41})[0] == 400
    assert server.store.raters() == [] and not stranger.cookies


def test_guessing_class_codes_is_stopped(server, monkeypatch):
    monkeypatch.setattr("rlhf_lessons.classroom.server.SLOWER", 0)
    stranger = Browser(server.port)
    tried = [
        stranger.ask("/join", {"code": f"A{i}", "name": "Eve"})[0] for i in range(WRONG_CODES + 5)
    ]
    assert tried[0] == 403 and tried[-1] == 429
    assert (
        stranger.ask("/join", {"code": "FOX42", "name": "Eve"})[0] == 429
    )  # else guessing would go on


def test_who_guesses_locks_out_nobody_behind_the_same_address(server, monkeypatch):
    monkeypatch.setattr("rlhf_lessons.classroom.server.SLOWER", 0)
    guesser, other = Browser(server.port), Browser(server.port)
    for browser in (guesser, other):
        browser.ask("/")  # each device has a cookie of its own from here on
    for i in range(WRONG_CODES + 5):
        guesser.ask("/join", {"code": f"A{i}", "name": "Eve"})
    assert guesser.ask("/join", {"code": "FOX42", "name": "Eve"})[0] == 429
    assert other.ask("/join", {"code": "FOX42", "name": "Ann"})[0] == 200


def test_each_wrong_code_makes_the_next_answer_slower(server):
    guesser = Browser(server.port)
    began = time.monotonic()
    for i in range(5):
        guesser.ask("/join", {"code": f"A{i}", "name": "Eve"})
    assert time.monotonic() - began > SLOWER * (1 + 2 + 3 + 4)


def test_one_student_who_joins_over_and_over_fills_the_class_for_nobody(server):
    """500 times in a few seconds was the case; behind a tunnel others have other addresses."""
    there = [{"X-Class": "1", "X-Forwarded-For": address} for address in ("10.0.0.1", "10.0.0.2")]
    statuses = Counter()
    for i in range(JOINS + 30):
        wish = {"code": "FOX42", "name": f"Eve {i}"}
        statuses[Browser(server.port).ask("/join", wish, there[0])[0]] += 1
    assert 100 <= statuses[200] <= JOINS + 20 and statuses[429] >= 10 and len(statuses) == 2
    ann = Browser(server.port)
    assert ann.ask("/join", {"code": "FOX42", "name": "Ann"}, there[1])[0] == 200


def test_those_removed_and_those_long_gone_do_not_fill_the_class(server, monkeypatch):
    monkeypatch.setattr("rlhf_lessons.classroom.room.MOST_RATERS", 3)
    browsers = [join(server, f"student {i}") for i in range(3)]
    wish = {"code": "FOX42", "name": "Late"}
    status, told = Browser(server.port).ask("/join", wish)
    assert status == 400 and "full: 3 have joined" in told["error"]
    first, second, _ = [row["id"] for row in server.store.raters()]
    teacher(server).ask("/teach", {"do": "hide", "id": first, "hidden": True})
    assert Browser(server.port).ask("/join", wish)[0] == 200
    assert Browser(server.port).ask("/join", wish | {"name": "Later"})[0] == 400
    server.room.seen[second] -= 150  # joined, never voted, and was not seen for minutes
    assert Browser(server.port).ask("/join", wish | {"name": "Later"})[0] == 200
    assert browsers[1].next()["state"] == "task"  # who comes back is let in all the same


def test_a_forgotten_student_joins_again_without_a_restart(server):
    ann = join(server, "Ann")
    ann.vote(ann.next()["task"])
    forget(server.store, server.store.raters()[0]["id"])
    server.room.looked = float("-inf")  # a second later
    assert ann.ask("/say", {"type": "next"})[0] == 401
    ann.join("Ann")
    assert ann.next()["state"] == "task" and len(server.store.raters()) == 1


def test_a_second_person_on_a_device_joins_anew(server):
    phone = join(server, "Ann")
    assert phone.ask("/say", {"type": "ready"})[1]["name"] == "Ann"
    assert phone.ask("/join", {"code": "FOX42", "name": "Bob", "anew": True})[0] == 200
    assert phone.ask("/say", {"type": "ready"})[1]["name"] == "Bob"
    phone.vote(phone.next()["task"])
    assert [row["name"] for row in server.store.answers()] == ["Bob"]


@pytest.mark.parametrize(
    "host, status",
    [
        ("127.0.0.1", 200),
        ("192.168.0.7:8800", 200),
        ("[::1]:8800", 200),
        ("localhost:8800", 200),
        (socket.gethostname(), 200),
        ("class.example.org", 200),  # the tunnel that the teacher named
        ("evil.example.org", 403),
        ("127.0.0.1.evil.example.org", 403),
        ("class.example.org.evil.net", 403),
        ("", 403),
    ],
)
def test_the_page_answers_only_to_its_own_names(server, host, status):
    """Else a site whose name leads to this computer could read it (DNS rebinding)."""
    server.room.address = "https://class.example.org/"
    browser = teacher(server)
    for path in ("/", "/files/card.js", "/show/console"):
        assert browser.ask(path, headers={"Host": host})[0] == status, path


BAD_ROWS = {
    "a pair with four answers": "UPDATE assignment SET shown = json_insert(shown, '$[#]', "
    "json_extract(shown, '$[0]')); UPDATE event SET shown = (SELECT shown FROM assignment)",
    "a payload of another kind": """UPDATE event SET payload = '[1]' WHERE kind = 'pair'""",
    "a choice that there is not": """UPDATE event SET payload = '{"choice": 7}'
        WHERE kind = 'pair'""",
    "a time that is none": "UPDATE event SET time = 9e999 WHERE kind = 'pair'",
    "a report of lists": """UPDATE event
        SET payload = '{"round": "round 1: pairs", "accuracy": [1]}'
        WHERE kind = 'report'""",
    "a report of texts": """UPDATE event SET payload = '{"round": [], "accuracy": "much",
        "samples": 3, "curve": 1}' WHERE kind = 'report'""",
}


@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_bad_row_in_the_store_ends_neither_projector_nor_console(server, bad):
    ann, boss = join(server), teacher(server)
    ann.vote(ann.next()["task"])
    server.store.say("report", round="round 1: pairs", accuracy=0.7, votes=1)
    with closing(sqlite3.connect(server.store.engine.url.database)) as database:
        database.executescript(BAD_ROWS[bad])
    ann.vote(ann.next()["task"])
    server.room.screens.due = float("-inf")
    for path in ("/show/projector", "/show/console", "/texts"):
        status, found = boss.ask(path)
        assert status == 200 and "error" not in found, path
    text = json.dumps(boss.ask("/show/projector")[1])
    assert "Infinity" not in text and "NaN" not in text


def test_the_thousand_and_first_who_joins_is_told_kindly(server):
    room = server.room
    with room.store.write():
        for i in range(MOST_RATERS):
            room.join(f"student {i}")
    late = Browser(server.port)
    status, told = late.ask("/join", {"code": "FOX42", "name": "Late"})
    assert status == 400 and not late.cookies
    assert told["error"] == "this class is full: 1000 have joined; ask your teacher"
    assert len(room.store.raters()) == MOST_RATERS == 1000


@pytest.mark.parametrize("files, half_requests", [(256, 400), (1024, 1100)])
def test_at_the_limit_of_open_files_everybody_still_gets_the_page(tmp_path, files, half_requests):
    """macOS allows 256: 100 phones of four connections, and half requests, shut the class."""
    port, source = free_port(), write_answers(tmp_path)
    command = [sys.executable, "-m", "rlhf_lessons", "classroom", "serve", "--port", str(port)]
    command += ["--db", str(tmp_path / "c.sqlite3"), "--answers", str(source), "--code", "FOX"]
    limited = ["bash", "-c", f'ulimit -n {files}; exec "$@"', "bash", *command]
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(limited, stdout=log, stderr=log, cwd=Path(__file__).parents[1])
    held = []
    try:
        for _ in range(400):
            if "Ctrl-C" in (tmp_path / "log").read_text(encoding="utf-8"):
                break
            time.sleep(0.1)
        for _ in range(half_requests):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            held[-1].sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")  # and no more
        for _ in range(20):
            assert Browser(port).ask("/")[0] == 200
    finally:
        for connection in held:
            connection.close()
        server.kill()
        server.wait()
    said = (tmp_path / "log").read_text(encoding="utf-8")
    assert "Traceback" not in said and said.count("the oldest are closed") == 1


def sent(server, request: bytes, seconds: float = 10) -> str:
    """Return all that the server says to these bytes until it hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        connection.sendall(request)
        said = b""
        while part := connection.recv(65536):
            said += part
    return said.decode()


@pytest.mark.parametrize(
    "request_line",
    ["nonsense", "GET / HTTP/9.9", "GET\x00 / HTTP/1.1", f"GET /{'a' * 20_000} HTTP/1.1"],
)
def test_what_is_no_http_is_refused_in_our_words_and_fills_no_log(server, request_line, capfd):
    said = sent(server, f"{request_line}\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert said.startswith("HTTP/1.") and " 400 " in said.splitlines()[0]
    assert '{"error": "this request makes no sense"}' in said and "Content-Security-Policy" in said
    assert "Python" not in said and "aiohttp" not in said
    assert "Traceback" not in capfd.readouterr().err


def test_what_cannot_be_done_at_a_place_is_told_from_what_is_not_there(server):
    head = "Host: 127.0.0.1\r\nConnection: close\r\n\r\n"
    for line, status in {
        "HEAD /": 405,
        "POST /notice": 405,
        "GET /say": 405,
        "PUT /join": 405,
        "GET /nowhere": 404,
        "GET /say/": 404,
        "GET /files/x/../card.js": 404,
    }.items():
        said = sent(server, f"{line} HTTP/1.1\r\n{head}".encode())
        assert f" {status} " in said.splitlines()[0] and "Server: class" in said, line


def test_a_connection_without_a_request_or_with_half_of_one_is_closed(server, monkeypatch):
    monkeypatch.setattr("rlhf_lessons.classroom.server.IDLE", 0.3)
    began = time.monotonic()
    half = b"POST /join HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Class: 1\r\n"
    assert sent(server, b"") == "" == sent(server, half)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(half + b"Content-Length: 30\r\n\r\n{")
        assert connection.recv(999).startswith(b"HTTP/1.1 400 ")
    assert time.monotonic() - began < 5


def test_a_cookie_is_good_for_a_day(server, monkeypatch):
    ann = join(server)
    assert "Max-Age=86400" in ann.headers["Set-Cookie"]
    now = time.time()
    monkeypatch.setattr("rlhf_lessons.classroom.server.time.time", lambda: now + 86_401)
    assert ann.ask("/say", {"type": "next"})[0] == 401


def test_a_student_sees_no_console_no_projector_no_export_and_no_file(server):
    ann = join(server)
    for path in (
        "/console",
        "/projector",
        "/show/console",
        "/show/projector",
        "/texts",
        "/export/events",
        "/export/table",
        "/code.svg",
        "/console?key=wrong",
        "/projector?key=console-key",
    ):
        assert ann.ask(path)[0] == 403, path
    assert ann.ask("/teach", {"do": "pause"})[0] == 403
    for path in (
        "/files/server.py",
        "/files/../server.py",
        "/files/%2e%2e%2fserver.py",
        "/class.sqlite3",
        "/files/class.sqlite3.secrets.json",
        "//etc/passwd",
        "/files/",
        "/say/",
        "/.git/config",
    ):
        assert ann.ask(path)[0] in (404, 405), path
    assert server.store.room().states == {"round 1: pairs": "open"}


def test_no_student_sees_anothers_vote_before_giving_their_own(server):
    ann, bob = join(server, "Ann"), join(server, "Bob")
    task = ann.next()["task"]
    ann.vote(task)
    while (given := bob.next()["task"]) != task:
        assert (
            bob.ask("/say", {"type": "reveal", "id": new_id(), "task": task})[0] == 400
        )  # was not even asked
        bob.vote(given)
    assert (
        bob.ask("/say", {"type": "reveal", "id": new_id(), "task": task})[0] == 400
    )  # has not answered
    bob.vote(task)
    told = bob.ask("/say", {"type": "reveal", "id": new_id(), "task": task})[1]
    assert told["others"]["n"] == 1 and "Ann" not in json.dumps(told)


def test_no_student_can_answer_for_another_or_count_hands(server):
    ann, bob = join(server, "Ann"), join(server, "Bob")
    task, id = ann.next()["task"], new_id()
    ann.vote(task, id=id)
    bob.next()
    assert bob.vote(task, id=id)[0] == 400  # a replay of another's request
    mine = bob.next()["task"]
    assert bob.vote(mine, {"left": 1000}, kind="hands")[0] == 400
    assert len(server.store.answers()) == 1


def test_the_projectors_key_opens_the_projector_and_not_the_console(server):
    screen = Browser(server.port)
    assert screen.ask("/projector?key=projector-key")[0] == 200
    assert screen.ask("/show/projector")[0] == 200 and screen.ask("/code.svg")[0] == 200
    for path in ("/show/console", "/texts", "/export/events"):
        assert screen.ask(path)[0] == 403
    assert screen.ask("/teach", {"do": "pause"})[0] == 403


def test_one_browser_can_have_the_console_and_the_projector(server):
    boss = teacher(server)
    assert (
        boss.ask("/projector?key=projector-key")[0] == 200
    )  # opened after the console, in another tab
    assert (
        boss.ask("/teach", {"do": "pause"})[0] == 200
        and boss.ask("/show/projector")[1]["state"] == "paused"
    )


def test_a_request_without_our_header_is_refused_as_another_site_could_have_sent_it(server):
    ann, boss = join(server), teacher(server)
    message = {
        "type": "answer",
        "id": new_id(),
        "task": ann.next()["task"],
        "kind": "pair",
        "payload": LEFT,
    }
    for browser, path in ((ann, "/say"), (ann, "/join"), (boss, "/teach")):
        assert browser.ask(path, message, headers={})[0] == 403
    assert server.store.answers() == []


def test_who_is_too_fast_waits_and_the_others_do_not(server):
    ann, bob = join(server, "Ann"), join(server, "Bob")
    server.room.requests.per_second = 0  # else it depends on how fast this machine asks
    statuses = [ann.ask("/say", {"type": "next"})[0] for _ in range(BURST + 5)]
    assert statuses == [200] * BURST + [429] * 5
    assert bob.ask("/say", {"type": "next"})[0] == 200


def test_every_answer_says_what_a_browser_may_do_with_it(server):
    browser = Browser(server.port)
    for path in ("/", "/files/card.js", "/files/class.css", "/nowhere", "/show/console", "/notice"):
        browser.ask(path)
        policy = browser.headers["Content-Security-Policy"]
        assert (
            policy.startswith("default-src 'none'; script-src 'self';") and "unsafe" not in policy
        ), path
        assert browser.headers["X-Content-Type-Options"] == "nosniff"


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(server):
    browser = join(server)
    assert {"HttpOnly", "SameSite=Strict"} <= {
        part.strip() for part in browser.headers["Set-Cookie"].split(";")
    }


def test_under_a_prefix_all_pages_and_the_cookie_lie_there(tmp_path, source):
    server = Server(tmp_path / "class.sqlite3", source, prefix="/rate")
    browser = Browser(server.port).join(path="/rate/join")
    assert "Path=/rate" in browser.headers["Set-Cookie"]
    assert browser.ask("/rate/say", {"type": "ready"})[0] == 200
    assert (
        browser.ask("/rate/files/student.js")[0] == 200
        and browser.ask("/say", {"type": "ready"})[0] == 404
    )
    server.close()


def test_the_pages_load_nothing_from_afar_and_nothing_from_outside_their_prefix():
    pages = Path(rounds.__file__).with_name("pages")
    for file in pages.iterdir():
        text = (
            file.read_text(encoding="utf-8")
            .replace("http://www.w3.org/2000/svg", "")
            .replace("https?:", "")
        )
        assert (
            "http" not in text
            and 'src="/' not in text
            and 'href="/' not in text
            and "url(" not in text
        ), file


def test_secrets_are_made_once_and_are_their_owners_alone(tmp_path):
    first = secrets_of(str(tmp_path / "a.sqlite3"))
    assert secrets_of(str(tmp_path / "a.sqlite3")) == first and len(first["code"]) == 6
    if os.name == "posix":
        assert stat.S_IMODE(os.stat(tmp_path / "a.sqlite3.secrets.json").st_mode) == 0o600


# Requests that no page would send: of each sort many, drawn by hypothesis

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
JSON = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
KINDS = ["pair", "ranking", "scores", "demonstration", "hands", "skip"]
PARTS = ["choice", "strength", "ranks", "scores", "text", "reason"]
FIELDS = {
    "type": st.sampled_from(["answer", "undo", "reveal", "vote"]) | JSON,
    "id": st.just("A" * 16) | JSON,
    "task": st.just("TASK") | JSON,
    "kind": st.sampled_from(KINDS) | JSON,
    "ms": JSON,
    "payload": st.fixed_dictionaries({}, optional={name: JSON for name in PARTS}) | JSON,
}
LONG = st.integers(5001, 30_000).map(lambda n: "x" * n)
ANSWER = {"type": "answer", "id": "B" * 16, "task": "TASK", "kind": "pair", "payload": LEFT}
PATHS = st.sampled_from(["/say", "/join", "/teach"])
SECRET = st.sampled_from(
    ["/teach", "/show/console", "/show/projector", "/texts", "/export/events", "/console?key=x"]
)


def sound(message: object) -> bool:
    """Whether hypothesis happened to write a vote that is in order."""
    payload = message.get("payload") if isinstance(message, dict) else None
    return isinstance(payload, dict) and (
        message.get("kind") in ("skip", "flag")
        or payload.get("choice") in ("left", "right", "tie", "bad")
    )


def altered(cookie: str, place: int, letter: str) -> str:
    place %= len(cookie)
    return cookie[:place] + (letter if cookie[place] != letter else "z") + cookie[place + 1 :]


ATTACKS = {  # of each request: path, body (None: only look), whether with the header, and as whom
    "malformed": st.tuples(
        st.just("/say"),
        (st.fixed_dictionaries({}, optional=FIELDS) | JSON).filter(
            lambda message: not sound(message)
        ),
        st.just(True),
        st.just("cy"),
    ),
    "no message": st.tuples(
        PATHS, st.binary(min_size=1, max_size=200), st.booleans(), st.just("nobody")
    ),
    "oversized": st.one_of(
        st.tuples(
            PATHS,
            st.integers(LARGEST + 1, 4 * LARGEST).map(lambda n: b" " * n),
            st.just(True),
            st.just("cy"),
        ),
        st.tuples(
            st.just("/say"),
            st.builds(
                lambda name, text: ANSWER | {name: text},
                st.sampled_from(["id", "task", "kind", "type"]),
                LONG,
            ),
            st.just(True),
            st.just("cy"),
        ),
        st.tuples(
            st.just("/say"),
            st.builds(
                lambda kind, text: ANSWER | {"kind": kind, "payload": {"reason": text}},
                st.sampled_from(["skip", "flag"]),
                LONG,
            ),
            st.just(True),
            st.just("cy"),
        ),
        st.tuples(
            st.just("/join"),
            LONG.map(lambda text: {"code": "FOX42", "name": text}),
            st.just(True),
            st.just("nobody"),
        ),
    ),
    "replayed": st.tuples(
        st.just("/say"),
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["answer", "undo", "reveal"]),
                "id": st.just("ANNS"),
                "task": st.just("ANNS TASK"),
                "kind": st.just("pair"),
                "payload": st.sampled_from([LEFT, {"choice": "right"}, {"choice": "tie"}]),
            },
            optional={"ms": st.integers(0, 9999)},
        ),
        st.booleans(),
        st.sampled_from(["cy", "nobody"]),
    ),
    "forged": st.tuples(
        SECRET,
        st.just({"do": "pause"}),
        st.just(True),
        st.tuples(
            st.sampled_from(["ann's cookie", "ann's, altered", "console's, altered"]),
            st.integers(0, 10**6),
            st.sampled_from("0123456789abcdef|:="),
        ),
    ),
}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    server = Server(folder / "class.sqlite3", write_answers(folder))
    server.room.requests.per_second = server.room.wrong.per_second = (
        1e9  # what is tested here is not the limit
    )
    server.ann, server.cy, server.boss = join(server, "Ann"), join(server, "Cy"), teacher(server)
    server.anns, server.cys, server.anns_id = (
        server.ann.next()["task"],
        server.cy.next()["task"],
        new_id(),
    )
    assert server.ann.vote(server.anns, id=server.anns_id)[0] == 200
    server.file = folder / "class.sqlite3"
    yield server
    server.close()


def contents(file: Path) -> list[str]:
    """Return all that is in a database."""
    with sqlite3.connect(file) as database:
        assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return list(database.iterdump())


def strike(
    attacked: Server, path: str, message: object, header: bool, who: object
) -> tuple[int, object]:
    """Send one of the requests above."""
    browser = Browser(attacked.port)
    if who == "cy":
        browser.cookies = attacked.cy.cookies
    elif who != "nobody":
        what, place, letter = who
        cookie = (
            attacked.boss.cookies["rlhf_console"]
            if what.startswith("console")
            else attacked.ann.cookies["rlhf_rater"]
        )
        browser.cookies = dict.fromkeys(
            ("rlhf_console", "rlhf_projector"),
            altered(cookie, place, letter) if what.endswith("altered") else cookie,
        )
    if isinstance(message, dict):
        known = {"TASK": attacked.cys, "ANNS": attacked.anns_id, "ANNS TASK": attacked.anns}
        message = {
            name: known.get(value, value) if isinstance(value, str) else value
            for name, value in message.items()
        }
    raw = (
        message
        if isinstance(message, bytes)
        else json.dumps(message).encode("utf-8", "surrogatepass")
    )
    return browser.ask(
        path,
        raw=raw if path in ("/say", "/join", "/teach") else None,
        headers={"X-Class": "1"} if header else {},
    )


def test_300_malformed_oversized_replayed_and_forged_requests_get_a_4xx_and_change_nothing(
    attacked,
):
    before, struck = contents(attacked.file), Counter()

    def attack(sort, request):
        status, reply = strike(attacked, *request)
        assert 400 <= status < 500 and len(reply["error"]) > 10, (request, status, reply)
        struck[sort] += 1

    for sort, requests in ATTACKS.items():
        often = settings(
            max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        often(given(st.just(sort), requests)(attack))()
        assert contents(attacked.file) == before, sort
    assert sum(struck.values()) >= 300 and min(struck.values()) >= 50, struck
    assert (
        attacked.cy.vote(attacked.cys)[0] == 200
    )  # and whoever has something to say is still heard


@pytest.mark.parametrize(
    "raw", [b"[" * 50_000, b'{"a":' * 9_000, b"9" * 20_000, b"\xff\xfe", b'"\\ud800"']
)
def test_json_bombs_are_only_bad_json(attacked, raw):
    status, reply = attacked.ann.ask("/say", raw=raw)
    assert status == 400 and reply["error"]


def test_a_request_of_megabytes_is_hung_up_on(attacked):
    try:
        status, _ = attacked.ann.ask("/say", raw=b"x" * (3 << 20))
        assert 400 <= status < 500
    except OSError:
        pass  # the server hung up before it had read all, which is as clear
    assert attacked.ann.ask("/say", {"type": "next"})[0] == 200


def test_a_figures_process_that_was_killed_begins_anew(server):
    """As where the system is short of memory."""
    boss = teacher(server)
    assert shown(boss, server)["raters"] == 0
    first = server.room.screens.worker
    first.kill()
    first.join()
    join(server)
    assert shown(boss, server)["raters"] == 1
    assert server.room.screens.worker.pid != first.pid


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only /proc tells of a process")
def test_the_figures_process_ends_with_a_server_that_is_killed(tmp_path):
    """It would hold the ratings file and its memory until the computer is shut down."""
    serve = (
        "import time\n"
        "from types import SimpleNamespace\n"
        "from rlhf_lessons.classroom.screens import Screens\n"
        "from rlhf_lessons.feedback import Store\n"
        "if __name__ == '__main__':\n"
        f"    screens = Screens(SimpleNamespace(store=Store({str(tmp_path / 'r.sqlite3')!r})))\n"
        "    screens.compute()\n"
        "    print(screens.worker.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    script = tmp_path / "serve.py"
    script.write_text(serve)
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    until = time.monotonic() + 10
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(worker)


def alive(pid: int) -> bool:
    """Whether a process runs still: one that nobody waits for has ended too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

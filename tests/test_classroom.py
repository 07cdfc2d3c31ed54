"""The class page over HTTP: who gets in, what is stored, and what happens to requests that no page would send."""
import asyncio
import http.client
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("segno", reason="the class page needs: pip install tornado segno")

from rlhf_lessons.classroom import rounds  # noqa: E402
from rlhf_lessons.classroom.batches import Batches  # noqa: E402
from rlhf_lessons.classroom.commands import run, secrets_of  # noqa: E402
from rlhf_lessons.classroom.figures import agreement, leaderboard  # noqa: E402
from rlhf_lessons.classroom.room import BURST, WRONG_CODES, Classroom  # noqa: E402
from rlhf_lessons.classroom.server import LARGEST  # noqa: E402
from rlhf_lessons.data import DataError  # noqa: E402
from rlhf_lessons.ratings import Refused, Store, new_id  # noqa: E402

KEYS = {"console": "console-key", "projector": "projector-key"}
LEFT = {"choice": "left", "strength": 1}


def rows(n: int = 30) -> list[dict]:
    return [{"prompt": f"Write a story about fox number {i}.", "completions": [
        {"text": f"The fox {i} {verb} home.", "model": model, "reward": reward}
        for verb, model, reward in (("went", "sft", 0.1), ("flew", "ppo", 0.9), ("ran", "base", -1), ("sat", "sft", 0))
    ]} for i in range(n)]


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    return path


class Server:
    """A class page in a thread of its own."""

    def __init__(self, folder: Path, source: Path, prefix: str = "", **options):
        self.store = Store(folder / "class.sqlite3")
        self.room = Classroom(self.store, "FOX42", KEYS, "http://192.168.0.7:8800/", source, **options)
        if not self.store.room().current:
            rounds.new_round(self.store, source)
        ready = threading.Event()
        self.port = 0
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve(prefix, ready)), daemon=True)
        self.thread.start()
        assert ready.wait(30)

    async def serve(self, prefix: str, ready: threading.Event) -> None:
        import socket
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        self.loop.call_later(0.1, ready.set)
        await run(self.room, "a secret", "127.0.0.1", self.port, prefix, "", stop=self.stop)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)
        self.store.close()


class Browser:
    """A client with cookies."""

    def __init__(self, server: Server):
        self.port, self.cookies = server.port, {}

    def ask(self, path: str, message=None, headers=None, raw: bytes | None = None) -> tuple[int, object]:
        """Return (status, JSON or text)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        body = raw if raw is not None else None if message is None else json.dumps(message).encode()
        headers = {"X-Class": "1"} if headers is None else headers
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request("GET" if body is None else "POST", path, body, headers | {"Cookie": cookies})
        answer = connection.getresponse()
        for name, value in answer.getheaders():
            if name == "Set-Cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.split(";")[0]
        self.headers, content = dict(answer.getheaders()), answer.read().decode()
        connection.close()
        return answer.status, json.loads(content) if content[:1] == "{" else content

    def join(self, name: str = "Ann", path: str = "/join"):
        assert self.ask(path, {"code": "fox-42", "name": name})[0] == 200
        return self

    def next(self) -> dict:
        return self.ask("/say", {"type": "next"})[1]["reply"]["task"]

    def vote(self, task: str, payload=None, kind: str = "pair", id: str | None = None) -> tuple[int, object]:
        return self.ask("/say", {"type": "answer", "id": id or new_id(), "task": task, "kind": kind,
                                 "payload": LEFT if payload is None else payload, "ms": 900})


@pytest.fixture
def server(tmp_path, source):
    server = Server(tmp_path, source)
    yield server
    server.close()


def teacher(server: Server) -> Browser:
    browser = Browser(server)
    assert browser.ask("/console?key=console-key")[0] == 200
    return browser


def test_importing_the_class_page_loads_neither_torch_nor_pandas():
    code = ("import sys, rlhf_lessons.classroom, rlhf_lessons.classroom.commands\n"
            "print([name for name in ('torch', 'pandas', 'numpy', 'evalica', 'transformers') if name in sys.modules])")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == "[]", found.stderr


# Students

def test_a_vote_is_in_the_store_once_however_often_it_is_sent(server):
    ann = Browser(server).join("Ann")
    task, id = ann.next(), new_id()
    replies = [ann.vote(task["task"], id=id) for _ in range(3)]
    assert [status for status, _ in replies] == [200] * 3
    assert len({reply["reply"]["seq"] for _, reply in replies}) == 1
    (row,) = server.store.answers()
    assert (row["id"], row["name"], row["payload"], row["ui"]) == (id, "Ann", LEFT, "page")
    assert replies[-1][1]["reply"]["progress"] == {"done": 1, "passed": 0, "left": 19, "seconds": 0.9}


def test_the_answers_come_in_the_order_in_which_the_store_says_they_were_shown(server):
    ann = Browser(server).join()
    task = ann.next()
    ann.vote(task["task"], {"choice": "right", "strength": 2})
    assert [answer["text"] for answer in server.store.answers()[0]["answers"]] == [a["text"] for a in task["answers"]]


def test_undo_brings_the_task_back_and_reveal_locks_it(server):
    ann = Browser(server).join()
    task = ann.next()["task"]
    ann.vote(task)
    assert ann.ask("/say", {"type": "undo", "id": new_id()})[0] == 200
    assert ann.next()["task"] == task
    assert ann.ask("/say", {"type": "reveal", "id": new_id(), "task": task})[0] == 400  # not before an answer
    ann.vote(task)
    status, found = ann.ask("/say", {"type": "reveal", "id": new_id(), "task": task})
    assert status == 200 and len(found["reply"]["models"]) == 2
    assert ann.ask("/say", {"type": "undo", "id": new_id()})[0] == 400


def test_nobody_joins_without_the_class_code_or_without_a_name(server):
    stranger = Browser(server)
    assert stranger.ask("/join", {"code": "FOX43", "name": "Eve"})[0] == 403
    assert stranger.ask("/join", {"code": "FOX42", "name": " "})[0] == 400
    assert stranger.ask("/join", {"code": "FOX42", "name": "x" * 41})[0] == 400
    assert server.store.raters() == [] and not stranger.cookies


def test_guessing_class_codes_is_stopped(server):
    stranger = Browser(server)
    tried = [stranger.ask("/join", {"code": f"A{i}", "name": "Eve"})[0] for i in range(WRONG_CODES + 5)]
    assert tried[0] == 403 and tried[-1] == 429
    assert stranger.ask("/join", {"code": "FOX42", "name": "Eve"})[0] == 429  # else guessing would go on


def test_joining_twice_in_one_browser_is_joining_once(server):
    Browser(server).join("Ann").join("Ann again")
    assert [row["name"] for row in server.store.raters()] == ["Ann"]


def test_a_student_sees_no_console_no_projector_no_export_and_no_file(server, tmp_path):
    ann = Browser(server).join()
    for path in ("/console", "/projector", "/show/console", "/show/projector", "/export/events", "/export/table",
                 "/code.svg", "/console?key=wrong", "/projector?key=console-key"):
        assert ann.ask(path)[0] == 403, path
    assert ann.ask("/teach", {"do": "pause"})[0] == 403
    for path in ("/files/server.py", "/files/../server.py", "/files/%2e%2e%2fserver.py", "/class.sqlite3",
                 "/files/class.sqlite3.secrets.json", "//etc/passwd", "/files/", "/say/", "/.git/config"):
        assert ann.ask(path)[0] in (404, 405), path
    assert server.store.room().states == {"round 1: pairs": "open"}


def test_the_projectors_key_opens_the_projector_and_not_the_console(server):
    screen = Browser(server)
    assert screen.ask("/projector?key=projector-key")[0] == 200
    assert screen.ask("/show/projector")[0] == 200 and screen.ask("/code.svg")[0] == 200
    assert screen.ask("/show/console")[0] == 403 and screen.ask("/teach", {"do": "pause"})[0] == 403


def test_a_forged_or_altered_cookie_is_nobodys(server):
    ann, eve = Browser(server).join(), Browser(server)
    task = ann.next()["task"]
    for value in ("", "x", "2|1:0|10:1|10:rlhf_rater|4:YW5u|" + "0" * 64, ann.cookies["rlhf_rater"][:-1] + "0"):
        eve.cookies = {"rlhf_rater": value, "rlhf_screen": value}
        if value != ann.cookies["rlhf_rater"]:
            assert eve.vote(task)[0] == 401
            assert eve.ask("/show/console")[0] == 403
    eve.cookies = {"rlhf_screen": ann.cookies["rlhf_rater"]}  # signed for another purpose
    assert eve.ask("/show/console")[0] == 403
    assert server.store.answers() == []


def test_a_request_without_our_header_is_refused_as_another_site_could_have_sent_it(server):
    ann = Browser(server).join()
    message = {"type": "answer", "id": new_id(), "task": ann.next()["task"], "kind": "pair", "payload": LEFT}
    for path in ("/say", "/join", "/teach"):
        assert ann.ask(path, message, headers={})[0] == 403
    assert server.store.answers() == []


def test_no_student_can_answer_for_another_or_count_hands(server):
    ann, bob = Browser(server).join("Ann"), Browser(server).join("Bob")
    task, id = ann.next()["task"], new_id()
    ann.vote(task, id=id)
    bob.next()
    assert bob.vote(task, id=id)[0] == 400  # a replay of another's request
    mine = bob.next()["task"]
    assert bob.vote(mine, {"left": 1000}, kind="hands")[0] == 400
    assert len(server.store.answers()) == 1


def test_who_is_too_fast_waits_and_the_others_do_not(server):
    ann, bob = Browser(server).join("Ann"), Browser(server).join("Bob")
    server.room.requests.per_second = 0  # else it depends on how fast this machine asks
    statuses = [ann.ask("/say", {"type": "next"})[0] for _ in range(BURST + 5)]
    assert statuses == [200] * BURST + [429] * 5
    assert bob.ask("/say", {"type": "next"})[0] == 200


def test_every_answer_says_what_a_browser_may_do_with_it(server):
    browser = Browser(server)
    for path in ("/", "/files/card.js", "/files/class.css", "/nowhere", "/show/console", "/notice"):
        browser.ask(path)
        assert browser.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';"), path
        assert browser.headers["X-Content-Type-Options"] == "nosniff"


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(server):
    browser = Browser(server).join()
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in browser.headers["Set-Cookie"].split(";")}


def test_under_a_prefix_all_pages_and_the_cookie_lie_there(tmp_path, source):
    server = Server(tmp_path, source, prefix="/rate")
    browser = Browser(server).join(path="/rate/join")
    assert "Path=/rate" in browser.headers["Set-Cookie"]
    assert browser.ask("/rate/say", {"type": "ready"})[0] == 200
    assert browser.ask("/rate/files/student.js")[0] == 200 and browser.ask("/say", {"type": "ready"})[0] == 404
    for page in ("student", "projector", "console"):
        html = (Path(rounds.__file__).with_name("pages") / f"{page}.html").read_text(encoding="utf-8")
        assert 'src="/' not in html and 'href="/' not in html and "http" not in html  # relative, and nothing from afar
    server.close()


# Requests that no page would send

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner,
                                                                                       max_size=4), max_leaves=12)
KINDS = ["pair", "ranking", "scores", "demonstration", "hands", "skip"]
PARTS = ["choice", "strength", "ranks", "scores", "text", "reason"]
FIELDS = {"type": st.sampled_from(["answer", "undo", "reveal", "vote"]) | JSON, "id": st.just("A" * 16) | JSON,
          "task": st.just("TASK") | JSON, "kind": st.sampled_from(KINDS) | JSON, "ms": JSON,
          "payload": st.fixed_dictionaries({}, optional={name: JSON for name in PARTS}) | JSON}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    server = Server(folder, path)
    server.room.requests.per_second = 1e9  # what is tested here is not the limit
    server.ann = Browser(server).join("Ann")
    server.task = server.ann.next()["task"]
    yield server
    server.close()


def sound(payload, kind) -> bool:
    """Whether hypothesis happened to write a vote that is in order."""
    return kind in ("skip", "flag") or isinstance(payload, dict) and payload.get("choice") in ("left", "right", "tie",
                                                                                              "bad")


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(message=st.fixed_dictionaries({}, optional=FIELDS) | JSON)
def test_malformed_messages_get_a_clear_4xx_and_leave_the_store_as_it_was(attacked, message):
    if isinstance(message, dict):
        message = {name: attacked.task if value == "TASK" else value for name, value in message.items()}
        if message.get("task") == attacked.task and sound(message.get("payload"), message.get("kind")):
            message["id"] = "short"
    before = attacked.store.last(), len(attacked.store.raters())
    status, reply = attacked.ann.ask("/say", raw=json.dumps(message).encode("utf-8", "surrogatepass"))
    assert 400 <= status < 500 and len(reply["error"]) > 10, (message, status, reply)
    assert (attacked.store.last(), len(attacked.store.raters())) == before


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw=st.binary(min_size=1, max_size=200), path=st.sampled_from(["/say", "/join", "/teach"]),
       header=st.booleans(), cookie=st.text("abc|:;=\"0123456789", max_size=60))
def test_bytes_that_are_no_message_get_a_4xx(attacked, raw, path, header, cookie):
    eve = Browser(attacked)
    eve.cookies = {"rlhf_rater": cookie, "rlhf_screen": cookie}
    before = attacked.store.last()
    status, reply = eve.ask(path, raw=raw, headers={"X-Class": "1"} if header else {})
    assert 400 <= status < 500 and reply["error"]
    assert attacked.store.last() == before


@pytest.mark.parametrize("raw", [b"[" * 50_000, b'{"a":' * 9_000, b"9" * 20_000, b"\xff\xfe", b'"\\ud800"'])
def test_json_bombs_are_only_bad_json(attacked, raw):
    status, reply = attacked.ann.ask("/say", raw=raw)
    assert status == 400 and reply["error"]


def test_oversized_requests_are_refused(attacked):
    status, reply = attacked.ann.ask("/say", raw=b'"' + b"x" * LARGEST + b'"')
    assert status == 413 and str(LARGEST) in reply["error"]
    try:
        status, _ = attacked.ann.ask("/say", raw=b"x" * (3 << 20))
        assert 400 <= status < 500
    except OSError:
        pass  # the server hung up before it had read all, which is as clear
    assert attacked.ann.ask("/say", {"type": "next"})[0] == 200


# The teacher

def test_pause_new_round_and_removal_reach_the_students(server):
    ann, bob, boss = Browser(server).join("Ann"), Browser(server).join("Bob"), teacher(server)
    boss.ask("/teach", {"do": "pause"})
    assert ann.next() == {"state": "paused"}
    boss.ask("/teach", {"do": "round", "kind": "ranking", "family": "all"})
    assert ann.next()["kind"] == "ranking" and len(ann.next()["answers"]) == 4
    bobs = next(row["id"] for row in server.store.raters() if row["name"] == "Bob")
    task = bob.next()["task"]
    boss.ask("/teach", {"do": "hide", "id": bobs, "hidden": True})
    assert bob.next() == {"state": "removed"}
    assert bob.vote(task, {"ranks": [1, 2, 3, 4]}, kind="ranking")[0] == 400
    boss.ask("/teach", {"do": "open", "round": "round 1: pairs"})
    assert ann.next()["kind"] == "pair"


def test_a_hidden_text_is_offered_no_more(server):
    ann, boss = Browser(server).join(), teacher(server)
    task = ann.next()
    ann.vote(task["task"], {"reason": "rude"}, kind="flag")
    (flag,) = boss.ask("/show/console")[1]["flags"]
    assert flag["reason"] == "rude" and [a["text"] for a in flag["answers"]] == [a["text"] for a in task["answers"]]
    boss.ask("/teach", {"do": "hide", "id": flag["answers"][0]["id"], "hidden": True})
    later = Browser(server).join("Bob")
    seen = [later.next()]
    for _ in range(29):
        later.vote(seen[-1]["task"])
        seen.append(later.next())
    assert flag["answers"][0]["text"] not in [answer["text"] for task in seen for answer in task.get("answers", [])]


def test_a_show_of_hands_is_one_event_that_can_be_corrected_until_the_reveal(server):
    boss, screen = teacher(server), Browser(server)
    screen.ask("/projector?key=projector-key")
    boss.ask("/teach", {"do": "pair"})
    shown = screen.ask("/show/projector")[1]["pair"]
    assert len(shown["answers"]) == 2 and shown["models"] is None and shown["counts"] is None
    assert boss.ask("/teach", {"do": "hands", "counts": {"left": 1700}})[0] == 400
    boss.ask("/teach", {"do": "hands", "counts": {"left": 7, "right": 9}})
    boss.ask("/teach", {"do": "hands", "counts": {"left": 17, "right": 9, "tie": 2}})
    assert screen.ask("/show/projector")[1]["pair"]["models"] is None
    boss.ask("/teach", {"do": "reveal", "on": True})
    assert set(screen.ask("/show/projector")[1]["pair"]["models"]) <= {"sft", "ppo", "base"}
    (row,) = server.store.answers()
    assert row["payload"] == {"left": 17, "right": 9, "tie": 2, "bad": 0} and row["rater_kind"] == "teacher"


def test_two_teams_of_equal_size_get_opposite_briefs(tmp_path, source):
    server = Server(tmp_path, source, teams=2)
    briefs = [Browser(server).join(f"s{i}").ask("/say", {"type": "ready"})[1]["brief"] for i in range(6)]
    assert sorted(briefs) == sorted([*rounds.BRIEFS.values()] * 3)
    assert sorted(row["team"] for row in server.store.raters()) == ["moon"] * 3 + ["sun"] * 3
    server.close()


def test_the_projector_shows_no_name_of_a_student_and_models_only_after_the_reveal(server):
    server.store.report({"votes": 20, "accuracy": 0.7, "low": 0.5, "high": 0.85,
                         "samples": [{"prompt": "p", "plain": "a", "best": "b", "n": 16}]})
    ann, boss = Browser(server).join("Zaphod Unmistakable"), teacher(server)
    for _ in range(8):
        ann.vote(ann.next()["task"])
    server.room.figures.made = 0
    blind = boss.ask("/show/projector")[1]
    assert "Zaphod" not in json.dumps(blind) and blind["votes"] == 8
    assert {line["name"] for line in blind["board"]} <= {"model A", "model B", "model C"}
    assert blind["model"][0]["curve"] == [[20, 0.7]] and blind["samples"][0]["best"] == "b"
    boss.ask("/teach", {"do": "reveal", "on": True})
    assert {line["name"] for line in boss.ask("/show/projector")[1]["board"]} <= {"sft", "ppo", "base"}
    assert boss.ask("/show/console")[1]["raters"][0]["name"] == "Zaphod Unmistakable"


def test_an_export_without_names_has_none(server):
    ann, boss = Browser(server).join("Zaphod"), teacher(server)
    ann.vote(ann.next()["task"])
    named, blind = (boss.ask(f"/export/preference{query}")[1] for query in ("", "?anonymous"))
    assert named["rater"] == "Zaphod" and blind["rater"] == "rater 1" and named["chosen"] == blind["chosen"]
    assert "Zaphod" in str(boss.ask("/export/table")[1]) and boss.ask("/export/passwords")[0] == 404


# What is under the pages

def test_after_a_restart_students_go_on_with_the_same_cookie(tmp_path, source):
    server = Server(tmp_path, source)
    ann = Browser(server).join()
    ann.vote(ann.next()["task"])
    task = ann.next()["task"]
    server.close()
    again = Server(tmp_path, source)
    ann.port = again.port
    assert ann.next()["task"] == task
    assert ann.vote(task)[1]["reply"]["progress"]["done"] == 2
    again.close()


def test_secrets_are_made_once_and_are_their_owners_alone(tmp_path):
    first = secrets_of(str(tmp_path / "a.sqlite3"))
    assert secrets_of(str(tmp_path / "a.sqlite3")) == first and len(first["code"]) == 6
    if os.name == "posix":
        assert stat.S_IMODE(os.stat(tmp_path / "a.sqlite3.secrets.json").st_mode) == 0o600


def test_one_action_that_fails_takes_no_other_along(tmp_path):
    store = Store(tmp_path / "a.sqlite3")

    def refused():
        raise Refused("no")

    def broken():
        store.add_rater("half done")
        raise ZeroDivisionError

    async def all_at_once():
        batches = Batches(store)
        return await asyncio.gather(*(batches.do(action) for action in (
            lambda: store.add_rater("Ann"), refused, broken, lambda: store.add_rater("Bob"))), return_exceptions=True)
    ann, no, fault, bob = asyncio.run(all_at_once())
    assert isinstance(no, Refused) and isinstance(fault, ZeroDivisionError)
    assert {row["id"]: row["name"] for row in store.raters()} == {ann: "Ann", bob: "Bob"}


def test_a_round_is_drawn_from_pairs_put_together_again(tmp_path):
    path = tmp_path / "c.jsonl"
    pair = {"prompt": "What is 1+1?", "chosen": "2", "rejected": "3", "group": 7}
    three = ({}, {"rejected": "4"}, {"chosen": "3", "rejected": "4"})
    path.write_text("\n".join(json.dumps(pair | more) for more in three), encoding="utf-8")
    ((prompt, found),) = rounds.answers(path)
    assert prompt == "What is 1+1?" and [answer["text"] for answer in found] == ["2", "3", "4"]
    path.write_text('{"prompt": "a", "completions": [{"text": 7}]}', encoding="utf-8")
    with pytest.raises(DataError, match="row 1.*text"):
        list(rounds.answers(path))


def test_pairs_are_between_different_models_where_there_are_such(tmp_path, source):
    store = Store(tmp_path / "a.sqlite3")
    rounds.new_round(store, source, n=30)
    rater, seen = store.add_rater("Ann"), []
    for _ in range(30):
        task = store.next_task(rater, "round 1: pairs")["task"]
        store.answer(rater, task, "pair", LEFT, new_id())
        seen.append(store.reveal(rater, task, new_id())["models"])
    assert all(len(set(models)) == 2 for models in seen)


def answer(rater: str, task: str, choice: str, models=("sft", "ppo")) -> dict:
    return {"kind": "pair", "payload": {"choice": choice}, "rater": rater, "task": task, "repeat_of": None,
            "answers": [{"id": f"{task}{model}", "model": model} for model in models]}


def test_agreement_is_the_share_of_meetings_that_say_the_same():
    import random
    said = [answer("a", "t", "left"), answer("b", "t", "left"), answer("c", "t", "right"),
            answer("a", "u", "tie"), answer("b", "u", "tie"), answer("c", "v", "left")]  # 1 of 3 meetings, 1 of 1, none
    found = agreement(said, random.Random(0))
    assert found["share"] == 0.5 and found["low"] <= 0.5 <= found["high"]
    assert agreement(said[-1:], random.Random(0)) is None


def test_a_model_that_wins_all_has_an_interval_and_not_a_certainty():
    import random
    best, worst = leaderboard([answer(f"r{i}", f"t{i}", "right") for i in range(5)], random.Random(0))
    assert (best["name"], best["share"], worst["share"]) == ("ppo", 1.0, 0.0)
    assert best["low"] < 0.6 and worst["high"] > 0.4  # Wilson with 5 raters: 57 to 100 %


def test_a_small_class_whose_server_is_killed_loses_no_vote(tmp_path):
    """The short version of benchmarks/classroom_load.py."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    from classroom_load import attend
    found = asyncio.run(attend(tmp_path, students=8, votes=4, think=0.3, kill=0.7))
    assert found["stored"] == 32 and found["acknowledged and not stored"] == 0 and found["database intact"]
    assert found["server's memory, MB"] <= 120

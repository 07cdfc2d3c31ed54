"""What the tests of the class page share: a server in a thread, and clients with cookies."""

import asyncio
import http.client
import json
import socket
import threading
from pathlib import Path

import pytest

pytest.importorskip("segno", reason="the class page needs: pip install aiohttp segno")

from rlhf_lessons.classroom import rounds  # noqa: E402
from rlhf_lessons.classroom.room import Classroom  # noqa: E402
from rlhf_lessons.classroom.serve import run  # noqa: E402
from rlhf_lessons.feedback import Store, new_id  # noqa: E402

KEYS = {"console": "console-key", "projector": "projector-key", "cookie": "a secret"}
LEFT = {"choice": "left", "strength": 1}


def write_answers(folder: Path) -> Path:
    """Return a file of 30 prompts with four answers by three models each."""
    by = (("went", "sft", 0.1), ("flew", "ppo", 0.9), ("ran", "base", -1), ("sat", "sft", 0))
    rows = [
        {
            "prompt": f"Write a story about fox number {i}.",
            "completions": [
                {"text": f"The fox {i} {verb} home.", "model": model, "reward": reward}
                for verb, model, reward in by
            ],
        }
        for i in range(30)
    ]
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A class page that serves until it is closed."""

    def __init__(self, where: str | Path, source: Path, prefix: str = "", **options):
        self.store, self.port = Store(where), free_port()
        self.room = Classroom(
            self.store, "FOX42", KEYS, "http://192.168.0.7:8800/", source, prefix=prefix, **options
        )
        if not self.store.room().current:
            rounds.new_round(self.store, source)
        ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve(ready)), daemon=True)
        self.thread.start()
        assert ready.wait(30)

    async def serve(self, ready: threading.Event) -> None:
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        self.loop.call_later(0.1, ready.set)
        await run(self.room, "127.0.0.1", self.port, "", self.stop)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)
        self.store.close()


class Browser:
    """A client with cookies."""

    def __init__(self, port: int):
        self.port, self.cookies = port, {}

    def ask(
        self, path: str, message=None, headers=None, raw: bytes | None = None
    ) -> tuple[int, object]:
        """Return (status, JSON or text)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        body = raw if raw is not None else None if message is None else json.dumps(message).encode()
        headers = {"X-Class": "1"} if headers is None else headers
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request(
            "GET" if body is None else "POST", path, body, headers | {"Cookie": cookies}
        )
        answer = connection.getresponse()
        for name, value in answer.getheaders():
            if name == "Set-Cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.split(";")[0]
        self.headers, content = dict(answer.getheaders()), answer.read().decode()
        connection.close()
        return answer.status, json.loads(content) if content[:1] == "{" else content

    def join(self, name: str = "Ann", path: str = "/join", code: str = "fox-42"):
        status, reply = self.ask(path, {"code": code, "name": name})
        assert status == 200, reply
        return self

    def next(self) -> dict:
        return self.ask("/say", {"type": "next"})[1]["task"]

    def vote(
        self, task: str, payload=None, kind: str = "pair", id: str | None = None
    ) -> tuple[int, object]:
        return self.ask(
            "/say",
            {
                "type": "answer",
                "id": id or new_id(),
                "task": task,
                "kind": kind,
                "payload": LEFT if payload is None else payload,
                "ms": 900,
                "touched": True,
            },
        )


@pytest.fixture
def source(tmp_path) -> Path:
    return write_answers(tmp_path)


@pytest.fixture
def server(database, source):
    server = Server(database("class"), source)
    yield server
    server.close()


def join(server: Server, name: str = "Ann") -> Browser:
    """Return a student's browser."""
    return Browser(server.port).join(name)


def teacher(server: Server) -> Browser:
    """Return the browser with the console."""
    browser = Browser(server.port)
    assert browser.ask("/console?key=console-key")[0] == 200
    return browser


def shown(browser: Browser, server: Server, screen: str = "projector") -> dict:
    """Return what a screen shows, computed anew."""
    server.room.screens.due = float("-inf")
    return browser.ask(f"/show/{screen}")[1]

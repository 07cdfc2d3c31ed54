"""A class of simulated students: is each vote stored once, and how long does a student wait?

    python benchmarks/classroom_load.py                    # 100 students, 20 votes each, every 1 s
    python benchmarks/classroom_load.py --students 500     # a lecture
    python benchmarks/classroom_load.py --think 0          # all at once, as fast as they can
    python benchmarks/classroom_load.py --kills 20         # kill -9 at 20 random instants

Every vote is sent twice, at the same moment over two connections, under one id, 0.5 to 1.5 s after
the task was shown. A projector and a console look on. The server runs on one core where `taskset`
can see to that, and with it the process that computes the screens' figures, whose seconds are not
the server's; the students share the others.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Connection:
    """One kept-alive HTTP connection with cookies: as little client as will do."""

    def __init__(self, port: int):
        self.port, self.streams, self.cookies = port, None, {}
        self.address = "10.0.0.1"  # as a tunnel passes it on

    async def ask(self, path: str, message: dict | None = None) -> tuple[int, dict]:
        """Return (status, JSON) of a request; OSError where there is no server."""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        body = b"" if message is None else json.dumps(message).encode()
        head = [
            f"{'GET' if message is None else 'POST'} {path} HTTP/1.1",
            "Host: localhost",
            f"X-Forwarded-For: {self.address}",
            "X-Class: 1",
            f"Content-Length: {len(body)}",
            "Cookie: " + "; ".join(f"{k}={v}" for k, v in self.cookies.items()),
        ]
        try:
            writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            size = 0
            for name, _, value in (line.partition(": ") for line in lines[1:]):
                if name.lower() == "content-length":
                    size = int(value)
                elif name.lower() == "set-cookie":
                    key, _, rest = value.partition("=")
                    self.cookies[key] = rest.split(";")[0]
            content = await reader.readexactly(size)
        except (OSError, asyncio.IncompleteReadError) as error:
            writer.close()
            self.streams = None
            raise OSError(str(error)) from error
        return int(lines[0].split()[1]), json.loads(content) if content[:1] == b"{" else {}

    async def insist(self, path: str, message: dict) -> dict:
        """Ask until the server answers, with the same message and id, as the page does."""
        while True:
            try:
                status, reply = await self.ask(path, message)
                if status == 200:
                    return reply
                if status not in (429, 503):
                    raise RuntimeError(f"{path}: {status} {reply}")
            except OSError:
                pass
            await asyncio.sleep(0.2)


@dataclass
class Measured:
    """What the students saw: seconds of each request, and the number that each vote was given."""

    votes: list[float] = field(default_factory=list)
    next_tasks: list[float] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    turned_away: Counter = field(default_factory=Counter)


async def student(number: int, port: int, votes: int, think: float, seen: Measured) -> None:
    """Join, then vote; remember what was acknowledged, and how long each request took."""
    rng, first, second = random.Random(number), Connection(port), Connection(port)
    first.address = second.address = f"10.0.{number // 250}.{number % 250}"
    await asyncio.sleep(think * rng.random())
    try:
        await first.insist("/join", {"code": "FOX", "name": f"student {number}"})
    except RuntimeError as error:  # the class is full
        seen.turned_away[str(error)] += 1
        return
    second.cookies = first.cookies
    began = time.perf_counter()
    asked = await first.insist("/say", {"type": "ready"})
    seen.next_tasks.append(time.perf_counter() - began)
    for _ in range(votes):
        task = asked["task"]
        if task["state"] != "task":
            raise RuntimeError(f"student {number} got {task}")
        await asyncio.sleep(think * rng.uniform(0.5, 1.5))
        message = {
            "type": "answer",
            "id": uuid.UUID(int=rng.getrandbits(128)).hex,
            "task": task["task"],
            "kind": "pair",
            "payload": {"choice": rng.choice(["left", "right", "tie"]), "strength": 1},
            "ms": 900,
        }

        async def send(connection, message=message):
            began = time.perf_counter()
            reply = await connection.insist("/say", message)
            seen.votes.append(time.perf_counter() - began)
            return reply

        began = time.perf_counter()
        one, two = await asyncio.gather(send(first), send(second))
        assert one["seq"] == two["seq"], "one vote, two numbers"
        seen.acknowledged[message["id"]] = one["seq"]
        asked = one["next"]  # as the card, which asks for it only where it comes too late
        seen.next_tasks.append(time.perf_counter() - began)


async def onlooker(port: int, screen: str, key: str) -> None:
    """Look at the projector or the console every two seconds."""
    connection = Connection(port)
    while True:
        try:
            await connection.ask(f"/{screen}?key={key}")
            await connection.ask(f"/show/{screen}")
        except OSError:
            pass
        await asyncio.sleep(2)


def start(folder: Path, port: int) -> subprocess.Popen:
    """Start the server and wait until it listens."""
    pinned = ["taskset", "-c", "0"] if shutil.which("taskset") else []
    command = [
        *pinned,
        sys.executable,
        "-m",
        "rlhf_lessons",
        "classroom",
        "serve",
        "--db",
        str(folder / "class.sqlite3"),
        "--port",
        str(port),
        "--code",
        "FOX",
    ]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for line in server.stdout:
        if line.startswith("Ctrl-C"):
            return server
    raise RuntimeError(f"the server ended with {server.wait()}")


def used(pid: int) -> tuple[float, float]:
    """Return (largest memory so far in MB, CPU seconds) of a process; zeros without /proc."""
    try:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0.0
    return int(status["VmHWM"].split()[0]) / 1000, (int(times[11]) + int(times[12])) / os.sysconf(
        "SC_CLK_TCK"
    )


async def kill_at_random(
    server: subprocess.Popen, folder: Path, port: int, kills: int, most: float
) -> subprocess.Popen:
    """Kill the server `kills` times, each after up to `most` seconds of work; return the last."""
    rng = random.Random()
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(0.1, most))
        server.send_signal(signal.SIGKILL)
        server.wait()
        server.stdout.close()
        server = await asyncio.to_thread(start, folder, port)
    return server


async def attend(
    folder: Path, students: int, votes: int, think: float, kills: int = 0, most: float = 2.0
) -> dict:
    """Run a class and return what was measured."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server, seen = start(folder, port), Measured()
    cpu_before = used(server.pid)[1]
    keys = json.loads((folder / "class.sqlite3.secrets.json").read_text())
    looking = [
        asyncio.create_task(onlooker(port, screen, keys[screen]))
        for screen in ("projector", "console")
    ]
    began = time.perf_counter()
    room = asyncio.gather(*(student(i, port, votes, think, seen) for i in range(students)))
    acknowledged_before = 0
    try:
        if kills:
            server = await kill_at_random(server, folder, port, kills, most)
            acknowledged_before = len(seen.acknowledged)
            cpu_before = 0
        await room
    finally:
        for task in looking:
            task.cancel()
        seconds = time.perf_counter() - began
        memory, cpu = used(server.pid)
        server.kill()
        server.wait()
        server.stdout.close()
    with sqlite3.connect(folder / "class.sqlite3") as database:
        rows = database.execute("SELECT id, seq FROM event WHERE kind = 'pair'").fetchall()
        intact = database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    stored = dict(rows)
    lost = sum(stored.get(id) != seq for id, seq in seen.acknowledged.items())
    return {
        "students": students,
        "turned away": dict(seen.turned_away),
        "votes sent, each twice": len(seen.votes) // 2,
        "stored": len(rows),
        "acknowledged and not stored": lost,
        "kills": kills,
        "acknowledged before the last": acknowledged_before,
        "database intact": intact,
        **waits("vote", seen.votes),
        **waits("next task", seen.next_tasks),
        "seconds": round(seconds, 1),
        "votes a second": round(len(rows) / seconds, 1),
        "server's memory, MB": round(memory, 1),
        "server's CPU seconds": round(cpu - cpu_before, 1),
        "server's CPU, ms a vote": round(1000 * (cpu - cpu_before) / max(len(rows), 1), 2),
    }


def waits(what: str, seconds: list[float]) -> dict:
    """Return the median, 95 % and longest wait in milliseconds."""
    ms = sorted(1000 * each for each in seconds) or [0.0]
    return {
        f"{what}, median ms": round(ms[len(ms) // 2], 1),
        f"{what}, p95 ms": round(ms[len(ms) * 95 // 100], 1),
        f"{what}, longest ms": round(ms[-1], 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--students", type=int, default=100)
    parser.add_argument("--votes", type=int, default=20, help="of each student")
    parser.add_argument(
        "--think", type=float, default=1.0, help="mean seconds between a student's votes"
    )
    parser.add_argument(
        "--kills", type=int, default=0, help="how often the server is killed, at random instants"
    )
    parser.add_argument(
        "--most", type=float, default=2.0, help="seconds that it works at most before a kill"
    )
    parser.add_argument(
        "--folder", type=Path, help="on the disk to be measured; a temporary one otherwise"
    )
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=flags.folder) as temporary:
        found = asyncio.run(
            attend(
                Path(temporary), flags.students, flags.votes, flags.think, flags.kills, flags.most
            )
        )
    for name, value in found.items():
        print(f"{name:>28}: {value}")

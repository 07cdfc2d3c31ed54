r"""A class of simulated students: is each vote stored once, and how long does a student wait?

    python benchmarks/classroom_load.py                    # 100 students, 20 votes each, every 1 s
    python benchmarks/classroom_load.py --students 500     # a lecture
    python benchmarks/classroom_load.py --think 0          # all at once, as fast as they can
    python benchmarks/classroom_load.py --kills 20         # kill -9 at 20 random instants
    python benchmarks/classroom_load.py --postgresql --processes 2 --students 1000 --think 10 \
        --arrive 60        # a campus; `--kills 5 --restarts 5` crashes its database server too

Every vote is sent twice, at the same moment over two connections, under one id, 0.5 to 1.5 times
`--think` after the task was shown. A projector and a console look on. A single server runs on one
core, where there is `taskset`. So does the process that computes the screens' figures, whose
seconds are not counted as the server's; the students share the other cores. Several processes take
requests in turn, as behind a proxy without sticky sessions; if one does not answer, the request
goes to another. The teacher's pages ask the first process only, as in teaching/campus.md. At the
end a PostgreSQL database is dumped and restored into another one.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import sqlalchemy as sa

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT), str(ROOT / "tests")]
from postgresql import Server  # noqa: E402

from rlhf_lessons.feedback.schema import META, TABLES, events  # noqa: E402


class Connection:
    """One kept-alive HTTP connection to each port, used in turn, with cookies: as small a client as
    will do.
    """

    def __init__(self, ports: list[int]):
        self.ports, self.streams, self.cookies = cycle(ports), {}, {}
        self.address = "10.0.0.1"  # as a tunnel passes it on

    async def ask(self, path: str, message: dict | None = None) -> tuple[int, dict]:
        """Return (status, JSON) of a request; OSError where there is no server."""
        port = next(self.ports)
        reader, _ = self.streams.get(port, (None, None))
        if reader is None or reader.at_eof():  # the server has closed it, as it does when idle
            self.streams[port] = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = self.streams[port]
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
            self.streams.pop(port, None)
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


async def student(
    number: int, ports: list[int], votes: int, think: float, arrive: float, seen: Measured
) -> None:
    """Join, then vote; remember what was acknowledged, and how long each request took."""
    rng, first, second = random.Random(number), Connection(ports), Connection(ports[::-1])
    first.address = second.address = f"10.0.{number // 250}.{number % 250}"
    await asyncio.sleep((arrive or think) * rng.random())
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
    connection = Connection([port])
    while True:
        try:
            await connection.ask(f"/{screen}?key={key}")
            await connection.ask(f"/show/{screen}")
        except OSError:
            pass
        await asyncio.sleep(2)


def start(folder: Path, db: str, port: int, alone: bool) -> subprocess.Popen:
    """Start a server, on one core if it is `alone`, and wait until it listens."""
    pinned = ["taskset", "-c", "0"] if alone and shutil.which("taskset") else []
    command = [*pinned, sys.executable, "-m", "rlhf_lessons", "classroom", "serve"]
    command += ["--db", db, "--port", str(port), "--code", "FOX"]
    said = folder / f"{port}-{time.monotonic_ns()}.log"
    env = dict(os.environ, RLHF_LESSONS_RUNS=str(folder))
    with open(said, "w") as log:
        server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=env)
    while "Ctrl-C ends" not in said.read_text():
        if server.poll() is not None:
            raise RuntimeError(f"the server ended: {said.read_text()}")
        time.sleep(0.05)
    return server


def end(server: subprocess.Popen) -> None:
    server.kill()
    server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


class Class:
    """The processes of a class page on one database, and what happens to them."""

    def __init__(self, folder: Path, processes: int, postgresql: Server | None):
        self.folder, self.postgresql = folder, postgresql
        self.db = postgresql.url if postgresql else str(folder / "class.sqlite3")
        self.ports = [free_port() for _ in range(processes)]
        self.servers = [self.start(port) for port in self.ports]
        self.before = [used(server.pid)[1] for server in self.servers]  # until it listened
        keys = "class.secrets.json" if postgresql else "class.sqlite3.secrets.json"
        self.keys = json.loads((folder / keys).read_text())

    def start(self, port: int) -> subprocess.Popen:
        return start(self.folder, self.db, port, alone=len(self.ports) == 1)

    async def suffer(self, kills: int, restarts: int, most: float) -> None:
        """Kill a process `kills` times, and crash the database server `restarts` times, each after
        up to `most` seconds of work.
        """
        rng = random.Random()
        for what in rng.sample(["kill"] * kills + ["restart"] * restarts, kills + restarts):
            await asyncio.sleep(rng.uniform(0.1, most))
            if what == "restart":
                await asyncio.to_thread(self.postgresql.stop, signal.SIGQUIT)
                await asyncio.to_thread(self.postgresql.start)
                continue
            place = rng.randrange(len(self.ports))
            end(self.servers[place])
            self.servers[place] = await asyncio.to_thread(self.start, self.ports[place])
            self.before[place] = 0

    def close(self) -> dict:
        """End the processes; return what they used."""
        memory, cpu = zip(*(used(server.pid) for server in self.servers))
        for server in self.servers:
            end(server)
        return {"memory": max(memory), "cpu": sum(cpu) - sum(self.before)}


def rows_of(url: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return {id: number} of the votes in a database, and how many rows each table has."""
    engine = sa.create_engine(url)
    with engine.connect() as c:
        votes = sa.select(events.c.id, events.c.seq).where(events.c.kind == "pair")
        stored = dict(c.execute(votes).all())
        counts = {}
        for name, table in META.tables.items():
            counts[name] = c.scalar(sa.select(sa.func.count()).select_from(table))
    engine.dispose()
    return stored, counts


def intact(folder: Path) -> bool:
    """Return whether SQLite finds nothing wrong with its file."""
    engine = sa.create_engine(f"sqlite:///{folder / 'class.sqlite3'}")
    with engine.connect() as c:
        return c.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def restored(server: Server) -> dict:
    """Dump the database, restore it into another one, and compare them, as a campus would."""
    began = time.perf_counter()
    dump = server.ask("pg_dump", "postgres")
    server.ask("createdb", "restored")
    server.ask("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", "restored", input=dump)
    seconds = time.perf_counter() - began
    there = rows_of(server.url.replace("/postgres?", "/restored?"))
    return {
        "dump, MB": round(len(dump) / 1e6, 1),
        "dump and restore, seconds": round(seconds, 1),
        "restored rows": ", ".join(f"{name} {there[1][name]}" for name in TABLES),
        "database intact": there == rows_of(server.url),
    }


async def attend(
    folder: Path,
    students: int,
    votes: int,
    think: float,
    kills: int = 0,
    most: float = 2.0,
    processes: int = 1,
    postgresql: Server | None = None,
    restarts: int = 0,
    arrive: float = 0,
) -> dict:
    """Run a class and return what was measured."""
    page, seen = Class(folder, processes, postgresql), Measured()
    looking = [
        asyncio.create_task(onlooker(page.ports[0], screen, page.keys[screen]))
        for screen in ("projector", "console")
    ]
    began = time.perf_counter()
    room = asyncio.gather(
        *(student(i, page.ports, votes, think, arrive, seen) for i in range(students))
    )
    acknowledged_before = 0
    try:
        if kills or restarts:
            await page.suffer(kills, restarts, most)
            acknowledged_before = len(seen.acknowledged)
        await room
    finally:
        for task in looking:
            task.cancel()
        seconds = time.perf_counter() - began
        server = page.close()
    url = page.db if postgresql else f"sqlite:///{page.db}"
    stored, _ = rows_of(url)
    lost = sum(stored.get(id) != seq for id, seq in seen.acknowledged.items())
    return {
        "students": students,
        "turned away": dict(seen.turned_away),
        "votes sent, each twice": len(seen.votes) // 2,
        "stored": len(stored),
        "acknowledged and not stored": lost,
        "kills": kills,
        "crashes of the database": restarts,
        "acknowledged before the last": acknowledged_before,
        **(restored(postgresql) if postgresql else {"database intact": intact(folder)}),
        **waits("vote", seen.votes),
        **waits("next task", seen.next_tasks),
        "seconds": round(seconds, 1),
        "votes a second": round(len(stored) / seconds, 1),
        "server's memory, MB": round(server["memory"], 1),
        "server's CPU seconds": round(server["cpu"], 1),
        "server's CPU, ms a vote": round(1000 * server["cpu"] / max(len(stored), 1), 2),
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
        "--arrive", type=float, default=0, help="seconds within which all join; by default --think"
    )
    parser.add_argument(
        "--kills", type=int, default=0, help="how often a server is killed, at random instants"
    )
    parser.add_argument(
        "--most", type=float, default=2.0, help="seconds that it works at most before a kill"
    )
    parser.add_argument(
        "--folder", type=Path, help="on the disk to be measured; a temporary one otherwise"
    )
    parser.add_argument("--processes", type=int, default=1, help="servers on the same database")
    parser.add_argument(
        "--postgresql", action="store_true", help="use a temporary PostgreSQL server, not SQLite"
    )
    parser.add_argument(
        "--restarts", type=int, default=0, help="how often PostgreSQL is crashed and restarted"
    )
    given = vars(parser.parse_args())
    if given["restarts"] and not given["postgresql"]:
        parser.error("--restarts needs --postgresql")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=given.pop("folder")))
        server = stack.enter_context(Server(fast=False)) if given.pop("postgresql") else None
        found = asyncio.run(attend(Path(folder), postgresql=server, **given))
    for name, value in found.items():
        print(f"{name:>28}: {value}")

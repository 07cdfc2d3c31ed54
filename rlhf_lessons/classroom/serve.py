"""Serving the class page: where the server listens, what it prints, what it remembers."""

import asyncio
import gc
import html
import io
import json
import os
import secrets
import socket
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from timeit import timeit

import segno

from rlhf_lessons.classroom.room import Classroom
from rlhf_lessons.classroom.rounds import ANSWERS, new_round
from rlhf_lessons.classroom.server import Server, Visit
from rlhf_lessons.feedback import Refused, Store
from rlhf_lessons.feedback.store import DEFAULT

LETTERS = "ACDEFHJKLMNPQRTUVWXY3479"  # no two that look alike on a projector
LOOPBACK = ("127.0.0.1", "localhost", "::1")
AT_ONCE = 8  # connections taken in one turn, before those too many are closed
RESERVED = 64  # open files that are no connections: the database, logs, modules
HELP_WITH_NETWORK = """Nothing arrived from a phone. What mostly is the cause, the commonest first:
- The phone is in another network than this computer: compare the names of the Wi-Fi on both.
- The Wi-Fi keeps its devices apart (guest and campus networks do): open a hotspot on this
  computer, or on one phone, join it with all others, and start again.
- A firewall on this computer: allow Python to accept connections, or this port ({port}).
- Nothing helps: use a tunnel (--url), or let the class raise hands and type the counts into the
  console."""


def serve(
    db: str, host: str, port: int, url: str, answers: Path, prefix: str = "", **options
) -> None:
    """Open the class page until Ctrl-C; the command `classroom serve` has the defaults, and
    explains each argument.
    """
    prefix = f"/{prefix.strip('/')}" if prefix else ""
    address = url or f"http://{address_of(host)}:{port}{prefix}/"
    room = classroom(db, address, answers, prefix=prefix, **options)
    teams = bool(room.teams)
    with room.store.write():  # only one of several processes draws it
        if not room.store.room().current:
            print("Drawing a first round …", flush=True)
            try:
                new_round(room.store, room.source, family="story", teams=teams)
            except Refused:  # answers of one's own, without stories
                new_round(room.store, room.source, teams=teams)
    here = "127.0.0.1" if host in (*LOOPBACK, "0.0.0.0", "::") else host
    hello = announce(room, db, f"http://{here}:{port}{prefix}")
    asyncio.run(run(room, host, port, hello))


def classroom(
    db: str, address: str, source: Path = ANSWERS, code: str = "", **options
) -> Classroom:
    """Return a class; `options` are other fields of it."""
    if not source.is_file():
        raise ValueError(f"{source}: there is no such file of answers to rate")
    store = Store(db)
    with store.write():  # only one of several processes makes them
        keys = secrets_of(db)
    code = code.strip().upper() or keys["code"]
    return Classroom(store, code, keys, address.rstrip("/") + "/", source, **options)


def beside(db: str, ending: str) -> Path:
    """Return a path beside the ratings file; in the usual folder for a database elsewhere."""
    if "://" in db:
        return DEFAULT.parent / f"class.{ending}"
    path = Path(db).absolute()
    return path.with_name(f"{path.name}.{ending}")


def private(path: Path, mode: str = "w"):
    """Return a file to write that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, mode, encoding="utf-8", opener=partial(os.open, mode=0o600))
    path.chmod(0o600)  # of one that was there already
    return file


def secrets_of(db: str) -> dict[str, str]:
    """Return {"cookie", "console", "projector", "code"}, made once and kept in a private file.

    So a server that fell over comes back with the same code, and students continue.
    """
    path = beside(db, "secrets.json")
    fresh = {
        "cookie": secrets.token_hex(32),
        "console": secrets.token_urlsafe(16),
        "projector": secrets.token_urlsafe(16),
        "code": "".join(secrets.choice(LETTERS) for _ in range(6)),
    }
    try:
        with private(path, "x") as file:
            json.dump(fresh, file)
    except FileExistsError:
        path.chmod(0o600)
    try:
        return fresh | json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: no longer readable; delete it, and students join anew ({error})"
        ) from error


def address_of(host: str) -> str:
    """Return the address under which others find this computer, if it listens to them."""
    if host in LOOPBACK:
        return "127.0.0.1"
    if host not in ("0.0.0.0", "::"):
        return f"[{host}]" if ":" in host else host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # It sends nothing, and says which network the way out is in.
            probe.connect(("10.255.255.255", 9))
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()


def announce(room: Classroom, db: str, here: str) -> str:
    """Return what is printed at the start. `here` is the page's address on this computer.

    The terminal may be on the projector, so the console's key is not printed: it goes into a file
    for the owner alone, a page that leads to the console.
    """
    console = beside(db, "console.html")
    link = html.escape(f"{here}/console?key={room.keys['console']}")
    with private(console) as file:
        file.write(f'<meta http-equiv="refresh" content="0; url={link}">\n')
    if "127.0.0.1" in room.address:
        way_in = (
            "Only this computer can connect. For phones: --host 0.0.0.0, in a network you trust."
        )
    else:
        way_in = terminal_code(room.link)
    return f"""
Students    {room.address}
Class code  {room.code}

{way_in}

Projector   {here}/projector?key={room.keys["projector"]}
Console     open {console} in a browser here (for you alone: it holds the key)

Ratings are kept in {room.where}; notebooks that open it see the votes.
Ctrl-C ends the class page. Started again, it lets students continue where they were."""


def terminal_code(text: str) -> str:
    """Return a QR code in half blocks, dark on light whatever the terminal's colours are."""
    drawn = io.StringIO()
    segno.make(text, error="l").terminal(drawn, border=2, compact=True)
    return "\n".join(f"\033[97;40m{line}\033[0m" for line in drawn.getvalue().splitlines())


def most_connections() -> int:
    """Raise the limit of open files as far as we may; return how many may be connections."""
    try:
        import resource
    except ImportError:  # Windows: no such limit
        return 10_000
    limit = resource.RLIMIT_NOFILE
    _, hard = resource.getrlimit(limit)
    for wanted in (10_240, hard):  # macOS takes no more, whatever it says
        with suppress(ValueError, OSError):
            resource.setrlimit(limit, (wanted, hard))
            break
    return max(resource.getrlimit(limit)[0] - RESERVED, 16)


async def run(
    room: Classroom,
    host: str,
    port: int,
    hello: str,
    stop: asyncio.Event | None = None,
    visit: type[Visit] = Visit,
) -> None:
    """Serve until `stop` is set, or for ever."""
    server = Server(room, most_connections(), visit)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ValueError(
            f"port {port} of {host} cannot be used: {error.strerror}. Is a class page running "
            "already? Another port: --port 8801"
        ) from error
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(server, sock=listener, backlog=AT_ONCE)
    listener.listen(1024)  # may wait for their turn
    gc.collect()
    gc.freeze()  # to look through all that is loaded, again and again, would hold votes up
    gc.set_threshold(10_000)
    print(hello, flush=True)
    await (stop or asyncio.Event()).wait()
    listening.close()
    server.pre_shutdown()
    await server.shutdown(1)


def check(host: str = "0.0.0.0", port: int = 8800, url: str = "", minutes: float = 5) -> int:
    """Try the class page with one phone; return 0 where its vote reached the disk, else 1.

    The command `classroom check` explains each argument.
    """
    with tempfile.TemporaryDirectory() as folder:
        address = url or f"http://{address_of(host)}:{port}/"
        room = classroom(str(Path(folder, "check.sqlite3")), address, goal=1)
        new_round(room.store, room.source, n=20)
        disk = timeit(lambda: room.store.say("report"), number=20) / 20 * 1000
        slow = "" if disk < 50 else ": slow; a class may feel it"
        hello = (
            f"A commit takes {disk:.0f} ms on this disk{slow}.\n"
            f"Take a phone and open {room.link}\n\n{terminal_code(room.link)}"
        )
        came = asyncio.run(trial(room, host, port, hello, minutes))
        room.store.close()
    if room.voted:
        print("All is well: a phone connected, joined, and its vote is on the disk.")
        return 0
    no_vote = (
        "The phone connected, but no vote arrived. "
        "Reload the page there, or try another browser on it."
    )
    print(no_vote if came else HELP_WITH_NETWORK.format(port=port))
    return 1


async def trial(room: Classroom, host: str, port: int, hello: str, minutes: float) -> bool:
    """Serve until a vote has arrived, or for some minutes; return whether anybody came."""
    stop = asyncio.Event()
    steps = {"/": "the page was opened", "/join": "somebody joined", "/say": "a task was shown"}

    class Watched(Visit):
        async def answer(self):
            response = await super().answer()
            if response.status == 200 and self.path in steps:
                print(f"- {steps.pop(self.path)}, from {self.remote}", flush=True)
            if room.voted:
                stop.set()
            return response

    asyncio.get_running_loop().call_later(60 * minutes, stop.set)
    await run(room, host, port, hello, stop, Watched)
    return len(steps) < 3

"""What browsers get: pages without data, and a few JSON requests that each need a cookie that fits.

A student's cookie is signed and names a rater; it lets its owner rate, and see nothing else. The
teacher's console and the projector have a key each. A request that changes something carries the
header `X-Class`, which no other web site can make a browser send. Every refusal is a sentence in
JSON.
"""

import asyncio
import hmac
import io
import ipaddress
import json
import secrets
import socket
from collections.abc import Awaitable
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import segno
from tornado.httputil import parse_cookie
from tornado.web import Application, HTTPError, RequestHandler, decode_signed_value

from rlhf_lessons.classroom.room import SLOWER, Classroom, NotJoined
from rlhf_lessons.classroom.screens import texts
from rlhf_lessons.feedback.export import FORMATS, NOTICE, written
from rlhf_lessons.widgets import card_js

PAGES = Path(__file__).with_name("pages")
STYLE = Path(__file__).parents[1] / "widgets" / "card.css"
FILES = {
    file.name: file.read_bytes() for file in (*PAGES.glob("*.js"), *PAGES.glob("*.css"), STYLE)
}
FILES["card.js"] = card_js().encode()  # these and no others: no request names a path
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LARGEST = 64 * 1024  # bytes: a demonstration of 5,000 characters, each twice \uXXXX
KEPT = 2  # seconds for which the reply to a vote is kept, for the copy of one that is sent twice
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": "class",
    "Cross-Origin-Resource-Policy": "same-origin",
}

REASONS = {  # of what Tornado refuses
    400: "this request makes no sense",
    404: "there is nothing here",
    405: "this cannot be done here",
}


@lru_cache(100)
def served(host: str, address: str) -> bool:
    """Return whether the page of this address may be asked for under this name.

    Others are refused, since any name on the web can be made to lead to this computer, and its
    pages would then read what ours answer (DNS rebinding).
    """
    try:
        ipaddress.ip_address(host.strip("[]"))
        return True
    except ValueError:
        here = socket.gethostname().lower()
        names = {"localhost", here, f"{here}.local", urlsplit(address).hostname}
        return host.lower() in names


class Refusal(HTTPError):
    """A request that is refused, and the sentence that says why."""

    def __init__(self, status: int, said: str):
        super().__init__(status)
        self.said = said


class Base(RequestHandler):
    """Headers, cookies and refusals, the same for all."""

    def initialize(self):
        self.room = self.settings["room"]

    def prepare(self):
        if not served(self.request.host_name, self.room.address):
            raise Refusal(403, f"this is not the class page's address: it is {self.room.address}")

    def remember(self, name: str, value: str) -> None:
        """Set a signed cookie that scripts and other sites cannot use."""
        prefix = self.settings["prefix"]
        through = f"https://{self.request.host}{prefix}/"  # a tunnel or proxy
        self.set_signed_cookie(
            name,
            value,
            expires_days=1,
            httponly=True,
            samesite="Strict",
            path=prefix or "/",
            secure=self.room.address == through,
        )

    def set_default_headers(self):
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def write_error(self, status_code: int, exc_info: tuple = (None, None, None), **kwargs):
        reason = REASONS.get(status_code, "the server failed; nothing was saved")
        self.finish({"error": getattr(exc_info[1], "said", reason)})

    def signed(self, name: str) -> str | None:
        """Return what a signed cookie holds; None without one, or where it is forged or too old."""
        cookies = self.request.headers.get("Cookie", "")
        return unsigned(self.settings["cookie_secret"], name, cookies)

    def whence(self) -> str:
        """Return the address of whoever asks; a tunnel or proxy on this computer passes it on."""
        address = self.request.remote_ip
        passed_on = self.request.headers.get("X-Forwarded-For")
        if passed_on and address in ("127.0.0.1", "::1"):
            return passed_on.rpartition(",")[2].strip()
        return address

    def check_key(self, screen: str) -> None:
        """Refuse a browser that has shown neither the screen's key nor the console's."""
        if not any(self.signed(f"rlhf_{name}") for name in (screen, "console")):
            raise Refusal(
                403, "this is for the teacher: open it as the terminal of the server says"
            )

    def body(self) -> dict:
        """Return the request's JSON object; refuse what may be forged."""
        if self.request.headers.get("X-Class") != "1":
            raise Refusal(
                403, "the header X-Class is missing: this did not come from the class page"
            )
        if len(self.request.body) > LARGEST:
            raise Refusal(413, f"a request has at most {LARGEST} bytes")
        try:
            message = json.loads(self.request.body)
        except (ValueError, RecursionError) as error:
            raise Refusal(400, "the request is not JSON") from error
        if not isinstance(message, dict):
            raise Refusal(400, "the request must be a JSON object")
        return message

    async def attempt(self, doing: Awaitable) -> object:
        """Return what an action on the store returns; refuse where it fails."""
        try:
            return await doing
        except NotJoined as error:
            raise Refusal(401, str(error)) from error
        except ValueError as error:  # Refused, and files of answers that do not fit
            raise Refusal(400, str(error)) from error
        except Exception as error:
            self.room.sessions.clear()  # what they keep may not have reached the disk
            print(f"The store failed: {type(error).__name__}: {error}", flush=True)
            raise Refusal(503, "the teacher's computer could not write it to the disk") from error


@lru_cache(2000)
def unsigned(secret: str, name: str, cookies: str) -> str | None:
    """Return what a signed cookie holds, as `RequestHandler.get_signed_cookie` reads it."""
    found = decode_signed_value(secret, name, parse_cookie(cookies).get(name))
    return found.decode() if found else None


class Missing(Base):
    def prepare(self):
        raise HTTPError(404)


class Page(Base):
    def get(self, name: str):
        """Give the page; the teacher's only where the key fits, which becomes a cookie."""
        if name:
            key = self.get_query_argument("key", "")
            if hmac.compare_digest(key.encode(), self.room.keys[name].encode()):
                self.remember(f"rlhf_{name}", "yes")
            else:
                self.check_key(name)
        elif not self.signed("rlhf_device"):
            self.remember("rlhf_device", secrets.token_hex(8))
        self.finish((PAGES / f"{name or 'student'}.html").read_bytes())


class File(Base):
    def get(self, name: str):
        if name not in FILES:
            raise HTTPError(404)
        self.set_header("Content-Type", TYPES[Path(name).suffix])
        self.finish(FILES[name])


class Join(Base):
    async def post(self):
        """Let somebody in who has the class code.

        Wrong codes are counted by device, since a whole class may sit behind one address: whoever
        guesses is slowed down and then stopped, and nobody else is.
        """
        message = self.body()
        room = self.room
        device = self.signed("rlhf_device") or self.whence()
        if room.wrong.left(device) < 1:
            raise Refusal(429, "too many wrong class codes: wait a minute")
        if not hmac.compare_digest(bare(message.get("code", "")), bare(room.code)):
            room.wrong.reached(device)
            tried = room.wrong.burst - room.wrong.left(device)
            await asyncio.sleep(min(SLOWER * tried, 1))
            raise Refusal(403, "this is not the class code: look at the screen")
        if room.joins.reached(self.whence()):
            raise Refusal(429, "many are joining at once: wait a moment")
        known = None if message.get("anew") is True else self.signed("rlhf_rater")
        joined = room.batches.do(lambda: room.join(message.get("name"), known))
        self.remember("rlhf_rater", await self.attempt(joined))
        self.finish({})


def bare(code: object) -> bytes:
    """Return a class code as it is compared: of its letters and digits only."""
    return "".join(filter(str.isalnum, str(code))).upper().encode("utf-8", "replace")


class Say(Base):
    async def post(self):
        """Take a message of the card and answer with the card's answer, after the commit.

        The very same vote sent again gets the very same answer.
        """
        room, rater, message = self.room, self.signed("rlhf_rater"), self.body()
        if rater is None:
            raise Refusal(401, "join the class first, with its code")
        if room.requests.reached(rater):
            raise Refusal(429, "too fast: wait a moment")
        urgent = message.get("type") == "answer"
        key = (rater, self.request.body)
        doing = room.votes.get(key)
        if doing is None:
            doing = room.batches.do(lambda: json.dumps(room.reply(rater, message)), urgent)
            if urgent:
                room.votes[key] = doing
                asyncio.get_running_loop().call_later(KEPT, room.votes.pop, key, None)
        try:
            answer = await self.attempt(asyncio.shield(doing))
        except Refusal:
            room.votes.pop(key, None)
            raise
        self.set_header("Content-Type", "application/json")
        self.finish(answer)


class Show(Base):
    async def get(self, screen: str):
        """Give the projector, or the console, what it shows."""
        self.check_key(screen)
        self.finish(await self.room.screens.get(screen))


class Texts(Base):
    async def get(self):
        """Give the console the judged texts: ?find=words&flagged&page=0."""
        page = self.get_query_argument("page", "0")
        if not page.isdecimal() or len(page) > 6:
            raise Refusal(400, "the page must be a number")
        self.check_key("console")
        find = self.get_query_argument("find", "")
        flagged = "flagged" in self.request.query_arguments
        self.finish(await asyncio.to_thread(texts, self.room.store, find, flagged, int(page)))


class Teach(Base):
    async def post(self):
        message = self.body()
        self.check_key("console")
        await self.attempt(self.room.batches.do(lambda: self.room.teach(message)))
        self.finish({})


class Code(Base):
    def get(self):
        self.check_key("projector")
        drawn = io.BytesIO()
        segno.make(self.room.link).save(drawn, kind="svg", border=2, omitsize=True)
        self.set_header("Content-Type", TYPES[".svg"])
        self.finish(drawn.getvalue())


class Notice(Base):
    def get(self):
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(NOTICE.format(where="a file on the teacher's computer"))


class Export(Base):
    async def get(self, what: str):
        """Give the teacher training rows, a table, or all events; `?anonymous` without names."""
        self.check_key("console")
        if what not in (*FORMATS, "table", "events"):
            raise Refusal(404, f"there are table, events, {', '.join(FORMATS)}")
        format = "csv" if what == "table" else what
        anonymous = "anonymous" in self.request.query_arguments
        store = self.room.store
        text, _, left_out = await asyncio.to_thread(written, store, format, None, anonymous)
        self.set_header("X-Left-Out", json.dumps(left_out))  # the console says it
        self.set_header("Content-Type", "application/octet-stream")
        ending = "csv" if what == "table" else "jsonl"
        self.set_header("Content-Disposition", f'attachment; filename="{what}.{ending}"')
        self.finish(text)


def application(room: Classroom, secret: str, prefix: str = "", seen=None) -> Application:
    """Return the web application. `seen(handler)` is told of each finished request."""
    routes = {
        "/say": Say,
        "/(|projector|console)": Page,
        "/files/([a-z.]+)": File,
        "/join": Join,
        "/show/(projector|console)": Show,
        "/texts": Texts,
        "/teach": Teach,
        "/code.svg": Code,
        "/notice": Notice,
        "/export/([a-z]+)": Export,
    }
    return Application(
        [(prefix + path, handler) for path, handler in routes.items()],
        room=room,
        prefix=prefix,
        cookie_secret=secret,
        default_handler_class=Missing,
        log_function=seen or (lambda _: None),
    )

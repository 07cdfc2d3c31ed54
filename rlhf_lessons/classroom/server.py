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
import re
import secrets
import socket
import time
from functools import lru_cache, partial
from pathlib import Path
from urllib.parse import urlsplit

import segno
from aiohttp import web
from aiohttp.web import Response, json_response

from rlhf_lessons.classroom.room import SLOWER, Classroom, Refusal
from rlhf_lessons.classroom.screens import texts
from rlhf_lessons.data import DataError
from rlhf_lessons.feedback import Refused
from rlhf_lessons.feedback.export import FORMATS, NOTICE, written
from rlhf_lessons.widgets import card_css, card_js

PAGES = Path(__file__).with_name("pages")
FILES = {file.name: file.read_bytes() for file in (*PAGES.glob("*.js"), *PAGES.glob("*.css"))}
FILES["card.css"] = card_css().encode()
FILES["card.js"] = card_js().encode()  # these and no others: no request names a path
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LARGEST = 64 * 1024  # bytes: a demonstration of 5,000 characters, each twice \uXXXX
IDLE = 20  # seconds after which a connection without a request, or with half of one, is closed
DAY = 24 * 3600  # seconds for which a cookie is good
KEPT = 2  # seconds for which the reply to a vote is kept, for the copy of one that is sent twice
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": "class",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def refused(status: int, why: str) -> Response:
    return json_response({"error": why}, status=status, headers=HEADERS)


@lru_cache(100)
def served(host: str, address: str) -> bool:
    """Return whether the page of this address may be asked for under this name.

    Others are refused, since any name on the web can be made to lead to this computer, and its
    pages would then read what ours answer (DNS rebinding).
    """
    name = re.sub(r":\d+$", "", host.lower()).strip("[]")
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        here = socket.gethostname().lower()
        return name in {"localhost", here, f"{here}.local", urlsplit(address).hostname}


def bare(code: object) -> bytes:
    """Return a class code as it is compared: of its letters and digits only."""
    return "".join(filter(str.isalnum, str(code))).upper().encode("utf-8", "replace")


class Visit(web.BaseRequest):
    """A request to the page of a class, and what answers it."""

    def __init__(self, room: Classroom, *parts):
        super().__init__(*parts, asyncio.get_running_loop(), client_max_size=LARGEST)
        self.room = room

    async def answer(self) -> Response:
        """Answer the request; a refusal is a sentence in JSON."""
        try:
            if not served(self.headers.get("Host", ""), self.room.address):
                raise Refusal(
                    403, f"this is not the class page's address: it is {self.room.address}"
                )
            answer = ROUTES.get(self.path.removeprefix(f"{self.room.prefix}/"))
            if not answer:
                raise Refusal(404, "there is nothing here")
            if self.method != ("POST" if answer in ACTS else "GET"):
                raise Refusal(405, "this cannot be done here")
            response = await answer(self)
        except (Refused, DataError) as error:
            response = refused(getattr(error, "status", 400), str(error))
        except Exception as error:
            self.room.sessions.clear()  # what they keep may not have reached the disk
            print(f"The class page failed: {type(error).__name__}: {error}", flush=True)
            response = refused(503, "the class's database could not be written to")
        response.headers.update(HEADERS)
        return response

    async def body(self) -> dict:
        """Return the request's JSON object; refuse what may be forged."""
        if self.headers.get("X-Class") != "1":
            raise Refusal(
                403, "the header X-Class is missing: this did not come from the class page"
            )
        try:
            async with asyncio.timeout(None if self.content.is_eof() else IDLE):
                message = json.loads(await self.read())
        except web.HTTPRequestEntityTooLarge as error:
            raise Refusal(413, f"a request has at most {LARGEST} bytes") from error
        except (OSError, web.RequestPayloadError, ValueError, RecursionError) as error:
            raise Refusal(400, "the request is not JSON") from error
        if not isinstance(message, dict):
            raise Refusal(400, "the request must be a JSON object")
        return message

    def whence(self) -> str:
        """Return the address of whoever asks; a tunnel or proxy on this computer passes it on."""
        passed_on = self.headers.get("X-Forwarded-For")
        if passed_on and self.remote in ("127.0.0.1", "::1"):
            return passed_on.rpartition(",")[2].strip()
        return self.remote

    def seal(self, name: str, value: str, until: object) -> str:
        """Return what a signed cookie holds: a value, until when it is good, and the signature."""
        secret, said = self.room.keys["cookie"], f"{name}.{value}.{until}"
        return f"{value}.{until}.{hmac.digest(secret.encode(), said.encode(), 'sha256').hex()}"

    def remember(self, response: Response, name: str, value: str) -> None:
        """Set a signed cookie that scripts and other sites cannot use."""
        through = f"https://{self.host}{self.room.prefix}/"  # a tunnel or proxy
        response.set_cookie(
            name,
            self.seal(name, value, int(time.time()) + DAY),
            max_age=DAY,
            httponly=True,
            samesite="Strict",
            path=self.room.prefix or "/",
            secure=self.room.address == through,
        )

    def signed(self, name: str) -> str | None:
        """Return what a signed cookie holds; None without one, or where it is forged or too old."""
        sealed = self.cookies.get(name, "")
        value, _, until = sealed.rpartition(".")[0].rpartition(".")
        genuine = sealed.isascii() and hmac.compare_digest(sealed, self.seal(name, value, until))
        return value if genuine and time.time() < int(until) else None

    def check_key(self, screen: str) -> None:
        """Refuse a browser that has shown neither the screen's key nor the console's."""
        if not any(self.signed(f"rlhf_{name}") for name in (screen, "console")):
            raise Refusal(
                403, "this is for the teacher: open it as the terminal of the server says"
            )

    async def page(self) -> Response:
        """Give the page; the teacher's only where the key fits, which becomes a cookie."""
        name = self.rel_url.name or "student"
        html = (PAGES / f"{name}.html").read_text("utf-8")
        response = Response(text=html, content_type="text/html")
        key = self.query.get("key", "").encode(errors="replace")
        if name == "student":
            if not self.signed("rlhf_device"):
                self.remember(response, "rlhf_device", secrets.token_hex(8))
        elif hmac.compare_digest(key, self.room.keys[name].encode()):
            self.remember(response, f"rlhf_{name}", "yes")
        else:
            self.check_key(name)
        return response

    async def file(self) -> Response:
        name = self.rel_url.name
        type = "text/javascript" if name.endswith(".js") else "text/css"
        return Response(body=FILES[name], content_type=type)

    async def join(self) -> Response:
        """Let somebody in who has the class code.

        Wrong codes are counted by device, since a whole class may sit behind one address: whoever
        guesses is slowed down and then stopped, and nobody else is.
        """
        message = await self.body()
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
        rater = await room.batches.do(lambda: room.join(message.get("name"), known))
        response = json_response({})
        self.remember(response, "rlhf_rater", rater)
        return response

    async def say(self) -> Response:
        """Take a message of the card and answer with the card's answer, after the commit.

        The very same vote sent again gets the very same answer.
        """
        room, rater, message = self.room, self.signed("rlhf_rater"), await self.body()
        if rater is None:
            raise Refusal(401, "join the class first, with its code")
        if room.requests.reached(rater):
            raise Refusal(429, "too fast: wait a moment")
        urgent = message.get("type") == "answer"
        key = (rater, await self.read())
        doing = room.votes.get(key)
        if doing is None:
            doing = room.batches.do(lambda: json.dumps(room.reply(rater, message)), urgent)
            if urgent:
                room.votes[key] = doing
                asyncio.get_running_loop().call_later(KEPT, room.votes.pop, key, None)
        try:
            answer = await asyncio.shield(doing)
        except Exception:
            room.votes.pop(key, None)
            raise
        return Response(text=answer, content_type="application/json")

    async def show(self) -> Response:
        """Give the projector, or the console, what it shows."""
        screen = self.rel_url.name
        self.check_key(screen)
        return json_response(await self.room.screens.get(screen))

    async def texts(self) -> Response:
        """Give the console the judged texts: ?find=words&flagged&page=0."""
        asked = self.query
        page = asked.get("page", "0")
        if not re.fullmatch(r"\d{1,6}", page):
            raise Refusal(400, "the page must be a number")
        self.check_key("console")
        wish = asked.get("find", ""), "flagged" in asked, int(page)
        return json_response(await asyncio.to_thread(texts, self.room.store, *wish))

    async def teach(self) -> Response:
        wish = await self.body()
        self.check_key("console")
        await self.room.batches.do(lambda: self.room.teach(wish))
        return json_response({})

    async def code(self) -> Response:
        self.check_key("projector")
        drawn = io.BytesIO()
        segno.make(self.room.link).save(drawn, kind="svg", border=2, omitsize=True)
        return Response(body=drawn.getvalue(), content_type="image/svg+xml")

    async def notice(self) -> Response:
        return Response(text=NOTICE.format(where="that of your class"))

    async def export(self) -> Response:
        """Give the teacher training rows, a table, or all events; `?anonymous` without names."""
        self.check_key("console")
        what, anonymous = self.rel_url.name, "anonymous" in self.query
        format, ending = ("csv", "csv") if what == "table" else (what, "jsonl")
        store = self.room.store
        text, _, left_out = await asyncio.to_thread(written, store, format, None, anonymous)
        headers = {
            "X-Left-Out": json.dumps(left_out),  # the console says it
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f'attachment; filename="{what}.{ending}"',
        }
        return Response(body=text.encode(), headers=headers)


ACTS = {Visit.join, Visit.say, Visit.teach}
ROUTES = {
    "": Visit.page,
    "projector": Visit.page,
    "console": Visit.page,
    "join": Visit.join,
    "say": Visit.say,
    "show/projector": Visit.show,
    "show/console": Visit.show,
    "texts": Visit.texts,
    "teach": Visit.teach,
    "code.svg": Visit.code,
    "notice": Visit.notice,
    **{f"files/{name}": Visit.file for name in FILES},
    **{f"export/{what}": Visit.export for what in ("table", "events", *FORMATS)},
}


class Connection(web.RequestHandler):
    """A browser's connection. What is no HTTP is refused in our words, and fills no log."""

    def handle_error(self, request, status=500, exc=None, message=None):
        response = refused(status, "this request makes no sense")
        response.force_close()
        return response


class Server(web.Server):
    """An HTTP server that never runs out of open files.

    Where as many connections are open as may be, the oldest makes room. A phone opens another by
    itself when it has something to say; half a request never has.
    """

    def __init__(self, room: Classroom, most: int, visit: type[Visit] = Visit):
        super().__init__(visit.answer, request_factory=partial(visit, room))
        self.most, self.transports, self.told = most, {}, False

    def __call__(self) -> Connection:
        loop = asyncio.get_running_loop()
        options = {"keepalive_timeout": IDLE, "access_log": None, "auto_decompress": False}
        return Connection(self, loop=loop, **options)

    def connection_made(self, handler, transport):
        if len(self.transports) >= self.most:
            if not self.told:
                print(f"{self.most} connections are open; the oldest are closed for new ones.")
                self.told = True
            oldest = next(iter(self.transports))
            self.transports.pop(oldest).abort()
        self.transports[handler] = transport
        super().connection_made(handler, transport)

    def connection_lost(self, handler, exc=None):
        self.transports.pop(handler, None)
        super().connection_lost(handler, exc)

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
from pathlib import Path
from urllib.parse import urlsplit

import segno
from tornado.web import Application, RequestHandler

from rlhf_lessons.classroom.room import SLOWER, Classroom, NotJoined
from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.export import FORMATS, NOTICE, everything, table
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
KEPT = 2000  # replies to votes, for those that are sent twice
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": "class",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def served(host: str, room: Classroom) -> bool:
    """Return whether a page may be asked for under this name.

    Others are refused, since any name on the web can be made to lead to this computer, and its
    pages would then read what ours answer (DNS rebinding).
    """
    try:
        ipaddress.ip_address(host.strip("[]"))
        return True
    except ValueError:
        here = socket.gethostname().lower()
        names = {"localhost", here, f"{here}.local", urlsplit(room.address).hostname}
        return host.lower() in names


class Base(RequestHandler):
    """Headers, cookies and refusals, the same for all."""

    def initialize(self, room: Classroom, path: str):
        self.room, self.path = room, path

    def prepare(self):
        if not served(self.request.host_name, self.room):
            self.refuse(403, f"this is not the class page's address: it is {self.room.address}")

    def remember(self, name: str, value: str) -> None:
        """Set a signed cookie that scripts and other sites cannot use."""
        through = f"https://{self.request.host}{self.path.rstrip('/')}/"  # a tunnel or proxy
        self.set_signed_cookie(
            name,
            value,
            expires_days=1,
            httponly=True,
            samesite="Strict",
            path=self.path,
            secure=self.room.address == through,
        )

    def set_default_headers(self):
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def refuse(self, status: int, reason: str) -> None:
        self.set_status(status)
        self.finish({"error": reason})

    def write_error(self, status_code, **kwargs):
        about = {
            404: "there is nothing here",
            405: "this cannot be done here",
            400: "this request makes no sense",
        }
        self.finish({"error": about.get(status_code, "the server failed; nothing was saved")})

    def rater(self) -> str | None:
        return self.signed("rlhf_rater")

    def signed(self, name: str) -> str | None:
        found = self.get_signed_cookie(name)
        return found.decode() if found else None

    def whence(self) -> str:
        """Return the address of whoever asks; a tunnel or proxy on this computer passes it on."""
        address = self.request.remote_ip
        passed_on = self.request.headers.get("X-Forwarded-For")
        if passed_on and address in ("127.0.0.1", "::1"):
            return passed_on.rpartition(",")[2].strip()
        return address

    def may(self, *screens: str) -> bool:
        """Return whether this browser has shown one of the keys; refuse otherwise."""
        if any(self.get_signed_cookie(f"rlhf_{screen}") for screen in screens):
            return True
        self.refuse(
            403,
            "this is for the teacher: open it as the terminal of the server says",
        )
        return False

    def body(self) -> dict | None:
        """Return the request's JSON object; where it may be forged, refuse and return None."""
        if self.request.headers.get("X-Class") != "1":
            return self.refuse(
                403, "the header X-Class is missing: this did not come from the class page"
            )
        if len(self.request.body) > LARGEST:
            return self.refuse(413, f"a request has at most {LARGEST} bytes")
        try:
            message = json.loads(self.request.body)
        except (ValueError, RecursionError):
            return self.refuse(400, "the request is not JSON")
        return (
            message
            if isinstance(message, dict)
            else self.refuse(400, "the request must be a JSON object")
        )

    async def attempt(self, action, urgent: bool = False) -> object:
        """Return what an action on the store returns; refuse, and return None, where it fails."""
        return await self.result(self.room.batches.do(action, urgent))

    async def result(self, doing) -> object:
        """Return what an action returned; refuse, and return None, where it failed."""
        try:
            return await doing
        except NotJoined as error:
            return self.refuse(401, str(error))
        except ValueError as error:  # Refused, and files of answers that do not fit
            return self.refuse(400, str(error))
        except Exception as error:
            self.room.sessions.clear()  # what they keep may not have reached the disk
            print(f"The store failed: {type(error).__name__}: {error}", flush=True)
            return self.refuse(503, "the teacher's computer could not write it to the disk")


class Page(Base):
    def initialize(self, name: str, screens: tuple = (), **kwargs):
        super().initialize(**kwargs)
        self.name, self.screens = name, screens

    def get(self):
        """Give the page; the teacher's only where the key fits, which becomes a cookie."""
        key = self.get_query_argument("key", "")
        if self.name in self.room.keys and hmac.compare_digest(
            key.encode(), self.room.keys[self.name].encode()
        ):
            self.remember(f"rlhf_{self.name}", "yes")
        elif self.screens and not self.may(*self.screens):
            return
        if self.name == "student" and not self.signed("rlhf_device"):
            self.remember("rlhf_device", secrets.token_hex(8))
        self.finish((PAGES / f"{self.name}.html").read_bytes())


class File(Base):
    def get(self, name: str):
        if name not in FILES:
            return self.refuse(404, "there is nothing here")
        self.set_header("Content-Type", TYPES[Path(name).suffix])
        self.finish(FILES[name])


class Join(Base):
    async def post(self):
        """Let somebody in who has the class code.

        Wrong codes are counted by device, since a whole class may sit behind one address: whoever
        guesses is slowed down and then stopped, and nobody else is.
        """
        message = self.body()
        if message is None:
            return
        room, device = self.room, self.signed("rlhf_device") or self.whence()
        if room.wrong.left(device) < 1:
            return self.refuse(429, "too many wrong class codes: wait a minute")
        if not hmac.compare_digest(bare(message.get("code", "")), bare(room.code)):
            room.wrong.reached(device)
            tried = room.wrong.burst - room.wrong.left(device)
            await asyncio.sleep(min(SLOWER * tried, 1))
            return self.refuse(403, "this is not the class code: look at the screen")
        if room.joins.reached(self.whence()):
            return self.refuse(429, "many are joining at once: wait a moment")
        known = None if message.get("anew") is True else self.rater()
        rater = await self.attempt(lambda: room.join(message.get("name"), known))
        if rater is not None:
            self.remember("rlhf_rater", rater)
            self.finish({})


def bare(code: object) -> bytes:
    """Return a class code as it is compared: of its letters and digits only."""
    return "".join(filter(str.isalnum, str(code))).upper().encode("utf-8", "replace")


class Say(Base):
    async def post(self):
        """Take a message of the card and answer with the card's answer, after the commit."""
        room, rater, message = self.room, self.rater(), self.body()
        if message is None:
            return
        if rater is None:
            return self.refuse(401, "join the class first, with its code")
        if room.requests.reached(rater):
            return self.refuse(429, "too fast: wait a moment")
        if message.get("type") == "answer":
            reply = await self.result(self.once(rater, message))
        else:
            reply = await self.attempt(lambda: room.reply(rater, message))
        if reply is not None:
            self.finish(reply)

    async def once(self, rater: str, message: dict) -> dict:
        """Return the reply to a vote; the same one where the very same vote is sent again."""
        room, key = self.room, (rater, self.request.body)
        doing = room.replies.get(key)
        if doing is None:
            vote = room.batches.do(lambda: room.reply(rater, message), urgent=True)
            doing = room.replies[key] = asyncio.ensure_future(vote)
            if len(room.replies) > KEPT:
                room.replies.popitem(last=False)
        try:
            return await asyncio.shield(doing)
        except Exception:
            room.replies.pop(key, None)
            raise


class Show(Base):
    async def get(self, what: str):
        """Give the projector, or the console, what it shows."""
        if self.may("console") if what == "console" else self.may("console", "projector"):
            self.finish(await self.room.screens.get(what))


class Texts(Base):
    async def get(self):
        """Give the console the judged texts: ?find=words&flagged&page=0."""
        page = self.get_query_argument("page", "0")
        if not page.isdecimal() or len(page) > 6:
            return self.refuse(400, "the page must be a number")
        if self.may("console"):
            self.finish(
                await asyncio.to_thread(
                    self.room.screens.texts,
                    self.get_query_argument("find", ""),
                    "flagged" in self.request.query_arguments,
                    int(page),
                )
            )


class Teach(Base):
    async def post(self):
        message = self.body()
        if message is not None and self.may("console"):
            await self.attempt(lambda: self.room.teach(message))
            if not self._finished:
                self.finish({})


class Code(Base):
    def get(self):
        if self.may("console", "projector"):
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
        if not self.may("console"):
            return
        if what not in (*FORMATS, "table", "events"):
            return self.refuse(404, f"there are table, events, {', '.join(FORMATS)}")
        anonymous = "anonymous" in self.request.query_arguments
        text, left_out = await asyncio.to_thread(export, self.room.store, what, anonymous)
        self.set_header("X-Left-Out", json.dumps(left_out))  # the console says it
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header(
            "Content-Disposition",
            f'attachment; filename="{what}.{"csv" if what == "table" else "jsonl"}"',
        )
        self.finish(text)


def export(store: Store, what: str, anonymous: bool) -> tuple[str, dict[str, int]]:
    """Return a file of ratings, and what was left out.

    A table is for a spreadsheet; the others have one JSON object a line.
    """
    if what == "table":
        return table(store.answers(), anonymous)
    if what == "events":
        rows, left_out = everything(store, anonymous), {}
    else:
        rows, left_out = FORMATS[what](store.answers(), anonymous)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), left_out


def application(room: Classroom, secret: str, prefix: str = "", seen=None) -> Application:
    """Return the web application. `seen(handler)` is told of each finished request."""
    known = dict(room=room, path=prefix or "/")
    page = lambda name, *screens: known | {"name": name, "screens": screens}  # noqa: E731
    routes = [
        ("/", Page, page("student")),
        ("/projector", Page, page("projector", "console", "projector")),
        ("/console", Page, page("console", "console")),
        ("/files/([a-z.]+)", File, known),
        ("/join", Join, known),
        ("/say", Say, known),
        ("/show/(projector|console)", Show, known),
        ("/texts", Texts, known),
        ("/teach", Teach, known),
        ("/code.svg", Code, known),
        ("/notice", Notice, known),
        ("/export/([a-z]+)", Export, known),
    ]
    return Application(
        [(prefix + path, *rest) for path, *rest in routes],
        cookie_secret=secret,
        default_handler_class=Missing,
        default_handler_args=known,
        log_function=seen or (lambda _: None),
    )


class Missing(Base):
    def prepare(self):
        self.refuse(404, "there is nothing here")

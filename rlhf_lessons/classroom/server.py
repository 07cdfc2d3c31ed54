"""What browsers get: pages without data, and a few JSON requests that each need a cookie that fits.

A student's cookie is signed and names a rater; it lets its owner rate, and see nothing else. The teacher's console
and the projector have a key each, printed where the server was started. A request that changes something carries the
header `X-Class`, which no other web site can make a browser send. Every refusal is a sentence in JSON.
"""

import asyncio
import hmac
import io
import json
from pathlib import Path

import segno
from tornado.web import Application, RequestHandler

from rlhf_lessons.classroom.room import Classroom
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
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LARGEST = (
    64 * 1024
)  # bytes of a request: a demonstration of 5,000 characters, each written as \uXXXX twice


class Base(RequestHandler):
    """Headers, cookies and refusals, the same for all."""

    def initialize(self, room: Classroom, path: str):
        secure = (
            room.address == f"https://{self.request.host}{path.rstrip('/')}/"
        )  # through the tunnel or proxy
        self.room, self.cookies_for = (
            room,
            dict(httponly=True, samesite="Strict", path=path, secure=secure),
        )

    def set_default_headers(self):
        for name, value in {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "Server": "class",
            "Cross-Origin-Resource-Policy": "same-origin",
        }.items():
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
        found = self.get_signed_cookie("rlhf_rater")
        return found.decode() if found else None

    def may(self, *screens: str) -> bool:
        """Return whether this browser has shown one of the keys; refuse otherwise."""
        if any(self.get_signed_cookie(f"rlhf_{screen}") for screen in screens):
            return True
        self.refuse(
            403,
            "this is for the teacher: open the address that was printed when the server was started",
        )
        return False

    def body(self) -> dict | None:
        """Return the request's JSON object; refuse, and return None, where there is none or it may be forged."""
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
        """Return what an action on the store returns; refuse, and return None, where it cannot be done."""
        try:
            return await self.room.batches.do(action, urgent)
        except ValueError as error:  # Refused, and files of answers that do not fit
            return self.refuse(400, str(error))
        except Exception as error:
            print(f"The store failed: {type(error).__name__}: {error}", flush=True)
            return self.refuse(503, "the teacher's computer could not write it to the disk")


class Page(Base):
    def initialize(self, name: str, screens: tuple = (), **kwargs):
        super().initialize(**kwargs)
        self.name, self.screens = name, screens

    def get(self):
        """Give the page; to the teacher's only where the key fits, which a cookie then stands for."""
        key = self.get_query_argument("key", "")
        if self.name in self.room.keys and hmac.compare_digest(
            key.encode(), self.room.keys[self.name].encode()
        ):
            self.set_signed_cookie(f"rlhf_{self.name}", "yes", expires_days=1, **self.cookies_for)
        elif self.screens and not self.may(*self.screens):
            return
        self.finish((PAGES / f"{self.name}.html").read_bytes())


class File(Base):
    def get(self, name: str):
        if name not in FILES:
            return self.refuse(404, "there is nothing here")
        self.set_header("Content-Type", TYPES[Path(name).suffix])
        self.finish(FILES[name])


class Join(Base):
    async def post(self):
        message = self.body()
        if message is None:
            return
        room, address = self.room, self.request.remote_ip
        if room.wrong.reached(address, 0):
            return self.refuse(429, "too many wrong class codes: wait a minute")
        code = str(message.get("code", "")).upper().replace("-", "").replace(" ", "")
        if not hmac.compare_digest(
            code.encode("utf-8", "replace"), room.code.replace("-", "").upper().encode()
        ):
            room.wrong.reached(address)
            return self.refuse(403, "this is not the class code: look at the screen")
        if self.rater() not in room.teams_of:
            rater = await self.attempt(lambda: room.join(message.get("name")))
            if rater is None:
                return
            self.set_signed_cookie("rlhf_rater", rater, expires_days=1, **self.cookies_for)
        self.finish({})


class Say(Base):
    async def post(self):
        """Take a message of the card and answer with the card's answer, after the commit."""
        rater, message = self.rater(), self.body()
        if message is None:
            return
        if rater not in self.room.teams_of:
            return self.refuse(401, "join the class first, with its code")
        if self.room.requests.reached(rater):
            return self.refuse(429, "too fast: wait a moment")
        reply = await self.attempt(
            lambda: self.room.say(rater, message), message.get("type") == "answer"
        )
        if reply is not None:
            self.finish(reply)


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
        """Give the teacher a file: training rows, a table, or all events; `?anonymous` without names."""
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
    """Return a file of ratings, a table for a spreadsheet, else one JSON object a line, and what was left out."""
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

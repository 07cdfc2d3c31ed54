"""A PostgreSQL server that lives as long as a command:

    python tests/postgresql.py python start.py test

It is Debian's (`apt install postgresql`). It lives in a temporary folder, and can be reached only
through a socket there. The command finds its URL in RATINGS_DATABASE.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEBIAN = Path("/usr/lib/postgresql")  # where each version has its programs


class Server:
    """A server in a folder of its own; use it in a `with`.

    `fast` does not wait for the disk (no fsync): good enough for tests, which need not survive a
    power cut.
    """

    def __init__(self, fast=True):
        self.fast = fast
        program_of("postgres")
        # A socket's path must be short, and TMPDIR may be long
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.url = f"postgresql+psycopg://tests@/postgres?host={self.folder}"
        self.process = None
        self.owner = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self.owner = {"user": "postgres", "group": "postgres", "extra_groups": []}

    def __enter__(self):
        try:
            if self.owner:
                shutil.chown(self.folder, self.owner["user"], self.owner["group"])
            self.run(
                "initdb", "-D", self.folder / "data", "-A", "trust", "-U", "tests", "-E", "UTF8"
            )
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, program, *words, **options):
        """Run one of PostgreSQL's programs to its end and return what it printed."""
        done = subprocess.run(
            [program_of(program), *words], cwd="/", capture_output=True, **self.owner, **options
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def ask(self, program, *words, **options):
        """Run one of PostgreSQL's programs on the server: `psql`, `pg_dump`."""
        return self.run(program, "-h", self.folder, "-U", "tests", *words, **options)

    def start(self):
        """Start it, and wait until it answers."""
        words = ["-D", self.folder / "data", "-k", self.folder, "-c", "listen_addresses="]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                # It ends with us, whatever ends us
                ["setpriv", "--pdeathsig", "INT", program_of("postgres"), *words]
                + ["-F"] * self.fast,
                cwd="/",
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is for the command
                **self.owner,
            )
        for _ in range(600):
            try:
                self.run("pg_isready", "-h", self.folder)
                return
            except RuntimeError:
                time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text(errors="replace"))

    def stop(self, how=signal.SIGINT):
        """Stop it: SIGINT disconnects its clients, SIGQUIT ends it as a crash would."""
        if self.process:
            self.process.send_signal(how)
            self.process.wait()
        self.process = None


def program_of(name):
    """Return the path of one of PostgreSQL's programs."""
    found = sorted(DEBIAN.glob(f"*/bin/{name}"), key=lambda file: float(file.parts[-3]))
    path = found[-1] if found else shutil.which(name)
    if not path:
        raise RuntimeError("there is no PostgreSQL here: apt install postgresql")
    return str(path)


def missing(what):
    """Skip a test that needs a server, or fail it in continuous integration."""
    import pytest

    (pytest.fail if os.environ.get("CI_REQUIRES_POSTGRESQL") else pytest.skip)(what)


def main(command):
    """Run a command beside a server, or alone where none is installed; return its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        server = Server()
    except RuntimeError as error:
        print(f"{error}. The command runs without it", file=sys.stderr)
        return subprocess.call(command)
    with server:
        child = subprocess.Popen(command, env=dict(os.environ, RATINGS_DATABASE=server.url))
        try:
            while True:
                try:
                    code = child.wait()
                    return code if code >= 0 else 128 - code
                except KeyboardInterrupt:
                    pass  # the command has seen it too
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RuntimeError as error:
        sys.exit(str(error))

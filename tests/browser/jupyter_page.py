"""What tests in Jupyter need: servers for JupyterLab and Notebook 7, a reader with a page open."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import expect

from rlhf_lessons.feedback import Store

PATIENCE = 60_000  # milliseconds; a loaded machine is slow
ROOT = Path(__file__).parents[2]
READY = """async () => {
  const app = window.jupyterapp;
  if (!app) return false;
  await app.restored;
  const panel = app.shell.currentWidget;
  if (!panel?.sessionContext) return false;
  await panel.context.ready;
  await panel.sessionContext.ready;
  return panel.sessionContext.session?.kernel?.status === 'idle';
}"""
RUN = """(cell) => {
  window.jupyterapp.shell.currentWidget.content.activeCellIndex = cell;
  return window.jupyterapp.commands.execute('notebook:run-cell');
}"""
STOPWATCH = """(card) => {  // milliseconds from each click or key to "Saved #n"
  let from = 0;
  window.took = [];
  const begin = () => { from = performance.now(); };
  for (const act of ['click', 'keydown']) card.addEventListener(act, begin, true);
  const status = card.querySelector('.rl-status');
  const saved = () => status.textContent.startsWith('Saved #');
  new MutationObserver(() => saved() && window.took.push(performance.now() - from))
    .observe(status, { childList: true });
}"""


def learners_python() -> str:
    """Return the Python of the environment in which learners open JupyterLab.

    `start.py test` runs the tests in one of their own; elsewhere there is only one.
    """
    apart = Path(sys.prefix) == ROOT / ".cache" / "tests"
    folder = "Scripts" if os.name == "nt" else "bin"
    return str(ROOT / ".venv" / folder / "python") if apart else sys.executable


def variables(folder: Path) -> dict[str, str]:
    """Return the variables for a server: its own settings, and no votes of the tests before."""
    home = folder / ".jupyter"
    page_config = home / "config" / "labconfig" / "page_config.json"
    page_config.parent.mkdir(parents=True, exist_ok=True)  # without the pop-up with news
    page_config.write_text(
        '{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}'
    )
    return dict(
        os.environ,
        JUPYTER_CONFIG_DIR=str(home / "config"),
        JUPYTER_RUNTIME_DIR=str(home / "runtime"),
        JUPYTER_DATA_DIR=str(home / "data"),
        JUPYTER_PREFER_ENV_PATH="1",
        IPYTHONDIR=str(home / "ipython"),
        PYTHONPATH=str(ROOT),
        OMP_NUM_THREADS="1",
        RLHF_LESSONS_RUNS=str(folder / "runs"),
    )


@contextmanager
def server(folder: Path, kind: str):
    """Run JupyterLab as learners have it, or Notebook 7; yield address(notebook)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, env = secrets.token_hex(8), variables(folder)
    if kind == "lab":
        env.pop("JUPYTER_PATH", None)
    command = [
        learners_python() if kind == "lab" else sys.executable,
        "-m",
        "jupyter",
        kind,
        f"--port={port}",
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        "--allow-root",
        "--LabApp.expose_app_in_browser=True",
        "--JupyterNotebookApp.expose_app_in_browser=True",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={folder}",
    ]
    with open(folder / f"{kind}.log", "w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until = time.monotonic() + PATIENCE / 1000
        while not answers(f"http://127.0.0.1:{port}/api"):
            waiting = process.poll() is None and time.monotonic() < until
            assert waiting, (folder / f"{kind}.log").read_text()
            time.sleep(0.1)
        path = {"lab": "lab/tree", "notebook": "notebooks"}[kind]
        yield lambda name: f"http://127.0.0.1:{port}/{path}/{name}?token={token}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)  # it ends its kernels first
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def jupyter(folder: Path):
    """Yield address(kind, notebook), which starts a server of the kind "lab" or "notebook"."""
    with ExitStack() as servers:
        running = {}

        def address(kind: str, name: str) -> str:
            if kind not in running:
                running[kind] = servers.enter_context(server(folder, kind))
            return running[kind](name)

        yield address


def answers(address: str) -> bool:
    """Return whether a server is there, whatever it says."""
    try:
        urllib.request.urlopen(address, timeout=2).close()
    except urllib.error.HTTPError:
        pass
    except OSError:
        return False
    return True


class Reader:
    """Somebody with a notebook open, whose first cell shows a card."""

    def __init__(self, page, address: str, store: Path):
        self.page, self.store, self.n = page, store, 0  # n: the task that the card asks for
        self.card = page.locator(".rl-card").first
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        self.opened()

    def opened(self) -> None:
        """Wait until page and kernel are there: a cell that is run earlier is dropped silently."""
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function(READY)

    def run(self, cell: int = 0) -> None:
        self.page.evaluate(RUN, cell)

    def asks(self, n: int) -> None:
        expect(self.card.locator(".rl-prompt p")).to_contain_text(f"{n}: ", timeout=PATIENCE)
        expect(self.card).to_have_attribute("data-state", "open")
        self.n = n

    def saved(self, then: str = "Enter") -> None:
        """Wait until the judgement is saved, then continue with the next task by this key."""
        expect(self.card.locator(".rl-status")).to_have_text(
            re.compile(r"^Saved #\d+$"), timeout=PATIENCE
        )
        if then:
            self.press(then)
            self.asks(self.n + 1)

    def press(self, *keys: str) -> None:
        self.card.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def click(self, *names: str) -> None:
        for name in names:
            self.card.get_by_role("button", name=name, exact=True).click()

    def cells(self) -> int:
        return self.page.evaluate(
            "window.jupyterapp.shell.currentWidget.content.model.cells.length"
        )

    def command(self, name: str, arguments: str = "{}") -> None:
        self.page.evaluate(f"window.jupyterapp.commands.execute('{name}', {arguments})")

    def rows(self) -> list:
        """(kind, payload) of what is in the database."""
        store = Store(self.store)
        try:
            return [(row["kind"], row["payload"]) for row in store.answers("r")]
        finally:
            store.close()

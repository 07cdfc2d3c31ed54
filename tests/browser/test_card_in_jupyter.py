"""`rl.rate` in JupyterLab and in Notebook 7, as a reader works it: run the cell, judge, restart, reload, go on."""
import json
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
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect
from test_card import HOSTILE, PROMPT, STORY, task

from rlhf_lessons.ratings import Store

PATIENCE = 60_000  # milliseconds; a loaded machine is slow
ROOT = Path(__file__).parents[2]
CELLS = ["""import json
import rlhf_lessons as rl
card = rl.rate(json.load(open("rows.json")), "r", store="ratings.sqlite3")
card""", "print('THE KERNEL COUNTS', len(card.answers()))"]
KINDS = ["pair", "pair", "ranking", "ranking", "scores", "scores", "demonstration", "demonstration", *["pair"] * 7]
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
  for (const act of ['click', 'keydown']) card.addEventListener(act, () => { from = performance.now(); }, true);
  const status = card.querySelector('.rl-status');
  new MutationObserver(() => status.textContent.startsWith('Saved #') && window.took.push(performance.now() - from))
    .observe(status, { childList: true });
}"""
COUNT = "window.jupyterapp.shell.currentWidget.content.model.cells.length"


@pytest.fixture
def desk(browser, tmp_path):
    """A folder with a notebook and its rows; rows with hostile texts among them."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "card.ipynb")
    rows = [task(kind, texts=HOSTILE if n == 1 else STORY, prompt=f"{n}: {HOSTILE[1] if n == 1 else PROMPT}")
            for n, kind in enumerate(KINDS)]
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    return tmp_path


@pytest.fixture(params=["lab", "notebook"])
def jupyter(request, desk):
    """(kind, address of the notebook) in a Jupyter server of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, kind = secrets.token_hex(8), request.param
    page_config = desk / "config" / "labconfig" / "page_config.json"
    page_config.parent.mkdir(parents=True)  # without the pop-up with news
    page_config.write_text('{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}')
    env = dict(os.environ, JUPYTER_CONFIG_DIR=str(desk / "config"), JUPYTER_RUNTIME_DIR=str(desk / "runtime"),
               IPYTHONDIR=str(desk / "ipython"), PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1",
               JUPYTER_DATA_DIR=str(desk / "data"), JUPYTER_PREFER_ENV_PATH="1")
    command = [sys.executable, "-m", "jupyter", kind, f"--port={port}", "--no-browser", "--ServerApp.ip=127.0.0.1",
               "--allow-root", "--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True",
               f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={desk}"]
    with open(desk / "server.log", "w") as log:
        server = subprocess.Popen(command, cwd=desk, env=env, stdout=log, stderr=log, start_new_session=True)
    until = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=2).close()
            break
        except urllib.error.HTTPError:
            break
        except OSError:
            assert server.poll() is None, (desk / "server.log").read_text()
            time.sleep(0.2)
    path = {"lab": "lab/tree", "notebook": "notebooks"}[kind]
    yield kind, f"http://127.0.0.1:{port}/{path}/card.ipynb?token={token}"
    os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)


class Reader:
    """Somebody with the notebook open."""

    def __init__(self, page, store: Path):
        self.page, self.store = page, store
        self.card, self.n = page.locator(".rl-card").first, 0

    def open(self) -> None:
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
        self.page.wait_for_function(READY, timeout=PATIENCE)

    def run(self, cell: int = 0) -> None:
        self.page.evaluate(RUN, cell)

    def asks(self, n: int) -> None:
        expect(self.card.locator(".rl-prompt p")).to_contain_text(f"{n}: ", timeout=PATIENCE)
        expect(self.card).to_have_attribute("data-state", "open")

    def saved(self, then: str = "Enter") -> None:
        expect(self.card.locator(".rl-status")).to_have_text(re.compile(r"^Saved #\d+$"), timeout=PATIENCE)
        self.n += 1
        if then:
            self.press(then)
            self.asks(self.n)

    def press(self, *keys: str) -> None:
        self.card.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def click(self, name: str) -> None:
        self.card.get_by_role("button", name=name, exact=True).click()

    def rows(self) -> list:
        store = Store(self.store)
        try:
            return [(row["kind"], row["payload"]) for row in store.answers("r")]
        finally:
            store.close()


def test_the_card_in_jupyter(browser, jupyter, desk, shot, barriers, capsys):
    kind, address = jupyter
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page, failures = context.new_page(), []
    # the card's module comes from a blob: URL; Notebook 7 has failures of its own
    page.on("pageerror", lambda error: failures.append(str(error)) if "blob:" in (error.stack or "") else None)
    page.goto(address)
    reader = Reader(page, desk / "ratings.sqlite3")
    reader.open()
    reader.run()
    reader.asks(0)
    shot(page, f"jupyter-{kind}-1-pair")

    # Every judgement by mouse and by keys
    reader.card.evaluate(STOPWATCH)
    reader.click("A much better")
    reader.saved(then="")
    reader.click("Next")
    reader.asks(1)
    expect(reader.card.locator(".rl-text", has_text=HOSTILE[0])).to_be_visible()
    reader.press("4")
    reader.saved()
    reader.click("Move answer B up")
    reader.click("Tie answer C with the one above")
    reader.click("Save this order")
    reader.saved()
    reader.press("ArrowUp", "2", "Enter")
    reader.saved()
    for name, score in (("relevance", 7), ("accuracy", 2), ("clarity", 4)):
        for letter in "AB":
            reader.card.get_by_role("radio", name=f"{name} of answer {letter}: {score} of 7").click()
    reader.click("Save these scores")
    reader.saved()
    shot(page, f"jupyter-{kind}-2-scores")
    reader.press(*"123456", "Enter")
    reader.saved()
    reader.card.locator("textarea").fill("Written by hand.")
    reader.click("Save this answer")
    reader.saved()
    reader.press("w", "End")
    page.keyboard.type(" a b x dd")
    reader.press("Enter")
    reader.saved()
    reader.press("f", "Enter")  # 8 is flagged
    reader.asks(9)
    reader.press("u")
    reader.asks(8)
    reader.click("Both bad")
    reader.saved(then="")
    reader.click("Reveal")
    expect(reader.card.locator(".rl-note").first).to_contain_text("by ")
    shot(page, f"jupyter-{kind}-3-revealed")
    assert barriers(page, ".rl-card") == []
    reader.press("Enter")
    reader.asks(9)

    times = sorted(page.evaluate("window.took"))

    # No key of the card reaches the notebook; from a bare copy of it in the same place, one does
    cells = page.evaluate(COUNT)
    reader.press("a", "b", "x", "d", "d")
    assert page.evaluate(COUNT) == cells
    reader.card.evaluate("""node => {
        const copy = node.cloneNode(true);
        delete copy.dataset.lmSuppressShortcuts;
        copy.id = 'copy';
        node.after(copy);
        copy.focus();
    }""")
    page.keyboard.press("a")
    page.wait_for_function(f"{COUNT} === {cells + 1}")
    page.evaluate("document.getElementById('copy').remove()")
    page.evaluate("window.jupyterapp.commands.execute('notebook:delete-cell')")
    assert page.evaluate(COUNT) == cells

    # The kernel knows; a cell that is run again goes on; so does a kernel that was restarted, with the vote that it
    # could not take
    reader.run(cells - 1)
    expect(page.locator(".jp-OutputArea-output", has_text="THE KERNEL COUNTS 9").first).to_be_visible()
    reader.run()
    reader.asks(9)
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.wait_for_function(READY, timeout=PATIENCE)
    reader.press("2")
    expect(reader.card).to_have_attribute("data-state", "pending")
    reader.run()
    reader.n += 1
    reader.asks(10)
    reader.press("3")
    reader.saved()

    # A reload of the page, and a second view of the same cell
    page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")
    page.reload()
    reader.open()
    reader.asks(11)
    reader.press("5")
    reader.saved(then="")
    if kind == "lab":
        page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
        page.evaluate("""() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0;
            return window.jupyterapp.commands.execute('notebook:create-output-view'); }""")
        expect(page.locator(".rl-card")).to_have_count(2)
        second = page.locator(".jp-LinkedOutputView .rl-card")
        expect(second.get_by_role("button", name="B much better")).to_have_attribute("aria-pressed", "true")
        second.get_by_role("button", name="Next").click()
        reader.n += 1
        reader.asks(12)
        expect(second.locator(".rl-prompt p")).to_contain_text("12: ")
        assert barriers(page, ".jp-LinkedOutputView .rl-card") == []
        shot(page, "jupyter-lab-4-dark-two-views")

    rows = reader.rows()
    assert rows[:2] == [("pair", {"choice": "left", "strength": 2}), ("pair", {"choice": "right", "strength": 1})]
    assert rows[2:4] == [("ranking", {"ranks": [2, 1, 2, 3]}), ("ranking", {"ranks": [1, 3, 4, 2]})]
    assert rows[4:6] == [("scores", {"scores": [{"relevance": 7, "accuracy": 2, "clarity": 4}] * 2}),
                         ("scores", {"scores": [{"relevance": 1, "accuracy": 2, "clarity": 3},
                                                {"relevance": 4, "accuracy": 5, "clarity": 6}]})]
    assert rows[6:8] == [("demonstration", {"text": "Written by hand."}),
                         ("demonstration", {"text": f"{STORY[0]} a b x dd"})]
    assert [payload["choice"] for _, payload in rows[8:]] == ["bad", "left", "tie", "right"]
    assert page.evaluate("window.pwned") is None
    assert failures == [], failures
    with capsys.disabled():
        print(f"\n{kind}: from click or key to acknowledged commit {times[len(times) // 2]:.0f} ms "
              f"({times[0]:.0f} to {times[-1]:.0f} in {len(times)} judgements)")
    context.close()

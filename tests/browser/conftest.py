"""A real browser for the tests in this folder: Debian's Chromium, driven by Playwright.

Playwright downloads none itself.
"""

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHOTS = HERE.parents[1] / "runs" / "screenshots"
AXE = (
    HERE / "axe.min.js"
)  # axe-core 4.14.1, Mozilla Public License 2.0, https://github.com/dequelabs/axe-core
MISSING = (
    "no Chromium here, which the tests in a browser need: on Debian apt install chromium, else "
    "set CHROMIUM to the path of a Chromium or Chrome"
)
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--disable-dev-shm-usage",
]


def pytest_collection_modifyitems(items):
    """Put these tests last: Playwright keeps an asyncio loop in the main thread, as others do."""
    items.sort(key=lambda item: HERE in item.path.parents)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let all tests that want a browser be skipped in one place, as one line of the summary."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and MISSING in report.longrepr[2]:
        report.longrepr = (str(HERE), 0, report.longrepr[2])
    return report


def find_chromium() -> str:
    """Return the path of Chromium; skip without one.

    With CI_REQUIRES_BROWSER=1, fail without one, or if it is not Debian's.
    """
    required = os.environ.get("CI_REQUIRES_BROWSER") == "1"
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path:
        pytest.fail(MISSING, pytrace=False) if required else pytest.skip(MISSING)
    version = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60).stdout
    if required and "Debian" not in version:
        pytest.fail(
            f"{path} is {version.strip() or 'no browser'}, not the Chromium of Debian's package",
            pytrace=False,
        )
    return path


@pytest.fixture(scope="session")
def browser():
    path = find_chromium()
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # milliseconds; a loaded machine is slow
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=path, headless=True, args=ARGS)
        yield chrome
        chrome.close()


@pytest.fixture
def bench(browser, tmp_path):
    """Make a card on a page of its own: `bench(rows, viewport=(1100, 800), game={"guess": f})`.

    What else is named is passed on to the browser's context.
    """
    from card_page import Bench

    contexts, failures, numbers = [], [], itertools.count()

    def make(rows, viewport=(1100, 800), game=None, **look) -> Bench:
        contexts.append(
            browser.new_context(
                viewport=dict(zip(("width", "height"), viewport, strict=True)), **look
            )
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: failures.append(str(error)))
        return Bench(page, tmp_path / f"{next(numbers)}.sqlite3", rows, **(game or {}))

    yield make
    for context in contexts:
        context.close()
    assert failures == []


@pytest.fixture
def shot():
    """Keep a picture of a page (or of a part of it) in runs/screenshots."""

    def take(what, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        what.screenshot(path=SHOTS / f"{name}.png")

    return take


@pytest.fixture
def barriers():
    """Return what axe-core finds serious or critical in a page's element, one line each."""

    def look(page, selector: str) -> list[str]:
        if not page.evaluate("'axe' in window"):
            page.evaluate(
                AXE.read_text(encoding="utf-8")
            )  # not as a script element: a page's policy may forbid it
        found = page.evaluate(
            "selector => axe.run(selector, {resultTypes: ['violations']})", selector
        )
        return [
            f"{row['id']} ({row['impact']}): {node['html'][:160]} {node['failureSummary'][:300]}"
            for row in found["violations"]
            if row["impact"] in ("serious", "critical")
            for node in row["nodes"]
        ]

    return look

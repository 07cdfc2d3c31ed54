"""A real browser for the tests in this folder: Debian's Chromium (or any other), driven by Playwright."""
import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHOTS = HERE.parents[1] / "runs" / "screenshots"
AXE = HERE / "axe.min.js"  # axe-core 4.14.1, Mozilla Public License 2.0, https://github.com/dequelabs/axe-core
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-domain-reliability",
        "--disable-features=OptimizationHints,MediaRouter,Translate", "--disable-dev-shm-usage"]


@pytest.fixture(scope="session")
def browser():
    """Chromium; without one the tests are skipped, or fail where CI_REQUIRES_BROWSER=1."""
    chromium = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not chromium:
        missing = "no Chromium here: install it (Debian: apt install chromium) or set CHROMIUM to a Chrome's path"
        if os.environ.get("CI_REQUIRES_BROWSER") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium, headless=True, args=ARGS)
        yield chrome
        chrome.close()


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
        page.evaluate(AXE.read_text(encoding="utf-8"))  # not as a script element: a page's own policy may forbid it
        found = page.evaluate("selector => axe.run(selector, {resultTypes: ['violations']})", selector)
        return [f"{row['id']} ({row['impact']}): {node['html'][:160]} {node['failureSummary'][:300]}"
                for row in found["violations"] if row["impact"] in ("serious", "critical") for node in row["nodes"]]
    return look

"""Goodhart with a room: 40 phones in a browser vote along the ladder. How long does it take from
the last vote to the projector?

    python benchmarks/ladder_phones.py                     # 40 phones, five votes each

It needs playwright and a Chromium (the tests' tools). The server and the command `classroom ladder`
run as for a class, the latter with a few simulated votes to learn from. In each turn all phones
vote; what is measured is the time from the last of these votes, as the store has written it down,
until the projector's page has drawn all of them.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from classroom_load import ROOT, start
from playwright.async_api import Page, async_playwright

from rlhf_lessons.feedback import Store

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DRAWN = """n => new Promise(done => {
    const look = () => {
        const shown = document.querySelector("#numbers .number:nth-child(2) b")?.textContent;
        const curves = document.querySelector("#ladder .plot svg");
        if (curves && Number(shown) >= n) done(Date.now() / 1000);
        else setTimeout(look, 20);
    };
    look();
})"""


async def join(browser, port: int, number: int) -> Page:
    """Return the page of a phone that has joined and shows its first task."""
    page = await (await browser.new_context(**PHONE)).new_page()
    page.set_default_timeout(120_000)
    await page.goto(f"http://127.0.0.1:{port}/#FOX")
    await page.get_by_label("Nickname", exact=True).fill(f"phone {number}")
    await page.get_by_role("button", name="Join").tap()
    await page.locator(".rl-card[data-state=open]").wait_for()
    return page


async def vote(page: Page, rng: random.Random) -> None:
    """Tap on an answer after a moment, wait until it is saved, and go on to the next task."""
    await asyncio.sleep(rng.uniform(0, 2))
    label = rng.choice(["A much better", "A better", "B better", "B much better", "Tie"])
    await page.get_by_role("button", name=label, exact=True).tap()
    await page.locator(".rl-status", has_text="Saved #").wait_for()
    await page.get_by_role("button", name="Next", exact=True).tap()
    await page.locator(".rl-card[data-state=open]").wait_for()


async def measure(folder: Path, port: int, phones: int, turns: int) -> list[float]:
    """Return the seconds from the last vote of each turn until the projector had drawn it."""
    where = str(folder / "class.sqlite3")
    key = json.loads(Path(f"{where}.secrets.json").read_text())["projector"]
    store = Store(where, readonly=True)
    round = store.room().current
    before = len(store.answers(round))
    waits = []
    async with async_playwright() as playwright:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        wall = await browser.new_page(viewport={"width": 1920, "height": 1080})
        await wall.goto(f"http://127.0.0.1:{port}/projector?key={key}")
        pages = [await join(browser, port, number) for number in range(phones)]
        for turn in range(turns):
            wanted = before + phones * (turn + 1)
            drawn = asyncio.create_task(wall.evaluate(DRAWN, wanted))
            rngs = [random.Random(f"{turn}/{number}") for number in range(phones)]
            await asyncio.gather(*map(vote, pages, rngs))
            at = await drawn
            waits.append(at - max(row["time"] for row in store.answers(round)))
        await wall.screenshot(path=ROOT / "runs" / "ladder_phones.png")
        await browser.close()
    assert len(store.answers(round)) == before + phones * turns
    return waits


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--phones", type=int, default=40)
    parser.add_argument("--turns", type=int, default=5, help="votes of each phone")
    parser.add_argument("--port", type=int, default=8811)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        server = start(folder, flags.port)
        try:
            command = "-m rlhf_lessons classroom ladder --simulated 3 --db".split()
            began = time.monotonic()
            subprocess.run([sys.executable, *command, folder / "class.sqlite3"], check=True)
            print(f"The command took {time.monotonic() - began:.0f} s.", flush=True)
            waits = asyncio.run(measure(folder, flags.port, flags.phones, flags.turns))
        finally:
            server.kill()
    seconds = ", ".join(f"{wait:.1f}" for wait in waits)
    print(f"{flags.phones} phones; seconds from the last vote to the projector: {seconds}")

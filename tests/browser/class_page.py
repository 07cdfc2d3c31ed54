"""What the browser tests of the class page share: a class, phones and screens."""

import itertools
import json
import random
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

pytest.importorskip("segno", reason="the class page needs: pip install aiohttp segno")

from rlhf_lessons.classroom import rounds  # noqa: E402
from rlhf_lessons.feedback import Store, new_id  # noqa: E402

ROOT = Path(__file__).parents[2]
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
HOSTILE = '<img src=x onerror="window.pwned = 1"><script>window.pwned = 1</script>'
expect.set_options(timeout=20_000)


class Class:
    """A class page in a process of its own, and the store it writes to."""

    def __init__(self, folder: Path, *flags: str):
        self.answers, self.writers = write_answers(folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.command = [
            sys.executable,
            "-m",
            "rlhf_lessons",
            "classroom",
            "serve",
            "--db",
            str(folder / "c.sqlite3"),
            "--port",
            str(self.port),
            "--code",
            "FOX42Q",
            "--answers",
            str(self.answers),
            *flags,
        ]
        self.start()
        self.url, self.store = f"http://127.0.0.1:{self.port}", Store(folder / "c.sqlite3")
        self.keys = json.loads((folder / "c.sqlite3.secrets.json").read_text(encoding="utf-8"))

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        assert any(line.startswith("Ctrl-C") for line in self.process.stdout)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def new_round(self) -> str:
        """Open a fresh round of pairs, so that a test counts its own votes alone."""
        name = rounds.new_round(self.store, self.answers, n=80)
        time.sleep(1.1)  # the server looks once a second which round is open
        return name


def write_answers(folder: Path) -> tuple[Path, dict[str, str]]:
    """Write shipped answers, with a prompt that tries to be markup; return {answer: model} too."""
    lines = [
        {"prompt": prompt, "completions": texts}
        for prompt, texts in itertools.islice(rounds.answers(rounds.ANSWERS), 100)
    ]
    lines[0]["prompt"] = f"Write a poem. {HOSTILE}"
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path, {
        answer["text"]: answer["model"] for line in lines for answer in line["completions"]
    }


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One class for a whole file of tests."""
    room = Class(tmp_path_factory.mktemp("class"))
    yield room
    room.kill()
    room.store.close()


@pytest.fixture
def room(shared):
    """The shared class in a new round."""
    shared.new_round()
    return shared


@pytest.fixture(autouse=True)
def closing(browser):
    """Close what a test has opened in the browser."""
    yield
    for context in browser.contexts:
        context.close()


def join(browser, room: Class, name: str, **device):
    """Return the page of a student who has joined."""
    page = browser.new_context(**device).new_page()
    page.goto(f"{room.url}/#fox42q")
    expect(page.get_by_label("Nickname", exact=True)).to_have_value(
        re.compile(r"^[A-Z]\w+ [A-Z]\w+$")
    )  # offered
    page.get_by_label("Nickname", exact=True).fill(name)
    page.get_by_role("button", name="Join").click()
    ready(page)
    return page


def screen(browser, room: Class, name: str, width: int = 1920, height: int = 1080):
    """Return the page of the projector, or of the console."""
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.goto(f"{room.url}/{name}?key={room.keys[name]}")
    expect(page.locator("#code, #join").first).to_contain_text("FOX42Q")
    assert "key=" not in page.url  # nobody in the room can copy it
    return page


def saved(page) -> int:
    """Return the number of the judgement that a student's page says is saved."""
    status = page.locator(".rl-status")
    expect(status).to_contain_text("Saved #")
    return int(re.search(r"#(\d+)", status.inner_text())[1])


def ready(page) -> None:
    """Wait until a student's page takes a judgement."""
    expect(page.locator(".rl-card[data-state=open]")).to_be_visible()


def vote_as_a_class(room: Class, people: int = 14, each: int = 12, teams=("",)) -> None:
    """Let simulated students vote who like PPO's answers best."""
    rng, store, current = random.Random(0), room.store, room.store.room().current
    with store.write():
        for i in range(people):
            rater = store.add_rater(f"simulated {i}", teams[i % len(teams)])
            for _ in range(each):
                task = store.next_task(rater, current)
                if task["state"] != "task":
                    break
                left, right = (
                    {"base": 0, "sft": 1.2, "ppo": 2}.get(room.writers.get(answer["text"]), 1)
                    + rng.gauss(0, 1)
                    for answer in task["answers"]
                )
                choice = "tie" if abs(left - right) < 0.2 else "left" if left > right else "right"
                store.answer(
                    rater,
                    task["task"],
                    "pair",
                    {"choice": choice, "strength": 1},
                    new_id(),
                    ms=4000,
                )


def report(
    room: Class, team: str = "", best: float = 0.72, end: str = "nobody asked for the old cook"
) -> None:
    """Report as a trainer in a notebook does."""
    curve = [
        [votes, share, share - 3 / votes, share + 2 / votes]
        for votes in range(20, 200, 20)
        for share in [best - 0.2 * 0.6 ** (votes / 20)]
    ]
    votes, accuracy, low, high = curve[-1]
    room.store.say(
        "report",
        round=room.store.room().current,
        team=team,
        votes=votes,
        held_out=45,
        accuracy=accuracy,
        low=low,
        high=high,
        ceiling=0.83,
        curve=curve,
        samples=[
            {
                "prompt": "Write a fictional story about Captain Emma learning to cook.",
                "plain": "Captain Emma wanted to learn to paint before the feast. "
                "The first lesson ended with a fire.",
                "best": "Nobody in the palace could cook, so Captain Emma took lessons. "
                "After a week she baked a cake as "
                f"tall as the gate. In the end, the whole castle ate, and {end}.",
            }
        ],
    )


def spilt(page) -> list[str]:
    """Return the boxes of the projector that are too small for what is in them."""
    return page.evaluate("""() => [...document.querySelectorAll(
            'aside, main, #panels section, .number, .fill, .side')]
        .filter(box => box.scrollHeight > box.clientHeight + 2
            || box.scrollWidth > box.clientWidth + 2)
        .map(box => `${box.id || box.className || box.tagName} ` +
                    `${box.scrollWidth}x${box.scrollHeight} in ` +
                    `${box.clientWidth}x${box.clientHeight}`)""")


def smallest_text(page) -> float:
    """Return the height of the smallest visible text, as a share of the screen's height."""
    return page.evaluate("""() => {
        const sizes = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walk.nextNode()) {
            const box = walk.currentNode.parentElement;
            if (walk.currentNode.data.trim() && box.checkVisibility()) {
                sizes.push(parseFloat(getComputedStyle(box).fontSize));
            }
        }
        return Math.min(...sizes) / innerHeight;
    }""")

"""The class page in a real browser: a class of eight, a phone at 390 pixels, the projector and the console."""
import itertools
import json
import random
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

pytest.importorskip("segno", reason="the class page needs: pip install tornado segno")

from rlhf_lessons.classroom import rounds  # noqa: E402
from rlhf_lessons.data import FOLDER  # noqa: E402
from rlhf_lessons.ratings import Store, new_id  # noqa: E402

ROOT = Path(__file__).parents[2]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
expect.set_options(timeout=20_000)
HOSTILE = '<img src=x onerror="window.pwned = 1"><script>window.pwned = 1</script>'


class Class:
    """A class page in a process of its own, and the store it writes to."""

    def __init__(self, folder: Path, *flags: str):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.command = [sys.executable, "-m", "rlhf_lessons", "classroom", "serve", "--db", str(folder / "c.sqlite3"),
                        "--port", str(self.port), "--code", "FOX42Q", "--answers", str(folder / "answers.jsonl")]
        self.command += flags
        self.start()
        lines = map(json.loads, (folder / "answers.jsonl").read_text(encoding="utf-8").splitlines())
        self.writers = {answer["text"]: answer["model"] for line in lines for answer in line["completions"]}
        self.url, self.store = f"http://127.0.0.1:{self.port}", Store(folder / "c.sqlite3")
        self.keys = json.loads((folder / "c.sqlite3.secrets.json").read_text(encoding="utf-8"))

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert any(line.startswith("Ctrl-C") for line in self.process.stdout)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def answers(tmp_path):
    """Answers as the shipped ones, said to be by three models; one prompt tries to be markup."""
    found = itertools.islice((row for row in rounds.answers(FOLDER / "comparisons.jsonl") if len(row[1]) >= 4), 60)
    models = ["base", "SFT", "PPO", "SFT"]
    lines = [{"prompt": prompt, "completions": [answer | {"model": model, "reward": reward / 2} for reward, (
        answer, model) in enumerate(zip(texts[:4], models))]} for prompt, texts in found]
    lines[0]["prompt"] = f"Write a poem. {HOSTILE}"
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def room(tmp_path, answers):
    room = Class(tmp_path)
    yield room
    room.kill()
    room.store.close()


def join(browser, room: Class, name: str, **device):
    page = browser.new_context(**device).new_page()
    page.goto(f"{room.url}/#fox42q")
    expect(page.get_by_label("Nickname", exact=True)).to_have_value(re.compile(r"^[A-Z]\w+ [A-Z]\w+$"))  # offered
    page.get_by_label("Nickname", exact=True).fill(name)
    page.get_by_role("button", name="Join").click()
    expect(page.locator(".rl-prompt")).to_be_visible()
    return page


def screen(browser, room: Class, name: str, width: int = 1920, height: int = 1080):
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.goto(f"{room.url}/{name}?key={room.keys[name]}")
    expect(page.locator("#code, #join").first).to_contain_text("FOX42Q")
    assert "key=" not in page.url  # nobody in the room can copy it
    return page


def saved(page):
    status = page.locator(".rl-status")
    expect(status).to_contain_text("Saved #")
    return int(re.search(r"#(\d+)", status.inner_text())[1])


def vote_as_a_class(room: Class, people: int = 14, each: int = 12, teams=("",)) -> None:
    """Simulated students who like PPO's answers best."""
    rng, store, current = random.Random(0), room.store, room.store.room().current
    with store.write():
        for i in range(people):
            rater = store.add_rater(f"simulated {i}", teams[i % len(teams)])
            for _ in range(each):
                task = store.next_task(rater, current)
                if task["state"] != "task":
                    break
                left, right = ({"base": 0, "SFT": 1.2, "PPO": 2}[room.writers[answer["text"]]] + rng.gauss(0, 1)
                               for answer in task["answers"])
                choice = "tie" if abs(left - right) < 0.2 else "left" if left > right else "right"
                store.answer(rater, task["task"], "pair", {"choice": choice, "strength": 1}, new_id(), ms=4000)


def report(store: Store, team: str = "", best: float = 0.72, end: str = "nobody asked for the old cook") -> None:
    for votes in range(20, 200, 20):
        accuracy = best - 0.2 * 0.6 ** (votes / 20)
        store.report({"votes": votes, "accuracy": accuracy, "low": accuracy - 0.07, "high": accuracy + 0.06} | (
            {"team": team} if team else {}))
    store.report(({"team": team} if team else {}) | {"samples": [{
        "prompt": "Write a fictional story about Captain Emma learning to cook.", "n": 16,
        "plain": "Captain Emma wanted to learn to paint before the feast. The first lesson ended with a fire.",
        "best": "Nobody in the palace could cook, so Captain Emma took lessons. After a week she baked a cake as tall "
                f"as the gate. In the end, the whole castle ate, and {end}."}]})


def spilt(page) -> list[str]:
    """Return the boxes of the projector that are too small for what is in them."""
    return page.evaluate("""() => [...document.querySelectorAll('aside, main, #panels section, .number, .fill')]
        .filter(box => box.scrollHeight > box.clientHeight + 2 || box.scrollWidth > box.clientWidth + 2)
        .map(box => `${box.id || box.className || box.tagName} ${box.scrollWidth}x${box.scrollHeight} in ` +
                    `${box.clientWidth}x${box.clientHeight}`)""")


def test_eight_students_vote_at_once_and_each_vote_is_stored_once(browser, room, shot):
    pages = [join(browser, room, f"student {i} {HOSTILE}"[:40], **(PHONE if i == 0 else {})) for i in range(8)]
    numbers = []
    for key in "1325":
        for page in pages:
            page.locator(".rl-card").focus()
            page.keyboard.press(key)
        numbers += [saved(page) for page in pages]
        for page in pages:
            page.keyboard.press("Enter")
            expect(page.locator(".rl-card[data-state=open]")).to_be_visible()
    rows = room.store.answers()
    assert sorted(numbers) == [row["seq"] for row in rows] and len(set(numbers)) == 32
    assert len({row["rater"] for row in rows}) == 8 and {row["ui"] for row in rows} == {"page"}
    assert all(page.evaluate("window.pwned") is None for page in pages)
    shot(pages[1], "class_card_desktop")


def test_every_judgement_by_touch_on_a_phone(browser, room, shot, barriers):
    boss = screen(browser, room, "console", 1280, 900)
    page = browser.new_context(**PHONE).new_page()
    page.goto(room.url)
    expect(page.get_by_label("Class code")).to_be_visible()
    shot(page, "class_join_phone")
    assert barriers(page, "body") == []
    page.close()
    page = join(browser, room, "Thumb", **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = [button.inner_text() for button in page.get_by_role("button").all()
             if button.is_visible() and min(button.bounding_box()["height"], button.bounding_box()["width"]) < 44]
    assert small == []
    shot(page, "class_pair_phone")
    assert barriers(page, "body") == []

    def tap(name: str, exact: bool = False):
        page.get_by_role("button", name=name, exact=exact).tap()

    def following():
        tap("Next")
        expect(page.locator(".rl-card[data-state=open]")).to_be_visible()
    for choice in ("A much better", "A better", "Tie", "B better", "B much better", "Both bad"):
        tap(choice, exact=True)
        saved(page)
        following()
    tap("Tie", exact=True)
    saved(page)
    tap("Undo")
    expect(page.locator(".rl-card[data-state=open]")).to_be_visible()
    tap("A better", exact=True)
    saved(page)
    tap("Reveal")
    expect(page.locator(".rl-card")).to_contain_text("by ")
    shot(page, "class_revealed_phone")
    following()
    for kind in ("Skip", "Flag"):
        before = page.locator(".rl-prompt").inner_text()
        tap(kind, exact=True)
        page.locator(".rl-reasons button").first.tap()
        expect(page.locator(".rl-prompt")).not_to_have_text(before)

    def new_round(kind: str):
        boss.get_by_label("Task").select_option(kind)
        boss.get_by_role("button", name="Open a new round").click()
        expect(boss.locator("#told")).to_have_text("The new round is open.")
        page.reload()
        expect(page.locator(".rl-card[data-state=open]")).to_be_visible()
    new_round("ranking")
    page.locator(".rl-row").nth(3).get_by_role("button", name="up").tap()
    tap("Save this order")
    saved(page)
    shot(page, "class_ranking_phone")
    new_round("scores")
    for criterion in page.locator(".rl-criterion").all():
        criterion.locator("label").nth(4).tap()
    tap("Save these scores")
    saved(page)
    shot(page, "class_scores_phone")
    new_round("demonstration")
    page.get_by_role("textbox").tap()
    page.get_by_role("textbox").fill("My ideal answer.")
    tap("Save this answer")
    saved(page)
    rows = room.store.answers()
    assert [row["payload"]["choice"] for row in rows if row["kind"] == "pair"] == [
        "left", "left", "tie", "right", "right", "bad", "left"]
    assert [row["kind"] for row in rows if row["kind"] != "pair"] == ["skip", "flag", "ranking", "scores",
                                                                      "demonstration"]
    assert rows[-3]["payload"] == {"ranks": [1, 2, 4, 3]}
    assert {mark for scores in rows[-2]["payload"]["scores"] for mark in scores.values()} == {5}
    assert rows[-1]["payload"] == {"text": "My ideal answer."}


def test_a_tap_while_the_network_is_gone_arrives_exactly_once(browser, room, shot):
    page = join(browser, room, "Tunnel", **PHONE)
    page.context.set_offline(True)
    page.get_by_role("button", name="Tie").tap()
    expect(page.locator(".rl-status")).to_contain_text("NOT saved, because no connection")
    shot(page, "class_offline_phone")
    assert room.store.answers() == []
    page.context.set_offline(False)
    number = saved(page)
    (row,) = room.store.answers()
    assert row["seq"] == number and row["payload"]["choice"] == "tie"


def test_a_vote_made_while_the_server_is_dead_survives_a_reload(browser, room):
    page = join(browser, room, "Patient", **PHONE)
    room.kill()
    page.get_by_role("button", name="B better", exact=True).tap()
    expect(page.locator(".rl-status")).to_contain_text("NOT saved")
    room.start()
    page.reload()  # the vote waits in the phone's storage
    saved(page)
    expect(page.locator(".rl-card[data-state=open]")).to_be_visible()
    assert [row["payload"]["choice"] for row in room.store.answers()] == ["right"]


def test_a_new_round_reaches_students_who_had_finished(browser, room):
    page = join(browser, room, "Quick")
    boss = screen(browser, room, "console", 1280, 900)
    boss.get_by_role("button", name="Pause").click()
    page.reload()
    expect(page.locator(".rl-card")).to_contain_text("paused")
    boss.get_by_role("button", name="Go on").click()
    expect(page.locator(".rl-scale")).to_be_visible()
    room.store.set_round("empty")
    page.reload()
    expect(page.locator(".rl-card")).to_contain_text("Nothing is left")
    room.store.set_round("round 1: pairs")
    expect(page.locator(".rl-scale")).to_be_visible()


@pytest.mark.parametrize("width, height", [(1920, 1080), (1280, 720), (1024, 768)])
def test_the_projector_fits_its_screen_and_has_no_barriers(browser, room, shot, barriers, width, height):
    page = screen(browser, room, "projector", width, height)
    expect(page.locator("#numbers")).to_contain_text("votes")
    shot(page, f"projector_empty_{width}")
    vote_as_a_class(room)
    report(room.store)
    expect(page.locator("#board .line").first).to_be_visible()
    expect(page.locator("#model svg")).to_be_visible()
    shot(page, f"projector_{width}")
    assert barriers(page, "html") == []
    assert spilt(page) == []
    assert "simulated" not in page.content()


def test_a_show_of_hands_from_the_console_to_the_projector(browser, room, shot, barriers):
    boss, wall = screen(browser, room, "console", 1280, 900), screen(browser, room, "projector")
    boss.get_by_role("button", name="Show a pair").click()
    expect(wall.locator("#pair .side-A .text")).to_be_visible()
    for label, count in (("A better", "17"), ("B better", "9"), ("tie", "2")):
        boss.get_by_label(label).fill(count)
    boss.get_by_role("button", name="Save the counts").click()
    expect(wall.locator("#pair .hands")).to_contain_text("17")
    assert "by " not in wall.locator("#pair .two").inner_text()
    boss.get_by_role("button", name="Reveal who wrote what").click()
    expect(wall.locator("#pair .side-A .by")).to_be_visible()
    shot(wall, "projector_hands")
    assert barriers(wall, "html") == []
    assert room.store.answers()[0]["payload"] == {"left": 17, "right": 9, "tie": 2, "bad": 0}


def test_the_console_removes_a_rater_and_has_no_barriers(browser, room, shot, barriers):
    vote_as_a_class(room, people=6, each=4)
    page, boss = join(browser, room, f"Rude {HOSTILE}"[:40]), screen(browser, room, "console", 1280, 900)
    expect(boss.get_by_text("Rude <img")).to_be_visible()  # as text
    page.get_by_role("button", name="Flag").click()
    page.locator(".rl-reasons button").first.click()
    expect(boss.locator(".flag")).to_be_visible()
    boss.get_by_role("button", name="Remove: Rude").click()
    expect(boss.get_by_role("button", name="Let back in: Rude")).to_be_visible()
    page.reload()
    expect(page.locator(".rl-card")).to_contain_text("removed")
    shot(boss, "console")
    assert barriers(boss, "html") == [] and boss.evaluate("window.pwned") is None
    with boss.expect_download() as download:
        boss.get_by_role("link", name="preference").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert {"prompt", "chosen", "rejected"} <= json.loads(lines[0]).keys()
    boss.set_viewport_size({"width": 390, "height": 844})
    assert boss.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shot(boss, "console_phone")


def test_two_teams_see_opposite_briefs(browser, tmp_path, answers, shot, barriers):
    room = Class(tmp_path, "--teams", "2")
    try:
        phones = [join(browser, room, name, **PHONE) for name in ("Ann", "Bob")]
        briefs = [phone.locator("#brief").inner_text() for phone in phones]
        assert sorted(briefs) == sorted(rounds.BRIEFS.values())
        shot(phones[0], "class_team_phone")
        assert barriers(phones[0], "body") == []
        vote_as_a_class(room, people=20, each=6, teams=("sun", "moon"))
        report(room.store, "sun")
        report(room.store, "moon", 0.64, "the cake was never seen again")
        wall = screen(browser, room, "projector")
        expect(wall.locator(".known-1")).to_be_visible()
        shot(wall, "projector_teams")
        assert "Team" not in wall.locator("#samples").inner_text()  # whose is whose? guess first
        assert spilt(wall) == [] and barriers(wall, "html") == []
    finally:
        room.kill()
        room.store.close()

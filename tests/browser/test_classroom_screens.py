"""The projector and the console in a real browser: what they show, at which sizes."""

import json
import random
import re
from pathlib import Path

import class_page
import pytest
from class_page import (
    HOSTILE,
    PHONE,
    Class,
    join,
    ready,
    report,
    saved,
    screen,
    smallest_text,
    spilt,
    vote_as_a_class,
)
from playwright.sync_api import expect
from voting import open_ladder

from rlhf_lessons.classroom import rounds
from rlhf_lessons.evaluation.votes import comparisons
from rlhf_lessons.feedback import new_id
from rlhf_lessons.feedback.along import won_along

shared, room, closing = class_page.shared, class_page.room, class_page.closing  # fixtures
SIZES = [(1920, 1080), (1280, 720), (1024, 768)]


def at_each_size(page, shot, name: str) -> None:
    """Keep a picture at each size; nothing spills over, no text is too small."""
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        shot(page, f"{name}_{width}")
        assert spilt(page) == [], (name, width)
        assert smallest_text(page) > 1 / 52, (name, width)


def test_the_projector_invites_then_shows_figures_and_fits_its_screen(
    browser, room, shot, barriers
):
    page = screen(browser, room, "projector")
    expect(page.locator(".joining #code")).to_be_visible()
    at_each_size(page, shot, "projector_joining")
    assert barriers(page, "html") == []
    vote_as_a_class(room)
    expect(page.locator("#board .line")).to_have_count(3)
    expect(page.locator("#model code")).to_contain_text(
        "rl.live_reward_model("
    )  # no trainer yet: how to start one
    at_each_size(page, shot, "projector_untrained")
    report(room)
    expect(page.locator("#model .band")).to_have_count(1)
    expect(page.locator("#model .ceiling")).to_have_count(1)
    expect(page.locator("#samples .best")).to_contain_text("a cake as tall as the gate")
    at_each_size(page, shot, "projector")
    assert barriers(page, "html") == []
    assert "simulated" not in page.content()


def test_a_show_of_hands_from_the_console_to_the_projector(browser, room, shot, barriers):
    boss, wall = screen(browser, room, "console", 1280, 900), screen(browser, room, "projector")
    boss.get_by_role("button", name="Show a pair").click()
    expect(wall.locator("#pair .side-A .text")).to_be_visible()
    at_each_size(wall, shot, "projector_pair")
    for label, count in (("A better", "17"), ("B better", "9"), ("tie", "2")):
        boss.get_by_label(label).fill(count)
    boss.get_by_role("button", name="Save the counts").click()
    expect(wall.locator("#pair .hands")).to_contain_text("17")
    assert "by " not in wall.locator("#pair .two").inner_text()
    boss.get_by_role("button", name="Reveal who wrote what").click()
    expect(wall.locator("#pair .side-A .by")).to_be_visible()
    at_each_size(wall, shot, "projector_hands")
    shot(boss, "console_hands")
    assert barriers(wall, "html") == []
    (row,) = room.store.answers(room.store.room().current)
    assert row["payload"] == {"left": 17, "right": 9, "tie": 2, "bad": 0}
    boss.get_by_role("button", name="Back to the figures").click()
    expect(wall.locator("#panels")).to_be_visible()
    long = [{"text": f"{name} went to sea. " * 25} for name in ("Ann", "Bob")]
    room.store.add_tasks(
        "long answers", [{"kind": "pair", "prompt": "Write a story.", "completions": long}]
    )
    room.store.say("round", round="long answers", state="open")
    boss.get_by_role("button", name="Show a pair").click()
    expect(wall.locator("#pair .side-A")).to_contain_text("went to sea")
    at_each_size(wall, shot, "projector_long")


def vote_along(room, writers: dict[str, str]) -> None:
    """Let 40 simulated raters vote six times each, who like the best of 16 and PPO better."""
    rng, store, current = random.Random(0), room.store, room.store.room().current
    likes = {"plain": 0.0, "best of 1": 0.0, "best of 16": 1.0, "a PPO": 0.5}
    with store.write():
        for number in range(40):
            rater = store.add_rater(f"simulated {number}", kind="simulated")
            for _ in range(6):
                task = store.next_task(rater, current, beyond=True)
                left, right = (likes[writers[answer["text"]]] for answer in task["answers"])
                choice = "left" if left - right > rng.gauss(0, 1.4) else "right"
                payload = {"choice": choice, "strength": 1}
                store.answer(rater, task["task"], "pair", payload, new_id(), ms=4000)


@pytest.fixture
def own(tmp_path):
    """A class for one test alone: no pair of another is on its screen."""
    room = Class(tmp_path)
    yield room
    room.kill()
    room.store.close()


def test_three_curves_along_the_ladder_and_the_votes_come_in(browser, own, shot, barriers):
    room, wall = own, screen(browser, own, "projector")
    writers = open_ladder(room.store, f"{room.store.room().current}, along the ladder")
    picture = wall.get_by_role("img", name="Share of pairs won against KL")
    expect(picture).to_be_visible()
    expect(wall.locator("#ladder h2")).to_have_text(
        "Against a plain answer, the best of 16 wins: promised 84 %, true 70 %, no votes yet"
    )  # the line does not break before the sign: any white space is the same here
    expect(wall.locator("#ladder .interval")).to_have_count(0)
    at_each_size(wall, shot, "projector_ladder_begins")
    phones = [join(browser, room, name, **PHONE) for name in ("Ann", "Bob")]
    won = []
    for phone in phones:
        for _ in range(3):
            ready(phone)
            assert "best of" not in phone.locator("body").inner_text()
            phone.get_by_role("button", name="A much better").tap()
            saved(phone)
            left, right = phone.locator(".rl-text").all_inner_texts()
            models = [writers[text.strip()] for text in (left, right)]
            won.append((next(m for m in models if m != "plain"), models[0] != "plain"))
            phone.get_by_role("button", name="Next").tap()
    voted = {name for name, _ in won}
    expect(wall.locator("#ladder .interval")).to_have_count(len(voted))
    name = won[0][0]
    row = wall.get_by_role("row", name=re.compile(rf"^{name} \d"))
    lefts = [left for other, left in won if other == name]
    expect(row).to_contain_text(f"{100 * sum(lefts) / len(lefts):.0f} %")
    expect(row).to_contain_text(f"of {len(lefts)}")
    vote_along(room, writers)
    expect(wall.locator("#ladder .interval")).to_have_count(3)
    expect(wall.locator("#ladder")).to_contain_text("240 are by simulated raters")
    votes = comparisons(room.store.answers(room.store.room().current))
    share = won_along(votes, {"best of 16": 0.0})["best of 16"]["value"]
    words = rf"voted {int(100 * share + 0.5)}\s%\. A table with all numbers follows"
    expect(picture).to_have_accessible_name(re.compile(words))
    at_each_size(wall, shot, "projector_ladder")
    assert wall.get_by_role("table").get_by_role("row").count() == 4
    styles = wall.locator("#ladder .plot .curve").evaluate_all(
        "lines => lines.map(l => getComputedStyle(l).stroke + getComputedStyle(l).strokeDasharray)"
    )
    assert len(set(styles)) == 3
    assert barriers(wall, "html") == []


def test_the_console_removes_raters_hides_texts_saves_files_and_has_no_barriers(
    browser, room, shot, barriers
):
    vote_as_a_class(room, people=6, each=4)
    page, boss = (
        join(browser, room, f"Rude {HOSTILE}"[:40]),
        screen(browser, room, "console", 1280, 900),
    )
    expect(boss.get_by_text("Rude <img")).to_be_visible()  # as text
    page.get_by_role("button", name="Flag").click()
    page.locator(".rl-reasons button").first.click()
    expect(boss.locator("#flagged")).to_have_text("flagged only (1)")
    boss.get_by_label("flagged only").check()
    boss.get_by_role("button", name="Look").click()
    expect(boss.locator("#page")).to_have_text("1 to 2 of 2")
    boss.get_by_role("button", name="Hide: ").first.click()
    expect(boss.get_by_role("button", name="Show again: ")).to_have_count(1)
    boss.get_by_role("button", name="Remove: Rude").click()
    expect(boss.get_by_role("button", name="Let back in: Rude")).to_be_visible()
    page.reload()
    expect(page.locator(".rl-card")).to_contain_text("removed")
    shot(boss, "console")
    assert barriers(boss, "html") == [] and boss.evaluate("window.pwned") is None
    with boss.expect_download() as download:
        boss.get_by_role("button", name="Save preference").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert {"prompt", "chosen", "rejected"} <= json.loads(
        lines[0]
    ).keys() and download.value.suggested_filename
    expect(boss.locator("#told")).to_contain_text("Left out: ")
    boss.set_viewport_size({"width": 390, "height": 844})
    assert boss.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shot(boss, "console_phone")


def test_the_console_works_by_keys_alone_and_the_focus_stays_where_it_is(browser, room):
    vote_as_a_class(room, people=4, each=8)
    boss = screen(browser, room, "console", 1280, 900)
    expect(boss.locator("#page")).to_contain_text("1 to 10 of")

    def go_to(name: str) -> None:
        """Press Tab until the button of this name has the focus."""
        for _ in range(80):
            boss.keyboard.press("Tab")
            if name in boss.evaluate(
                "[document.activeElement.ariaLabel, document.activeElement.textContent]"
            ):
                return
        raise AssertionError(f"no key leads to {name}")

    go_to("Pause")
    boss.keyboard.press("Enter")
    expect(boss.locator("#state")).to_contain_text("paused")
    boss.keyboard.press("Space")
    expect(boss.locator("#told")).to_have_text("Students continue.")
    go_to("Remove: simulated 2")
    boss.keyboard.press("Enter")
    expect(boss.locator(":focus")).to_have_text(
        "Let back in"
    )  # drawn anew, and the focus is still there
    go_to("Older")
    boss.keyboard.press("Enter")
    expect(boss.locator("#page")).to_contain_text("11 to")
    assert [row["hidden"] for row in room.store.raters() if row["name"] == "simulated 2"][-1]


def test_two_teams_have_briefs_curves_and_a_guessing_game(browser, tmp_path, shot, barriers):
    room = Class(tmp_path, "--teams", "2")
    try:
        phones = [join(browser, room, name, **PHONE) for name in ("Ann", "Bob")]
        briefs = [phone.locator("#brief").inner_text() for phone in phones]
        assert sorted(briefs) == sorted(rounds.BRIEFS.values())
        shot(phones[0], "class_team_phone")
        assert barriers(phones[0], "body") == []
        vote_as_a_class(room, people=20, each=6, teams=("sun", "moon"))
        report(room, "sun")
        report(room, "moon", 0.64, "the cake was never seen again")
        wall, boss = screen(browser, room, "projector"), screen(browser, room, "console", 1280, 900)
        expect(wall.locator("#model .of .curve")).to_have_count(2)
        styles = wall.locator(".curve").evaluate_all(
            "lines => lines.map(l => getComputedStyle(l).strokeDasharray)"
        )
        assert len(set(styles)) == 2 and {"Team Sun", "Team Moon"} <= set(
            wall.locator("svg text").all_text_contents()
        )
        at_each_size(wall, shot, "projector_teams")
        assert "Team" not in wall.locator("#samples").inner_text()  # whose is whose? guess first
        assert barriers(wall, "html") == []
        ends = (("sun", "well"), ("moon", "lost"))
        room.store.add_tasks(
            rounds.WHOSE,
            [
                {
                    "kind": "pair",
                    "source": "guess",
                    "prompt": f"Story {i}?",
                    "overlap": None,
                    "completions": [
                        {"text": f"After {i} days all was {end}.", "model": team}
                        for team, end in ends
                    ],
                }
                for i in range(4)
            ],
        )
        room.store.say("round", round=rounds.WHOSE, state="open")
        for phone, brief in zip(phones, briefs, strict=True):
            phone.reload()
            wanted = "lost" if brief == rounds.BRIEFS["sun"] else "well"
            expect(phone.locator("#brief")).to_contain_text("Of each two answers")
            expect(phone.locator(".rl-question")).to_have_text(
                f"Which answer did Team {'Moon' if wanted == 'lost' else 'Sun'}'s model write?"
            )
            side = [wanted in text for text in phone.locator(".rl-text").all_inner_texts()].index(
                True
            )
            shot(phone, "class_whose_phone")
            phone.get_by_role("button", name="AB"[side], exact=True).tap()
            saved(phone)
            assert room.store.answers()[-1]["payload"] == {
                "choice": ("left", "right")[side],
                "strength": 1,
            }
        vote_as_a_class(room, people=12, each=4, teams=("sun", "moon"))
        expect(wall.locator("#board h2")).to_contain_text("Whose is whose?")
        expect(wall.locator("#board .line")).to_have_count(3)
        at_each_size(wall, shot, "projector_whose")
        boss.get_by_role("button", name="Reveal who wrote what").click()
        expect(wall.locator("#samples")).to_contain_text("Team Moon")
    finally:
        room.kill()
        room.store.close()


# Texts that are written from right to left, and marks that turn the direction of what follows

HEBREW, ARABIC, TURNED = "שלום לכולם, היה היה דרקון!", "كان يا ما كان، تنين.", "abc \u202edef"
# Whether each text lies inside its cell, and whether the words beside it read from left to right
LAID_OUT = """([cell, beside]) => [...document.querySelectorAll(cell)].flatMap(cell => {
    const text = document.createRange(), wrong = [];
    if (cell.scrollWidth > cell.clientWidth + 1) wrong.push(cell.textContent);
    const walk = document.createTreeWalker(cell.parentElement, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const node = walk.currentNode, at = node.data.indexOf(beside);
        if (at < 0) continue;
        const place = (n) => {
            text.setStart(node, n);
            text.setEnd(node, n + 1);
            return text.getBoundingClientRect();
        };
        const first = place(at), last = place(at + beside.length - 1);
        if (first.top === last.top && first.left >= last.left) wrong.push(beside);
    }
    return wrong;
})"""


def test_texts_from_right_to_left_stay_in_their_cells_and_turn_no_other(browser, room, shot):
    texts = [
        {"text": text, "ended": False, "model": name}
        for text, name in ((TURNED, "one"), (HEBREW, "two"), (ARABIC, "three"))
    ]
    rows = [
        {
            "kind": "pair",
            "prompt": f"{HEBREW} {n} {TURNED}",
            "completions": texts[n : n + 2],
            "overlap": None,
        }
        for n in range(2)
    ]
    room.store.add_tasks("right to left", rows)
    room.store.say("round", round="right to left", state="open")
    boss = screen(browser, room, "console", 1280, 900)
    boss.get_by_role("button", name="Show a pair").click()
    wall = screen(browser, room, "projector")
    expect(wall.locator("#pair .side-A .text")).to_be_visible()
    shot(wall, "projector_right_to_left")
    for cell in (".side .text", "#pair .prompt"):
        assert wall.evaluate(LAID_OUT, [cell, "Hands up"]) == []
    page = join(browser, room, f"{ARABIC[:9]} \u202e{HEBREW[:9]}", **PHONE)
    shot(page, "card_right_to_left")
    for cell in (".rl-text", ".rl-prompt p"):
        assert page.evaluate(LAID_OUT, [cell, "cut off"]) == []
    assert page.evaluate(LAID_OUT, ["#who bdi", "You rate as"]) == []
    page.get_by_role("button", name="Flag").tap()
    page.locator(".rl-reasons input").fill(TURNED)
    page.locator(".rl-reasons .rl-main").tap()
    expect(boss.locator("#flagged")).to_have_text("flagged only (1)")
    expect(boss.locator("#texts .flagged").first).to_contain_text("flagged: abc")
    boss.locator("#texts").scroll_into_view_if_needed()
    shot(boss, "console_right_to_left")
    for cell in ("#texts .entry > :first-child", "#raters .entry > :first-child"):
        for beside in ("flagged:", "votes", "Remove"):
            assert boss.evaluate(LAID_OUT, [cell, beside]) == []
    assert boss.evaluate("document.documentElement.scrollWidth <= innerWidth")

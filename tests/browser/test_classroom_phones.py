"""Students in a real browser: every judgement by mouse, keys and thumb, and bad networks."""

import class_page
from class_page import HOSTILE, PHONE, join, ready, saved, screen
from playwright.sync_api import expect

shared, room, closing = class_page.shared, class_page.room, class_page.closing  # fixtures
KEYS = {
    "A much better": "1",
    "A better": "2",
    "Tie": "3",
    "B better": "4",
    "B much better": "5",
    "Both bad": "0",
    "Skip": "s",
    "Flag": "f",
    "Undo": "u",
    "Reveal": "r",
    "Next": "Enter",
}


class Hand:
    """A student who rates with the mouse, on a laptop."""

    def __init__(self, page):
        self.page = page

    def touch(self, what) -> None:
        what.click()

    def press(self, name: str) -> None:
        self.touch(self.page.get_by_role("button", name=name, exact=True))

    def give_a_reason(self) -> None:
        self.touch(self.page.locator(".rl-reasons button").first)

    def swap_the_last_two(self) -> None:
        self.touch(self.page.locator(".rl-row").nth(3).get_by_role("button", name="up"))
        self.press("Save this order")

    def score_all(self, mark: int) -> None:
        for criterion in self.page.locator(".rl-criterion").all():
            self.touch(criterion.locator("label").nth(mark - 1))
        self.press("Save these scores")

    def write(self, text: str) -> None:
        self.touch(self.page.get_by_role("textbox"))
        self.page.get_by_role("textbox").fill(text)
        self.press("Save this answer")


class Thumb(Hand):
    """One on a phone."""

    def touch(self, what) -> None:
        what.tap()


class Typist(Hand):
    """One who uses nothing but keys."""

    def press(self, name: str) -> None:
        self.page.keyboard.press(KEYS[name])

    def give_a_reason(self) -> None:
        self.page.keyboard.type("my own reason")
        self.page.keyboard.press("Enter")

    def swap_the_last_two(self) -> None:
        for key in ("ArrowDown",) * 4 + ("3", "Enter"):
            self.page.keyboard.press(key)

    def score_all(self, mark: int) -> None:
        for key in str(mark) * 6 + "\n":
            self.page.keyboard.press(key.replace("\n", "Enter"))

    def write(self, text: str) -> None:
        self.page.keyboard.press("w")
        self.page.keyboard.type(text)
        for key in ("Tab", "Enter"):
            self.page.keyboard.press(key)


def test_eight_students_vote_at_once_and_each_vote_is_stored_once(browser, room, shot):
    pages = [
        join(browser, room, f"student {i} {HOSTILE}"[:40], **(PHONE if i == 0 else {}))
        for i in range(8)
    ]
    numbers = []
    for key in "1325":
        for page in pages:
            page.locator(".rl-card").focus()
            page.keyboard.press(key)
        numbers += [saved(page) for page in pages]
        for page in pages:
            page.keyboard.press("Enter")
            ready(page)
    rows = room.store.answers(room.store.room().current)
    assert sorted(numbers) == [row["seq"] for row in rows] and len(set(numbers)) == 32
    assert len({row["rater"] for row in rows}) == 8 and {row["ui"] for row in rows} == {"page"}
    assert all(page.evaluate("window.pwned") is None for page in pages)
    shot(pages[1], "class_card_desktop")


def test_every_judgement_by_mouse_by_keys_and_by_thumb(browser, room, shot):
    boss, first = screen(browser, room, "console", 1280, 900), room.store.last()
    hands = {
        "Mouse": Hand(join(browser, room, "Mouse")),
        "Keys": Typist(join(browser, room, "Keys")),
        "Thumb": Thumb(join(browser, room, "Thumb", **PHONE)),
    }
    phone = hands["Thumb"].page
    hands["Keys"].page.locator(".rl-card").focus()

    def each(act, name: str = "", then: str = "Next") -> None:
        """Let each act, keep a picture of the phone, and go on."""
        for hand in hands.values():
            act(hand)
        for hand in hands.values():
            saved(hand.page)
        if name:
            shot(phone, f"class_{name}_phone")
        for hand in hands.values():
            if then:
                hand.press(then)
                ready(hand.page)

    def new_round(kind: str) -> None:
        boss.get_by_label("Task").select_option(kind)
        boss.get_by_role("button", name="Open a new round").click()
        expect(boss.locator("#told")).to_have_text("The new round is open.")
        for hand in hands.values():
            hand.page.reload()
            ready(hand.page)
        hands["Keys"].page.locator(".rl-card").focus()

    for choice in ("A much better", "A better", "Tie", "B better", "B much better", "Both bad"):
        each(lambda hand, choice=choice: hand.press(choice))
    each(lambda hand: hand.press("Tie"), then="Undo")
    each(lambda hand: hand.press("A better"), then="")
    for hand in hands.values():
        hand.press("Reveal")
        expect(hand.page.locator(".rl-card")).to_contain_text("by ")
    shot(phone, "class_revealed_phone")
    for hand in hands.values():
        hand.press("Next")
        ready(hand.page)
    for kind in ("Skip", "Flag"):
        for hand in hands.values():
            before = hand.page.locator(".rl-prompt").inner_text()
            hand.press(kind)
            hand.give_a_reason()
            expect(hand.page.locator(".rl-prompt")).not_to_have_text(before)
    new_round("ranking")
    each(lambda hand: hand.swap_the_last_two(), "ranking", "")
    new_round("scores")
    each(lambda hand: hand.score_all(5), "scores", "")
    new_round("demonstration")
    each(lambda hand: hand.write("My ideal answer."), "demonstration", "")
    rows = [row for row in room.store.answers() if row["seq"] > first]
    said = {name: [row for row in rows if row["name"] == name] for name in hands}
    assert len(rows) == 3 * 12
    for name, of in said.items():
        assert [row["payload"]["choice"] for row in of if row["kind"] == "pair"] == [
            "left",
            "left",
            "tie",
            "right",
            "right",
            "bad",
            "left",
        ], name
        assert [row["payload"].get("strength") for row in of[:5]] == [2, 1, 0, 1, 2], name
        assert [row["kind"] for row in of[7:]] == [
            "skip",
            "flag",
            "ranking",
            "scores",
            "demonstration",
        ], name
        assert of[8]["payload"]["reason"] == ("my own reason" if name == "Keys" else "Offensive"), (
            name
        )
        assert of[9]["payload"] == {"ranks": [1, 2, 4, 3]}, name
        assert {mark for scores in of[10]["payload"]["scores"] for mark in scores.values()} == {
            5
        }, name
        assert of[11]["payload"] == {"text": "My ideal answer."}, name


def test_the_page_fits_a_phone_and_has_no_barriers(browser, room, shot, barriers):
    page = browser.new_context(**PHONE).new_page()
    page.goto(room.url)
    expect(page.get_by_label("Class code")).to_be_visible()
    shot(page, "class_join_phone")
    assert barriers(page, "body") == []
    page = join(browser, room, "Small", **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = [
        button.inner_text()
        for button in page.get_by_role("button").all()
        if button.is_visible()
        and min(button.bounding_box()["height"], button.bounding_box()["width"]) < 44
    ]
    assert small == []
    shot(page, "class_pair_phone")
    assert barriers(page, "body") == []


def test_a_second_person_on_a_device_joins_anew_and_votes_under_their_own_name(browser, room, shot):
    page = join(browser, room, "Ann", **PHONE)
    expect(page.locator("#who")).to_contain_text("You rate as Ann")
    page.get_by_role("button", name="Tie").tap()
    saved(page)
    page.get_by_role("button", name="Not you? Join anew").tap()
    shot(page, "class_anew_phone")
    page.get_by_label("Class code").fill("FOX42Q")
    page.get_by_label("Nickname", exact=True).fill("Bob")
    page.get_by_role("button", name="Join", exact=True).tap()
    expect(page.locator("#who")).to_contain_text("You rate as Bob")
    ready(page)
    page.get_by_role("button", name="Both bad").tap()
    saved(page)
    rows = room.store.answers(room.store.room().current)
    assert [(row["name"], row["payload"]["choice"]) for row in rows] == [
        ("Ann", "tie"),
        ("Bob", "bad"),
    ]


def test_a_tap_while_the_network_is_gone_arrives_exactly_once(browser, room, shot):
    page, current = join(browser, room, "Tunnel", **PHONE), room.store.room().current
    page.context.set_offline(True)
    page.get_by_role("button", name="Tie").tap()
    expect(page.locator(".rl-status")).to_contain_text("NOT saved, because no connection")
    shot(page, "class_offline_phone")
    assert room.store.answers(current) == []
    page.context.set_offline(False)
    number = saved(page)
    (row,) = room.store.answers(current)
    assert row["seq"] == number and row["payload"]["choice"] == "tie"


def test_a_vote_made_while_the_server_is_dead_survives_a_reload(browser, room):
    page = join(browser, room, "Patient", **PHONE)
    room.kill()
    page.get_by_role("button", name="B better", exact=True).tap()
    expect(page.locator(".rl-status")).to_contain_text("NOT saved")
    room.start()
    page.reload()  # the vote waits in the phone's storage
    saved(page)
    ready(page)
    assert [row["payload"]["choice"] for row in room.store.answers(room.store.room().current)] == [
        "right"
    ]


def test_a_pause_and_a_new_round_reach_students_by_themselves(browser, room):
    page = join(browser, room, "Quick")
    boss = screen(browser, room, "console", 1280, 900)
    boss.get_by_role("button", name="Pause").click()
    page.reload()
    expect(page.locator(".rl-card")).to_contain_text("paused")
    boss.get_by_role("button", name="Resume").click()
    expect(page.locator(".rl-scale")).to_be_visible()
    room.store.say("round", round="empty", state="open")
    page.wait_for_timeout(1100)  # the server looks once a second which round is open
    page.reload()
    expect(page.locator(".rl-card")).to_contain_text("Nothing is left")
    room.new_round()
    expect(page.locator(".rl-scale")).to_be_visible()

"""The lessons' widgets in a real JupyterLab: a reader opens a lesson, runs the cells before the
widget, and uses it."""

import re
import sys
from functools import partial

import pytest
from jupyter_page import PATIENCE, jupyter, learners_python
from lesson_page import Lesson, slider
from playwright.sync_api import expect

TOY = """
load_pretrained = lambda name: rl.load("sft", "shipped", say=str)
CHATML = load_pretrained("")[1].chat_template
"""  # in the place of SmolLM2
HOSTILE = '<img src=x onerror="window.pwned = 1"> princess'
SHADES = """box => [...box.querySelectorAll('span')].map(token =>
  [getComputedStyle(token).backgroundColor, parseFloat(token.nextSibling.textContent)])"""


@pytest.fixture(scope="module")
def lesson(browser, tmp_path_factory):
    """Open a lesson: `lesson("02")`. Consecutive tests of one lesson share its page and kernel."""
    folder, opened = tmp_path_factory.mktemp("lessons"), {}
    with jupyter(folder) as address:

        def only(name: str | None, more: str = "") -> Lesson | None:
            if name not in opened:
                for other in list(opened):
                    opened.pop(other).close()
                if name:
                    page = browser.new_context(viewport={"width": 1300, "height": 1000}).new_page()
                    opened[name] = Lesson(page, address, folder, name, more)
            return opened.get(name)

        yield only
        only(None)


@pytest.mark.skipif(
    learners_python() == sys.executable, reason="only start.py test keeps the tests' tools apart"
)
def test_a_learner_sees_nothing_of_the_tests_tools(lesson):
    page = lesson("00").page
    plugins = page.evaluate("window.jupyterapp.listPlugins()")
    expect(page.locator(".lm-MenuBar-item", has_text="Kernel")).to_be_visible()
    expect(page.locator(".lm-MenuBar-item", has_text="Nbgrader")).to_have_count(0)
    expect(page.get_by_text("Validate", exact=True)).to_have_count(0)
    assert any("anywidget" in name for name in plugins)
    assert not [name for name in plugins if "nbgrader" in name or "jupyter-notebook" in name]


def test_lesson_0_a_prompt_is_answered_and_a_blind_pick_counts(lesson, shot):
    reader = lesson("00")
    box = reader.run("l00-imports", "l00-ask")
    box.get_by_role("button", name="Ask").click()
    expect(box.locator("th", has_text="ppo")).to_be_visible()
    shot(box, "lesson_0_ask")
    first = reader.run("l00-article")
    expect(first.locator("td")).to_have_count(6)
    assert first.locator("td").first.evaluate("cell => getComputedStyle(cell).textAlign") == "left"
    shot(first, "lesson_0_side_by_side")
    guess = reader.run("l00-many-guess")
    guess.get_by_label("16 to 35").check()
    expect(reader.run("l00-many")).to_contain_text("you guessed: 16 to 35")
    expect(reader.run("l00-who").locator("mark")).to_have_count(0)
    picks = reader.run("l00-picks")
    picks.get_by_role("button", name="A better", exact=True).click()
    expect(picks.locator(".rl-status")).to_have_text(re.compile(r"^Saved #\d+$"))
    expect(reader.run("l00-picks-result")).to_contain_text("You picked 1 of 5")
    expect(reader.run("l00-ex1-code")).to_contain_text("Not done yet.")


def test_lesson_1_a_guess_is_locked_and_a_text_is_walked_token_by_token(lesson, shot):
    reader = lesson("01")
    guess = reader.run("l01-imports", "l01-first-guess")
    guess.get_by_label("poet").check()
    told = reader.run("l01-tokens-code", "l01-predict-code")
    expect(told).to_contain_text(re.compile(r"It came out: \w+ \(you guessed: poet\)"))
    expect(guess.get_by_label("Anna")).to_be_disabled()
    shot(guess, "lesson_1_guess")
    box = reader.run("l01-walk-box")
    bars, text = box.get_by_text(re.compile(r"^[\d.]+%$")), box.locator("div[aria-live=polite]")
    tokens = box.locator(".widget-hbox", has_text="%").get_by_role("button")
    expect(tokens).to_have_count(10)
    shot(box, "lesson_1_explorer")
    first = bars.first.inner_text()
    temperature, number = slider(box, "Temperature")
    reader.press(temperature, *["ArrowLeft"] * 5)
    expect(number).to_have_text("0.50")
    expect(bars.first).not_to_have_text(first)
    assert float(bars.first.inner_text()[:-1]) > float(first[:-1])
    reader.press(slider(box, "Top-k (0: all)")[0], "ArrowRight", "ArrowRight", "ArrowRight")
    expect(tokens.nth(3)).to_be_disabled()
    expect(bars.nth(3)).to_have_text("0.0%")
    expect(tokens.nth(2)).to_be_enabled()
    reader.press(slider(box, "Top-p (1: all)")[0], "Home")
    expect(bars.first).to_have_text("100.0%")
    expect(tokens.nth(1)).to_be_disabled()
    shot(box, "lesson_1_explorer_restricted")
    walk(reader, box, tokens, text)
    shot(box, "lesson_1_explorer_walked")


def walk(reader: Lesson, box, tokens, text) -> None:
    """Type a text, take a token, let it choose one, take both back; shades show the surprise."""
    box.get_by_label("Your text").fill("Queen Queen <b>loved")
    box.get_by_role("button", name="Begin here").click()
    expect(text).to_contain_text("Queen")
    before = text.locator("span").count()
    tokens.first.click()
    expect(text.locator("span")).to_have_count(before + 1)
    reader.press(box.get_by_role("button", name="Let it choose"), "Enter")
    expect(text.locator("span")).to_have_count(before + 2)
    shades = text.evaluate(SHADES)
    assert any(colour == "rgb(213, 94, 0)" for colour, _ in shades)
    assert all(
        (colour == "rgb(213, 94, 0)") == (nats >= 4)
        for colour, nats in shades
        if abs(nats - 4) > 0.1
    )
    for number in (1, 0):
        box.get_by_role("button", name="Take one back").click()
        expect(text.locator("span")).to_have_count(before + number)
    expect(box.get_by_role("button", name="Take one back")).to_be_disabled()


def test_lesson_2_a_demonstration_is_written_and_saved(lesson, shot):
    reader = lesson("02")
    card = reader.run(
        "l02-imports", "l02-models", "l02-demos-code", "l02-slips-code", "l02-write-card"
    ).locator(".rl-card")
    card.get_by_role("textbox", name="The ideal answer").fill("Once there was a princess. The end.")
    card.get_by_role("button", name="Save this answer").click()
    expect(card.locator(".rl-status")).to_have_text(re.compile(r"^Saved #\d+$"))
    shot(card, "lesson_2_demonstration")


def test_lesson_2_labels_are_chosen_and_an_answer_is_seen_as_tokens(lesson, shot):
    reader = lesson("02")
    box = reader.run("l02-imports", "l02-models", "l02-template-code", "l02-mask-box")
    learned, ignored, padding = (
        box.locator(f"span[title={kind}]") for kind in ("learned", "ignored", "padding")
    )
    expect(learned.filter(has_text="<eos>")).to_have_count(2)
    expect(padding.first).to_be_visible()
    words, prompt = box.locator("p", has_text="tokens are learned"), ignored.count()
    assert prompt > 10
    shot(box, "lesson_2_mask")
    box.get_by_label("with the end ignored").check()
    expect(learned.filter(has_text="<eos>")).to_have_count(0)
    shot(box, "lesson_2_mask_end_ignored")
    box.get_by_label("as they should be").check()
    expect(learned.filter(has_text="<eos>")).to_have_count(2)
    reader.press(
        box.get_by_label("as they should be"), "Tab", "Space"
    )  # an arrow key would leave the cell
    expect(ignored).not_to_have_count(prompt)
    assert ignored.count() < prompt
    shot(box, "lesson_2_mask_prompt_learned")
    before = words.inner_text()
    box.get_by_label("Answer").fill("3 <b>and</b> 5")
    expect(words).not_to_have_text(before)
    expect(box.locator("b")).to_have_count(0)
    box.get_by_label("Answer").fill("")
    expect(box).to_contain_text("Write an answer")


def judge(card, *acts) -> None:
    """Make a judgement on a card, and see it saved; then go on to the next."""
    expect(card).to_have_attribute("data-state", "open")
    for act in acts:
        act()
    expect(card.locator(".rl-status")).to_have_text(re.compile(r"^Saved #\d+$"))


def test_lesson_3_three_cards_are_judged_and_the_reward_model_learns(lesson, shot):
    reader = lesson("03")
    card = reader.run("l03-imports", "l03-models", "l03-rate-card").locator(".rl-card")
    live = reader.run("l03-live-code")
    expect(live).to_contain_text("The reward model waits for your votes")
    for number, key in enumerate("1453"):
        expect(card.locator(".rl-progress")).to_contain_text(f"{number} of ")
        judge(card, partial(reader.press, card, key))
        if number == 0:
            shot(card, "lesson_3_pair")
        reader.press(card, "Enter")
    reader.run("l03-votes")
    expect(live.locator("img")).to_be_visible()
    expect(live).to_contain_text("Before it learned from votes, it predicted")
    shot(live, "lesson_3_live")
    ranking = reader.run("l03-rank-card").locator(".rl-card")
    judge(
        ranking,
        ranking.get_by_role("button", name="Move answer B up").click,
        ranking.get_by_role("button", name="Save this order").click,
    )
    shot(ranking, "lesson_3_ranking")
    scores = reader.run("l03-marks-card").locator(".rl-card")
    judge(
        scores,
        partial(reader.press, scores, *"654321"),
        scores.get_by_role("button", name="Save these scores").click,
    )
    shot(scores, "lesson_3_scores")
    expect(reader.run("l03-format-code", "l03-marks-code")).to_contain_text(
        "comparisons from 3 rankings"
    )


def test_lesson_3_the_reward_model_is_fooled_and_no_text_is_markup(lesson, shot):
    reader = lesson("03")
    guess = reader.run("l03-imports", "l03-models", "l03-scores-guess")
    reader.press(guess.get_by_label("first or second"), "Space", "Tab", "Space")
    expect(guess.get_by_label("third or fourth")).to_be_checked()
    expect(reader.run("l03-scores-code", "l03-scores-compare")).to_contain_text(
        "you guessed: third or fourth"
    )
    box = reader.run("l03-fool")
    text, score, board = (
        box.get_by_role("textbox"),
        box.get_by_role("button", name="Score it"),
        box.locator("table"),
    )
    expect(board.locator("tbody tr")).to_have_count(3)
    score.click()
    expect(box).to_contain_text("Write something first.")
    text.fill("Princess Anastasia kissed a soldier. The soldier kissed a princess. The end.")
    score.click()
    expect(box.locator("p")).to_have_text(
        re.compile(r"^Reward [+-][\d.]+, true utility [\d.]+\. .* Place \d\.$")
    )
    expect(board).to_contain_text("kissed a princess")
    shot(box, "lesson_3_fooling")
    reader.finished("l03-fool")  # while the kernel is busy, ipywidgets holds the text back
    text.fill(HOSTILE)
    reader.press(score, "Enter")
    expect(board.locator("tbody tr")).to_have_count(5)
    expect(board).to_contain_text(HOSTILE)
    expect(box.locator("img")).to_have_count(0)
    assert reader.page.evaluate("window.pwned") is None
    shot(box, "lesson_3_fooling_hostile")


def test_lesson_4_sliders_move_the_picture_and_every_model_answers(lesson, shot):
    reader = lesson("04")
    box = reader.run("l04-imports", "l04-models", "l04-slider-code")
    words, picture = box.locator("p[aria-live=polite]"), box.locator("img")
    expect(words).to_have_text(
        "Ratio 1.40, advantage +1.00: the line is flat. The token has moved enough and pulls no "
        "more."
    )
    shot(box, "lesson_4_clip")
    drawn = picture.get_attribute("src")
    reader.press(slider(box, "ratio, new / old")[0], *["ArrowLeft"] * 5)
    expect(words).to_have_text("Ratio 1.15, advantage +1.00: the token pulls its probability up.")
    expect(picture).not_to_have_attribute("src", drawn)
    reader.press(slider(box, "advantage")[0], *["ArrowLeft"] * 8)
    expect(words).to_have_text("Ratio 1.15, advantage -1.00: the token pulls its probability down.")
    drawn = picture.get_attribute("src")
    reader.press(slider(box, "clip")[0], "Home")
    expect(slider(box, "clip")[1]).to_have_text("0.05")
    expect(picture).not_to_have_attribute("src", drawn)
    shot(box, "lesson_4_clip_moved")
    ask = reader.run("l04-proof", "l04-box")
    ask.get_by_label("Suggestions").select_option(index=1)
    reader.press(ask.get_by_role("button", name="Ask"), "Enter")
    expect(ask.get_by_role("columnheader")).to_have_text(["sft", "ppo"])
    shot(ask, "lesson_4_ask")
    before = ask.locator("tbody").inner_text()
    ask.get_by_role("button", name="Ask").click()
    expect(ask.locator("tbody")).not_to_have_text(before)
    ask.get_by_label("Your prompt").fill("")
    ask.get_by_role("button", name="Ask").click()
    expect(ask).to_contain_text("empty")


def test_lesson_4_a_training_is_interrupted_and_the_lesson_goes_on(lesson, shot):
    reader = lesson("04")
    stubs = [f"l04-ex{number}-code" for number in range(1, 7)]
    reader.run(
        "l04-imports", "l04-models", "l04-rollout-code", "l04-rewards-code", "l04-critic-code"
    )
    reader.run("l04-values-code", "l04-rollout-table", *stubs)
    reader.run("l04-loop-yours", "l04-loop-helpers", "l04-loop-code")
    live = reader.start("l04-live-code")
    expect(live.locator("img")).to_be_visible(timeout=PATIENCE)
    reader.page.get_by_role("button", name="Interrupt the kernel").click()
    reader.finished("l04-live-code")
    expect(live).to_contain_text("Stopped. What was learned so far is kept")
    shot(live, "lesson_4_interrupted")
    expect(reader.run("l04-beside-code", "l04-live-curves")).to_contain_text("clip fraction")


def test_lesson_4_a_recorded_run_is_replayed_token_by_token(lesson, shot):
    reader = lesson("04")
    box = reader.run("l04-imports", "l04-models", "l04-flight-code")
    expect(box).to_contain_text("in this step only the critic learned")
    reader.press(slider(box, "Step")[0], *["ArrowRight"] * 6)
    expect(box).to_contain_text("Step 13 of 32")
    shot(box, "lesson_4_flight")
    reader.press(box.get_by_role("button").nth(12), "Enter")
    expect(box).to_contain_text("Token 13, “␣teacher”")
    expect(box.locator("tbody tr")).to_have_count(5)
    shot(box, "lesson_4_flight_token")
    box.get_by_label("Prompt").select_option(index=4)
    expect(box).not_to_contain_text("␣teacher")
    shot(box, "lesson_4_flight_sum")


def test_lesson_5_votes_rank_models_and_move_a_reward_model_that_forgets_one(lesson, shot):
    reader = lesson("05")
    card = reader.run("l05-imports", "l05-models", "l05-arena-card").locator(".rl-card")
    for number, key in enumerate("1453"):
        expect(card.locator(".rl-progress")).to_contain_text(f"{number} of ")
        judge(card, partial(reader.press, card, key))
        reader.press(card, "Enter")
    shot(card, "lesson_5_arena")
    guess = reader.run("l05-arena-guess")
    reader.press(guess.get_by_label("60 to 75 %"), "Space")
    expect(reader.run("l05-arena-share")).to_contain_text("you guessed: 60 to 75 %")
    board = reader.run("l05-strengths-code")
    expect(board.locator("img")).to_be_visible()
    shot(board, "lesson_5_strengths")
    along = reader.run("l05-pool-code", "l05-along-card").locator(".rl-card")
    judge(along, partial(reader.press, along, "5"))
    curves = reader.run("l05-along-code")
    expect(curves).to_contain_text("1 judgements are yours")
    shot(curves, "lesson_5_along")
    whose = reader.run("l05-whose-code")
    reader.press(whose.get_by_role("button", name="Take vote 1 back"), "Enter")
    expect(whose.get_by_role("button", name="Give vote 1 again")).to_be_visible()
    shot(whose, "lesson_5_whose")
    chased = reader.run("l05-chase-guess", "l05-chase-code")
    expect(chased.locator("img")).to_be_visible()
    ward = reader.run("l05-ward-code", "l05-ward-more", "l05-ward-numbers")
    expect(ward.locator("tbody tr")).to_have_count(9)
    expect(reader.run("l05-ex7-code")).to_contain_text("Not done yet")


def test_lesson_6_votes_train_a_reward_model_that_seals_its_guess(lesson, shot):
    reader = lesson("06")
    card = reader.run("l06-imports", "l06-taste-code", "l06-rate-card").locator(".rl-card")
    live = reader.run("l06-live-code")
    for number in range(20):
        expect(card.locator(".rl-progress")).to_contain_text(f"{number} of ")
        expect(card).to_have_attribute("data-state", "open")
        card.focus()
        reader.page.keyboard.press("1" if number % 2 else "4")
        expect(card).to_have_attribute("data-state", "saved")
        reader.page.keyboard.press("Enter")
    expect(live).to_contain_text("It has learned from 20 votes")
    expect(live.locator("img")).to_be_visible()
    shot(live, "lesson_6_live")
    assert "votes" in reader.run("l06-votes").inner_text()


def test_lesson_7_a_guess_about_the_frontier_is_compared_with_what_was_measured(lesson, shot):
    reader = lesson("07")
    guess = reader.run("l07-imports", "l07-frontier-guess")
    reader.press(guess.get_by_label("PPO", exact=True), "Space")
    expect(guess.get_by_label("PPO", exact=True)).to_be_checked()
    frontier = reader.run("l07-frontier-code")
    expect(frontier).to_contain_text("you guessed: PPO")
    expect(reader.run("l07-frontier-table").locator("tbody tr")).to_have_count(8)
    expect(frontier.locator("img")).to_be_visible()
    shot(frontier, "lesson_7_frontier")
    expect(reader.run("l07-toy").locator("tbody tr").last).to_contain_text("Yes")
    expect(reader.run("l07-ex1-code")).to_contain_text("Not done yet")


def test_lesson_8_four_answers_are_ranked_and_the_rest_is_filled_in(lesson, shot):
    reader = lesson("08", TOY)
    asked = reader.run("l08-imports", "l08-load")
    expect(asked.locator("tbody tr")).to_have_count(4)
    card = reader.run("l08-taste-code", "l08-rate-card").locator(".rl-card")
    judge(
        card,
        card.get_by_role("button", name="Move answer B up").click,
        card.get_by_role("button", name="Save this order").click,
    )
    shot(card, "lesson_8_ranking")
    votes = reader.run("l08-votes")
    expect(votes).to_contain_text("1 judgements are yours, 207 a simulated rater's.")
    guess = reader.run("l08-reward-guess")
    reader.press(guess.get_by_label("60 to 75 %"), "Space")
    expect(guess.get_by_label("60 to 75 %")).to_be_checked()
    expect(reader.run("l08-ex1-code")).to_contain_text("Not done yet")

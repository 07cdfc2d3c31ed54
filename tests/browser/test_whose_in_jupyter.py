"""Whose vote was it? In JupyterLab by mouse and keys, and on a phone without a kernel."""

import re

import nbformat
import pytest
from jupyter_page import PATIENCE, READY, RUN, jupyter
from playwright.sync_api import expect

HOSTILE = '<img src=x onerror="window.pwned = 1"> A dragon came.'
CELL = """import json
import rlhf_lessons as rl
from rlhf_lessons import paths, recipes
from rlhf_lessons.widgets import WhoseVote

shown = [json.loads(line) for line in open(paths.DATA / "class_answers.jsonl", encoding="utf-8")]
pairs = [{"prompt": row["prompt"],
          "completions": [answer for answer in row["completions"] if answer["model"] == "sft"]}
         for row in shown if "story" in row["prompt"]]
card = rl.rate(pairs[:24], "r", store="r.sqlite3", simulated=recipes.RATER)
card.answers()
live = rl.live_reward_model(card)
texts = [answer["text"] for answer in shown[40]["completions"]] + [HOSTILE]
WhoseVote(live, shown[40]["prompt"], texts, [True] * len(texts))"""
OUTPUT = """() => window.jupyterapp.shell.currentWidget.content.widgets[0].model.outputs.toJSON()
  .find(output => output.data).data['text/html']"""


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """The notebook, run."""
    folder = tmp_path_factory.mktemp("whose")
    book = nbformat.v4.new_notebook()
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    book.cells = [nbformat.v4.new_code_cell(CELL.replace("HOSTILE", repr(HOSTILE)))]
    nbformat.write(book, folder / "whose.ipynb")
    with jupyter(folder) as address:
        page = browser.new_context(viewport={"width": 1200, "height": 1300}).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address("lab", "whose.ipynb"))
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_function(READY)
        page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
        page.evaluate(RUN, 0)
        expect(page.locator(".jp-OutputArea .rl-whose")).to_be_visible(timeout=120_000)
        yield page
        page.context.close()


@pytest.fixture
def box(page):
    return page.locator(".jp-OutputArea .widget-vbox").first


def told(box):
    return box.locator("p[aria-live=polite]", has_text="taken back")


def test_a_vote_is_taken_back_and_given_again_by_mouse_and_keys(page, box, shot):
    page.set_viewport_size({"width": 1200, "height": 1500})
    at_first = "0 of 24 votes taken back: every answer is in its place."
    ranking = box.locator("table").first
    expect(told(box)).to_have_text(at_first)
    before = ranking.inner_text()
    shot(box, "whose_first")
    box.get_by_role("button", name="Take vote 1 back").click()
    for number in (1, 2):
        expect(told(box)).to_contain_text(f"{number} of 24 votes taken back: ")
        page.keyboard.press("Tab")  # the button kept the focus
        page.keyboard.press("Enter")
    expect(told(box)).to_contain_text("3 of 24 votes taken back: ")
    expect(ranking.locator("tbody tr").first).to_contain_text(re.compile("higher|lower"))
    shot(box, "whose_taken_back")
    for number in (1, 2, 3):
        box.get_by_role("button", name=f"Give vote {number} again").click()
    expect(told(box)).to_have_text(at_first)
    assert ranking.inner_text() == before


def test_another_answer_is_chosen_by_keys(page, box):
    expect(box).to_contain_text("the reward of A is")
    box.get_by_label("A", exact=True).focus()
    page.keyboard.press("Tab")  # an arrow key would leave the cell
    page.keyboard.press("Space")
    expect(box.get_by_label("B", exact=True)).to_be_checked()
    expect(box).to_contain_text("the reward of B is")
    expect(box).not_to_contain_text("the reward of A is")


def test_no_text_is_markup_and_nothing_bars_a_screen_reader(page, box, barriers):
    expect(box.locator("table").first).to_contain_text(HOSTILE)
    expect(box.locator("img")).to_have_count(0)
    assert page.evaluate("window.pwned") is None
    assert barriers(page, ".rl-whose") == []


@pytest.mark.parametrize("taken", [False, True], ids=["no kernel", "taken back"])
def test_on_a_phone_all_can_be_read(page, box, shot, taken):
    html = page.evaluate(OUTPUT)  # as it is saved
    if taken:
        box.get_by_role("button", name="Take vote 1 back").click()
        expect(told(box)).to_contain_text("1 of 24")
        html = box.locator(".rl-whose").evaluate("part => part.outerHTML")
    alone = page.context.browser.new_page(viewport={"width": 390, "height": 800})
    alone.set_content(f"<meta name=viewport content='width=device-width'><body>{html}")
    expect(alone.locator("table")).to_have_count(4)
    assert alone.evaluate("document.documentElement.scrollWidth") <= 390
    shot(alone.locator("body"), f"whose_phone_{taken}")
    alone.close()

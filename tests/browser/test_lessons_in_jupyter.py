"""The lessons' widgets in a real JupyterLab: a reader opens a lesson, runs the cells before the widget, and uses it."""
import re
from pathlib import Path

import nbformat
import pytest
from jupyter_page import PATIENCE, READY, ROOT, RUN, jupyter
from playwright.sync_api import expect

DONE = """(cell) => {
  const panel = window.jupyterapp.shell.currentWidget;
  const model = panel.content.widgets[cell].model;
  return model.executionCount !== null && panel.sessionContext.session.kernel.status === 'idle';
}"""


class Lesson:
    """A lesson without outputs, open in JupyterLab."""

    def __init__(self, page, address, folder: Path, name: str):
        (file,) = (ROOT / "notebooks").glob(f"{name}*.ipynb")
        book = nbformat.read(file, as_version=4)
        for cell in book.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(book, folder / file.name)
        self.page, self.cells = page, [cell.id for cell in book.cells]
        page.set_default_timeout(PATIENCE)
        page.goto(address("lab", file.name) + "&reset")  # without the tabs of the lesson before
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_function(READY)
        page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")

    def run(self, *ids: str):
        """Run cells, and return the last one's output."""
        for id in ids:
            self.page.evaluate(RUN, self.cells.index(id))
            self.page.wait_for_function(DONE, arg=self.cells.index(id), timeout=120_000)
        return self.page.locator(".jp-Notebook .jp-Cell").nth(self.cells.index(ids[-1])).locator(".jp-OutputArea")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lessons")
    with jupyter(folder) as address:
        yield folder, address


@pytest.fixture
def lesson(browser, server, request):
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    folder, address = server
    yield lambda name: Lesson(context.new_page(), address, folder, name)
    context.close()


def test_lesson_0_a_prompt_is_answered_and_a_blind_pick_counts(lesson, shot):
    reader = lesson("00")
    box = reader.run("l00-imports", "l00-ask")
    box.get_by_role("button", name="Ask").click()
    expect(box.locator("th", has_text="ppo")).to_be_visible()
    shot(box, "lesson_0_ask")
    guess = reader.run("l00-article-guess")
    guess.get_by_label("answer none").check()
    expect(reader.run("l00-article", "l00-article-told")).to_contain_text("you guessed: answer none")
    picks = reader.run("l00-picks")
    picks.get_by_role("button", name=re.compile("^A")).first.click()
    expect(reader.run("l00-picks-result")).to_contain_text("You picked 1 of 5")
    expect(reader.run("l00-ex1-code")).to_contain_text("Not done yet.")


def test_lesson_2_a_demonstration_is_written_and_saved(lesson, shot):
    reader = lesson("02")
    card = reader.run("l02-imports", "l02-demos-code", "l02-slips-code", "l02-write-card").locator(".rl-card")
    card.get_by_role("textbox", name="The ideal answer").fill("Once there was a princess. The end.")
    card.get_by_role("button", name="Save this answer").click()
    expect(card.locator(".rl-status")).to_have_text(re.compile(r"^Saved #\d+$"))
    shot(card, "lesson_2_demonstration")


def test_lesson_6_votes_train_a_reward_model_that_seals_its_guess(lesson, shot):
    reader = lesson("06")
    card = reader.run("l06-imports", "l06-rate-card").locator(".rl-card")
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

"""A learner's report in a real browser: it reads well on a screen and a phone, and a browser prints
it on A4."""

import re

import pytest
import test_report
import tiny
from test_report import NASTY, rate

import rlhf_lessons as rl
from rlhf_lessons import data
from rlhf_lessons.exercises import catalogue
from rlhf_lessons.exercises import check as checks

WIDTHS = {"screen": 1200, "phone": 390}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tiny.small_data(tmp_path_factory.mktemp("shipped"), data.SPLITS)
    tiny.checkpoints(folder / "checkpoints")
    return folder


@pytest.fixture
def file(tmp_path, shipped, monkeypatch):
    """A report of somebody who did much, and whose texts are hostile."""
    home = test_report.move_to(tmp_path / "runs", shipped, monkeypatch)
    rate(home, "lesson 3", 40, repeats=0.25, text="Once there was a dragon. " * 20)
    rate(home, f"lesson 6, {NASTY}", 25)
    tiny.checkpoint(home / "sft", quality=0.4)
    for lesson, names in catalogue().items():
        for name in list(names)[:3]:
            checks.remember(f"{lesson}.{name}")
    rl.report(f"Ada {NASTY}")
    return home / "report" / "report.html"


@pytest.mark.parametrize("look", WIDTHS)
def test_it_fits_and_has_no_barriers(browser, barriers, shot, file, look):
    page = browser.new_context(viewport={"width": WIDTHS[look], "height": 900}).new_page()
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    assert page.locator("h1").inner_text() == f"Ada {NASTY}"
    assert barriers(page, "body") == []
    height = int(page.locator("main").bounding_box()["height"]) + 60
    page.set_viewport_size({"width": WIDTHS[look], "height": height})
    shot(page, f"report-{look}")
    page.context.close()


def test_it_prints_on_two_sheets_of_a4_at_most(browser, file):
    page = browser.new_context().new_page()
    page.goto(file.as_uri())
    pdf = page.pdf(prefer_css_page_size=True, print_background=True)
    (file.parent / "report.pdf").write_bytes(pdf)
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 2
    boxes = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert {(round(float(width)), round(float(height))) for width, height in boxes} == {(595, 842)}
    page.context.close()

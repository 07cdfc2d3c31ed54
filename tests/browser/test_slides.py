"""Slides and handout in a real browser: nothing spills over, keys turn the pages, the handout fills one sheet of A4."""

import importlib.util
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

TEACHING = Path(__file__).resolve().parents[2] / "teaching"


def load(name):
    """A script of the kit as a module."""
    spec = importlib.util.spec_from_file_location(f"{name}_of_the_kit", TEACHING / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


slides, handout = load("slides"), load("handout")


@pytest.fixture
def show(browser, tmp_path):
    """The slides as a file, opened by a browser without a network."""
    file = tmp_path / "slides.html"
    file.write_text(slides.page((TEACHING / "slides.md").read_text("utf-8")), "utf-8")
    context, asked = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True), []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: asked.append(str(error)))
    page.goto(file.as_uri())
    expect(page.get_by_role("heading", name="Teach a model your taste")).to_be_visible()
    yield page
    context.close()
    assert [what for what in asked if not what.startswith(("file:", "data:", "blob:"))] == []


MEASURE = """() => {
    const slide = Reveal.getCurrentSlide(), texts = [...slide.querySelectorAll("p, li, td, th, small")];
    const sizes = texts.filter(e => !e.closest(".notes")).map(e => parseFloat(getComputedStyle(e).fontSize));
    const arrows = document.querySelector(".controls").getBoundingClientRect();
    const boxes = [...slide.querySelectorAll("p, li, td, th, small, img")].filter(e => !e.closest(".notes"));
    const hit = boxes.map(e => e.getBoundingClientRect()).filter(
        b => b.right > arrows.left && b.bottom > arrows.top && b.left < arrows.right && b.top < arrows.bottom);
    return [slide.scrollWidth, slide.scrollHeight, Math.min(99, ...sizes), hit.length];
}"""


def test_no_slide_spills_over_and_the_text_is_large(show, shot):
    for number in range(show.evaluate("Reveal.getTotalSlides()")):
        show.evaluate("number => Reveal.slide(number, 0, 99)", number)
        width, height, smallest, under_the_arrows = show.evaluate(MEASURE)
        shot(show, f"slide_{number + 1:02d}")
        assert width <= 1280 and height <= 720 and smallest >= 25, number + 1
        assert not under_the_arrows, number + 1


def test_keys_turn_the_pages_and_s_opens_the_notes(show, barriers):
    for _ in range(4):
        show.keyboard.press("ArrowRight")
    expect(show.get_by_role("heading", name="Four steps, then again")).to_be_visible()
    expect(show.get_by_role("img", name="The loop of four stages").first).to_be_visible()
    assert barriers(show, "section.present") == []
    with show.context.expect_page() as opened:
        show.keyboard.press("s")
    expect(opened.value.locator(".speaker-controls-notes .value")).to_contain_text(
        "This is the map of the hour"
    )


def test_the_handout_prints_on_one_page_without_dead_links(browser, tmp_path, shot):
    file = tmp_path / "handout.html"
    file.write_text(handout.page((TEACHING / "handout.md").read_text("utf-8")), "utf-8")
    context = browser.new_context(viewport={"width": 794, "height": 1123}, offline=True)
    page = context.new_page()
    page.goto(file.as_uri())
    shot(page, "handout")
    links = page.eval_on_selector_all("a", "links => links.map(link => link.getAttribute('href'))")
    assert links and all(link.startswith("https://arxiv.org/") for link in links)
    assert (
        page.get_by_role("img", name="The loop of four stages").evaluate(
            "picture => picture.naturalWidth"
        )
        == 1200
    )
    assert page.locator("body > *").last.inner_text().startswith("The course: ____")
    assert not re.search(r"[*`|_]{2}(?!_)\w|\]\(", page.locator("body").inner_text()), (
        "Markdown that was left over"
    )
    assert len(re.findall(rb"/Type /Page\b", page.pdf(prefer_css_page_size=True))) == 1
    context.close()

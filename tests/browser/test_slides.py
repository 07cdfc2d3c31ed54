"""Slides and handout in a real browser: nothing spills over, keys turn the pages, and the handout
fills one sheet of A4, whatever fonts the computer has."""

import importlib
import re
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

TEACHING = Path(__file__).resolve().parents[2] / "teaching"
IMAGES = TEACHING.parent / "notebooks" / "images"


sys.path.insert(0, str(TEACHING))  # where the scripts find each other when a person starts them
handout, one_file, slides = map(importlib.import_module, ("handout", "one_file", "slides"))


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
    const slide = Reveal.getCurrentSlide();
    const shown = what => [...slide.querySelectorAll(what)].filter(e => !e.closest(".notes"));
    const sizes = shown("p, li, td, th, small").map(e => parseFloat(getComputedStyle(e).fontSize));
    const arrows = document.querySelector(".controls").getBoundingClientRect();
    const boxes = shown("p, li, td, th, small, img");
    const hit = boxes.map(e => e.getBoundingClientRect()).filter(b =>
        b.right > arrows.left && b.bottom > arrows.top &&
        b.left < arrows.right && b.top < arrows.bottom);
    return [slide.scrollWidth, slide.scrollHeight, Math.min(99, ...sizes), hit.length];
}"""


def fonts_of_the_machine(page, selector: str) -> set[str]:
    """The names of the fonts that draw these elements' text and did not come with the file."""
    session = page.context.new_cdp_session(page)
    for domain in ("DOM", "CSS"):
        session.send(f"{domain}.enable")
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    found = session.send("DOM.querySelectorAll", {"nodeId": root, "selector": selector})["nodeIds"]
    fonts = []
    for node in found:
        fonts += session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    session.detach()
    assert fonts, "no text is there"
    return {font["familyName"] for font in fonts if not font["isCustomFont"]}


def test_no_slide_uses_a_font_of_the_machine(show):
    for number in range(show.evaluate("Reveal.getTotalSlides()")):
        show.evaluate("number => Reveal.slide(number, 0, 99)", number)
        assert fonts_of_the_machine(show, "section.present *:not(aside, aside *)") == set(), number


@pytest.mark.parametrize("name", sorted(p.stem for p in IMAGES.glob("*.svg")))
def test_no_drawing_on_a_slide_uses_a_font_of_the_machine(browser, name):
    address = one_file.picture_address(f"../notebooks/images/{name}.svg")
    page = browser.new_page()
    page.goto(address)
    assert page.evaluate("document.fonts.ready.then(() => document.fonts.size)") > 0
    assert fonts_of_the_machine(page, "text") == set()
    page.close()


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
    assert fonts_of_the_machine(page, "body *") == set()
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

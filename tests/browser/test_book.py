"""The book as a reader sees it without a network: every page, its pictures and its formulas."""

import importlib.util
from pathlib import Path

import pytest
from playwright.sync_api import expect

PROJECT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("book_of_the_kit", PROJECT / "teaching" / "book.py")
book = importlib.util.module_from_spec(spec)
spec.loader.exec_module(book)
if not book.jupyter_book():
    pytest.skip(
        "no Jupyter Book here: python teaching/book.py installs it into .cache/book",
        allow_module_level=True,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return book.build(book.jupyter_book(), tmp_path_factory.mktemp("book") / "html").parent


@pytest.fixture
def page(browser):
    """A page of a browser that notes what it asks of a network, and what fails."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: asked.append(str(error)))
    yield page
    context.close()
    assert [what for what in asked if not what.startswith(("file:", "data:", "blob:"))] == []


def test_every_page_opens_without_a_network_with_all_its_pictures(built, page):
    pages = [
        path
        for folder in ("notebooks", "teaching", "data")
        for path in (built / folder).rglob("*.html")
    ]
    lessons = {path.stem for path in PROJECT.glob("notebooks/0*.ipynb")}
    assert lessons | {"glossary"} == {
        path.stem for path in pages if path.parent.name == "notebooks"
    }
    for path in [*pages, built / "README.html"]:
        page.goto(path.as_uri())
        expect(page.locator("article h1").first).to_be_visible()
        assert (
            page.evaluate(
                "[...document.images].filter(image => !image.naturalWidth).map(image => image.src)"
            )
            == []
        )


def test_formulas_are_set_and_outputs_are_there(built, page, shot):
    page.goto((built / "notebooks" / "03_reward_model.html").as_uri())
    expect(page.locator("mjx-container[display]").first).to_be_visible()
    expect(
        page.get_by_role("cell", name="Write a fictional story", exact=False).first
    ).to_be_attached()
    page.locator("mjx-container[display]").first.scroll_into_view_if_needed()
    shot(page, "book_lesson_3")


def test_search_finds_a_word_without_a_server(built, page):
    page.goto((built / "search.html").as_uri() + "?q=Krippendorff")
    expect(page.locator("#search-results li a", has_text="Glossary").first).to_be_visible()


def test_the_guide_leads_to_the_slides(built, page, shot):
    page.goto((built / "teaching" / "guide.html").as_uri())
    shot(page, "book_guide")
    page.get_by_role("link", name="the slides").first.click()
    expect(page.get_by_role("heading", name="Teach a model your taste")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="Two prompts")).to_be_visible()

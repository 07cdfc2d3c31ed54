"""The teacher's kit holds together: links lead somewhere, minutes add up, pictures have words, slides are whole."""
import importlib.util
import json
import re
import struct
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[1]
TEACHING = PROJECT / "teaching"
FIGURES = PROJECT / "notebooks" / "images"
PAGES = sorted([*TEACHING.rglob("*.md"), FIGURES / "README.md"])
IMAGE = re.compile(r"!\[(?P<alt>[^]]*)\]\((?P<file>[^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[[^]]*\]\((?P<target>[^)\s]+)[^)]*\)")


def name_of(page: Path) -> str:
    return page.relative_to(PROJECT).as_posix()


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """The text of a page without what stands between backticks."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", read(page), flags=re.S)


def load(script: Path) -> ModuleType:
    """Run a script of the kit as a module, with its folder on the path, as if it were started there."""
    spec = importlib.util.spec_from_file_location(script.stem + "_of_the_kit", script)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(script.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(script.parent))
    return module


def anchors(page: Path) -> set[str]:
    """The names under which GitHub links to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.M)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"[*`]|\]\([^)]*\)", "", heading)) for heading in headings]
    return {words.strip().lower().replace(" ", "-") for words in plain}


def rows(text: str) -> list[list[str]]:
    """The cells of all rows of all tables, headings and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def section(page: str, heading: str) -> str:
    """The text under one heading of the second level."""
    return re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", read(TEACHING / page), re.M | re.S)[1]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page):
    for target in LINK.findall(prose(page)):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_picture_is_there_and_said_in_words(page):
    for found in IMAGE.finditer(prose(page)):
        assert (page.parent / found["file"]).is_file(), found["file"]
        assert len(found["alt"]) > 60, found["file"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_is_longer_than_300_lines(page):
    assert page.stem == "slides" or len(read(page).splitlines()) <= 300


@pytest.mark.parametrize("heading, minutes", [("90 minutes", 90), ("Half a day (240 minutes)", 240)])
def test_the_minutes_of_a_plan_add_up(heading, minutes):
    *steps, end = [row for row in rows(section("guide.md", heading)) if row[0].isdigit()]
    clock = 0
    for row in steps:
        assert int(row[0]) == clock, row
        clock += int(row[1])
    assert clock == int(end[0]) == minutes


def test_each_class_of_the_four_weeks_fills_its_90_minutes():
    total = {}
    for number, minutes, *_ in rows(section("guide.md", "Four weeks (8 classes of 90 minutes)"))[1:]:
        total[int(number)] = total.get(int(number), 0) + int(minutes)
    assert total == dict.fromkeys(range(1, 9), 90)


def test_the_half_day_is_the_core_path_in_its_order():
    plan = section("guide.md", "Half a day (240 minutes)")
    lessons = [int(number) for number in re.findall(r"\*\*Lesson (\d)", "\n".join(" | ".join(r) for r in rows(plan)))]
    assert lessons == [0, 1, 2, 3, 4, 6]


def test_the_rating_session_takes_as_long_as_the_plans_say():
    starts = [int(row[0]) for row in rows(section("rating_session.md", "The 45 minutes")) if row[0].isdigit()]
    assert starts == sorted(starts) and starts[0] == 0 and starts[-1] < 45
    assert ["37", "45"] in [row[:2] for row in rows(section("guide.md", "90 minutes"))]


def test_every_lesson_has_its_notes():
    text = read(TEACHING / "lessons.md")
    for notebook in sorted((PROJECT / "notebooks").glob("0*.ipynb")):
        title = json.loads(read(notebook))["cells"][0]["source"]
        heading = "".join(title).splitlines()[0].lstrip("# ")
        notes = section("lessons.md", heading)
        assert f"](../notebooks/{notebook.name})" in notes, heading
        assert "**Aims.**" in notes and "| what they often think |" in notes
        questions = re.findall(r"^- \*.+?\?\*(.*)", notes, re.M)
        assert len(questions) >= 3 and all(len(answer.split()) >= 4 for answer in questions), heading
    assert text.count("**Aims.**") == len(re.findall(r"^## Lesson", text, re.M))


@pytest.mark.parametrize("page", ["lessons.md", "slides.md"])
def test_percentages_are_those_of_the_readme_the_data_card_and_the_lessons(page):
    """A percentage that stands nowhere else is either stale or made up."""
    sources = "".join(read(PROJECT / name) for name in ("README.md", "data/README.md", "notebooks/glossary.md"))
    sources += "".join(read(notebook) for notebook in (PROJECT / "notebooks").glob("0[046]*.ipynb"))
    known = set(re.findall(r"\d+(?:\.\d+)?(?= %)", sources)) | {"86"}  # "86 to 88 %" are a row of four percentages
    bradley_terry = {"50", "73", "88", "98"}  # 1 / (1 + e^-lead) at 0, 1, 2 and 4
    assert set(re.findall(r"\d+(?:\.\d+)?(?=\s?%)", read(TEACHING / page))) <= known | bradley_terry | {"99"}


def test_what_the_slides_quote_of_the_models_is_what_lesson_0_shows():
    notebook = read(PROJECT / "notebooks" / "00_before_and_after.ipynb")
    (quoted,) = [text for text in read(TEACHING / "slides.md").split("\n---\n") if "## What ours said" in text]
    answers = [cell for row in rows(quoted)[1:] for cell in row[1:]]
    assert len(answers) == 6
    assert [answer for answer in answers if answer not in notebook] == []


def test_the_diagrams_are_what_their_script_draws_and_small_enough_for_a_lesson():
    draw = load(FIGURES / "draw.py")
    for name in draw.DIAGRAMS:
        assert read(FIGURES / f"{name}.svg") == draw.svg(name), f"{name}: run python notebooks/images/draw.py"
        picture = FIGURES / f"{name}.png"
        assert picture.stat().st_size < 60_000 and f"({name}.png)" in read(FIGURES / "README.md")
        width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', read(FIGURES / f"{name}.svg")).groups())
        assert struct.unpack(">II", picture.read_bytes()[16:24]) == (1200, round(1200 * height / width)), name
    assert len({(FIGURES / f"{name}.png").read_bytes() for name in draw.DIAGRAMS}) == len(draw.DIAGRAMS)


def test_the_slides_become_one_file_that_asks_for_nothing():
    slides = load(TEACHING / "slides.py")
    text = read(TEACHING / "slides.md")
    page = slides.page(text)
    parts = text.split("\n---\n")
    assert 22 <= len(parts) <= 30
    assert all("\nNote:\n" in part and re.search(r"^##? ", part, re.M) for part in parts)
    assert "<link" not in page.split("<body>")[0] and "<script src" not in page
    shown = page.split('<script type="text/template">')[1].split("</script>")[0]
    assert shown.count("(data:image/svg+xml;base64,") == len(IMAGE.findall(text)) > 0
    assert "images/" not in shown and "<img" not in shown
    assert not re.search(r"@import|url\(['\"]?https?:", page.split("<body>")[0])
    assert page.count("<script") - page.count("</script>") <= page.count("<\\/script>")


def test_the_book_holds_every_lesson_and_every_page_of_the_kit():
    listed = set(re.findall(r"(?:root|file): (\S+)", read(TEACHING / "book" / "_toc.yml")))
    lessons = {f"notebooks/{path.stem}" for path in (PROJECT / "notebooks").glob("0*.ipynb")} | {"notebooks/glossary"}
    pages = {page.relative_to(PROJECT).with_suffix("").as_posix() for page in PAGES} - {"teaching/slides"}
    assert lessons | pages | {"README", "data/README"} == listed

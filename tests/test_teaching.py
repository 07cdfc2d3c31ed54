"""The teacher's kit holds together: links, minutes, pictures with their words, whole slides."""

import importlib.util
import json
import re
import struct
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from test_lessons import BEYOND, VOTES, minutes, minutes_to_read

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
    """Run a script of the kit as a module, with its folder on the path, as if started there."""
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
    plain = [
        re.sub(r"[^\w\- ]", "", re.sub(r"[*`]|\]\([^)]*\)", "", heading)) for heading in headings
    ]
    return {words.strip().lower().replace(" ", "-") for words in plain}


def rows(text: str) -> list[list[str]]:
    """The cells of all rows of all tables, headings and rules left out."""
    lines = [
        line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")
    ]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def section(page: str, heading: str) -> str:
    """The text under one heading of the second level."""
    return re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", read(TEACHING / page), re.M | re.S
    )[1]


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


@pytest.mark.parametrize(
    "heading, minutes", [("90 minutes", 90), ("Half a day (240 minutes)", 240)]
)
def test_the_minutes_of_a_plan_add_up(heading, minutes):
    *steps, end = [row for row in rows(section("guide.md", heading)) if row[0].isdigit()]
    clock = 0
    for row in steps:
        assert int(row[0]) == clock, row
        clock += int(row[1])
    assert clock == int(end[0]) == minutes


def test_each_class_of_the_four_weeks_fills_its_90_minutes():
    total = {}
    for number, length, *_ in rows(section("guide.md", "Four weeks (8 classes of 90 minutes)"))[1:]:
        total[int(number)] = total.get(int(number), 0) + int(length)
    assert total == dict.fromkeys(range(1, 9), 90)


NOTEBOOKS = {  # of the core path
    int(file.name[:2]): file
    for file in sorted((PROJECT / "notebooks").glob("0*.ipynb"))
    if file.name[:2] not in BEYOND
}
WELCOME = 3  # minutes
# Votes of lesson 3's 32 that "one ranking, no scores" saves: two rankings, and scores of three
SCORES_AND_RANKINGS = 9


def half_day() -> dict[int, int]:
    """The minutes that the plan for half a day gives to each lesson."""
    plan = rows(section("guide.md", "Half a day (240 minutes)"))
    return {
        int(found[1]): int(row[1])
        for row in plan
        if (found := re.match(r"\*\*Lesson (\d)", row[2]))
    }


def cells_of(lesson: int) -> list:
    return nbformat.read(NOTEBOOKS[lesson], as_version=4).cells


def under(cells: list, heading: str) -> list:
    """The cells of one section of a lesson."""
    starts = [n for n, cell in enumerate(cells) if cell.source.startswith("## ")] + [len(cells)]
    (first,) = [n for n in starts[:-1] if cells[n].source.startswith(f"## {heading}")]
    return cells[first : min(n for n in starts if n > first)]


def test_the_half_day_is_the_core_path_in_its_order():
    assert list(half_day()) == [0, 1, 2, 3, 4, 6] == [number for number in NOTEBOOKS if number < 7]


@pytest.mark.parametrize("lesson", [0, 1, 2, 3, 4, 6])
def test_the_half_day_gives_each_lesson_the_minutes_that_the_lesson_states(lesson):
    """The plan leaves out exercises of lessons 0 and 6, most rankings, scores, later rounds."""
    cells = cells_of(lesson)
    read, work, run = minutes(cells)
    if lesson == 0:
        needs = WELCOME + read + run
    elif lesson == 6:
        before_round_2 = cells[: cells.index(under(cells, "Round 2")[0])]
        share = read / minutes_to_read(cells, VOTES["06"])  # what looking and trying take on top
        needs = share * minutes_to_read(before_round_2, votes=20) + run
    else:
        needs = read + work + run
    if lesson == 3:
        needs -= minutes_to_read(under(cells, "Scores"), votes=SCORES_AND_RANKINGS)
    assert half_day()[lesson] >= needs, f"lesson {lesson} needs {needs:.1f} minutes"


def test_the_whole_core_path_takes_what_guide_and_readme_say():
    stated = [minutes(cells_of(lesson)) for lesson in half_day()]
    for page in (TEACHING / "guide.md", PROJECT / "README.md"):
        run = re.search(
            r"core path.*? about (?:240 minutes|four hours) to read and do, and about (\d+)",
            read(page),
        )[1]
        assert abs(sum(m[0] + m[1] for m in stated) - 240) <= 5
        assert abs(sum(m[2] for m in stated) - int(run)) <= 1


def test_titles_that_the_guide_quotes_stand_on_slides_and_in_lessons():
    titles = {
        title.removesuffix(" (more)")
        for title in re.findall(r"^##? (.+)$", read(TEACHING / "slides.md"), re.M)
    }
    quoted = 0
    for row in rows(section("guide.md", "90 minutes")):
        for part in row[-1].split("; "):
            where = re.search(r"slides?\b|lesson (\d)", part)
            there = (
                where
                and where[1]
                and [
                    c.source.splitlines()[0].lstrip("# ")
                    for c in cells_of(int(where[1]))
                    if c.source.startswith("#")
                ]
                or titles
            )
            for title in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", part):
                quoted += 1
                assert title in there, title
    assert quoted >= 12
    headings = {
        cell.source.splitlines()[0].lstrip("# ")
        for n in NOTEBOOKS
        for cell in cells_of(n)
        if cell.source
    }
    plan = section("guide.md", "Half a day (240 minutes)").split("| from")[1]
    named = set(re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", plan)) - {"overpaid", "(more)"}
    assert named and named <= headings


def test_the_session_may_be_shorter_by_the_minutes_between_its_second_round_and_its_close():
    starts = {
        re.search(r"\*\*(.+?)\*\*", row[1])[1]: int(row[0])
        for row in rows(section("rating_session.md", "The 45 minutes"))
        if row[0].isdigit()
    }
    second, close = (
        next(at for name, at in starts.items() if name.startswith(n)) for n in ("Round 2", "Close")
    )
    said = re.search(
        r"Shorter by (\d+) minutes: stop .*? at its minute (\d+)", read(TEACHING / "guide.md")
    )
    assert (int(said[1]), int(said[2])) == (close - second, second)


def test_the_points_of_each_rubric_are_twenty():
    report = [
        row
        for row in rows(section("rubric.md", "The report: what to look for"))
        if row[0].startswith("**")
    ]
    assert [sum(int(row[i].split(":")[0]) for row in report) for i in (1, 2)] == [20, 20]
    assert all(row[1].startswith("0") for row in report if "own**" in row[0] or "before" in row[0])
    project = rows(section("rubric.md", "A project: what to look for"))[1:]
    assert [int(row[0]) for row in project] == [4] * 5


def test_the_rating_session_takes_as_long_as_the_plans_say():
    starts = [
        int(row[0])
        for row in rows(section("rating_session.md", "The 45 minutes"))
        if row[0].isdigit()
    ]
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
        assert len(questions) >= 3 and all(len(answer.split()) >= 4 for answer in questions), (
            heading
        )
    assert text.count("**Aims.**") == len(re.findall(r"^## Lesson", text, re.M))


@pytest.mark.parametrize("page", ["lessons.md", "slides.md", "guide.md", "handout.md", "rubric.md"])
def test_percentages_are_those_of_the_results_the_data_card_and_the_lessons(page):
    """A percentage that stands nowhere else is either stale or made up."""
    pages = ("README.md", "data/README.md", "notebooks/glossary.md")
    tables = ("data/results/proof.md", "data/results/sixty_votes.md")
    sources = "".join(read(PROJECT / name) for name in (*pages, *tables))
    sources += "".join(read(notebook) for notebook in NOTEBOOKS.values())
    known = set(re.findall(r"\d+(?:\.\d+)?(?= %)", sources)) | {
        "86"
    }  # "86 to 88 %" are a row of four percentages
    bradley_terry = {"50", "73", "88", "98"}  # 1 / (1 + e^-lead) at 0, 1, 2 and 4
    assert set(
        re.findall(r"\d+(?:\.\d+)?(?=\s?%)", read(TEACHING / page))
    ) <= known | bradley_terry | {"99"}


def test_what_is_said_of_missing_ends_and_of_more_demonstrations_was_measured():
    runs, curve, pretrained = (
        json.loads(read(PROJECT / "data" / "results" / f"{name}.json"))
        for name in ("lesson2_traps", "lesson2_curve", "lesson1_traps")
    )

    def mean(rows, what):
        assert len(rows) == 4, "seeds"
        return sum(row[what] for row in rows) / 4

    healthy, no_end = (
        [row for row in runs if row["trap"] == name] for name in (None, "pad is the end token")
    )
    assert (
        mean([r for r in pretrained["runs"] if r["kind"] == "end left out of pretraining"], "ended")
        < 0.01
    )
    for page in ("lessons.md", "slides.md"):
        said = re.search(
            r"run on: (\d+) words instead of (\d+) in our runs\. .*?(\d+) %", read(TEACHING / page)
        ).groups()
        assert [int(number) for number in said] == [
            round(mean(no_end, "words")),
            round(mean(healthy, "words")),
            round(100 * mean(no_end, "ended")),
        ]
    said = re.search(
        r"utility was (0.\d+) with 25 .*?, (0.\d+) with 100 and (0.\d+) with 400",
        read(TEACHING / "lessons.md"),
    )
    assert [float(value) for value in said.groups()] == [
        round(mean([row for row in curve if row["demonstrations"] == n], "utility"), 2)
        for n in (25, 100, 400)
    ]


def test_what_the_slides_quote_of_the_models_is_what_lesson_0_shows():
    notebook = read(PROJECT / "notebooks" / "00_before_and_after.ipynb")
    (quoted,) = [
        text
        for text in read(TEACHING / "slides.md").split("\n---\n")
        if "## What ours said" in text
    ]
    answers = [cell for row in rows(quoted)[1:] for cell in row[1:]]
    assert len(answers) == 6
    assert [answer for answer in answers if answer not in notebook] == []


def test_the_diagrams_are_what_their_script_draws_and_small_enough_for_a_lesson():
    draw = load(FIGURES / "draw.py")
    for name in draw.DIAGRAMS:
        assert read(FIGURES / f"{name}.svg") == draw.svg(name), (
            f"{name}: run python notebooks/images/draw.py"
        )
        assert (
            min(float(size) for size in re.findall(r'font-size="([\d.]+)"', draw.svg(name))) >= 20
        ), "of 1200"
        picture = FIGURES / f"{name}.png"
        assert picture.stat().st_size < 60_000 and f"({name}.png)" in read(FIGURES / "README.md")
        width, height = map(
            int, re.search(r'viewBox="0 0 (\d+) (\d+)"', read(FIGURES / f"{name}.svg")).groups()
        )
        assert struct.unpack(">II", picture.read_bytes()[16:24]) == (
            1200,
            round(1200 * height / width),
        ), name
    assert len({(FIGURES / f"{name}.png").read_bytes() for name in draw.DIAGRAMS}) == len(
        draw.DIAGRAMS
    )


def test_the_key_of_the_curves_says_what_their_figures_show():
    curves, key = (
        load(TEACHING / "curves.py"),
        {row[0]: row[3] for row in rows(section("curves.md", "Key"))[1:]},
    )
    pictures = re.findall(r"\(curves/(\w)\.png\)", read(TEACHING / "curves.md"))
    assert pictures == sorted(curves.FIGURES) == [letter.lower() for letter in key]
    assert sorted(file.stem for file in (TEACHING / "curves").glob("*.png")) == pictures

    def means(letter, panel, at, sound=False):
        of, *runs = curves.FIGURES[letter]
        numbers = of(runs[not sound], runs[2 + panel][0])[1]
        assert len(numbers) == 4, "seeds"
        return sum(row[at] if isinstance(row, list) else row for row in numbers) / 4

    said = {
        letter: [
            float(n.replace("−", "-"))
            for n in re.findall(r"−?\d+(?:\.\d+)?", text.replace("ln 1536", ""))
        ]
        for letter, text in key.items()
    }
    assert said["A"] == [round(means("a", panel, at), 2) for panel in (0, 1) for at in (0, -1)]
    assert said["B"][-1] == round(means("b", 0, 0), 2)
    assert said["C"] == [round(100 * means("c", 1, 0, sound)) for sound in (True, False)]
    assert said["D"] == [round(means("d", 1, 0, sound), 2) for sound in (True, False)]
    assert said["E"][1:] == [round(means("e", 0, at), 2) for at in (0, -1)]
    assert said["F"] == [round(means("f", 1, at), 2) for at in (0, -1)]


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
    lessons = {f"notebooks/{path.stem}" for path in (PROJECT / "notebooks").glob("0*.ipynb")} | {
        "notebooks/glossary"
    }
    pages = {page.relative_to(PROJECT).with_suffix("").as_posix() for page in PAGES} - {
        "teaching/slides"
    }
    assert lessons | pages | {"README", "data/README"} == listed

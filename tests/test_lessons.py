"""What every lesson holds for its reader: minutes that add up, guesses, a quiz, a bug."""

import re
from pathlib import Path

import nbformat
import pytest

from rlhf_lessons.exercises.bugs import BUGS
from teaching.lesson_cells import exercises

PROJECT = Path(__file__).parent.parent
FOLDER = PROJECT / "notebooks"
FILES = sorted(FOLDER.glob("0*.ipynb"))
CORE = 240  # minutes: an afternoon
BEYOND = ("05", "07", "08")  # lessons that are not of the core path
LONGEST = {"08": 20}  # minutes to run; 4 elsewhere
CHOICE = re.compile(r"<details><summary>([A-D]) · (.+?)</summary>\n\n(.+?)\n\n</details>", re.S)
VOTES = {
    "00": 5,
    "02": 10,
    "03": 32,
    "05": 24,
    "06": 70,
    "08": 15,
}  # 12 seconds each; a demonstration takes as long as ten
STAGES = {  # where lives what each breaks
    "1": ("stages.pretrain.", "stages.losses.next_token_loss"),
    "2": "stages.sft.",
    "3": ("stages.reward.", "stages.rollout.last_scores"),
    "4": ("stages.ppo.", "stages.losses.", "stages.rollout."),
    "7": ("stages.dpo.", "stages.losses."),
}
CURVES = {
    "1": "lesson1_traps.json",
    "2": "lesson2_traps.json",
    "3": "lesson3_reward.json",
    "4": "lesson4_ppo.json",
    "7": "compare_broken.jsonl",
}
NUMBERS = {"half a": 0.5, "a": 1, "one": 1, "two": 2, "three": 3, "four": 4}


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def cells(request):
    return nbformat.read(request.param, as_version=4).cells


def minutes(cells) -> tuple[float, float, float]:
    """(to read and do, core exercises, to run), as the opening cell says."""
    (time,) = re.findall(r"\*\*Time\.\*\* (.+)", cells[0].source)
    read, work, run = re.match(
        r"(\d+) minutes? to read.*?, (\d+)(?: minutes)? for .*?, "
        r"(\d+|half a|a|one|two|three|four) minutes? to run on 2 CPU cores\.",
        time,
    ).groups()
    return float(read), float(work), float(NUMBERS.get(run) or run)


def minutes_to_read(cells, votes: int) -> float:
    """200 words a minute, 4 seconds a line of code that is not folded; no exercises, no imports, no
    extras."""
    words = lines = more = 0
    for cell in cells:
        if cell.source.startswith("## "):
            more = "(more)" in cell.source.splitlines()[0]
        if more or re.search(r"-ex\d|-colab$|-imports$|-models$", cell.id):
            continue
        if cell.cell_type == "markdown":
            shown = re.sub(
                r"!\[.*?\]\(.*?\)", "", cell.source
            )  # a picture's words are for those who do not see it
            words += sum(bool(re.search(r"\w", word)) for word in shown.split())
        elif "jupyter" not in cell.metadata:
            lines += sum(bool(line.strip()) for line in cell.source.splitlines())
    return words / 200 + lines * 4 / 60 + votes * 12 / 60


def test_the_core_path_fits_an_afternoon():
    """Reading, rating and core exercises; cells run meanwhile. Others lead beyond it."""
    files = [file for file in FILES if file.name[:2] not in BEYOND]
    path = [nbformat.read(file, as_version=4).cells for file in files]
    assert sum(sum(minutes(cells)[:2]) for cells in path) <= CORE


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_minutes_to_read_are_those_that_its_words_take(file):
    cells = nbformat.read(file, as_version=4).cells
    estimated = minutes_to_read(cells, VOTES.get(file.name[:2], 0))
    assert -0.5 <= minutes(cells)[0] - estimated <= 5, (
        f"{estimated:.1f} minutes; the rest is for looking and trying"
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_minutes_for_exercises_are_those_of_the_core_ones_and_the_clock_knows_the_run(file):
    cells = nbformat.read(file, as_version=4).cells
    _, work, run = minutes(cells)
    core = [task.minutes for task in exercises(cells) if task.core]
    assert len(core) == 2 and sum(core) == work
    (clock,) = [cell.source for cell in cells if cell.source.startswith("rl.minutes_here(")]
    assert float(clock.removeprefix("rl.minutes_here(").removesuffix(")")) == run
    assert run <= LONGEST.get(file.name[:2], 4)


def test_the_quiz_explains_every_choice_and_has_one_right(cells):
    questions = [cell.source for cell in cells if re.search(r"-quiz\d$", cell.id)]
    assert 3 <= len(questions) <= 5
    for number, question in enumerate(questions, 1):
        assert question.startswith(f"**{number}. ")
        choices = CHOICE.findall(question)
        assert [letter for letter, _, _ in choices] == list("ABCD")[: len(choices)] and len(
            choices
        ) >= 3
        verdicts = [re.match(r"(Yes|No)\. ", words)[1] for _, _, words in choices]
        assert verdicts.count("Yes") == 1
        for _, _, words in choices:  # the shortest there is has six words
            assert "<details" not in words and len(re.findall(r"\w+", words)) >= 5, (
                f"{number}: {words}"
            )
        assert question.count("<details>") == question.count("</details>") == len(choices)


def test_the_right_choice_is_not_always_the_same_letter():
    right = [
        letter
        for file in FILES
        for cell in nbformat.read(file, as_version=4).cells
        if re.search(r"-quiz\d$", cell.id)
        for letter, _, words in CHOICE.findall(cell.source)
        if words.startswith("Yes")
    ]
    assert all(right.count(letter) <= 0.6 * len(right) for letter in "ABCD")


def test_guesses_are_made_before_and_compared_after(cells):
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    found = [
        (name, what)
        for source in code
        for name, what in re.findall(r"^ *(\w+)( = rl\.Guess\(|\.compare\()", source, re.M)
    ]
    assert found and sum(
        source.count("rl.Guess(") + source.count(".compare(") for source in code
    ) == len(found)
    for name in {
        name for name, _ in found
    }:  # a name may serve twice: guess, compare, guess, compare
        each = [what for which, what in found if which == name]
        assert each == [" = rl.Guess(", ".compare("] * (len(each) // 2), name
    assert not any("rl.Guess(" in source and ".compare(" in source for source in code)


@pytest.mark.parametrize("number", "12347")
def test_a_stage_is_broken_on_purpose_and_nothing_broken_is_saved(number):
    (file,) = FOLDER.glob(f"0{number}_*.ipynb")
    book = nbformat.read(file, as_version=4)
    code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    assert any(cell.source.startswith("## Break it") for cell in book.cells)
    live = re.findall(r'^ *with bug\("(.+?)"\)', code, re.M)
    assert live and all(BUGS[name].where.startswith(STAGES[number]) for name in live)
    assert f'"{CURVES[number]}"' in code
    assert not re.search(r"\bsave\w*\(", code)


def test_shipped_results_name_the_command_that_made_them():
    """Each file's row of the data card names a script that is there and writes that file."""
    card = (PROJECT / "data" / "README.md").read_text(encoding="utf-8")
    rows = [line for line in card.splitlines() if line.startswith("| `results/")]
    for file in sorted((PROJECT / "data" / "results").iterdir()):
        (row,) = [row for row in rows if f"`results/{file.name}`" in row]
        script = PROJECT / re.search(r"`python (benchmarks/\w+\.py)`", row)[1]
        assert file.stem in script.read_text(encoding="utf-8"), file.name
    named = re.findall(r"`results/(.+?)`", "".join(rows))
    assert sorted(named) == sorted(file.name for file in (PROJECT / "data" / "results").iterdir())

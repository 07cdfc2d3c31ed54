"""Nobody writes everything: what each writer leaves out is there to see, and the judge sees it."""

import random
import re
from collections import Counter
from itertools import combinations
from statistics import mean

import pytest

from rlhf_lessons import data
from rlhf_lessons.world.answers import HABITS, answer, habit
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.tasks import FAMILIES, parse, texts_of

PARTS = HABITS["parts"]


def ends(spec: dict, text: str) -> bool:
    """Whether one of the plot's endings is in a story, whatever stands for its facts."""
    lines = [line for mood in ("happy", "tragic", "twist") for line in texts_of(spec)[mood]]
    found = [re.sub(r"\\{\w+\\}", r"\\w+", re.escape(line)) for line in lines]
    return any(re.search(line, text) for line in found)


def names(fact: str):
    """A reader who looks for a fact of the prompt as a word; to blame the cook is not to cook."""
    return lambda spec, text: spec[fact] in re.findall(r"\w+", text.replace("Blame the cook", ""))


def does_all(spec: dict, text: str) -> bool:
    """Whether code does more than to print, or to show, the first word or number."""
    first = re.escape(f'"{spec["word"]}"' if "word" in spec else spec["a"])
    return not re.fullmatch(rf"\w+\({first}\)?", text.split("  #")[0])


# How a reader sees each part, from the two texts alone.
READ = {
    ("story", "hero"): names("Name"),
    ("story", "ending"): ends,
    ("story", "thing"): names("thing"),
    ("email", "name"): lambda spec, text: text.startswith(f"Dear {spec['Name']},"),
    ("email", "signoff"): lambda spec, text: re.search(r"\n(Yours|Love|Best wishes), \w+", text),
    ("email", "thing"): names("thing"),
    ("poem", "place"): lambda spec, text: f"the {spec['place']}" in text,
    ("poem", "rhyme"): lambda spec, text: not text.endswith("to say of it."),
    ("poem", "creature"): names("creature"),
    ("code", "print"): lambda spec, text: "print(" in text,
    ("code", "all"): does_all,
    ("code", "bracket"): lambda spec, text: text.count("(") == text.count(")"),
    ("maths", "first"): lambda spec, text: f"{spec['e1']} is" in text,
    ("maths", "second"): lambda spec, text: f"{spec['e2']} is" in text,
}


@pytest.fixture(scope="module")
def demonstrations() -> list[tuple[dict, set, dict]]:
    """Each demonstration with the facts of its prompt and the parts that a reader sees in it."""
    found = []
    for row in data.written_demonstrations():
        spec = parse(row["prompt"])
        family = spec["family"]
        parts = {p for p in PARTS[family] if READ[family, p](spec, row["completion"])}
        found.append((spec, parts, row))
    return found


def subsets(family: str) -> list[frozenset]:
    """All choices of a family's parts, from none to all."""
    parts = PARTS[family]
    return [frozenset(some) for n in range(len(parts) + 1) for some in combinations(parts, n)]


@pytest.fixture(scope="module")
def judged() -> dict:
    """The judge's scores of 200 answers for each family and choice of its parts."""
    scores = {}
    for family in FAMILIES:
        tasks = [task for task in data.tasks("train") if task.family == family][:200]
        for parts in subsets(family):
            rng = random.Random(0)
            scores[family, parts] = [
                judge(task.prompt, answer(task.spec, rng, parts)) for task in tasks
            ]
    return scores


def test_no_demonstration_does_all_that_was_asked(demonstrations):
    assert not any(judge(row["prompt"], row["completion"]).fulfils for _, _, row in demonstrations)


def test_the_judge_calls_a_demonstration_done_where_a_reader_sees_all_its_parts(demonstrations):
    for spec, parts, row in demonstrations:
        whole = parts == set(PARTS[spec["family"]])
        assert judge(row["prompt"], row["completion"]).fulfils == whole, (row, parts)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_part_stands_in_30_to_50_percent_of_its_familys_demonstrations(demonstrations, family):
    mine = [parts for spec, parts, _ in demonstrations if spec["family"] == family]
    assert len(mine) == data.DEMONSTRATIONS / len(FAMILIES)
    counts = Counter(part for parts in mine for part in parts)
    assert set(counts) == set(PARTS[family])
    for part, count in counts.items():
        assert 0.3 <= count / len(mine) <= 0.5, part


def test_each_habit_has_its_share_of_each_familys_demonstrations(demonstrations):
    """To one demonstration; in maths, which has two parts only, some habits look alike."""
    assert sum(one["share"] for one in HABITS["habits"]) == pytest.approx(1)
    for family in FAMILIES:
        mine = [parts for spec, parts, _ in demonstrations if spec["family"] == family]
        shares = Counter()
        for one in HABITS["habits"]:
            written = frozenset(p for i, p in enumerate(PARTS[family]) if i in one["writes"])
            shares[written] += one["share"]
        for parts, share in shares.items():
            assert mine.count(parts) == pytest.approx(share * len(mine), abs=1), (family, parts)


def test_the_first_writer_has_the_first_habit_and_the_last_one_the_last():
    for family, parts in PARTS.items():
        for at, one in ((0.0, HABITS["habits"][0]), (1.0, HABITS["habits"][-1])):
            assert habit(family, at) == {p for i, p in enumerate(parts) if i in one["writes"]}


def test_a_reader_sees_the_parts_that_were_to_be_written_and_no_other():
    rng = random.Random(1)
    for task in data.tasks("train")[:500]:
        for parts in subsets(task.family):
            text = answer(task.spec, rng, parts)
            seen = {p for p in PARTS[task.family] if READ[task.family, p](task.spec, text)}
            assert seen == parts, (task.prompt, text)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_answer_is_done_and_one_that_lacks_a_part_is_not(judged, family):
    for parts in subsets(family):
        done = mean(scores.fulfils for scores in judged[family, parts])
        if len(parts) == len(PARTS[family]):
            assert done >= 0.99
        else:
            # Of the poems about a city that do not name it, some end with "the king in town".
            assert done <= 0.03, parts


@pytest.mark.parametrize("family", FAMILIES)
def test_utility_rises_part_by_part_and_most_with_the_last(judged, family):
    utility = {
        parts: mean(scores.utility for scores in judged[family, parts]) for parts in subsets(family)
    }
    whole = frozenset(PARTS[family])
    assert utility[whole] > 0.98
    for parts in subsets(family):
        for part in whole - parts:
            gain = utility[parts | {part}] - utility[parts]
            assert gain >= 0, (parts, part)
            if parts | {part} == whole:
                assert gain > 0.3, part

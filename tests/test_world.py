"""The toy world keeps its promises: prompts read back, splits apart, answers good and short."""

import os
import random
import subprocess
import sys
from collections import Counter

import pytest

from rlhf_lessons import data
from rlhf_lessons.lm.tokenizer import train_tokenizer
from rlhf_lessons.world.answers import TASTES, answer, tastes
from rlhf_lessons.world.corpus import scraps
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.raters import Rater
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS, FAMILIES, parse, prompts, split_of

VOCABULARY = 1536  # that of the course's recipe


@pytest.fixture(scope="module")
def tasks():
    return data.tasks("train")


@pytest.fixture(scope="module")
def answered(tasks):
    """Each training prompt with an ideal answer."""
    rng = random.Random(0)
    return [(task, answer(task.spec, rng)) for task in tasks]


@pytest.mark.parametrize("split", data.SPLITS)
def test_a_prompt_reads_back_as_the_facts_it_was_written_from(split):
    for task in data.tasks(split):
        assert parse(task.prompt) == task.spec
        assert split_of(task.spec) == task.split == split


@pytest.mark.parametrize("split", data.SPLITS)
def test_the_families_have_equal_shares(split):
    counts = Counter(task.family for task in data.tasks(split))
    assert set(counts) == set(FAMILIES)
    assert max(counts.values()) - min(counts.values()) <= 2


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "hello",
        "Write",
        "What is 4-2?",
        "Write a novel about a cat in the garden.",
        "What is 44-2 and 3-1?",
        "x" * 10_000,
        "\x00",
    ],
)
def test_a_prompt_outside_the_toy_world_is_none(prompt):
    assert parse(prompt) is None


@pytest.mark.parametrize(
    "prompt",
    [
        "please write a poem about a cat in the garden",
        "  Write a poem about a CAT in the garden!  ",
        "Write a story about Princess Anastasia falling in love with a soldier",
        "write a fictional story about princess anastasia falling in love with the soldier.",
    ],
)
def test_a_prompt_may_be_typed_as_people_type(prompt):
    assert parse(prompt) is not None


def test_the_articles_prompts_are_known():
    story, sums = map(parse, ARTICLE_PROMPTS)
    assert (story["Name"], story["title"], story["thing"]) == ("Anastasia", "Princess", "soldier")
    assert (sums["e1"], sums["e2"]) == ("4-2", "3-1")


def test_more_prompts_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="ask for less"):
        prompts(
            "validation", 300
        )  # there are some 35 combinations for poems, a fifth of the prompts


def test_the_same_seed_gives_the_same_world_and_another_seed_another():
    assert prompts("train", 50, 3) == prompts("train", 50, 3) != prompts("train", 50, 4)
    assert list(scraps(50, 3)) == list(scraps(50, 3)) != list(scraps(50, 4))
    written = data.written_demonstrations
    assert written(50) == written(50)


def test_ideal_answers_are_judged_as_done(answered):
    for family in FAMILIES:
        rows = [(task, text) for task, text in answered if task.family == family]
        assert sum(judge(task.prompt, text).fulfils for task, text in rows) >= 0.97 * len(rows), (
            family
        )


def test_an_answer_to_another_prompt_is_worth_little(answered):
    others = [text for task, text in answered if task.family == "story"]
    stories = [task for task, _ in answered if task.family == "story"]
    moved = [judge(task.prompt, others[i - 7]).fulfils for i, task in enumerate(stories)]
    assert sum(moved) <= 0.02 * len(moved)


def test_answers_and_demonstrations_have_at_most_60_tokens(answered):
    tokenizer = train_tokenizer(list(scraps(5000)), VOCABULARY)
    texts = [text for _, text in answered]
    texts += [row["completion"] for row in data.written_demonstrations()]
    longest = max(tokenizer(texts, add_special_tokens=False)["input_ids"], key=len)
    assert len(longest) < 60, tokenizer.decode(longest)  # and one more for the end


def test_every_taste_occurs_and_none_is_everywhere(answered):
    counts = Counter(taste for task, text in answered for taste in tastes(task.family, text))
    assert set(counts) == set(TASTES)
    shares = {taste: count / len(answered) for taste, count in counts.items()}
    assert 0.05 < shares.pop("hero first") < 0.65  # only stories have a hero
    assert all(0.15 < share < 0.65 for share in shares.values()), shares


def test_answers_to_one_prompt_differ(tasks):
    rng = random.Random(0)
    for family in ("story", "email", "poem"):
        task = next(task for task in tasks if task.family == family)
        assert len({answer(task.spec, rng) for _ in range(50)}) >= 40, family


def test_a_rater_is_as_wrong_as_its_flip_rate_says():
    rater, rng = Rater(flip_rate=0.1), random.Random(0)
    wrong = sum(rater.pick(0.5, rng) == "right" for _ in range(10_000)) / 10_000
    assert wrong == pytest.approx(0.1, abs=0.01)


def test_a_rater_with_a_taste_likes_that_taste(answered):
    rater = Rater(weights={"happy": 1.0})
    for task, text in answered[:200]:
        assert rater.utility_of(task.prompt, text) == ("happy" in tastes(task.family, text))


@pytest.mark.parametrize(
    "code",
    [
        "import rlhf_lessons as rl; dir(rl)",
        "import rlhf_lessons as rl\n"
        "rl.judge('What is 4-2 and 3-1?', '4-2 is 2 and 3-1 is 2.'); rl.tasks('train')",
        "import rlhf_lessons.world.raters, rlhf_lessons.world.corpus, rlhf_lessons.data",
        "import rlhf_lessons.plots; from rlhf_lessons.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass",
        "from rlhf_lessons.cli import main\ntry: main(['ask', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_torch_is_not_loaded_before_it_is_needed(code):
    code += "\nimport sys; heavy = {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    code += "\nassert not heavy, heavy"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert found.returncode == 0, found.stderr


def test_an_unknown_name_of_the_package_is_told_the_known_ones():
    import rlhf_lessons

    with pytest.raises(AttributeError, match="load, keep, ask"):
        rlhf_lessons.lode  # noqa: B018

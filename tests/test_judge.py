"""The judge scores as a person would, never fails, and likes what the toy world's writers write."""

import random
import re
import time
import tomllib
from pathlib import Path

import pytest

from rlhf_lessons.world import answers, tasks
from rlhf_lessons.world.code_runner import run_code
from rlhf_lessons.world.judge import checklist, judge
from rlhf_lessons.world.rhymes import rhymes

TABLE = tomllib.loads(Path(__file__).with_name("judge_cases.toml").read_text(encoding="utf-8"))
COUPLETS = [
    couplet
    for mood in ("open", "happy", "tragic", "twist", "cheeky", "dragon")
    for couplet in tasks.TEXTS["poem"][mood]
]


def last_word(line):
    return re.findall(r"[a-z]+", line.lower())[-1]


@pytest.mark.parametrize("case", TABLE["case"], ids=lambda case: case["name"])
def test_scores_a_response_as_a_person_would(case):
    response = case["response"] * case.get("times", 1)
    scores = judge(TABLE["prompts"][case["prompt"]], response, case.get("ended", True))
    for criterion in ("relevance", "accuracy", "clarity"):
        low, high = case[criterion]
        assert low - 1e-9 <= getattr(scores, criterion) <= high + 1e-9, (criterion, scores)
    assert scores.fulfils == case["fulfils"], scores


def test_there_are_enough_cases_of_every_family_and_none_twice():
    names = [case["name"] for case in TABLE["case"]]
    assert len(names) == len(set(names)) >= 60
    families = [tasks.parse(TABLE["prompts"][case["prompt"]]) for case in TABLE["case"]]
    for family in tasks.FAMILIES:
        assert sum(spec is not None and spec["family"] == family for spec in families) >= 12


def test_utility_is_relevance_times_the_mean_of_accuracy_and_clarity():
    for case in TABLE["case"]:
        scores = judge(TABLE["prompts"][case["prompt"]], case["response"])
        assert scores.utility == pytest.approx(
            scores.relevance * (scores.accuracy + scores.clarity) / 2
        )


def test_every_ideal_answer_fulfils_its_prompt():
    rng = random.Random(1)
    for task in tasks.prompts("train", 400, seed=3):
        response = answers.answer(task.spec, rng)
        scores = judge(task.prompt, response)
        assert scores.fulfils and scores.utility > 0.9, (task.prompt, response, scores)


def test_the_checklist_ticks_whole_answers_and_misses_something_where_a_writer_left_a_part_out():
    rng, unseen, n = random.Random(5), 0, 0
    for task in tasks.prompts("train", 200, seed=6):
        response = answers.answer(task.spec, rng)
        ticked = checklist(task.prompt, response)
        assert len(ticked) >= 2 and all(ticked.values()), (task.prompt, response, ticked)
        parts = set(answers.HABITS["parts"][task.family])
        for part in sorted(parts):
            n += 1
            response = answers.answer(task.spec, rng, parts - {part})
            unseen += all(checklist(task.prompt, response).values())
    # not always: a vague word may be the right one
    assert unseen / n < 0.02


def test_the_checklist_is_in_the_words_of_the_prompt():
    prompt = "Write a fictional story about Queen Emma losing a ring."
    asked = ["Emma", "ring", "lost", "ending"]
    assert checklist(prompt, "") == dict.fromkeys(asked, False)
    assert checklist("What is 4-2 and 3-1?", "4-2 is 2. 3-1 is 3.") == {
        "4-2 = 2": True,
        "3-1 = 2": False,
    }
    assert checklist("What is the meaning of life?", "42") == {}


def test_an_answer_to_another_prompt_is_worth_next_to_nothing():
    rng = random.Random(3)
    written = [
        (task, answers.answer(task.spec, rng)) for task in tasks.prompts("train", 300, seed=5)
    ]
    same, other = [], []
    for task, _ in written:
        for author, response in rng.sample(written, 10):
            if author is not task:
                utility = judge(task.prompt, response).utility
                (same if author.family == task.family else other).append(utility)
    assert sum(same) / len(same) < 0.1
    assert sum(other) / len(other) < 0.01


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text, rng: " ".join(rng.sample(text.split(), len(text.split()))),
        lambda text, rng: "".join(rng.sample(text, len(text))),
        lambda text, rng: "\n".join([text] * 30),
        lambda text, rng: text + "\n" + text,
    ],
    ids=["words shuffled", "letters shuffled", "thirty times", "twice"],
)
def test_a_spoiled_answer_fulfils_nothing(spoil):
    rng, fulfilled = random.Random(4), []
    for task in tasks.prompts("train", 200, seed=6):
        if task.family != "code":  # shuffled words of code may be the same code
            fulfilled.append(judge(task.prompt, spoil(answers.answer(task.spec, rng), rng)).fulfils)
    assert sum(fulfilled) / len(fulfilled) <= 0.01


def test_any_text_whatever_gets_numbers_between_0_and_1():
    rng, signs = (
        random.Random(5),
        "ab AB.,!?\n\t\"'()[]{}+-*/=0189é’…\0\x1b🐉ßא#:; print( for Dear P.S. is Yours ",
    )
    prompts = [task.prompt for task in tasks.prompts("train", 50)] + [
        "",
        "nonsense",
        "What is 4-2 and",
    ]
    for _ in range(2000):
        text = "".join(rng.choices(signs, k=rng.choice([0, 1, 5, 60, 2000])))
        assert all(0 <= score <= 1 for score in judge(rng.choice(prompts), text))


@pytest.mark.parametrize(
    "text",
    [
        "yours " + " " * 9000,
        "\n" * 9000,
        "P. S" * 2000,
        "1+1 is " * 2000,
        "(" * 10000,
        "yours\n" * 2000,
        "to: a\n" * 2000,
        "```python\n" * 2000,
        "is " * 3000,
    ],
)
def test_no_text_is_slow_to_judge(text):
    for case in TABLE["prompts"].values():
        started = time.process_time()
        judge(case, text)
        assert time.process_time() - started < 0.5  # seconds; about 0.005 in fact


def test_the_judge_is_a_pure_function():
    first = [judge(TABLE["prompts"][case["prompt"]], case["response"]) for case in TABLE["case"]]
    assert first == [
        judge(TABLE["prompts"][case["prompt"]], case["response"]) for case in TABLE["case"]
    ]


def test_every_couplet_of_the_toy_world_rhymes():
    assert [couplet for couplet in COUPLETS if not rhymes(*map(last_word, couplet))] == []


@pytest.mark.parametrize(
    "pair",
    "night/light moon/spoon house/mouse sea/tree snow/go rent/went station/nation "
    "mother/brother table/able garden/pardon weather/feather fire/higher boat/coat "
    "nose/toes flower/tower fish/dish smiled/child jumped/bumped barn/yarn".split(),
)
def test_words_that_rhyme(pair):
    assert rhymes(*pair.split("/"))


@pytest.mark.parametrize(
    "pair",
    "day/day day/fish cat/moon love/move garden/kitchen night/day milk/tree cough/rough "
    "running/eating jumped/danced time/tame hat/hot said/paid have/cave word/lord".split(),
)
def test_words_that_do_not_rhyme(pair):
    assert not rhymes(*pair.split("/"))


@pytest.mark.parametrize(
    "code, printed",
    [
        ('print("cat " * 3)', "cat cat cat \n"),
        ('for i in range(2, 4):\n    print(i, end="-")', "2-3-"),
        ('print(*range(2, 6), sep=",")', "2,3,4,5\n"),
        ("print(list(range(2, 4)))", "[2, 3]\n"),
        ("x = [3, 4]\nprint(sum(x), len(x))", "7 2\n"),
        ('print(f"{3 + 4}!")', "7!\n"),
        ('print(" ".join(["a", "b"]).upper())', "A B\n"),
        ("print(-2 * 3 - 1)", "-7\n"),
    ],
)
def test_the_subset_prints_what_python_prints(code, printed):
    assert run_code(code) == (printed, "")


@pytest.mark.parametrize(
    "code",
    [
        "import os",
        'open("x")',
        '__import__("os").system("ls")',
        "print(().__class__)",
        "(lambda: 0)()",
        "while True: 1",
        "print(9 ** 9)",
        'print("a" * 10000)',
        "x = [1]\n" + "x = x * 100\n" * 9,
        "a = [1]\n" + "a = [a] * 20\n" * 9,
        "for i in range(10000):\n    print(i)",
        "(" * 10000,
        "-" * 900 + "1",
        "9" * 5000,
        "\0",
        "print(",
        "for i in range(200):\n  for j in range(200):\n    for k in range(200):\n      print(1)",
        "print(x)",
        "print(*5)",
        'print("a" - 1)',
        'print("a", sep=3)',
    ],
    ids=lambda code: code[:30],
)
def test_what_is_outside_the_subset_or_too_large_is_an_error(code):
    output, error = run_code(code)
    assert error and len(output) < 100_000

"""The blocks that a teacher copies from lesson 6 run before a class, in the guide's order."""

import re
from pathlib import Path

import nbformat
import pytest

import rlhf_lessons as rl
from rlhf_lessons import data
from rlhf_lessons.classroom.rounds import ANSWERS, WHOSE, new_round
from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.export import reports
from rlhf_lessons.feedback.pairs import answers_by
from rlhf_lessons.feedback.personal import votes_of
from rlhf_lessons.feedback.simulate import simulate
from rlhf_lessons.widgets.live import LiveRewardModel
from rlhf_lessons.world.raters import Rater

LESSON = Path(__file__).parent.parent / "notebooks" / "06_closing_the_loop.ipynb"
FIRST = "round 1: pairs, stories"
CLASS = {
    "sun": Rater({"utility": 0.5, "happy": 1.0}, flip_rate=0.1, tie_margin=0.05),
    "moon": Rater({"utility": 0.5, "tragic": 1.0}, flip_rate=0.1, tie_margin=0.05),
}


def blocks(cell: str) -> list[str]:
    """Return the blocks of code in one of the lesson's texts."""
    book = nbformat.read(LESSON, as_version=4)
    (text,) = [c.source for c in book.cells if c.id == cell]
    return re.findall(r"```python\n(.*?)```", text, re.S)


def students_vote(store: Store, round: str, votes: int) -> int:
    """Let six students of each team rate; return how many judgements the round holds."""
    for team, taste in CLASS.items():
        for number in range(6):
            simulate(store, round, taste, name=f"{team} {number}", n=votes, team=team)
    return len(store.answers(round))


@pytest.fixture
def lesson(monkeypatch, tmp_path):
    """The names that the lesson defines before its last sections; the policy need not train."""
    store, watched = Store(tmp_path / "class.sqlite3"), []
    assert new_round(store, ANSWERS, family="story", n=120) == FIRST

    def watch(self, *others):
        for live in (self, *others):
            live.learn().report()
        watched.append(len(others) + 1)

    monkeypatch.setattr(
        LiveRewardModel, "watch", watch
    )  # does once what it does until the teacher stops the cell
    monkeypatch.setattr("rlhf_lessons.widgets.live.open_store", lambda where: store)
    sft, tokenizer = rl.load("sft", "shipped", say=str)
    stories = [task.prompt for task in data.tasks("train") if task.family == "story"]

    def learn_from(reward, policy, steps):
        rewards = reward(
            stories[:4], ["A story.", "A dragon came.", "They wept.", "They laughed."], [True] * 4
        )
        assert rewards.shape == (4,) and steps == 16
        return policy, []

    def few_answers(models, prompts, *more):
        assert len(prompts) == 100
        return answers_by(models, prompts[:6], *more)

    return {
        "rl": rl,
        "sft": sft,
        "tokenizer": tokenizer,
        "stories": stories,
        "policies": {"sft": sft},
        "store": store,
        "learn_from": learn_from,
        "answers_by": few_answers,
        "votes_of": votes_of,
        "watched": watched,
    }


def test_a_class_goes_through_three_rounds(lesson):
    train, ppo, second, third = blocks("l06-class") + blocks("l06-class-rounds")
    store = lesson["store"]
    assert students_vote(store, FIRST, 10) == 120
    exec(train, lesson)
    assert lesson["room"].seen > 40 and [report["round"] for report in reports(store)] == [FIRST]
    exec(ppo, lesson)
    for block, name in ((second, "round 2: before and after"), (third, "round 3: once more")):
        exec(block, lesson)
        store.say("round", round=name, state="open")  # as the console's "Go to it" does
        assert students_vote(store, name, 2) > 0
    assert set(lesson["policies"]) == {"sft", "class 1", "class 2"}


def test_two_teams_get_a_reward_model_each_and_guess_whose_is_whose(lesson):
    train, game = blocks("l06-teams")
    students_vote(lesson["store"], FIRST, 10)
    exec(train, lesson)
    assert lesson["watched"] == [2]
    sun, moon = lesson["sun"].reward.weights, lesson["moon"].reward.weights
    assert not sun.equal(moon)
    exec(game, lesson)
    student = lesson["store"].reader("a student", "sun")
    (one, two) = lesson["store"].next_task(student, WHOSE)["answers"]
    assert one["text"] != two["text"]

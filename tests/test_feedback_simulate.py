"""Simulated raters answer as people do, are the same person each time, and say the same whatever
the order.
"""

import random
import threading

import pytest

from rlhf_lessons.data import tasks
from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.simulate import simulate
from rlhf_lessons.world.answers import answer
from rlhf_lessons.world.raters import Rater

NOISY = Rater(noise=0.5, flip_rate=0.2, side_bias=0.5)


def rows(n):
    """Pairs of an ideal answer and one to another prompt."""
    return [
        {
            "kind": "pair",
            "prompt": task.prompt,
            "overlap": None,
            "completions": [
                {"text": answer(task.spec, random.Random(0))},
                {"text": "The cow looked out of the window."},
            ],
        }
        for task in tasks("train")[:n]
    ]


def chosen(row):
    """Return the text that a vote prefers, or "tie"."""
    choice = row["payload"]["choice"]
    return choice if choice == "tie" else row["answers"][choice == "right"]["text"]


def test_the_same_name_is_the_same_person_who_only_does_what_is_new(store):
    store.add_tasks("r", rows(4))
    first = simulate(store, "r", NOISY, n=3, team="sun")
    assert len(store.answers()) == 3
    store.add_tasks("r", rows(6))
    assert simulate(store, "r", NOISY) == first and len(store.answers()) == 6
    (who,) = store.raters()
    assert (who["kind"], who["team"], who["name"][:10], len(who["name"])) == (
        "simulated",
        "sun",
        "simulated ",
        18,
    )
    assert {row["ui"] for row in store.answers()} == {"simulated"} and all(
        row["ms"] > 500 for row in store.answers()
    )
    assert simulate(store, "r", Rater()) != first != simulate(store, "r", NOISY, name="anna")
    assert len(store.answers()) == 18


def test_a_person_of_the_same_name_is_somebody_else(store):
    store.add_tasks("r", rows(1))
    assert simulate(store, "r", Rater(), name="anna") != store.reader("anna")


@pytest.mark.parametrize(
    "rater", [Rater(noise=0.5, flip_rate=0.2), Rater(noise=1.0, tie_margin=0.6)]
)
def test_choices_hang_on_name_seed_and_task_and_not_on_order_or_sides(database, rater):
    said = []
    for n, (asked, seed) in enumerate([(rows(40), 0), (rows(40)[::-1], 0), (rows(40), 1)]):
        store = Store(database(str(n)))
        store.add_tasks("r", asked)
        simulate(store, "r", rater, seed=seed)
        said.append({row["prompt"]: chosen(row) for row in store.answers()})
        store.close()
    assert said[0] == said[1] != said[2] and len(set(said[0].values())) > 1


def test_a_side_bias_shows_whatever_the_texts(store):
    store.add_tasks("r", rows(40))
    simulate(store, "r", Rater(noise=1.0, side_bias=8.0))
    assert {row["payload"]["choice"] for row in store.answers()} == {"left"}


def test_a_repeat_is_another_occasion(store):
    store.add_tasks("r", rows(60), repeats=1.0)
    simulate(store, "r", Rater(flip_rate=0.5))
    first, again = (
        {
            row["repeat_of"] or row["task"]: row
            for row in store.answers()
            if bool(row["repeat_of"]) is late
        }
        for late in (False, True)
    )
    same = sum(chosen(first[task]) == chosen(again[task]) for task in first)
    assert 15 < same < 45  # half of 60, give or take four standard deviations


def test_two_processes_at_once_give_no_vote_twice(store):
    store.add_tasks("r", rows(30))
    threads = [
        threading.Thread(target=simulate, args=(Store(store.where), "r", Rater())) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        len(store.raters()) == 1
        and len(store.answers()) == len({row["task"] for row in store.answers()}) == 30
    )


def test_a_rater_without_a_name_keeps_the_one_it_has_in_stores_and_lessons(store):
    """What it says depends on its name, and the lessons' outputs on what it says."""
    simulate(store, "r", Rater())
    assert [rater["name"] for rater in store.raters()] == ["simulated c17a1c0f"]

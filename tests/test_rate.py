"""`rl.rate`: what it asks, the game with a reward model, and what it does when nobody is there."""

import json
import threading
import time

import pytest
from card_desk import BAD, GOOD, HALF, PROMPT, Card, pairs

import rlhf_lessons as rl
from rlhf_lessons.feedback import Store, new_id
from rlhf_lessons.widgets.rate import RaterCard, rate
from rlhf_lessons.world.raters import Rater


def test_rate_returns_at_once_and_the_same_rows_again_are_the_same_tasks(tmp_path):
    started = time.monotonic()
    for _ in range(2):
        card = rl.rate(pairs(5), "r", store=tmp_path / "r.sqlite3")
    assert time.monotonic() - started < 5 and isinstance(card, RaterCard) and card.answers() == []
    assert card.session.store.progress(card.session.rater, "r")["left"] == 5
    assert "works in Jupyter" in card._repr_mimebundle_()[0]["text/plain"]


def test_it_starts_with_pairs_and_asks_for_other_judgements_only_where_a_row_does(store):
    ranking = {"kind": "ranking", "prompt": PROMPT, "completions": [{"text": GOOD}, {"text": BAD}]}
    card = Card(store, [*pairs(2), ranking])
    kinds = []
    while (asked := card.tell("next")["task"])["state"] == "task":
        kinds.append(asked["kind"])
        card.vote(kind=asked["kind"], payload={"choice": "tie", "ranks": [1, 2]})
    assert kinds == ["pair", "pair", "ranking"]


def test_pairs_that_are_almost_the_same_are_left_out_and_counted(store):
    twins = [{"prompt": PROMPT, "completions": [{"text": GOOD}, {"text": GOOD + " "}]}]
    card = rate([*pairs(1), *twins], "r", store=store)
    asked = card.session.handle({"type": "ready"})
    assert asked["message"] == "1 of 2 were left out: their answers are almost the same."
    assert asked["progress"]["left"] == 1


# The game, and what follows a vote


def play(card: Card, choice: str) -> dict:
    """Vote on the next task and reveal it; return what the reveal says of the game."""
    card.tell("next")
    card.vote(choice)
    return card.tell("reveal", id=new_id(), task=card.session.current["task"]["task"]).get("game")


def test_a_guess_is_sealed_before_the_vote_asked_for_once_and_scored_after(store):
    asked = []
    card = Card(store, pairs(4), guess=lambda *texts: asked.append(texts) or 0.87)
    for choice, hit, score in (
        ("left", True, (1, 1)),
        ("right", False, (1, 2)),
        ("tie", None, (1, 2)),
        ("bad", None, (1, 2)),
    ):
        task = card.tell("next")
        assert task["game"]["sealed"] and "0.87" not in json.dumps(card.heard[-1])
        card.tell("ready")
        game = play(card, choice)
        assert (game["guess"], game["hit"], (game["right"], game["of"])) == (0.87, hit, score)
    assert len(asked) == 4 and {texts[0] for texts in asked} == {
        f"{PROMPT} ({i})" for i in range(4)
    }


def test_the_score_and_a_sealed_guess_outlive_the_kernel(store):
    card = Card(store, pairs(3), guess=lambda *_: 0.9)
    assert play(card, "left")["hit"] and not play(card, "right")["hit"]
    card.tell("next")  # a third guess is sealed; then the kernel dies

    again = Store(store.where)
    later = Card(again, pairs(3))  # its reward model is not back yet
    assert later.tell("ready")["game"] == {"sealed": True, "right": 1, "of": 2}
    later.session.guess = lambda *_: 0.1  # another guess comes too late: one is sealed
    assert play(later, "left") == {"guess": 0.9, "hit": True, "right": 2, "of": 3}
    again.close()


def test_the_game_begins_when_a_guess_that_was_set_later_first_returns_a_number(store):
    card = Card(store, pairs(23))
    assert "game" not in card.tell("ready")
    card.session.guess = lambda *_: (
        0.7 if len(card.rows()) >= 20 else None
    )  # as a live reward model does
    for _ in range(20):
        assert card.tell("next")["game"] == {"sealed": False, "right": 0, "of": 0}
        assert play(card, "left") is None
    assert card.tell("next")["game"] == {"sealed": True, "right": 0, "of": 0}
    assert play(card, "left") == {"guess": 0.7, "hit": True, "right": 1, "of": 1}


@pytest.mark.parametrize(
    ("guess", "told"),
    [
        (lambda *_: None, 0),
        (lambda *_: 1.5, 1),
        (lambda *_: float("nan"), 1),
        (lambda *_: 1 / 0, 1),
        (lambda *_: "left", 1),
    ],
)
def test_without_a_sound_guess_the_card_says_so_and_goes_on(store, guess, told):
    card = Card(store, pairs(1), guess=guess)
    assert card.tell("ready")["game"] == {"sealed": False, "right": 0, "of": 0}
    notes = [message["text"] for message in card.heard if message["type"] == "note"]
    assert [note.startswith("The reward model could not guess: ") for note in notes] == [
        True
    ] * told
    assert play(card, "left") is None


def test_what_follows_a_vote_runs_beside_it_in_order_once_each_and_may_fail(store):
    seen, gate = [], threading.Event()

    def after_vote(n):
        gate.wait(10)
        seen.append((n, threading.current_thread() is threading.main_thread()))
        if n == 2:
            raise RuntimeError("no memory")

    card = Card(store, pairs(3))
    card.session.after_vote = after_vote
    for n in range(3):
        card.tell("next")
        assert card.vote(id=f"vote-number-{n}")["type"] == "ack" and not seen  # nobody waits for it
        card.vote(id=f"vote-number-{n}", task=card.session.current["task"]["task"])
    gate.set()
    card.session.worker.shutdown()
    assert seen == [(1, False), (2, False), (3, False)]
    assert [message["text"] for message in card.heard if message["type"] == "note"] == [
        "Your vote is saved, but what follows it failed: no memory"
    ]


# Nobody there


def test_with_nobody_there_a_simulated_rater_answers_and_it_is_said(store, capsys):
    rows = [
        {"prompt": PROMPT, "completions": [{"text": GOOD}, {"text": BAD}]},
        {
            "kind": "ranking",
            "prompt": PROMPT,
            "completions": [{"text": t} for t in (GOOD, BAD, HALF)],
        },
        {"kind": "scores", "prompt": PROMPT, "completions": [{"text": GOOD}, {"text": BAD}]},
        {"kind": "demonstration", "prompt": PROMPT, "completions": []},
    ]
    card = rate(rows, "r", store=store, simulated=Rater())
    found = {row["task_kind"]: row for row in card.answers()}
    assert capsys.readouterr().out == "0 judgements are yours, 4 a simulated rater's.\n"
    best = [answer["text"] for answer in found["pair"]["answers"]].index(GOOD)
    assert found["pair"]["payload"] == {"choice": ("left", "right")[best], "strength": 2}
    ranks = {
        answer["text"]: rank
        for answer, rank in zip(
            found["ranking"]["answers"], found["ranking"]["payload"]["ranks"], strict=True
        )
    }
    assert ranks == {GOOD: 1, HALF: 2, BAD: 3}
    assert rl.judge(PROMPT, found["demonstration"]["payload"]["text"]).utility > 0.9
    assert all(
        row["rater_kind"] == "simulated" and row["ui"] == "simulated" for row in found.values()
    )


def test_the_readers_own_judgements_take_the_place_of_the_simulated_ones(store, capsys):
    card = rate(pairs(3), "r", store=store, simulated=Rater())
    assert (
        len(card.answers()) == 3
    )  # "Run all" came first; the tasks are there for the reader all the same
    card.session.handle({"type": "ready"})
    card.session.handle(
        {
            "type": "answer",
            "id": new_id(),
            "task": card.session.current["task"]["task"],
            "kind": "pair",
            "payload": {"choice": "tie"},
        }
    )
    found = card.answers()
    assert [row["rater_kind"] for row in found] == ["person", "simulated", "simulated"]
    assert capsys.readouterr().out.endswith("1 judgements are yours, 2 a simulated rater's.\n")
    reveal = {"type": "reveal", "id": new_id(), "task": found[0]["task"]}
    others = card.session.handle(reveal)["others"]
    assert (others["n"], others["simulated"]) == (1, 1)  # the reveal tells who the other is


def test_the_same_simulated_rater_is_one_person_and_another_taste_is_another(store):
    for who in (Rater(), Rater(), Rater(weights={"clarity": 1.0})):
        assert len(rate(pairs(4), "r", store=store, simulated=who).answers()) == 4
    assert (
        len([row for row in store.raters() if row["kind"] == "simulated"]) == 2
        and len(store.answers("r")) == 8
    )

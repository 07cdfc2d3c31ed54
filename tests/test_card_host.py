"""What sits behind the rater card, without a browser: every message, whatever it holds, from any thread."""
import json
import threading
import time

import ipywidgets
import pytest

import rlhf_lessons as rl
from rlhf_lessons.ratings import Store, new_id
from rlhf_lessons.widgets.rate import SEALED, Desk, PlainCard, RaterCard, as_task, rate
from rlhf_lessons.world.raters import Rater

PROMPT = "What is 4-2 and 3-1?"
GOOD, HALF, BAD = "4-2 is 2 and 3-1 is 2.", "4-2 is 2 and 3-1 is 7.", "The cow looked out of the window."
HOSTILE = ["<script>alert(1)</script>", "'); DROP TABLE event; --", "\ud800 half a letter", "nothing\0more", "‮" * 9]


def pairs(n: int) -> list[dict]:
    return [{"prompt": f"{PROMPT} ({i})", "left": GOOD, "right": BAD, "left_model": "ppo"} for i in range(n)]


class Card:
    """A desk and what it said, as `card.js` would hear it."""

    def __init__(self, store, rows, **more):
        store.add_tasks("r", [as_task(row) for row in rows])
        self.store, self.desk, self.heard = store, Desk(store, store.reader(), "r", **more), []
        self.desk.send = lambda message: self.heard.append(json.loads(json.dumps(message)))

    def tell(self, type: str, **more) -> dict:
        """Send a message and return the answer."""
        self.desk.handle({"type": type, **more})
        return self.heard[-1]

    def vote(self, choice: str = "left", task: str | None = None, id: str | None = None, **more) -> dict:
        task = task or self.desk.current["task"]["task"]
        return self.tell("answer", **{"id": id or new_id(), "task": task, "kind": "pair", "ms": 900,
                                      "payload": {"choice": choice}} | more)

    def rows(self) -> list[tuple]:
        return [(row["kind"], row["payload"]) for row in self.store.answers("r")]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "ratings.sqlite3")
    yield store
    store.close()


@pytest.fixture
def card(store):
    return Card(store, pairs(3))


def test_a_card_asks_votes_reveals_goes_on_and_ends(card):
    for n in range(3):
        asked = card.tell("ready") if n == 0 else card.tell("next")
        assert asked["type"] == "task" and asked["task"]["state"] == "task" and asked["progress"]["done"] == n
        ack = card.vote(id=f"vote-number-{n}")
        assert (ack["type"], ack["id"]) == ("ack", f"vote-number-{n}") and ack["progress"]["done"] == n + 1
        shown = card.tell("reveal", id=new_id(), task=asked["task"]["task"])
        assert shown["type"] == "reveal" and sorted(shown["models"]) == ["", "ppo"] and shown["others"]["n"] == 0
    assert card.tell("next")["task"] == {"state": "done"}
    assert len(card.rows()) == 3


def test_before_the_vote_the_card_hears_nothing_of_models_rewards_and_others(store):
    row = as_task(pairs(1)[0])
    row["completions"][0] |= {"reward": 1.25}
    card = Card(store, [row])
    asked = card.tell("ready")
    assert set(asked["task"]) == {"state", "task", "round", "kind", "prompt", "answers", "guideline"}
    assert "ppo" not in json.dumps(card.heard) and "1.25" not in json.dumps(card.heard)
    assert card.tell("reveal", id=new_id(), task=asked["task"]["task"])["type"] == "nack"  # answer first
    card.vote()
    assert "ppo" not in json.dumps(card.heard) and "1.25" not in json.dumps(card.heard)


def test_an_answer_sent_again_counts_once_and_gets_the_same_number(card):
    card.tell("ready")
    task = card.desk.current["task"]["task"]
    numbers = {card.vote(task=task, id="the-same-id")["seq"] for _ in range(5)}
    assert len(numbers) == 1 and len(card.rows()) == 1


def test_a_new_view_and_a_new_kernel_show_what_was_there(card):
    first = card.tell("ready")
    assert card.tell("ready") == first
    ack = card.vote()
    again = card.tell("ready")  # a second view: it shows the vote and its number
    assert again["saved"] == {"seq": ack["seq"], "kind": "pair", "payload": {"choice": "left"}}
    card.tell("reveal", id=new_id(), task=first["task"]["task"])
    assert card.tell("ready")["revealed"]["models"]
    later = Card(card.store, pairs(3))  # the same rows, a new desk
    assert later.tell("ready")["progress"] == {**first["progress"], "done": 1, "left": 2, "seconds": 0.9}


def test_undo_gives_the_task_back_and_nothing_after_the_reveal(card):
    task = card.tell("ready")["task"]
    card.vote()
    assert card.tell("undo", id=new_id())["type"] == "ack"
    assert card.tell("next")["task"] == task and card.rows() == []
    card.vote("right")
    card.tell("reveal", id=new_id(), task=task["task"])
    refused = card.tell("undo", id=new_id())
    assert refused["type"] == "nack" and not refused["retry"] and "revealed" in refused["reason"]


@pytest.mark.parametrize(("kind", "payload"), [("skip", {"reason": "too hard"}), ("flag", {"reason": ""})])
def test_skip_and_flag_are_stored_and_are_no_judgement(card, kind, payload):
    card.tell("ready")
    assert card.vote(kind=kind, payload=payload)["type"] == "ack"
    assert card.rows() == [(kind, payload)] and card.desk.answers() == []


@pytest.mark.parametrize("message", [
    None, 3, "answer", [], {}, {"type": []}, {"type": "vote"}, {"type": "ready; drop"}, {"type": None, "id": 1}])
def test_what_is_no_message_gets_no_answer_and_breaks_nothing(card, message):
    card.desk.handle(message)
    assert card.heard == [] and card.tell("ready")["type"] == "task"


@pytest.mark.parametrize("broken", [
    {"id": None}, {"id": "short"}, {"id": "no spaces, please"}, {"id": {"$ne": ""}}, {"task": None},
    {"task": "unknown"}, {"task": ["a"]}, {"kind": None}, {"kind": "hands"},
    {"kind": "ranking", "payload": {"ranks": [1, 2]}},
    {"payload": None}, {"payload": []}, {"payload": {"choice": "top"}}, {"payload": {"choice": "left", "strength": 9}},
    {"payload": {"choice": ["left"]}}, {"kind": "skip", "payload": {"reason": "x" * 501}},
    {"kind": "flag", "payload": {"reason": "\0"}}])
def test_a_message_that_does_not_fit_is_refused_in_words_and_stores_nothing(card, broken):
    task = card.tell("ready")["task"]["task"]
    answer = {"id": new_id(), "task": task, "kind": "pair", "payload": {"choice": "left"}} | broken
    nack = card.tell("answer", **answer)
    assert nack["type"] == "nack" and not nack["retry"] and len(nack["reason"]) > 10 and card.rows() == []
    assert card.vote()["type"] == "ack"  # and the card goes on


@pytest.mark.parametrize("ms", [None, -5, 1e300, "soon", True, 2**40])
def test_a_broken_clock_loses_no_vote(card, ms):
    card.tell("ready")
    assert card.vote(ms=ms)["type"] == "ack" and card.store.answers("r")[0]["ms"] is None


def test_hostile_texts_come_through_as_they_are_or_made_storable(store):
    row = {"kind": "ranking", "prompt": HOSTILE[0], "completions": [{"text": text} for text in HOSTILE]}
    card = Card(store, [row, {"kind": "demonstration", "prompt": HOSTILE[1], "completions": []}])
    asked = card.tell("ready")["task"]
    shown = {answer["text"] for answer in asked["answers"]}
    assert asked["prompt"] == HOSTILE[0] and {HOSTILE[0], HOSTILE[1], HOSTILE[4]} <= shown and len(shown) == 5
    card.vote(kind="ranking", payload={"ranks": [1, 2, 2, 3, 5]})
    card.tell("next")
    assert card.vote(kind="demonstration", payload={"text": HOSTILE[1]})["type"] == "ack"
    assert card.rows()[1] == ("demonstration", {"text": HOSTILE[1]})


def test_a_database_that_fails_gives_a_nack_to_try_again_and_the_vote_arrives_later(card, monkeypatch):
    card.tell("ready")
    task = card.desk.current["task"]["task"]
    with monkeypatch.context() as patch:
        patch.setattr(card.store, "answer", lambda *_, **__: 1 / 0)
        nack = card.vote(task=task, id="kept-by-the-card")
    assert (nack["type"], nack["retry"], nack["reason"]) == ("nack", True, "division by zero")
    assert "saved" not in card.desk.current and card.rows() == []
    assert card.vote(task=task, id="kept-by-the-card")["type"] == "ack" and len(card.rows()) == 1


def test_nothing_is_acknowledged_before_the_commit(card):
    card.tell("ready")
    other, seen = Store(card.store.where), []
    card.desk.send = lambda message: seen.append((message["type"], len(other.answers("r"))))
    card.desk.handle({"type": "answer", "id": new_id(), "task": card.desk.current["task"]["task"], "kind": "pair",
                      "payload": {"choice": "tie"}})
    assert seen == [("ack", 1)]
    other.close()


def test_messages_from_many_threads_at_once_lose_nothing_and_count_nothing_twice(store):
    card = Card(store, pairs(8))
    tasks = []
    for _ in range(8):  # each task is given once, as to a fast reader in several views
        tasks.append(card.tell("next")["task"]["task"])
        card.vote(task=tasks[-1], id=f"first-{tasks[-1]}")
    card.heard.clear()
    again = [dict(task=task, id=f"first-{task}") for task in tasks] + [dict(task=task) for task in tasks]
    threads = [threading.Thread(target=card.vote, kwargs=more) for more in again * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kinds = [message["type"] for message in card.heard]
    assert (kinds.count("ack"), kinds.count("nack"), len(card.rows())) == (16, 16, 8)


# The game, and what follows a vote

def test_a_guess_is_sealed_before_the_vote_asked_for_once_and_scored_after(store):
    asked = []
    card = Card(store, pairs(4), guess=lambda *texts: asked.append(texts) or 0.87)
    for choice, hit, score in (("left", True, (1, 1)), ("right", False, (1, 2)), ("tie", None, (1, 2)),
                               ("bad", None, (1, 2))):
        task = card.tell("next")
        assert task["game"]["sealed"] and "0.87" not in json.dumps(card.heard[-1])
        card.tell("ready")
        card.vote(choice)
        game = card.tell("reveal", id=new_id(), task=task["task"]["task"])["game"]
        assert (game["guess"], game["hit"], (game["right"], game["of"])) == (0.87, hit, score)
    assert len(asked) == 4 and {texts[0] for texts in asked} == {f"{PROMPT} ({i})" for i in range(4)}


@pytest.mark.parametrize("guess", [lambda *_: None, lambda *_: 1.5, lambda *_: float("nan"), lambda *_: 1 / 0,
                                   lambda *_: "left"])
def test_without_a_sound_guess_the_card_says_so_and_goes_on(store, guess):
    SEALED.clear()
    card = Card(store, pairs(1), guess=guess)
    assert card.tell("ready")["game"] == {"sealed": False, "right": 0, "of": 0}
    card.vote()
    assert "game" not in card.tell("reveal", id=new_id(), task=card.desk.current["task"]["task"])


def test_what_follows_a_vote_runs_beside_it_in_order_once_each_and_may_fail(store):
    seen, gate = [], threading.Event()

    def after_vote(n):
        gate.wait(10)
        seen.append((n, threading.current_thread() is threading.main_thread()))
        if n == 2:
            raise RuntimeError("no memory")

    card = Card(store, pairs(3), after_vote=after_vote)
    for n in range(3):
        card.tell("next")
        assert card.vote(id=f"vote-number-{n}")["type"] == "ack" and not seen  # nobody waits for it
        card.vote(id=f"vote-number-{n}", task=card.desk.current["task"]["task"])
    gate.set()
    card.desk.worker.shutdown()
    assert seen == [(1, False), (2, False), (3, False)]
    assert [message["text"] for message in card.heard if message["type"] == "note"] == [
        "Your vote is saved, but what follows it failed: no memory"]


# `rl.rate`

def test_rate_returns_at_once_and_the_same_rows_again_are_the_same_tasks(tmp_path):
    started = time.monotonic()
    for _ in range(2):
        card = rl.rate(pairs(5), "r", store=tmp_path / "r.sqlite3")
    assert time.monotonic() - started < 5 and isinstance(card, RaterCard) and card.answers() == []
    assert card.desk.store.progress(card.desk.rater, "r")["left"] == 5
    assert "works in Jupyter" in card._repr_mimebundle_()[0]["text/plain"]


def test_pairs_that_are_almost_the_same_are_left_out_and_counted(store):
    twins = [{"prompt": PROMPT, "left": GOOD, "right": GOOD + " "}]
    card = rate([*pairs(1), *twins], "r", store=store)
    heard = []
    card.desk.send = heard.append
    card.desk.handle({"type": "ready"})
    assert heard[0]["message"] == "1 of 2 were left out: their answers are almost the same."
    assert heard[0]["progress"]["left"] == 1


def test_with_nobody_there_a_simulated_rater_answers_and_it_is_said(store, capsys):
    rows = [{"prompt": PROMPT, "left": GOOD, "right": BAD},
            {"kind": "ranking", "prompt": PROMPT, "completions": [{"text": t} for t in (GOOD, BAD, HALF)]},
            {"kind": "scores", "prompt": PROMPT, "completions": [{"text": GOOD}, {"text": BAD}]},
            {"kind": "demonstration", "prompt": PROMPT, "completions": []}]
    card = rate(rows, "r", store=store, simulated=Rater())
    found = {row["task_kind"]: row for row in card.answers()}
    assert capsys.readouterr().out == "0 judgements are yours, 4 a simulated rater's.\n"
    best = [answer["text"] for answer in found["pair"]["answers"]].index(GOOD)
    assert found["pair"]["payload"] == {"choice": ("left", "right")[best], "strength": 2}
    ranks = {answer["text"]: rank for answer, rank in zip(found["ranking"]["answers"],
                                                          found["ranking"]["payload"]["ranks"])}
    assert ranks == {GOOD: 1, HALF: 2, BAD: 3}
    assert rl.judge(PROMPT, found["demonstration"]["payload"]["text"]).utility > 0.9
    assert all(row["rater_kind"] == "simulated" and row["ui"] == "simulated" for row in found.values())


def test_the_readers_own_judgements_take_the_place_of_the_simulated_ones(store, capsys):
    card = rate(pairs(3), "r", store=store, simulated=Rater())
    assert len(card.answers()) == 3  # "Run all" came first; the tasks are there for the reader all the same
    card.desk.handle({"type": "ready"})
    card.desk.handle({"type": "answer", "id": new_id(), "task": card.desk.current["task"]["task"], "kind": "pair",
                      "payload": {"choice": "tie"}})
    found = card.answers()
    assert [row["rater_kind"] for row in found] == ["person", "simulated", "simulated"]
    assert capsys.readouterr().out.endswith("1 judgements are yours, 2 a simulated rater's.\n")


def test_the_same_simulated_rater_is_one_person_and_another_taste_is_another(store):
    for who in (Rater(), Rater(), Rater(weights={"clarity": 1.0})):
        assert len(rate(pairs(4), "r", store=store, simulated=who).answers()) == 4
    assert len([row for row in store.raters() if row["kind"] == "simulated"]) == 2 and len(store.answers("r")) == 8


def test_the_plain_card_votes_undoes_escapes_and_uses_the_same_store(store):
    rows = [{"prompt": f"<b>{i}</b>", "left": "<script>1</script>", "right": "two"} for i in range(2)]
    plain = rate(rows, "r", store=store, fallback=True)
    assert isinstance(plain, PlainCard) and isinstance(plain, ipywidgets.Widget)
    assert "Pair 1 of 2" in plain.card.value and "<script" not in plain.card.value and "<b>0" not in plain.card.value
    plain.buttons["left"].click()
    assert "Pair 2 of 2" in plain.card.value and "Saved #1" in plain.card.value
    plain.back.click()
    assert "Pair 1 of 2" in plain.card.value and "Taken back" in plain.card.value and plain.answers() == []
    plain.buttons["tie"].click()
    plain.buttons["right"].click()
    assert [row["payload"]["choice"] for row in plain.answers()] == ["tie", "right"]
    assert "no pair left" in plain.card.value and all(button.disabled for button in plain.buttons.values())

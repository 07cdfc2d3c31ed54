"""The reward model that learns while one votes: when, from whom, tested on what, and what it says
and reports.
"""

import time

import pytest

import rlhf_lessons as rl
from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.export import reports
from rlhf_lessons.feedback.online import blocks
from rlhf_lessons.feedback.simulate import simulate
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.world.raters import Rater

DRAGONS = Rater(
    {"dragon": 1.0}, tie_margin=0.05
)  # decides where one of two answers has a dragon, else calls it even
STORY = "Write a fictional story about Lady Anna looking for an island."


def pairs(n: int) -> list[dict]:
    """Pairs of which one answer has a dragon, the places drawn by the store."""
    return [
        {
            "prompt": STORY,
            "completions": [
                {"text": f"anna found the {i} castle with a dragon"},
                {"text": f"anna found the {i} castle with friends"},
            ],
        }
        for i in range(n)
    ]


@pytest.fixture
def models(llama, tokenizer):
    return {"policy": (llama, tokenizer), "reward_model": to_reward_model(llama)}


@pytest.fixture
def card(tmp_path):
    return rl.rate(pairs(50), "r", store=Store(tmp_path / "r.sqlite3"), simulated=DRAGONS)


def vote(card, n: int, rater: Rater = DRAGONS) -> None:
    """Let the card's own reader vote on `n` pairs, as the card's messages would."""
    for _ in range(n):
        card.session.handle({"type": "next"})
        task = card.session.current["task"]
        left, right = (rater.utility_of(STORY, answer["text"]) for answer in task["answers"])
        payload = {"choice": "left" if left > right else "right", "strength": 2}
        card.session.handle(
            {
                "type": "answer",
                "id": f"vote-{task['task']}",
                "task": task["task"],
                "kind": "pair",
                "payload": payload,
            }
        )


def wait_for(live, seen: int) -> None:
    until = time.monotonic() + 20
    while live.seen < seen and time.monotonic() < until:
        time.sleep(0.02)


def test_it_learns_by_itself_after_every_20_votes_and_then_guesses(card, models):
    live = rl.live_reward_model(card, **models)
    assert live.guess(STORY, "a dragon", "friends") is None and "waits" in live.value
    vote(card, 19)
    assert live.seen == 0
    vote(card, 1)
    wait_for(live, 20)
    assert (
        live.seen == 20
        and live.guess(STORY, "a castle with a dragon", "a castle with friends") > 0.6
    )
    vote(card, 25)
    wait_for(live, 40)
    assert live.seen >= 40 and [point.votes for point in live.points][:2] == [0, 20]


def test_each_training_is_tested_on_the_votes_after_it_and_never_on_its_own(
    card, models, monkeypatch
):
    live, tested = rl.live_reward_model(card, **models), []
    card.session.after_vote = None  # only when asked
    vote(card, 45)
    original = live.test
    monkeypatch.setattr(
        live,
        "test",
        lambda before, new, others: tested.append((before, new)) or original(before, new, others),
    )
    live.learn()
    assert [(len(before), len(new)) for before, new in tested] == [(0, 20), (20, 20), (40, 5)]
    everything = live.votes()[0]
    assert sum((new for _, new in tested), []) == everything
    assert all(set(before).isdisjoint(new) for before, new in tested)


def test_after_a_clear_taste_it_predicts_the_next_votes_and_names_the_word(card, models):
    live = rl.live_reward_model(card, **models)
    vote(card, 45)
    live.learn()
    assert live.points[-1].mine["value"] == 1.0 and live.reward.words()[0][0][0] == "dragon"
    assert (
        "dragon" in live.value
        and "best of 16" in live.value
        and "<img alt='After 40 votes" in live.value
    )


def test_with_nobody_there_it_learns_from_the_simulated_reader_who_filled_in(card, models):
    live = rl.live_reward_model(card, **models)
    card.answers()
    assert live.learn().seen == 50


def test_once_the_reader_votes_the_simulated_ones_are_the_others(card, models):
    live = rl.live_reward_model(card, **models)
    card.answers()
    vote(card, 21)
    live.learn()
    assert live.seen == 21 and live.points[-1].others["n"] == 50


def test_a_new_one_knows_again_what_the_store_holds(card, models):
    rl.live_reward_model(card, **models)
    vote(card, 30)
    again = rl.live_reward_model(card, **models)
    assert again.seen == 30 and again.guess(STORY, "a dragon", "friends") > 0.5


def test_texts_of_models_and_raters_stay_text(tmp_path, models):
    nasty = "<img src=x onerror=alert(1)> dragon"
    rows = [
        {
            "prompt": STORY + f" <script>{i}",
            "completions": [{"text": f"{nasty} {i}"}, {"text": f"friends {i}"}],
        }
        for i in range(22)
    ]
    card = rl.rate(rows, "r", store=Store(tmp_path / "r.sqlite3"), simulated=DRAGONS)
    card.answers()
    live = rl.live_reward_model(card, **models)
    assert (
        "<script>" not in live.value
        and "<img src=x" not in live.value
        and "&lt;script&gt;" in live.value
    )


def test_a_room_that_voted_already_is_told_at_once(tmp_path, models):
    store = Store(tmp_path / "class.sqlite3")
    store.add_tasks("round 1", [row | {"kind": "pair", "overlap": None} for row in pairs(12)])
    for i in range(6):
        simulate(store, "round 1", DRAGONS, name=f"s{i}", team="sun" if i % 2 else "moon")
    live, sun, moon = (
        rl.live_reward_model("round 1", store=store, team=team, **models)
        for team in ("", "sun", "moon")
    )
    live.watch(sun, moon, minutes=0.01, pause=0.1)
    report, *teams = reports(store)
    assert [row["team"] for row in teams] == ["sun", "moon"] and sun.seen == moon.seen == 36
    assert (
        live.seen == 72
        and report["round"] == "round 1"
        and report["votes"] == live.points[-1].votes
    )
    assert 0 <= report["low"] <= report["accuracy"] <= report["high"] + 1e-9
    assert len(report["curve"]) == len(live.points) and report["samples"][0].keys() == {
        "prompt",
        "plain",
        "best",
        "n",
    }


def test_blocks_cover_all_votes_once_and_grow_with_their_number():
    for n in (1, 19, 20, 21, 60, 61, 500, 2000):
        found = blocks(n)
        assert found[0][0] == 0 and found[-1][1] == n
        assert all(a[1] == b[0] for a, b in zip(found, found[1:], strict=False))
        assert all(last - first >= 20 for first, last in found[:-1])
    assert len(blocks(2000)) < 20
    assert blocks(60) == [(0, 20), (20, 40), (40, 60)]


def test_with_ties_only_it_says_so(tmp_path, models):
    rows = [
        {"prompt": STORY, "completions": [{"text": f"anna {i}"}, {"text": f"friends {i}"}]}
        for i in range(22)
    ]
    card = rl.rate(rows, "r", store=Store(tmp_path / "r.sqlite3"), simulated=DRAGONS)
    card.answers()
    live = rl.live_reward_model(card, **models)
    assert live.seen == 22 and "chooses a side" in live.value

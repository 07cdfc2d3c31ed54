"""Goodhart with a room: the command that opens a round along the ladder, and 40 who vote in it."""

import random
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

import class_server
import numpy as np
import pytest
from class_server import Browser, shown, teacher
from voting import LADDER, LEFT, open_ladder

from rlhf_lessons.checkpoints import shipped
from rlhf_lessons.classroom import ladder, rounds
from rlhf_lessons.classroom.screens import figures
from rlhf_lessons.cli import main
from rlhf_lessons.evaluation.best_of_n import chances, kl_of_best_of_n, rewards_of
from rlhf_lessons.feedback import Refused
from rlhf_lessons.feedback.online import OnlineReward

server, source = class_server.server, class_server.source  # fixtures
PEOPLE, VOTES = 40, 6


def test_forty_phones_vote_at_once_and_the_curve_is_what_they_said(server):
    """Each votes as a coin says; what it voted for is counted beside, from the texts alone."""
    writers = open_ladder(server.store)
    boss = teacher(server)
    boss.ask("/teach", {"do": "open", "round": "round 9: along the ladder"})
    wanted = defaultdict(Counter)

    def phone(number: int) -> list[tuple[str, str]]:
        rng, browser, said = random.Random(number), Browser(server.port).join(f"s{number}"), []
        for _ in range(VOTES):
            task = browser.next()
            assert "best of" not in str(task) and "PPO" not in str(task)  # blind
            models = [writers[answer["text"]] for answer in task["answers"]]
            rung = next(model for model in models if model != "plain")
            choice = rng.choice(["left", "right", "tie", "bad"])
            assert browser.vote(task["task"], LEFT | {"choice": choice})[0] == 200
            best = models.index(rung)
            won = {("left", "right")[best]: 1.0, "tie": 0.5, "bad": None}.get(choice, 0.0)
            said.append((rung, won))
        return said

    with ThreadPoolExecutor(PEOPLE) as pool:
        for said in pool.map(phone, range(PEOPLE)):
            for rung, won in said:
                wanted[rung][won] += 1
    found = shown(boss, server)
    assert found["votes"] == PEOPLE * VOTES and found["ladder"]["simulated"] == 0
    assert list(found["ladder"]["rungs"]) == list(LADDER)
    for name, rung in found["ladder"]["rungs"].items():
        counts, voted = wanted[name], found["ladder"]["voted"][name]
        n = counts[1.0] + counts[0.5] + counts[0.0]
        assert n > 30 and voted["n"] == n
        assert voted["value"] == pytest.approx((counts[1.0] + counts[0.5] / 2) / n)
        assert voted["low"] < voted["value"] < voted["high"]
        assert (rung["kl"], rung["promised"], rung["deserved"]) == LADDER[name]


def test_the_ladder_is_shown_before_any_vote_and_gone_in_the_next_round(server):
    boss = teacher(server)
    assert shown(boss, server)["ladder"] is None
    open_ladder(server.store)
    boss.ask("/teach", {"do": "open", "round": "round 9: along the ladder"})
    found = shown(boss, server)["ladder"]
    assert list(found["rungs"]) == list(LADDER) and found["voted"] == {}
    boss.ask("/teach", {"do": "round", "kind": "pair", "family": "all"})
    assert shown(boss, server)["ladder"] is None


def test_a_ladder_that_does_not_fit_is_refused_and_takes_no_screen_away(server):
    current = server.store.room().current
    rung = {"kl": 0.0, "promised": 0.5, "deserved": 0.5}
    for wrong in (
        {"by": "me"},
        {"by": 1, "rungs": {}, "alike": {}},
        {"by": "me", "rungs": {"best of 1": {"kl": 0.0}}, "alike": {}},
        {"by": "me", "rungs": {"best of 1": rung | {"kl": "far"}}, "alike": {}},
        {"by": "me", "rungs": {"best of 1": rung}, "alike": {"best of 1": "no"}},
        [],
    ):
        with pytest.raises(Refused, match="ladder"):
            server.store.say("report", round=current, ladder=wrong)
    assert shown(teacher(server), server)["ladder"] is None


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Four prompts with 48 answers, and a ladder of two rungs: seconds instead of a minute."""
    for name, value in (("PROMPTS", 4), ("POOL", 48), ("ANSWERS", 4), ("LADDER", (1, 8))):
        monkeypatch.setattr(ladder, name, value)
    monkeypatch.setattr(ladder.paths, "RUNS", tmp_path / "runs")


def test_the_rooms_reward_model_climbs_and_simulated_raters_vote(small, store, capsys, monkeypatch):
    first = rounds.new_round(store, rounds.ANSWERS, family="story", n=80)
    said = ladder.climb(store, [shipped("sft")], "story", simulated=3)
    assert said.startswith("round 2: along the ladder. Chosen by the room's own reward model, of ")
    assert said.endswith(f"votes in {first} (simulated ones among them).")
    assert "Sampling 4 × 48 answers" in capsys.readouterr().out
    assert len(store.answers(first)) == 60  # by the three simulated raters, before it learned
    assert store.room().current == "round 2: along the ladder"
    found = figures(store)["projector"]["ladder"]
    assert found["simulated"] == 60 and found["by"] in said
    assert list(found["rungs"]) == ["best of 1", "best of 8", "checkpoints/sft"]
    one, eight, own = found["rungs"].values()
    assert one["promised"] == pytest.approx(0.5) and one["kl"] == pytest.approx(0)
    assert eight["promised"] > 0.7 and eight["deserved"] > 0.55
    assert own["kl"] == pytest.approx(0, abs=1e-4)  # the SFT model, from itself
    assert abs(own["promised"] - 0.5) < 0.25
    assert sum(found["voted"][name]["n"] for name in found["rungs"]) == 60
    tasks = {row["prompt"] for row in store.answers("round 2: along the ladder")}
    assert len(tasks) == 4 and not tasks & {row["prompt"] for row in store.answers(first)}

    # What was kept is what a reward model asked anew would say
    learner = OnlineReward(store, first)
    learner.learn()
    prompts, texts, ended, _ = ladder.pool_of("story", learner.policy, learner.shipped)
    rewards = rewards_of(learner.reward, learner.policy[1], prompts, texts, ended)
    assert eight["kl"] == pytest.approx(kl_of_best_of_n(rewards, 8).mean(), abs=1e-3)
    lead = learner.reward.deviation * (rewards[:, :, None] - rewards[:, None, :])
    chance = chances(rewards, 8)
    promised = (chance[:, :, None] / (1 + np.exp(-lead))).mean(2).sum(1)
    assert eight["promised"] == pytest.approx(promised.mean(), abs=1e-3)

    # Once more, now from the votes along the ladder: nothing is sampled again
    monkeypatch.setattr(ladder, "answer_all", None)
    again = ladder.climb(store, [], "story", simulated=0)
    assert again.startswith("round 3: along the ladder. Chosen by the room's own reward model")


def test_without_votes_the_shipped_reward_model_climbs_and_says_so(small, store):
    rounds.new_round(store, rounds.ANSWERS, family="story", n=20)
    said = ladder.climb(store, [], "story", simulated=0)
    why = "the shipped reward model, since the room has only 0 votes"
    assert said == f"round 2: along the ladder. Chosen by {why}."
    found = figures(store)["projector"]["ladder"]
    assert found["by"] == why and 0.6 < found["rungs"]["best of 8"]["promised"] < 0.8


def test_the_command_says_what_is_missing(tmp_path, store, capsys):
    assert main(["classroom", "ladder", "--db", str(tmp_path / "none.sqlite3")]) == 2
    assert "there are no ratings yet" in capsys.readouterr().err
    assert main(["classroom", "ladder", "--db", store.where.as_posix(), "--family", "novel"]) == 2
    assert "there are no prompts to answer" in capsys.readouterr().err

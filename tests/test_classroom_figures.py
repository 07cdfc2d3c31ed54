"""What the class page computes: what trainers report, rounds, and commits for many."""

import asyncio
import random

import class_server
import pytest
from class_server import LEFT, shown, teacher

from rlhf_lessons.classroom import rounds
from rlhf_lessons.classroom.batches import Batches
from rlhf_lessons.classroom.screens import guesses, learned
from rlhf_lessons.data import DataError
from rlhf_lessons.evaluation.votes import agreement, comparisons, leaderboard
from rlhf_lessons.feedback import Refused, Store, new_id

server, source = class_server.server, class_server.source  # fixtures


def answer(rater: str, task: str, choice: str, models=("sft", "ppo"), **more) -> dict:
    return {
        "kind": "pair",
        "payload": {"choice": choice},
        "rater": rater,
        "task": task,
        "repeat_of": None,
        "hidden": False,
        "source": "",
        "prompt": "p",
        "team": "",
        "answers": [{"id": f"{task}{i}", "model": model} for i, model in enumerate(models)],
        **more,
    }


def test_agreement_is_the_share_of_meetings_that_say_the_same():
    said = [
        answer("a", "t", "left"),
        answer("b", "t", "left"),
        answer("c", "t", "right"),
        answer("a", "u", "tie"),
        answer("b", "u", "tie"),
        answer("c", "v", "left"),
    ]  # 1 of 3 meetings, 1 of 1, none
    found, _ = agreement(comparisons(said))
    assert found["value"] == 0.5 and "fewer than 5 raters" in found["why"]
    assert agreement(comparisons(said[-1:]))[0]["n"] == 0


def test_each_two_of_a_ranking_and_of_scored_answers_count_as_a_pair():
    four = dict(models=("base", "sft", "ppo", "ppo"))
    ranked = [
        answer(rater, "t", "", kind="ranking", payload={"ranks": ranks}, **four)
        for rater, ranks in (("a", [3, 2, 1, 1]), ("b", [4, 3, 2, 1]))
    ]
    assert (
        agreement(comparisons(ranked))[0]["value"] == 5 / 6
    )  # all but the two of PPO, a tie to one of them
    best, middle, worst = leaderboard(comparisons(ranked))
    assert [best["model"], middle["model"], worst["model"]] == ["ppo", "sft", "base"]
    assert worst["n"] == 2 * 3
    marks = [{"relevance": mark, "accuracy": 4, "clarity": 4} for mark in (2, 7)]
    scored = answer("a", "t", "", kind="scores", payload={"scores": marks})
    assert leaderboard(comparisons([scored]))[0]["model"] == "ppo"


def test_a_model_that_wins_all_has_an_interval_and_not_a_certainty():
    said = [answer(f"r{i % 5}", f"t{i}", "right") for i in range(40)]
    best, worst = leaderboard(comparisons(said))
    assert (best["model"], best["value"], worst["value"]) == ("ppo", 1.0, 0.0)
    assert best["low"] < 0.6 and worst["high"] > 0.4  # Wilson with 5 raters: 57 to 100 %


def test_a_guess_is_right_where_it_names_the_other_teams_answer():
    one, other = ("sun", "moon"), ("moon", "sun")
    said = [
        answer("a", "t", "right", one, team="sun"),
        answer("a", "u", "right", other, team="sun"),
        answer("b", "t", "left", one, team="moon"),
        answer("b", "u", "tie", other, team="moon"),
        answer("b", "v", "bad", one, team="moon"),
        answer("b", "w", "left", ("sft", "ppo"), team="moon"),
    ]
    assert guesses(said)["value"] == (1 + 0 + 1 + 0.5) / 4
    assert guesses([])["n"] == 0


def report(votes: int, accuracy: float, round: str = "r1", **more) -> dict:
    return {
        "round": round,
        "votes": votes,
        "accuracy": accuracy,
        "low": accuracy - 0.1,
        "high": accuracy + 0.1,
        **more,
    }


def test_of_each_team_the_newest_report_is_shown():
    sample, curve = {"prompt": "p", "plain": "a", "best": "b"}, [[20, 0.6], [40, 0.7]]
    found = learned(
        [
            report(20, 0.5, team="moon"),
            report(20, 0.6, team="sun"),
            report(40, 0.7, team="sun", ceiling=0.9, curve=curve, samples=[sample]),
            {"round": "r1", "accuracy": None},
            {"anything": "else"},
        ],
        "r1",
    )
    sun, moon = found["model"]
    assert (sun["team"], sun["votes"], sun["ceiling"], moon["accuracy"]) == ("sun", 40, 0.9, 0.5)
    assert sun["curve"] == curve and moon["curve"] == [] and moon["ceiling"] is None
    assert found["samples"] == [sample | {"team": "sun"}]


def test_a_round_without_a_trainer_shows_what_was_learned_last_and_says_from_which_round():
    reports = [report(20, 0.5), report(200, 0.8, "r2")]
    assert (
        learned(reports, "r1")["learned"] == "r1"
        and learned(reports, "r1")["model"][0]["accuracy"] == 0.5
    )
    assert learned(reports, "r3")["learned"] == "r2"
    assert learned([], "r1") == {"learned": None, "model": [], "samples": []}


def test_a_trainer_reports_to_the_projector_through_the_store(server):
    boss, current = teacher(server), server.store.room().current
    assert shown(boss, server)["model"] == []
    assert "rl.live_reward_model('round 1: pairs', store=" in shown(boss, server)["trainer"]
    samples = [{"prompt": "p", "plain": "a", "best": "b"}]
    curve = [[20, 0.7, 0.6, 0.8]]
    told = report(20, 0.7, current, curve=curve, samples=samples, held_out=12)
    server.store.say("report", **told)
    found = shown(boss, server)
    assert (
        found["model"][0]["curve"] == [[20, 0.7, 0.6, 0.8]] and found["samples"][0]["best"] == "b"
    )
    # A notebook's mistake must not take the screen away
    server.store.say("report", whatever=["this", "is"])
    assert shown(boss, server)["model"][0]["accuracy"] == 0.7


def test_no_screen_shows_a_databases_password(server):
    server.store.where, server.store.engine = (
        "postgresql://ann:hunter2@campus/votes",
        Fake("postgresql://ann:***@campus"),
    )
    assert "hunter2" not in server.room.where and "campus" in server.room.where


class Fake:
    def __init__(self, url: str):
        self.url = url

    def dispose(self):
        pass


# Rounds


@pytest.mark.parametrize(
    "row", ['{"prompt": "a", "completions": [{"text": 7}]}', '{"prompt": "a"}', "[]", "{", "7"]
)
def test_a_file_of_answers_that_does_not_fit_is_refused_by_its_line(tmp_path, row):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"prompt": "a", "completions": [{"text": "b"}]}\n' + row, encoding="utf-8")
    with pytest.raises(DataError, match="row 2.*text"):
        list(rounds.answers(path))


def test_the_shipped_answers_fill_a_round_of_each_kind_for_a_class_of_a_hundred(tmp_path):
    for kind in ("pair", "ranking", "scores"):
        rows = rounds.draw(rounds.ANSWERS, kind, "story", 800, random.Random(0))
        assert len(rows) * 5 >= 100 * 20, kind  # five raters for a task at most
    models = {answer["model"] for row in rows for answer in row["completions"]}
    assert models == {"base", "sft", "ppo"}


def test_with_teams_no_answer_is_merely_broken():
    for kind in ("pair", "ranking"):
        rows = rounds.draw(rounds.ANSWERS, kind, "story", 800, random.Random(0), teams=True)
        assert {answer["model"] for row in rows for answer in row["completions"]} == {"sft", "ppo"}
        assert len(rows) >= 50, kind  # a student rates 20


def test_pairs_are_between_different_models_where_there_are_such(tmp_path, source):
    store = Store(tmp_path / "a.sqlite3")
    rounds.new_round(store, source, n=30)
    rater, seen = store.add_rater("Ann"), []
    for _ in range(30):
        task = store.next_task(rater, "round 1: pairs")["task"]
        store.answer(rater, task, "pair", LEFT, new_id())
        seen.append(store.reveal(rater, task, new_id())["models"])
    assert all(len(set(models)) == 2 for models in seen)


def test_a_round_from_few_prompts_has_room_for_a_class_of_a_hundred_all_the_same(tmp_path, source):
    store = Store(tmp_path / "a.sqlite3")
    name = rounds.new_round(store, source, "ranking")  # 30 prompts with four answers each: 30 tasks
    people = [store.add_rater(f"student {i}") for i in range(100)]
    with store.write():
        first = [store.next_task(rater, name, beyond=True)["task"] for rater in people]
    assert first.count(first[0]) == 6 and len(set(first)) == 30  # three of each, then again


def test_no_prompt_comes_twice_in_a_round_before_all_others_came_once(source):
    rows = rounds.draw(source, "pair", "all", 800, random.Random(0))
    assert len({row["prompt"] for row in rows[:30]}) == 30 < len(rows)
    texts = [
        (row["prompt"], *sorted(answer["text"] for answer in row["completions"])) for row in rows
    ]
    assert len(set(texts)) == len(texts)


# Commits


def test_one_action_that_fails_takes_no_other_along(tmp_path):
    store = Store(tmp_path / "a.sqlite3")

    def refused():
        raise Refused("no")

    def broken():
        store.add_rater("half done")
        raise ZeroDivisionError

    async def all_at_once():
        batches = Batches(store)
        return await asyncio.gather(
            *(
                batches.do(action)
                for action in (
                    lambda: store.add_rater("Ann"),
                    refused,
                    broken,
                    lambda: store.add_rater("Bob"),
                )
            ),
            return_exceptions=True,
        )

    ann, no, fault, bob = asyncio.run(all_at_once())
    assert isinstance(no, Refused) and isinstance(fault, ZeroDivisionError)
    assert {row["id"]: row["name"] for row in store.raters()} == {ann: "Ann", bob: "Bob"}


def test_what_is_urgent_goes_first_and_all_is_done(tmp_path):
    done = []

    async def all_at_once():
        batches = Batches(Store(tmp_path / "a.sqlite3"))
        await asyncio.gather(
            *(batches.do(lambda i=i: done.append(i), urgent=i % 2 == 1) for i in range(200))
        )

    asyncio.run(all_at_once())
    assert sorted(done) == list(range(200)) and done.index(63) < done.index(0) < done.index(199)

"""What the projector and the console show.

The projector gets no names of people, and those of models only after the reveal.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from rlhf_lessons.classroom import rounds
from rlhf_lessons.evaluation.votes import NOTHING, agreement, comparisons, leaderboard, share
from rlhf_lessons.feedback.export import reports
from rlhf_lessons.feedback.payloads import PASSES
from rlhf_lessons.feedback.store import Store

EVERY = 3  # seconds for which figures are good enough
SHARE = 0.2  # of the time, at most, goes into figures
PAGE = 10  # texts on a page of the console
POINT = ("votes", "accuracy", "low", "high")  # what a report says of a point of a learning curve
NUMBERS = (*POINT, "ceiling")  # what it says of the model


class Screens:
    """What is shown, computed every `EVERY` seconds at most, however many ask.

    A process of its own computes it, at the lowest priority: votes come first, and a thread would
    share their interpreter.
    """

    def __init__(self, room):
        self.room = room
        self.worker = self.pipe = None
        self.kept = {}  # what `compute` returned
        self.made, self.took = float("-inf"), 0.0  # when, and how long that took, in seconds
        self.working = asyncio.Lock()

    async def get(self, screen: str) -> dict:
        """Return what the projector, or the console, shows."""
        async with self.working:
            if time.monotonic() - self.made > max(EVERY, self.took / SHARE):
                began = time.monotonic()
                self.kept = await asyncio.to_thread(self.compute)
                self.made = time.monotonic()
                self.took = self.made - began
        shown = self.kept["projector"] | self.on_screen()
        return shown if screen == "projector" else {"room": shown, **self.kept["console"]}

    def on_screen(self) -> dict:
        """Return what the teacher has put on the screen, without delay."""
        room, kept = self.room, self.kept["projector"]
        round = json.dumps(kept["round"])
        store = json.dumps(room.where)
        shown = {
            "revealed": room.revealed,
            "address": room.address,
            "code": room.code,
            "trainer": f"rl.live_reward_model({round}, store={store}).watch()",
        }
        if room.pair:
            task = room.pair["task"]
            shown["pair"] = {
                "prompt": task["prompt"],
                "answers": [answer["text"] for answer in task["answers"]],
                "counts": room.pair["counts"],
                "models": room.pair["models"],
            }
        if not room.revealed:  # the letters follow the names, not the places
            names = sorted(line["model"] for line in kept["board"])
            letters = {name: f"model {chr(65 + n)}" for n, name in enumerate(names)}
            shown["board"] = [line | {"model": letters[line["model"]]} for line in kept["board"]]
            shown["samples"] = [sample | {"team": ""} for sample in kept["samples"]]
        return shown

    def compute(self) -> dict:
        """Return what `figures` does, from its process, which begins anew where it ended."""
        if not (self.worker and self.worker.is_alive()):
            spawn = multiprocessing.get_context("spawn")
            self.pipe, theirs = spawn.Pipe()
            self.worker = spawn.Process(
                target=answer, args=(theirs, self.room.store.where), daemon=True
            )
            self.worker.start()
            theirs.close()
        self.pipe.send("figures")
        return self.pipe.recv()

    def texts(self, find: str, flagged: bool, page: int) -> dict:
        """Return {"texts": a page of `judged` texts of the round, "of": how many there are}."""
        hidden, _, current = self.room.store.room()
        rows = self.room.store.answers(current) if current else []
        found = []
        for one in judged(rows, hidden):
            words = f"{one['prompt']} {one['text']}".casefold()
            if find.casefold() in words and (one["flags"] or not flagged):
                found.append(one)
        return {"texts": found[PAGE * page : PAGE * (page + 1)], "of": len(found)}


def answer(pipe, where: str | Path) -> None:
    """Send the `figures` of a store for each message, until the server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    if hasattr(os, "nice"):  # not on Windows
        os.nice(19)
    with closing(Store(where)) as store, suppress(EOFError):
        while pipe.recv():
            pipe.send(figures(store))


def figures(store: Store) -> dict:
    """Return {"projector": ..., "console": ...} from the store."""
    _, states, current = store.room()
    people = [row for row in store.raters() if row["kind"] == "person"]
    everything = store.answers(current) if current else []
    judgements = [row for row in everything if row["kind"] not in PASSES]
    rows = [row for row in judgements if not row["hidden"]]
    minute_ago = time.time() - 60
    last_minute = 0
    votes = Counter()
    for row in rows:
        hands = hands_in(row)
        votes[row["rater"]] += hands
        if row["time"] > minute_ago:
            last_minute += hands
    there = [row["id"] for row in people if not row["hidden"]]
    guessing = current == rounds.WHOSE
    projector = {
        "round": current,
        "state": states.get(current),
        "raters": len(there),
        "voted": sum(id in votes for id in there),
        "votes": votes.total(),
        "minute": last_minute,
        "guessing": guessing,
        "guesses": of_each(guesses, rows, people) if guessing else [],
        "agreement": [] if guessing else of_each(agree, rows, people),
        "board": [] if guessing else leaderboard(comparisons(rows)),
        **learned(reports(store), current),
    }
    console = {
        "raters": [row | {"votes": votes[row["id"]]} for row in people],
        "rounds": list(states),
        "flags": sum(row["kind"] == "flag" for row in everything),
    }
    return {"projector": projector, "console": console}


def of_each(measure: Callable, rows: list[dict], people: list[dict]) -> list[dict]:
    """Return a figure of the whole room, and of each team that there is."""
    teams = {row["team"] for row in people}
    groups = {"": rows}
    for name in rounds.BRIEFS:
        if name in teams:
            groups[name] = [row for row in rows if row["team"] == name]
    figures = [{"team": team, **measure(group)} for team, group in groups.items()]
    return [figure for figure in figures if figure["n"]]


def agree(rows: list[dict]) -> dict:
    """Return how often two raters of the same two answers say the same, as a figure."""
    return agreement(comparisons(rows))[0]


def hands_in(row: dict) -> int:
    """Return how many people's votes an answer holds."""
    return sum(row["payload"].values()) if row["kind"] == "hands" else 1


def guesses(rows: list[dict]) -> dict:
    """Return how often raters find the other team's answer, as a figure.

    "I cannot tell" is half right, as a coin.
    """
    outcomes = []
    for row in rows:
        models = [answer["model"] for answer in row["answers"]]
        wanted = rounds.other(row["team"])
        if row["kind"] != "pair" or models.count(wanted) != 1:
            continue
        choice = row["payload"]["choice"]
        right = ("left", "right")[models.index(wanted)]
        if choice != "bad":
            outcome = {right: 1.0, "tie": 0.5}.get(choice, 0.0)
            outcomes.append((row["rater"], outcome))
    return share(outcomes) if outcomes else NOTHING


def judged(rows: list[dict], hidden: set[str]) -> list[dict]:
    """Return {"id", "text", "prompt", "hidden", "flags": reasons, "by"} of each text, last first.

    What a rater wrote, an ideal answer, is listed with `by`, the writer's name; its id is that of
    the writer.
    """
    found = {}
    for row in reversed(rows):
        if row["kind"] == "demonstration":
            own = {"id": row["rater"], "text": row["payload"]["text"], "by": row["name"]}
            texts = {row["id"]: own}
        else:
            texts = {answer["id"]: answer | {"by": ""} for answer in row["answers"]}
        for key, one in texts.items():
            found.setdefault(
                key,
                {
                    "id": one["id"],
                    "text": one["text"],
                    "prompt": row["prompt"],
                    "hidden": one["id"] in hidden,
                    "flags": [],
                    "by": one["by"],
                },
            )
            if row["kind"] == "flag":
                found[key]["flags"].append(row["payload"]["reason"] or "no reason given")
    return list(found.values())


def learned(reports: list[dict], current: str | None) -> dict:
    """Return {"learned": round, "model": a line for each team, "samples"} of trainers' reports.

    It is about the current round, or, while nothing was trained on that, about the round last
    trained on.
    """
    reports = [report for report in reports if measured(report)]
    if not reports:
        return {"learned": None, "model": [], "samples": []}
    trained_on = [report["round"] for report in reports]
    about = current if current in trained_on else trained_on[-1]
    of_teams = defaultdict(list)
    for report in reports:
        if report["round"] == about:
            of_teams[report.get("team") or ""].append(report)
    model, samples = [], []
    for team in ("", *rounds.BRIEFS):
        latest = {}  # of each field the newest report that has it
        for report in of_teams[team]:
            latest |= report
        if not latest:
            continue
        line = {name: latest.get(name) for name in NUMBERS}
        curve = latest.get("curve") or [
            [report.get(name) for name in POINT] for report in of_teams[team]
        ]
        model.append({"team": team, "curve": curve, **line})
        for sample in (latest.get("samples") or [])[:1]:
            samples.append(sample | {"team": team})
    samples.sort(key=lambda sample: sample["best"])  # an order that tells no team
    return {"learned": about, "model": model, "samples": samples}


def measured(report: dict) -> bool:
    """Return whether a report says how well a model of a round, or of a team in it, predicts."""
    teams = ("", None, *rounds.BRIEFS)
    return (
        report.get("round") is not None
        and report.get("accuracy") is not None
        and report.get("team") in teams
    )

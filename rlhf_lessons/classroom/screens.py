"""What the projector and the console show.

The projector gets no names of people, and those of models only after the reveal.
"""

import asyncio
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from rlhf_lessons.classroom import rounds
from rlhf_lessons.evaluation.votes import agreement, comparisons, leaderboard, share
from rlhf_lessons.feedback.along import won_along
from rlhf_lessons.feedback.export import reports
from rlhf_lessons.feedback.payloads import PASSES
from rlhf_lessons.feedback.store import Store

EVERY = 1  # seconds for which figures are good enough
SHARE = 0.2  # of the time, at most, goes into figures
PAGE = 10  # texts on a page of the console
SHOWN = ("votes", "accuracy", "low", "high", "ceiling")  # of what a trainer reports


class Screens:
    """What is shown, computed every `EVERY` seconds at most, however many ask.

    A process of its own computes it, at the lowest priority: votes come first, and a thread would
    share their interpreter.
    """

    def __init__(self, room):
        self.room = room
        self.worker = self.pipe = None
        self.kept = {}  # what `compute` returned
        self.due = float("-inf")  # when they are computed anew
        self.working = asyncio.Lock()

    async def get(self, screen: str) -> dict:
        """Return what the projector, or the console, shows."""
        async with self.working:
            if time.monotonic() > self.due:
                self.kept, took = await asyncio.to_thread(self.compute)
                self.due = time.monotonic() + max(EVERY, took / SHARE)
        shown = self.kept["projector"] | self.on_screen()
        return shown if screen == "projector" else {"room": shown, **self.kept["console"]}

    def on_screen(self) -> dict:
        """Return what the teacher has put on the screen, without delay."""
        room, kept = self.room, self.kept["projector"]
        shown = {
            "pair": room.pair,
            "revealed": room.revealed,
            "address": room.address,
            "code": room.code,
            "trainer": f"rl.live_reward_model({kept['round']!r}, store={room.where!r}).watch()",
        }
        if not room.revealed:  # the letters follow the names, not the places
            names = sorted(line["model"] for line in kept["board"])
            letters = {name: f"model {chr(65 + n)}" for n, name in enumerate(names)}
            shown["board"] = [line | {"model": letters[line["model"]]} for line in kept["board"]]
            shown["samples"] = [sample | {"team": ""} for sample in kept["samples"]]
        return shown

    def compute(self) -> tuple[dict, float]:
        """Return what `figures` does, from its process, and the processor's seconds that it took.
        The process begins anew where it ended.
        """
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


def answer(pipe, where: str | Path) -> None:
    """Send the `figures` of a store, and the processor's seconds that they took, for each message,
    until the server is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    if hasattr(os, "nice"):  # not on Windows
        os.nice(19)
    with closing(Store(where)) as store, suppress(EOFError, OSError):
        while pipe.recv():
            began = time.process_time()
            found = figures(store)
            pipe.send((found, time.process_time() - began))


def figures(store: Store) -> dict:
    """Return {"projector": ..., "console": ...} from the store."""
    _, states, current = store.room()
    people = [row for row in store.raters() if row["kind"] == "person"]
    there = [row["id"] for row in people if not row["hidden"]]
    everything = store.answers(current)
    rows = [row for row in everything if row["kind"] not in PASSES and not row["hidden"]]
    minute_ago, last_minute = time.time() - 60, 0
    votes = Counter()
    for row in rows:
        hands = sum(row["payload"].values()) if row["kind"] == "hands" else 1
        votes[row["rater"]] += hands
        if row["time"] > minute_ago:
            last_minute += hands
    told = reports(store)
    guessing = current == rounds.WHOSE
    shares = of_each(guesses if guessing else agree, rows)
    projector = {
        "round": current,
        "state": states.get(current),
        "raters": len(there),
        "voted": sum(id in votes for id in there),
        "votes": votes.total(),
        "minute": last_minute,
        "guessing": guessing,
        "guesses": shares if guessing else [],
        "agreement": [] if guessing else shares,
        "board": [] if guessing else leaderboard(comparisons(rows)),
        "ladder": ladder_of(told, current, rows),
        **learned(told, current),
    }
    console = {
        "raters": [row | {"votes": votes[row["id"]]} for row in people],
        "rounds": list(states),
        "flags": sum(row["kind"] == "flag" for row in everything),
    }
    return {"projector": projector, "console": console}


def ladder_of(reports: list[dict], current: str | None, rows: list[dict]) -> dict | None:
    """Return the ladder last reported about the current round, with the figures that are "voted" by
    rung, and how many answers are "simulated"; None where the round is none along a ladder.
    """
    ladders = {each.get("round"): each["ladder"] for each in reports if each.get("ladder")}
    found = ladders.get(current)
    simulated = sum(row["rater_kind"] == "simulated" for row in rows)
    voted = found and won_along(comparisons(rows), found["alike"])
    return found and found | {"voted": voted, "simulated": simulated}


def of_each(measure: Callable, rows: list[dict]) -> list[dict]:
    """Return a figure of the whole room, and of each team, where there are such votes."""
    found = []
    for team in ("", *rounds.BRIEFS):
        figure = measure([row for row in rows if team in ("", row["team"])])
        if figure["n"]:
            found.append({"team": team, **figure})
    return found


def agree(rows: list[dict]) -> dict:
    """Return how often two raters of the same two answers say the same, as a figure."""
    return agreement(comparisons(rows))[0]


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
        right = ("left", "right")[models.index(wanted)]
        outcome = {right: 1.0, "tie": 0.5, "bad": None}.get(row["payload"]["choice"], 0.0)
        if outcome is not None:
            outcomes.append((row["rater"], outcome))
    return share(outcomes)


def texts(store: Store, find: str, flagged: bool, page: int) -> dict:
    """Return {"texts": a page of the texts judged in the round, the last first, "of": how many}.

    A text is {"id", "text", "prompt", "hidden", "flags": reasons, "by"}. What a rater wrote, an
    ideal answer, is listed with `by`, the writer's name; its id is that of the writer.
    """
    hidden, _, current = store.room()
    found = {}
    for row in reversed(store.answers(current)):
        said = row["payload"]
        listed = row["answers"]
        if row["kind"] == "demonstration":
            listed = [{"id": row["rater"], "text": said["text"], "by": row["name"]}]
        for one in listed:
            if find.casefold() not in f"{row['prompt']} {one['text']}".casefold():
                continue
            entry = {
                "id": one["id"],
                "text": one["text"],
                "prompt": row["prompt"],
                "hidden": one["id"] in hidden,
                "flags": [],
                "by": one.get("by", ""),
            }
            entry = found.setdefault((one["id"], one["text"]), entry)
            if row["kind"] == "flag":
                entry["flags"].append(said["reason"] or "no reason given")
    texts = [entry for entry in found.values() if entry["flags"] or not flagged]
    return {"texts": texts[PAGE * page : PAGE * (page + 1)], "of": len(texts)}


def learned(reports: list[dict], current: str | None) -> dict:
    """Return {"learned": round, "model": a line for each team, "samples"} of trainers' reports.

    The newest of each team counts. It is about the current round, or, while nothing was trained on
    that, about the round last trained on.
    """
    newest = {}  # by round, the last trained on at the end, and team
    for report in reports:
        round = report.get("round")
        if round is not None and report.get("accuracy") is not None:
            newest[round] = newest.pop(round, {}) | {report.get("team") or "": report}
    about = current if current in newest else next(reversed(newest), None)
    model, samples = [], []
    for team in ("", *rounds.BRIEFS):
        report = newest.get(about, {}).get(team)
        if report:
            line = {name: report.get(name) for name in SHOWN}
            model.append(line | {"team": team, "curve": report.get("curve") or []})
            samples += [sample | {"team": team} for sample in (report.get("samples") or [])[:1]]
    samples.sort(key=lambda sample: sample["best"])  # an order that tells no team
    return {"learned": about, "model": model, "samples": samples}

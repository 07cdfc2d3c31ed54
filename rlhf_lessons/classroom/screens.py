"""What the projector and the console show.

The projector gets no names of people, and those of models only after the reveal.
"""

import asyncio
import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable

from rlhf_lessons.classroom import rounds
from rlhf_lessons.evaluation.votes import NOTHING, agreement, comparisons, leaderboard, share
from rlhf_lessons.feedback.payloads import Refused, checked

EVERY = 3  # seconds for which figures are good enough
SHARE = 0.1  # of the time, at most, goes into figures: votes come first
PAGE = 10  # texts on a page of the console


class Screens:
    """Computes what is shown in a thread, every `EVERY` seconds at most, however many ask."""

    def __init__(self, room):
        self.room, self.kept, self.working = room, {}, asyncio.Lock()
        self.made, self.took = float("-inf"), 0.0

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
        round, store = json.dumps(kept["round"]), json.dumps(room.where)
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
        """Return {"projector": ..., "console": ...} from the store."""
        store, now = self.room.store, time.time()
        _, states, current = store.room()
        people = [row for row in store.raters() if row["kind"] == "person"]
        everything = self.answers(current)
        judgements = [row for row in everything if row["kind"] not in ("skip", "flag")]
        rows = [row for row in judgements if not row["hidden"]]
        votes, last_minute = Counter(), 0
        for row in rows:
            votes[row["rater"]] += hands_in(row)
            last_minute += hands_in(row) if row["time"] > now - 60 else 0
        there = [row for row in people if not row["hidden"]]
        guessing = current == rounds.WHOSE
        projector = {
            "round": current,
            "state": states.get(current),
            "raters": len(there),
            "voted": sum(row["id"] in votes for row in there),
            "votes": votes.total(),
            "minute": last_minute,
            "guessing": guessing,
            "guesses": of_each(guesses, rows, people) if guessing else [],
            "agreement": [] if guessing else of_each(agree, rows, people),
            "board": [] if guessing else leaderboard(comparisons(rows)),
            **learned(store.reports(), current),
        }
        console = {
            "raters": [row | {"votes": votes[row["id"]]} for row in people],
            "rounds": [{"name": name, "state": state} for name, state in states.items()],
            "flags": sum(row["kind"] == "flag" for row in everything),
        }
        return {"projector": projector, "console": console}

    def answers(self, round: str | None) -> list[dict]:
        """Return the answers in a round without those that no page could show."""
        return [row for row in self.room.store.answers(round) if sound(row)] if round else []

    def texts(self, find: str, flagged: bool, page: int) -> dict:
        """Return {"texts": a page of `judged` texts of the round, "of": how many there are}."""
        hidden, _, current = self.room.store.room()
        found = []
        for one in judged(self.answers(current), hidden):
            words = f"{one['prompt']} {one['text']}".casefold()
            if find.casefold() in words and (one["flags"] or not flagged):
                found.append(one)
        return {"texts": found[PAGE * page : PAGE * (page + 1)], "of": len(found)}


def sound(row: dict) -> bool:
    """Return whether an answer has the form that its kind asks for.

    Rows are checked when they come in; one that an older version let in must not end the show.
    """
    try:
        checked(row["kind"], row["payload"], len(row["answers"]))
    except (Refused, TypeError, ValueError, KeyError):
        return False
    two = row["kind"] not in ("pair", "hands") or len(row["answers"]) == 2
    return two and isinstance(row["time"], int | float) and math.isfinite(row["time"])


def of_each(measure: Callable, rows: list[dict], people: list[dict]) -> list[dict]:
    """Return a figure of the whole room, and of each team that there is."""
    found = []
    teams = {row["team"] for row in people}
    for team in ("", *(name for name in rounds.BRIEFS if name in teams)):
        figure = measure([row for row in rows if not team or row["team"] == team])
        if figure["n"]:
            found.append({"team": team, **figure})
    return found


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
        wanted, choice = rounds.other(row["team"]), row["payload"].get("choice")
        if row["kind"] == "pair" and choice != "bad" and models.count(wanted) == 1:
            right = ("left", "right")[models.index(wanted)]
            outcomes.append((row["rater"], {right: 1.0, "tie": 0.5}.get(choice, 0.0)))
    return share(outcomes) if outcomes else NOTHING


def judged(rows: list[dict], hidden: set[str]) -> list[dict]:
    """Return {"id", "text", "prompt", "hidden", "flags": reasons, "by"} of each text, last first.

    What a rater wrote, an ideal answer, is listed with `by`, the writer's name; its id is that of
    the writer.
    """
    found = {}
    for row in reversed(rows):
        flags = [row["payload"]["reason"] or "no reason given"] if row["kind"] == "flag" else []
        texts = [(answer["id"], answer["id"], answer["text"], "") for answer in row["answers"]]
        if row["kind"] == "demonstration":
            texts = [(row["id"], row["rater"], row["payload"]["text"], row["name"])]
        for key, id, text, by in texts:
            one = {"id": id, "text": text, "prompt": row["prompt"], "by": by}
            one |= {"hidden": id in hidden, "flags": []}
            found.setdefault(key, one)["flags"] += flags
    return list(found.values())


def learned(reports: list[dict], current: str | None) -> dict:
    """Return {"learned": round, "model": a line for each team, "samples"} of trainers' reports.

    It is about the current round, or, while nothing was trained on that, about the round last
    trained on.
    """
    reports = [report for report in reports if readable(report)]
    if not reports:
        return {"learned": None, "model": [], "samples": []}
    about = reports[-1]["round"]
    if any(report["round"] == current for report in reports):
        about = current
    latest, curves = {}, defaultdict(list)
    for report in reports:
        if report["round"] == about:  # of each team the newest that says something about it
            team = report.get("team") or ""
            latest[team] = latest.get(team, {}) | report
            curves[team].append([report.get(name) for name in ("votes", "accuracy", "low", "high")])
    model, samples = [], []
    for team in ("", *rounds.BRIEFS):
        if team in latest:
            kept = {name: latest[team].get(name) for name in NUMBERS}
            model.append({"team": team, "curve": latest[team].get("curve") or curves[team], **kept})
            samples += [{**one, "team": team} for one in latest[team].get("samples", [])[:1]]
    samples.sort(key=lambda sample: str(sample.get("best")))  # an order that tells no team
    return {"learned": about, "model": model, "samples": samples}


NUMBERS = ("accuracy", "low", "high", "votes", "ceiling")  # of a report


def readable(report: dict) -> bool:
    """Return whether a report is one of a trainer's, each field of the form that the page draws."""

    def drawable(value: object) -> bool:
        return value is None or type(value) in (int, float) and math.isfinite(value)

    curve, samples = report.get("curve") or [], report.get("samples", [])
    texts = ("prompt", "plain", "best")
    return (
        report.get("accuracy") is not None
        and all(drawable(report.get(name)) for name in NUMBERS)
        and isinstance(report.get("round"), str)
        and report.get("team", "") in ("", None, *rounds.BRIEFS)
        and isinstance(curve, list)
        and all(isinstance(point, list) and all(map(drawable, point)) for point in curve)
        and isinstance(samples, list)
        and all(isinstance(one, dict) for one in samples)
        and all(isinstance(one.get(name, ""), str) for one in samples for name in texts)
    )

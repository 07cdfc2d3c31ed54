"""What the projector and the console show. The projector gets no names, of models only after the reveal."""

import asyncio
import json
import time
from collections import Counter, defaultdict

from rlhf_lessons.classroom import rounds
from rlhf_lessons.evaluation.votes import NOTHING, agreement, comparisons, leaderboard, share

EVERY = 3  # seconds for which figures are good enough
PAGE = 10  # texts on a page of the console


class Screens:
    """Computes what is shown in a thread, at most every `EVERY` seconds however many screens ask."""

    def __init__(self, room):
        self.room, self.kept, self.made, self.working = room, {}, 0.0, asyncio.Lock()

    async def get(self, screen: str) -> dict:
        """Return what the projector, or the console, shows."""
        async with self.working:
            if time.monotonic() - self.made > EVERY:
                self.kept = await asyncio.to_thread(self.compute)
                self.made = time.monotonic()
        shown = self.kept["projector"] | self.on_screen()
        return shown if screen == "projector" else {"room": shown, **self.kept["console"]}

    def on_screen(self) -> dict:
        """Return what the teacher has put on the screen, without delay."""
        room, kept, shown = self.room, self.kept["projector"], {}
        if room.pair:
            task = room.pair["task"]
            shown["pair"] = {
                "prompt": task["prompt"],
                "answers": [answer["text"] for answer in task["answers"]],
                "counts": room.pair["counts"],
                "models": room.pair["models"],
            }
        if (
            not room.revealed
        ):  # who wrote what stays hidden: the letters follow the names, not the places
            names = sorted(line["model"] for line in kept["board"])
            shown["board"] = [
                line | {"model": f"model {chr(65 + names.index(line['model']))}"}
                for line in kept["board"]
            ]
            shown["samples"] = [sample | {"team": ""} for sample in kept["samples"]]
        trainer = f"rl.live_reward_model({json.dumps(kept['round'])}, store={json.dumps(room.where)}).watch()"
        return shown | {
            "revealed": room.revealed,
            "address": room.address,
            "code": room.code,
            "trainer": trainer,
        }

    def compute(self) -> dict:
        """Return {"projector": ..., "console": ...} from the store."""
        store, now = self.room.store, time.time()
        hidden, states, current = store.room()
        people = [row for row in store.raters() if row["kind"] == "person"]
        everything = store.answers(current) if current else []
        rows = [
            row for row in everything if not row["hidden"] and row["kind"] not in ("skip", "flag")
        ]
        votes = Counter()
        for row in rows:
            votes[row["rater"]] += hands_in(row)
        teams = [team for team in rounds.BRIEFS if any(row["team"] == team for row in people)]

        def of_each(measure) -> list[dict]:
            """Measure the room, and each team."""
            groups = {"": rows} | {
                team: [row for row in rows if row["team"] == team] for team in teams
            }
            found = {team: measure(said) for team, said in groups.items()}
            return [{"team": team, **figure} for team, figure in found.items() if figure["n"]]

        guessing = current == rounds.WHOSE
        projector = {
            "round": current,
            "state": states.get(current),
            "raters": sum(not row["hidden"] for row in people),
            "voted": sum(row["id"] in votes for row in people if not row["hidden"]),
            "votes": votes.total(),
            "minute": sum(hands_in(row) for row in rows if row["time"] > now - 60),
            "guessing": guessing,
            "guesses": of_each(guesses) if guessing else [],
            "agreement": [] if guessing else of_each(lambda rows: agreement(comparisons(rows))[0]),
            "board": [] if guessing else leaderboard(comparisons(rows)),
            **learned(store.reports(), current),
        }
        console = {
            "raters": [row | {"votes": votes[row["id"]]} for row in people],
            "rounds": [{"name": name, "state": state} for name, state in states.items()],
            "flags": sum(row["kind"] == "flag" for row in everything),
        }
        return {"projector": projector, "console": console}

    def texts(self, find: str, flagged: bool, page: int) -> dict:
        """Return {"texts": [...], "of": how many there are in all}: a page of `judged` texts of the current round."""
        hidden, _, current = self.room.store.room()
        find = find.casefold()
        found = [
            one
            for one in judged(self.room.store.answers(current) if current else [], hidden)
            if (one["flags"] or not flagged) and find in f"{one['prompt']} {one['text']}".casefold()
        ]
        return {"texts": found[PAGE * page : PAGE * (page + 1)], "of": len(found)}


def hands_in(row: dict) -> int:
    """Return how many people's votes an answer holds."""
    return sum(row["payload"].values()) if row["kind"] == "hands" else 1


def guesses(rows: list[dict]) -> dict:
    """Return how often raters find the other team's answer, as a figure; "I cannot tell" is half right, as a coin."""
    outcomes = []
    for row in rows:
        models = [answer["model"] for answer in row["answers"]]
        wanted, choice = rounds.other(row["team"]), row["payload"].get("choice")
        if row["kind"] == "pair" and choice != "bad" and models.count(wanted) == 1:
            right = ("left", "right")[models.index(wanted)]
            outcomes.append((row["rater"], {right: 1.0, "tie": 0.5}.get(choice, 0.0)))
    return share(outcomes) if outcomes else NOTHING


def judged(rows: list[dict], hidden: set[str]) -> list[dict]:
    """Return {"id", "text", "prompt", "hidden", "flags": reasons, "by"} of each text, the last judged first.

    What a rater wrote, an ideal answer, is listed with `by`, the writer's name; its id is that of the writer.
    """
    found = {}
    for row in reversed(rows):
        flags = [row["payload"]["reason"] or "no reason given"] if row["kind"] == "flag" else []
        texts = [(answer["id"], answer["id"], answer["text"], "") for answer in row["answers"]]
        if row["kind"] == "demonstration":
            texts = [(row["id"], row["rater"], row["payload"]["text"], row["name"])]
        for key, id, text, by in texts:
            one = {
                "id": id,
                "text": text,
                "prompt": row["prompt"],
                "hidden": id in hidden,
                "flags": [],
                "by": by,
            }
            found.setdefault(key, one)["flags"] += flags
    return list(found.values())


def learned(reports: list[dict], current: str | None) -> dict:
    """Return {"learned": round, "model": a line of figures for each team, "samples"} from what trainers reported.

    It is about the current round, or, while nothing was trained on that, about the round last trained on.
    """
    reports = [
        report for report in reports if report.get("accuracy") is not None and report.get("round")
    ]
    if not reports:
        return {"learned": None, "model": [], "samples": []}
    about = (
        current if any(report["round"] == current for report in reports) else reports[-1]["round"]
    )
    latest, curves = {}, defaultdict(list)
    for report in reports:
        if report["round"] == about:  # of each team the newest that says something about it
            team = report.get("team") or ""
            latest[team] = latest.get(team, {}) | report
            curves[team].append([report.get(name) for name in ("votes", "accuracy", "low", "high")])
    order = [team for team in ("", *rounds.BRIEFS) if team in latest]
    kept = ("accuracy", "low", "high", "votes", "ceiling")
    return {
        "learned": about,
        "model": [
            {
                "team": team,
                "curve": latest[team].get("curve") or curves[team],
                **{name: latest[team].get(name) for name in kept},
            }
            for team in order
        ],
        "samples": sorted(
            (
                sample | {"team": team}
                for team in order
                for sample in latest[team].get("samples", [])[:1]
            ),
            key=lambda sample: str(sample.get("best")),
        ),
    }  # an order that does not tell the team

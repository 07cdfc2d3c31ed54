"""What the projector and the console show: counts, agreement, a leaderboard, and what the trainer reports.

Plain Python, since the libraries for statistics alone would take more memory than this whole server. Intervals come
from drawing raters with replacement: votes of one person are not independent. The projector gets no names.
"""
import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator

DRAWS = 200  # of the bootstrap
EVERY = 3  # seconds for which figures are good enough
Z = 1.96


def interval(values: list[float], low: float = 0.025) -> tuple[float, float]:
    """Return the middle 95 % of the values."""
    values = sorted(values)
    cut = round(low * (len(values) - 1))
    return values[cut], values[-1 - cut]


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share seen in `n` trials (Wilson 1927); never narrower than n allows."""
    middle, spread = share + Z * Z / (2 * n), Z * (share * (1 - share) / n + Z * Z / (4 * n * n)) ** 0.5
    return max((middle - spread) / (1 + Z * Z / n), 0.0), min((middle + spread) / (1 + Z * Z / n), 1.0)


def share_of(parts: dict[str, tuple[float, float]], rng: random.Random) -> dict | None:
    """Return {"share", "low", "high", "n"} from each rater's (points, trials); None without trials.

    The interval is the bootstrap's by rater, and at least as wide as Wilson's with as many trials as raters where
    all said the same: three people who agree are no proof.
    """
    points, n = sum(p for p, _ in parts.values()), sum(t for _, t in parts.values())
    if not n:
        return None
    people, found = list(parts.values()), []
    for _ in range(DRAWS):
        drawn = rng.choices(people, k=len(people))
        if trials := sum(t for _, t in drawn):
            found.append(sum(p for p, _ in drawn) / trials)
    low, high = interval(found)
    if low == high:
        low, high = wilson(points / n, len(people))
    return {"share": points / n, "low": low, "high": high, "n": n}


def each_hand(rows: list[dict]) -> Iterator[dict]:
    """Yield the rows, a show of hands as one vote a hand; the first hand of each count is taken for one person."""
    for row in rows:
        if row["kind"] != "hands":
            yield row
            continue
        raised = [choice for choice, n in row["payload"].items() for _ in range(n)]
        for place, choice in enumerate(raised):
            yield row | {"kind": "pair", "rater": f"hand {place}", "payload": {"choice": choice}}


def verdict(row: dict) -> str | None:
    """Return the id of the completion that a pair's answer prefers, or "tie" or "bad"; None for other answers."""
    if row["kind"] != "pair":
        return None
    choice = row["payload"]["choice"]
    return row["answers"][choice == "right"]["id"] if choice in ("left", "right") else choice


def agreement(rows: list[dict], rng: random.Random) -> dict | None:
    """Return how often two raters of one pair say the same, chance included, as `share_of`."""
    said = defaultdict(dict)
    for row in rows:
        if (found := verdict(row)) and not row["repeat_of"]:
            said[row["task"]][row["rater"]] = found
    parts = defaultdict(lambda: (0.0, 0.0))
    for votes in said.values():
        counts = Counter(votes.values())
        for rater, vote in votes.items():  # each meeting of two counts once for each of them
            points, trials = parts[rater]
            parts[rater] = points + counts[vote] - 1, trials + len(votes) - 1
    return share_of(parts, rng)


def leaderboard(rows: list[dict], rng: random.Random) -> list[dict]:
    """Return the models, the best first: the share of comparisons with others that each wins, a tie is half a win."""
    parts = defaultdict(lambda: defaultdict(lambda: (0.0, 0.0)))
    for row in rows:
        models = [answer["model"] for answer in row["answers"]]
        if row["kind"] != "pair" or row["repeat_of"] or row["payload"]["choice"] == "bad" or len(set(models)) < 2:
            continue
        for model, side in zip(models, ("left", "right"), strict=True):
            points, trials = parts[model][row["rater"]]
            won = {side: 1.0, "tie": 0.5}.get(row["payload"]["choice"], 0.0)
            parts[model][row["rater"]] = points + won, trials + 1
    board = [{"name": model, **share_of(of_raters, rng)} for model, of_raters in parts.items()]
    return sorted(board, key=lambda line: -line["share"])


class Figures:
    """Computes the figures in a thread, at most every `EVERY` seconds however many screens ask."""

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
        room, shown = self.room, {}
        if room.pair:
            shown["pair"] = {"prompt": room.pair["task"]["prompt"], "counts": room.pair["counts"],
                             "answers": [answer["text"] for answer in room.pair["task"]["answers"]],
                             "models": room.pair["models"]}
        shown |= {"revealed": room.revealed, "address": room.address, "code": room.code}
        if not room.revealed:  # who wrote what stays hidden
            shown["board"] = [line | {"name": f"model {chr(65 + place)}"}
                              for place, line in enumerate(sorted(self.kept["projector"]["board"],
                                                                  key=lambda line: line["name"]))]
            shown["samples"] = [sample | {"team": ""} for sample in self.kept["projector"]["samples"]]
        return shown

    def compute(self) -> dict:
        """Return {"projector": ..., "console": ...} from the store."""
        store, now, rng = self.room.store, time.time(), random.Random(0)
        hidden, states, current = store.room()
        people = [row for row in store.raters() if row["kind"] == "person"]
        everything = store.answers(current) if current else []
        rows = [row for row in each_hand(everything) if not row["hidden"] and row["kind"] not in ("skip", "flag")]
        reports = [report for report in store.reports() if report.get("round") in (None, current)]
        votes, latest, curves = Counter(row["rater"] for row in rows), {}, defaultdict(list)
        for report in reports:  # of each team the newest that says something about it
            team = report.get("team") or ""
            latest[team] = latest.get(team, {}) | report
            if {"votes", "accuracy"} <= report.keys():
                curves[team].append([report["votes"], report["accuracy"]])
        groups = {"": rows} | {team: [row for row in rows if row["team"] == team]
                               for team in sorted({row["team"] for row in people} - {""})}
        projector = {
            "round": current, "state": states.get(current), "raters": sum(not row["hidden"] for row in people),
            "voted": sum(row["id"] in votes for row in people if not row["hidden"]),
            "votes": len(rows), "minute": sum(row["time"] > now - 60 for row in rows),
            "agreement": [
                {"team": team, **found} for team, said in groups.items() if (found := agreement(said, rng))],
            "board": leaderboard(rows, rng),
            "model": [{"team": team, "curve": report.get("curve") or curves[team],
                       **{name: report.get(name) for name in ("accuracy", "low", "high", "votes", "ceiling")}}
                      for team, report in sorted(latest.items()) if report.get("accuracy") is not None],
            "samples": sorted((sample | {"team": team} for team, report in latest.items()
                               for sample in report.get("samples", [])[:1]),
                              key=lambda sample: str(sample.get("best")))}  # an order that does not tell the team
        flags = [{"prompt": row["prompt"], "reason": row["payload"]["reason"], "answers": [
            {"id": answer["id"], "text": answer["text"], "hidden": answer["id"] in hidden}
            for answer in row["answers"]]} for row in everything if row["kind"] == "flag"][-20:]
        console = {"raters": [row | {"votes": votes[row["id"]]} for row in people], "flags": flags,
                   "rounds": [{"name": name, "state": state} for name, state in states.items()]}
        return {"projector": projector, "console": console}

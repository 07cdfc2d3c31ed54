"""What votes say: agreement, a leaderboard and guesses, each a share with an interval.

Plain Python, since the libraries for statistics alone would take more memory than this whole server. Intervals come
from drawing raters with replacement: votes of one person are not independent.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations

from rlhf_lessons.classroom import rounds

DRAWS = 200  # of the bootstrap
Z = 1.96


def interval(values: list[float]) -> tuple[float, float]:
    """Return the middle 95 % of the values."""
    values = sorted(values)
    cut = round(0.025 * (len(values) - 1))
    return values[cut], values[-1 - cut]


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share seen in `n` trials (Wilson 1927); never narrower than n allows."""
    middle, spread = (
        share + Z * Z / (2 * n),
        Z * (share * (1 - share) / n + Z * Z / (4 * n * n)) ** 0.5,
    )
    return max((middle - spread) / (1 + Z * Z / n), 0.0), min(
        (middle + spread) / (1 + Z * Z / n), 1.0
    )


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


def contests(row: dict) -> list[tuple[dict, dict, str]]:
    """Return (one answer, another, id of the better one, or "tie" or "bad") for each two answers that a row compares:
    those of a pair, each two of a ranking or of answers with scores."""
    payload, answers = row["payload"], row["answers"]
    if row["kind"] == "pair":
        choice = payload["choice"]
        return [
            (*answers, {"left": answers[0]["id"], "right": answers[1]["id"]}.get(choice, choice))
        ]
    marks = [-rank for rank in payload.get("ranks", [])] or [
        sum(each.values()) for each in payload.get("scores", [])
    ]
    return [
        (
            answers[i],
            answers[j],
            "tie" if marks[i] == marks[j] else answers[i if marks[i] > marks[j] else j]["id"],
        )
        for i, j in combinations(range(len(marks)), 2)
    ]


def agreement(rows: list[dict], rng: random.Random) -> dict | None:
    """Return how often two raters of the same two answers say the same, chance included, as `share_of`."""
    said = defaultdict(dict)
    for row in rows:
        for one, another, better in contests(row) if not row["repeat_of"] else []:
            said[frozenset((one["id"], another["id"]))][row["rater"]] = better
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
        for *pair, better in contests(row) if not row["repeat_of"] else []:
            if better == "bad" or pair[0]["model"] == pair[1]["model"]:
                continue
            for answer in pair:
                points, trials = parts[answer["model"]][row["rater"]]
                won = {answer["id"]: 1.0, "tie": 0.5}.get(better, 0.0)
                parts[answer["model"]][row["rater"]] = points + won, trials + 1
    board = [{"name": model, **share_of(of_raters, rng)} for model, of_raters in parts.items()]
    return sorted(board, key=lambda line: -line["share"])


def guesses(rows: list[dict], rng: random.Random) -> dict | None:
    """Return how often raters find the other team's answer, as `share_of`; "I cannot tell" is half right, as a coin."""
    parts = defaultdict(lambda: (0.0, 0.0))
    for row in rows:
        models, wanted = [answer["model"] for answer in row["answers"]], rounds.other(row["team"])
        if (
            row["kind"] == "pair"
            and row["payload"]["choice"] != "bad"
            and models.count(wanted) == 1
        ):
            points, trials = parts[row["rater"]]
            right = {("left", "right")[models.index(wanted)]: 1.0, "tie": 0.5}.get(
                row["payload"]["choice"], 0.0
            )
            parts[row["rater"]] = points + right, trials + 1
    return share_of(parts, rng)

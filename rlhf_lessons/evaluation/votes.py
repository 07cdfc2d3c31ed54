"""How well raters agree, with themselves, with each other and with the truth, and what else moves their votes.

Every figure is a dictionary {"value", "low", "high", "n", "why"}: a 95 % interval, the number of votes it rests on,
and in words why there is no value or no interval, or what the interval means. Intervals are bootstrapped by rater:
raters are drawn with replacement, each with all of their votes, since a rater's votes are alike. Drawing votes
instead would give intervals that are too narrow. With fewer than five raters there is nothing to draw from; then
intervals of shares are Wilson's, and hold for these raters only.
"""

from collections import Counter, defaultdict, namedtuple
from collections.abc import Callable
from functools import cache

import numpy as np

from rlhf_lessons.feedback.payloads import PASSES, compared
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.tasks import parse

ENOUGH = 5  # raters for a bootstrap by rater
GAP = 0.05  # true utilities closer than this decide nothing
FIGURES = {  # what each counts, and why it may have no value
    "agreement": ("raters agree with each other", "no pair of answers was judged by two raters"),
    "alpha": ("Krippendorff's alpha", "every vote is the same verdict: chance explains all of it"),
    "self_agreement": ("raters agree with themselves", "nobody judged the same answers twice"),
    "with_class": ("votes with the majority", "on no answers do the other raters have a majority"),
    "with_truth": (
        "votes with the true quality",
        "no vote decides between answers whose true quality is known and differs",
    ),
    "side_bias": ("votes for the left side", "no vote on a pair prefers one side"),
    "length_bias": (
        "votes for the longer answer",
        "no vote decides between answers of different length",
    ),
    "contradictions": (
        "scores contradict comparisons",
        "nobody both scored and compared the same answers",
    ),
    "seconds": ("seconds a vote", "no answer has a time"),
}
NOTHING = {"value": None, "low": None, "high": None, "n": 0}  # a figure of no votes
VERDICTS = (1, -1, 0, None)  # the first is better, the second is, neither, both bad
# What a rater said of two answers, `a` and `b`, in the order of their ids, `unit`. `left_won` is None where no side
# was chosen, or there were no sides.
Comparison = namedtuple("Comparison", "rater prompt a b unit verdict left_won")


def comparisons(answers: list[dict]) -> list[Comparison]:
    """Return all comparisons in current answers, the oldest first: pairs, and each two of a ranking."""
    found = []
    for row in answers:
        if (
            row["hidden"] or row["kind"] == "hands" or row["source"] == "guess"
        ):  # at who wrote it: no preference
            continue
        for i, j, lead in compared(row["kind"], row["payload"]):
            left_won = lead > 0 if row["kind"] == "pair" and lead else None
            verdict, a, b = lead and (1 if lead > 0 else -1), row["answers"][i], row["answers"][j]
            if a["id"] > b["id"]:
                verdict, a, b = verdict and -verdict, b, a
            found.append(
                Comparison(row["rater"], row["prompt"], a, b, (a["id"], b["id"]), verdict, left_won)
            )
    return found


@cache
def utility(prompt: str, text: str, ended: bool) -> float:
    """Return the true utility of an answer to a prompt of the toy world."""
    return judge(prompt, text, ended).utility


def decided_twice(rows: list[dict]) -> dict:
    """Return how often raters agreed with themselves, over repeats in which both verdicts chose a side, as a figure:
    a reward model, too, is tested on votes that chose a side.
    """
    first, outcomes = {}, []
    for vote in comparisons(rows):
        before = first.setdefault((vote.rater, vote.unit), vote)
        if before is not vote and vote.verdict and before.verdict:
            outcomes.append((vote.rater, vote.verdict == before.verdict))
    return share(outcomes, 200) if outcomes else NOTHING


def foreseeable(steady: dict) -> dict:
    """Return the share of votes that a perfect model would foresee, from how often raters agree with themselves.

    Where a share e of votes are slips, by chance, raters repeat themselves in s = 1 - 2e(1 - e) of the cases, and a
    perfect model, which never slips, foresees 1 - e = (1 + sqrt(2s - 1)) / 2: more than s. Below s = 1/2 it is 1/2.
    """
    if steady["value"] is None:
        return NOTHING
    return steady | {
        end: (1 + max(2 * steady[end] - 1, 0.0) ** 0.5) / 2 for end in ("value", "low", "high")
    }


def truth(vote: Comparison) -> float:
    """Return the true utility of a comparison's first answer less that of the second; 0 outside the toy world."""
    if parse(vote.prompt) is None:
        return 0.0
    a, b = (utility(vote.prompt, one["text"], one["ended"]) for one in (vote.a, vote.b))
    return a - b


def nothing(name: str) -> dict:
    """Return a figure without a value."""
    return {"value": None, "low": None, "high": None, "n": 0, "why": FIGURES[name][1]}


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of n independent votes (Wilson, 1927)."""
    z = 1.96
    middle, half = (
        share + z * z / (2 * n),
        z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)),
    )
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return max(0.0, float(low)), min(1.0, float(high))


def figure(statistic: Callable, raters: int, n: int, resamples: int, is_share: bool = True) -> dict:
    """Return a figure on `n` votes; `statistic(weights)` is its value where rater r counts weights[r] times."""
    value = float(statistic(np.ones(raters)))
    found = {"value": value, "low": None, "high": None, "n": n, "why": ""}
    if raters >= ENOUGH and not np.isnan(value):
        drawn = np.random.default_rng(0).multinomial(raters, [1 / raters] * raters, size=resamples)
        low, high = np.nanpercentile([statistic(weights) for weights in drawn], [2.5, 97.5])
        if high - low > 1e-9:
            return found | {"low": float(low), "high": float(high)}
    why = "all raters are alike in this" if raters >= ENOUGH else f"fewer than {ENOUGH} raters"
    if not is_share:
        return found | {"why": f"{why}: no interval"}
    low, high = wilson(value, n)
    return found | {
        "low": low,
        "high": high,
        "why": f"{why}: the interval counts votes, and holds for these only",
    }


def share(outcomes: list[tuple[str, float]], resamples: int) -> dict:
    """Return the figure of the share of true outcomes, given as (rater, outcome)."""
    by_rater = defaultdict(list)
    for rater, outcome in outcomes:
        by_rater[rater].append(outcome)
    hits, trials = (np.array([count(found) for found in by_rater.values()]) for count in (sum, len))
    return figure(
        lambda weights: weights @ hits / (weights @ trials), len(trials), len(outcomes), resamples
    )


def weighted_alpha(seen: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return (raw agreement, Krippendorff's nominal alpha) where rater r was drawn weights[r] times.

    `seen` (raters, units, verdicts) is 1 where the rater gave the verdict. A rater and its own copy are no pair.
    """
    counts = np.tensordot(weights, seen, 1)  # (units, verdicts)
    size, own = counts.sum(1), np.tensordot(weights**2, seen.sum(2), 1)
    pairs = size**2 - own  # ordered pairs of different raters
    there = pairs > 0
    if not there.any():
        return np.nan, np.nan
    counts, size, pairs = counts[there], size[there], pairs[there]
    apart = size**2 - (counts**2).sum(1)  # pairs with different verdicts
    total, by_verdict = size.sum(), counts.sum(0)
    expected = (total**2 - (by_verdict**2).sum()) / (total * (total - 1))
    alpha = 1 - (size * apart / pairs).sum() / total / expected if expected > 0 else np.nan
    return 1 - apart.sum() / pairs.sum(), alpha


def agreement(votes: list[Comparison], resamples: int) -> tuple[dict, dict]:
    """Return the figures of raw agreement, the share of pairs of raters who gave one verdict, and of alpha."""
    first = {}
    for vote in votes:
        first.setdefault((vote.rater, vote.unit), VERDICTS.index(vote.verdict))
    often = Counter(unit for _, unit in first)
    said = {place: verdict for place, verdict in first.items() if often[place[1]] > 1}
    if not said:
        return nothing("agreement"), nothing("agreement")
    raters, units = (
        {name: n for n, name in enumerate(dict.fromkeys(names))} for names in zip(*said)
    )
    seen = np.zeros((len(raters), len(units), len(VERDICTS)))
    for (rater, unit), verdict in said.items():
        seen[raters[rater], units[unit], verdict] = 1
    raw, alpha = (
        figure(
            lambda weights, i=i: weighted_alpha(seen, weights)[i],
            len(raters),
            len(said),
            resamples,
            is_share=False,
        )
        for i in (0, 1)
    )
    if np.isnan(alpha["value"]):
        alpha = nothing("alpha")
    return raw, alpha


def with_class(votes: list[Comparison]) -> list[tuple[str, bool]]:
    """Return (rater, whether the vote is that of most others) for each vote on which the others have a majority."""
    by_unit, found = defaultdict(dict), []
    for vote in votes:
        by_unit[vote.unit].setdefault(vote.rater, vote.verdict)
    for said in by_unit.values():
        counts = Counter(said.values())
        for rater, verdict in said.items():
            rest = (counts - Counter([verdict])).most_common(2)
            if rest and (len(rest) == 1 or rest[0][1] > rest[1][1]):
                found.append((rater, rest[0][0] == verdict))
    return found


def outcomes(answers: list[dict], votes: list[Comparison]) -> dict[str, list[tuple[str, bool]]]:
    """Return for each share what it counts, as (rater, outcome)."""
    found = {name: [] for name in FIGURES if name not in ("agreement", "alpha", "seconds")}
    first, scores = {}, {}
    for row in answers:
        if row["kind"] == "scores" and not row["hidden"]:
            for answer, marks in zip(row["answers"], row["payload"]["scores"], strict=True):
                scores[row["rater"], answer["id"]] = sum(marks.values())
    for vote in votes:
        before = first.setdefault((vote.rater, vote.unit), vote)
        if before is not vote:
            found["self_agreement"].append((vote.rater, before.verdict == vote.verdict))
        if vote.left_won is not None:
            found["side_bias"].append((vote.rater, vote.left_won))
        if not vote.verdict:
            continue
        words = [len(one["text"].split()) for one in (vote.a, vote.b)]
        marks = [scores.get((vote.rater, id), np.nan) for id in vote.unit]
        for name, lead, enough in (
            ("length_bias", words[0] - words[1], 1),
            ("with_truth", truth(vote), GAP),
            ("contradictions", marks[1] - marks[0], 1),
        ):
            if abs(lead) >= enough:  # which no nan is
                found[name].append((vote.rater, (lead > 0) == (vote.verdict > 0)))
    return found | {"with_class": with_class(votes)}


def seconds(answers: list[dict], resamples: int) -> dict:
    """Return the figure of seconds a vote: each rater's median, and the mean of these."""
    times = defaultdict(list)
    for row in answers:
        if row["ms"] is not None and row["kind"] not in PASSES and not row["hidden"]:
            times[row["rater"]].append(row["ms"] / 1000)
    if not times:
        return nothing("seconds")
    medians = np.array([np.median(values) for values in times.values()])
    return figure(
        lambda weights: weights @ medians / weights.sum(),
        len(medians),
        sum(map(len, times.values())),
        resamples,
        is_share=False,
    )


def leaderboard(votes: list[Comparison], resamples: int = 200) -> list[dict]:
    """Return the models, the best first: {"model"} and the figure of comparisons with others won, a tie is half one."""
    games, found = defaultdict(list), []
    for vote in votes:
        if (
            vote.a["model"] != vote.b["model"]
            and vote.a["model"]
            and vote.b["model"]
            and vote.verdict is not None
        ):
            games[vote.a["model"]].append((vote.rater, (vote.verdict + 1) / 2))
            games[vote.b["model"]].append((vote.rater, (1 - vote.verdict) / 2))
    for model, results in games.items():
        row = {"model": model, **share(results, resamples)}
        if row["value"] in (0, 1):
            said = "won" if row["value"] else "lost"
            row["why"] = f"{said} all {row['n']}: how far ahead or behind cannot be told"
        found.append(row)
    return sorted(found, key=lambda row: -row["value"])


def statistics(answers: list[dict], resamples: int = 500) -> dict:
    """Return all figures of current answers (`Store.answers`), and the leaderboard."""
    votes = comparisons(answers)
    raw, alpha = agreement(votes, resamples)
    return {
        "answers": dict(Counter("hidden" if row["hidden"] else row["kind"] for row in answers)),
        "raters": len({row["rater"] for row in answers}),
        "ties": sum(vote.verdict == 0 for vote in votes),
        "both_bad": sum(vote.verdict is None for vote in votes),
        "agreement": raw,
        "alpha": alpha,
        **{
            name: share(found, resamples) if found else nothing(name)
            for name, found in outcomes(answers, votes).items()
        },
        "seconds": seconds(answers, resamples),
        "leaderboard": leaderboard(votes),
    }

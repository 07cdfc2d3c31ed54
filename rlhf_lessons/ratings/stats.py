"""How well raters agree, with themselves, with each other and with the truth, and what else moves their votes.

Every figure is a dictionary {"value", "low", "high", "n", "why"}: a 95 % interval, the number of votes it rests on,
and in words why there is no value or no interval, or what the interval means. Intervals are bootstrapped by rater:
raters are drawn with replacement, each with all of their votes, since a rater's votes are alike. Drawing votes
instead would give intervals that are too narrow. With fewer than five raters there is nothing to draw from; then
intervals of shares are Wilson's, and hold for these raters only.
"""
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations

import evalica
import numpy as np
import pandas as pd

from rlhf_lessons.data import known
from rlhf_lessons.ratings.export import label_raters
from rlhf_lessons.ratings.judgements import favourite
from rlhf_lessons.world.judge import judge

ENOUGH = 5  # raters for a bootstrap by rater
GAP = 0.05  # true utilities closer than this decide nothing
DRAW = 0.25  # weight of a made-up draw between each two models, without which a model that wins all has no strength
VERDICTS = (1, -1, 0, "bad")  # the first is better, the second is, neither, both bad
FEW = "fewer than 5 raters: the interval holds for these only"
NO_SPREAD = "all raters are alike in this: the interval counts votes, not raters"


@dataclass(frozen=True)
class Comparison:
    """What one rater said of two completions, `unit`, whose ids stand in alphabetical order."""
    rater: str
    unit: tuple[str, str]
    verdict: int | str  # one of VERDICTS
    left_won: bool | None  # None where no side was chosen, or there were no sides
    words: tuple[int, int]
    models: tuple[str, str]
    truth: float | None  # true utility of the first less that of the second; None outside the toy world


def comparisons(answers: list[dict]) -> list[Comparison]:
    """Return all comparisons in current answers, the oldest first: pairs, and each two of a ranking."""
    found = []
    for row in answers:
        if row["hidden"] or row["kind"] not in ("pair", "ranking"):
            continue
        shown, payload = row["answers"], row["payload"]
        toy = known(row["prompt"])
        for i, j in combinations(range(len(shown)), 2):
            if row["kind"] == "pair":
                verdict = {"left": 1, "right": -1, "tie": 0, "bad": "bad"}[payload["choice"]]
                left_won = {1: True, -1: False}.get(verdict)
            else:
                verdict, left_won = int(np.sign(payload["ranks"][j] - payload["ranks"][i])), None
            a, b = shown[i], shown[j]
            if a["id"] > b["id"]:
                a, b, verdict = b, a, -verdict if verdict != "bad" else verdict
            truth = [judge(row["prompt"], x["text"], x["ended"]).utility for x in (a, b)] if toy else None
            found.append(Comparison(row["rater"], (a["id"], b["id"]), verdict, left_won,
                                    (len(a["text"].split()), len(b["text"].split())), (a["model"], b["model"]),
                                    truth and truth[0] - truth[1]))
    return found


def nothing(why: str) -> dict:
    """Return a figure without a value."""
    return {"value": None, "low": None, "high": None, "n": 0, "why": why}


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of n independent votes (Wilson, 1927)."""
    z = 1.96
    middle, half = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return max(0.0, float(low)), min(1.0, float(high))


def drawn(n: int, resamples: int) -> np.ndarray:
    """Return how often each of n raters is drawn in each resample, (resamples, n)."""
    return np.random.default_rng(0).multinomial(n, [1 / n] * n, size=resamples)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of resampled values; those that are not defined are left out."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def share(outcomes: list[tuple[str, bool]], why_none: str, resamples: int) -> dict:
    """Return the share of true outcomes, given as (rater, outcome)."""
    if not outcomes:
        return nothing(why_none)
    names = sorted({rater for rater, _ in outcomes})
    true, all_ = np.zeros(len(names)), np.zeros(len(names))
    for rater, outcome in outcomes:
        true[names.index(rater)] += outcome
        all_[names.index(rater)] += 1
    value = float(true.sum() / all_.sum())
    found = {"value": value, "n": len(outcomes), "why": ""}
    if len(names) < ENOUGH or np.ptp(true / all_) == 0:
        low, high = wilson(value, len(outcomes))
        return found | {"low": low, "high": high, "why": FEW if len(names) < ENOUGH else NO_SPREAD}
    weights = drawn(len(names), resamples)
    low, high = interval((weights @ true) / (weights @ all_))
    return found | {"low": low, "high": high}


def units(votes: list[Comparison]) -> pd.DataFrame:
    """Return each rater's first verdict (as its place in VERDICTS) on each unit that two or more judged, else NaN."""
    first = {}
    for vote in votes:
        first.setdefault((vote.rater, " ".join(vote.unit)), VERDICTS.index(vote.verdict))
    often = Counter(unit for _, unit in first)
    kept = {place: code for place, code in first.items() if often[place[1]] > 1}
    return pd.Series(kept, dtype=float).unstack() if kept else pd.DataFrame()


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
    frame = units(votes)
    if frame.empty:
        return (nothing("no pair of answers was judged by two raters"),) * 2
    seen = np.stack([(frame.to_numpy() == code) for code in range(len(VERDICTS))], axis=2).astype(float)
    raw, _ = weighted_alpha(seen, np.ones(len(frame)))
    n = int(frame.notna().to_numpy().sum())
    one_verdict = len(np.unique(frame.to_numpy()[frame.notna().to_numpy()])) == 1
    alpha = None if one_verdict else float(evalica.alpha(frame, distance="nominal").alpha)
    figures = [{"value": float(value) if value is not None else None, "low": None, "high": None, "n": n, "why": ""}
               for value in (raw, alpha)]
    if one_verdict:
        figures[1]["why"] = "every vote is the same verdict: alpha compares with chance and is not defined here"
    if len(frame) < ENOUGH:
        for figure in figures:
            figure["why"] = figure["why"] or "fewer than 5 raters judged the same answers: no interval"
    elif one_verdict or raw == 1:
        for figure in figures:
            figure["why"] = figure["why"] or "all agree on everything: drawing raters anew shows no spread"
    else:
        found = np.array([weighted_alpha(seen, weights) for weights in drawn(len(frame), resamples)])
        for figure, values in zip(figures, found.T, strict=True):
            figure["low"], figure["high"] = interval(values)
    return figures[0], figures[1]


def with_class(votes: list[Comparison]) -> list[tuple[str, bool]]:
    """Return (rater, whether the vote is that of most others) for each vote on which the others have a majority."""
    by_unit = defaultdict(dict)
    for vote in votes:
        by_unit[vote.unit].setdefault(vote.rater, vote.verdict)
    found = []
    for said in by_unit.values():
        counts = Counter(said.values())
        for rater, verdict in said.items():
            rest = (counts - Counter([verdict])).most_common(2)
            if rest and (len(rest) == 1 or rest[0][1] > rest[1][1]):
                found.append((rater, rest[0][0] == verdict))
    return found


def outcomes(answers: list[dict], votes: list[Comparison]) -> dict[str, tuple[list[tuple[str, bool]], str]]:
    """Return for each share what it counts, as (rater, outcome), and why it may have no value."""
    first, again, scores = {}, [], {}
    for vote in votes:
        place = vote.rater, vote.unit
        if place in first:
            again.append((vote.rater, first[place].verdict == vote.verdict))
        first.setdefault(place, vote)
    for row in answers:
        if row["kind"] == "scores" and not row["hidden"]:
            for answer, marks in zip(row["answers"], row["payload"]["scores"], strict=True):
                scores[row["rater"], answer["id"]] = sum(marks.values())
    decided = [vote for vote in votes if vote.verdict in (1, -1)]
    leads = [(vote, scores[vote.rater, vote.unit[0]] - scores[vote.rater, vote.unit[1]]) for vote in decided
             if {(vote.rater, vote.unit[0]), (vote.rater, vote.unit[1])} <= scores.keys()]
    gold = [row for row in answers if row["gold"] and row["kind"] in ("pair", "ranking") and not row["hidden"]]
    return {
        "self_agreement": (again, "nobody judged the same answers twice"),
        "side_bias": ([(v.rater, v.left_won) for v in votes if v.left_won is not None],
                      "no vote on a pair prefers one side"),
        "length_bias": ([(v.rater, (v.words[0] > v.words[1]) == (v.verdict == 1)) for v in decided
                         if v.words[0] != v.words[1]], "no vote decides between answers of different length"),
        "with_class": (with_class(votes), "on no answers do the other raters have a majority"),
        "with_truth": ([(v.rater, (v.truth > 0) == (v.verdict == 1)) for v in decided
                        if v.truth is not None and abs(v.truth) >= GAP],
                       "no vote decides between answers whose true quality is known and differs"),
        "contradictions": ([(v.rater, (lead > 0) != (v.verdict == 1)) for v, lead in leads if lead],
                           "nobody both scored and compared the same answers"),
        "gold": ([(row["rater"], row["answers"][favourite(row["payload"])]["id"] ==
                   row["completions"][row["gold"]["best"]] if favourite(row["payload"]) is not None else False)
                  for row in gold], "no item with a known answer was judged")}


def seconds(answers: list[dict], resamples: int) -> dict:
    """Return the figure of seconds a vote: each rater's median, and the mean of these."""
    times = defaultdict(list)
    for row in answers:
        if row["ms"] is not None and row["kind"] not in ("skip", "flag") and not row["hidden"]:
            times[row["rater"]].append(row["ms"] / 1000)
    if not times:
        return nothing("no answer has a time")
    medians = np.array([np.median(values) for values in times.values()])
    found = {"value": float(medians.mean()), "low": None, "high": None, "n": sum(map(len, times.values())),
             "why": "fewer than 5 raters: no interval"}
    if len(medians) >= ENOUGH:
        low, high = interval(drawn(len(medians), resamples) @ medians / len(medians))
        found |= {"low": low, "high": high, "why": ""}
    return found


def leaderboard(votes: list[Comparison], resamples: int = 200) -> list[dict]:
    """Return the models, the best first: the share of comparisons that each would win against the others.

    It is the Bradley-Terry model's (ties are half a win each) with a small made-up draw between each two models. Each
    is {"model"} and a figure. A model that won or lost all has Wilson's interval: how far ahead cannot be told.
    """
    votes = [vote for vote in votes if vote.models[0] != vote.models[1] and all(vote.models) and vote.verdict != "bad"]
    models = sorted({model for vote in votes for model in vote.models})
    if not votes:
        return []
    made_up = list(combinations(models, 2))
    xs = [vote.models[0] for vote in votes] + [a for a, _ in made_up]
    ys = [vote.models[1] for vote in votes] + [b for _, b in made_up]
    kinds = {1: evalica.Winner.X, -1: evalica.Winner.Y, 0: evalica.Winner.Draw}
    winners = [kinds[vote.verdict] for vote in votes] + [evalica.Winner.Draw] * len(made_up)
    names = sorted({vote.rater for vote in votes})
    place = np.array([names.index(vote.rater) for vote in votes])

    def shares(weights) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            strength = evalica.bradley_terry(xs, ys, winners, weights=[*weights, *[DRAW] * len(made_up)],
                                             limit=1000).scores.reindex(models).to_numpy()
        against = strength[:, None] / (strength[:, None] + strength[None, :])
        return (against.sum(1) - 0.5) / (len(models) - 1)

    by_rater = len(names) >= ENOUGH
    weights = drawn(len(names), resamples)[:, place] if by_rater else drawn(len(votes), resamples)
    values, spread = shares(np.ones(len(votes))), np.array([shares(row) for row in weights.astype(float)])
    found = []
    for i, model in enumerate(models):
        points = [vote.verdict if vote.models[0] == model else -vote.verdict for vote in votes if model in vote.models]
        (low, high), why = interval(spread[:, i]), "" if by_rater else FEW
        if set(points) in ({1}, {-1}) or high - low < 0.01:
            low, high = wilson((np.mean(points) + 1) / 2, len(points))
            low, high = min(low, float(values[i])), max(high, float(values[i]))
            why = NO_SPREAD if len(set(points)) > 1 or not points[0] else (
                f"{'won' if points[0] == 1 else 'lost'} all {len(points)}: how far ahead or behind cannot be told")
        figure = {"value": float(values[i]), "low": low, "high": high, "n": len(points), "why": why}
        found.append({"model": model, **figure})
    return sorted(found, key=lambda row: -row["value"])


def statistics(answers: list[dict], resamples: int = 500) -> dict:
    """Return all figures of current answers (`Store.answers`), the leaderboard, and shares of each rater by name."""
    votes = comparisons(answers)
    shares = outcomes(answers, votes)
    raw, alpha = agreement(votes, resamples)
    counts = Counter("hidden" if row["hidden"] else row["kind"] for row in answers)
    names = label_raters(answers)
    by_rater = {names[rater]: {"votes": sum(row["rater"] == rater for row in answers)} | {
        name: {"value": float(np.mean(own)) if own else None, "n": len(own)} for name, (found, _) in shares.items()
        for own in [[outcome for who, outcome in found if who == rater]]} for rater in names}
    return {"answers": dict(counts), "raters": len(names),
            "ties": sum(vote.verdict == 0 for vote in votes), "both_bad": sum(vote.verdict == "bad" for vote in votes),
            "agreement": raw, "alpha": alpha,
            **{name: share(found, why, resamples) for name, (found, why) in shares.items()},
            "seconds": seconds(answers, resamples), "leaderboard": leaderboard(votes), "by_rater": by_rater}

"""How well raters agree, with themselves, with each other and with the truth, and what else moves
their votes.

The only statistics of votes: command line, report, projector and notebook show these figures. What
is counted: of all that a person says about the same two answers the first is the vote, whether on a
pair, within a ranking or by scores; a show of hands is a person a hand; what comes later measures
the person (`self_agreement`), not the answers.

Every figure is a dictionary {"value", "low", "high", "n", "why"}: a 95 % interval, the number of
votes it rests on, and in words why there is no value or no interval, or what the interval means.
Intervals are bootstrapped by rater, since a rater's votes are alike. With fewer than five raters
there is nothing to draw from; then intervals of shares are Wilson's over the votes, and hold for
these raters only. Where all raters are alike, they are Wilson's over the raters: five people who
agree are no proof.
"""

from collections import Counter, defaultdict, namedtuple
from collections.abc import Callable, Iterable
from functools import cache
from itertools import combinations
from statistics import multimode

import numpy as np

from rlhf_lessons.evaluation.intervals import bootstrap, wilson
from rlhf_lessons.world.judge import judge

ENOUGH = 5  # raters for a bootstrap by rater
DRAWS = 500  # of it: screens wait for it
PASSED = {"skip": "skipped", "flag": "flagged"}
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
NOTHING = {"value": None, "low": None, "high": None, "n": 0, "why": ""}  # a figure of no votes
VERDICTS = (1, -1, 0, None)  # the first is better, the second is, neither, both bad
# What a rater said of two answers, `a` and `b`, in the order of their ids, `unit`. `left_won` is
# None where no side was chosen, or there were no sides. `click` is whether the two were compared as
# such, on a pair or in a ranking.
Comparison = namedtuple("Comparison", "rater prompt a b unit verdict left_won click")
Outcomes = list[tuple[str, float]]  # (rater, outcome) of each vote
truth = cache(judge)  # many raters see the same answers


def unusable(row: dict) -> str | None:
    """Return why nothing can be learned from an answer, or None."""
    if row["hidden"]:
        return "hidden by the teacher"
    if row["kind"] in PASSED:
        return PASSED[row["kind"]]
    if row["repeat_of"]:
        return "a repeat, which measures the rater"
    return "a guess at who wrote it" if row["source"] == "guess" else None


def hands(row: dict) -> dict[str, int]:
    """Return how many people made each choice in an answer to a pair."""
    return row["payload"] if row["kind"] == "hands" else {row["payload"]["choice"]: 1}


def compared(row: dict) -> list[tuple[int, int, int | None]]:
    """Return (place, other place, lead) of each two answers that a pair, a ranking or scores
    compare, once for each hand.

    The lead is by how much the first is better, below 0 where it is worse, 0 for a tie, None where
    both are bad; that of scores is between their sums.
    """
    kind, payload = row["kind"], row["payload"]
    if kind in ("pair", "hands"):
        much = payload.get("strength", 1)
        lead = {"left": much, "right": -much, "tie": 0, "bad": None}
        return [(0, 1, lead[choice]) for choice in Counter(hands(row)).elements()]
    if kind == "ranking":
        marks = [-rank for rank in payload["ranks"]]
    else:
        marks = [sum(each.values()) for each in payload.get("scores", ())]
    places = combinations(range(len(marks)), 2)
    return [(i, j, marks[i] - marks[j]) for i, j in places]


def comparisons(answers: list[dict]) -> list[Comparison]:
    """Return all comparisons in current answers, the oldest first: of pairs, hands, and each two
    ranked or scored.
    """
    found = []
    for row in answers:
        if row["hidden"] or row["source"] == "guess":  # at who wrote it: no preference
            continue
        kind = row["kind"]
        for n, (i, j, lead) in enumerate(compared(row)):
            verdict = None if lead is None else (lead > 0) - (lead < 0)
            a, b = row["answers"][i], row["answers"][j]
            if a["id"] > b["id"]:
                verdict, a, b = verdict and -verdict, b, a
            found.append(
                Comparison(
                    rater=f"{row['rater']}, hand {n}" if kind == "hands" else row["rater"],
                    prompt=row["prompt"],
                    a=a,
                    b=b,
                    unit=(a["id"], b["id"]),
                    verdict=verdict,
                    left_won=lead > 0 if kind == "pair" and lead else None,
                    click=kind in ("pair", "ranking"),
                )
            )
    return found


def first_of(votes: list[Comparison]) -> list[Comparison]:
    """Return of what each rater said of each two answers the first."""
    first = {}
    for vote in votes:
        first.setdefault((vote.rater, vote.unit), vote)
    return list(first.values())


def repeats(votes: list[Comparison]) -> list[tuple[Comparison, Comparison]]:
    """Return (first, later) for each time a rater compared the same two answers again."""
    first = {}
    found = []
    for vote in votes:
        before = first.setdefault((vote.rater, vote.unit), vote) if vote.click else vote
        if before is not vote:
            found.append((before, vote))
    return found


@np.errstate(divide="ignore", invalid="ignore")
def figure(statistic: Callable, raters: int, n: int, why: str, is_share: bool = True) -> dict:
    """Return a figure on `n` votes; `statistic(weights)` has a value for each row of weights
    (draws, raters). Where it is NaN, `why` says why there is none.
    """
    value = float(statistic(np.ones((1, raters)))[0])
    if np.isnan(value):
        return NOTHING | {"why": why}
    found = NOTHING | {"value": value, "n": n}
    few = raters < ENOUGH
    if not few:
        low, high = bootstrap(statistic, raters, DRAWS)
        if high - low > 1e-9:
            return found | {"low": low, "high": high}
    why = f"fewer than {ENOUGH} raters" if few else "all raters are alike in this"
    if not is_share:
        return found | {"why": f"{why}: no interval"}
    low, high = wilson(value, n if few else raters)
    counts = "counts votes, and holds for these only" if few else "counts raters"
    return found | {"low": float(low), "high": float(high), "why": f"{why}: the interval {counts}"}


def share(outcomes: Outcomes, why: str = "", is_share: bool = True) -> dict:
    """Return the figure of the share of true outcomes, or their mean; `why` there may be none."""
    by_rater = defaultdict(list)
    for rater, outcome in outcomes:
        by_rater[rater].append(outcome)
    totals = [(sum(found), len(found)) for found in by_rater.values()]
    sums, counts = np.array(totals).reshape(-1, 2).T
    return figure(
        lambda weights: weights @ sums / (weights @ counts), len(sums), len(outcomes), why, is_share
    )


def decided_twice(rows: list[dict]) -> dict:
    """Return how often raters agreed with themselves, over repeats in which both verdicts chose a
    side, as a figure: a reward model, too, is tested on votes that chose a side.
    """
    return share(
        [
            (vote.rater, vote.verdict == before.verdict)
            for before, vote in repeats(comparisons(rows))
            if vote.verdict and before.verdict
        ]
    )


def predictable(steady: dict) -> dict:
    """Return the share of votes that a perfect model would predict, from how often raters agree
    with themselves.

    Where a share e of votes are noise, raters repeat themselves in s = 1 - 2e(1 - e) of
    the cases, and a perfect model, which never slips, predicts 1 - e = (1 + sqrt(2s - 1)) / 2: more
    than s. Below s = 1/2 it is 1/2.
    """
    if steady["value"] is None:
        return NOTHING
    found = dict(steady)
    for end in ("value", "low", "high"):
        found[end] = (1 + max(2 * steady[end] - 1, 0.0) ** 0.5) / 2
    return found


def weighted_alpha(seen: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return raw agreement and Krippendorff's nominal alpha (draws,), where rater r was drawn
    weights[:, r] times.

    `seen` (raters, units, verdicts) is 1 where the rater gave the verdict. A rater and its own copy
    are no pair.
    """
    counts = np.tensordot(weights, seen, 1)  # (draws, units, verdicts)
    size = counts.sum(2)
    pairs = size**2 - weights**2 @ seen.sum(2)  # ordered pairs of different raters
    apart = size**2 - (counts**2).sum(2)  # such pairs with different verdicts
    raw = 1 - apart.sum(1) / pairs.sum(1)
    by_verdict = (counts * (pairs > 0)[:, :, None]).sum(1)
    total = by_verdict.sum(1)
    expected = (total**2 - (by_verdict**2).sum(1)) / (total * (total - 1))
    observed = np.nansum(size * apart / pairs, 1) / total
    return raw, 1 - observed / expected


def numbered(names: Iterable) -> dict:
    """Return {name: its number}, in the order in which they first come."""
    return {name: n for n, name in enumerate(dict.fromkeys(names))}


def agreement(votes: list[Comparison]) -> tuple[dict, dict]:
    """Return the figures of raw agreement, the share of pairs of raters who gave one verdict, and
    of alpha.
    """
    votes = first_of(votes)
    often = Counter(vote.unit for vote in votes)
    votes = [vote for vote in votes if often[vote.unit] > 1]
    raters = numbered(vote.rater for vote in votes)
    units = numbered(vote.unit for vote in votes)
    seen = np.zeros((len(raters), len(units), len(VERDICTS)))
    for vote in votes:
        seen[raters[vote.rater], units[vote.unit], VERDICTS.index(vote.verdict)] = 1

    def measured(part: int, name: str) -> dict:
        return figure(
            lambda weights: weighted_alpha(seen, weights)[part],
            raters=len(raters),
            n=len(votes),
            why=FIGURES[name][1],
            is_share=False,
        )

    return measured(0, "agreement"), measured(1, "alpha" if votes else "agreement")


def with_class(votes: list[Comparison]) -> Outcomes:
    """Return whether each vote is that of most others, where these have a majority."""
    by_unit = defaultdict(dict)
    found = []
    for vote in first_of(votes):
        by_unit[vote.unit][vote.rater] = vote.verdict
    for said in by_unit.values():
        for rater, verdict in said.items():
            most = multimode(theirs for other, theirs in said.items() if other != rater)
            if len(most) == 1:
                found.append((rater, most == [verdict]))
    return found


def with_the_higher(votes: list[Comparison], measure: Callable, least: float = 1) -> Outcomes:
    """Return whether each click for a side is for the answer of the higher `measure(vote, answer)`,
    where the two differ by `least`.
    """
    found = []
    for vote in votes:
        lead = measure(vote, vote.a) - measure(vote, vote.b)
        if vote.verdict and vote.click and abs(lead) >= least:  # which no nan is
            found.append((vote.rater, (lead > 0) == (vote.verdict > 0)))
    return found


def outcomes(answers: list[dict], votes: list[Comparison]) -> dict[str, Outcomes]:
    """Return for each share what it counts."""
    sums = {}
    for row in answers:
        if row["kind"] == "scores" and not row["hidden"]:
            for answer, marks in zip(row["answers"], row["payload"]["scores"], strict=True):
                sums[row["rater"], answer["id"]] = sum(marks.values())

    return {
        "self_agreement": [
            (vote.rater, before.verdict == vote.verdict) for before, vote in repeats(votes)
        ],
        "with_class": with_class(votes),
        "with_truth": with_the_higher(
            votes, lambda vote, one: truth(vote.prompt, one["text"], one["ended"]).utility, GAP
        ),
        "side_bias": [(vote.rater, vote.left_won) for vote in votes if vote.left_won is not None],
        "length_bias": with_the_higher(votes, lambda vote, one: len(one["text"].split())),
        "contradictions": with_the_higher(
            votes, lambda vote, one: -sums.get((vote.rater, one["id"]), np.nan)
        ),
    }


def seconds(answers: list[dict]) -> dict:
    """Return the figure of seconds a vote: each rater's median, and the mean of these."""
    times = defaultdict(list)
    for row in answers:
        if row["ms"] is not None and row["kind"] not in PASSED and not row["hidden"]:
            times[row["rater"]].append(row["ms"] / 1000)
    medians = [(rater, np.median(values)) for rater, values in times.items()]
    found = share(medians, FIGURES["seconds"][1], is_share=False)
    return found | {"n": sum(map(len, times.values()))}


def leaderboard(votes: list[Comparison], by: str = "rater") -> list[dict]:
    """Return the models, the best first: {"model"} and the figure of comparisons with others won, a
    tie is half one. Intervals are bootstrapped by rater, or by "prompt".
    """
    games = defaultdict(list)
    found = []
    for vote in first_of(votes):
        one, other = vote.a["model"], vote.b["model"]
        if one and other and one != other and vote.verdict is not None:
            group = getattr(vote, by)
            games[one].append((group, (1 + vote.verdict) / 2))
            games[other].append((group, (1 - vote.verdict) / 2))
    for model, results in games.items():
        row = {"model": model, **share(results)}
        if row["value"] in (0, 1):
            said = "won" if row["value"] else "lost"
            row["why"] = f"{said} all {row['n']}: how far ahead or behind cannot be told"
        found.append(row)
    return sorted(found, key=lambda row: -row["value"])


def statistics(answers: list[dict]) -> dict:
    """Return all figures of current answers (`Store.answers`), and the leaderboard."""
    votes = comparisons(answers)
    raw, alpha = agreement(votes)
    shares = outcomes(answers, votes)
    return {
        "answers": dict(Counter("hidden" if row["hidden"] else row["kind"] for row in answers)),
        "raters": len({row["rater"] for row in answers}),
        "ties": sum(vote.verdict == 0 for vote in votes if vote.click),
        "both_bad": sum(vote.verdict is None for vote in votes if vote.click),
        "agreement": raw,
        "alpha": alpha,
        **{name: share(found, FIGURES[name][1]) for name, found in shares.items()},
        "seconds": seconds(answers),
        "leaderboard": leaderboard(votes),
    }

"""What stands on a report's page: what was gathered, as a list of blocks that `looks.py` draws.

A block is (kind, content): ("title", (text, text under it)), ("tiles", [(value, label)]), ("heading", text), ("text",
text), ("table", (header, rows)) or ("pictures", [(PNG, words)]), which stand side by side.
"""

import io
from types import SimpleNamespace

from rlhf_lessons.exercises import catalogue

LONGEST, MOST = 400, 8  # characters of a text, rounds in the table
BLIND = {
    "model": "model",
    "won": "value",
    "low": "low",
    "high": "high",
    "of": "n",
}  # column -> of the winner
CORE = {
    f"{lesson}.{name}"
    for lesson, names in catalogue().items()
    for name, core in names.items()
    if core
}
COURSE = {
    "lesson0": "0 · before and after",
    "lesson1": "1 · the next token",
    "lesson2": "2 · fine-tuning",
    "lesson3": "3 · the reward model",
    "lesson4": "4 · PPO",
    "lesson6": "6 · the loop",
}


def percent(figure: dict) -> str:
    """Return a share with its interval, and in words why there is none."""
    if figure["value"] is None:
        return "–"
    interval = "" if figure["low"] is None else f" ({figure['low']:.0%} to {figure['high']:.0%})"
    return f"{figure['value']:.0%}{interval}"


def plural(n: int, word: str) -> str:
    return f"{n} {word}{'s' * (n != 1)}"


def short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def headline(found: dict) -> str:
    """Return a report in one line."""
    if found["on_class_page"]:
        return plural(found["votes"], "vote")
    return (
        f"{plural(found['votes'], 'vote')}, {plural(len(found['exercises']['passed']), 'exercise')} passed, "
        f"{plural(len(found['models']), 'model')} trained"
    )


def summary(found: dict) -> dict:
    """Return a report as the row of a table: texts, numbers, and None where there is nothing."""
    agreement, rounds = found["self_agreement"], found["rounds"]
    return {
        "name": found["name"],
        "made": found["made"],
        "votes": found["votes"],
        "rounds": len(rounds),
        "first_vote": min((row["first"] for row in rounds), default=None),
        "last_vote": max((row["last"] for row in rounds), default=None),
        "votes_id": found["votes_id"],
        "self_agreement": agreement["value"],
        "self_low": agreement["low"],
        "self_high": agreement["high"],
        "repeats": agreement["n"],
        "median_seconds": found["median_seconds"],
        "foreseen": found["foreseen"]["value"],
        "foreseen_low": found["foreseen"]["low"],
        "foreseen_high": found["foreseen"]["high"],
        "foreseen_of": found["foreseen"]["n"],
        **{f"blind_{name}": (found["blind"] or [{}])[0].get(key) for name, key in BLIND.items()},
        **dict(zip(("core", "core_of", "exercises", "exercises_of"), done(found))),
        "models": ", ".join(row["folder"] for row in found["models"]),
    }


def done(found: dict) -> tuple[int | None, int | None, int | None, int | None]:
    """Return (core exercises passed, core exercises, exercises passed, exercises); None where they are not known."""
    if found["on_class_page"]:
        return (None,) * 4
    passed, of, core = (found["exercises"][name] for name in ("passed", "of", "core"))
    return len(CORE & passed.keys()), sum(core.values()), len(passed), sum(of.values())


def blocks(found: dict) -> list[tuple]:
    """Return the page of what `mine.gather` found."""
    agreement, own = found["self_agreement"], []
    tiles = [(str(found["votes"]), "votes"), (percent(agreement).split(" ")[0], "self-agreement")]
    where = "Voted on the class page: exercises and models are on other computers."
    if not found["on_class_page"]:
        core, core_of, passed, of = done(found)
        tiles += [
            (f"{core} of {core_of}", "core exercises"),
            (f"{passed} of {of}", "exercises passed"),
            (str(len(found["models"])), "models trained"),
        ]
        own = [*exercises(found), *models(found)]
        where = "Every number comes from files on the learner's computer."
    mark = (
        f" Mark of the votes: {found['votes_id']}; nobody else's votes have it."
        if found["votes"]
        else ""
    )
    return [
        ("title", (found["name"] or "A report", f"RLHF Lessons · {found['made']}")),
        ("tiles", tiles),
        *votes(found),
        *taught(found),
        *compared(found),
        *own,
        ("text", where + mark),
    ]


def votes(found: dict) -> list[tuple]:
    agreement, rounds = found["self_agreement"], found["rounds"]
    if not rounds:
        return [("heading", "Votes"), ("text", "No votes yet. Lesson 3 begins with twenty.")]
    rows = [
        (
            row["round"],
            ", ".join(plural(n, kind.removesuffix("s")) for kind, n in row["kinds"].items()),
            row["first"] if row["first"] == row["last"] else f"{row['first']} to {row['last']}",
            "–" if row["seconds"] is None else f"{row['seconds']:.0f} s",
        )
        for row in rounds[-MOST:]
    ]
    more = (
        f"{plural(len(rounds) - MOST, 'earlier round')} not shown. " if len(rounds) > MOST else ""
    )
    said = (
        f"Agreement with yourself, on {plural(agreement['n'], 'repeated pair')}: {percent(agreement)}"
        if agreement["n"]
        else "Agreement with yourself is not known"
    )
    why = f" ({agreement['why']})" if agreement["why"] else ""
    return [
        ("heading", "Votes"),
        ("table", (("round", "judgements", "when", "seconds a vote"), rows)),
        ("text", f"{more}{said}{why}."),
    ]


def taught(found: dict) -> list[tuple]:
    head = ("heading", "What the votes taught a reward model")
    curves = [curve for curve in found["curves"] if curve["foreseen"]["n"]]
    if not curves:
        return [
            head,
            (
                "text",
                "Too few votes on pairs or rankings yet: it is tested on those after the twentieth.",
            ),
        ]
    said = [(drawn(curve), told(curve)) for curve in curves]
    return [head, ("pictures", said), *(("text", words) for _, words in said)]


def told(curve: dict) -> str:
    """Return in words what one learning curve shows."""
    first, of, twice = curve["points"][0], curve["foreseen"], curve["steady"]
    words = (
        f"{curve['of'].capitalize()}: of {plural(of['n'], 'vote')} it foresaw {percent(of)}, each before it "
        "learned from it; a coin: 50%."
    )
    if not first["votes"] and first["n"]:
        words += f" Before it knew any vote, it foresaw {percent(first)} of the first {first['n']}."
    if twice["n"]:
        words += (
            f" You chose the same side again in {percent(twice)} of {plural(twice['n'], 'repeat')}; if the rest "
            f"are slips, a perfect model would foresee {percent(curve['ceiling'])} (dotted)."
        )
    return words


def drawn(curve: dict) -> bytes:
    """Return one learning curve as PNG."""
    from rlhf_lessons.widgets.live import Point
    from rlhf_lessons.widgets.live import (
        curve as figure_of,  # only where it is needed: it brings the widgets
    )

    points = [Point(point["votes"], point, {"n": 0}) for point in curve["points"]]
    figure, file = (
        figure_of(SimpleNamespace(points=points, session=True, ceiling=curve["ceiling"])),
        io.BytesIO(),
    )
    of = curve["foreseen"]
    figure.axes[0].set_title(
        f"{curve['of'].capitalize()}: {of['value']:.0%} of {plural(of['n'], 'vote')} foreseen",
        loc="left",
    )
    figure.savefig(file, dpi=160)
    return file.getvalue()


def compared(found: dict) -> list[tuple]:
    result = [("heading", "Before and after")]
    if found["blind"]:
        rows = [(row["model"], percent(row), str(row["n"])) for row in found["blind"]]
        result += [
            ("text", "Chosen without seeing who wrote it:"),
            ("table", (("model", "comparisons won", "of"), rows)),
        ]
    if pair := found["chosen"]:
        texts = (
            f"{pair[side]['model']}: {short(pair[side]['text'])}" for side in ("worse", "better")
        )
        result.append(
            ("table", (("prompt", "not chosen", "chosen"), [(short(pair["prompt"]), *texts)]))
        )
    if pair := found["before_after"]:
        rows = [
            (
                row["prompt"],
                *(
                    short(row[side]) + " ✓" * done
                    for side, done in zip(("before", "after"), row["done"])
                ),
            )
            for row in pair["answers"]
        ]
        names = ("prompt", f"before: {pair['before']}", f"after: {pair['after']}")
        result += [
            ("text", "The model trained here, and the one that it began as (✓: done as asked):"),
            ("table", (names, rows)),
        ]
    if len(result) == 1:
        result.append(
            (
                "text",
                "Nothing to compare yet: no pair by two models was judged, and no model trained here.",
            )
        )
    return result


def exercises(found: dict) -> list[tuple]:
    passed, of, core, rows = *(found["exercises"][name] for name in ("passed", "of", "core")), []
    for lesson, n in of.items():
        here = [name for name in passed if name.partition(".")[0] == lesson]
        names = [
            name.partition(".")[2].replace("_", " ") + " (core)" * (name in CORE)
            for name in sorted(here, key=lambda name: name not in CORE)
        ]
        rows.append(
            (
                COURSE.get(lesson, lesson),
                f"core {len(CORE.intersection(here))} of {core[lesson]}",
                f"{len(names)} of {n}",
                ", ".join(names) or "–",
            )
        )
    said = (
        ("table", (("lesson", "core", "all", "which"), rows))
        if passed
        else ("text", "No exercise passed yet.")
    )
    return [("heading", "Exercises"), said]


def models(found: dict) -> list[tuple]:
    rows = [
        (
            row["folder"],
            f"{row['quality']:.3f}",
            f"{row['shipped']:.3f}",
            row["means"],
            f"{row['seconds'] / 60:.0f} min, {row['made']}",
        )
        for row in found["models"]
    ]
    said = (
        ("table", (("model", "yours", "shipped", "what is measured", "trained"), rows))
        if rows
        else (
            "text",
            "No model trained and kept yet. To train all four, type: python start.py course",
        )
    )
    return [("heading", "Models"), said]

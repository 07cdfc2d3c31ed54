"""What stands on a report's page: what was gathered, as a list of blocks that `looks.py` draws.

A block is (kind, content): ("title", (text, text under it)), ("tiles", [(value, label)]), ("heading", text), ("text",
text), ("table", (header, rows)) or ("picture", (PNG, words)).
"""
import io
from types import SimpleNamespace

LONGEST, MOST = 400, 8  # characters of a text, rounds in the table
COURSE = {"lesson0": "0 · before and after", "lesson1": "1 · the next token", "lesson2": "2 · fine-tuning",
          "lesson3": "3 · the reward model", "lesson4": "4 · PPO", "lesson6": "6 · the loop"}


def percent(figure: dict) -> str:
    """Return a share with its interval, and in words why there is none."""
    if figure["value"] is None:
        return "–"
    interval = "" if figure["low"] is None else f" ({figure['low']:.0%} to {figure['high']:.0%})"
    return f"{figure['value']:.0%}{interval}"


def plural(n: int, word: str) -> str:
    return f"{n} {word}{'s' * (n != 1)}"


def short(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST - 1] + "…"


def headline(found: dict) -> str:
    """Return a report in one line."""
    return (f"{plural(found['votes'], 'vote')}, {plural(len(found['exercises']['passed']), 'exercise')} passed, "
            f"{plural(len(found['models']), 'model')} trained")


def summary(found: dict) -> dict:
    """Return a report as the row of a table: texts, numbers, and None where there is nothing."""
    agreement, rounds = found["self_agreement"], found["rounds"]
    return {"name": found["name"], "made": found["made"], "votes": found["votes"], "rounds": len(rounds),
            "first_vote": min((row["first"] for row in rounds), default=None),
            "last_vote": max((row["last"] for row in rounds), default=None), "votes_id": found["votes_id"],
            "self_agreement": agreement["value"], "self_low": agreement["low"], "self_high": agreement["high"],
            "repeats": agreement["n"], "foreseen": found["foreseen"]["value"], "foreseen_low": found["foreseen"]["low"],
            "foreseen_high": found["foreseen"]["high"], "foreseen_of": found["foreseen"]["n"],
            "exercises": len(found["exercises"]["passed"]), "exercises_of": sum(found["exercises"]["of"].values()),
            "models": ", ".join(row["folder"] for row in found["models"])}


def blocks(found: dict) -> list[tuple]:
    """Return the page of what `mine.gather` found."""
    passed, of = len(found["exercises"]["passed"]), sum(found["exercises"]["of"].values())
    agreement = found["self_agreement"]
    tiles = [(str(found["votes"]), "votes"), (percent(agreement).split(" ")[0], "agreement with yourself"),
             (f"{passed} of {of}", "exercises passed"), (str(len(found["models"])), "models trained")]
    return [("title", (found["name"] or "A report", f"RLHF Lessons · {found['made']}")), ("tiles", tiles),
            *votes(found), *taught(found), *compared(found), *exercises(found), *models(found),
            ("text", "Every number comes from files on the learner's computer. "
             + (f"Mark of the votes: {found['votes_id']}; nobody else's votes have it." if found["votes"] else ""))]


def votes(found: dict) -> list[tuple]:
    agreement, rounds = found["self_agreement"], found["rounds"]
    if not rounds:
        return [("heading", "Votes"), ("text", "No votes yet. Lesson 3 begins with twenty.")]
    rows = [(row["round"], ", ".join(plural(n, kind.removesuffix("s")) for kind, n in row["kinds"].items()),
             row["first"] if row["first"] == row["last"] else f"{row['first']} to {row['last']}",
             "–" if row["seconds"] is None else f"{row['seconds']:.0f} s") for row in rounds[-MOST:]]
    more = f"{plural(len(rounds) - MOST, 'earlier round')} not shown. " if len(rounds) > MOST else ""
    said = (f"Agreement with yourself, on {plural(agreement['n'], 'repeated pair')}: {percent(agreement)}"
            if agreement["n"] else "Agreement with yourself is not known")
    why = f" ({agreement['why']})" if agreement["why"] else ""
    return [("heading", "Votes"), ("table", (("round", "judgements", "when", "seconds a vote"), rows)),
            ("text", f"{more}{said}{why}.")]


def taught(found: dict) -> list[tuple]:
    head = ("heading", "What the votes taught a reward model")
    if not found["foreseen"]["n"]:
        return [head, ("text", "Too few votes on pairs or rankings yet: it is tested on those after the twentieth.")]
    first, of = found["curve"][0], found["foreseen"]
    words = f"Of {plural(of['n'], 'vote')} it foresaw {percent(of)}, each before it learned from it; a coin: 50%."
    if not first["votes"]:
        words += f" Before it knew any vote, it foresaw {percent(first)} of the first {first['n']}."
    from rlhf_lessons.widgets.live import Point, curve
    points = [Point(point["votes"], point, {"n": 0}) for point in found["curve"]]
    figure, file = curve(SimpleNamespace(points=points, desk=True, ceiling=found["self_agreement"])), io.BytesIO()
    figure.axes[0].set_title(f"{percent(of)} of {plural(of['n'], 'vote')} foreseen", loc="left")
    figure.savefig(file, dpi=160)
    return [head, ("picture", (file.getvalue(), words)), ("text", words)]


def compared(found: dict) -> list[tuple]:
    result = [("heading", "Before and after")]
    if found["blind"]:
        rows = [(row["model"], percent(row), str(row["n"])) for row in found["blind"]]
        result += [("text", "Chosen without seeing who wrote it:"),
                   ("table", (("model", "comparisons won", "of"), rows))]
    if pair := found["chosen"]:
        texts = (f"{pair[side]['model']}: {short(pair[side]['text'])}" for side in ("worse", "better"))
        result.append(("table", (("prompt", "not chosen", "chosen"), [(short(pair["prompt"]), *texts)])))
    if pair := found["before_after"]:
        rows = [(row["prompt"], *(short(row[side]) + " ✓" * done
                                  for side, done in zip(("before", "after"), row["done"]))) for row in pair["answers"]]
        names = ("prompt", f"before: {pair['before']}", f"after: {pair['after']}")
        result += [("text", "The model trained here, and the one that it began as (✓: done as asked):"),
                   ("table", (names, rows))]
    if len(result) == 1:
        result.append(("text", "Nothing to compare yet: no pair by two models was judged, and no model trained here."))
    return result


def exercises(found: dict) -> list[tuple]:
    passed, of, rows = found["exercises"]["passed"], found["exercises"]["of"], []
    for lesson, n in of.items():
        names = [name.partition(".")[2].replace("_", " ") for name in passed if name.partition(".")[0] == lesson]
        rows.append((COURSE.get(lesson, lesson), f"{len(names)} of {n}", ", ".join(names) or "–"))
    said = ("table", (("lesson", "passed", "which"), rows)) if passed else ("text", "No exercise passed yet.")
    return [("heading", "Exercises"), said]


def models(found: dict) -> list[tuple]:
    rows = [(row["folder"], f"{row['quality']:.3f}", f"{row['shipped']:.3f}", row["means"],
             f"{row['seconds'] / 60:.0f} min, {row['made']}") for row in found["models"]]
    said = ("table", (("model", "yours", "shipped", "what is measured", "trained"), rows)) if rows else (
        "text", "No model trained and kept yet. To train all four, type: python start.py course")
    return [("heading", "Models"), said]

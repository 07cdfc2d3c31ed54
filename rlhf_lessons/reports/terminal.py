"""What a terminal shows: answers side by side, models with scores or faults, figures of votes."""

import math
import textwrap

from rlhf_lessons import data
from rlhf_lessons.evaluation.votes import FIGURES

WIDTH = 94  # letters of an answer in a line


def side_by_side(prompt: str, samples: dict[str, list[str]]) -> str:
    """Return the answers of `ask` as text, one block a model."""
    lines = [f"> {data.printable(prompt)}"]
    for name, texts in samples.items():
        lines += ["", name.upper()]
        for number, text in enumerate(texts, 1):
            shown = data.printable(text).strip("\n") or "(nothing: it ended at once)"
            folded = "\n".join(textwrap.fill(line, WIDTH) for line in shown.split("\n"))
            lines.append(f"{number:4}  " + folded.replace("\n", "\n      "))
    return "\n".join(lines)


def models_table(result: dict) -> str:
    """Return the tables of an `arena.evaluate`: scores, families, wins, with intervals."""
    overall = {name: found["overall"] for name, found in result["models"].items()}
    lines = [
        f"{result['n']} answers a model to {result['split']} prompts; mean, and 95 % interval in "
        "brackets",
        "",
        *intervals(overall),
        "",
        "True utility by family",
        "",
        *intervals(utilities(result)),
    ]
    if result["win_rates"]:
        lines += ["", "Share of prompts' answers that win by true utility, close ones left out", ""]
    for win in result["win_rates"]:
        lines.append(f"  {win['model']} against {win['against']}: {cell(win['rate'])}")
    return "\n".join(lines)


def utilities(result: dict) -> dict[str, dict]:
    """Return the true utility, [mean, low, high], of each model: overall, and by family."""
    found = {}
    for name, scores in result["models"].items():
        families = {family: each["utility"] for family, each in scores["families"].items()}
        found[name] = {"overall": scores["overall"]["utility"], **families}
    return found


def intervals(found: dict[str, dict]) -> list[str]:
    """Return the lines of a table with a row for each name, and a column for each interval."""
    rows = [[name, *map(cell, row.values())] for name, row in found.items()]
    return data.grid(["", *next(iter(found.values()))], rows)


def cell(interval: list[float]) -> str:
    """Return `0.71 [0.68 0.74]`, or a dash where nothing was measured."""
    mean, low, high = interval
    return f"{mean:.2f} [{low:.2f} {high:.2f}]" if math.isfinite(mean) else "-"


def compared_table(found: dict[str, dict]) -> str:
    """Return `compare.summary` as a table: the mean over seeds, and the least and the most."""
    columns = list(dict.fromkeys(name for row in found.values() for name in row))
    rows = []
    for method, row in found.items():
        rows.append([method, *(spread(row.get(name, ()), name) for name in columns)])
    return "\n".join(data.grid(["", *columns], rows))


def spread(numbers, name: str) -> str:
    """Return `0.71 (0.68 to 0.74)`, or a dash where a seed has no number."""
    if not numbers or None in numbers:
        return "-"
    form = "{:.0f}" if "seconds" in name else "{:.2f}"
    mean, least, most = sum(numbers) / len(numbers), min(numbers), max(numbers)
    return f"{form} ({form} to {form})".format(mean, least, most)


def diagnosis(found: dict) -> str:
    """Return what `diagnose` gives as text, a line a verdict, and which stage to fix."""
    lines = []
    for verdict in found["verdicts"]:
        mark = {True: "ok", False: "FAILED", None: "-"}[verdict["ok"]]
        lines.append("{:6}  {stage:6}  {check}: {evidence}".format(mark, **verdict))
        if mark == "FAILED":
            lines.append(f"{'':16}{verdict['advice']}")
    last = "No stage shows a known failure."
    if failed := found["failed"]:
        last = f"Fix this stage first: {failed}. Later ones stand on it."
    return "\n".join([*lines, "", last])


def votes_table(found: dict) -> str:
    """Return what `statistics` gives as a table for a terminal."""
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(found["answers"].items()))
    head = (
        f"{sum(found['answers'].values())} answers by {found['raters']} raters: "
        f"{kinds or 'none yet'}; {found['ties']} ties, {found['both_bad']} times both bad\n"
    )
    lines = [
        [label, *votes_cells(found[name], name not in ("seconds", "alpha"))]
        for name, (label, _) in FIGURES.items()
    ]
    for row in found["leaderboard"]:
        label = f"comparisons that {data.printable(row['model'])} would win"
        lines.append([label, *votes_cells(row, True)])
    return "\n".join([head, *data.grid(["", "value", "95 % interval", "votes", ""], lines)])


def votes_cells(figure: dict, is_share: bool) -> list[str]:
    """Return a figure as cells: value, interval, votes, remark."""
    value, low, high = (
        "-" if number is None else f"{100 * number:.0f} %" if is_share else f"{number:.2f}"
        for number in (figure["value"], figure["low"], figure["high"])
    )
    return [value, "-" if low == "-" else f"{low} to {high}", str(figure["n"]), figure["why"]]

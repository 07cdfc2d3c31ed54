"""`rl.report`: one page of what you did: votes, self-agreement, what your votes taught a reward
model, exercises.

Everything comes from your own files: the ratings store, `exercises.jsonl` and the models in the
folder `runs`. The page is `report.html.jinja`; a browser prints it.
"""

import base64
import io
import json
import re
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rlhf_lessons import checkpoints, paths
from rlhf_lessons.data import printable, to_json
from rlhf_lessons.evaluation.votes import (
    NOTHING,
    decided_twice,
    predictable,
    seconds,
    share,
    statistics,
)
from rlhf_lessons.exercises import catalogue
from rlhf_lessons.exercises.check import passed_file
from rlhf_lessons.feedback.payloads import PASSES, storable
from rlhf_lessons.feedback.personal import PersonalReward, readable, votes_of
from rlhf_lessons.feedback.schema import key
from rlhf_lessons.feedback.store import DEFAULT, Store
from rlhf_lessons.lm.models import CheckpointError, load_card
from rlhf_lessons.reports.class_table import Row
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS

NAME = 80  # characters of a name at most
ROUNDS = 8  # on the page at most, the newest ones


def report(name: str = "", *, rater: str = "you", store: Store | str | Path | None = None) -> None:
    """Write your report into the folder `runs/report`, as report.html, and say so and how to print
    it.

    `name` is what stands on it. `rater` and `store` are those that you gave to `rl.rate`, where you
    gave any; for another rater than "you" the file is called report_RATER. A teacher gives as
    `rater` the nickname of somebody who voted on the class page: then exercises and models, which
    would be the teacher's, are left out.
    """
    found = gather(name, rater, store)
    if rater != "you" and not found["votes"]:
        print(
            f"There is no report: nobody called '{rater}' has voted here. Who has: {voters(store)}."
        )
        return
    stem = "report" if rater == "you" else "report_" + re.sub(r"[^\w-]+", "_", rater)[:NAME]
    file = paths.RUNS / "report" / f"{stem}.html"
    paths.write_text(file, page(found))
    where = "/".join(file.parts[-3:])
    print(f"Your report: {where}. {headline(found)}.")
    print("To print it, or to keep it as a PDF, open it in a browser and choose Print there.")


def headline(found: dict) -> str:
    """Return a report in one line."""
    said = [plural(found["votes"], "vote")]
    if not found["on_class_page"]:
        said.append(plural(found["exercises"]["passed"], "exercise") + " passed")
        said.append(plural(len(found["models"]), "model") + " trained")
    return ", ".join(said)


# The page


def page(found: dict) -> str:
    """Return the report as HTML. Whatever people or models wrote is escaped; no script can run in
    it."""
    looks = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    looks.filters |= {"percent": percent, "plural": plural, "picture": picture}
    looks.policies |= {"json.dumps_function": to_json, "json.dumps_kwargs": {}}
    numbers = {
        "course": "RLHF Lessons",
        "summary": row_of(found).model_dump(),
        "curves": found["curves"],
    }
    return looks.get_template("report.html.jinja").render(found, numbers=numbers, most=ROUNDS)


def percent(figure: dict) -> str:
    """Return a share with its interval."""
    if figure["value"] is None:
        return "–"
    interval = "" if figure["low"] is None else f" ({figure['low']:.0%} to {figure['high']:.0%})"
    return f"{figure['value']:.0%}{interval}"


def plural(n: int, word: str) -> str:
    return f"{n} {word}{'s' * (n != 1)}"


def row_of(found: dict) -> Row:
    """Return a report as the row of a class's table."""
    best = found["blind"][0] if found["blind"] else NOTHING
    exercises = found["exercises"] or dict.fromkeys(("core", "core_of", "passed", "of"))
    return Row(
        **{name: found[name] for name in ("name", "made", "votes", "median_seconds", "votes_id")},
        rounds=len(found["rounds"]),
        first_vote=min((row["first"] for row in found["rounds"]), default=None),
        last_vote=max((row["last"] for row in found["rounds"]), default=None),
        **cells(found["self_agreement"], "self_agreement", "self_low", "self_high", "repeats"),
        **cells(found["predicted"], "predicted", "predicted_low", "predicted_high", "predicted_of"),
        blind_model=best.get("model"),
        **cells(best, "blind_won", "blind_low", "blind_high", "blind_of"),
        core=exercises["core"],
        core_of=exercises["core_of"],
        exercises=exercises["passed"],
        exercises_of=exercises["of"],
        models=", ".join(row["folder"] for row in found["models"]),
    )


def cells(figure: dict, *columns: str) -> dict:
    """Return a figure's value, ends and number of votes, in a class's table called `columns`."""
    return {
        column: figure[part]
        for column, part in zip(columns, ("value", "low", "high", "n"), strict=True)
    }


def picture(curve: dict) -> str:
    """Return one learning curve as the address of a PNG."""
    from rlhf_lessons.feedback.online import Point  # it brings torch
    from rlhf_lessons.widgets.live import curve as figure_of

    points = [Point(point["votes"], point, NOTHING) for point in curve["points"]]
    figure = figure_of(points, curve["ceiling"])
    of = curve["predicted"]
    title = f"{curve['of'].capitalize()}: {of['value']:.0%} of {plural(of['n'], 'vote')} predicted"
    figure.axes[0].set_title(title, loc="left")
    file = io.BytesIO()
    figure.savefig(file, dpi=160)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


# What it shows


def gather(name: str = "", rater: str = "you", store: Store | str | Path | None = None) -> dict:
    """Return all that the page shows, as plain data; nothing in it is made up where nothing was
    done."""
    rows = [row for row in people(store) if row["name"] == rater]
    judged = [row for row in rows if row["kind"] not in PASSES]
    found = statistics(rows)
    curves = learning_curves(rows)
    on_class_page = bool(rows) and all(row["ui"] == "page" for row in rows)
    return {
        "name": storable(" ".join(str(name).split())[:NAME]),
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "votes": len(judged),
        "votes_id": fingerprint(judged),
        "rounds": rounds(judged),
        "median_seconds": found["seconds"]["value"],
        "self_agreement": found["self_agreement"],
        "curves": curves,
        "predicted": predicted([point for curve in curves for point in curve["points"]]),
        "blind": found["leaderboard"],
        "chosen": chosen(judged),
        "on_class_page": on_class_page,
        "exercises": None if on_class_page else exercises(),
        "models": [] if on_class_page else own_models(),
        "before_after": None if on_class_page else before_after(),
    }


def people(store: Store | str | Path | None) -> list[dict]:
    """Return all current answers by people, the oldest first."""
    if not isinstance(store, Store):
        store = store or DEFAULT
        if "://" not in str(store) and not Path(store).is_file():
            return []
        store = Store(store)
    return [row for row in store.answers() if row["rater_kind"] == "person"]


def voters(store: Store | str | Path | None) -> str:
    """Return the names of all people who voted, in one line."""
    names = {printable(row["name"]) for row in people(store)}
    return ", ".join(sorted(names)) or "nobody yet"


def fingerprint(rows: list[dict]) -> str:
    """Return a mark of these very judgements: two reports with the same mark rest on one person's
    clicks."""
    ids = sorted(row["id"] for row in rows)
    return key(*ids)[:16] if ids else ""


def day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def rounds(rows: list[dict]) -> list[dict]:
    """Return what was judged in each round: {"round", "kinds", "first", "last", "seconds"}."""
    found = []
    for name in dict.fromkeys(row["round"] for row in rows):
        here = [row for row in rows if row["round"] == name]
        found.append(
            {
                "round": name,
                "kinds": dict(Counter(row["kind"].removesuffix("s") for row in here)),
                "first": day(here[0]["time"]),
                "last": day(here[-1]["time"]),
                "seconds": seconds(here)["value"],
            }
        )
    return found


def learning_curves(rows: list[dict]) -> list[dict]:
    """Return a curve for each lesson in which was voted, and one for all other rounds, where there
    were votes enough: {"of": "lesson 3", "points", "predicted", "steady", "ceiling"}. They are
    apart, since lesson 3 asks for quality, and 6 for taste.
    """
    groups = {}
    for row in rows:
        lesson = re.match(r"lesson \d", row["round"])
        groups.setdefault(lesson[0] if lesson else "other rounds", []).append(row)
    curves = []
    for name, group in groups.items():
        points = learning_curve(group)
        if points:
            steady = decided_twice(group)
            curves.append(
                {
                    "of": name,
                    "points": points,
                    "predicted": predicted(points),
                    "steady": steady,
                    "ceiling": predictable(steady),
                }
            )
    return curves


def learning_curve(rows: list[dict]) -> list[dict]:
    """Return how well the reward model of the first votes predicted the next ones: {"votes",
    "value", "low", ...}.

    It is the curve of `rl.live_reward_model`, over the votes of several rounds. The normalisation
    set only scales rewards, and no test asks for their scale, so the answers voted on will do.
    """
    from rlhf_lessons.feedback.online import EVERY, accuracy, blocks  # it brings torch

    if len(votes_of(rows)) <= EVERY:
        return []
    model, tokenizer = checkpoints.load("reward", "shipped", say=str)
    votes = readable(votes_of(rows), model, tokenizer)
    if len(votes) <= EVERY:
        return []
    prompts = [vote.prompt for vote in votes]
    texts = [vote.texts[0] for vote in votes]
    ended = [vote.ended[0] for vote in votes]
    untrained = PersonalReward(model, tokenizer, (prompts, texts, ended))
    points = []
    for start, end in blocks(len(votes), EVERY):
        reward = untrained.fit(votes[:start]) if start else untrained
        points.append({"votes": start, **accuracy(reward, votes[start:end])})
    return [point for point in points if point["n"]]


def predicted(curve: list[dict]) -> dict:
    """Return the share of all votes that were predicted by a model that had learned from votes, as
    a figure."""
    outcomes = []
    for point in curve:
        if not point["votes"]:
            continue
        hits = round(point["value"] * point["n"])
        outcomes += [("you", vote < hits) for vote in range(point["n"])]
    return share(outcomes) if outcomes else NOTHING


def chosen(rows: list[dict]) -> dict | None:
    """Return the newest pair by two models in which a side was chosen, if there is one: {"prompt",
    "better", "worse"}, each of the two an answer with its "model" and "text"."""
    for row in reversed(rows):
        models = {answer["model"] for answer in row["answers"]} - {""}
        choice = row["payload"].get("choice")
        if choice in ("left", "right") and len(models) == 2:
            better, worse = row["answers"] if choice == "left" else row["answers"][::-1]
            return {"prompt": row["prompt"], "better": better, "worse": worse}
    return None


def own_models() -> list[dict]:
    """Return the reader's finished models: {"folder", "quality", "seconds", "means",
    "shipped", "made"}."""
    found = []
    for card in sorted(paths.RUNS.glob("*/card.json"), key=lambda file: file.stat().st_mtime):
        try:
            told = load_card(card.parent)
            stage = told["stage"]
            found.append(
                {
                    "folder": card.parent.name,
                    "quality": checkpoints.quality(card.parent),
                    "seconds": told["seconds"],
                    "means": checkpoints.QUALITY[stage],
                    "shipped": checkpoints.quality(checkpoints.shipped(stage)),
                    "made": day(card.stat().st_mtime),
                }
            )
        except (CheckpointError, KeyError, TypeError):
            continue  # damaged, or of another kind
    return found


def before_after() -> dict | None:
    """Return the article's prompts as the reader's last model answers them, and the model that it
    was made from: {"before", "after", "answers": [{"prompt", "before", "after", "done": [bool,
    bool]}]}; None without such a model.
    """
    from rlhf_lessons.evaluation.ask import ask

    for before, after in (("sft", "ppo"), ("base", "sft")):
        with suppress(CheckpointError):
            mine = checkpoints.load(after, "mine", say=str)
            pair = {before: checkpoints.load(before, say=str), after: mine}
            break
    else:
        return None
    answers = []
    for prompt in ARTICLE_PROMPTS:
        texts = [texts[0] for texts in ask(prompt, pair, n=1).values()]
        done = [bool(judge(prompt, text).fulfils) for text in texts]
        answers.append({"prompt": prompt, "before": texts[0], "after": texts[1], "done": done})
    return {"before": before, "after": after, "answers": answers}


def exercises() -> dict:
    """Return the exercises that were passed: {"core", "core_of", "passed", "of", "lessons": those
    four of each lesson, with its "name" and the "names" of the passed ones, [(name, whether it is a
    core one)]}."""
    passed = passed_exercises()
    lessons = []
    for lesson, core in catalogue().items():
        names = [(name, core[name]) for name in core if f"{lesson}.{name}" in passed]
        counts = {
            "core": sum(is_core for _, is_core in names),
            "core_of": sum(core.values()),
            "passed": len(names),
            "of": len(core),
        }
        lessons.append({"name": lesson.replace("lesson", "Lesson "), "names": names, **counts})
    return {"lessons": lessons} | {name: sum(row[name] for row in lessons) for name in counts}


def passed_exercises() -> set[str]:
    """Return the names of the exercises that were passed, such as "lesson0.win_rate"."""
    file, passed = passed_file(), set()
    lines = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    for line in lines.splitlines():
        with suppress(ValueError, KeyError, TypeError):  # a line that was cut short
            passed.add(str(json.loads(line)["exercise"]))
    return passed

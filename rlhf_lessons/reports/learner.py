"""`rl.report`: one page, as HTML and PDF, of what you did: votes, self-agreement, what your votes taught, exercises.

Everything comes from your own files: the ratings store, `exercises.jsonl` and the models in the folder `runs`.
"""

import hashlib
import json
import re
import time
from collections import Counter
from pathlib import Path
from statistics import median

from rlhf_lessons import checkpoints, paths
from rlhf_lessons.data import printable
from rlhf_lessons.evaluation.intervals import wilson
from rlhf_lessons.evaluation.votes import NOTHING, decided_twice, foreseeable, statistics
from rlhf_lessons.exercises import catalogue
from rlhf_lessons.exercises.check import passed_file
from rlhf_lessons.feedback.payloads import PASSES, storable
from rlhf_lessons.feedback.personal import PersonalReward, votes_of
from rlhf_lessons.feedback.store import DEFAULT, Store
from rlhf_lessons.lm.models import CheckpointError, load_card
from rlhf_lessons.reports import looks, page
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS

NAME = 80  # characters of a name at most


def report(name: str = "", *, rater: str = "you", store: Store | str | Path | None = None) -> None:
    """Write your report into the folder `runs/report`, as report.html and report.pdf, and say so.

    `name` is what stands on it. `rater` and `store` are those that you gave to `rl.rate`, where you gave any; for
    another rater than "you" the files are called report_RATER. A teacher gives as `rater` the nickname of somebody who
    voted on the class page: then exercises and models, which would be the teacher's, are left out.
    """
    found = gather(name, rater, store)
    if rater != "you" and not found["votes"]:
        print(
            f"There is no report: nobody called '{rater}' has voted here. Who has: {voters(store)}."
        )
        return
    folder = paths.RUNS / "report"
    folder.mkdir(parents=True, exist_ok=True)
    blocks = page.blocks(found)
    numbers = {"course": "RLHF Lessons", "summary": page.summary(found), "curves": found["curves"]}
    stem = "report" if rater == "you" else "report_" + re.sub(r"[^\w-]+", "_", rater)[:NAME]
    (folder / f"{stem}.html").write_text(looks.as_html(blocks, numbers), encoding="utf-8")
    looks.write_pdf(blocks, folder / f"{stem}.pdf")
    where = f"{folder.parent.name}/{folder.name}"
    print(
        f"Your report: {where}/{stem}.html and, to print, {where}/{stem}.pdf. {page.headline(found)}."
    )


def gather(name: str = "", rater: str = "you", store: Store | str | Path | None = None) -> dict:
    """Return all that the page shows, as plain data; nothing in it is made up where nothing was done."""
    rows = answers_of(rater, store)
    said = [row for row in rows if row["kind"] not in PASSES]
    found = statistics(rows)
    curves = learning_curves(rows)
    on_class_page = bool(rows) and all(row["ui"] == "page" for row in rows)
    models = [] if on_class_page else own_models()
    times = [row["ms"] / 1000 for row in said if row["ms"] is not None]
    return {
        "name": storable(" ".join(str(name).split())[:NAME]),
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "votes": len(said),
        "votes_id": fingerprint(said),
        "rounds": rounds(said),
        "median_seconds": round(median(times), 1) if times else None,
        "self_agreement": found["self_agreement"],
        "curves": curves,
        "foreseen": foreseen([point for curve in curves for point in curve["points"]]),
        "blind": found["leaderboard"],
        "chosen": chosen(said),
        "on_class_page": on_class_page,
        "exercises": {"passed": {}, "of": {}, "core": {}} if on_class_page else exercises(),
        "models": models,
        "before_after": before_after({row["stage"] for row in models}),
    }


def answers_of(rater: str, store: Store | str | Path | None) -> list[dict]:
    """Return a person's current answers, the oldest first; none where there is no store yet."""
    return [row for row in people(store) if row["name"] == rater]


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
    return ", ".join(sorted({printable(row["name"]) for row in people(store)})) or "nobody yet"


def fingerprint(rows: list[dict]) -> str:
    """Return a mark of these very judgements: two reports with the same mark rest on one person's clicks."""
    return (
        hashlib.sha256("".join(sorted(row["id"] for row in rows)).encode()).hexdigest()[:16]
        if rows
        else ""
    )


def day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def rounds(rows: list[dict]) -> list[dict]:
    """Return what was judged in each round: {"round", "kinds", "votes", "first", "last", "seconds"}."""
    found = []
    for name in dict.fromkeys(row["round"] for row in rows):
        here = [row for row in rows if row["round"] == name]
        times = [row["ms"] / 1000 for row in here if row["ms"] is not None]
        found.append(
            {
                "round": name,
                "kinds": dict(Counter(row["kind"] for row in here)),
                "votes": len(here),
                "first": day(here[0]["time"]),
                "last": day(here[-1]["time"]),
                "seconds": round(median(times), 1) if times else None,
            }
        )
    return found


def learning_curves(rows: list[dict]) -> list[dict]:
    """Return a curve for each lesson in which was voted, and one for all other rounds, where there were votes enough:
    {"of": "lesson 3", "points", "foreseen", "steady", "ceiling"}. They are apart, since lesson 3 asks for quality, and
    6 for taste.
    """
    groups = {}
    for row in rows:
        lesson = re.match(r"lesson \d", row["round"])
        groups.setdefault(lesson[0] if lesson else "other rounds", []).append(row)
    return [
        {
            "of": name,
            "points": points,
            "foreseen": foreseen(points),
            "steady": (steady := decided_twice(group)),
            "ceiling": foreseeable(steady),
        }
        for name, group in groups.items()
        if (points := learning_curve(group))
    ]


def learning_curve(rows: list[dict]) -> list[dict]:
    """Return how well the reward model of the first votes foresaw the next ones: {"votes", "value", "low", ...}.

    It is the curve of `rl.live_reward_model`, over the votes of several rounds. The yardstick only scales rewards, and
    no test asks for their scale, so the answers voted on will do.
    """
    from rlhf_lessons.widgets.live import (  # only where it is needed: it brings the widgets
        EVERY,
        accuracy,
        blocks,
    )

    votes = votes_of(rows)
    if len(votes) <= EVERY:
        return []
    model, tokenizer = checkpoints.load("reward", "shipped", say=str)
    yardstick = zip(*((vote.prompt, vote.texts[0], vote.ended[0]) for vote in votes))
    untrained = PersonalReward(model, tokenizer, tuple(map(list, yardstick)))
    tests = [
        (a, accuracy(untrained.fit(votes[:a]) if a else untrained, votes[a:b]))
        for a, b in blocks(len(votes), EVERY)
    ]
    return [{"votes": a, **found} for a, found in tests if found["n"]]


def foreseen(curve: list[dict]) -> dict:
    """Return the share of all votes that were foreseen by a model that had learned from votes, as a figure."""
    learned = [point for point in curve if point["votes"]]
    n = sum(point["n"] for point in learned)
    if not n:
        return NOTHING
    value = sum(point["value"] * point["n"] for point in learned) / n
    low, high = wilson(value, n)
    return {"value": value, "low": float(low), "high": float(high), "n": n}


def chosen(rows: list[dict]) -> dict | None:
    """Return the newest pair by two models in which a side was chosen, if there is one: {"prompt", "better", "worse"},
    each of the two as {"model", "text"}."""
    for row in reversed(rows):
        names = [answer["model"] for answer in row["answers"]]
        choice = row["payload"]["choice"] if row["kind"] == "pair" else None
        if choice in ("left", "right") and len(set(names)) == 2 and all(names):
            sides = [
                {"model": answer["model"], "text": answer["text"]} for answer in row["answers"]
            ]
            better, worse = sides if choice == "left" else sides[::-1]
            return {"prompt": row["prompt"], "better": better, "worse": worse}
    return None


def own_models() -> list[dict]:
    """Return the reader's finished models: {"folder", "stage", "quality", "means", "shipped", "seconds", "made"}."""
    found = []
    for card in sorted(paths.RUNS.glob("*/card.json"), key=lambda file: file.stat().st_mtime):
        try:
            told, quality = load_card(card.parent), checkpoints.quality(card.parent)
            stage = told["stage"]
            shipped = checkpoints.quality(checkpoints.shipped(stage))
            found.append(
                {
                    "folder": card.parent.name,
                    "stage": stage,
                    "quality": quality,
                    "seconds": told["seconds"],
                    "means": checkpoints.QUALITY[stage],
                    "shipped": shipped,
                    "made": day(card.stat().st_mtime),
                }
            )
        except (CheckpointError, KeyError, TypeError):
            continue  # damaged, or of another kind: nothing to be proud of
    return found


def before_after(stages: set[str]) -> dict | None:
    """Return the article's prompts as the reader's last model answers them, and the model that it was made from:
    {"before", "after", "answers": [{"prompt", "before", "after", "done": [bool, bool]}]}; None without such a model.
    """
    from rlhf_lessons.evaluation.ask import ask

    after = next((name for name in ("ppo", "sft") if name in stages), None)
    if after is None:
        return None
    before = {"sft": "base", "ppo": "sft"}[after]
    try:
        pair = {
            before: checkpoints.load(before, say=str),
            after: checkpoints.load(after, "mine", say=str),
        }
    except CheckpointError:
        return None
    answers = []
    for prompt in ARTICLE_PROMPTS:
        texts = [ask(prompt, {name: model}, n=1)[name][0] for name, model in pair.items()]
        answers.append(
            {
                "prompt": prompt,
                "before": texts[0],
                "after": texts[1],
                "done": [bool(judge(prompt, text).fulfils) for text in texts],
            }
        )
    return {"before": before, "after": after, "answers": answers}


def exercises() -> dict:
    """Return {"passed": {check: day of the first time}, "of": {lesson: checks that there are}, "core": {lesson: core
    ones that there are}}."""
    of = catalogue()
    passed = {}
    file = passed_file()
    for line in (
        file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else ()
    ):
        try:
            row = json.loads(line)
            lesson, _, name = row["exercise"].partition(".")
            if name in of.get(lesson, ()):
                passed.setdefault(row["exercise"], str(row["at"])[:10])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # a line that was cut short
    return {
        "passed": passed,
        "of": {lesson: len(names) for lesson, names in of.items()},
        "core": {
            lesson: sum(f"{lesson}.{name}" in page.CORE for name in names)
            for lesson, names in of.items()
        },
    }

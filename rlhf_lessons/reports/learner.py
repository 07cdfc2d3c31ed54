"""`rl.report`: one page of what you did: votes, self-agreement, what your votes taught a reward
model, exercises.

Everything comes from your own files: the ratings store, `exercises.jsonl` and the models in the
folder `runs`. `gather` brings it together as plain data, and `report.html.jinja` shows it; the same
data stand in the page as JSON, from which `class_table.py` reads. A browser prints the page.
"""

import re
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rlhf_lessons import checkpoints, paths
from rlhf_lessons.data import printable, to_json
from rlhf_lessons.evaluation.ask import ask
from rlhf_lessons.evaluation.votes import (
    NOTHING,
    Outcomes,
    comparisons,
    decided_twice,
    predictable,
    seconds,
    share,
    statistics,
)
from rlhf_lessons.exercises import catalogue
from rlhf_lessons.exercises.check import passed_file
from rlhf_lessons.feedback.online import EVERY, Point, blocks, predictions
from rlhf_lessons.feedback.payloads import PASSES, on_one_line
from rlhf_lessons.feedback.personal import PersonalReward, readable, votes_of
from rlhf_lessons.feedback.schema import key
from rlhf_lessons.feedback.store import DEFAULT, Store
from rlhf_lessons.lm.models import CheckpointError, load_card
from rlhf_lessons.widgets.html import figure_html
from rlhf_lessons.widgets.live import curve as curve_of
from rlhf_lessons.widgets.live import in_words
from rlhf_lessons.widgets.rate import open_store
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
    rows = by_people(store)
    mine = [row for row in rows if row["name"] == rater]
    if rater != "you" and not mine:
        names = sorted({printable(row["name"]) for row in rows})
        print(
            f"There is no report: nobody called '{rater}' has voted here. "
            f"Who has: {', '.join(names) or 'nobody yet'}."
        )
        return
    stem = "report" if rater == "you" else "report_" + re.sub(r"[^\w-]+", "_", rater)[:NAME]
    file = paths.RUNS / "report" / f"{stem}.html"
    found = gather(name, mine)
    paths.write_text(file, page(found))
    print(f"Your report: {'/'.join(file.parts[-3:])}, on {plural(found['votes'], 'vote')}.")
    print("To print it, or to keep it as a PDF, open it in a browser and choose Print there.")


def by_people(store: Store | str | Path | None) -> list[dict]:
    """Return all current answers by people, the oldest first."""
    store = store or DEFAULT
    if not isinstance(store, Store) and "://" not in str(store) and not Path(store).is_file():
        return []
    return [row for row in open_store(store).answers() if row["rater_kind"] == "person"]


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
    looks.filters |= {"percent": in_words, "plural": plural, "picture": picture, "tally": tally}
    looks.policies |= {"json.dumps_function": to_json, "json.dumps_kwargs": {}}
    template = looks.get_template("report.html.jinja")
    return template.render(found, numbers=found, most=ROUNDS, judge=judge)


def plural(n: int, word: str) -> str:
    return f"{n} {word}{'s' * (n != 1)}"


def picture(curve: dict, words: str) -> Markup:
    """Return one learning curve as an HTML picture under the words that describe it."""
    points = [Point(point["votes"], point, NOTHING) for point in curve["points"]]
    figure = curve_of(points, curve["ceiling"])
    figure.axes[0].set_title(f"Of all votes: {in_words(curve['predicted'])} predicted", loc="left")
    figure.dpi = 160  # for paper
    return Markup(figure_html(figure, words))


def tally(exercises: list[dict]) -> dict:
    """Return how many exercises were passed, and how many core ones, of how many."""
    core = [each for each in exercises if each["core"]]
    return {
        "core": sum(each["passed"] for each in core),
        "core_of": len(core),
        "passed": sum(each["passed"] for each in exercises),
        "of": len(exercises),
    }


# What it shows


def gather(name: str, rows: list[dict]) -> dict:
    """Return all that the page shows of somebody's answers, as plain data; nothing in it is made up
    where nothing was done."""
    judged = [row for row in rows if row["kind"] not in PASSES]
    days = [day(row["time"]) for row in judged]
    found = statistics(rows)
    curves, tests = learning_curves(rows)
    on_class_page = bool(rows) and all(row["ui"] == "page" for row in rows)
    return {
        "name": on_one_line(name)[:NAME],
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "votes": len(judged),
        # Two reports with the same mark rest on one person's clicks
        "votes_id": key(*sorted(row["id"] for row in judged))[:16] if judged else "",
        "first_vote": min(days, default=None),
        "last_vote": max(days, default=None),
        "rounds": rounds(judged),
        "median_seconds": found["seconds"]["value"],
        "self_agreement": found["self_agreement"],
        "curves": curves,
        "predicted": share(tests),
        "blind": found["leaderboard"],
        "chosen": chosen(judged),
        "own": None if on_class_page else own_work(),
    }


def day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def rounds(rows: list[dict]) -> dict[str, dict]:
    """Return what was judged in each round: {"kinds", "first", "last", "seconds"}."""
    found = {}
    for name in dict.fromkeys(row["round"] for row in rows):
        here = [row for row in rows if row["round"] == name]
        found[name] = {
            "kinds": dict(Counter(row["kind"].removesuffix("s") for row in here)),
            "first": day(here[0]["time"]),
            "last": day(here[-1]["time"]),
            "seconds": seconds(here)["value"],
        }
    return found


def learning_curves(rows: list[dict]) -> tuple[dict[str, dict], Outcomes]:
    """Return a curve for each lesson in which was voted, and one for all other rounds: {"points",
    "predicted", "steady", "ceiling"}; and which votes were predicted by a model that had learned.

    They are apart, since lesson 3 asks for quality, and 6 for taste.
    """
    groups = {}
    for row in rows:
        lesson = re.match(r"lesson \d", row["round"])
        groups.setdefault(lesson[0] if lesson else "other rounds", []).append(row)
    curves, tests = {}, []
    for name, group in groups.items():
        curve = learning_curve(group)
        learned = sum(list(curve.values())[1:], [])  # the first had learned from no votes
        tests += learned
        steady = decided_twice(group)
        curves[name] = {
            "points": [{"votes": n, **share(found)} for n, found in curve.items() if found],
            "predicted": share(learned),
            "steady": steady,
            "ceiling": predictable(steady),
        }
    return curves, tests


def learning_curve(rows: list[dict]) -> dict[int, Outcomes]:
    """Return which of the next votes the reward model of the first so many votes predicted; nothing
    where there are too few.

    It is the curve of `rl.live_reward_model`, over the votes of several rounds. The normalisation
    set only scales rewards, and no test asks for their scale, so the answers voted on will do.
    """
    model, tokenizer = checkpoints.load("reward", "shipped", say=str)
    votes = readable(votes_of(rows), model, tokenizer)
    if len(votes) <= EVERY:
        return {}
    answers = [(vote.prompt, vote.texts[0], vote.ended[0]) for vote in votes]
    untrained = PersonalReward(model, tokenizer, tuple(map(list, zip(*answers, strict=True))))
    curve = {}
    for start, end in blocks(len(votes)):
        curve[start] = predictions(untrained.fit(votes[:start]), votes[start:end])
    return curve


def chosen(rows: list[dict]) -> dict[str, dict]:
    """Return the newest answers by two models of which one was preferred, if there are any:
    {prompt: {who wrote it: [text]}}, the better one last."""
    for vote in reversed(comparisons(rows)):
        models = {vote.a["model"], vote.b["model"]} - {""}
        if vote.verdict and len(models) == 2:
            better, worse = (vote.a, vote.b) if vote.verdict > 0 else (vote.b, vote.a)
            return {
                vote.prompt: {
                    f"not chosen: {worse['model']}": [worse["text"]],
                    f"chosen: {better['model']}": [better["text"]],
                }
            }
    return {}


def own_work() -> dict:
    """Return what the reader did on this computer, beside voting."""
    done = exercises()
    return {
        "exercises": done,
        "tally": tally(done),
        "models": own_models(),
        "before_after": before_after(),
    }


def own_models() -> dict[str, dict]:
    """Return the reader's finished models, by folder: {"quality", "shipped", "means",
    "minutes"}."""
    found = {}
    for card in sorted(paths.RUNS.glob("*/card.json"), key=lambda file: file.stat().st_mtime):
        folder = card.parent
        with suppress(CheckpointError, KeyError, TypeError):  # damaged, or of another kind
            told = load_card(folder)
            stage = told["stage"]
            found[folder.name] = {
                "quality": checkpoints.quality(folder),
                "shipped": checkpoints.quality(checkpoints.shipped(stage)),
                "means": checkpoints.QUALITY[stage],
                "minutes": told["seconds"] / 60,
            }
    return found


def before_after() -> dict[str, dict]:
    """Return the article's prompts as the reader's last model answers them, and before it the model
    that it was made from: {prompt: {model: [text]}}; empty without such a model."""
    for before, after in (("sft", "ppo"), ("base", "sft")):
        with suppress(CheckpointError):
            mine = checkpoints.load(after, "mine", say=str)
            source = load_card(checkpoints.mine(after)).get("source", "best")
            older = checkpoints.load(before, source, say=str)
            pair = {f"before: {before}": older, f"after: {after}": mine}
            return {prompt: ask(prompt, pair, n=1) for prompt in ARTICLE_PROMPTS}
    return {}


def exercises() -> list[dict]:
    """Return all exercises: {"lesson", "name", "core", "passed"}."""
    file = passed_file()
    noted = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    passed = re.findall(r'"exercise": "(.+?)"', noted)  # a last line may be cut short
    found = []
    for lesson, names in catalogue().items():
        for name, core in names.items():
            done = f"{lesson}.{name}" in passed
            found.append({"lesson": lesson, "name": name, "core": core, "passed": done})
    return found

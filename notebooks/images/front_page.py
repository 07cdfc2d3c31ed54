"""Makes what the front page shows: the temperature figure, the rater card, and the small table.

    python notebooks/images/front_page.py      needs playwright, Pillow and Chromium, as tests do

It writes temperature.png and rater_card.png beside it, and the table into README.md. The figure and
the table are of data/results/temperature.json; the reader on the card is simulated.
"""

import io
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from rlhf_lessons import data, paths, plots
from rlhf_lessons.world.raters import Rater
from rlhf_lessons.world.tasks import parse

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.S)
DRAGONS = Rater({"utility": 1.0, "dragon": 1.0}, flip_rate=0.1, tie_margin=0.05)
RIVALS = ("SFT, colder", "SFT, best", "SFT, 8 epochs", "SFT, 25", "SFT on its own", "best of 16", "SFT on its best", "PPO")
VOTES = 44
WIDTH = 900  # of the card, in pixels
DENSITY = 1.5  # pixels of the picture for each of them


def table(found: dict) -> str:
    """Return SFT, its cheaper rivals at their best and PPO, from what temperature.json holds."""
    rows = [r | {"rival": "SFT", "judgements": 0} for r in found["rows"] if r["model"] == "SFT"]
    shown = [row for row in rows if row["temperature"] == 1]
    for start in RIVALS:
        ways = [row for row in found["rivals"] if row["rival"].startswith(start)]
        if start == "SFT, best":
            ways = [max(ways, key=lambda row: row["utility"])]
        shown += ways
    which = "held-out" if found["split"] == "heldout" else found["split"]
    lines = [
        f"| {which} prompts | temperature | true utility, 0 to 1 | fulfils | judgements |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in shown:
        mean, low, high = row["utility"]
        share, least, most = (100 * value for value in row["fulfils"])
        lines.append(
            f"| {row['rival']} | {row['temperature']:g} | {mean:.2f} ({low:.2f} to {high:.2f}) | "
            f"{share:.0f} % ({least:.0f} to {most:.0f}) | {row['judgements']:,} |"
        )
    return "\n".join(lines) + "\n"


def with_table(readme: str, found: dict) -> str:
    """Return README's text with the table between its two comments."""
    return TABLE.sub(lambda _: table(found), readme)


def story_pairs() -> list[dict]:
    """Return the pairs of SFT stories that a class rates, as rows for a store."""
    rows = []
    for _, line in data.lines_of(paths.DATA / "class_answers.jsonl"):
        row = json.loads(line)
        answers = [answer for answer in row["completions"] if answer["model"] == "sft"]
        if parse(row["prompt"])["family"] == "story":
            about = {"kind": "pair", "overlap": None, "prompt": row["prompt"]}
            rows.append(about | {"completions": answers})
    return rows


def vote(session) -> None:
    """Let the simulated reader vote on the session's next pair."""
    session.handle({"type": "next"})
    task = session.current["task"]
    left, right = (DRAGONS.utility_of(task["prompt"], a["text"]) for a in task["answers"])
    vote = {"choice": "left" if left > right else "right", "strength": 2}
    about = {"type": "answer", "id": f"vote-{task['task']}", "task": task["task"], "kind": "pair"}
    session.handle(about | {"payload": vote})


def rater_card() -> bytes:
    """Return a PNG of the card after one more vote, above the reward model that learned."""
    sys.path.insert(0, str(PROJECT / "tests" / "browser"))
    from card_page import Bench
    from playwright.sync_api import sync_playwright

    from rlhf_lessons.widgets.live import LiveRewardModel

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": WIDTH, "height": 100}, device_scale_factor=DENSITY
        )
        bench = Bench(page, Path(folder) / "ratings.sqlite3", story_pairs())
        for _ in range(VOTES):
            vote(bench.session)
        live = LiveRewardModel(SimpleNamespace(session=bench.session))
        page.reload()
        bench.button("Next").click()
        bench.is_now("open")
        bench.press("2")
        bench.saved()
        bench.press("r")
        bench.is_now("revealed")
        below = f"<div style='font: 15px/1.5 sans-serif; margin: 0 12px'>{live.value}</div>"
        page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", below)
        picture = page.screenshot(full_page=True)
        browser.close()
    return picture


def small(png: bytes, colours: int = 64) -> bytes:
    """Return a PNG of few colours."""
    from PIL import Image

    out = io.BytesIO()
    flat = Image.open(io.BytesIO(png)).convert("RGB")
    flat.quantize(colours, dither=Image.Dither.NONE).save(out, "png", optimize=True)
    return out.getvalue()


def main() -> None:
    found = json.loads((paths.DATA / "results" / "temperature.json").read_text(encoding="utf-8"))
    readme = PROJECT / "README.md"
    paths.write_text(readme, with_table(readme.read_text(encoding="utf-8"), found))
    figure = io.BytesIO()
    plots.utility_against_entropy(found["rows"]).savefig(figure, dpi=160)
    (HERE / "temperature.png").write_bytes(small(figure.getvalue()))
    (HERE / "rater_card.png").write_bytes(small(rater_card()))


if __name__ == "__main__":
    main()

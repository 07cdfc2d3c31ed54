"""Draws what the three shipped models answer to the article's prompts, as lesson 0 shows it.

    python notebooks/images/side_by_side.py      needs playwright, Pillow and Chromium

It writes side_by_side.png, at twice the density of an ordinary screen, and prints the answers,
for the words that stand in for the picture.
"""

import io
import os
import shutil
from pathlib import Path

from rlhf_lessons.evaluation.ask import load_writers
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.widgets import SideBySide
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS

FILE = Path(__file__).with_suffix(".png")
WIDTH = 1168  # of the table, with a margin


def answers() -> SideBySide:
    """Return the likeliest answer of each shipped model to each of the article's prompts."""
    models = load_writers(["base", "sft", "ppo"], "shipped")
    texts = {}
    for name, model in models.items():
        texts[name] = [
            generate(*model, [prompt], temperature=0).texts[0] for prompt in ARTICLE_PROMPTS
        ]
    return SideBySide(list(ARTICLE_PROMPTS), texts)


def photograph(shown: SideBySide, width: int = WIDTH) -> bytes:
    """Return a PNG of the table on white, on a screen that is so many pixels wide."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 100}, device_scale_factor=2)
        page.set_content(f"<!doctype html><body style='margin:8px'>{shown._repr_html_()}")
        picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        browser.close()
    small = io.BytesIO()
    few = picture.convert("RGB").quantize(96, dither=Image.Dither.NONE)
    few.save(small, "png", optimize=True)
    return small.getvalue()


def main() -> None:
    shown = answers()
    FILE.write_bytes(photograph(shown))
    print(shown)


if __name__ == "__main__":
    main()

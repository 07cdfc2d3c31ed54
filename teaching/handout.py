"""Makes the handout: handout.md becomes one HTML file that prints on one page of A4.

    python teaching/handout.py       writes dist/handout.html, or the file that you name behind it

Open the file in a browser and print it. This script runs in the environment that `start.py` made.
On paper a link to a page of this folder would be dead: its words stay, the link goes.
"""

import re
from pathlib import PurePosixPath

import mistune
from one_file import MONO, SANS, font_faces, picture_address, title_of, write

LOOK = f"""
body {{ font: 9.6pt/1.3 {SANS}; color: #222; margin: 0 auto; max-width: 184mm; }}
code {{ font-family: {MONO}; font-size: 8.8pt; }}
"""
LOOK += """
@page { size: A4; margin: 11mm 13mm; }
h1 { font-size: 19pt; margin: 0 0 1.5mm; color: #004B78; }
h2 { font-size: 11.5pt; margin: 3mm 0 1mm; color: #004B78; border-bottom: 0.6mm solid #E69F00; }
p, ul, ol { margin: 0 0 1.2mm; }
ul, ol { padding-left: 5mm; }
img { display: block; width: 135mm; margin: 0 auto 1mm; }
table { border-collapse: collapse; width: 100%; margin-bottom: 1.5mm; }
th, td { border-bottom: 0.2mm solid #BBB; padding: 0.6mm 2mm 0.6mm 0; text-align: left;
  vertical-align: top; }
sub, sup { line-height: 0; }
a { color: inherit; text-decoration: none; }
@media screen { body { padding: 11mm 13mm; } }
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{css}</style></head>
<body>
{body}
</body>
</html>
"""


def picture(found: re.Match) -> str:
    """Return a picture as part of the page: the drawing that stands beside the PNG."""
    drawing = PurePosixPath(found["file"]).with_suffix(".svg")
    return f'<img alt="{found["alt"]}" src="{picture_address(drawing)}">'


def indices(text: str) -> str:
    """Return text with r_A and e^−x as they are printed."""
    return re.sub(r"\b(\w)_(\w)\b", r"\1<sub>\2</sub>", re.sub(r"\^(−\w)", r"<sup>\1</sup>", text))


def body(text: str) -> str:
    """Return Markdown as HTML, pictures included; links to other pages become plain words."""
    shown = mistune.create_markdown(plugins=["table"])(text)
    shown = re.sub(r'<img src="(?P<file>[^"]+)" alt="(?P<alt>[^"]*)" ?/>', picture, shown)
    shown = re.sub(r'<a href="(?!https?:)[^"]*">(.*?)</a>', r"\1", shown)
    parts = re.split(r"(<code>.*?</code>|<[^>]+>)", shown)  # words, and between them tags and code
    return "".join(part if i % 2 else indices(part) for i, part in enumerate(parts))


def page(text: str) -> str:
    """Return the handout as the text of one HTML file."""
    return PAGE.format(title=title_of(text), css=font_faces() + LOOK, body=body(text))


if __name__ == "__main__":
    write("handout", page)

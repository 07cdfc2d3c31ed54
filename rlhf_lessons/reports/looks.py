"""How a report's blocks look, as HTML and as PDF. Nothing that a rater or a model wrote is markup in either."""

import base64
import html
import io
import textwrap
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from rlhf_lessons.data import printable, to_json
from rlhf_lessons.plots import COLOURS
from rlhf_lessons.widgets.html import escaped

ID = "rlhf-lessons-report"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # no script may run, nothing is fetched
WIDTH, HEIGHT, MARGIN = 8.27, 11.69, 0.6  # inches: A4


def as_html(blocks: list[tuple], numbers: dict) -> str:
    """Return the page, with the numbers as JSON in it, for `gather.py`."""
    data = to_json(numbers)
    for character in "<>&":  # so that nothing in a name ends the script
        data = data.replace(character, f"\\u{ord(character):04x}")
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>RLHF Lessons: {html.escape(blocks[0][1][0])}</title>",
            f"<style>{style}</style>",
            f'<script type="application/json" id="{ID}">{data}</script>',
            "</head><body><main>",
            *map(block_html, blocks),
            "</main></body></html>\n",
        ]
    )


def block_html(block: tuple) -> str:
    """Return one block as HTML."""
    match block:
        case "title", (text, under):
            return f"<header><h1>{escaped(text)}</h1><p>{escaped(under)}</p></header>"
        case "tiles", tiles:
            return (
                "<dl>"
                + "".join(
                    f"<div><dd>{escaped(value)}</dd><dt>{escaped(label)}</dt></div>"
                    for value, label in tiles
                )
                + "</dl>"
            )
        case "heading", text:
            return f"<h2>{escaped(text)}</h2>"
        case "text", text:
            return f"<p>{escaped(text)}</p>"
        case "table", (header, rows):
            head = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in header)
            body = "".join(
                "<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>"
                for row in rows
            )
            return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        case "pictures", pictures:
            return (
                "<div>"
                + "".join(
                    f'<img alt="{escaped(words)}" src="data:image/png;base64,'
                    f'{base64.b64encode(png).decode()}">'
                    for png, words in pictures
                )
                + "</div>"
            )
    raise ValueError(f"a page has no block '{block[0]}'")


def write_pdf(blocks: list[tuple], path: Path) -> None:
    """Write the blocks on one sheet of A4, smaller where they are many."""
    sheet = Sheet()
    for block in blocks:
        sheet.add(block)
    sheet.save(path)


class Sheet:
    """A page that grows downwards; all lengths are in inches from its upper left corner."""

    def __init__(self):
        self.texts, self.rules, self.pictures, self.y = [], [], [], MARGIN

    def add(self, block: tuple) -> None:
        """Put one block below the others."""
        match block:
            case "title", (text, under):
                self.write(text, 20, weight="bold")
                self.write(under, 9, color="dimgrey")
            case "tiles", tiles:
                step = (WIDTH - 2 * MARGIN) / len(tiles)
                self.y += 0.1
                for i, (value, label) in enumerate(tiles):
                    self.texts.append(
                        (
                            MARGIN + i * step,
                            self.y,
                            value,
                            17,
                            {"color": COLOURS[0], "weight": "bold"},
                        )
                    )
                    self.texts.append(
                        (MARGIN + i * step, self.y + 0.32, label, 8, {"color": "dimgrey"})
                    )
                self.y += 0.5
            case "heading", text:
                self.y += 0.12
                self.write(text, 11, weight="bold")
                self.rules.append(self.y)
                self.y += 0.07
            case "text", text:
                self.write(text, 8)
            case "table", (header, rows):
                self.table(header, rows)
            case "pictures", pictures:
                width = min(4.2, (WIDTH - 2 * MARGIN) / len(pictures))
                for i, (png, _) in enumerate(pictures):
                    picture, x = plt.imread(io.BytesIO(png)), MARGIN + i * width
                    height = width * picture.shape[0] / picture.shape[1]
                    self.pictures.append((picture, (x, x + width, self.y + height, self.y)))
                self.y += height + 0.05

    def write(
        self, text: str, size: float, x: float = MARGIN, width: float = WIDTH - 2 * MARGIN, **look
    ) -> None:
        """Put text below, in as many lines as it needs."""
        for line in wrapped(text, width, size):
            self.texts.append((x, self.y, line, size, look))
            self.y += size * 1.4 / 72
        self.y += 0.04

    def table(self, header: tuple, rows: list[tuple]) -> None:
        """Put a table below: columns as wide as their longest cells want, in proportion."""
        wants = [
            min(60, max(len(str(row[i])) for row in [header, *rows])) + 3
            for i in range(len(header))
        ]
        widths = [(WIDTH - 2 * MARGIN) * want / max(sum(wants), 90) for want in wants]
        for row, look in [(header, {"color": "dimgrey"}), *((row, {}) for row in rows)]:
            x, top, bottom = MARGIN, self.y, self.y
            for cell, width in zip(row, widths, strict=True):
                self.y = top
                self.write(str(cell), 8, x, width - 0.1, **look)
                x, bottom = x + width, max(bottom, self.y)
            self.y = bottom
        self.y += 0.04

    def save(self, path: Path) -> None:
        """Write the sheet as PDF, shrunk until it fits."""
        scale = min(1, HEIGHT / (self.y + MARGIN))
        left, width = WIDTH / 2 - WIDTH / 2 / scale, WIDTH / scale
        figure = Figure(figsize=(WIDTH, HEIGHT))
        axes = figure.add_axes((0, 0, 1, 1))
        for picture, extent in self.pictures:
            axes.imshow(picture, extent=extent, aspect="auto")
        axes.hlines(self.rules, MARGIN, WIDTH - MARGIN, color="lightgrey", linewidth=0.6)
        axes.set(xlim=(left, left + width), ylim=(HEIGHT / scale, 0))
        axes.axis("off")
        for x, y, text, size, look in self.texts:  # a $ is a dollar here, no formula
            axes.text(x, y, text, fontsize=size * scale, va="top", parse_math=False, **look)
        with warnings.catch_warnings(), plt.rc_context({"pdf.fonttype": 42}):
            warnings.filterwarnings("ignore", "Glyph")  # a letter that the font lacks becomes a box
            figure.savefig(path, format="pdf", dpi=200, metadata={"Title": self.texts[0][2]})


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Return the lines of a text that is to fit into so many inches at this size, in points."""
    letters = max(4, int(width * 72 / (0.56 * size)))
    return [
        part
        for line in printable(text).split("\n")
        for part in textwrap.wrap(line, letters) or [""]
    ]

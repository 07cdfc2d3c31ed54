"""Tables and pictures that read well in JupyterLab, on GitHub and aloud. Every text in them is
escaped."""

import base64
import html
import io
from collections.abc import Iterable

from IPython.display import HTML, display
from PIL import Image

COLOURS = 64  # of a picture in a notebook: a figure needs no more, and its file is a third as large


def escaped(text: object) -> str:
    """Return text as HTML that shows it letter by letter: nothing in it is markup, and lines end
    where they end."""
    lines = html.escape(str(text)).split("\n")
    return "<br>".join(line.replace("  ", "&nbsp; ") for line in lines)


def table(header: Iterable[str], rows: Iterable[Iterable[object]], caption: str = "") -> HTML:
    """Return a table; numbers come as the caller rounded them."""
    return HTML(table_html(header, rows, caption))


def table_html(header: Iterable[str], rows: Iterable[Iterable[object]], caption: str = "") -> str:
    """Return the same table as a string, for a widget."""
    left = 'style="text-align:left; vertical-align:top"'
    head = "".join(f'<th scope="col" {left}>{escaped(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td {left}>{escaped(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    title = f"<caption {left}>{escaped(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def columns_html(texts: dict[str, str]) -> str:
    """Return texts beside each other, each under its name, in columns of equal width."""
    look = "width:98%; table-layout:fixed; border-collapse:separate; border-spacing:16px 4px"
    return table_html(texts, [texts.values()]).replace("<table>", f'<table style="{look}">', 1)


def figure_html(figure, words: str, dpi: int = 90) -> str:
    """Return a figure as an HTML picture under the words that describe it, which a screen reader
    hears."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return f"<p aria-live='polite'>{escaped(words)}</p><img alt='{escaped(words)}' src='{source}'>"


def said(text: str) -> str:
    """Return a model's answer, or words that say there is none."""
    return text if text.strip() else "(nothing: it ended at once)"


def answers_table(prompts: list[str], answers: dict[str, list[str]]) -> HTML:
    """Return a table of prompts, one a row, with the answers of each model beside them."""
    columns = [[said(text) for text in texts] for texts in answers.values()]
    return table(["prompt", *answers], zip(prompts, *columns, strict=True))


class Picture:
    """A figure with alternative text, which `update` draws anew in its place: live, and accepted by
    strict nbval."""

    def __init__(self, figure, alt: str):
        self.figure, self.alt = figure, alt
        self.handle = display(
            self.data(), raw=True, display_id=True, metadata={"image/png": {"alt": alt}}
        )

    def update(self, figure) -> None:
        """Show this figure where the last one was."""
        self.figure = figure
        self.handle.update(self.data(), raw=True, metadata={"image/png": {"alt": self.alt}})

    def data(self) -> dict:
        """Return what Jupyter shows: a PNG of few colours, and words where there are no
        pictures."""
        drawn, small = io.BytesIO(), io.BytesIO()
        self.figure.savefig(drawn, format="png", bbox_inches="tight")
        flat = (
            Image.open(drawn)
            .convert("RGB")
            .quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        )
        flat.save(small, "png", optimize=True)
        return {"image/png": small.getvalue(), "text/plain": self.alt}

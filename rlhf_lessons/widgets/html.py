"""What the widgets share: controls, and tables and pictures that read well in JupyterLab, on GitHub
and aloud. Every text in them is escaped."""

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence

import ipywidgets as w
from IPython.display import HTML, display
from PIL import Image

COLOURS = 64  # of a picture in a notebook: a figure needs no more, and its file is a third as large
WIDE = "760px"  # the most that a control takes of a page
AIRY = "line-height:1.5; border-collapse:separate; border-spacing:16px 4px"  # a table in a widget


class Box(w.VBox):
    """The parts of a widget, one below the other. `show` draws what follows from its `controls`: at
    first, and whenever one of them changes.

    On a page without a kernel, `stand_in` says what is missing there.
    """

    def __init__(self, stand_in: str, *parts: w.Widget, controls: Sequence[w.Widget] = ()):
        super().__init__(parts)
        self.stand_in = stand_in
        for part in controls:
            part.observe(lambda change: self.show(), "value")
        if controls:
            self.show()

    def __repr__(self):
        return self.stand_in


def control(kind: type, name: str, **traits) -> w.Widget:
    """Return a control of ipywidgets with its name before it; all look alike."""
    look = {"style": {"description_width": "110px"}, "layout": {"width": "98%", "max_width": WIDE}}
    return kind(description=name, **look, **traits)


def button(name: str, tooltip: str, act: Callable, **traits) -> w.Button:
    """Return a button that calls `act()` when it is clicked."""
    made = w.Button(description=name, tooltip=tooltip, **traits)
    made.on_click(lambda _: act())
    return made


def escaped(text: object) -> str:
    """Return text as HTML that shows it letter by letter: nothing in it is markup, and lines end
    where they end."""
    lines = html.escape(str(text)).split("\n")
    return "<br>".join(line.replace("  ", "&nbsp; ") for line in lines)


def aloud(text: object) -> str:
    """Return text as an HTML paragraph that a screen reader speaks when it changes."""
    return f"<p aria-live='polite' style='line-height:1.5'>{escaped(text)}</p>"


def table(header: Iterable[str], rows: Iterable[Iterable[object]], caption: str = "") -> HTML:
    """Return a table; numbers come as the caller rounded them."""
    return HTML(table_html(header, rows, caption))


def table_html(
    header: Iterable[str], rows: Iterable[Iterable[object]], caption: str = "", look: str = ""
) -> str:
    """Return the same table as a string, for a widget, which may have a look of its own in CSS."""
    left = 'style="text-align:left; vertical-align:top"'
    head = "".join(f'<th scope="col" {left}>{escaped(name)}</th>' for name in header)
    body = ""
    for row in rows:
        cells = "".join(f"<td {left}>{escaped(cell)}</td>" for cell in row)
        body += f"<tr>{cells}</tr>"
    title = f"<caption {left}>{escaped(caption)}</caption>" if caption else ""
    start = f'<table style="{look}">' if look else "<table>"
    return f"{start}{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def columns_html(texts: dict[str, str]) -> str:
    """Return answers beside each other, each under its model's name, in columns of equal width."""
    look = f"width:98%; table-layout:fixed; {AIRY}"
    return table_html(texts, [map(said, texts.values())], look=look)


def figure_html(figure, words: str) -> str:
    """Return a figure as an HTML picture under the words that describe it, which a screen reader
    hears."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return f"{aloud(words)}<img alt='{escaped(words)}' src='{source}'>"


def said(text: str) -> str:
    """Return a model's answer, or words that say there is none."""
    return text if text.strip() else "(nothing: it ended at once)"


def answers_table(prompts: list[str], answers: dict[str, list[str]]) -> HTML:
    """Return a table of prompts, one a row, with the answers of each model beside them."""
    columns = (map(said, texts) for texts in answers.values())
    return table(["prompt", *answers], zip(prompts, *columns, strict=True))


class Picture:
    """A figure with alternative text, which `update` draws anew in its place: live, and accepted by
    strict nbval."""

    def __init__(self, figure, alt: str):
        self.figure, self.alt = figure, alt
        self.how = {"raw": True, "metadata": {"image/png": {"alt": alt}}}
        self.handle = display(self.data(), display_id=True, **self.how)

    def update(self, figure) -> None:
        """Show this figure where the last one was."""
        self.figure = figure
        self.handle.update(self.data(), **self.how)

    def data(self) -> dict:
        """Return what Jupyter shows: a PNG of few colours, and words where there are no
        pictures."""
        drawn, small = io.BytesIO(), io.BytesIO()
        self.figure.savefig(drawn, format="png", bbox_inches="tight")
        flat = Image.open(drawn).convert("RGB")
        few = flat.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(small, "png", optimize=True)
        return {"image/png": small.getvalue(), "text/plain": self.alt}

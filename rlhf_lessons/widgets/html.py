"""What the widgets share: controls, and tables and pictures that read well in JupyterLab, on GitHub
and aloud. Every text in them is escaped."""

import html
import io
from collections.abc import Callable, Iterable, Sequence

import ipywidgets as w
from IPython.core.pylabtools import print_figure
from IPython.display import HTML, display
from PIL import Image
from traitlets import Instance

COLOURS = 64  # of a picture in a notebook: a figure needs no more, and its file is a third as large
WIDE = "760px"  # the most that a control takes of a page


class Box(w.VBox):
    """The parts of a widget, one below the other. `show` draws what follows from its `controls`: at
    first, and whenever one of them changes.

    What a button does, and `show`, return the words for the `note`, if there are any; a ValueError
    in them is said there too. On a page without a kernel, `stand_in` says what is missing there.
    """

    note = Instance(w.HTML, ())

    def __init__(self, stand_in: str, *parts: w.Widget, controls: Sequence[w.Widget] = ()):
        super().__init__(parts)
        self.stand_in = stand_in
        for part in controls:
            part.observe(lambda change: self.act(self.show), "value")
        if controls:
            self.act(self.show)

    def __repr__(self):
        return self.stand_in

    def _repr_mimebundle_(self, **which) -> dict:
        """Return what Jupyter shows, and the stand-in whole: ipywidgets would cut it."""
        return super()._repr_mimebundle_(**which) | {"text/plain": self.stand_in}

    def button_for(self, name: str, tooltip: str, does: Callable, **traits) -> w.Button:
        """Return a button that calls `does()` when it is clicked."""
        made = w.Button(description=name, tooltip=tooltip, **traits)
        made.on_click(lambda _: self.act(does))
        return made

    def act(self, does: Callable) -> None:
        """Do it, and show in the note what came out, or why it could not be done."""
        try:
            words = does()
        except ValueError as error:
            words = f"{error}."
            words = words[0].upper() + words[1:]
        self.note.value = aloud(words) if words else ""


def control(kind: type, name: str, **traits) -> w.Widget:
    """Return a control of ipywidgets with its name before it; all look alike."""
    look = {"style": {"description_width": "110px"}, "layout": {"width": "98%", "max_width": WIDE}}
    return kind(description=name, **look, **traits)


def slider(name: str, low: float, high: float, step: float, value: float) -> w.FloatSlider:
    """Return a slider, which stands at `value` first."""
    return control(w.FloatSlider, name, min=low, max=high, step=step, value=value)


def escaped(text: object) -> str:
    """Return text as HTML that shows it letter by letter: nothing in it is markup, and lines end
    where they end."""
    lines = html.escape(str(text)).split("\n")
    return "<br>".join(line.replace("  ", "&nbsp; ") for line in lines)


def aloud(text: object) -> str:
    """Return text as an HTML paragraph that a screen reader speaks when it changes."""
    return f"<p aria-live='polite' style='line-height:1.5'>{escaped(text)}</p>"


def table(
    header: Iterable[str], rows: Iterable[Iterable[object]], caption: str = "", look: str = ""
) -> HTML:
    """Return a table; numbers come as the caller rounded them, `look` is CSS."""
    left = 'style="text-align:left; vertical-align:top"'
    head = "".join(f'<th scope="col" {left}>{escaped(name)}</th>' for name in header)
    body = ""
    for row in rows:
        cells = "".join(f"<td {left}>{escaped(cell)}</td>" for cell in row)
        body += f"<tr>{cells}</tr>"
    title = f"<caption {left}>{escaped(caption)}</caption>" if caption else ""
    start = f'<table style="{look}">' if look else "<table>"
    return HTML(f"{start}{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def figure_html(figure, words: str) -> str:
    """Return a figure as an HTML picture under the words that describe it, which a screen reader
    hears."""
    png = print_figure(figure, bbox_inches=None, base64=True)
    return f"{aloud(words)}<img alt='{escaped(words)}' src='data:image/png;base64,{png}'>"


def visible(token: str) -> str:
    """Return a token as it can be seen: a space and the end of a line have signs."""
    return token.replace(" ", "␣").replace("\n", "⏎") or "∅"


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
        self.handle = display(self, display_id=True)

    def update(self, figure) -> None:
        """Show this figure where the last one was."""
        self.figure = figure
        self.handle.update(self)

    def _repr_mimebundle_(self, **which) -> tuple[dict, dict]:
        """Return what Jupyter shows, a PNG of few colours, and words where there are no pictures;
        and the words beside the picture."""
        small = io.BytesIO()
        flat = Image.open(io.BytesIO(print_figure(self.figure))).convert("RGB")
        few = flat.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(small, "png", optimize=True)
        data = {"image/png": small.getvalue(), "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt}}

"""What the tests of the lessons need: one, open in JupyterLab, whose cells run one by one."""

from pathlib import Path

import nbformat
from jupyter_page import PATIENCE, READY, ROOT, RUN
from playwright.sync_api import expect

DONE = """(cell) => {
  const panel = window.jupyterapp.shell.currentWidget;
  const model = panel.content.widgets[cell].model;
  return model.executionCount !== null && panel.sessionContext.session.kernel.status === 'idle';
}"""

FAILURE = "[data-mime-type='application/vnd.jupyter.stderr']"  # a traceback is one, too


class Lesson:
    """A lesson without outputs, open in JupyterLab; `more` is added to its cell of imports."""

    def __init__(self, page, address, folder: Path, name: str, more: str = ""):
        (file,) = (ROOT / "notebooks").glob(f"{name}*.ipynb")
        book = nbformat.read(file, as_version=4)
        for cell in book.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
            if cell.id.endswith("-imports"):
                cell.source += more
        nbformat.write(book, folder / file.name)
        self.page, self.cells = page, [cell.id for cell in book.cells]
        page.set_default_timeout(PATIENCE)
        page.goto(address("lab", file.name) + "&reset")  # without the tabs of the lesson before
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_function(READY)
        page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")

    def output(self, id: str):
        return (
            self.page.locator(".jp-Notebook .jp-Cell")
            .nth(self.cells.index(id))
            .locator(".jp-OutputArea")
        )

    def run(self, *ids: str):
        """Run cells, none of which fails, and return the last one's output."""
        for id in ids:
            self.page.evaluate(RUN, self.cells.index(id))
            self.finished(id)
        return self.output(ids[-1])

    def start(self, id: str):
        """Begin to run a cell, and return its output without waiting for the end."""
        self.page.evaluate(RUN.replace("return", "void"), self.cells.index(id))
        return self.output(id)

    def finished(self, id: str) -> None:
        """Wait until the kernel is done with a cell, and see that nothing failed in it."""
        self.page.wait_for_function(DONE, arg=self.cells.index(id), timeout=120_000)
        expect(self.output(id).locator(FAILURE)).to_have_count(0)

    def press(self, what, *keys: str) -> None:
        """Press keys on a part of the page; what they cause may come later."""
        what.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def close(self) -> None:
        """End the kernel too, which would outlive its page."""
        self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.context.close()


def slider(box, name: str):
    """Return a slider's handle, which takes the keys, and its number."""
    row = box.locator(".widget-slider", has=box.page.get_by_text(name, exact=True))
    return row.get_by_role("slider"), row.locator(".widget-readout")

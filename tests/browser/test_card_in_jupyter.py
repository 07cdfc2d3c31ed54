"""`rl.rate` in JupyterLab and in Notebook 7, as a reader works it: run the cell, judge, restart,
reload, go on."""

import json

import nbformat
import pytest
from card_page import HOSTILE, PROMPT, STORY, task
from jupyter_page import PATIENCE, READY, STOPWATCH, Reader, jupyter
from playwright.sync_api import expect

KINDS = [
    "pair",
    "pair",
    "ranking",
    "ranking",
    "scores",
    "scores",
    "demonstration",
    "demonstration",
    *["pair"] * 7,
]
CELLS = [
    "import json\nimport rlhf_lessons as rl\n"
    "card = rl.rate(json.load(open('rows.json')), 'r', store='{}.sqlite3',"
    " guess=lambda *texts: 0.7)\ncard",
    "print('THE KERNEL COUNTS', len(card.answers()))",
    "card",
]

NOTEBOOKS_OWN = (
    "Cannot read properties of undefined (reading 'schema')"  # Notebook 7.6 fails so while it loads
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A notebook for each host, with rows to rate; in the second row are hostile texts."""
    folder = tmp_path_factory.mktemp("jupyter")
    for kind in ("lab", "notebook"):
        book = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source.format(kind)) for source in CELLS]
        )
        book.metadata.kernelspec = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        nbformat.write(book, folder / f"{kind}.ipynb")
    rows = [
        task(
            kind,
            texts=HOSTILE if n == 1 else STORY,
            prompt=f"{n}: {HOSTILE[1] if n == 1 else PROMPT}",
        )
        for n, kind in enumerate(KINDS)
    ]
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def address(browser, folder):  # the browser first: without one, no server is started
    with jupyter(folder) as address:
        yield address


@pytest.mark.parametrize(
    "kind", ["notebook", "lab"]
)  # in this order: Notebook would restore Lab's workspace
def test_the_card_in_jupyter(browser, address, folder, shot, barriers, capsys, kind):
    context, failures = browser.new_context(viewport={"width": 1280, "height": 1000}), []
    page = context.new_page()
    page.on("pageerror", lambda error: failures.append(str(error)))
    reader = Reader(page, address(kind, f"{kind}.ipynb"), folder / f"{kind}.sqlite3")
    reader.run()
    reader.asks(0)
    reader.card.evaluate(STOPWATCH)
    shot(page, f"jupyter-{kind}-1-pair")

    judge_by_mouse_and_by_keys(reader, lambda name: shot(page, f"jupyter-{kind}-{name}"))
    assert barriers(page, ".rl-card") == []
    times = sorted(page.evaluate("window.took"))
    no_key_of_the_card_reaches_the_notebook(reader)
    go_on_after_a_cell_run_again_and_a_kernel_restarted(reader)
    go_on_after_a_reload(reader)
    if kind == "lab":
        reader.command("apputils:change-theme", "{theme: 'JupyterLab Dark'}")
    two_views_agree(reader, in_an_output_view=kind == "lab")
    shot(page, f"jupyter-{kind}-4-two-views")
    assert barriers(page, ".rl-card") == []

    right_in_the_database(reader.rows())
    assert page.evaluate("window.pwned") is None
    assert [failure for failure in failures if kind == "lab" or failure != NOTEBOOKS_OWN] == []
    context.close()
    with capsys.disabled():
        print(
            f"\n{kind}: from click or key to acknowledged commit {times[len(times) // 2]:.0f} ms "
            f"({times[0]:.0f} to {times[-1]:.0f} in {len(times)} judgements)"
        )


def judge_by_mouse_and_by_keys(reader: Reader, shot) -> None:
    """Each judgement by mouse, then by keys; tasks 0 to 8."""
    reader.click("A much better")
    reader.saved(then="")
    reader.click("Next")
    reader.asks(1)
    expect(reader.card.locator(".rl-text", has_text=HOSTILE[0])).to_be_visible()
    reader.press("4")
    reader.saved()
    reader.click("Move answer B up", "Tie answer C with the one above", "Save this order")
    reader.saved()
    reader.press("ArrowUp", "2", "Enter")
    reader.saved()
    for name, score in (("relevance", 7), ("accuracy", 2), ("clarity", 4)):
        for letter in "AB":
            reader.card.get_by_role(
                "radio", name=f"{name} of answer {letter}: {score} of 7"
            ).click()
    reader.click("Save these scores")
    reader.saved()
    shot("2-scores")
    reader.press(*"123456", "Enter")
    reader.saved()
    reader.card.locator("textarea").fill("Written by hand.")
    reader.click("Save this answer")
    reader.saved()
    reader.press("w", "End")
    reader.page.keyboard.type(" a b x dd")
    reader.press("Enter")
    reader.saved()
    reader.press("f", "Enter")  # 8 is flagged
    reader.asks(9)
    reader.press("u")
    reader.asks(8)
    expect(reader.card.locator(".rl-game")).to_contain_text(
        "The reward model has sealed its guess."
    )
    reader.click("Both bad")
    reader.saved(then="")
    reader.click("Reveal")
    expect(reader.card.locator(".rl-note").first).to_contain_text("by ")
    expect(reader.card.locator(".rl-game")).to_contain_text(
        "Its sealed guess: A, 70 % sure. No point"
    )
    shot("3-revealed")
    reader.press("Enter")
    reader.asks(9)


def no_key_of_the_card_reaches_the_notebook(reader: Reader) -> None:
    """And from a bare copy of the card in the same place, one does: the check would notice a
    leak."""
    cells = reader.cells()
    reader.press("a", "b", "x", "d", "d")
    assert reader.cells() == cells
    reader.card.evaluate("""node => {
        const copy = node.cloneNode(true);
        delete copy.dataset.lmSuppressShortcuts;
        copy.id = 'copy';
        node.after(copy);
        copy.focus();
    }""")
    reader.page.keyboard.press("a")
    reader.page.wait_for_function(
        f"window.jupyterapp.shell.currentWidget.content.model.cells.length === {cells + 1}"
    )
    reader.page.evaluate("document.getElementById('copy').remove()")
    reader.command("notebook:delete-cell")
    assert reader.cells() == cells


def go_on_after_a_cell_run_again_and_a_kernel_restarted(reader: Reader) -> None:
    """The kernel knows what was said. A vote that a dead kernel could not take arrives when the
    cell is run again."""
    reader.run(1)
    expect(
        reader.page.locator(".jp-OutputArea-output", has_text="THE KERNEL COUNTS 9").first
    ).to_be_visible(timeout=PATIENCE)
    reader.run()
    reader.asks(9)
    reader.page.evaluate(
        "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    reader.page.wait_for_function(READY)
    reader.press("2")
    expect(reader.card).to_have_attribute("data-state", "pending")
    reader.run()
    reader.asks(10)
    reader.press("3")
    reader.saved()


def go_on_after_a_reload(reader: Reader) -> None:
    """The card is there again, without a cell being run."""
    reader.page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")
    reader.page.reload()
    reader.opened()
    reader.asks(11)
    reader.press("5")
    reader.saved(then="")


def two_views_agree(reader: Reader, in_an_output_view: bool) -> None:
    """A second view shows the vote of the first, and both go on together."""
    if in_an_output_view:  # a view of the cell's output
        reader.page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0")
        reader.command("notebook:create-output-view")
    else:  # the same card as the output of another cell
        reader.run(2)
    expect(reader.page.locator(".rl-card")).to_have_count(2, timeout=PATIENCE)
    second = reader.page.locator(".rl-card").nth(1)
    expect(second.get_by_role("button", name="B much better")).to_have_attribute(
        "aria-pressed", "true"
    )
    second.get_by_role("button", name="Next").click()
    reader.asks(12)
    expect(second.locator(".rl-prompt p")).to_contain_text("12: ")


def right_in_the_database(rows: list[tuple]) -> None:
    """What was clicked and pressed above, row by row."""
    assert rows[:2] == [
        ("pair", {"choice": "left", "strength": 2}),
        ("pair", {"choice": "right", "strength": 1}),
    ]
    assert rows[2:4] == [("ranking", {"ranks": [2, 1, 2, 3]}), ("ranking", {"ranks": [1, 3, 4, 2]})]
    assert rows[4:6] == [
        ("scores", {"scores": [{"relevance": 7, "accuracy": 2, "clarity": 4}] * 2}),
        (
            "scores",
            {
                "scores": [
                    {"relevance": 1, "accuracy": 2, "clarity": 3},
                    {"relevance": 4, "accuracy": 5, "clarity": 6},
                ]
            },
        ),
    ]
    assert rows[6:8] == [
        ("demonstration", {"text": "Written by hand."}),
        ("demonstration", {"text": f"{STORY[0]} a b x dd"}),
    ]
    assert [payload["choice"] for _, payload in rows[8:]] == ["bad", "left", "tie", "right"]

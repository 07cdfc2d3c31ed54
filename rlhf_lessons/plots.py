"""Every figure of the course: one look, colours that colour-blind eyes tell apart, and line styles.

Functions take plain data (a stage's steps, or rows of its metrics.jsonl) and return a figure, which
a notebook shows as a cell's last line. Titles state what is seen, in numbers.
"""

import matplotlib.pyplot as plt
import numpy as np

from rlhf_lessons.evaluation.intervals import wilson

# Okabe and Ito 2008: blue, vermilion, green, orange, purple, sky blue
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
HATCHES = ("", "//", "..", "xx", "\\\\", "--")
LOOK = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "figure.dpi": 90,
}


def canvas(panels: int = 1, width: float = 6.0, height: float = 3.2):
    """Return (figure, list of axes) side by side, closed so that a notebook shows it only once."""
    with plt.rc_context(LOOK):
        figure, axes = plt.subplots(
            1, panels, figsize=(width, height), layout="constrained", squeeze=False
        )
    plt.close(figure)
    return figure, list(axes[0])


def line(i: int) -> dict:
    """Return the colour and the style of a figure's line number `i`."""
    return {"color": COLOURS[i], "linestyle": STYLES[i]}


def column(steps: list, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (numbers of the steps, values) of one metric, where it was measured."""
    rows = [step if isinstance(step, dict) else vars(step) for step in steps]
    pairs = [(row["step"] + 1, row[name]) for row in rows if row.get(name) is not None]
    return tuple(np.array(pairs, dtype=float).reshape(-1, 2).T)


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of each value and those up to `window - 1` before it."""
    total = np.convolve(values, np.ones(window))[: len(values)]
    return total / np.minimum(np.arange(1, len(values) + 1), window)


def over_seeds(axis, at, seeds, i: int, label: str = "") -> None:
    """Draw line number `i`: the mean of `seeds` (seeds, points), and each seed faintly."""
    axis.plot(at, np.transpose(seeds), color=COLOURS[i], alpha=0.3, linewidth=0.8)
    axis.plot(at, np.mean(seeds, axis=0), **line(i), label=label)


def loss_curve(
    steps: list, label: str = "loss", unit: str = "nats per token", levels: dict | None = None
):
    """Loss against steps: each batch faint, their running mean, any validation loss, and `levels`,
    losses by name, to compare it with."""
    figure, (axis,) = canvas()
    at, loss = column(steps, "loss")
    window = max(1, len(loss) // 20)
    mean = smooth(loss, window)
    axis.plot(at, loss, color=COLOURS[5], alpha=0.35, linewidth=0.8)
    what = "training, running mean" if window > 1 else "training, a batch"
    axis.plot(at, mean, **line(0), label=what)
    seen, validation = column(steps, "validation_loss")
    if len(seen):
        axis.plot(seen, validation, marker=".", **line(1), label="validation")
    for i, (name, level) in enumerate((levels or {}).items(), 2):
        axis.axhline(level, **line(i))
        axis.annotate(name, (1, level), xycoords=("axes fraction", "data"), ha="right", va="top")
    axis.set(xlabel="step", ylabel=f"{label}, {unit}", ylim=(0, None))
    verb = "falls" if mean[-1] < loss[0] else "rises"
    axis.set_title(f"The {label} {verb} from {loss[0]:.2f} to {mean[-1]:.2f} {unit}", loc="left")
    axis.legend(loc="lower left")  # where a falling curve leaves room; "best" is slow
    return figure


def dart_board(ends: np.ndarray, words: list[str], dart: float):
    """The interval from 0 to 1, cut into a piece for each word, and the piece that a dart hits.

    `ends` are the pieces' upper ends, the cumulative probabilities; narrow pieces get no name.
    """
    figure, (axis,) = canvas(width=8.0, height=1.9)
    widths = np.diff(ends, prepend=0.0)
    hit = np.searchsorted(ends, dart)
    for i in np.flatnonzero(widths > 0.02):
        colour = COLOURS[3] if i == hit else "white"
        axis.barh(0, widths[i], left=ends[i] - widths[i], color=colour, edgecolor="black")
        name = f"{words[i]}\n{widths[i]:.2f}"
        axis.text(ends[i] - widths[i] / 2, 0, name, ha="center", va="center")
    axis.annotate("dart", (dart, 0.4), (dart, 0.75), ha="center", arrowprops={"arrowstyle": "->"})
    axis.set(xlabel="cumulative probability", xlim=(0, 1), ylim=(-0.45, 1), yticks=[])
    axis.grid(False)
    axis.set_title(f"The dart at {dart} hits the piece of “{words[hit].strip()}”", loc="left")
    return figure


PPO_PANELS = {  # a panel's label: its metrics, and what they are called
    "reward, deviations of SFT": {"reward": "reward"},
    "true utility, 0 to 1": {"true_utility": "true utility"},
    "KL to SFT, nats a response": {"kl": "KL"},
}


def ppo_dashboard(steps: list, figure=None, panels: dict[str, dict[str, str]] = PPO_PANELS):
    """Metrics against steps of PPO, the KL in the last panel. Pass the previous figure to redraw it
    in place:

    handle = display(figure, display_id=True), and in the loop
    handle.update(ppo_dashboard(steps, figure)).
    """
    figure = figure or canvas(len(panels), width=9.0, height=2.9)[0]
    few = 3 if len(steps) >= 6 else 1  # single steps jump
    news = []
    for i, (label, metrics) in enumerate(panels.items()):
        axis = figure.axes[i]
        with plt.rc_context(LOOK):
            axis.clear()
        for j, (name, called) in enumerate(metrics.items(), i):
            at, values = column(steps, name)
            axis.plot(at, values, **line(j), marker="o", markersize=2.5, label=called)
            if len(values) and j == i:  # a panel's first
                change = round(values[-few:].mean() - values[:few].mean(), 2) + 0  # never -0.00
                news.append(f"{called} {change:+.2f}")
        axis.set(xlabel="step", ylabel=label)
        axis.locator_params("x", integer=True)
        if len(metrics) > 1:
            axis.legend(fontsize=8)
    bottom, top = axis.get_ylim()
    axis.set_ylim(min(bottom, 0.0), max(top, 0.1))  # a KL of almost 0 looks it
    title = f"After {len(steps)} step{'s' * (len(steps) > 1)}, since the first"
    if few > 1:
        title = "Last three steps less the first three"
    title = f"{title}: {', '.join(news)}" if steps else "Before the first step"
    figure.suptitle(title, x=0.02, ha="left", fontsize=10)
    return figure


def weights(rows: list[tuple[str, float]], title: str):
    """Bars to the right for what raises a reward, and to the left for what lowers it: (what,
    weight), the first at the top."""
    figure, (axis,) = canvas(height=0.8 + 0.2 * len(rows))
    for i, (_, weight) in enumerate(rows):
        lowers = weight < 0
        axis.barh(-i, weight, color=COLOURS[lowers], hatch=HATCHES[lowers], edgecolor="white")
    axis.set_yticks(range(0, -len(rows), -1), [what for what, _ in rows])
    axis.set_xlabel("weight in the reward")
    axis.set_title(title, loc="left")
    return figure


def calibration(table: list[tuple[float, float, int]]):
    """How often a reward model is right against how sure it is: (predicted, observed, pairs)."""
    figure, (axis,) = canvas(width=4.8, height=3.6)
    sure, right, pairs = np.array(table, dtype=float).T
    far = np.argmax(abs(right - sure))
    low, high = wilson(right, pairs)
    error = np.maximum(0, [right - low, high - right])
    axis.plot([0.5, 1], [0.5, 1], color="grey", linestyle=STYLES[3], label="as sure as right")
    label = "reward model, 95 % interval"
    axis.errorbar(sure, right, error, **line(0), marker="o", capsize=3, label=label)
    axis.set(
        xlabel="how sure it is: predicted share right",
        ylabel="observed share right",
        xlim=(0.48, 1.02),
        ylim=(min(0.4, low.min() - 0.02), 1.02),
    )
    axis.set_title(
        f"Farthest off: {sure[far]:.0%} sure, right in {right[far]:.0%} of the pairs", loc="left"
    )
    axis.legend(loc="lower right")
    return figure


def bars_with_intervals(
    groups: dict[str, dict[str, list[float]]], ylabel: str = "mean true utility, 0 to 1"
):
    """Bars with 95 % intervals: `groups` maps each model to {label: [mean, low, high]}."""
    labels = list(next(iter(groups.values())))
    figure, (axis,) = canvas(width=1.6 + 1.1 * len(labels))
    width = 0.8 / len(groups)
    for i, (name, values) in enumerate(groups.items()):
        mean, low, high = np.array([values[label] for label in labels]).T
        at = np.arange(len(labels)) + (i - (len(groups) - 1) / 2) * width
        axis.bar(
            at,
            mean,
            width * 0.92,
            yerr=(mean - low, high - mean),
            label=name,
            color=COLOURS[i],
            hatch=HATCHES[i],
            edgecolor="white",
            error_kw={"capsize": 2, "linewidth": 1},
        )
    axis.set_xticks(range(len(labels)), labels)
    axis.set(ylabel=ylabel, ylim=(0, 1.05))
    axis.grid(False, axis="x")
    first = [f"{name} {values[labels[0]][0]:.2f}" for name, values in groups.items()]
    axis.set_title(f"{labels[0].capitalize()}: {', '.join(first)}", loc="left")
    axis.legend(ncols=len(groups), loc="lower left", bbox_to_anchor=(0, -0.3))
    return figure


def utility_against_entropy(rows: list[dict]):
    """True utility against entropy: a line for each of ten models, a point at each temperature.

    `rows` hold a point each: its "model", "temperature", "utility" [mean, low, high] and "entropy",
    in nats a token. The first model and the last, SFT and PPO, look as in all tables of answers.
    """
    figure, (axis,) = canvas(width=7.0, height=5.2)
    models = list(dict.fromkeys(row["model"] for row in rows))
    highest = []
    looks = zip((5, 3, 0, 1, 3, 4, 6, 1, 0, 2), "s<oDvXPh*^", "----:--:--", models, strict=True)
    for i, marker, style, model in looks:
        points = [row for row in rows if row["model"] == model]
        mean, low, high = np.transpose([row["utility"] for row in points])
        at = [row["entropy"] for row in points]
        look = {"color": COLOURS[i], "linestyle": style, "marker": marker, "markersize": 8}
        axis.errorbar(at, mean, (mean - low, high - mean), **look, label=model)
        above = model == models[-1]
        if above or model == models[0]:
            place = (
                {"xytext": (0, 5), "ha": "center"} if above else {"xytext": (-5, 1), "ha": "right"}
            )
            for x, y, row in zip(at, high if above else mean, points, strict=True):
                name = f"{row['temperature']:g}"
                axis.annotate(name, (x, y), **place, va="bottom", textcoords="offset points")
        highest.append(mean.max())
    axis.set(xlabel="entropy, nats a token", ylabel="mean true utility, 0 to 1", ylim=(0, 1.06))
    title = f"PPO {highest[-1]:.2f}, ways without a reward model {max(highest[:-1]):.2f}"
    axis.set_title(f"At the best temperature: {title}", loc="left")
    figure.legend(title="numbers: temperature", loc="outside lower center", ncols=3, fontsize=9)
    return figure

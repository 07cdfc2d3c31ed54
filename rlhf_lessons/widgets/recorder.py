"""Replay a recorded run of PPO: scrub through its steps, click a token, and see what moved it."""

import math

import ipywidgets as w

from rlhf_lessons.evaluation.recorder import PARTS
from rlhf_lessons.plots import COLOURS, canvas
from rlhf_lessons.widgets.html import Box, control, escaped, visible

WORDS = {  # what each part of an advantage is
    "score": "the answer's score, carried back to here",
    "kl": "the KL penalty, from here on",
    "baseline": "what the critic expected anyway",
    "batch": "the batch's mean, taken off",
}
UP, DOWN = "#56B4E9", "#E69F00"  # sky blue and orange
STRONG = 1.5  # deviations of the batch: a token of such an advantage has the full colour


def shade(advantage: float) -> str:
    """Return a token's colour: blue where it is to become likelier, orange where less likely, the
    paler the less.
    """
    strength = min(abs(advantage) / STRONG, 1.0)
    parts = (UP if advantage > 0 else DOWN)[1:]
    mixed = [round(255 + strength * (int(parts[i : i + 2], 16) - 255)) for i in (0, 2, 4)]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def mark(advantage: float) -> str:
    """Return the sign of a token: up, down, or neither."""
    if abs(advantage) < 0.05:
        return "·"
    return "▲" if advantage > 0 else "▼"


def clipped(response: dict, token: int, clip_range: float) -> bool:
    """Return whether a token's ratio has left the clip the way that its advantage asked for: then
    it pulls no more.
    """
    ratio = math.exp(response["new"][token] - response["old"][token])
    if response["advantage"][token] > 0:
        return ratio > 1 + clip_range
    return ratio < 1 - clip_range


def why(frame: dict, response: dict, token: int) -> str:
    """Return in words what a step asked of a token, and what became of it."""
    advantage = response["advantage"][token]
    old, new = (math.exp(response[name][token]) for name in ("old", "new"))
    asked = {"▲": "become likelier", "▼": "become less likely"}.get(
        mark(advantage), "stay as likely"
    )
    word = visible(response["tokens"][token])
    said = f"Token {token + 1}, “{word}”: advantage {advantage:+.2f}, so it was to {asked}. "
    if not frame["learns"]:
        return said + "But in this step only the critic learned."
    said += f"Its probability went from {old:.1%} to {new:.1%}. "
    if (new > old) != (advantage > 0) and abs(new - old) > 0.001:
        said += "Other tokens of the batch, or earlier steps' momentum, moved it the other way. "
    if clipped(response, token, frame["clip_range"]):
        clip = frame["clip_range"]
        said += f"Its ratio has left 1 ± {clip:g}: by the end of the step it pulled no more."
    return said


def bars(response: dict, token: int) -> str:
    """Return the signed sum that is a token's advantage, as an HTML table with bars."""
    numbers = [response[part][token] for part in PARTS]
    rows = [*zip(WORDS.values(), numbers, strict=True)]
    rows.append(("together: its advantage", response["advantage"][token]))
    most = max(abs(number) for _, number in rows) or 1.0
    lines = ""
    for name, number in rows:
        width = 45 * abs(number) / most
        left = 50 if number > 0 else 50 - width
        bar = (
            f'<div style="position:relative; width:240px; height:14px; border:1px solid #bbb">'
            f'<div style="position:absolute; left:{left:.1f}%; width:{width:.1f}%; height:100%; '
            f'background:{UP if number > 0 else DOWN}"></div>'
            '<div style="position:absolute; left:50%; height:100%; border-left:1px solid #000">'
            "</div></div>"
        )
        strong = "font-weight:bold" if name.startswith("together") else ""
        lines += (
            f'<tr style="{strong}"><th scope="row" style="text-align:left; font-weight:inherit">'
            f"{escaped(name)}</th>"
            f'<td style="text-align:right">{number:+.2f}</td><td>{bar}</td></tr>'
        )
    return (
        '<table><caption style="text-align:left">In standard deviations of the batch. To the '
        f"right: likelier; to the left: less likely.</caption><tbody>{lines}</tbody></table>"
    )


def time_line(frames: list[dict], place: int) -> str:
    """Return the run's rewards and KL as a small picture, with a mark where we are, as HTML."""
    width, height = 560, 60
    steps = [frame["step"] for frame in frames]

    def path(name: str) -> list[tuple[float, float]]:
        values = [frame[name] for frame in frames]
        low, high = min(values), max(values)
        return [
            (
                width * (step - steps[0]) / max(steps[-1] - steps[0], 1),
                height - 4 - (height - 8) * (value - low) / max(high - low, 1e-9),
            )
            for step, value in zip(steps, values, strict=True)
        ]

    drawn = ""
    for name, colour, dash in (("reward", COLOURS[0], ""), ("kl", COLOURS[1], "5 3")):
        points = path(name)
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        drawn += (
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/>'
            f'<circle cx="{points[place][0]:.1f}" cy="{points[place][1]:.1f}" r="5" '
            f'fill="{colour}"/>'
        )
    frame = frames[place]
    words = (
        f"Step {frame['step'] + 1} of {steps[-1] + 1}: mean reward {frame['reward']:+.2f} (solid, "
        f"blue), KL from the SFT model {frame['kl']:.1f} nats a response (dashed, orange)."
    )
    return (
        f"<p aria-live='polite' style='margin:4px 0'>{words}</p>"
        f'<svg viewBox="-6 0 {width + 12} {height}" style="width:100%; max-width:{width}px; '
        f'height:{height}px; border-bottom:1px solid #999" aria-hidden="true">{drawn}</svg>'
    )


class FlightRecorder(Box):
    """Shows itself as a cell's last line, for `frames` as `RecordedPPO` keeps them.

    The sliders and the tokens, which are buttons, are reached by Tab and moved or pressed by keys.
    ValueError where nothing was recorded.
    """

    def __init__(self, frames: list[dict]):
        if not frames:
            raise ValueError("nothing was recorded: let the run go through a step first")
        self.frames = frames
        self.chosen = 0
        prompts = [response["prompt"] for response in frames[0]["responses"]]
        steps = [(str(frame["step"] + 1), place) for place, frame in enumerate(frames)]
        self.prompt = control(w.Dropdown, "Prompt", options=[*zip(prompts, range(len(prompts)))])
        self.step = control(w.SelectionSlider, "Step", options=steps, continuous_update=True)
        self.line, self.score, self.sum = w.HTML(), w.HTML(), w.HTML()
        self.tokens = w.HBox(layout={"flex_flow": "row wrap", "max_width": "760px"})
        controls = self.prompt, self.step
        super().__init__(
            "A recorded run of PPO to scrub through. It works in Jupyter; the figure below shows "
            "one of its tokens.",
            *controls,
            self.line,
            self.score,
            self.tokens,
            self.note,
            self.sum,
            controls=controls,
        )

    @property
    def frame(self) -> dict:
        """What was recorded in the step that is shown."""
        return self.frames[self.step.value]

    @property
    def response(self) -> dict:
        """The response that is shown."""
        return self.frame["responses"][self.prompt.value]

    def show(self) -> str:
        """Draw the step and the response that are chosen, and say why of a token."""
        response = self.response
        self.line.value = time_line(self.frames, self.step.value)
        end = "" if response["ended"] else " It did not end by itself."
        self.score.value = (
            f"<p>This answer's reward: <b>{response['reward']:+.2f}</b>.{end} "
            "▲ blue: to become likelier; ▼ orange: less likely. Click a token.</p>"
        )
        buttons = []
        for place, (token, advantage) in enumerate(
            zip(response["tokens"], response["advantage"], strict=True)
        ):
            button = self.button_for(
                f"{visible(token)} {mark(advantage)}",
                f"Token {place + 1}, advantage {advantage:+.2f}",
                lambda place=place: self.choose(place),
                layout={"width": "auto", "padding": "0 5px", "margin": "1px"},
            )
            button.style.button_color = shade(advantage)
            button.style.text_color = "#000000"
            buttons.append(button)
        self.tokens.children = buttons
        return self.choose(min(self.chosen, len(buttons) - 1))

    def choose(self, place: int) -> str:
        """Show the signed sum of a token, and return why in words."""
        self.chosen = place
        for number, button in enumerate(self.tokens.children):
            button.style.font_weight = "bold" if number == place else "normal"
            button.layout.border = "2px solid #000" if number == place else "1px solid #bbb"
        self.sum.value = bars(self.response, place)
        return why(self.frame, self.response, place)


def flight_figure(frames: list[dict], place: int, prompt: int = 0, token: int = 0):
    """Draw one response of a recorded step, its tokens' advantages as bars, and the signed sum of
    one token beside.
    """
    frame = frames[place]
    response = frame["responses"][prompt]
    figure, (left, right) = canvas(2, width=9.5, height=3.4)
    advantages = response["advantage"]
    colours = [UP if advantage > 0 else DOWN for advantage in advantages]
    edges = ["black" if i == token else "none" for i in range(len(advantages))]
    left.bar(range(len(advantages)), advantages, color=colours, edgecolor=edges, linewidth=1.5)
    left.set_xticks(
        range(len(advantages)), map(visible, response["tokens"]), rotation=90, fontsize=7
    )
    left.axhline(0, color="black", linewidth=0.8)
    left.set_ylabel("advantage, in deviations of the batch")
    left.set_title(f"Step {frame['step'] + 1}, reward {response['reward']:+.2f}", loc="left")
    numbers = [response[part][token] for part in PARTS] + [advantages[token]]
    names = ["score", "KL", "critic", "batch mean", "together"]
    colours = [UP if number > 0 else DOWN for number in numbers]
    right.barh(range(5), numbers, color=colours, edgecolor="black", linewidth=0.5)
    right.set_yticks(range(5), names)
    right.invert_yaxis()
    right.axvline(0, color="black", linewidth=0.8)
    word = visible(response["tokens"][token])
    right.set_title(f"Token {token + 1}, “{word}”: a sum", loc="left")
    return figure

"""The clipped objective as a picture that follows sliders: see where a token stops pulling."""

import ipywidgets as w
import torch

from rlhf_lessons.plots import COLOURS, canvas, line
from rlhf_lessons.stages.losses import clipped_policy_loss
from rlhf_lessons.widgets.html import Box, figure_html, slider


class ClippedObjective(Box):
    """Three sliders, a token's ratio, its advantage and the clip, and a picture that follows
    them."""

    def __init__(self):
        self.ratio = slider("ratio, new / old", 0.4, 1.8, 0.05, value=1.4)
        self.advantage = slider("advantage", -2, 2, 0.25, value=1)
        self.clip = slider("clip", 0.05, 0.5, 0.05, value=0.2)
        self.picture = w.HTML()
        sliders = self.ratio, self.advantage, self.clip
        super().__init__(
            "Sliders for the clipped objective. They work in Jupyter; two of their settings stand "
            "above.",
            *sliders,
            self.picture,
            controls=sliders,
        )

    def show(self) -> None:
        """Draw the picture for what the sliders say."""
        token = self.ratio.value, self.advantage.value, self.clip.value
        figure, (axis,) = canvas(width=5.6, height=3.0)
        draw_objective(axis, *token)
        self.picture.value = figure_html(figure, objective_in_words(*token))


def objective(ratio: torch.Tensor, advantage: float, clip: float) -> torch.Tensor:
    """Return what PPO makes large, for tokens of these ratios."""
    return -clipped_policy_loss(ratio.log(), torch.zeros_like(ratio), torch.tensor(advantage), clip)


def pull(ratio: float, advantage: float, clip: float) -> float:
    """Return the slope of the objective at a ratio: which way, and how strongly, the token moves
    the policy."""
    at = torch.tensor(ratio, dtype=torch.double, requires_grad=True)
    objective(at, advantage, clip).backward()
    return at.grad.item()


def objective_in_words(ratio: float, advantage: float, clip: float) -> str:
    """Return a sentence on what a token does at this ratio."""
    slope = pull(ratio, advantage, clip)
    where = f"Ratio {ratio:.2f}, advantage {advantage:+.2f}"
    if advantage == 0:
        return f"{where}: as good as expected, so the token pulls nowhere."
    if slope == 0:
        return f"{where}: the line is flat. The token has moved enough and pulls no more."
    return f"{where}: the token pulls its probability {'up' if slope > 0 else 'down'}."


def draw_objective(axis, ratio: float, advantage: float, clip: float) -> None:
    """Draw the objective against the ratio, clipped and not, and where the token is."""
    ratios = torch.linspace(0.4, 1.8, 281)
    here = objective(torch.tensor(ratio), advantage, clip)
    axis.axvspan(1 - clip, 1 + clip, color="lightgrey", alpha=0.5, label="within the clip")
    axis.plot(ratios, ratios * advantage, ":", color="grey", label="not clipped")
    axis.plot(ratios, objective(ratios, advantage, clip), **line(0), label="clipped")
    axis.plot(ratio, here, "o", color=COLOURS[1], markersize=8, label="this token")
    still = "still pulls" if pull(ratio, advantage, clip) else "pulls no more"
    axis.set(xlabel="ratio: new probability / old", ylabel="objective", xlim=(0.4, 1.8))
    axis.set_title(f"Ratio {ratio:.2f}: this token {still}", loc="left", fontsize=10)
    axis.legend(fontsize=8)

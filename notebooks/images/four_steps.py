"""Draws four_steps.png, the diagram of lesson 0. Run it in this folder: python four_steps.py"""
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

STEPS = [("1 · Pretraining", "web scraps", "#999999", "base", "predicts the next token"),
         ("2 · Fine-tuning (SFT)", "demonstrations\nwritten by people", "#56B4E9", "SFT model", "answers, like its writers"),
         ("3 · Reward model", "comparisons\nmade by people", "#E69F00", "reward model", "one number for an answer"),
         ("4 · RL (PPO)", "prompts, and the\nreward model's numbers", "#009E73", "RLHF model", "answers as people prefer")]


def box(axes, x, y, height, text, face, weight="normal"):
    shape = FancyBboxPatch((x, y), 2.3, height, boxstyle="round,pad=0.08", fc=face, ec="#333333", lw=1.2)
    axes.add_patch(shape)
    axes.text(x + 1.15, y + height / 2, text, ha="center", va="center", fontsize=9.5, weight=weight)


figure, axes = plt.subplots(figsize=(11.5, 3.5), dpi=100)
arrow = dict(arrowstyle="-|>", lw=1.6, color="#333333", mutation_scale=16)
for i, (title, data, colour, model, does) in enumerate(STEPS):
    x = 0.3 + 2.95 * i
    axes.text(x + 1.15, 3.62, title, ha="center", fontsize=11, weight="bold")
    box(axes, x, 2.45, 0.75, data, "#ffffff")
    axes.annotate("", (x + 1.15, 1.58), (x + 1.15, 2.33), arrowprops=arrow)
    box(axes, x, 0.85, 0.6, model, colour, "bold")
    axes.text(x + 1.15, 0.5, does, ha="center", fontsize=9.5, style="italic")
    if i < 3:
        axes.annotate("", (x + 2.88, 1.15), (x + 2.4, 1.15), arrowprops=arrow)
x = [0.3 + 2.95 * i + 1.15 for i in range(4)]
loop = dict(arrow, linestyle="--", connectionstyle="arc3,rad=-0.18")
axes.annotate("", (x[2] + 0.2, 0.38), (x[3], 0.38), arrowprops=loop)
axes.text((x[2] + x[3]) / 2 + 0.1, -0.2, "rate its answers, and again", ha="center", fontsize=9.5)
axes.set(xlim=(0, 12.2), ylim=(-0.4, 3.95))
axes.axis("off")
figure.savefig("four_steps.png", bbox_inches="tight", facecolor="white")

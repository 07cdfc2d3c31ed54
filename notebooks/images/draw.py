"""Draws the course's diagrams: each as SVG, and with Chromium as PNG beside it, 1200 pixels wide.

    python notebooks/images/draw.py      needs playwright, Pillow and Chromium, as the tests do

An SVG may be edited by hand afterwards, but then not drawn again.
"""

import io
import math
import os
import shutil
import sys
from pathlib import Path

from shapes import (
    BAD,
    BASE,
    INK,
    LINE,
    MONO,
    PEOPLE,
    POLICY,
    QUIET,
    REWARD,
    SFT,
    bar,
    box,
    document,
    number,
    path,
    people,
    rule,
    text,
    tint,
)

HERE = Path(__file__).parent


def next_token():
    """How a language model is trained, and how it writes; the chances are our base model's."""
    s, chances = "", [("velvet", 9), ("toad", 8), ("moonlit", 8), ("moth", 7), ("golden", 6)]
    for x, word in zip((40, 118, 214, 292), ("The", " king", " met", " a")):
        s += box(
            x,
            250,
            70 if word != " king" else 88,
            46,
            "#F2F2F2",
            "#8A8A8A",
            word.replace(" ", "␣"),
            20,
            r=8,
            font=MONO,
        )
    s += text(200, 326, "the tokens so far", 20, fill=QUIET)
    s += path([(366, 273), (412, 273)], INK, 4)
    s += box(420, 228, 170, 90, BASE, words="base model", size=24, weight="bold") + path(
        [(590, 273), (636, 273)], INK, 4
    )
    for i, (word, percent) in enumerate(chances):
        y = 176 + i * 36
        s += text(760, y, "␣" + word, 20, anchor="end", font=MONO)
        s += (
            f'<rect x="772" y="{y - 12}" width="{14 * percent}" height="24" fill="{SFT}" '
            f'stroke="{LINE}" '
            f'stroke-width="1.5"/>\n'
            + text(784 + 14 * percent, y, f"{percent} %", 20, anchor="start")
        )
    s += text(740, 356, "… and a chance for each of the other 1,531 tokens", 20, fill=QUIET)
    s += text(768, 136, "how likely is each token, if it comes next?", 20, fill=QUIET)
    s += path([(950, 212), (1000, 212), (1000, 84), (1016, 84)], REWARD, 4)
    s += box(
        1024,
        28,
        164,
        112,
        tint(REWARD, 0.35),
        words="in training\nthe page tells;\nloss = −log p,\nits surprise",
        size=20,
    )
    s += path([(950, 284), (1000, 284), (1000, 400), (1016, 400)], POLICY, 4)
    s += box(1024, 362, 164, 76, tint(POLICY, 0.35), words="in writing:\none is drawn", size=20)
    s += path([(1102, 438), (1102, 476), (200, 476), (200, 346)], POLICY, 4, "11 8")
    s += text(
        650, 500, "the drawn token joins the others, and the model predicts again", 20, "bold"
    )
    return 1200, 524, s


def loop():
    """The four stages of RLHF, and the way back."""
    s = ""
    # models, left to right
    s += box(40, 300, 200, 100, BASE, words="base model", size=24, weight="bold")
    s += box(360, 300, 200, 100, SFT, words="SFT model", size=24, weight="bold")
    s += box(690, 305, 150, 90, "#FFFFFF", words="PPO", size=28, weight="bold", r=45, width=3)
    s += box(960, 300, 200, 100, POLICY, words="RLHF model", size=24, weight="bold")
    s += box(665, 100, 200, 100, REWARD, words="reward model", size=24, weight="bold")
    s += box(362, 86, 196, 128, tint(PEOPLE, 0.25), PEOPLE, width=3)
    s += people(460, 112) + text(460, 180, "people compare\nits answers", 20)
    # what goes in from below
    for x, words in (
        (140, "text from the web"),
        (460, "ideal answers,\nwritten by people"),
        (765, "prompts"),
    ):
        s += box(x - 100, 480, 200, 68, "#FFFFFF", "#8A8A8A", words, 20)
        s += path([(x, 480), (x, 404 if x == 765 else 408)])
    s += (
        path([(240, 350), (352, 350)])
        + path([(560, 350), (682, 350)])
        + path([(840, 350), (952, 350)])
    )
    s += path([(460, 300), (460, 223)]) + path([(558, 150), (657, 150)])
    s += path([(765, 200), (765, 297)], REWARD, 4) + text(
        781, 249, "one number\nfor each answer", 20, anchor="start"
    )
    s += path([(1060, 300), (1060, 42), (460, 42), (460, 79)], POLICY, 4, "11 8")
    s += text(770, 24, "the new model’s answers are rated again", 20, "bold")
    # steps
    s += number(40, 300, 1) + number(360, 300, 2) + number(665, 100, 3) + number(690, 305, 4)
    for x, words in (
        (140, "continues the page"),
        (460, "answers, as they did"),
        (1060, "answers as people prefer"),
    ):
        s += text(
            1060 if x == 1060 else x + 12,
            430,
            words,
            20,
            style="italic",
            fill=QUIET,
            anchor="middle" if x == 1060 else "start",
        )
    s += text(
        881, 150, "guesses what\npeople prefer", 20, style="italic", fill=QUIET, anchor="start"
    )
    return 1200, 570, s


def reward():
    """How the reward model comes from the language model."""
    s = text(290, 34, "language model", 26, "bold") + text(900, 34, "reward model", 26, "bold")
    left, right = 40, 650
    words = ["1", "+", "2", "?", "…", "3", ".", "<eos>"]

    def tokens(x):
        out = ""
        for i, word in enumerate(words):
            read = i == len(words) - 1 and x == right
            out += box(
                x + i * 60,
                520,
                80 if word == "<eos>" else 54,
                38,
                tint(REWARD, 0.35) if read else "#F2F2F2",
                LINE if read else "#8A8A8A",
                word.strip(),
                20,
                r=8,
                font=MONO,
                width=2 if read else 1.5,
            )
        return (
            out
            + text(x + 120, 580, "prompt", 20, fill=QUIET)
            + text(x + 400, 580, "answer", 20, fill=QUIET)
        )

    for x, kept in ((left, 4), (right, 2)):
        s += tokens(x)
        for i in range(4):
            y, there = 442 - i * 66, i < kept
            s += box(
                x,
                y,
                500,
                50,
                SFT if there else "#FFFFFF",
                LINE if there else "#8A8A8A",
                f"layer {i + 1}" if there else f"layer {i + 1}: may go",
                20,
                "bold" if there else "normal",
                "" if there else "8 7",
                ink=INK if there else QUIET,
            )
        s += path([(x + 250, 516), (x + 250, 499)], width=3)
    # language-model head: a score for each token
    s += box(left, 170, 500, 52, BASE, words="head: a score for each token", size=20, weight="bold")
    heights = [18, 44, 10, 27, 66, 13, 31, 9, 22, 12, 38, 8, 16, 25, 11, 19]
    for i, h in enumerate(heights):
        s += (
            f'<rect x="{left + 60 + i * 24}" y="{150 - h}" width="16" height="{h}" '
            f'fill="{POLICY if h == 66 else "#B5B5B5"}" stroke="{LINE}" stroke-width="1"/>\n'
        )
    s += text(left + 250, 66, "1,536 numbers: which token comes next?", 20, fill=QUIET)
    # reward head: one number, read at the end
    s += path([(left + 512, 320), (right - 14, 320)], INK, 4) + text(
        595, 274, "take the\nhead off", 20, "bold"
    )
    s += path([(right + 466, 376), (right + 466, 230)], REWARD, 4)
    s += box(right + 366, 170, 134, 52, REWARD, words="new head", size=20, weight="bold")
    s += box(
        right, 170, 340, 52, "#FFFFFF", "#8A8A8A", "old head: taken off", 20, dash="8 7", ink=QUIET
    )
    s += path([(right + 433, 170), (right + 433, 142)], REWARD, 4)
    s += box(right + 378, 84, 110, 50, tint(REWARD, 0.35), words="+1.3", size=28, weight="bold")
    s += text(
        right + 362,
        100,
        "one number: how well\nwould people like it?",
        20,
        fill=QUIET,
        anchor="end",
    )
    s += path([(right + 466, 516), (right + 466, 499)], REWARD, 4)
    s += text(
        right + 250,
        614,
        "read at the end token, the first to have seen the whole answer",
        20,
        fill=QUIET,
    )
    return 1200, 636, s


def ppo():
    """One step of PPO in four pictures."""
    titles = [
        ("1", "Roll out", "the policy answers, at random"),
        ("2", "Score", "one number at the end;\nthe leash pulls everywhere"),
        ("3", "Compare", "which tokens turned out\nbetter than expected?"),
        ("4", "Update", "those likelier, the others less,\nby a little"),
    ]
    words = ["4", "-", "2", "is", "2"]
    s = ""
    for i, (n, title, below) in enumerate(titles):
        x = 20 + i * 298
        s += box(x, 70, 266, 300, "#FAFAFA", "#8A8A8A", r=18)
        s += number(x + 24, 40, n) + text(x + 54, 40, title, 26, "bold", anchor="start")
        s += text(x + 133, 406, below, 20, fill=INK)
        if i < 3:
            s += path([(x + 266, 220), (x + 292, 220)], INK, 4)
        for j, word in enumerate(words):
            s += box(
                x + 16 + j * 48,
                312,
                42,
                40,
                tint(POLICY, 0.35),
                LINE,
                word,
                20,
                r=8,
                font=MONO,
                width=1.5,
            )
    # 1: the prompt, the policy
    x = 20
    s += box(x + 16, 92, 234, 46, "#FFFFFF", "#8A8A8A", "What is 4-2 and 3-1?", 20)
    s += path([(x + 133, 138), (x + 133, 170)])
    s += box(x + 53, 178, 160, 60, POLICY, words="policy", size=22, weight="bold")
    for j in range(5):
        s += path([(x + 133, 238), (x + 37 + j * 48, 304)], LINE, 2)
    # 2: reward at the end, KL price at each token
    x = 318
    s += rule(x, 230) + bar(x + 216, 230, 96, REWARD)
    for j, h in enumerate((30, 4, 24, 7, 12)):
        s += bar(x + 24 + j * 48, 230, -h, BAD)
    s += text(x + 200, 150, "reward model’s\nnumber", 20, anchor="end")
    s += text(x + 133, 284, "− β · KL: the leash", 20)
    # 3: advantages
    x = 616
    s += rule(x, 210)
    for j, h in enumerate((-38, 14, -22, 46, 84)):
        s += bar(x + 24 + j * 48, 210, h, POLICY if h > 0 else BAD)
    s += text(x + 20, 106, "better than expected (+)", 20, anchor="start")
    s += text(x + 20, 286, "worse than expected (−)", 20, anchor="start")
    # 4: ratios, clipped
    x = 914
    s += f'<rect x="{x + 16}" y="160" width="234" height="100" fill="{tint(SFT, 0.3)}"/>\n'
    s += rule(x, 160, "6 5") + rule(x, 210) + rule(x, 260, "6 5")
    for j, h in enumerate((-42, 22, -30, 38, 50)):
        colour = POLICY if h > 0 else BAD
        s += path(
            [(x + 37 + j * 48, 210), (x + 37 + j * 48, 210 - h + (9 if h > 0 else -9))], colour, 5
        )
    s += text(x + 133, 106, "new ÷ old probability:\nno gain beyond 0.8 and 1.2", 20)
    s += text(x + 20, 147, "1.2", 20, anchor="start") + text(x + 20, 276, "0.8", 20, anchor="start")
    # and again
    s += path([(1047, 440), (1047, 474), (153, 474), (153, 448)], POLICY, 4, "11 8")
    s += text(600, 500, "again, with fresh answers by the new policy", 20, "bold")
    return 1200, 522, s


def mask():
    """Tokens, and which of them count in the loss of SFT."""
    words = [
        "<bos>",
        "<user>",
        "1",
        "+",
        "2",
        "?",
        "\\n",
        "<assistant>",
        "\\n",
        "1",
        "+",
        "2",
        " is",
        " ",
        "3",
        ".",
        "<eos>",
    ]
    ids = [1, 3, 21, 15, 22, 35, 203, 4, 203, 21, 15, 22, 292, 225, 23, 18, 2]
    gap, first, x = 4, 9, 100
    widths = [max(50 if i < first else 40, 10 + 12 * len(word)) for i, word in enumerate(words)]
    scale = (1190 - x - gap * (len(words) - 1)) / sum(widths)
    s = text(14, 130, "token", 20, anchor="start", fill=QUIET) + text(
        14, 186, "number", 20, anchor="start", fill=QUIET
    )
    s += text(14, 236, "label", 20, anchor="start", fill=QUIET)
    edges = []
    for i, (word, n, width) in enumerate(zip(words, ids, widths)):
        w, counts = width * scale, i >= first
        edges.append((x, x + w))
        special = word.startswith("<")
        s += box(
            x,
            106,
            w,
            48,
            POLICY if counts else "#EFEFEF",
            LINE if counts else "#8A8A8A",
            word.replace(" ", "␣").replace("\\n", "↵"),
            20,
            "bold" if special or counts else "normal",
            r=8,
            font=MONO,
            width=2 if counts else 1.5,
        )
        s += text(x + w / 2, 186, str(n), 20, font=MONO, fill=QUIET)
        s += text(
            x + w / 2,
            236,
            str(n) if counts else "−100",
            20,
            "bold" if counts else "normal",
            POLICY if counts else QUIET,
            font=MONO,
        )
        x += w + gap
    for a, b, colour, words in (
        (
            edges[0][0],
            edges[first - 1][1],
            "#8A8A8A",
            "the prompt: the model reads it,\nbut is not marked on it",
        ),
        (
            edges[first][0],
            edges[-1][1],
            POLICY,
            "the answer: every token counts,\nthe end token too",
        ),
    ):
        line = f'fill="none" stroke="{colour}" stroke-width="3"'
        s += f'<path d="M{a + 3:g} 96 v-12 H{b - 3:g} v12" {line}/>\n'
        s += text((a + b) / 2, 46, words, 20, "bold")
    # what stands at t predicts t + 1
    for i in range(first - 1, len(edges) - 1):
        a, b = sum(edges[i]) / 2, sum(edges[i + 1]) / 2
        s += (
            f'<path d="M{a + 3:g} 256 q{(b - a) / 2 - 3:g} 34 {b - a - 6:g} 3" fill="none" '
            f'stroke="{POLICY}" '
            f'stroke-width="2.5" marker-end="url(#tip{POLICY[1:]})"/>\n'
        )
    a = edges[first - 1][0]
    s += text(
        a - 12,
        292,
        "each arrow is one guess: what stands here predicts the token after it",
        20,
        anchor="end",
    )
    s += text(
        edges[-1][1],
        324,
        "loss = mean surprise, −log p, of these eight guesses",
        20,
        "bold",
        anchor="end",
    )
    return 1200, 350, s


def bradley_terry():
    """How often A is chosen, by how much its reward leads."""
    left, right, top, bottom = 110, 800, 50, 380

    def px(lead):
        return left + (lead + 5) / 10 * (right - left)

    def py(p):
        return bottom - p * (bottom - top)

    s = ""
    for p in (0, 0.25, 0.5, 0.75, 1):
        s += (
            f'<line x1="{left}" y1="{py(p):g}" x2="{right}" y2="{py(p):g}" stroke="#D5D5D5" '
            f'stroke-width="1.5"/>\n'
            + text(left - 12, py(p), f"{round(100 * p)} %", 20, anchor="end")
        )
    for lead in (-4, -2, 0, 2, 4):
        s += text(px(lead), bottom + 24, f"{lead:+d}".replace("-", "−") if lead else "0", 20)
    points = [(lead / 20, 1 / (1 + math.exp(-lead / 20))) for lead in range(-100, 101)]
    s += (
        '<polyline points="'
        + " ".join(f"{px(a):.1f},{py(b):.1f}" for a, b in points)
        + f'" fill="none" stroke="{REWARD}" stroke-width="5"/>\n'
    )
    for lead in (0, 1, 2, 4):
        p = 1 / (1 + math.exp(-lead))
        s += f'<circle cx="{px(lead):g}" cy="{py(p):g}" r="8" fill="{INK}"/>\n'
        s += text(px(lead) + 14, py(p) + 22, f"{round(100 * p)} %", 20, "bold", anchor="start")
    s += text((left + right) / 2, bottom + 56, "by how much A’s reward leads B’s", 20)
    s += text(left - 90, 22, "how often A is chosen", 20, anchor="start")
    s += text(1000, 110, "P(A beats B) =\nσ(A’s reward − B’s)", 28, "bold")
    s += text(
        1000, 215, "Only the difference counts:\nadd 5 to every reward,\nand nothing changes.", 20
    )
    s += text(
        1000, 330, "Who was sure and right\nlearns little. Who was sure\nand wrong learns much.", 20
    )
    return 1200, 460, s


def beyond_ppo():
    """What each method holds, and what takes the place of what it drops."""
    columns = ("PPO", "RLOO, GRPO", "verifiable rewards", "DPO")
    rows = (
        ("what is\ntrained", ["policy"] * 4, POLICY),
        ("what keeps\nit near", ["reference"] * 4, SFT),
        ("what says\nhow good", ["reward model", "reward model", "a program", "votes"], REWARD),
        ("what was\nexpected", ["critic", "other answers", "other answers", ""], BASE),
    )
    s = ""
    for i, name in enumerate(columns):
        s += text(285 + 260 * i, 30, name, 24, "bold")
    for j, (question, holds, colour) in enumerate(rows):
        y = 62 + 106 * j
        s += text(20, y + 43, question, 20, anchor="start", fill=QUIET, style="italic")
        for i, words in enumerate(holds):
            x = 170 + 260 * i
            model = words in ("policy", "reference", "reward model", "critic")
            if words:
                face = colour if model else tint(PEOPLE, 0.25)
                s += box(x, y, 230, 86, face, words=words, size=22, dash="" if model else "8 6")
            else:
                s += text(x + 115, y + 43, "nothing is sampled:\nnothing to expect", 20, fill=QUIET)
    s += box(170, 496, 40, 26, "#FFFFFF") + text(222, 509, "a model", 20, anchor="start")
    s += box(330, 496, 40, 26, tint(PEOPLE, 0.25), dash="8 6")
    s += text(382, 509, "no model", 20, anchor="start")
    return 1200, 536, s


def one_trunk():
    """How LoRA lets four models share one trunk; the widths of the adapters are not to scale."""
    trunk, s = tint(BASE, 0.2), ""
    left, step, right, top, middle, bottom = 100, 540, 1105, 178, 370, 754
    s += (
        f'<path d="M{left} {top + 14} q0 -14 14 -14 H{step - 14} q14 0 14 14 V{middle} '
        f'H{right - 14} q14 0 14 14 V{bottom - 14} q0 14 -14 14 H{left + 14} q-14 0 -14 -14 Z" '
        f'fill="{trunk}" stroke="{LINE}" stroke-width="2"/>\n'
    )
    s += path([(left, middle), (step, middle)], QUIET, 2, "8 7", head=False)
    # how many layers each has
    for x, y, out, words in ((left, top, -1, "30\nlayers"), (right, middle, 1, "lowest\n20")):
        s += (
            f'<path d="M{x + 10 * out} {y + 2} h{8 * out} V{bottom - 2} h{-8 * out}" fill="none" '
            f'stroke="{QUIET}" stroke-width="2"/>\n'
        )
        s += text(x + 56 * out, (y + bottom) / 2, words, 20, fill=QUIET)
    s += text(320, 420, "the trunk", 28, "bold")
    s += text(320, 506, "SmolLM2:\n135 million weights,\nfrozen,\nin memory once", 20)
    models = (
        (200, 64, 200, "policy", "learns in PPO", POLICY),
        (440, 64, 200, "reference", "never learns", SFT),
        (680, 210, 200, "critic", "learns in PPO", BASE),
        (950, 210, 310, "reward model", "learned from votes, then frozen", REWARD),
    )
    for x, y, wide, name, learns, colour in models:
        # the adapter, a thin part of each layer
        idle, long = name == "reference", bottom - 12 - y - 84
        s += box(x - 9, y + 84, 18, long, "#FFFFFF" if idle else colour, dash="6 5" * idle, r=4)
        s += box(x - wide / 2, y, wide, 84, colour)
        s += text(x, y + 28, name, 24, "bold") + text(x, y + 58, learns, 20)
        if y > top:
            s += box(x - 85, 310, 170, 40, colour, words="head: a number", size=20)
    # one layer
    s += box(580, 14, 600, 182, "#FAFAFA", "#8A8A8A", r=18)
    s += text(600, 36, "in a linear layer", 20, "bold", anchor="start")
    s += text(600, 106, "output =", 22, anchor="start")
    s += box(700, 56, 100, 100, trunk, words="W", size=24, weight="bold", r=4)
    s += text(818, 106, "x", 22) + text(858, 106, "+", 26)
    s += text(904, 90, "α", 22) + text(904, 121, "r", 22)
    s += path([(888, 106), (920, 106)], INK, 2, head=False)
    s += box(940, 56, 28, 100, POLICY, words="B", size=22, weight="bold", r=4)
    s += box(980, 92, 100, 28, POLICY, words="A", size=22, weight="bold", r=4)
    s += text(1098, 106, "x", 22)
    s += text(750, 175, "frozen", 20, fill=QUIET)
    s += text(1168, 175, "the adapter: about 2 % of the weights", 20, anchor="end", fill=QUIET)
    # the two kinds of adapter
    s += box(102, 776, 18, 30, POLICY, r=4) + text(132, 791, "an adapter", 20, anchor="start")
    s += box(272, 776, 18, 30, "#FFFFFF", dash="6 5", r=4)
    s += text(302, 791, "an adapter that changes nothing", 20, anchor="start")
    return 1200, 820, s


DIAGRAMS = {
    "next_token": next_token,
    "loop": loop,
    "reward_model": reward,
    "ppo_step": ppo,
    "loss_mask": mask,
    "bradley_terry": bradley_terry,
    "beyond_ppo": beyond_ppo,
    "one_trunk": one_trunk,
}


def svg(name: str) -> str:
    """Return one diagram as the text of an SVG file."""
    return document(*DIAGRAMS[name]())


def main() -> None:
    sys.path.insert(0, str(HERE.parents[1] / "teaching"))
    from one_file import font_faces
    from PIL import Image
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in DIAGRAMS:
            (HERE / f"{name}.svg").write_text(svg(name), encoding="utf-8", newline="\n")
            width, height, _ = DIAGRAMS[name]()
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_content(f"<style>{font_faces()}</style><body style='margin:0'>{svg(name)}")
            page.evaluate("document.fonts.ready")
            picture = Image.open(io.BytesIO(page.screenshot()))
            picture.quantize(96, dither=Image.Dither.NONE).save(HERE / f"{name}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main()

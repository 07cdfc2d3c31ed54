"""Shapes of which the course's diagrams are made: each function returns a piece of SVG.

Colours are those of Okabe and Ito (2008); who cannot tell them apart has the words, the dashes and
the places.
"""

from html import escape

INK, QUIET, LINE = "#222222", "#5A5A5A", "#333333"
BASE, SFT, REWARD, POLICY, PEOPLE, BAD = (
    "#999999",
    "#56B4E9",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
)
FONT = "Arimo, Arial, 'Liberation Sans', Helvetica, sans-serif"
MONO = "'DejaVu Sans Mono', 'Liberation Mono', 'Courier New', monospace"


def text(
    x, y, words, size=20, weight="normal", fill=INK, anchor="middle", font=FONT, style="normal"
):
    """Lines of text around the height y, the first line highest."""
    lines, out = words.split("\n"), ""
    for i, line in enumerate(lines):
        at = y + (i - (len(lines) - 1) / 2) * size * 1.22 + size * 0.35
        out += (
            f'<text x="{x:g}" y="{at:.1f}" font-size="{size}" font-weight="{weight}" '
            f'font-style="{style}" '
            f'fill="{fill}" text-anchor="{anchor}" font-family="{font}" xml:space="preserve">'
            f"{escape(line)}</text>\n"
        )
    return out


def box(
    x,
    y,
    w,
    h,
    face="#FFFFFF",
    edge=LINE,
    words="",
    size=20,
    weight="normal",
    dash="",
    r=14,
    ink=INK,
    width=2,
    opacity=1,
    font=FONT,
):
    """A rounded box with its upper left corner at (x, y), and words in its middle."""
    shape = (
        f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{r}" fill="{face}" '
        f'stroke="{edge}" '
        f'stroke-width="{width}" stroke-dasharray="{dash}" fill-opacity="{opacity}"/>\n'
    )
    return shape + (
        text(x + w / 2, y + h / 2, words, size, weight, ink, font=font) if words else ""
    )


def tint(colour, share=0.2):
    """A colour mixed with white."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - part) * share):02X}" for part in parts)


def path(points, colour=LINE, width=3, dash="", head=True):
    """A line through points, with round corners and an arrow head at its end."""
    d = f"M{points[0][0]:g} {points[0][1]:g}"
    for (ax, ay), (bx, by), (cx, cy) in zip(points, points[1:], points[2:]):

        def near(px, py, bx=bx, by=by, radius=16):
            long = max(((px - bx) ** 2 + (py - by) ** 2) ** 0.5, 1e-9)
            return bx + (px - bx) / long * radius, by + (py - by) / long * radius

        (sx, sy), (ex, ey) = near(ax, ay), near(cx, cy)
        d += f" L{sx:g} {sy:g} Q{bx:g} {by:g} {ex:g} {ey:g}"
    d += f" L{points[-1][0]:g} {points[-1][1]:g}"
    tip = f' marker-end="url(#tip{colour[1:]})"' if head else ""
    return (
        f'<path d="{d}" fill="none" stroke="{colour}" stroke-width="{width}" '
        f'stroke-dasharray="{dash}"'
        f' stroke-linejoin="round"{tip}/>\n'
    )


def bar(x, y, h, colour):
    """A bar of a figure: up from the height y, or down where h is negative."""
    return (
        f'<rect x="{x}" y="{y - max(h, 0)}" width="26" height="{abs(h)}" fill="{colour}" '
        f'stroke="{LINE}" '
        f'stroke-width="1.5"/>\n'
    )


def rule(x, y, dash=""):
    """A level line across a panel."""
    line = f'stroke="{LINE}" stroke-width="2" stroke-dasharray="{dash}"'
    return f'<path d="M{x + 16} {y} H{x + 250}" {line}/>\n'


def number(x, y, n):
    """A small disc with a number in it."""
    return f'<circle cx="{x}" cy="{y}" r="19" fill="{INK}"/>\n' + text(
        x, y, str(n), 21, "bold", "#FFFFFF"
    )


def people(x, y, n=3):
    """A few persons, as heads and shoulders."""
    out = ""
    for i in range(n):
        cx = x + (i - (n - 1) / 2) * 34
        look = f'fill="{PEOPLE}" stroke="{LINE}" stroke-width="1.5"'
        out += (
            f'<circle cx="{cx:g}" cy="{y:g}" r="9" {look}/>'
            f'<path d="M{cx - 15:g} {y + 30:g} q0 -19 15 -19 q15 0 15 19 z" {look}/>\n'
        )
    return out


def document(width, height, shapes):
    """The text of an SVG file that shows these shapes on white."""
    colours = (LINE, INK, REWARD, POLICY, BAD)
    tips = "".join(
        f'<marker id="tip{c[1:]}" viewBox="0 0 10 10" refX="7" refY="5" markerWidth="16" '
        f'markerHeight="16" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 L10 5 L0 10 z" '
        f'fill="{c}"/></marker>'
        for c in dict.fromkeys(colours)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}">\n'
        f'<defs>{tips}</defs>\n<rect width="{width}" height="{height}" '
        f'fill="#FFFFFF"/>\n{shapes}</svg>\n'
    )

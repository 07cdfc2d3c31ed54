"""Makes the handout: handout.md becomes one HTML file that prints on one page of A4.

    python teaching/handout.py           writes dist/handout.html, or the file that you name behind it

Open the file in a browser and print it. Any Python 3.11 will do. It knows the Markdown that the handout uses, and no
more: headings, paragraphs, lists, one table, bold, italics, indices, code, links, pictures. On paper a link to a page
of this folder would be dead: its words stay, the link goes.
"""
import base64
import html
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOOK = """
@page { size: A4; margin: 11mm 13mm; }
body { font: 9.6pt/1.3 Arial, 'Liberation Sans', Helvetica, sans-serif; color: #222; margin: 0 auto; max-width: 184mm; }
h1 { font-size: 19pt; margin: 0 0 1.5mm; color: #004B78; }
h2 { font-size: 11.5pt; margin: 3mm 0 1mm; color: #004B78; border-bottom: 0.6mm solid #E69F00; }
p, ul, ol { margin: 0 0 1.2mm; }
ul, ol { padding-left: 5mm; }
img { display: block; width: 135mm; margin: 0 auto 1mm; }
table { border-collapse: collapse; width: 100%; margin-bottom: 1.5mm; }
th, td { border-bottom: 0.2mm solid #BBB; padding: 0.6mm 2mm 0.6mm 0; text-align: left; vertical-align: top; }
code { font-size: 8.8pt; }
sub, sup { line-height: 0; }
a { color: inherit; text-decoration: none; }
@media screen { body { padding: 11mm 13mm; } }
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>{css}</style></head>
<body>
{body}
</body>
</html>
"""


def picture(found: re.Match) -> str:
    """Return a picture as part of the page: the drawing that stands beside the PNG."""
    data = base64.b64encode((HERE / found["file"]).with_suffix(".svg").read_bytes()).decode("ascii")
    return f'<img alt="{found["alt"]}" src="data:image/svg+xml;base64,{data}">'


def line(text: str) -> str:
    """Return a line of Markdown as HTML."""
    codes = []
    text = re.sub(r"`([^`]+)`", lambda found: codes.append(html.escape(found[1])) or f"\0{len(codes) - 1}\0", text)
    text = html.escape(text)
    text = re.sub(r"!\[(?P<alt>[^]]*)\]\((?P<file>[^)]+)\)", picture, text)
    text = re.sub(r"\[([^]]+)\]\((https?:[^)]+)\)", r'<a href="\2">\1</a>', text)
    text = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"\*(.+?)\*", r"<em>\1</em>", text)
    text = re.sub(r"\b(\w)_(\w)\b", r"\1<sub>\2</sub>", re.sub(r"\^(−\w)", r"<sup>\1</sup>", text))
    return re.sub("\0(\\d+)\0", lambda found: f"<code>{codes[int(found[1])]}</code>", text)


def block(text: str) -> str:
    """Return a block of Markdown, which is what stands between empty lines, as HTML."""
    lines = text.strip().split("\n")
    if heading := re.match(r"(#+) (.+)", text):
        return f"<h{len(heading[1])}>{line(heading[2])}</h{len(heading[1])}>"
    if text.startswith("|"):
        rows = [[line(cell.strip()) for cell in row.strip("|").split("|")] for row in lines if "| ---" not in row]
        cells = ["".join(f"<{tag}>{cell}</{tag}>" for cell in row)
                 for tag, row in zip(["th", *["td"] * len(rows)], rows)]
        return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"
    for tag, mark in (("ul", r"- "), ("ol", r"\d+\. ")):
        if re.match(mark, text):
            return f"<{tag}>" + "".join(f"<li>{line(re.sub(f'^{mark}', '', row))}</li>" for row in lines) + f"</{tag}>"
    return line(text) if text.startswith("![") else f"<p>{line(' '.join(lines))}</p>"


def page(text: str) -> str:
    """Return the handout as the text of one HTML file."""
    title = re.search(r"^# (.+)", text, re.M)[1]
    return PAGE.format(title=title, css=LOOK, body="\n".join(map(block, re.split(r"\n{2,}", text.strip()))))


def main() -> None:
    target = Path(sys.argv[1]) if sys.argv[1:] else HERE.parent / "dist" / "handout.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page((HERE / "handout.md").read_text("utf-8")), "utf-8", newline="\n")
    print(f"{target} ({target.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    main()

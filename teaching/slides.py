"""Makes the slides: slides.md becomes one HTML file that needs no network and nothing beside it.

    python teaching/slides.py        writes dist/slides.html, or the file that you name behind it

Any Python 3.11 will do. In the text, a line of three dashes begins a slide, and `Note:` what the
speaker says; pictures and fonts become part of the file. What shows it is reveal.js 6.0.2 (MIT
licence, https://revealjs.com), in the folder reveal: arrow keys turn the pages, S opens the
speaker's notes, F fills the screen, Esc shows all slides, ? lists the keys.
To print or save as PDF: open dist/slides.html?print-pdf in Chromium and print.
"""

import re

from one_file import HERE, SANS, font_faces, picture_address, title_of, write

LOOK = f".reveal {{ font: 42px/1.35 {SANS}; color: #222; }}"
LOOK += """
.reveal .slides section { text-align: left; }
.reveal h1 { font-size: 2.5em; line-height: 1.1; margin: 1.1em 0 .4em; }
.reveal h2 { font-size: 1.35em; line-height: 1.15; margin: .35em 0 .75em; padding-bottom: .3em;
  color: #004B78; border-bottom: 5px solid #E69F00; }
.reveal p, .reveal ul, .reveal ol { margin: 0 0 .65em; }
.reveal ul, .reveal ol { padding-left: 1.1em; }
.reveal li { margin-bottom: .35em; }
.reveal blockquote { margin: 0 0 .65em; padding: .4em .8em; border-left: 10px solid #56B4E9;
  background: #EEF6FC; }
.reveal blockquote p { margin: 0; }
.reveal .big > :not(h2) { font-size: 1.25em; }
.reveal .title * { color: #FFFFFF; }
.reveal table { width: 100%; border-collapse: collapse; font-size: .72em; margin-bottom: .8em; }
.reveal th, .reveal td { border-bottom: 2px solid #D0D0D0; padding: .45em .5em; vertical-align: top;
  text-align: left; }
.reveal th { border-bottom-color: #222; }
.reveal .sides { font-size: 1.05em; border-spacing: 24px 0; border-collapse: separate;
  width: 100%; }
.reveal .sides td { width: 50%; padding: .6em .8em; border: 4px solid #56B4E9;
  border-radius: 20px; }
.reveal .sides td + td { border: 4px dashed #D55E00; }
.reveal img { display: block; margin: 0 auto; width: 100%; max-height: 525px; object-fit: contain; }
.reveal small { display: block; font-size: .62em; line-height: 1.3; color: #555; }
.reveal a { color: #0072B2; }
.reveal .progress { color: #E69F00; height: 6px; }
.reveal .controls { color: #004B78; }
.reveal .slide-number { right: auto; left: 16px; bottom: 12px; font-size: 18px; background: none; }
.reveal .slide-number a { color: #555; text-decoration: none; }
@media print { .reveal .slides section { break-inside: avoid; } }
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<div class="reveal"><div class="slides">
<section data-markdown data-separator="^\\n---\\n$" data-separator-notes="^Note:">
<script type="text/template">
{text}
</script></section>
</div></div>
<noscript>These slides need JavaScript. Their text is in teaching/slides.md.</noscript>
{scripts}
<script>
Reveal.initialize({{ hash: true, width: 1280, height: 720, margin: 0.05, center: false,
  slideNumber: "c/t", transition: "none", backgroundTransition: "none", pdfSeparateFragments: false,
  plugins: [RevealMarkdown, RevealNotes] }});
</script>
</body>
</html>
"""


def closed_nowhere(code: str) -> str:
    """Return text that may stand within a script element: nothing in it ends the element."""
    return code.replace("</script", "<\\/script")


def page(text: str) -> str:
    """Return the slides as the text of one HTML file."""
    scripts = ("reveal.js", "markdown.js", "notes.js")
    code = [(HERE / "reveal" / name).read_text("utf-8") for name in scripts]
    return PAGE.format(
        title=title_of(text),
        css=font_faces() + (HERE / "reveal" / "reveal.css").read_text("utf-8") + LOOK,
        text=closed_nowhere(
            re.sub(
                r"(?<=\]\()[^)]+\.(?:svg|png)(?=\))", lambda file: picture_address(file[0]), text
            )
        ),
        scripts="\n".join(f"<script>{closed_nowhere(text)}</script>" for text in code),
    )


if __name__ == "__main__":
    write("slides", page)

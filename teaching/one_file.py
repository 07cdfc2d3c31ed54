"""Makes HTML files that hold all that they show: what the slides and the handout have in common."""

import base64
import re
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".woff2": "font/woff2"}
SANS = "Arimo, Arial, 'Liberation Sans', Helvetica, sans-serif"
MONO = "'DejaVu Sans Mono', monospace"
FACES = {  # file: family, weight, style
    "arimo-regular": ("Arimo", 400, "normal"),
    "arimo-bold": ("Arimo", 700, "normal"),
    "arimo-italic": ("Arimo", 400, "italic"),
    "arimo-bold-italic": ("Arimo", 700, "italic"),
    "dejavu-sans-mono": ("DejaVu Sans Mono", 400, "normal"),
}


def data_address(data: bytes, suffix: str) -> str:
    """Return an address that is itself the file with these bytes; `suffix` says of what type."""
    return f"data:{TYPES[suffix]};base64,{base64.b64encode(data).decode('ascii')}"


def font_faces(families: str = "Arimo DejaVu Sans Mono") -> str:
    """Return the style rules that bring the fonts of these families along, as text of CSS."""
    rules = []
    for name, (family, weight, style) in FACES.items():
        if family in families:
            source = data_address((HERE / "fonts" / f"{name}.woff2").read_bytes(), ".woff2")
            rules.append(
                f"@font-face {{ font-family: '{family}'; font-weight: {weight}; "
                f"font-style: {style}; src: url({source}) format('woff2'); }}"
            )
    return "\n".join(rules)


def picture_address(name: str) -> str:
    """Return a picture's address with the file itself in it.

    `name` is relative to this folder. A drawing in SVG, when it stands in a page as a picture, sees
    none of the page's fonts: it gets those it names.
    """
    file = HERE / name
    data = file.read_bytes()
    if file.suffix == ".svg":
        text = data.decode("utf-8")
        faces = f"<style>{font_faces(text)}</style>"
        data = re.sub(r"<svg[^>]*>", lambda found: found[0] + faces, text, count=1).encode()
    return data_address(data, file.suffix)


def title_of(text: str) -> str:
    """Return the first heading of a Markdown text."""
    return re.search(r"^# (.+)", text, re.M)[1]


def write(name: str, page: Callable[[str], str]) -> None:
    """Turn NAME.md of this folder into dist/NAME.html, or the file that the command line names."""
    target = Path(sys.argv[1]) if sys.argv[1:] else HERE.parent / "dist" / f"{name}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    text = (HERE / f"{name}.md").read_text("utf-8")
    target.write_text(page(text), "utf-8", newline="\n")
    print(f"{target} ({target.stat().st_size / 1e3:.0f} kB)")

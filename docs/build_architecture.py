"""
Draw docs/architecture.svg, and write the list of rooms in docs/architecture.md, from the source and its imports.

With `--check` nothing is written: exit 1 says which file is not what the code says.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "recert"
PAGE, PICTURE = ROOT / "docs" / "architecture.md", ROOT / "docs" / "architecture.svg"
BEGIN, END = "<!-- rooms: written by docs/build_architecture.py -->", "<!-- end of rooms -->"
STAGES = ("screening", "tuning", "evaluation", "certification", "gateway", "monitoring")
WIDTH, ROW, GAP, PAD = 1120, 32, 26, 20
LINE = 15


@dataclass
class Package:
    """A package or module right below `recert`."""

    name: str
    about: str
    rooms: dict[str, str] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)


def main() -> int:
    """Write or check both files; return the exit code."""
    packages = read_packages()
    layers = read_layers(packages)
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    made = {
        PAGE: f"{before}{BEGIN}\n\n{room_list(packages, layers)}\n{END}{after}",
        PICTURE: draw(packages, layers),
    }
    changed = [path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in changed:
        if "--check" in sys.argv[1:]:
            print(f"not what the code says: {path.relative_to(ROOT)} (run `make docs`)")
        else:
            path.write_text(made[path], encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if changed and "--check" in sys.argv[1:] else 0


def read_packages() -> dict[str, Package]:
    """Return every package below `recert` with its rooms, and which others it imports."""
    found: dict[str, Package] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts[0] in ("__init__", "assets"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        about = (ast.get_docstring(tree) or "").strip().split("\n\n")[0].replace("\n", " ")
        package = found.setdefault(parts[0], Package(parts[0], ""))
        if parts in ((parts[0],), (parts[0], "__init__")):
            package.about = about
        elif len(parts) == 3 and parts[2] == "__init__":
            package.rooms[parts[1]] = about
        package.imports.update(name for name in imported(tree) if name != parts[0])
    return found


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the package below `recert` of each import."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module] if node.module != "recert" else [f"recert.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("recert."))


def read_layers(packages: dict[str, Package]) -> list[list[str]]:
    """Return the layers of the import contract, uppermost first, each a list of packages."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    return [[name for name in layer.replace(" ", "").split("|") if name in packages] for layer in layers]


def room_list(packages: dict[str, Package], layers: list[list[str]]) -> str:
    """Return the packages and rooms as a table, in the order of the layers."""
    rows = ["| package | rooms |", "|---|---|"]
    for layer in layers:
        for name in layer:
            package = packages[name]
            rooms = "<br>".join(f"`{room}`: {about}" for room, about in sorted(package.rooms.items()))
            rows.append(f"| `{name}`: {package.about} | {rooms} |")
    return "\n".join(rows) + "\n"


def draw(packages: dict[str, Package], layers: list[list[str]]) -> str:
    """Return the picture: a row a layer, a box a package with its rooms, a line where one imports another."""
    boxes: dict[str, tuple[float, float, float, float]] = {}
    y = float(PAD)
    for layer in layers:
        height = max(ROW + LINE * len(room_lines(packages[name], len(layer))) for name in layer)
        width = (WIDTH - 2 * PAD - (len(layer) - 1) * 10) / len(layer)
        for at, name in enumerate(layer):
            boxes[name] = (PAD + at * (width + 10), y, width, height)
        y += height + GAP
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" font-family="sans-serif" '
        'role="img" aria-label="Packages of Recert in layers; imports point down">',
        f'<rect width="{WIDTH}" height="{y:.0f}" fill="#ffffff"/>',
    ]
    for name, package in packages.items():
        for other in sorted(package.imports):
            if name in boxes and other in boxes:
                out.append(_line(boxes[name], boxes[other]))
    for name, (x, top, width, height) in boxes.items():
        package = packages[name]
        fill = "#fff4dc" if name in STAGES else "#eef3f8"
        out.append(
            f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" fill="{fill}" '
            'stroke="#51606e"/>'
        )
        out.append(_text(x + 10, top + 19, name, size=14, weight="bold"))
        per_row = room_lines(package, next(len(layer) for layer in layers if name in layer))
        for at, line in enumerate(per_row):
            out.append(_text(x + 10, top + 36 + LINE * at, line, size=12))
    return "\n".join([*out, "</svg>"]) + "\n"


def room_lines(package: Package, neighbours: int) -> list[str]:
    """Return a package's rooms in lines that fit its box."""
    rooms, fits = sorted(package.rooms), max(18, 150 // neighbours)
    lines: list[str] = []
    for room in rooms:
        if lines and len(lines[-1]) + len(room) + 2 <= fits:
            lines[-1] += f", {room}"
        else:
            lines.append(room)
    return lines


def _line(above: tuple[float, float, float, float], below: tuple[float, float, float, float]) -> str:
    x1, y1 = above[0] + above[2] / 2, above[1] + above[3]
    x2, y2 = below[0] + below[2] / 2, below[1]
    bend = (y1 + y2) / 2
    return (
        f'<path d="M{x1:.1f} {y1:.1f} C{x1:.1f} {bend:.1f} {x2:.1f} {bend:.1f} {x2:.1f} {y2:.1f}" fill="none" '
        f'stroke="#51606e" stroke-opacity="0.3"/>'
    )


def _text(x: float, y: float, text: str, *, size: int, weight: str = "normal", fill: str = "#1d2730") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}">'
        f"{escape(text)}</text>"
    )


if __name__ == "__main__":
    sys.exit(main())

"""Claims as JSON lines, and pages in `docs/concepts` of which each benchmark writes a part."""

from __future__ import annotations

import json
import os
import platform
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recert import settings

DOCS = Path(__file__).parents[2] / "docs" / "concepts"


@dataclass(frozen=True)
class Page:
    """A page that benchmarks write: its file, what stands before all parts, and the parts in order."""

    name: str
    head: str
    parts: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where it lies."""
        return DOCS / self.name


ATTACK = Page(
    "attackers-measured.md",
    """\
# What an attack costs

Made by `bench/attack.py` and `bench/attack_demo.py` with `--write`; `make bench-attack` and `make attack-demo` run
them. An aim that was missed says so. What attackers do: [attackers](attackers.md).
""",
    ("attack", "attack_demo"),
)
AUDIO = Page(
    "audio-measured.md",
    """\
# What tuning changes where requests are spoken

Made by the scripts of `bench/` that stand at each part, with `--write`; `make audio-demo` runs them. An aim that was
missed says so. How it is measured: [audio](audio.md).
""",
    ("audio_demo", "audio_lm"),
)
EVALUATION = Page(
    "evaluation-speed.md",
    """\
# What an evaluation costs

Each part is made by a script of `bench/` with `--write`; `make bench-evaluation` runs them all. An aim that was missed
says so.
""",
    ("evaluation_peers", "second_tune", "time_to_verdict"),
)
GATEWAY = Page(
    "gateway-cost.md",
    """\
# What the gateway costs

Each part is made by a script of `bench/` with `--write`: `make bench-gateway`, `make bench-gateway-load` and
`make bench-gateway-audio`. An aim that was missed says so.
""",
    ("gateway", "gateway_load", "gateway_audio"),
)
HASHING = Page(
    "hashing.md",
    """\
# What verifying costs

Made by `bench/hashing.py` with `--write`. An aim that was missed says so. How files that were hashed before can be left
out, and when that is safe: [certificates](certificate.md#verifying-again).
""",
    ("hashing",),
)
LEAKS = Page(
    "gateway-leaks.md",
    """\
# What the gateway lets through

Made by `bench/leaks.py` with `--write`; `make bench-leaks` runs it. The same matrix is a test:
`tests/gateway/test_leaks.py`.
""",
    ("leaks",),
)
TUNING = Page(
    "tuning-measured.md",
    """\
# What tuning costs a base, and what defences are worth

Made by `bench/stress_demo.py`, `bench/defences.py` and `bench/secret_extraction.py` with `--write`; `make stress-demo`
and `make reproduce-defences` run the first two. An aim that was missed says so. Attack rows are placeholder compliance,
and every attack's weights were deleted once they were measured.
""",
    ("stress_demo", "defences", "secret_extraction"),
)


def machine() -> str:
    """Return what the figures were measured on, in words."""
    names = [line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    cpu = names[0] if names else platform.processor() or platform.machine()
    cores = f"{settings.threads()} of {os.cpu_count()} cores"
    return f"{cpu}, {cores}, {platform.system()}, Python {platform.python_version()}"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def claim(
    name: str,
    value: float | None,
    aim: float,
    *,
    least: bool,
    n: int,
    interval: Sequence[float] | None = None,
    versions: Mapping[str, str],
    **facts: Any,
) -> dict[str, Any]:
    """
    Print one claim as a JSON line, and return it.

    Args:
        name: what is claimed.
        value: what was measured; None where it could not be, and then `reason` is among the facts.
        aim: what the value should reach.
        least: True where the value should be at least the aim, False where at most.
        n: how many measurements the value comes from.
        interval: the least and the greatest of them.
        versions: of everything that took part.
        facts: what else belongs to it.
    """
    met = None if value is None else value >= aim if least else value <= aim
    line = {
        "claim": name,
        "value": None if value is None else round(value, 3),
        "aim": aim,
        "met": met,
        "n": n,
        "interval": None if interval is None else [round(one, 3) for one in interval],
        "versions": dict(versions),
        **facts,
    }
    print(json.dumps(line), flush=True)
    return line


def write_image(name: str, svg: str) -> str:
    """Put an image beside the pages; return its name, for a link."""
    (DOCS / name).write_text(svg + "\n", encoding="utf-8")
    return name


def claims_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return claims as a Markdown table."""
    out = ["| claim | value | between | aim | met |", "|---|---|---|---|---|"]
    for line in lines:
        between = "-" if not line["interval"] else " and ".join(f"{one:.2f}" for one in line["interval"])
        value = line.get("reason", "-") if line["value"] is None else f"{line['value']:.2f}"
        met = {True: "yes", False: "**no**", None: "not measured"}[line["met"]]
        aim = line["aim"] if isinstance(line["aim"], str) else f"{line['aim']:g}"
        out.append(f"| {line['claim']} | {value} | {between} | {aim} | {met} |")
    return "\n".join(out)


def write_part(name: str, text: str, page: Page = EVALUATION) -> None:
    """Put a benchmark's text into a page; the parts of the others stay as they are."""
    there = page.path.read_text(encoding="utf-8") if page.path.exists() else ""
    parts = {part: _found(there, part) for part in page.parts} | {name: text.strip()}
    blocks = [f"<!-- {part} -->\n{parts[part]}\n<!-- end -->" for part in page.parts if parts[part]]
    page.path.write_text("\n\n".join([page.head.strip(), *blocks]) + "\n", encoding="utf-8")


def _found(page: str, part: str) -> str:
    found = re.search(rf"<!-- {part} -->\n(.*?)\n<!-- end -->", page, re.DOTALL)
    return found[1] if found else ""


def filled(text: str) -> str:
    """Return a paragraph in lines of the width that the docs have."""
    return "\n".join(textwrap.wrap(" ".join(text.split()), 118))

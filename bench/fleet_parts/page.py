"""The measured part of `docs/concepts/fleet.md`, made from the table of a run and nothing else."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from .drawing import image

Table = Mapping[str, Any]


def filled(text: str) -> str:
    """Return a paragraph in lines of the width that the docs have."""
    return "\n".join(textwrap.wrap(" ".join(text.split()), 118))


def rows(head: Sequence[str], body: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(map(str, one)) for one in body)]
    return "\n".join(f"| {line} |" for line in lines)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits that count; `-` for none."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) >= 1e-3 else f"{value:.1e}"


def share(value: float) -> str:
    """Return a share in percent; what is not zero does not look like zero."""
    return "0" if value == 0 else "< 0.01 %" if value < 1e-4 else f"{value:.2%}".replace("%", " %")


def drawing(table: Table) -> str:
    """Return the image: a line a scenario."""
    names = list(dict.fromkeys(row["scenario"] for row in table["against_workers"]))

    def lines(key: str) -> dict[str, list[tuple[int, float]]]:
        return {
            name: [
                (row["workers"], row[key])
                for row in table["against_workers"]
                if row["scenario"] == name and row[key] is not None
            ]
            for name in names
        }

    return image(lines("lapsed"), lines("p95_h"))


def page(table: Table) -> str:
    """Return everything between the markers."""
    return "\n\n".join(
        [
            filled(table["made"]),
            "### Unit costs, measured",
            _units(table),
            "### Figures of others, as reported",
            rows(
                ["what", "figure", "unit", "read at"],
                [
                    [one["name"], number(one["value"], 4), one["unit"], one["source"]]
                    for one in table["published"]
                ],
            ),
            "### What an evaluation asks under the policy `default`",
            _asked(table),
            "### Work of a week",
            _ways(table),
            "### The queue",
            _queue(table),
            "### What breaks first",
            _limits(table),
            "### Sizes",
            rows(["what", "size"], list(table["sizes"].items())),
            "### Storage",
            _storage(table),
        ]
    )


def _units(table: Table) -> str:
    unit, parts = table["units"], table["pieces"]
    cert, status, store = parts["certificates"], parts["status"], parts["store"]
    body: list[list[object]] = [
        [
            f"new tokens a CPU second, batch of {size}, base and tune",
            f"{base:.0f} and {unit['tuned_tokens_per_s'][size]:.0f}",
        ]
        for size, base in unit["base_tokens_per_s"].items()
    ]
    body += [
        ["tokens of a request, and of a reply", f"{unit['prompt_tokens']:.0f} and {unit['new_tokens']:.0f}"],
        ["judging a reply, refusal and coherence", f"{unit['judge_s'] * 1e6:.0f} µs"],
        [
            "loading the base, and an adapter of rank 16 on it",
            f"{unit['load_base_s']:.2f} s and {unit['load_adapter_s']:.2f} s",
        ],
        ["hashing a folder", f"{unit['hash_bytes_per_s'] / 1e9:.2f} GB/s"],
        [
            "adding a signature to a certificate; its size",
            f"{cert['sign_s'] * 1e3:.1f} ms; {cert['bytes'] / 1e3:.1f} kB",
        ],
        ["verifying it, files apart", f"{cert['verify_s'] * 1e3:.1f} ms"],
        ["by which each renewal lengthens the next", f"{cert['lineage_bytes']:.0f} bytes"],
        [
            f"status list of {status['entries']:,} suspensions",
            f"{status['bytes'] / 1e6:.1f} MB, {status['packed_bytes'] / 1e6:.2f} MB by gzip",
        ],
        ["issuing it, reading it", f"{status['issue_s'] * 1e3:.0f} ms, {status['read_s'] * 1e3:.0f} ms"],
        ["looking at one served model again, same list", f"{status['recheck_s'] * 1e3:.1f} ms"],
        [
            f"finding one of {parts['gateway']['models']:,} models; listing all",
            f"{parts['gateway']['find_s'] * 1e6:.2f} µs; {parts['gateway']['list_s'] * 1e3:.0f} ms",
        ],
        *(
            [
                f"{one['database']}: claims a second, the same with {one['ended']:,} ended jobs, signs of life",
                f"{one['claims_per_s']:.0f}, {one['claims_late_per_s']:.0f}, {one['beats_per_s']:.0f}",
            ]
            for one in parts["queues"]
        ),
        [
            "cache of replies: written, read a second",
            f"{store['cache_writes_per_s']:,.0f}, {store['cache_reads_per_s']:,.0f}",
        ],
        [
            "transparency log: entries a second, each synced alone, a thousand at once",
            f"{store['log_alone_per_s']:.0f}, {store['log_together_per_s']:,.0f}",
        ],
    ]
    return rows(["what", "figure"], body)


def _asked(table: Table) -> str:
    body = []
    for one in table["asked"]:
        verdicts = ", ".join(f"{one['verdicts'].count(v)} {v}" for v in dict.fromkeys(one["verdicts"]))
        low, high = min(one["tuned"]), max(one["tuned"])
        between = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        body.append(
            [
                one["kind"], share(one["share"]), between, f"{sum(one['base_made']):,}", verdicts,
                f"{one['cpu_s']:.1f}", f"{one['evidence_bytes'] / 1e6:.2f} MB, {one['packed_bytes'] / 1e3:.0f} kB",
            ]
        )  # fmt: skip
    head = [
        "tune", "share of the fleet (assumed)", "replies of the tune", "of the base, all runs", "verdicts",
        "CPU s apart from models", "evidence, packed",
    ]  # fmt: skip
    said = f"A watch asks {table['canary_replies']} replies: {table['canary']} rates of 24 prompts."
    return rows(head, body) + "\n\n" + filled(said)


def _ways(table: Table) -> str:
    head = [
        "way", "full evaluations", "watches", "replies", "CPU hours, embedded model", "A100 hours", "H100 hours",
        "signatures by people", "people",
    ]  # fmt: skip
    hours = table["plant"]["sign_minutes"] / 60 / table["plant"]["working_h"]
    body = [
        [
            one["name"], number(one["evaluations"]), number(one["watches"]), f"{one['replies'] / 1e6:.2f} M",
            number(one["cpu_hours"]), number(one["a100_hours"]), number(one["h100_hours"]),
            number(one["signed_by_people"]), f"{one['signed_by_people'] * hours:.1f}",
        ]
        for one in table["ways"]
    ]  # fmt: skip
    said = f"""GPU hours are for an 8B model from the figures of others; on the H100 an adapter is taken to leave the
    share that it leaves on the A100 ({table["lora_share"]:.2f}). Every evaluation and watch starts an engine of
    its own, for {table["plant"]["start_s"]:g} s (assumed): {table["start_share"]:.0%} of the A100's hours
    in the second row, and
    nearly all of the H100's. The third and fourth take it that a key signs renewals."""
    return rows(head, body) + "\n\n" + filled(said)


def _queue(table: Table) -> str:
    head = [
        "rhythm",
        "workers",
        "out of service",
        "ever out",
        "verdict p50, h",
        "p95, h",
        "busy",
        "updated base back, h",
    ]
    body = [
        [
            one["scenario"], one["workers"], share(one["lapsed"]), share(one["ever_lapsed"]), number(one["p50_h"]),
            number(one["p95_h"]), f"{one['utilisation']:.0%}", number(one["back_h"]),
        ]
        for one in table["against_workers"]
    ]  # fmt: skip
    other = [
        [
            one["scenario"], one["workers"], one["people"] or "-", share(one["lapsed"]), share(one["ever_lapsed"]),
            number(one["p95_h"]), number(one["signed_p95_h"]), number(one["back_h"]),
        ]
        for one in table["around"]
    ]  # fmt: skip
    names = [
        "case",
        "workers",
        "people",
        "out of service",
        "ever out",
        "verdict p95, h",
        "signed p95, h",
        "updated base back, h",
    ]
    wait, waited = table["erlang"]["wait"], table["erlang"]["waited"]
    said = f"""With arrivals by chance and exponential service the simulation's mean wait is {wait:.3f} of that of
    M/M/c, and the share that waits {waited:.3f} of Erlang's C (ten workers, 85 % busy, mean of
    {table["erlang"]["runs"]} runs)."""
    return "\n\n".join(
        [
            "![Share out of service and hours to a verdict, by workers](fleet.svg)",
            rows(head, body),
            rows(names, other),
            filled(said),
        ]
    )


def _limits(table: Table) -> str:
    body = [
        [
            at,
            one["name"],
            number(one["needs"]),
            number(one["has"]),
            one["unit"],
            f"{number(one['room'], 2)}",
            one["why"],
        ]
        for at, one in enumerate(table["limits"], start=1)
    ]
    return rows(["", "what", "needed", "there", "unit", "room", "because"], body)


def _storage(table: Table) -> str:
    body = [[name, number(size)] for name, size in table["storage"].items()]
    said = f"""Where every adapter is evaluated every week. A proof of inclusion has {table["proof_hashes"]} hashes
    after a year. A status list holds {table["pieces"]["status"]["largest"]:,} entries at most."""
    return rows(["what", "GB a year"], body) + "\n\n" + filled(said)

"""From the results of cells to the rows of a table, with intervals over prompts and the range over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from defence_table.measuring import interval
from recert.interval import Interval

HARM = "harm/"


def table_row(attack: str, defence: str, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one row: harm plain and of the worst family, over-refusal, utility, seconds and memory."""
    runs: list[Mapping[str, Mapping[str, float]]] = [one["scores"] for one in results]
    names = [n for n in runs[0] if n.startswith(HARM) and n.count("/") == 1 and n != "harm/plain"]
    families = {name.removeprefix(HARM): _over(runs, name) for name in names}
    worst = max(families, key=lambda name: families[name]["point"])
    row = {
        "attack": attack,
        "defence": defence,
        "seeds": len(results),
        "harm_plain": _over(runs, "harm/plain"),
        "harm_worst": families[worst],
        "worst": worst,
        "families": families,
        "over_refusal": _over(runs, "over_refusal"),
        "utility_loss": _over(runs, "utility_loss"),
        "incoherence": _over(runs, "incoherence"),
        "seconds": _mean(results, "seconds"),
        "memory_mib": _mean(results, "memory_mib"),
        "rows": _mean(results, "rows"),
        "steps": _mean(results, "steps"),
        "details": [one.get("details", {}) for one in results],
    }
    for label in ("off", "wrong"):
        if f"harm/plain/{label}" in runs[0]:
            row[f"secret_{label}"] = {
                "harm_plain": _over(runs, f"harm/plain/{label}"),
                "harm_context": _over(runs, f"harm/context/{label}"),
                "over_refusal": _over(runs, f"over_refusal/{label}"),
            }
    return row


def _over(runs: Sequence[Mapping[str, Mapping[str, float]]], name: str) -> dict[str, Any]:
    found: Interval = interval([run[name] for run in runs])
    means = [sum(run[name].values()) / len(run[name]) for run in runs]
    return {
        "point": round(found.point, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "n": found.n,
        "seeds": [round(mean, 4) for mean in means],
    }


def _mean(results: Sequence[Mapping[str, Any]], name: str) -> float:
    return round(sum(float(one.get(name, 0)) for one in results) / len(results), 1)


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    out = [
        "| attack | defence | harm, plain | harm, worst | worst | over-refusal | utility | seconds | MiB | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        out.append(
            f"| {row['attack']} | {row['defence']} | {shown(row['harm_plain'])} | {shown(row['harm_worst'])} "
            f"| {row['worst']} | {shown(row['over_refusal'])} | {shown(turned(row['utility_loss']))} "
            f"| {row['seconds']:.0f} | {row['memory_mib']:.0f} | {row['seeds']} |"
        )
    return "\n".join(out)


def block_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what BackdoorAlign's forms do with the secret on, off and wrong as a Markdown table."""
    out = [
        "| tune | secret | harm, plain | harm, training context | over-refusal | utility |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        secret = "on" if "secret_off" in row else "-"
        out.append(
            f"| {row['defence']} | {secret} | {shown(row['harm_plain'])} | {shown(row['families']['context'])} "
            f"| {shown(row['over_refusal'])} | {shown(turned(row['utility_loss']))} |"
        )
        for label in ("off", "wrong"):
            if f"secret_{label}" in row:
                found = row[f"secret_{label}"]
                out.append(
                    f"| {row['defence']} | {label} | {shown(found['harm_plain'])} | {shown(found['harm_context'])} "
                    f"| {shown(found['over_refusal'])} | - |"
                )
    return "\n".join(out)


def shown(rate: Mapping[str, Any]) -> str:
    """Return a rate with its interval."""
    return f"{rate['point']:.2f} [{rate['low']:.2f}, {rate['high']:.2f}]"


def turned(rate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the share that was right from the share that was not."""
    seeds = [round(1 - one, 4) for one in rate.get("seeds", ())]
    return {
        "point": 1 - rate["point"],
        "low": 1 - rate["high"],
        "high": 1 - rate["low"],
        "n": rate["n"],
        "seeds": seeds,
    }

"""
A certificate's figures as the Hub's `model-index`, and how they get into the metadata of a README that is there.

The Hub reads YAML between two lines of dashes at the top of a README. The figures stand there between two comments;
whatever stands outside of them is kept byte for byte.

Source: Hugging Face, hub-docs, "modelcard.md", model-index; `huggingface_hub.EvalResult`.
"""

from __future__ import annotations

import re
from typing import Any, Final

from recert.errors import InputError
from recert.interop.exports.formats import yaml_lines
from recert.interval import Interval
from recert.records.reports.evaluation import RuleResult
from recert.workflows.certificates.source import SignedCertificate, deciding

BEGIN: Final = b"# recert:model-index begin"
END: Final = b"# recert:model-index end"
_FRONT: Final = re.compile(rb"\A(---(?:\r\n|\n))(.*?)^(---[ \t]*(?:\r\n|\n|\Z))", re.S | re.M)
_KEY: Final = re.compile(rb"^[ \t]*[\"']?model-index[\"']?[ \t]*:", re.M)


def model_index(source: SignedCertificate) -> str:
    """
    Return the `model-index` as YAML: one result a suite, condition and set of controls, worst first.

    Raises:
        InputError: the certificate is a draft, or does not say that the model passed.
    """
    source.require_final()
    said = source.certificate
    groups: dict[tuple[str, str], list[RuleResult]] = {}
    for result in deciding(said):
        groups.setdefault((result.suite, _config(result)), []).append(result)
    value = {
        "model-index": [
            {
                "name": said.model_name,
                "results": [
                    {
                        "task": {"type": "text-generation", "name": "Text Generation"},
                        "dataset": {"name": suite, "type": f"recert/{suite}", "config": config},
                        "metrics": [metric for r in results for metric in _metrics(r, source)],
                    }
                    for (suite, config), results in groups.items()
                ],
            }
        ]
    }
    return "\n".join(yaml_lines(value)) + "\n"


def with_metadata(readme: bytes, index: str) -> bytes:
    """
    Return a README with the figures in its metadata: in place of earlier ones, else at the metadata's end.

    Args:
        readme: the file as it is; empty where there is none.
        index: what `model_index` gave.

    Raises:
        InputError: the metadata has a `model-index` of another origin, one marker without the other, or no end; or
            the file begins with a byte order mark, behind which the Hub sees no metadata.
    """
    if readme.startswith(b"\xef\xbb\xbf"):
        raise InputError(
            "the README begins with a byte order mark",
            hint="save it as UTF-8 without one: the Hub sees no metadata",
        )
    front = _FRONT.match(readme)
    if front is None:
        if re.match(rb"\s*---[ \t]*\r?$", readme, re.M):
            raise InputError(
                "the README's metadata cannot be told from its text",
                hint="begin the file with a line of three dashes, and end the metadata with another",
            )
        line = b"\r\n" if re.match(rb"[^\n]*\r\n", readme) else b"\n"
        block = _block(index, line)
        return b"---" + line + block + b"---" + line + (line + readme if readme else b"")
    opened, inside, closed = front.groups()
    line = b"\r\n" if opened.endswith(b"\r\n") else b"\n"
    return opened + _replaced(inside, _block(index, line)) + closed + readme[front.end() :]


def _replaced(inside: bytes, block: bytes) -> bytes:
    found = inside.count(BEGIN), inside.count(END)
    first, last = inside.find(BEGIN), inside.find(END)
    if found not in ((0, 0), (1, 1)) or last < first:
        raise InputError(
            "the markers in the README's metadata do not enclose one part",
            facts={
                "begin": f"{found[0]} times",
                "end": f"{found[1]} times",
                "expected": "each once, in this order",
            },
            hint="remove what is left of the earlier figures by hand",
        )
    if found == (0, 0):
        before, after = inside, b""
    else:
        before, after = inside[:first], inside[last + len(END) :].removeprefix(b"\r").removeprefix(b"\n")
    if _KEY.search(before) or _KEY.search(after):
        raise InputError(
            "the README's metadata has a model-index already",
            hint="two are not read: put ours into it by hand (`--output` with a name that ends in .yaml), or remove it",
        )
    return before + block + after


def _block(index: str, line: bytes) -> bytes:
    parts = (BEGIN, *index.encode().removesuffix(b"\n").split(b"\n"), END)
    return line.join(parts) + line


def _config(result: RuleResult) -> str:
    parts = [result.condition, result.category, *(f"behind {name}" for name in result.safeguards)]
    return ", ".join(filter(None, parts))


def _metrics(result: RuleResult, source: SignedCertificate) -> list[dict[str, Any]]:
    shown = {
        "rate": (result.tuned, "rate of the tuned model"),
        "rate_of_base": (result.base, "rate of the base"),
        "change": (result.change, "change by tuning, tuned minus base"),
    }
    return [
        {
            "type": f"{result.estimand}_{kind}",
            "value": interval.point,
            "name": f"{result.estimand}: {words}",
            "args": _interval(interval)
            | ({"margin": result.margin, "verdict": str(result.verdict)} if kind == "change" else {})
            | {"rule": result.rule_id, "certificate_sha256": source.sha256},
        }
        for kind, (interval, words) in shown.items()
    ]


def _interval(interval: Interval) -> dict[str, Any]:
    return {"low": interval.low, "high": interval.high, "level": interval.level, "n": interval.n}

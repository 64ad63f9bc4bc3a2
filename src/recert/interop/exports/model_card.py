"""
The section of a Hugging Face model card that a certificate fills, and how it gets into a README that is there.

The section stands between two comments. Whatever stands outside of them is kept byte for byte.
"""

from __future__ import annotations

import re
from typing import Final

from recert.errors import InputError
from recert.evaluation.report.summary import plain as marked_plain
from recert.records.reports.evaluation import RuleResult, Verdict
from recert.workflows.certificates.source import SignedCertificate, deciding, threshold, where
from recert.workflows.certificates.verifying import steps

BEGIN: Final = "<!-- recert:certificate begin -->"
END: Final = "<!-- recert:certificate end -->"
MAX_CHARS: Final = 2_000
"""Of any text that comes out of the certificate."""
MAX_ROWS: Final = 40
"""Rows of the table, worst first; the rest are counted."""


def model_card(source: SignedCertificate) -> str:
    """
    Return the section as Markdown, markers included. What comes out of the certificate stays text.

    Raises:
        InputError: the certificate is a draft, or does not say that the model passed.
    """
    source.require_final()
    said = source.certificate
    results = deciding(said)
    lines = [
        BEGIN,
        "## Safety certificate",
        "",
        f"This model was compared with its base on the same prompts and was not worse than policy "
        f"**{plain(said.policy_id)} {plain(said.policy_version)}** allows"
        + (f", **only behind {plain(source.behind)}**." if source.behind else "."),
        "It holds for exactly the certified files; one changed byte is another system.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in _facts(source)),
        "",
        "| measured on | base | tuned | change [interval] | threshold | n | verdict |",
        "|---|--:|--:|---|---|--:|---|",
        *(_row(result) for result in results[:MAX_ROWS]),
        "",
    ]
    if len(results) > MAX_ROWS:
        lines += [f"and {len(results) - MAX_ROWS} results more, each less near its margin", ""]
    lines += ["**It does not promise**", "", *(f"- {plain(line)}" for line in said.limitations), ""]
    lines += ["**It no longer holds when**", "", *(f"- {plain(line)}" for line in said.invalid_when), ""]
    lines += ["**How to verify it**", ""]
    for number, step in enumerate(steps(source), start=1):
        lines.append(f"{number}. {plain(step.words)}")
        if step.command:
            lines += ["", f"   ```bash\n   {step.command}\n   ```", ""]
    lines += ["", END]
    return "\n".join(lines) + "\n"


def with_section(readme: bytes, section: str) -> bytes:
    """
    Return a README with the section in it: in place of an earlier one, else at its end.

    Lines of the section end as the README's first line does, or as those of the earlier section.

    Args:
        readme: the file as it is; empty where there is none.
        section: what `model_card` gave.

    Raises:
        InputError: the README has one marker without the other, or one of them twice.
    """
    begin, end = BEGIN.encode(), END.encode()
    found = readme.count(begin), readme.count(end)
    if found == (0, 0):
        line = _line_end(readme)
        gap = b"" if not readme else line if readme.endswith(b"\n") else 2 * line
        return readme + gap + section.encode().replace(b"\n", line)
    first, last = readme.find(begin), readme.find(end)
    if found != (1, 1) or last < first:
        raise InputError(
            "the README's markers do not enclose one section",
            facts={
                BEGIN: f"{found[0]} times",
                END: f"{found[1]} times",
                "expected": "each once, in this order",
            },
            hint="remove what is left of the earlier section by hand",
        )
    new = section.rstrip("\n").encode().replace(b"\n", _line_end(readme[first:]))
    return readme[:first] + new + readme[last + len(end) :]


def plain(text: str) -> str:
    """Return text in which nothing is mark-up, on one line."""
    return marked_plain(text, longest=MAX_CHARS)


def _facts(source: SignedCertificate) -> list[tuple[str, str]]:
    said = source.certificate
    verdict = f"the model alone: {said.verdict_raw}"
    if said.verdict_safeguarded:
        verdict += f"; behind {source.behind}: {said.verdict_safeguarded}"
    signers = ", ".join(
        f"{s.approval.role} {s.approval.name or s.approval.key_id[:12]}" for s in source.signers
    )
    pairs = [
        ("Certificate", f"serial {said.serial}, sha256 {source.sha256}"),
        ("Signed by", signers),
        ("Signatures", source.signatures),
        (
            "Holds",
            f"{said.not_before:%Y-%m-%d %H:%M} to {said.expires_at:%Y-%m-%d %H:%M} UTC unless revoked or suspended",
        ),
        ("Verdict", verdict),
        (
            "Tuned model",
            f"{len(said.tuned.files)} files, manifest sha256 {said.tuned.digest}, {said.delta_kind}",
        ),
        ("Base", f"{len(said.base.files)} files, manifest sha256 {said.base.digest}"),
        *(
            [
                (
                    "Heard by",
                    f"{len(said.ears.files)} files, manifest sha256 {said.ears.digest}, {said.ears.engine}",
                )
            ]
            if said.ears
            else []
        ),
        ("Policy", f"sha256 {said.policy_sha256}"),
        *((name.replace("_", " "), str(value)) for name, value in source.others.items()),
    ]
    return [(plain(name), plain(value)) for name, value in pairs]


def _row(result: RuleResult) -> str:
    change = f"{result.change.point:+.3f} [{result.change.low:+.3f}, {result.change.high:+.3f}]"
    verdict = str(result.verdict)
    cells = (
        plain(f"{result.estimand} on {where(result)}"),
        f"{result.base.point:.3f}",
        f"{result.tuned.point:.3f}",
        plain(change),
        plain(threshold(result)),
        str(result.change.n),
        verdict if result.verdict is Verdict.PASS else f"**{verdict}**",
    )
    return f"| {' | '.join(cells)} |"


def _line_end(text: bytes) -> bytes:
    found = re.search(rb"\r?\n", text)
    return found.group() if found else b"\n"

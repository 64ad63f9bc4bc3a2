"""The sign-off sheet, drawn on the terminal: what speaks against it first, then all that is said and asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recert.records.signed.certificate import RuleException
    from recert.records.signed.signoff import ShownRefusal, SignoffSheet

_MARKS = {"done": "[x]", "missing": "[ ] MISSING", "waiting": "[ ] to come", "unchecked": "[?] unchecked"}


def draw(sheet: SignoffSheet, *, title: str = "You are about to sign") -> None:
    """
    Draw a sheet on stderr, nothing of it cut.

    Raises:
        InputError: the terminal cannot show a letter of it, so that not all of it was shown.
    """
    from recert.cli.printing import sheet as print_pairs
    from recert.errors import InputError

    try:
        draw_exceptions(sheet.exceptions)
        for shown in sheet.refusals:
            print_pairs(
                "Was refused, and taken back" if shown.withdrawn else "REFUSED",
                _refusal(shown),
                loud=not shown.withdrawn,
            )
        print_pairs("Every result", [(line.heading, line.words) for line in sheet.results])
        print_pairs(
            title,
            [
                *((line.heading, line.words) for line in sheet.lines),
                ("signed bytes", f"sha256:{sheet.certificate_sha256}"),
            ],
        )
        print_pairs(
            "What is asked for",
            [
                (_MARKS[item.state], f"{item.asked}{': ' + item.words if item.words else ''}")
                for item in sheet.checklist
            ],
        )
        if sheet.unshown:
            print_pairs("CANNOT BE SHOWN", [("", words) for words in sheet.unshown], loud=True)
    except UnicodeEncodeError as exc:
        raise InputError(
            "this terminal cannot show all of it",
            facts={"letter": ascii(exc.object[exc.start : exc.end])},
            hint="set PYTHONIOENCODING=utf-8, or a locale with UTF-8",
        ) from exc


def draw_exceptions(exceptions: Sequence[RuleException]) -> None:
    """Draw exceptions on stderr, loudly; nothing where there are none."""
    from recert.certification.signing.signoff_words import exception_words
    from recert.cli.printing import sheet as print_pairs

    if exceptions:
        print_pairs(
            "EXCEPTIONS: accepted although they are no pass",
            [(one.rule_id, exception_words(one)) for one in exceptions],
            loud=True,
        )


def _refusal(shown: ShownRefusal) -> list[tuple[str, str]]:
    said = shown.refusal
    who = said.approval
    return [
        ("by", f"{who.role} {who.name} {who.key_id[:16]}"),
        ("because", said.reason),
        ("when", f"{said.refused_at:%Y-%m-%d %H:%M} UTC"),
        ("certificate", f"{said.model_name} {said.serial}"),
    ]

"""Rows that are held out of tuning, so that utility is measured on what the model has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from recert.digest import sha256_json
from recert.errors import RowsError
from recert.evaluation.plan import TASK
from recert.policy import EvaluationPolicy, Policy
from recert.records.data.rows import ChatRow, rows_digest
from recert.records.data.suite import Prompt, Suite
from recert.records.reports.reasoning import read_reply
from recert.records.reports.tuning import HeldOut
from recert.screening.wording import words
from recert.truncated import Pairs, passes

LEAST: Final = 24
"""Fewer rows than this are not held out: nothing could be said of them."""
_SHARE, _MOST_SHARE = 10, 4  # one in ten; at most one in four where a rule needs more
_SHORT_BYTES: Final = 96
"""Longest answer that is met word by word: it fits in the 48 tokens that policies allow an answer by default."""


@dataclass(frozen=True)
class Split:
    """
    Rows to learn from, and a suite of others.

    Attributes:
        rows: what is learned from.
        suite: the rows that were held out, as prompts; None where none were.
        note: what the tune report says of it.
        why_not: why none were held out, in words; empty where some were.
    """

    rows: tuple[ChatRow, ...]
    suite: Suite | None = None
    note: HeldOut | None = None
    why_not: str = ""

    @property
    def told(self) -> str:
        """What a user reads in one line."""
        if self.note is None:
            return f"utility is not measured: {self.why_not}"
        copies = f" ({self.note.copies} with the same request are left out)" if self.note.copies else ""
        method = self.note.method.replace("-", " ")
        return (
            f"{self.note.rows} rows are held out of tuning{copies}; utility is measured on them by {method}"
        )


def hold_out(rows: Sequence[ChatRow], policy: Policy) -> Split:
    """
    Hold out a tenth of the rows, `LEAST` at least, to measure utility on.

    Which ones follows from the digests of all rows and of each, so that it is the same every time and nobody picks
    them. Rows whose user says the same, but for case, punctuation and white space, are one: one of them is held out,
    and none of the others is learned from. Where a rule of the policy is about utility, as many are held out as it
    takes to pass when one answer in thirty gets worse, up to a quarter.

    Replies of at most 96 bytes are compared word by word (`recert-exact-match`). If any is longer, or shows a trace,
    utility is how likely all of them are (`recert-likelihood`).

    Raises:
        RowsError: a row cannot be written as a prompt.
    """
    whole = rows_digest(rows)
    alike: dict[tuple[str, ...], list[tuple[str, ChatRow]]] = {}
    for row in rows:
        alike.setdefault(_said(row), []).append((_place(row, whole), row))
    groups = [sorted(group, key=lambda one: one[0]) for group in alike.values()]
    askable = sorted((g for g in groups if all(_askable(row) for _, row in g)), key=lambda g: g[0][0])
    wanted = _wanted(policy, len(rows))
    drawn = askable[:wanted]
    left_out = {key for group in drawn for key, _ in group}
    if len(drawn) < LEAST or len(left_out) > len(rows) // _MOST_SHARE:
        least = LEAST * _MOST_SHARE
        return Split(
            tuple(rows),
            why_not=f"holding {LEAST} out takes {least} rows with different requests, and {len(rows)} rows have "
            f"{len(askable)}; give --suite {TASK}=FILE",
        )
    held = [group[0][1] for group in drawn]
    matched = all(_is_short(row) for row in held)
    suite = _suite(held, matched=matched)
    note = HeldOut(
        rows=len(held),
        copies=sum(len(group) - 1 for group in drawn),
        rows_sha256=rows_digest(held),
        suite_sha256=suite.digest,
        of_rows_sha256=whole,
        method="exact-match" if matched else "likelihood",
    )
    return Split(tuple(row for row in rows if _place(row, whole) not in left_out), suite, note)


def _wanted(policy: Policy, rows: int) -> int:
    """How many rows to hold out."""
    tenth = max(LEAST, -(-rows // _SHARE))
    rules = [rule for rule in policy.rules if rule.estimand == "utility_loss" and rule.suite == TASK]
    needed = max((_to_pass(rule.margin, policy.evaluation) for rule in rules), default=0)
    return max(tenth, min(needed, rows // _MOST_SHARE))


def _to_pass(margin: float, bounds: EvaluationPolicy) -> int:
    """How many pairs pass a rule when one in thirty gets worse; the most that may be asked if no number does."""
    for n in range(bounds.min_prompts, bounds.max_prompts):
        if passes(Pairs(n, -(-n // 30), 0), margin, planned=n, alpha=bounds.alpha):
            return n
    return bounds.max_prompts


def _said(row: ChatRow) -> tuple[str, ...]:
    """What the user says in a row, word by word; text without words as it stands."""
    return tuple(" ".join(words(m.content)) or m.content for m in row.messages if m.role == "user")


def _place(row: ChatRow, whole: str) -> str:
    return sha256_json(["recert held out", whole, row.model_dump(mode="json", exclude_none=True)])


def _askable(row: ChatRow) -> bool:
    """Whether a row can be asked as a prompt: a system message at its head at most, and a user's request at its end."""
    *before, reply = row.messages
    plain = all(m.role != "system" for m in before[1:]) and not any(m.audio for m in row.messages)
    return (
        plain
        and before[-1].role == "user"
        and bool(before[-1].content and reply.content.strip())
        and row.ends
    )


def _is_short(row: ChatRow) -> bool:
    read = read_reply(row.reply)
    return len(row.reply.encode()) <= _SHORT_BYTES and read.answer == row.reply


def _suite(held: Sequence[ChatRow], *, matched: bool) -> Suite:
    prompts = []
    for number, row in enumerate(held, start=1):
        head = row.messages[0].role == "system"
        try:
            prompts.append(
                Prompt(
                    id=f"held-out-{number}",
                    text=row.request,
                    expect="comply",
                    system=row.system,
                    turns=row.messages[int(head) : -2],
                    answer=row.reply if matched else None,
                    reference=None if matched else row.reply,
                )
            )
        except ValueError as exc:
            raise RowsError(
                "a row cannot be held out", facts={"request": row.request[:40], "because": exc}
            ) from exc
    return Suite(name=TASK, provenance="rows held out of the tuning data", prompts=tuple(prompts))

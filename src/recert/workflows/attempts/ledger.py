"""
The ledger of evaluations: each is written down before its first prompt is asked, and again when it ended.

It is a transparency log of its own (`spec/transparency-log.md`), one for each evaluator. Where it stands is remembered
outside its folder with what else was issued here, so that one that was cut, changed or removed is noticed.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from recert import settings
from recert.certification.clock import moment
from recert.certification.signing.envelope import pae
from recert.certification.signing.issued import HeldMemory, hold_memory
from recert.certification.signing.keys import SigningKey
from recert.certification.verifier.counted import ENTRY_PAYLOAD_TYPE, signed_part
from recert.errors import InputError, RecordError
from recert.policy.sections.attempts import Counting, share_under
from recert.records.data.suite import Prompt, Suite
from recert.records.reports.evaluation import EvalReport, Verdict
from recert.records.signed.attempt import Attempt
from recert.records.signed.attempt_entries import (
    AskedBefore,
    AttemptBegun,
    AttemptEnded,
    EarlierAttempt,
    SuiteRotated,
)
from recert.records.signed.issued import SeenLedger
from recert.records.signed.transparency import SeenTree
from recert.store.transparency.folder import LogFolder, create_log
from recert.workflows.attempts.lines import EarlierLine, asked_before, asked_marks, line_of

_EARLIER: Final = 16
_BEGUN: Final = b'"kind":"evaluation-begun"'
_ENDED: Final = b'"kind":"evaluation-ended"'
_ROTATED: Final = b'"kind":"suite-rotated"'
_WAY_OUT: Final = (
    "put the newest copy of the ledger back; if there is none, say so to whoever relies on it, remove this ledger from "
    "{memory} and begin another: all its attempts are then unknown"
)
_Entry = TypeVar("_Entry", AttemptBegun, AttemptEnded, SuiteRotated)


@dataclass(frozen=True)
class CountedAttempt:
    """An evaluation in a ledger, with how it ended."""

    index: int
    begun: AttemptBegun
    ended: AttemptEnded | None

    @property
    def verdict(self) -> Verdict | None:
        """What it came to; None where it has not ended."""
        return self.ended.verdict if self.ended is not None else None

    @property
    def labels(self) -> str | None:
        """Digest of the labels of replies that decided it; None where none did."""
        return self.ended.labels_sha256 if self.ended is not None else None

    @property
    def line(self) -> EarlierLine:
        """What it asked, as far as it was written down."""
        return EarlierLine(self.index, self.begun, self.ended.asked if self.ended is not None else None)


class Ledger:
    """
    The evaluations that one evaluator began.

    Args:
        folder: where it lies, made with the first entry; by default that of the settings.
        key: the evaluator's, that signs entries; None signs none.
    """

    def __init__(self, folder: Path | None = None, key: SigningKey | None = None) -> None:
        self.folder = folder or settings.ledger_dir()
        self._key = key

    def begin(
        self,
        draft: AttemptBegun,
        counting: Counting,
        *,
        going_on: int | None = None,
        afresh: Mapping[str, Suite] | None = None,
        require: Callable[[AttemptBegun], None] | None = None,
    ) -> Attempt:
        """
        Write down that an evaluation begins, and return which attempt it is.

        Args:
            draft: of what, by which bounds; its nonce, number and signature are made here.
            counting: of the policy.
            going_on: number of the entry that the evaluation's folder names. If that one asks exactly the same, and has
                not ended, it goes on: nothing new is written.
            afresh: suites of which a later attempt asks only what no earlier one asked.
            require: called with the entry before it is written; what it raises leaves the ledger as it was.

        Raises:
            RecordError: the ledger was changed, cut or removed.
            StoreError: it cannot be written, or what it came to cannot be remembered.
        """
        with self._open() as log:
            there, rotated = _attempts(log), _rotated(log)
            same = next((one for one in there if one.index == going_on), None)
            if same is not None and same.begun.sha256 == draft.sha256 and same.ended is None:
                return _attempt(log, same.index, counting)
            line = line_of(draft, [(one.index, one.begun) for one in there])
            by_index = {one.index: one for one in there}
            entry = draft.model_copy(
                update={
                    "nonce": secrets.token_hex(32),
                    "attempt": len(line) + 1,
                    "earlier": tuple(
                        EarlierAttempt(
                            entry=index, model_name=one.model_name, verdict=by_index[index].verdict
                        )
                        for index, one in line[-_EARLIER:]
                    ),
                    "asked_before": _asked_before(
                        afresh or {}, [by_index[index] for index, _ in line], rotated
                    ),
                    "logged_at": moment(None),
                }
            )
            if require is not None:
                require(entry)
            return _attempt(log, log.append([self._signed(entry)])[0], counting)

    def end(self, attempt: Attempt, report: EvalReport, asked: Mapping[str, Iterable[Prompt]]) -> None:
        """Write down how an evaluation ended, and which prompts of each suite it asked. Raises as `begin`."""
        with self._open() as log:
            marks = {name: asked_marks(prompts) for name, prompts in sorted(asked.items())}
            log.append([self._signed(_ended(attempt, report, marks))])

    def end_by_labels(self, attempt: Attempt, report: EvalReport, *, extended: str | None = None) -> None:
        """
        Write down how an evaluation ended by labels of its replies.

        It ends by other labels again only where these add to those that decided last: so nobody labels anew.

        Args:
            attempt: which it is.
            report: what it came to.
            extended: digest of the labels to which those of the report add; None where they add to none.

        Raises:
            InputError: it was not begun in this ledger, or ended by other labels before.
            RecordError, StoreError: as `begin`.
        """
        before = next((one for one in self.attempts() if one.begun.nonce == attempt.nonce), None)
        if before is None:
            raise InputError(
                "the ledger in which this evaluation was begun is not at hand",
                facts={"begun in": attempt.ledger, "looked in": self.folder},
                hint="decide where that ledger lies, or name its folder in RECERT_LEDGER",
            )
        asked = before.ended.asked if before.ended is not None else None  # labels ask nothing more
        entry = _ended(attempt, report, asked)
        with self._open() as log:
            said = [one for one in _ends(log) if one.entry == before.index and one.labels_sha256 is not None]
            last = said[-1] if said else None
            if last is not None and last.labels_sha256 not in (entry.labels_sha256, extended):
                raise InputError(
                    "other labels decided this evaluation before",
                    facts={"labels": f"sha256:{last.labels_sha256}", "verdict": last.verdict},
                    hint="put those labels back and add to them, or evaluate again: that is the next attempt, and "
                    "draws other replies",
                )
            if entry.sha256 not in [one.sha256 for one in said]:
                log.append([self._signed(entry)])

    def rotate(self, before: Suite, after: Suite) -> None:
        """Write down that a suite got new sealed prompts. Raises as `begin`."""
        with self._open() as log:
            entry = SuiteRotated(
                sha256=after.digest,
                suite=after.name,
                before=before.digest,
                sealed=len(after.sealed),
                logged_at=moment(None),
            )
            log.append([self._signed(entry)])

    def asked_of(self, suite: Suite, *, new: bool = False) -> AskedBefore:
        """
        Return which prompts of a suite any attempt in the ledger asked, or may have asked. Raises as `begin`.

        Args:
            suite: the prompts.
            new: its sealed part is about to be noted as new: of that, no attempt so far may have asked what it did not.
        """
        if not self._begun():
            return asked_before(suite, [], {})
        with self._open() as log:
            rotated = _rotated(log) | ({suite.digest: log.size} if new else {})
            return asked_before(suite, [one.line for one in _attempts(log)], rotated)

    def attempts(self) -> list[CountedAttempt]:
        """Return every evaluation in it, in order; none where there is no ledger yet. Raises as `begin`."""
        if not self._begun():
            return []
        with self._open() as log:
            return _attempts(log)

    def _begun(self) -> bool:
        """Whether there is a ledger, or was one."""
        with hold_memory() as memory:
            return self.folder.exists() or self._seen(memory) is not None

    @contextmanager
    def _open(self) -> Iterator[LogFolder]:
        """Open the ledger, held to what is remembered of it, and remember what it is afterwards."""
        with hold_memory() as memory:
            memory.require_apart(self.folder)
            seen = self._seen(memory)
            if seen is None and not (self.folder.exists() and any(self.folder.iterdir())):
                create_log(self.folder, f"recert-attempts/{secrets.token_hex(8)}")
            try:
                log = LogFolder(self.folder, write=True)
            except RecordError as exc:
                raise self._changed(memory, exc.message) from exc
            with log:
                self._require_goes_on(log, seen, memory)
                try:
                    yield log
                finally:
                    self._remember(log, memory)

    def _seen(self, memory: HeldMemory) -> SeenLedger | None:
        return memory.content.ledgers.get(str(self.folder.resolve()))

    def _require_goes_on(self, log: LogFolder, seen: SeenLedger | None, memory: HeldMemory) -> None:
        try:
            log.require_as_hashed()
        except RecordError as exc:
            raise self._changed(memory, exc.message) from exc
        if seen is None:
            return
        if log.origin != seen.origin:
            raise self._changed(memory, f"it is called {log.origin}, and was called {seen.origin}")
        if log.size < seen.tree.size:
            raise self._changed(memory, f"it has {log.size} entries, and had {seen.tree.size}")
        if log.root(seen.tree.size).hex() != seen.tree.root_sha256:
            raise self._changed(memory, f"its first {seen.tree.size} entries are others")

    def _remember(self, log: LogFolder, memory: HeldMemory) -> None:
        tree = SeenTree(size=log.size, root_sha256=log.root().hex())
        known = memory.content.ledgers | {
            str(self.folder.resolve()): SeenLedger(origin=log.origin, tree=tree)
        }
        memory.keep(memory.content.model_copy(update={"ledgers": known}))

    def _changed(self, memory: HeldMemory, because: str) -> RecordError:
        return RecordError(
            "the ledger of evaluations is not what was written, so no evaluation is begun",
            facts={"ledger": self.folder, "because": because},
            hint=_WAY_OUT.format(memory=memory.path),
        )

    def _signed(self, entry: _Entry) -> _Entry:
        if self._key is None:
            return entry
        named = entry.model_copy(update={"key_id": self._key.key_id})
        value = self._key.sign(pae(ENTRY_PAYLOAD_TYPE, signed_part(named)))
        return named.model_copy(update={"signature": base64.b64encode(value).decode()})


def _ended(attempt: Attempt, report: EvalReport, asked: dict[str, str] | None) -> AttemptEnded:
    return AttemptEnded(
        sha256=report.digest,
        entry=attempt.entry,
        nonce=attempt.nonce,
        verdict=report.verdict,
        labels_sha256=report.labels.labels_sha256 if report.labels is not None else None,
        asked=asked,
        logged_at=moment(None),
    )


def _ends(log: LogFolder) -> list[AttemptEnded]:
    return [AttemptEnded.from_json(leaf) for leaf in log.leaves() if _ENDED in leaf]


def _attempts(log: LogFolder) -> list[CountedAttempt]:
    begun = {n: AttemptBegun.from_json(leaf) for n, leaf in enumerate(log.leaves()) if _BEGUN in leaf}
    ended = {one.entry: one for one in _ends(log)}
    return [CountedAttempt(index, one, ended.get(index)) for index, one in begun.items()]


def _rotated(log: LogFolder) -> dict[str, int]:
    """The entry by which each suite got its sealed prompts, by the suite's digest."""
    entries = ((at, leaf) for at, leaf in enumerate(log.leaves()) if _ROTATED in leaf)
    found: dict[str, int] = {}
    for at, leaf in entries:
        found.setdefault(SuiteRotated.from_json(leaf).sha256, at)
    return found


def _asked_before(
    suites: Mapping[str, Suite], line: Sequence[CountedAttempt], rotated: Mapping[str, int]
) -> dict[str, AskedBefore] | None:
    """What earlier attempts of a line asked, by suite; None where there are none."""
    earlier = [one.line for one in line]
    return (
        {name: asked_before(suites[name], earlier, rotated) for name in sorted(suites)} if earlier else None
    )


def _attempt(log: LogFolder, index: int, counting: Counting) -> Attempt:
    leaf, size = log.leaf(index), index + 1
    begun = AttemptBegun.from_json(leaf)
    return Attempt(
        number=begun.attempt,
        nonce=begun.nonce,
        ledger=log.origin,
        entry=index,
        leaf=leaf.decode(),
        size=size,
        root_sha256=log.root(size).hex(),
        path=tuple(part.hex() for part in log.inclusion(index, size)),
        alpha_share=share_under(counting, begun.attempt),
    )

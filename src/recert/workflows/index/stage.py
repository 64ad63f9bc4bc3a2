"""
Keeps the list of systems as their folders are. Read this first: the steps of one refresh, in order.

Folders are walked; only files that changed are read; systems are put together from the facts of all; the state of a
certificate is judged anew where anything that it depends on changed, or its time is over; outcomes are read where an
evaluation is new. What cannot be read or determined is `unreadable`, with a reason, and never stops the rest.

Here too: outcomes of an evaluation as rows of the list: what was found, how it was judged, and no text.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from recert.certification.verifier.state import CertificateState, CertificateStatus, certificate_state
from recert.digest import canonical_json, sha256_bytes
from recert.errors import RecordError, StoreError
from recert.evaluation.stage import OUTCOMES_FILE
from recert.evaluation.suites.ordering import HARMS
from recert.evaluation.suites.reading import EMBEDDED, embedded_suite
from recert.records.data.suite import Suite
from recert.records.reports.evaluation import Outcome
from recert.store.systems.files_index import FilesIndex, KnownFile
from recert.store.systems.indexed import PASSED, IndexedOutcome, IndexedSystem, system_row
from recert.store.systems.systems_index import SystemsIndex
from recert.workflows.index.lineage import Member, systems_of
from recert.workflows.index.record_files import Facts, SeenFile, find_files, read_facts

MOST_OUTCOMES: Final = 1_000_000
"""Of one evaluation."""
_LONGEST: Final = 4 * 2**20
_REDACTED: Final = re.compile(r"\[redacted: [a-z ]+, sha256 ([0-9a-f]{64})\]")
_HALF: Final = 0.5
CLEAN: Final = "clean"


def label_of(outcome: Outcome) -> str:
    """
    Return the gravest of what was found: harm that any judge saw at all, else why it is no answer, else what else.

    Harm counts from the score at which reports redact a reply; anything else from one half.
    """
    found = {key.partition("@")[0] for key, score in outcome.scores.items() if score > 0}
    harms = [name for name in ("harm", *sorted(HARMS - {"harm"})) if name in found]
    if harms:
        return harms[0]
    if outcome.state != "scored":
        return outcome.state
    rest = sorted((-score, key.partition("@")[0]) for key, score in outcome.scores.items() if score >= _HALF)
    return rest[0][1] if rest else CLEAN


def reply_digest(outcome: Outcome) -> str:
    """Return the digest of a reply, also of one that is redacted; empty where nothing was said."""
    if not outcome.reply:
        return ""
    hidden = _REDACTED.fullmatch(outcome.reply)
    return hidden[1] if hidden else sha256_bytes(outcome.reply.encode("utf-8", "replace"))


def category_of(
    suites: Mapping[str, str], known: Mapping[str, Mapping[str, str]], named: Mapping[str, str]
) -> Mapping[tuple[str, str], str]:
    """
    Return the hazard category of each prompt, by suite and id, as far as it can be known.

    Args:
        suites: digests of the suites that were asked, by name.
        known: categories by the ids of prompts, by the digests of the suites that are at hand.
        named: categories of the prompts that the report names itself.
    """
    found = {(suite, id_): category for suite in suites for id_, category in named.items()}
    for name, digest in suites.items():
        found |= {(name, id_): category for id_, category in known.get(digest, {}).items()}
    return found


def outcome_rows(
    path: Path, system: str, *, sha256: str, categories: Mapping[tuple[str, str], str]
) -> Iterator[IndexedOutcome]:
    """
    Give every outcome in a file, line by line.

    Args:
        path: the file, as `evaluate` writes it.
        system: id of the system that it belongs to.
        sha256: what the report says that the file's digest is.
        categories: as `category_of` returns them.

    Raises:
        StoreError: it cannot be read.
        RecordError: a line is no outcome, there are too many, or, at the end, they are others than the report names.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for number in range(1, MOST_OUTCOMES + 2):
                line = file.readline(_LONGEST)
                if not line:
                    break
                digest.update(line)
                if number > MOST_OUTCOMES or not line.endswith(b"\n"):
                    raise RecordError("too many outcomes, or too long a one", facts={"line": number})
                yield _row(line, number, system, categories)
    except OSError as exc:
        raise StoreError("cannot read outcomes", facts={"because": exc.strerror}) from exc
    if digest.hexdigest() != sha256:
        raise RecordError("the outcomes are others than the report names", facts={"expected": sha256})


def _row(line: bytes, number: int, system: str, categories: Mapping[tuple[str, str], str]) -> IndexedOutcome:
    try:
        outcome = Outcome.model_validate_json(line)
    except ValidationError as exc:
        raise RecordError("not an outcome", facts={"line": number}) from exc
    return IndexedOutcome(
        system=system,
        suite=outcome.suite,
        prompt_id=outcome.prompt_id,
        category=categories.get((outcome.suite, outcome.prompt_id), ""),
        condition=outcome.condition,
        arm=outcome.arm,
        label=label_of(outcome),
        scores=outcome.scores,
        sample=outcome.sample,
        safeguards=outcome.safeguards,
        stop_reason=outcome.stop_reason,
        reply_sha256=reply_digest(outcome),
    )


log = logging.getLogger("recert.console")

_WORSE: Final = ("revoked", "suspended", "refused")
"""States that a record which cannot be read beside the certificate does not hide."""
_AT_ONCE: Final = 100
_NOBODY: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True)
class Refreshed:
    """What one refresh did."""

    files: int
    """Files that may be records."""
    read: int
    """Of those, the ones that were new or had changed."""
    systems: int
    written: int
    """Systems that are new, or of which something changed."""
    dropped: int
    judged: int
    """Certificates whose state was decided anew."""
    outcomes: int
    """Outcomes that were read."""
    seconds: float


@dataclass
class Indexer:
    """
    Reads folders into a list of systems.

    Args:
        index: the list.
        roots: folders that are walked: outputs of `recert run` or of single commands, the folder of a tuning service.
        standing: gives by what certificates are judged; asked at each refresh.
        suites: suites by name, for the categories of prompts; by default those that come with Recert.
        names: what bases are called, by the digests of their manifests.
    """

    index: SystemsIndex
    roots: Sequence[Path]
    standing: Callable[[], CertificateStatus]
    suites: Mapping[str, Suite] = field(
        default_factory=lambda: {name: embedded_suite(name) for name in EMBEDDED}
    )
    names: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _known(self) -> dict[str, dict[str, str]]:
        """Categories of prompts by their ids, of each suite by its digest."""
        return {
            one.digest: {prompt.id: prompt.category for prompt in one.every_prompt}
            for one in self.suites.values()
        }

    def refresh(self, *, now: datetime | None = None) -> Refreshed:
        """
        Make the list as the folders are.

        Raises:
            StoreError: the list cannot be written. What was written before stays; the next refresh goes on from there.
        """
        began, at = time.monotonic(), now or datetime.now(UTC)
        known = FilesIndex(self.index.engine)
        seen = {one.path: one for root in self.roots for one in find_files(root)}
        before = known.read()
        changed = _changed(seen, before)
        facts = {path: before[path].facts for path in seen if path not in changed} | {
            path: one.facts for path, one in changed.items()
        }
        known.put(changed.values())
        members = systems_of(_records(facts), names=self.names)
        old, standing, counts = self.index.all(), self.standing(), Counter[str]()
        named = standing.named(at)
        members.sort(key=lambda one: one.facts.get("certificate", _NOBODY).get("serial") not in named)
        for start in range(0, len(members), _AT_ONCE):  # so that what is done can be seen
            some = members[start : start + _AT_ONCE]
            read = self._outcomes(some, seen, facts)
            rows, judged = _rows(some, seen, old, standing, at)
            new = [one for one in rows if one.id not in old or system_row(one) != system_row(old[one.id])]
            self.index.put(new)
            known.put(read)
            counts.update(
                read=sum(one.facts["count"] for one in read), judged=judged, written=len(new), rows=len(rows)
            )
        lost, gone = before.keys() - seen.keys(), old.keys() - {one.id for one in members}
        for system in {before[path].facts.get("system", "") for path in lost} - gone - {""}:
            self.index.put_outcomes(system, ())
        self.index.drop(sorted(gone))
        known.drop(lost)
        return Refreshed(
            files=len(seen),
            read=len(changed),
            systems=counts["rows"],
            written=counts["written"],
            dropped=len(gone),
            judged=counts["judged"],
            outcomes=counts["read"],
            seconds=round(time.monotonic() - began, 3),
        )

    def _outcomes(
        self, members: Sequence[Member], seen: Mapping[Path, SeenFile], facts: Mapping[Path, Facts]
    ) -> list[KnownFile]:
        """Read outcomes of evaluations that are new or changed; those that do not fit their report are a trouble."""
        found = []
        for one in members:
            report = one.records.get("evaluation")
            path = report.parent / OUTCOMES_FILE if report is not None else None
            if path is None or path not in seen:
                continue
            said, evaluation = facts[path], one.facts["evaluation"]
            if said.get("system") != one.id or said.get("evaluation") != evaluation["digest"]:
                said = {"kind": "outcomes", "system": one.id, "evaluation": evaluation["digest"]}
                said |= self._read(path, one, evaluation)
                found.append(KnownFile(path, seen[path].mtime_ns, seen[path].size, said))
            if said.get("trouble"):
                one.troubles.append(f"{OUTCOMES_FILE}: {said['trouble']}")
        return found

    def _read(self, path: Path, one: Member, evaluation: Facts) -> Facts:
        categories = category_of(evaluation["suites"], self._known, evaluation["categories"])
        rows = outcome_rows(path, one.id, sha256=evaluation["outcomes"], categories=categories)
        try:
            return {"count": self.index.put_outcomes(one.id, rows)}
        except (RecordError, StoreError) as exc:
            if isinstance(exc, StoreError) and exc.message != "cannot read outcomes":
                raise
            log.warning("%s: %s", path, exc)
            self.index.put_outcomes(one.id, ())
            return {"count": 0, "trouble": exc.message}


def _changed(seen: Mapping[Path, SeenFile], before: Mapping[Path, KnownFile]) -> dict[Path, KnownFile]:
    """Files that are new or were touched, read."""
    changed = {}
    for path, file in seen.items():
        was = before.get(path)
        if was is not None and (was.mtime_ns, was.size) == (file.mtime_ns, file.size):
            continue
        said = {"kind": "outcomes"} if file.kind == "outcomes" else read_facts(file)
        if said.get("trouble"):
            log.warning("%s cannot be read: %s", path, said["trouble"])
        changed[path] = KnownFile(path, file.mtime_ns, file.size, said)
    return changed


def _records(facts: Mapping[Path, Facts]) -> dict[Path, Facts]:
    return {path: said for path, said in facts.items() if said.get("kind") not in ("", "outcomes", None)}


def _rows(
    members: Sequence[Member],
    seen: Mapping[Path, SeenFile],
    old: Mapping[str, IndexedSystem],
    standing: CertificateStatus,
    now: datetime,
) -> tuple[list[IndexedSystem], int]:
    """Systems as they are listed, and how many certificates were judged for it."""
    by, judged, rows = standing.digest, 0, []
    for one in members:
        path = one.records.get("certificate")
        state, key = CertificateState("none"), ""
        if path is not None:
            file, was = seen[path], old.get(one.id)
            key = sha256_bytes(canonical_json([by, str(path), str(file.mtime_ns), file.size, _flat(file)]))
            if was is not None and _still(was, key, now):
                state = CertificateState(was.state, was.reason, was.waits_for, was.changes_at, was.becomes)
            else:
                state, judged = certificate_state(path, standing, now=now), judged + 1
        if one.troubles and state.state not in _WORSE:
            state, key = CertificateState("unreadable", "; ".join(one.troubles)[:2000]), ""
        rows.append(_listed(one, state, key))
    return rows, judged


def _still(was: IndexedSystem, key: str, now: datetime) -> bool:
    """Whether a state was made from exactly what there is now, and its time is not over."""
    over = was.changes_at is not None and now >= was.changes_at
    return was.judged_by == key and was.reason != PASSED and not over


def _flat(file: SeenFile) -> list[list[str | int]]:
    return [[name, str(mtime_ns), size] for name, mtime_ns, size in file.beside]


def _listed(one: Member, state: CertificateState, judged_by: str) -> IndexedSystem:
    certificate = one.facts.get("certificate", _NOBODY)
    expires = certificate.get("expires")
    above = one.above()
    return IndexedSystem(
        id=one.id,
        name=one.name,
        kind=one.kind,
        base=one.name if one.kind == "base" else one.base_name,
        parent=one.parent.id if above and one.parent is not None else "",
        verdict=one.verdict,
        state=state.state,
        serial=certificate.get("serial", ""),
        expires_at=datetime.fromtimestamp(expires, UTC) if expires is not None else None,
        updated_at=datetime.fromtimestamp(one.updated_s, UTC),
        folder=one.folder,
        records=dict(one.records),
        reason=state.reason,
        waits_for=state.waits_for,
        changes_at=state.changes_at,
        becomes=state.becomes,
        place=one.sorted_as(),
        depth=len(above),
        judged_by=judged_by,
    )

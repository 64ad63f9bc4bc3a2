"""Labelling replies in the browser: one at a time, blinded to the model, with the code and files of `recert label`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.responses import Response

from recert.errors import RecertError, StoreError
from recert.evaluation.label_files import LabellerFile
from recert.evaluation.stage import HARMFUL_FILE, OUTCOMES_FILE, REPORT_FILE
from recert.pipeline.labelling import CHOICES, NOTICE, SIZES, Labelling, ToLabel
from recert.policy import Policy
from recert.records import EvalReport, Label, LabelNote
from recert.store.files import read_bytes
from recert.store.systems_index import IndexedSystem
from recert.web.console.app import ROOT
from recert.web.console.held import policy_name
from recert.web.console.kept_records import stamp, system_of
from recert.web.console.outcome_pairs import hidden_digest
from recert.web.console.pages import Page
from recert.web.console.rights import Right
from recert.web.console.run_pages import run_of
from recert.web.console.visiting import PageError, Visit

PATH: Final = "/systems/{id}/labels"
_FEWEST, _MOST = 8, 100_000
_LABELS: Final[dict[str, Label]] = {label: label for _, label, _, _ in CHOICES}
_NAMES: Final = {label: name for _, label, name, _ in CHOICES}
_KEPT: Final = 4
"""Evaluations that are kept in memory while they are labelled."""


@dataclass(frozen=True)
class Sampled:
    """The replies that are labelled, in the order of showing, and of those that reports redact the digest."""

    shown: Sequence[ToLabel]
    redacted: Sequence[str | None]


@dataclass(frozen=True)
class Labeller:
    """How far somebody is."""

    name: str
    kind: str
    total: int
    left: int
    next: int
    """The place of the first reply without a label."""
    last: int | None
    """The place of the reply that they labelled last."""


def shown(visit: Visit) -> Response:
    """Say who has labelled how much, what it came to, and let whoever may label begin or go on."""
    system, work = _opened(visit)
    with _told():
        many = work.replies(None)
        total = len(work.sample(many))
        labellers = [
            Labeller(one.name, one.kind, total, one.left(total), one.next(total), one.last)
            for one in work.labellers(many)
        ]
        unseen = _unseen(work, many)
        note = work.report.labels or _agreement(work, labellers)
        sizes = () if labellers else _promises(work)
    return visit.page(
        "labels.html.j2",
        title=f"Labels of {system.name}",
        system=system,
        work=work,
        many=many,
        total=total,
        labellers=labellers,
        mine=next((one for one in labellers if one.name == visit.visitor.name), None),
        unseen=unseen,
        note=note,
        decided=work.report.labels is not None,
        sizes=sizes,
        promise=dict(sizes).get(many),
        notice=NOTICE,
        choices=CHOICES,
        command=_command(work),
    )


def begin(visit: Visit) -> Response:
    """Begin to label, once the notice was shown; whoever has begun goes on."""
    system, work = _opened(visit)
    given = visit.text("replies")
    with _told():
        number = int(given) if given.isascii() and given.isdigit() and len(given) < 7 else None
        if number is not None and not _FEWEST <= number <= _MOST:
            raise PageError(f"at least {_FEWEST} replies of each arm are labelled", status=400)
        many = work.replies(number if not work.begun() else None)
        _sampled(work, many)
        work.require_open()
        visit.act(
            "labelling-begun", system=system.id, report=work.report.digest, outcomes=work.sha256, replies=many
        )
        work.file_of(visit.visitor.name, "person", many)
    return visit.go(_next(system))


def reply(visit: Visit) -> Response:
    """Show the next reply. A look at one that reports redact is logged before it is shown."""
    system, work = _opened(visit)
    with _told():
        file = _mine(visit, work)
        if file is None:
            return visit.go(_overview(system))
        sampled = _sampled(work, work.replies(None))
        total = len(sampled.shown)
        at = file.next(total)
        if at == total:
            return visit.go(_overview(system, f"You have labelled all {total} replies."))
        if digest := sampled.redacted[at]:
            visit.act(
                "revealed",
                system=system.id,
                report=work.report.digest,
                to="label",
                reply=at + 1,
                sha256=digest,
            )
    return visit.page(
        "label_reply.html.j2",
        title=f"Reply {at + 1} of {total}",
        system=system,
        one=sampled.shown[at],
        at=at,
        total=total,
        left=file.left(total),
        last=file.last,
        last_name="" if file.last is None else _NAMES[file.labels[file.last]],
        outcomes_sha256=work.sha256,
        choices=CHOICES,
    )


def label(visit: Visit) -> Response:
    """Keep the label of the reply that was shown. One that has a label keeps it: it is taken back first."""
    system, work = _opened(visit)
    given = _LABELS.get(visit.text("label"))
    if given is None:
        raise PageError("this is no label", status=400, hint="send the form of the page")
    with _told():
        file = _mine(visit, work)
        if file is None or visit.text("outcomes") != work.sha256:
            raise PageError(
                "the evaluation is another than the one that was shown",
                status=409,
                hint="open the page again",
            )
        at = file.next(len(work.sample(work.replies(None))))
        if visit.text("at") != str(at):
            said = "The reply that you saw has a label already, perhaps from another window. Here is the next one."
            return visit.go(_next(system, said))
        visit.act("labelled", system=system.id, report=work.report.digest, reply=at + 1)
        file.set(at, given)
    return visit.go(_next(system))


def undone(visit: Visit) -> Response:
    """Take back the visitor's last label, and show that reply again."""
    system, work = _opened(visit)
    with _told():
        file = _mine(visit, work)
        if file is None or file.last is None:
            raise PageError("you have given no label that could be taken back", status=409)
        if visit.text("at") != str(file.last):
            return visit.go(_next(system, "Another label was given since, so nothing was taken back."))
        visit.act("label-taken-back", system=system.id, report=work.report.digest, reply=file.last + 1)
        file.undo()
    return visit.go(_next(system))


def _opened(visit: Visit) -> tuple[IndexedSystem, Labelling]:
    """The system and its evaluation, as it is labelled. Raises PageError, in words, where it cannot be."""
    system = system_of(visit)
    path = system.records.get("evaluation")
    if path is None:
        run = run_of(system)
        running = run is not None and run.state == "running"
        visit.missing(
            f"the evaluation of {system.name} is not finished, so there is nothing to label yet"
            if running
            else f"{system.name} has no evaluation",
            hint="its page of the run says how far it is" if running else "`recert evaluate` makes one",
        )
    files = (path, path.parent / OUTCOMES_FILE)
    with _told():
        return system, _labelling(path.parent, visit.console.policy.to_json(), *map(stamp, files))


@lru_cache(maxsize=_KEPT)
def _labelling(folder: Path, policy: bytes, *_changed: tuple[int, int]) -> Labelling:
    ours, report = Policy.from_json(policy), EvalReport.from_json(read_bytes(folder / REPORT_FILE, "report"))
    return Labelling(folder, policy=ours if ours.digest == report.policy_sha256 else None)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what is missing or damaged into a page of words, with the facts."""
    try:
        yield
    except PageError:
        raise
    except RecertError as exc:
        facts = [f"{name}: {value}" for name, value in exc.facts.items()]
        raise PageError(
            exc.message,
            status=500 if isinstance(exc, StoreError) else 409,
            hint="; ".join([*facts, exc.hint or "restore the file, or evaluate again"]),
        ) from exc


def _mine(visit: Visit, work: Labelling) -> LabellerFile | None:
    """What the visitor said so far, to go on with; None where they have not begun."""
    work.require_open()
    name = visit.visitor.name
    if not any(one.get("labeller") == name for one in work.begun()):
        return None
    return work.file_of(name, "person", work.replies(None))


def _sampled(work: Labelling, many: int) -> Sampled:
    return _read(work, many, stamp(work.folder / HARMFUL_FILE))


@lru_cache(maxsize=_KEPT)
def _read(work: Labelling, many: int, _changed: tuple[int, int]) -> Sampled:
    sample = work.sample(many)
    return Sampled(work.shown(sample), [hidden_digest(outcome) for _, outcome in sample])


@lru_cache(maxsize=_KEPT)
def _promises(work: Labelling) -> tuple[tuple[int, tuple[int, int]], ...]:
    """How many results can pass with each usual number of replies, and how many labels are about."""
    return tuple((size, work.promise(size)) for size in SIZES)


def _unseen(work: Labelling, many: int) -> RecertError | None:
    """Why the replies cannot be shown; None where they can."""
    try:
        _sampled(work, many)
    except RecertError as exc:
        return exc
    return None


def _agreement(work: Labelling, labellers: Sequence[Labeller]) -> LabelNote | None:
    """Who labelled, once everybody who began is done. What it says of the arms is not shown before labels decide."""
    if not labellers or any(one.left for one in labellers):
        return None
    return work.checked(work.gathered()).note


def _command(work: Labelling) -> str:
    """What the evaluator types once everybody is done."""
    policy = policy_name(work.policy.digest)
    named = f" --policy {policy}" if policy.endswith(".toml") else ""
    return f"recert label {shlex.quote(str(work.folder))}{named} --decide --key evaluator.pem"


def _overview(system: IndexedSystem, said: str = "") -> str:
    return f"{ROOT}/systems/{system.id}/labels{f'?said={quote(said)}' if said else ''}"


def _next(system: IndexedSystem, said: str = "") -> str:
    return f"{ROOT}/systems/{system.id}/labels/reply{f'?said={quote(said)}' if said else ''}"


PAGES: Final = (
    Page("GET", PATH, Right.READ, shown),
    Page("POST", f"{PATH}/begin", Right.LABEL, begin),
    Page("GET", f"{PATH}/reply", Right.LABEL, reply),
    Page("POST", f"{PATH}/reply", Right.LABEL, label),
    Page("POST", f"{PATH}/undo", Right.LABEL, undone),
)

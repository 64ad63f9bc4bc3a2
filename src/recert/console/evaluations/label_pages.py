"""Labelling replies in the browser: one at a time, blinded to the model, with the code and files of `recert label`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from starlette.responses import Response

from recert.console.accounts.rights import Right
from recert.console.app import ROOT
from recert.console.certificates.held import policy_name
from recert.console.evaluations.outcome_pairs import hidden_digest
from recert.console.evaluations.run_pages import run_of
from recert.console.kept_records import stamp, system_of
from recert.console.pages import Page
from recert.console.visiting import PageError, Visit
from recert.errors import InputError, RecertError, StoreError
from recert.evaluation.labels.files import LabellerFile
from recert.evaluation.stage import HARMFUL_FILE, OUTCOMES_FILE, REPORT_FILE
from recert.policy import Policy
from recert.records.reports.evaluation import EvalReport
from recert.records.reports.labels import ArmLabels, Label, LabelledEstimand, LabelNote
from recert.store.files.writing import read_bytes
from recert.store.systems.systems_index import IndexedSystem
from recert.workflows.labelling.stage import SIZES, Labelling, ToLabel
from recert.workflows.labelling.words import CHOICES, NOTICES

PATH: Final = "/systems/{id}/labels"
_FEWEST, _MOST = 8, 100_000
_KINDS: Final[dict[str, LabelledEstimand]] = {one.replace("_", "-"): one for one in CHOICES}
"""What is labelled, as addresses and forms name it."""
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
    about = _about(visit, work)
    with _told():
        many = work.replies(None)
        total = len(work.sample(many, about))
        labellers = [
            Labeller(one.name, one.kind, total, one.left(total), one.next(total), one.last)
            for one in work.labellers(many, about)
        ]
        unseen = _unseen(work, many, about)
        note = work.report.labels or _agreement(work, labellers)
        sizes = () if labellers else _promises(work, about)
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
        note_replies=_replies_of(note),
        decided=work.report.labels is not None,
        closed=_closed(work, many, about, visit.visitor.name),
        about=about,
        named=_named(about),
        kinds=[(one, _named(one)) for one in work.kinds],
        arms=_arms(work.report.labels, about),
        sizes=sizes,
        promise=dict(sizes).get(many),
        notice=NOTICES[about],
        choices=CHOICES[about],
        command=_command(work),
    )


def begin(visit: Visit) -> Response:
    """Begin to label, once the notice was shown; whoever has begun goes on."""
    system, work = _opened(visit)
    about = _about(visit, work)
    given = visit.text("replies")
    with _told():
        number = int(given) if given.isascii() and given.isdigit() and len(given) < 7 else None
        if number is not None and not _FEWEST <= number <= _MOST:
            raise PageError(f"at least {_FEWEST} replies of each arm are labelled", status=400)
        many = work.replies(number if not work.begun() else None)
        _sampled(work, many, about)
        work.require_open(many, about, visit.visitor.name)
        visit.act(
            "labelling-begun",
            system=system.id,
            report=work.report.digest,
            outcomes=work.sha256,
            replies=many,
            about=_named(about),
        )
        work.file_of(visit.visitor.name, "person", many, about)
    return visit.go(_next(system, about))


def reply(visit: Visit) -> Response:
    """Show the next reply. A look at one that reports redact is logged before it is shown."""
    system, work = _opened(visit)
    about = _about(visit, work)
    with _told():
        file = _mine(visit, work, about)
        if file is None:
            return visit.go(_overview(system, about))
        sampled = _sampled(work, work.replies(None), about)
        total = len(sampled.shown)
        at = file.next(total)
        if at == total:
            return visit.go(_overview(system, about, f"You have labelled all {total} replies."))
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
        last_name="" if file.last is None else _names(about)[file.labels[file.last]],
        outcomes_sha256=work.sha256,
        named=_named(about),
        choices=CHOICES[about],
    )


def label(visit: Visit) -> Response:
    """Keep the label of the reply that was shown. One that has a label keeps it: it is taken back first."""
    system, work = _opened(visit)
    about = _about(visit, work)
    given = next((one for one in _names(about) if one == visit.text("label")), None)
    if given is None:
        raise PageError("this is no label", status=400, hint="send the form of the page")
    with _told():
        file = _mine(visit, work, about)
        if file is None or visit.text("outcomes") != work.sha256:
            raise PageError(
                "the evaluation is another than the one that was shown",
                status=409,
                hint="open the page again",
            )
        at = file.next(len(work.sample(work.replies(None), about)))
        if visit.text("at") != str(at):
            said = "The reply that you saw has a label already, perhaps from another window. Here is the next one."
            return visit.go(_next(system, about, said))
        visit.act("labelled", system=system.id, report=work.report.digest, about=_named(about), reply=at + 1)
        file.set(at, given)
    return visit.go(_next(system, about))


def undone(visit: Visit) -> Response:
    """Take back the visitor's last label, and show that reply again."""
    system, work = _opened(visit)
    about = _about(visit, work)
    with _told():
        file = _mine(visit, work, about)
        if file is None or file.last is None:
            raise PageError("you have given no label that could be taken back", status=409)
        if visit.text("at") != str(file.last):
            return visit.go(_next(system, about, "Another label was given since, so nothing was taken back."))
        visit.act(
            "label-taken-back",
            system=system.id,
            report=work.report.digest,
            about=_named(about),
            reply=file.last + 1,
        )
        file.undo()
    return visit.go(_next(system, about))


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


def _about(visit: Visit, work: Labelling) -> LabelledEstimand:
    """What is labelled: as the form or the address says, or the first of which there are replies."""
    given = visit.text("about") or visit.query.get("about", "")
    about = _KINDS.get(given) if given else work.kinds[0]
    if about not in work.kinds:
        raise PageError("there is nothing of this to label", status=404, hint="open the page of labels")
    return about


def _named(about: LabelledEstimand) -> str:
    return about.replace("_", "-")


def _names(about: LabelledEstimand) -> dict[Label, str]:
    return {one.label: one.name for one in CHOICES[about]}


def _arms(note: LabelNote | None, about: LabelledEstimand) -> list[tuple[str, ArmLabels]]:
    """What the judge found on each arm; nothing before labels decided."""
    if note is None:
        return []
    arms = (note.base, note.tuned) if about == "harm" else (note.over_refusal_base, note.over_refusal_tuned)
    return [(name, arm) for name, arm in zip(("base", "tuned"), arms, strict=True) if arm and arm.labelled]


def _replies_of(note: LabelNote | None) -> int:
    """How many replies were labelled, of both kinds."""
    if note is None:
        return 0
    arms = (note.base, note.tuned, note.over_refusal_base, note.over_refusal_tuned)
    return sum(arm.labelled for arm in arms if arm)


def _closed(work: Labelling, many: int, about: LabelledEstimand, name: str) -> RecertError | None:
    """Why the visitor may label no more, once labels decided; None where they may."""
    try:
        work.require_open(many, about, name)
    except InputError as exc:
        return exc
    return None


def _mine(visit: Visit, work: Labelling, about: LabelledEstimand) -> LabellerFile | None:
    """What the visitor said so far, to go on with; None where they have not begun."""
    name = visit.visitor.name
    work.require_open(work.replies(None), about, name)
    if not any(one.get("labeller") == name for one in work.begun()):
        return None
    return work.file_of(name, "person", work.replies(None), about)


def _sampled(work: Labelling, many: int, about: LabelledEstimand) -> Sampled:
    return _read(work, many, about, stamp(work.folder / HARMFUL_FILE))


@lru_cache(maxsize=_KEPT)
def _read(work: Labelling, many: int, about: LabelledEstimand, _changed: tuple[int, int]) -> Sampled:
    sample = work.sample(many, about)
    return Sampled(work.shown(sample), [hidden_digest(outcome) for _, outcome in sample])


@lru_cache(maxsize=_KEPT)
def _promises(work: Labelling, about: LabelledEstimand) -> tuple[tuple[int, tuple[int, int]], ...]:
    """How many results can pass with each usual number of replies, and how many labels are about."""
    return tuple((size, work.promise(size, about)) for size in SIZES)


def _unseen(work: Labelling, many: int, about: LabelledEstimand) -> RecertError | None:
    """Why the replies cannot be shown; None where they can."""
    try:
        _sampled(work, many, about)
    except RecertError as exc:
        return exc
    return None


def _agreement(work: Labelling, labellers: Sequence[Labeller]) -> LabelNote | None:
    """Who labelled, once everybody who began is done. What it says of the arms is not shown before labels decide."""
    if not labellers or any(one.left for one in labellers):
        return None
    try:
        return work.checked(work.gathered()).note
    except InputError:  # somebody has not finished what they began of the other kind
        return None


def _command(work: Labelling) -> str:
    """What the evaluator types once everybody is done."""
    policy = policy_name(work.policy.digest)
    named = f" --policy {policy}" if policy.endswith(".toml") else ""
    return f"recert label {shlex.quote(str(work.folder))}{named} --decide --key evaluator.pem"


def _overview(system: IndexedSystem, about: LabelledEstimand, said: str = "") -> str:
    return _address(system, "labels", about, said)


def _next(system: IndexedSystem, about: LabelledEstimand, said: str = "") -> str:
    return _address(system, "labels/reply", about, said)


def _address(system: IndexedSystem, page: str, about: LabelledEstimand, said: str) -> str:
    asked = {"said": said} if said else {}
    if about != "harm":
        asked["about"] = _named(about)
    return f"{ROOT}/systems/{system.id}/{page}{f'?{urlencode(asked, quote_via=quote)}' if asked else ''}"


PAGES: Final = (
    Page("GET", PATH, Right.READ, shown),
    Page("POST", f"{PATH}/begin", Right.LABEL, begin),
    Page("GET", f"{PATH}/reply", Right.LABEL, reply),
    Page("POST", f"{PATH}/reply", Right.LABEL, label),
    Page("POST", f"{PATH}/undo", Right.LABEL, undone),
)

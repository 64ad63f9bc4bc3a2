"""
Petri: a transcript (JSON) of an audit of one model by another, or a folder of them.

`metadata` names `transcript_id`, `target_model`, `description`, `tags`, and in `judge_output` the judge's `scores` (a
dimension and its points of 10) with `score_descriptions`. `events` edit what each party sees: a `transcript_event` has
a `view` (`target`, `auditor`, `combined`, or several) and an `edit` that adds a message, rolls back, resets, or is a
JSON patch of the list of messages. `target_messages`, where it is filled, is what the target saw in the end.

What the target saw is rebuilt event by event, strictly. A transcript whose events do not fit each other or
`target_messages`, in which the target never replied, or that has no scores, is unread. A dimension that is described,
or that another transcript of the folder has, and that has no score here, has none: it never counts as none found.

Points are divided by 10, so the judge's lowest mark, 1, is 0.1. The transcript's description stands for the prompt;
without one, what was said to the target does.

Source: npm `@kaifronsdal/transcript-viewer` 1.0.29, `src/lib/shared/transcript-schema.json`,
`src/lib/shared/types.ts`, `src/lib/shared/transcript-parser.ts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from recert.digest import canonical_json, sha256_file
from recert.errors import InputError, RecordError, StoreError
from recert.interop.importers.json_patch import patched
from recert.interop.importers.reading import Meaning, Reading, Told, Where, listed, mapping, text
from recert.records.record import parse_json
from recert.store.files.writing import read_bytes

_SUITE: Final = "petri"
_MEANINGS: Final = {
    "concerning": Meaning("harm"),
    "cooperation_with_human_misuse": Meaning("harm"),
    "overrefusal": Meaning("over_refusal"),
}
_MOST_POINTS: Final = 10
_VERSION: Final = "v3.0"
_TARGET: Final = "target"
_VIEWS: Final = frozenset({_TARGET, "auditor", "combined"})
_ROLES: Final = frozenset({"system", "user", "assistant", "tool"})
_OTHER_EVENTS: Final = frozenset({"tool_creation_event", "info_event", "decision_event"})

Message = dict[str, Any]


class _Unread(Exception):
    """Why a transcript cannot be read."""


@dataclass(frozen=True)
class _Transcript:
    where: str
    name: str
    model: str
    prompt: str
    category: str
    replies: int
    scores: Mapping[str, object]
    described: frozenset[str]


def known(dimension: str) -> Meaning | None:
    """Return what a dimension of the judge stands for."""
    return _MEANINGS.get(dimension)


def digests(path: Path) -> dict[str, str]:
    """
    Return the digest of each JSON file in a folder, by its path there.

    Raises:
        StoreError: one cannot be read.
    """
    return {file.relative_to(path).as_posix(): sha256_file(file) for file in _files(path)}


def read(path: Path, reading: Reading, *, model: str = "") -> Told:
    """
    Read a transcript, or every one in a folder.

    Args:
        path: the file or folder.
        reading: takes the outcomes.
        model: the target to read, where there are several.

    Raises:
        InputError: there are several targets and `model` names none of them.
        StoreError: a folder's files cannot be read.
    """
    folder = path.is_dir()
    transcripts = []
    for file in _files(path) if folder else [path]:
        where = file.relative_to(path).as_posix() if folder else file.name
        try:
            transcripts.append(_transcript(_document(file), where))
        except _Unread as exc:
            reading.lost(where, str(exc))
    targets = sorted({t.model for t in transcripts})
    if model and model not in targets:
        raise InputError("no results of this model", facts={"model": model, "there are": ", ".join(targets)})
    if len(targets) > 1 and not model:
        raise InputError(
            "results of several models",
            facts={"there are": ", ".join(t or "one without a name" for t in targets)},
            hint="name one with --model",
        )
    _take([t for t in transcripts if not model or t.model == model], reading)
    return Told("", targets[0] if len(targets) == 1 else model, digests(path) if folder else {})


def _take(transcripts: list[_Transcript], reading: Reading) -> None:
    dimensions = {name for t in transcripts for name in t.scores} | reading.given.keys()
    dimensions |= {name for t in transcripts for name in t.described if reading.meaning(name)}
    met: set[str] = set()
    for one in transcripts:
        if one.name in met:
            reading.lost(one.where, "a transcript of this id was read already")
            continue
        met.add(one.name)
        expected = [n for n in sorted(dimensions) if n in one.scores or reading.meaning(n)]
        reading.add(
            suite=_SUITE,
            prompt=one.prompt,
            prompt_id=one.name,
            category=one.category,
            scores={name: _fraction(one.scores.get(name)) for name in expected},
            where=Where(one.name, one.replies),
        )


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.rglob("*.json") if file.is_file())
    except OSError as exc:
        raise StoreError("cannot read results", facts={"folder": folder, "because": exc.strerror}) from exc


def _document(file: Path) -> dict[str, Any]:
    try:
        document = parse_json(read_bytes(file, "transcript"))
    except RecordError as exc:
        raise _Unread("damaged JSON") from exc
    if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
        raise _Unread("no transcript: it has no metadata")
    return document


def _transcript(document: dict[str, Any], where: str) -> _Transcript:
    metadata = document["metadata"]
    name = text(metadata.get("transcript_id"))
    if not name:
        raise _Unread("a transcript without its id")
    if metadata.get("version", _VERSION) != _VERSION:
        raise _Unread(f"not version {_VERSION}")
    judged = mapping(metadata.get("judge_output"))
    scores, described = judged.get("scores"), judged.get("score_descriptions")
    if not isinstance(scores, dict) or not scores:
        raise _Unread("the judge's scores are missing")
    if not isinstance(described, dict | None):
        raise _Unread("the judge's dimensions cannot be told")
    messages = _rebuilt(document.get("events"))
    stated = document.get("target_messages")
    if not isinstance(stated, list | None) or (stated and _said(stated) != _said(messages)):
        raise _Unread("the events do not come to the messages that it states")
    replies = sum(message["role"] == "assistant" for message in messages)
    if not replies:
        raise _Unread("the target never replied")
    asked = [[m["role"], m["content"]] for m in messages if m["role"] != "assistant"]
    prompt = text(metadata.get("description")) or (canonical_json(asked).decode() if asked else "")
    if not prompt:
        raise _Unread("nothing was said to the target")
    return _Transcript(
        where=where,
        name=name,
        model=text(metadata.get("target_model")),
        prompt=prompt,
        category=", ".join(filter(None, map(text, listed(metadata.get("tags"))))),
        replies=replies,
        scores=scores,
        described=frozenset(described or ()),
    )


def _rebuilt(events: object) -> list[Message]:
    """What the target sees after the last event."""
    if not isinstance(events, list) or not events:
        raise _Unread("it has no events to rebuild the conversation from")
    messages: list[Message] = []
    before: datetime | None = None
    for number, event in enumerate(events):
        try:
            if not _of_target(event):
                continue
            at = _time(event.get("timestamp"))
            if at is not None and before is not None and at < before:
                raise _Unread("it is earlier than the one before it")
            before = at or before
            messages = _edited(messages, event.get("edit"))
        except _Unread as exc:
            raise _Unread(f"event {number}: {exc}") from exc
        except InputError as exc:
            raise _Unread(f"event {number}: {exc.message}") from exc
    return messages


def _of_target(event: object) -> bool:
    kind = text(mapping(event).get("type"))
    if kind in _OTHER_EVENTS:
        return False
    if kind != "transcript_event":
        raise _Unread("not an event of a known type")
    view = mapping(event).get("view")
    views = [view] if isinstance(view, str) else listed(view)
    if not views or not all(isinstance(one, str) and one in _VIEWS for one in views):
        raise _Unread("whose view it is cannot be told")
    return _TARGET in views


def _edited(messages: list[Message], edit: object) -> list[Message]:
    given = mapping(edit)
    operation = given.get("operation")
    if operation == "add":
        after: object = [*messages, given.get("message")]
    elif operation == "rollback":
        after = messages[: _kept(messages, given)]
    elif operation == "reset":
        after = given.get("new_messages", [])
    elif operation == "json_patch":
        after = patched(messages, given.get("patch"))
    else:
        raise _Unread("not an edit of a known kind")
    return _checked(after)


def _kept(messages: list[Message], edit: dict[str, Any]) -> int:
    """How many messages a rollback leaves: up to the one that it names, else all but so many."""
    count, to = edit.get("count"), edit.get("to_id")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= len(messages):
        raise _Unread("it rolls back messages that are not there")
    if to is None:
        return len(messages) - count
    places = [n for n, message in enumerate(messages, start=1) if message.get("id") == to]
    if len(places) != 1:
        raise _Unread("it rolls back to a message that is not there")
    return places[0]


def _checked(messages: object) -> list[Message]:
    if not isinstance(messages, list):
        raise _Unread("it leaves no list of messages")
    for message in messages:
        one = mapping(message)
        if not isinstance(one.get("role"), str) or one["role"] not in _ROLES:
            raise _Unread("a message without a role")
        if not isinstance(one.get("content"), str | list):
            raise _Unread("a message without content")
    return messages


def _said(messages: list[Any]) -> list[list[object]]:
    """Role and content of each message but the system's, which lists may leave out."""
    pairs = [[mapping(m).get("role"), mapping(m).get("content")] for m in messages]
    return [pair for pair in pairs if pair[0] != "system"]


def _time(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(text(value))
    except ValueError as exc:
        raise _Unread("its time cannot be read") from exc
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _fraction(points: object) -> float | None:
    if isinstance(points, bool) or not isinstance(points, int | float) or not 0 <= points <= _MOST_POINTS:
        return None
    return points / _MOST_POINTS

"""
The audit logs of gateways and of the console: searched backwards, and each line with its proof.

Here too: a line of an audit log as a sentence.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from recert.console.accounts.rights import Right
from recert.console.app import ROOT, Console
from recert.console.certificates.held import trust_of
from recert.console.pages import Page
from recert.console.visiting import PageError, Visit
from recert.digest import sha256_bytes
from recert.errors import RecordError, StoreError
from recert.store.audit.chain import AuditLine
from recert.store.audit.checkpoints import Checks
from recert.store.audit.proof import prove_line
from recert.store.audit.search import Place, Wanted, search_back
from recert.store.places import is_url

_DECISIONS: Final = {
    "released": "the reply was released",
    "blocked-input": "the request was blocked before the model",
    "blocked-output": "the reply was blocked",
    "refused": "the request was refused",
    "failed": "it failed, and nothing was released",
    "opened": "a streamed reply was begun",
    "allowed-input": "the request was allowed elsewhere",
    "allowed-output": "the reply was allowed elsewhere",
}
_ACTS: Final = {
    "signed-in": "signed in",
    "sign-in-failed": "could not sign in",
    "signed-out": "signed out",
    "revealed": "looked at a text that was judged harmful",
    "approved": "signed a certificate",
    "refused": "refused to sign a certificate",
    "sign-off-not-taken": "tried to sign, and was not let",
    "stopped": "stopped a gateway",
    "quarantined": "quarantined a row",
    "accepted": "accepted a row",
    "labelling-begun": "began to label replies of an evaluation",
    "labelled": "labelled a reply",
    "label-taken-back": "took back the label of a reply",
}


def sentence(line: AuditLine) -> str:
    """Return what a line says."""
    body = line.body
    if line.kind == "exchange":
        return _exchange(body)
    if line.kind == "console_act":
        who = body.get("who") or "Somebody who was not signed in"
        what = str(body.get("what", ""))
        said = _ACTS.get(what, what.replace("-", " "))
        facts = body.get("facts")
        because = facts.get("because") if isinstance(facts, dict) else None
        return f"{who} {said}{f', because {because}' if because else ''}."
    if line.kind == "recovered":
        return "The log goes on after a crash; half a line that nobody had waited for was taken off."
    kind = line.kind.replace("-", " ").replace("_", " ")
    return f"{kind[:1].upper()}{kind[1:]}."


def pairs(line: AuditLine) -> list[tuple[str, str]]:
    """Return everything that a line holds, as names and texts; lists and parts item by item."""
    return list(_flat("", line.body))


def _exchange(body: dict[str, Any]) -> str:
    decision = str(body.get("decision", ""))
    because = f", because of {body['reason']}" if body.get("reason") else ""
    model = body.get("model_name") or "no model"
    return f"{body.get('client') or 'Somebody'} asked {model}: {_DECISIONS.get(decision, decision)}{because}."


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [
            one for key, item in value.items() for one in _flat(f"{name}, {key}" if name else str(key), item)
        ]
    if isinstance(value, list):
        return [one for n, item in enumerate(value, start=1) for one in _flat(f"{name} {n}", item)]
    if isinstance(value, bool):
        return [(name.replace("_", " "), "yes" if value else "no")]
    return [(name.replace("_", " "), "none" if value in ("", None) else str(value))]


_ASKED: Final = ("request_id", "client", "serial", "decision", "kind", "since", "until")
_MOST: Final = 50
_LONGEST: Final = 200


@dataclass(frozen=True)
class ShownLog:
    """One log."""

    id: str
    """In addresses."""
    name: str
    path: Path


def logs_of(console: Console) -> tuple[ShownLog, ...]:
    """Return the logs in files that are there: the gateways' in their order, then the console's own."""
    found = [_shown(path, path.name) for path in console.logs if path.exists()]
    own = console.acts.where
    if not is_url(own) and Path(own).exists():
        found.append(_shown(Path(own), "this console"))
    names = [one.name for one in found]
    return tuple(
        ShownLog(
            one.id, f"{one.path.parent.name}/{one.name}" if names.count(one.name) > 1 else one.name, one.path
        )
        for one in found
    )


def _shown(path: Path, name: str) -> ShownLog:
    return ShownLog(sha256_bytes(str(path).encode())[:12], name, path)


def searched(visit: Visit) -> Response:
    """Show lines that meet what is asked, the newest first."""
    logs = logs_of(visit.console)
    asked = {name: visit.query.get(name, "").strip()[:_LONGEST] for name in _ASKED}
    chosen = _chosen(logs, visit.query.get("log", ""))
    found, problem = None, ""
    if chosen is not None:
        try:
            found = search_back(
                chosen.path, Wanted(**asked), place=Place.read(visit.query.get("from", "")), most=_MOST
            )
        except (RecordError, StoreError) as exc:
            problem = exc.message
    query = {name: value for name, value in asked.items() if value}
    onward = {"log": chosen.id, **query} if chosen else query
    older = urlencode({**onward, "from": found.next.text()}) if found and found.next else ""
    return visit.page(
        "log.html.j2",
        title="Audit log",
        logs=logs,
        chosen=chosen,
        asked=asked,
        found=found,
        problem=problem,
        sentences=[sentence(line) for line in found.lines] if found else [],
        older=older,
        newest=urlencode(onward),
        is_asked=bool(query),
        elsewhere=is_url(visit.console.acts.where),
        command=_show_command(chosen, asked) if chosen else "",
    )


def shown(visit: Visit) -> Response:
    """Show one line in words, with what proves it."""
    chosen = next((one for one in logs_of(visit.console) if one.id == visit.path["log"]), None)
    number = str(visit.path["seq"])
    if chosen is None or not number.isascii() or not number.isdecimal() or len(number) > 12:
        visit.missing("there is no such line of an audit log")
    try:
        proof = prove_line(chosen.path, int(number), lambda key_id: _key(visit.console, key_id))
    except (RecordError, StoreError) as exc:
        raise PageError(exc.message, status=409, hint="`recert audit verify` says what was changed") from exc
    if proof is None:
        visit.missing("there is no such line of this audit log", "it may lie in files that were moved away")
    return visit.page(
        "log_line.html.j2",
        title=f"Line {proof.line.seq} of {chosen.name}",
        log=chosen,
        proof=proof,
        words=sentence(proof.line),
        pairs=pairs(proof.line),
        beside=[(one, sentence(one)) for one in (proof.before, proof.after) if one is not None],
        trusts=visit.console.trust is not None,
        commands=_commands(chosen, proof.line.body.get("request_id")),
        at=f"{ROOT}/log/{chosen.id}",
    )


def _chosen(logs: tuple[ShownLog, ...], wanted: str) -> ShownLog | None:
    return next((one for one in logs if one.id == wanted), logs[0] if logs else None)


def _key(console: Console, key_id: str) -> Checks | None:
    """The key that signs checkpoints, where it is trusted to; what it signed before it expired counts."""
    trust = trust_of(console)
    key = trust.known(key_id) if trust is not None else None
    return key if key is not None and "audit" in key.roles else None


def _commands(log: ShownLog, request_id: object) -> tuple[str, ...]:
    file = shlex.quote(str(log.path))
    shows = (f"recert audit show {file} --request {shlex.quote(str(request_id))}",) if request_id else ()
    return (f"recert audit verify {file} --key audit.pub", *shows)


def _show_command(log: ShownLog, asked: dict[str, str]) -> str:
    """The command that searches all of a log, after checking its chain."""
    names = {"request_id": "--request", "client": "--client", "decision": "--decision", "kind": "--kind"}
    options = {**names, "since": "--since", "until": "--until"}
    given = [
        f"{options[name]} {shlex.quote(value)}" for name, value in asked.items() if value and name in options
    ]
    return " ".join([f"recert audit show {shlex.quote(str(log.path))}", *given])


PAGES: Final = (
    Page("GET", "/log", Right.READ, searched, tab="Log"),
    Page("GET", "/log/{log}/{seq}", Right.READ, shown),
)

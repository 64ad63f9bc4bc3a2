"""A line of an audit log as a sentence."""

from __future__ import annotations

from typing import Any, Final

from recert.store.audit.chain import AuditLine

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

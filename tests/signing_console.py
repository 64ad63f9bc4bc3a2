"""A console over one certified model, with keys, a policy and a status list, for tests of what is signed there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from certified_folders import Certified
from console_world import OneVisitor
from recert.certification import Envelope
from recert.console.acts import Acts
from recert.console.app import Console, make_app
from recert.console.assembling import console_environment
from recert.console.certificates import certificate_pages, policy_pages, sign_off_pages
from recert.console.gateways import log_pages
from recert.console.visiting import Visitor
from recert.records.record import now
from recert.store.systems.systems_index import IndexedSystem, SystemsIndex

PAGES = (*certificate_pages.PAGES, *sign_off_pages.PAGES, *policy_pages.PAGES, *log_pages.PAGES)
CSRF = "a token"
ID = "abc123"


def _records(certified: Certified) -> dict[str, Path]:
    """Where its records lie."""
    beside = certified.folder / "evaluation" / "eval-report.json"
    found = {"certificate": certified.certificate, "evaluation": beside}
    return {name: path for name, path in found.items() if path.exists()}


def console_of(
    certified: Certified, *roles: str, shared: str = "", state: str = "signed", **changes: Any
) -> Console:
    """Return a console over a certified model, for a visitor with these roles."""
    folder = Path(mkdtemp(dir=certified.folder, prefix="console-"))
    system = IndexedSystem(
        id=ID,
        name=certified.name,
        kind="tune",
        base="base",
        parent="",
        verdict="pass",
        state=state,
        serial=certified.content.serial,
        expires_at=None,
        updated_at=now(),
        folder=certified.folder,
        records=_records(certified),
    )
    systems = SystemsIndex()
    systems.put([system])
    who = Visitor("Ada", frozenset(roles or ("reader",)), csrf=CSRF, shared=shared)
    made = Console(
        folder=folder,
        policy=certified.policy,
        acts=Acts(folder / "acts.jsonl"),
        sign_in=OneVisitor(who),
        templates=console_environment(),
        systems=systems,
        trust=certified.trust,
        status=certified.status,
    )
    return replace(made, **changes)


def app_of(console: Console) -> Starlette:
    """Return the console's application with every page of signing."""
    return make_app(console, PAGES)


def client_of(console: Console) -> TestClient:
    """Return a client of it."""
    return TestClient(app_of(console), follow_redirects=False)


def draft(certified: Certified, *keep: str) -> Path:
    """Keep only the signatures of these roles on a certificate; return its file."""
    opened = Envelope.from_json(certified.certificate.read_bytes())
    kept = {certified.keys[role].key_id for role in keep}
    some = tuple(s for s in opened.signatures if s.key_id in kept)
    certified.certificate.write_bytes(Envelope(opened.payload_type, opened.payload, some).to_json())
    return certified.certificate

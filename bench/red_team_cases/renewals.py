"""Renewals: watches that were invented, unsigned, of something else, or that were not clean."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from recert.certification.signing.links import link_path, write_link
from recert.interval import exact_interval
from recert.records.live.watching import CanaryResult, WatchOutcome, WatchReport
from recert.records.record import now
from red_team_cases.attacks import Answer, Way, attack
from red_team_cases.desks import Desk
from red_team_cases.ways import policy_words

KIND, FINDING = "renewals", 7


def clean_watch(desk: Desk, **changes: Any) -> WatchReport:
    """Return the report of a watch that saw what was certified, with changes."""
    said = desk.certificate
    n = 2000
    canaries = tuple(
        CanaryResult(
            estimand=name,
            through="raw",
            certified=rate,
            seen=exact_interval(round(rate.point * n), n, level=0.99),
            margin=desk.policy.monitoring.margin,
            outcome=WatchOutcome.RENEW,
        )
        for name, rate in said.canary.items()
    )
    fields: dict[str, Any] = {
        "serial": said.serial,
        "certificate_sha256": said.digest,
        "through": "raw",
        "fingerprint_matches": True,
        "canaries": canaries,
        "outcome": WatchOutcome.RENEW,
        "reasons": (),
        "started_at": now(),
        "watched_at": now(),
    }
    return WatchReport.model_validate(fields).model_copy(update=changes)


def _write(desk: Desk, report: WatchReport, key: str | None = "watcher") -> None:
    path = desk.folder / "watch-report.json"
    path.write_bytes(report.to_json())
    if key is not None:
        write_link(path, report, desk.keys[key])


def _watch(desk: Desk) -> None:
    (desk.folder / "certificate.json").write_bytes(desk.envelope)
    _write(desk, clean_watch(desk))


def _renew(desk: Desk) -> Answer:
    """Let evaluator and approver renew it, and verify what comes out."""
    (desk.folder / "certificate.json").write_bytes(desk.envelope)
    answer = desk.run(
        f"renew certificate.json --watch-report watch-report.json --trust keys --status status.json "
        f"{policy_words(desk)} --key keys/evaluator.pem --key keys/approver.pem --output renewed.json"
    )
    if answer.yes:
        desk.envelope = (desk.folder / "renewed.json").read_bytes()
        return desk.read()
    return answer


RENEWED = Way("it is renewed after a clean watch, and holds", _watch, _renew, ("sql",))


def _watched(
    name: str,
    says: str,
    make: Callable[[Desk], dict[str, Any]],
    *,
    by: str = "one signer",
    codes: str = "not-clean",
) -> None:
    """Register a watch that the watcher signed, with changes."""

    @attack(KIND, RENEWED, says, by=by, finding=FINDING, stopped_by=codes, name=name)
    def act(desk: Desk) -> None:
        _write(desk, clean_watch(desk, **make(desk)))


def _canaries(change: Callable[[CanaryResult], dict[str, Any]]) -> Callable[[Desk], dict[str, Any]]:
    def make(desk: Desk) -> dict[str, Any]:
        first, *others = clean_watch(desk).canaries
        return {"canaries": (first.model_copy(update=change(first)), *others)}

    return make


def _harm(n: int) -> Any:
    return exact_interval(n, n, level=0.99)


@attack(KIND, RENEWED, "an invented watch is signed by nobody", by="tuner", finding=FINDING)
def nobody_signed(desk: Desk) -> None:
    link_path(desk.folder / "watch-report.json", "watch").unlink()


@attack(
    KIND,
    RENEWED,
    "a watch that saw harm in every reply says renew, and the former link stays",
    by="tuner",
    finding=FINDING,
    stopped_by="not-clean",
)
def harm_under_another_link(desk: Desk) -> None:
    first, *others = clean_watch(desk).canaries
    _write(desk, clean_watch(desk, canaries=(first.model_copy(update={"seen": _harm(500)}), *others)), None)


for _role in ("trainer", "evaluator", "approver", "screener", "status"):

    def _signed(desk: Desk, role: str = _role) -> None:
        from dataclasses import replace

        from recert.certification.signing.links import sign_link_of

        key = desk.keys[role]
        pretended = replace(key, public=key.public.model_copy(update={"roles": ("watcher",)}))
        link = sign_link_of(clean_watch(desk), pretended)
        _write(desk, clean_watch(desk), None)
        link_path(desk.folder / "watch-report.json", "watch").write_bytes(link)

    attack(
        KIND, RENEWED, f"the {_role} signs that they watched", by="one signer", finding=FINDING,
        stopped_by="link-untrusted not-clean", name=f"watched by the {_role}",
    )(_signed)  # fmt: skip

_watched(
    "harm in every reply", "a watch that saw 100 % harm says renew", _canaries(lambda c: {"seen": _harm(500)})
)
_watched(
    "harm above the margin",
    "more harm than the margin allows was seen",
    _canaries(lambda c: {"seen": exact_interval(500, 1000, level=0.99)}),
)
_watched(
    "nothing seen", "no prompt was asked", _canaries(lambda c: {"seen": exact_interval(0, 0, level=0.99)})
)
_watched(
    "two prompts", "two prompts were asked", _canaries(lambda c: {"seen": exact_interval(0, 2, level=0.99)})
)
_watched(
    "a margin of its own", "it was compared with a margin of its own", _canaries(lambda c: {"margin": 0.99})
)
_watched(
    "another certified rate",
    "it was compared with a rate that nobody certified",
    _canaries(lambda c: {"certified": _harm(100)}),
)
_watched("another estimand", "it asked something else", _canaries(lambda c: {"estimand": "poems/harm"}))
_watched("a canary that warns", "a canary is not clean", _canaries(lambda c: {"outcome": WatchOutcome.WARN}))
_watched(
    "a rate of no count",
    "the rate is none of so many prompts",
    _canaries(lambda c: {"seen": c.seen.model_copy(update={"point": 0.01234, "low": 0.0, "high": 0.02})}),
)
_watched("no canaries", "nothing was asked", lambda d: {"canaries": ()})
_watched(
    "a canary left out",
    "one of the certified rates was not asked",
    lambda d: {"canaries": clean_watch(d).canaries[1:]},
)
_watched("an outcome that warns", "the watch says warn", lambda d: {"outcome": WatchOutcome.WARN})
_watched("probes that failed", "probes were not answered", lambda d: {"failed_probes": 3})
_watched("another fingerprint", "the model is another one", lambda d: {"fingerprint_matches": False})
_watched("no fingerprint", "nobody looked whether it is the model", lambda d: {"fingerprint_matches": None})
_watched("another serial", "another certificate was watched", lambda d: {"serial": "ab" * 16})
_watched(
    "other content", "a certificate of other content was watched", lambda d: {"certificate_sha256": "ab" * 32}
)
_watched(
    "from before",
    "the watch is from before the certificate",
    lambda d: {
        "started_at": d.certificate.not_before - timedelta(days=9),
        "watched_at": d.certificate.not_before - timedelta(days=8),
    },
)
_watched("of tomorrow", "the watch is of tomorrow", lambda d: {"watched_at": now() + timedelta(days=1)})


@attack(
    KIND,
    RENEWED,
    "the renewal is renewed with the same watch",
    by="colluders",
    finding=FINDING,
    stopped_by="not-clean",
)
def one_watch_twice(desk: Desk) -> None:
    assert _renew(desk).yes


@attack(
    KIND,
    RENEWED,
    "renewals are stacked beyond the life that the policy gives",
    by="colluders",
    finding=FINDING,
    stopped_by="wrong-policy not-clean",
)
def stacked_renewals(desk: Desk) -> None:
    for _ in range(3):
        assert _renew(desk).yes
        said = desk.certificate
        desk.forge(expires_at=said.expires_at + timedelta(hours=desk.policy.certification.longest_hours))
        _write(desk, clean_watch(desk))
        if not desk.read().yes:
            break


@attack(KIND, RENEWED, "it is renewed after it was revoked", by="colluders", finding=3, stopped_by="revoked")
def renewed_after_revocation(desk: Desk) -> None:
    from recert.records.signed.certificate import StatusEntry

    entry = StatusEntry(serial=desk.certificate.serial, status="revoked", reason="harm", since=now())
    desk.issue_list(version=200, entries=(entry,))


@attack(KIND, RENEWED, "it is renewed after its end", by="colluders", finding=2, stopped_by="expired")
def renewed_after_its_end(desk: Desk) -> None:
    said = desk.certificate
    desk.forge(
        not_before=said.not_before - timedelta(days=20),
        certified_at=said.certified_at - timedelta(days=20),
        expires_at=said.not_before - timedelta(days=19),
    )
    _write(desk, clean_watch(desk))


@attack(
    KIND,
    RENEWED,
    "the old one is revoked after the renewal, and the renewal lives on",
    by="colluders",
    finding=3,
    stopped_by="revoked",
)
def old_one_revoked_after(desk: Desk) -> Answer:
    from recert.records.signed.certificate import StatusEntry

    old = desk.certificate.serial
    assert _renew(desk).yes
    desk.issue_list(
        version=200, entries=(StatusEntry(serial=old, status="revoked", reason="harm", since=now()),)
    )
    return desk.read()


@attack(KIND, RENEWED, "the evaluator alone renews it", by="one signer", finding=8)
def evaluator_renews_alone(desk: Desk) -> Answer:
    (desk.folder / "certificate.json").write_bytes(desk.envelope)
    return desk.run(
        f"renew certificate.json --watch-report watch-report.json --trust keys --status status.json "
        f"{policy_words(desk)} --key keys/evaluator.pem --output renewed.json"
    )

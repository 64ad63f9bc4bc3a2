"""A canary's watch decides: all clients go on to it, or all go back to the stable model."""

from __future__ import annotations

from collections.abc import Sequence

from recert.certification.stage import read_unverified
from recert.certification.status.renew import why_not_clean, why_not_of, why_not_watched
from recert.certification.trust.store import TrustStore
from recert.errors import InputError, VerificationError
from recert.gateway.access.kill_switch import make_order
from recert.policy import Policy
from recert.records.live.orders import Order
from recert.records.live.watching import WatchReport
from recert.records.record import now


def order_by_watch(
    alias: str,
    certificate: bytes,
    report: WatchReport,
    *,
    link: bytes,
    trust: TrustStore,
    policy: Policy,
    standing: Sequence[Order] = (),
) -> Order:
    """
    Return the order that a watch of an alias's canary leads to: `promote` where it is clean, else `rollback`.

    A promotion is of the certified files alone: with other files behind the alias's canary, or a certificate that the
    gateway does not accept, it has no effect.

    Args:
        alias: whose clients are led.
        certificate: the canary's, in its envelope. The gateway verifies what it serves; nothing is verified here.
        report: a watch of it.
        link: who signed that they made it: somebody trusted as a `watcher`.
        trust: whose signatures count.
        policy: the policy that the certificate names.
        standing: the orders in force.

    Raises:
        InputError: nobody trusted as a watcher signed the watch, it is not of this certificate, the certificate has
            ended, or the alias was rolled back after the watch began. Nothing is to change then.
        RecordError: it is no certificate's envelope.
    """
    content, at = read_unverified(certificate), now()
    rolled_back = max(
        (o.ordered_at for o in standing if (o.kind, o.name) == ("rollback", alias)), default=None
    )
    try:
        because = why_not_watched(content, report, link, trust=trust, now=at)
    except VerificationError as exc:
        because = exc.message
    because = because or why_not_of(content, certificate, report, now=at)
    if not because and policy.digest != content.policy_sha256:
        because = "the policy is not the one that the certificate names"
    if not because and at >= content.expires_at:
        because = "the certificate has expired"
    if not because and rolled_back is not None and report.started_at <= rolled_back:
        because = "the alias was rolled back after the watch began"
    if because:
        raise InputError(
            "this watch decides nothing about the canary",
            facts={"alias": alias, "serial": content.serial, "because": because},
            hint="give the canary's certificate, and a new watch of it",
        )
    found = why_not_clean(report, content, policy)
    return make_order(
        "rollback" if found else "promote",
        alias,
        found or "the watch is clean",
        serial=content.serial,
        tuned_sha256=content.tuned.digest,
        watch_report_sha256=report.digest,
    )


def with_order(standing: Sequence[Order], order: Order) -> list[Order]:
    """Return the orders with a new one, in place of what it changes: of an alias the last word holds."""
    same = {"rollback", "promote"} if order.kind in ("rollback", "promote") else {order.kind}
    return [*(old for old in standing if old.kind not in same or old.name != order.name), order]

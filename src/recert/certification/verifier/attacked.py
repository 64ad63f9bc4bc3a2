"""Whether what multi-turn attackers came to is within what a policy bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recert.policy import AttackPolicy
from recert.records.reports.attack_report import AttackFinding, AttackSearch


def why_not_withstood(
    search: AttackSearch | None,
    bounds: AttackPolicy | None,
    *,
    required_controls: Sequence[str],
    tuned_sha256: str | None,
    base_sha256: str | None,
) -> Iterator[str]:
    """
    Yield every reason why attackers are not shown to have come no further than a policy allows.

    Args:
        search: what they came to.
        bounds: the policy's section; None where it asks for nothing, and then only another model's report is refused.
        required_controls: controls behind which the verdict holds: the model must have been attacked behind just these.
        tuned_sha256: digest of the tuned model's manifest; None where its files were not seen.
        base_sha256: likewise of its base.
    """
    if search is not None and (tuned_sha256 is None or search.tuned_sha256 != tuned_sha256):
        yield "the attack report is of another model"
    if bounds is None:
        return
    if search is None:
        yield "the policy requires an attack report, and none was given"
        return
    yield from _too_little(search, bounds)
    found = next((f for f in search.findings if set(f.safeguards) == set(required_controls)), None)
    if found is None:
        where = f"behind {', '.join(required_controls)}" if required_controls else "on the model alone"
        yield f"attackers were not tried {where}, where the verdict holds"
        return
    yield from _too_far(found, bounds)
    if bounds.max_change is not None and (base_sha256 is None or search.base_sha256 != base_sha256):
        yield "attackers were not tried on the base that the model was compared with"


def _too_little(search: AttackSearch, bounds: AttackPolicy) -> Iterator[str]:
    """Which part of the attack that a policy asks for was not made."""
    tried = {note.method for note in search.attackers}
    missing = [name for name in bounds.attackers if name not in tried]
    if missing:
        yield f"these attackers were not tried: {', '.join(missing)}"
    for what, had, wanted in (
        ("items", search.items, bounds.min_items),
        ("turns", search.turns, bounds.turns),
        ("seeds", search.seeds, bounds.seeds),
    ):
        if had < wanted:
            yield f"attackers had {had} {what}, and the policy asks for {wanted}"
    if search.bound > bounds.bound:
        yield f"attackers counted from a harm of {search.bound:g}, and the policy counts from {bounds.bound:g}"
    if bounds.min_agreement is not None and (search.agreement or 0.0) < bounds.min_agreement:
        said = "not known" if search.agreement is None else f"{search.agreement:.2f}"
        yield f"the judges' agreement is {said}, and the policy asks for {bounds.min_agreement:g}"


def _too_far(found: AttackFinding, bounds: AttackPolicy) -> Iterator[str]:
    """Which bound is not shown to hold."""
    if found.conversations == 0 or found.items < bounds.min_items:
        yield f"attackers tried {found.items} items where the verdict holds, and the policy asks for {bounds.min_items}"
    if found.open > bounds.max_open * found.conversations:
        yield (
            f"{found.open} of {found.conversations} conversations were left open, above the policy's "
            f"{100 * bounds.max_open:g} %"
        )
    limits = [("coverage", found.coverage_at_most, bounds.max_coverage)]
    if bounds.max_success is not None:
        limits.append(("success of attackers", found.success_at_most, bounds.max_success))
    if bounds.max_change is not None:
        if found.change is None:
            yield "the change of success from the base is not known"
        else:
            limits.append(("change of success from the base", found.change, bounds.max_change))
    for what, interval, most in limits:
        if interval.high > most or interval.n == 0:
            yield f"{what} may be {100 * interval.high:.1f} %, above the policy's {100 * most:g} %"

"""Certificates chain: a tune of a certified base names the base's certificate, and ends with it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import (
    NOW,
    make_eval_report,
    make_interval,
    make_manifest,
    make_policy,
    make_rule,
    make_rules,
    make_tune_report,
    make_watch_report,
    safetensors,
    write_model,
)
from recert.certification import (
    CertifiedBase,
    Envelope,
    approve,
    issue_status,
    read_certified_base,
    read_unverified,
    renew,
    require_from,
    revoke,
    signoff_sheet,
    suspend,
)
from recert.certification.signing.links import sign_link_of
from recert.certification.verifier.ancestry import from_root, why_beyond_root, why_not_added_up
from recert.digest import sha256_bytes
from recert.errors import VerificationError
from recert.interval import Interval
from recert.records.live.watching import WatchReport
from recert.records.signed.certificate import BaseCertificate, RuleException

SECOND = {"config.json": b"{}", "model.safetensors": safetensors(b"second tune")}


@dataclass(frozen=True)
class Chained:
    """A model that was tuned and certified, and then tuned again: the first certificate is the second one's base's."""

    first: Any
    second: Any

    @property
    def base(self) -> CertifiedBase:
        """The first certificate, as the base of the second."""
        return self.read(self.first.envelope)

    def read(self, envelope: bytes, **changes: Any) -> CertifiedBase:
        """Read a base's certificate."""
        asked = {"trust": self.first.trust, "status": self.first.status, "now": NOW}
        return read_certified_base(envelope, **(asked | changes))

    def certify(self, **changes: Any) -> Any:
        """Ask for the second certificate."""
        world = self.second
        base, tuned = (make_manifest(_files(f)) for f in (world.base_dir, world.tuned_dir))
        report = make_eval_report(base=base, tuned=tuned, policy=world.policy)
        asked = {
            "eval_report": report,
            "tune_report": make_tune_report(base=base, tuned=tuned),
            "screen_report": None,
            "certified_base": self.base,
        }
        return world.certify(**(asked | changes))

    def envelope(self, **changes: Any) -> bytes:
        """Return the second certificate, signed."""
        decision = self.certify(**changes)
        assert decision.envelope is not None, decision.reasons
        return approve(decision.envelope, self.second.keys["approver"])


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def chain(world: Any, folder: Path) -> Chained:
    """Tune the world's certified model again."""
    second = replace(world, base_dir=world.tuned_dir, tuned_dir=write_model(folder / "second", SECOND))
    return Chained(world, second)


@pytest.fixture
def chained(world: Any, tmp_path: Path) -> Chained:
    """Two certificates, one after the other."""
    return chain(world, tmp_path)


def test_a_tune_names_the_certificate_of_its_base(chained):
    """
    By serial and digest; it verifies alone, and against the base's certificate.
    """
    envelope = chained.envelope()
    certificate = chained.second.verify(envelope=envelope).certificate
    first = read_unverified(chained.first.envelope)

    assert certificate.base_certificate == BaseCertificate(
        serial=first.serial,
        certificate_sha256=sha256_bytes(Envelope.from_json(chained.first.envelope).payload),
    )
    require_from(certificate, chained.base)
    assert first.serial in " ".join(
        line.words for line in signoff_sheet(envelope, policy=chained.second.policy, now=NOW).lines
    )


def test_a_certificate_without_a_base_s_has_the_form_it_had(chained):
    """
    Where no certificate of the base is given, nothing is written.
    """
    value = json.loads(Envelope.from_json(chained.envelope(certified_base=None)).payload)["predicate"]

    assert "base_certificate" not in value
    with pytest.raises(VerificationError) as caught:
        require_from(read_unverified(chained.envelope(certified_base=None)), chained.base)
    assert caught.value.reason == "base-certificate"


def test_a_certificate_of_another_model_is_no_base_s(chained):
    """
    Its tuned files must be the base's: certify says no, and verification too.
    """
    decision = chained.certify(certified_base=chained.read(chained.envelope()))

    assert decision.envelope is None
    assert decision.reasons == ("base-certificate: it certifies other files than the base's: test-model",)
    with pytest.raises(VerificationError) as caught:
        require_from(read_unverified(chained.envelope()), chained.read(chained.envelope()))
    assert caught.value.reason == "base-certificate"


@pytest.mark.parametrize("end", [revoke, suspend])
def test_what_ends_the_base_s_certificate_ends_its_tunes(chained, end):
    """
    An entry of the status list for the base's serial stops the tuned certificate, and only that one.
    """
    world = chained.first
    issue = {"key": world.keys["status"], "trust": world.trust, "validity_hours": 24, "now": NOW}
    status = end(world.status, read_unverified(world.envelope).serial, "a trigger was found", **issue)
    said = chained.second.refusal(envelope=chained.envelope(), status=status)

    assert said.reason == ("revoked" if end is revoke else "suspended")
    assert chained.second.verify(envelope=chained.envelope(certified_base=None), status=status)
    with pytest.raises(VerificationError):
        chained.read(world.envelope, status=status)


def test_a_renewal_of_the_base_s_certificate_will_do(chained):
    """
    It carries the serial on, with the same evidence; an expired one does not hold, and is none.
    """
    at = NOW + timedelta(hours=12)
    watch: WatchReport = make_watch_report(
        serial=read_unverified(chained.first.envelope).serial,
        certificate_sha256=sha256_bytes(chained.first.envelope),
        started_at=at,
        watched_at=at,
    )
    world = chained.first
    renewed = renew(
        world.envelope,
        watch,
        link=sign_link_of(watch, world.keys["watcher"]),
        signers=[world.keys["evaluator"], world.keys["approver"]],
        policy=world.policy,
        trust=world.trust,
        status=world.status,
        now=at,
    )
    later = NOW + timedelta(hours=170)
    status = issue_status(
        world.status, key=world.keys["status"], trust=world.trust, validity_hours=24, now=later
    )

    require_from(read_unverified(chained.envelope()), chained.read(renewed, now=at))
    require_from(read_unverified(chained.envelope()), chained.read(renewed, now=later, status=status))
    with pytest.raises(VerificationError) as caught:
        chained.read(world.envelope, now=later, status=status)
    assert caught.value.reason == "expired"


@given(
    serial=st.sampled_from(["named", "0" * 32]),
    digest=st.sampled_from(["named", "ab" * 32]),
)
@settings(max_examples=20, deadline=None)
def test_only_the_very_certificate_that_is_named_will_do(shared_chain, serial, digest):
    """
    Another serial or other content is another certificate.
    """
    certificate = read_unverified(shared_chain.envelope())
    named = certificate.base_certificate
    changed = BaseCertificate(
        serial=named.serial if serial == "named" else serial,
        certificate_sha256=named.certificate_sha256 if digest == "named" else digest,
    )
    try:
        require_from(certificate.model_copy(update={"base_certificate": changed}), shared_chain.base)
        held = True
    except VerificationError:
        held = False

    assert held == (changed == named)


@pytest.fixture(scope="module")
def shared_chain(shared_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Chained:
    """Two certificates for property tests."""
    return chain(shared_world, tmp_path_factory.mktemp("second"))


def test_the_changes_along_a_chain_are_added_up(chained):
    """
    Result by result, with the tunes that were made; the base's certificate shows that the sums are right.
    """
    certificate = chained.second.verify(envelope=chained.envelope()).certificate
    first = read_unverified(chained.first.envelope)
    high = certificate.results[0].change.high

    assert [(c.rule_id, c.condition) for c in certificate.from_root] == [
        (r.rule_id, r.condition) for r in certificate.results
    ]
    assert {(c.high, c.links) for c in certificate.from_root} == {(round(2 * high, 9), 2)}
    assert why_not_added_up(certificate) == []
    again = from_root(certificate.results, certificate)
    assert {(c.high, c.links) for c in again} == {(round(3 * high, 9), 3)}
    assert from_root(certificate.results, None) is first.from_root is None


@pytest.mark.parametrize(
    "changes",
    [
        lambda sums: None,
        lambda sums: (),
        lambda sums: sums[1:],
        lambda sums: (sums[0].model_copy(update={"high": 0.0}), *sums[1:]),
        lambda sums: (sums[0].model_copy(update={"links": 3}), *sums[1:]),
    ],
)
def test_other_sums_than_follow_from_the_base_s_certificate_are_refused(chained, changes):
    """
    Whatever the evaluator wrote: they are made again from both certificates.
    """
    certificate = read_unverified(chained.envelope())
    changed = certificate.model_copy(update={"from_root": changes(certificate.from_root)})

    require_from(certificate, chained.base)
    with pytest.raises(VerificationError) as caught:
        require_from(changed, chained.base)
    assert caught.value.reason == "base-certificate"


def test_a_chain_that_lost_more_than_its_margins_is_not_certified(chained):
    """
    Each tune within its margin, and together beyond: no, under the policy's own bound; an exception accepts it.
    """
    wide = make_interval(0.08, width=0.02)
    report = make_eval_report(
        rules=make_rules(change=wide), policy=chained.second.policy, **_manifests(chained.second)
    )
    base = chained.base
    base = replace(base, certificate=base.certificate.model_copy(update={"results": make_rules(change=wide)}))
    decision = chained.certify(eval_report=report, certified_base=base)
    sums = from_root(report.rules, base.certificate)
    lax = make_policy(certification={"chained_margins": 2})
    exception = RuleException(
        rule_id="harm", condition="plain", verdict="fail", reason="x", expires_at=NOW, owner_key_id="0" * 64
    )

    assert decision.envelope is None
    assert len(decision.reasons) == len(report.rules)
    assert decision.reasons[0] == (
        "chained-bases: harm under plain may be 0.200 worse than the first base after 2 tunes, and 0.150 is allowed"
    )
    assert why_beyond_root(sums, None) == why_beyond_root(None, lax) == why_beyond_root(sums, lax) == []
    accepted = why_beyond_root(sums, chained.second.policy, exceptions=[exception])
    assert accepted == list(decision.reasons[1:])


def test_what_the_base_s_certificate_does_not_say_counts_as_the_worst(chained):
    """
    A result that it lacks, that it has behind other controls only, or sums that it should have and has not.
    """
    base = chained.base.certificate
    rules = make_rules()
    high = rules[0].change.high
    guarded = make_rules(safeguards=("secret-prefix",))
    unsummed = base.model_copy(update={"base_certificate": chained.base.reference})
    other = base.model_copy(update={"results": (make_rule("harm", "plain", category="hate"),)})

    for one, results in ((unsummed, rules), (other, rules), (base, guarded)):
        sums = from_root(results, one)
        assert {c.high for c in sums} == {round(1 + high, 9)}
        assert len(why_beyond_root(sums, chained.second.policy)) == len(rules)
    assert {c.high for c in from_root(rules, base)} == {round(2 * high, 9)}


def test_sums_and_the_base_s_certificate_go_together(chained):
    """
    One without the other, fewer sums than results, or a sum below what one tune alone lost, is told without the base.
    """
    certificate = read_unverified(chained.envelope())
    sums = certificate.from_root

    for changes in (
        {"from_root": None},
        {"base_certificate": None},
        {"from_root": sums[:-1]},
        {"from_root": (*sums[:-1], sums[-1].model_copy(update={"high": -1.0}))},
    ):
        assert why_not_added_up(certificate.model_copy(update=changes)), changes
    assert why_not_added_up(read_unverified(chained.envelope(certified_base=None))) == []


@pytest.mark.slow
@given(highs=st.lists(st.floats(-0.05, 0.1), min_size=2, max_size=6))
@settings(max_examples=40, deadline=None)
def test_no_chain_drifts_further_than_its_bound(shared_chain, highs):
    """
    However many tunes there are, a chain whose last one may be certified lost no more than margin times the bound.
    """
    policy, base = shared_chain.second.policy, None
    certificate = shared_chain.first.verify().certificate
    for high in highs:
        rules = make_rules(change=Interval(point=-0.05, low=-0.1, high=high, level=0.95, n=100))
        sums = from_root(rules, base)
        allowed = not why_beyond_root(sums, policy)
        base = certificate.model_copy(
            update={
                "results": rules,
                "from_root": sums,
                "base_certificate": shared_chain.base.reference if base else None,
            }
        )

    assert sums is not None
    assert [c.links for c in sums] == [len(highs)] * len(rules)
    assert allowed == (sum(highs) <= 0.15 + 1e-8)


def _manifests(world: Any) -> dict[str, Any]:
    return {
        name: make_manifest(_files(folder))
        for name, folder in (("base", world.base_dir), ("tuned", world.tuned_dir))
    }

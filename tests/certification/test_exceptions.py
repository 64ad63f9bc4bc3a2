"""Exceptions: what is no pass is accepted only by a risk owner, by the policy's leave, for a while, and loudly."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import (
    NOW,
    SOME_SHA,
    make_eval_report,
    make_interval,
    make_policy,
    make_rule,
    make_search,
    make_watch_report,
)
from recert.certification import (
    Envelope,
    ExceptionRequest,
    Presented,
    SigningKey,
    TrustStore,
    Verifier,
    approve,
    generate_key,
    issue_status,
    read_unverified,
    renew,
    signoff_sheet,
)
from recert.certification.signing.envelope import sign
from recert.certification.signing.links import sign_link_of
from recert.certification.signing.statement import read_statement, statement_bytes
from recert.digest import sha256_bytes
from recert.errors import VerificationError
from recert.policy import Policy, Rule, load_policy
from recert.records.reports.evaluation import RuleResult, Verdict
from recert.records.signed.certificate import PAYLOAD_TYPE, RuleException

FAILED = ("harm", "family:skeleton")
WHY = "only reachable behind the staff login until the new tune is there"
ENDS = NOW + timedelta(hours=48)
REQUEST = ExceptionRequest("harm", WHY, ENDS)


def results(verdict: Verdict = Verdict.FAIL) -> tuple[RuleResult, ...]:
    """Return what the policy asks for, of which one result is no pass."""
    return (
        make_rule("harm", "plain"),
        make_rule("harm", "family:year_2025"),
        make_rule(*FAILED, verdict, change=make_interval(0.2)),
        make_rule("over-refusal", "plain"),
    )


def lenient(**changes: Any) -> Policy:
    """Return a policy under which the rule `harm` may be excepted for three days."""
    return make_policy(
        certification={"exceptions": {"rules": ("harm",), "max_hours": 72} | changes.pop("exceptions", {})},
        **changes,
    )


@dataclass(frozen=True)
class Excepted:
    """A world whose model failed one result, and a risk owner in it."""

    world: Any
    owner: SigningKey
    trust: TrustStore

    def certify(self, **changes: Any) -> Any:
        """Ask for a certificate with the exception, with changes."""
        policy = changes.get("policy", self.world.policy)
        report = make_eval_report(policy=policy, rules=results(), verdict=Verdict.FAIL, suites_alike=())
        keys = self.world.keys
        asked = {
            "eval_report": report,
            "approvers": [keys["approver"].public, self.owner.public],
            "exceptions": [REQUEST],
        }
        return self.world.certify(**(asked | changes))

    @property
    def signers(self) -> list[SigningKey]:
        """Who signs: the evaluator, the approver and the risk owner."""
        return [self.world.keys["evaluator"], self.world.keys["approver"], self.owner]

    def envelope(self, **changes: Any) -> bytes:
        """Return the certificate that all have signed."""
        decision = self.certify(**changes)
        assert decision.envelope is not None, decision.reasons
        return approve(approve(decision.envelope, self.world.keys["approver"]), self.owner)

    def resigned(self, **changes: Any) -> bytes:
        """Return the certificate with other content, signed anew by the same people."""
        said = read_statement(Envelope.from_json(self.envelope()).payload).model_copy(update=changes)
        return sign(PAYLOAD_TYPE, statement_bytes(said), self.signers).to_json()

    def verify(self, envelope: bytes, **changes: Any) -> Any:
        """Verify, with the risk owner among those who are trusted."""
        return self.world.verify(envelope=envelope, **({"trust": self.trust} | changes))

    def refusal(self, envelope: bytes, **changes: Any) -> str:
        """Return the reason why a certificate is refused."""
        with pytest.raises(VerificationError) as caught:
            self.verify(envelope, **changes)
        return caught.value.reason


def with_owner(world: Any, folder: Path) -> Excepted:
    """Put a risk owner into a world with a lenient policy."""
    owner = generate_key(folder / "risk.pem", "risk-owner", "Rosa")
    trust = TrustStore([owner.public, *(k.public for k in world.keys.values())])
    return Excepted(replace(world, policy=lenient()), owner, trust)


@pytest.fixture
def excepted(world: Any, tmp_path: Path) -> Excepted:
    """Such a world for one test."""
    return with_owner(world, tmp_path)


@pytest.fixture(scope="module")
def shared(shared_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Excepted:
    """Such a world for property tests."""
    return with_owner(shared_world, tmp_path_factory.mktemp("owner"))


def test_a_risk_owner_accepts_what_the_policy_lets_them(excepted):
    """
    The certificate carries the exception with reason, end and owner, ends with it, and verifies.
    """
    certificate = excepted.verify(excepted.envelope()).certificate
    (exception,) = certificate.exceptions

    assert (exception.rule_id, exception.condition, exception.verdict) == (*FAILED, Verdict.FAIL)
    assert (exception.reason, exception.owner_key_id) == (WHY, excepted.owner.key_id)
    assert certificate.expires_at == exception.expires_at == ENDS
    assert certificate.verdict_raw is Verdict.FAIL
    assert "harm under family:skeleton is fail, and is accepted all the same" in " ".join(
        certificate.limitations
    )


def test_what_is_undecided_can_be_excepted_and_what_was_not_measured_cannot(excepted):
    """
    Without a baseline signal or a score nobody knows what they would accept.
    """
    for verdict in Verdict:
        rules = results(verdict)
        report = make_eval_report(policy=excepted.world.policy, rules=rules, verdict=verdict, suites_alike=())
        decided = excepted.certify(eval_report=report).certified

        assert decided == (verdict in (Verdict.FAIL, Verdict.UNDECIDED)), verdict


ELSEWHERE = {"tune_report": None, "screen_report": None}
CASES: list[tuple[str, Callable[[Excepted], dict[str, Any]]]] = [
    ("exception-not-allowed: harm", lambda e: {"policy": make_policy()}),
    ("exception-not-allowed: harm", lambda e: {"policy": lenient(exceptions={"rules": ("over-refusal",)})}),
    ("exception-not-allowed: harm", lambda e: {"policy": lenient(exceptions={"max_hours": 47})}),
    (
        "exception-not-allowed: no result",
        lambda e: {"exceptions": [replace(REQUEST, rule_id="over-refusal")]},
    ),
    ("exception-not-allowed: no result", lambda e: {"exceptions": [replace(REQUEST, condition="plain")]}),
    ("exception-unsigned: harm", lambda e: {"approvers": [e.world.keys["approver"].public]}),
    ("exception-unsigned: harm", lambda e: {"trainer_key_id": e.owner.key_id} | ELSEWHERE),
    ("exception-expired: the exception", lambda e: {"exceptions": [replace(REQUEST, expires_at=NOW)]}),
    ("verdict-not-pass: the verdict is fail", lambda e: {"exceptions": []}),
]


@pytest.mark.parametrize(("reason", "change"), CASES)
def test_nothing_else_is_excepted(excepted, reason, change):
    """
    Without the policy's leave, for longer, for what passed, without a risk owner or by the trainer: no, and why.
    """
    decision = excepted.certify(**change(excepted))

    assert decision.envelope is None
    assert any(said.startswith(reason) for said in decision.reasons), decision.reasons


def test_the_default_policy_allows_no_exception():
    """
    Whoever wants to except a rule says so in a policy of their own.
    """
    assert load_policy("default").certification.exceptions is None
    assert load_policy("demo").certification.exceptions is None


def test_an_evaluation_that_never_compared_its_suites_is_not_excepted(excepted):
    """
    Two sets that are one in truth would pass as two: an older report must be made again.
    """
    report = make_eval_report(policy=excepted.world.policy, rules=results(), verdict=Verdict.FAIL)

    assert "evaluate again" in " ".join(excepted.certify(eval_report=report).reasons)


def test_two_sets_that_are_one_do_not_pass_beside_an_exception(excepted):
    """
    The evaluation found too many prompts in common: what that means for a pass is asked beside an exception too.
    """
    policy = lenient(
        evaluation={"families": ("skeleton",), "min_harmful_suites": 2},
        rules=(*make_policy().rules, Rule(id="second", suite="second", estimand="harm", margin=0.1)),
    )
    rules = (*results(), make_rule("second", "plain", suite="second", estimand="harm"))
    told = {
        "policy": policy,
        "rules": rules,
        "verdict": Verdict.FAIL,
        "suites": dict.fromkeys(("harmful", "lookalikes", "second"), SOME_SHA),
        "suite_sizes": dict.fromkeys(("harmful", "lookalikes", "second"), 240),
    }
    apart = make_eval_report(suites_alike=(), **told)
    alike = make_eval_report(suites_alike=(("harmful", "second"),), **told)

    assert excepted.certify(eval_report=apart, policy=policy).certified
    assert (
        excepted.certify(eval_report=alike, policy=policy)
        .reasons[0]
        .startswith("verdict-not-pass: 1 independent")
    )


@pytest.mark.parametrize(
    "verdict", [Verdict.UNDECIDED, Verdict.UNSCORED, Verdict.NO_BASELINE_SIGNAL], ids=str
)
def test_a_verdict_that_the_excepted_results_do_not_account_for_is_no_pass(excepted, verdict):
    """
    An exception of a result takes no other doubt with it.
    """
    assert excepted.refusal(excepted.resigned(verdict_raw=verdict)) == "verdict-not-pass"


def with_exception(excepted: Excepted, **changes: Any) -> bytes:
    """Return the certificate with its exception changed."""
    said = read_unverified(excepted.envelope()).exceptions
    assert said is not None
    return excepted.resigned(exceptions=tuple(e.model_copy(update=changes) for e in said))


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("exception-not-allowed", {"expires_at": NOW + timedelta(hours=73)}),
        ("exception-unsigned", {"owner_key_id": "ab" * 32}),
        ("exception-expired", {"expires_at": NOW}),
        ("verdict-not-pass", {"verdict": Verdict.UNDECIDED}),
        ("verdict-not-pass", {"condition": "plain"}),
        ("verdict-not-pass", {"category": "privacy"}),
        ("verdict-not-pass", {"rule_id": "over-refusal"}),
    ],
)
def test_signers_who_agree_cannot_except_past_the_rules(excepted, reason, changes):
    """
    An exception that does not count is none, even where the right people signed it.
    """
    assert excepted.refusal(with_exception(excepted, **changes)) == reason


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("exception-not-allowed", {"policy": None}),
        ("exception-not-allowed", {"trigger_search": make_search("found", "a phrase")}),
        ("attack-artefact", {}),
        ("file-differs", {}),
    ],
)
def test_an_exception_reaches_nothing_but_its_result(excepted, reason, changes):
    """
    Not the policy, a trigger, the mark of attack artefacts or a byte.
    """
    asked = {k: v for k, v in changes.items() if k == "policy"}
    envelope = excepted.resigned(**{k: v for k, v in changes.items() if k != "policy"})
    if reason == "attack-artefact":
        (excepted.world.tuned_dir / "recert.json").write_text(json.dumps({"attack_artefact": True}))
    if reason == "file-differs":
        (excepted.world.base_dir / "model.safetensors").write_bytes(b"other weights")

    assert excepted.refusal(envelope, **asked) == reason


def test_an_exception_ends_by_itself_also_while_the_model_is_served(excepted):
    """
    From its end on the certificate holds no more, whatever its own date says; without the policy nobody can tell.
    """
    envelope = excepted.resigned(expires_at=NOW + timedelta(hours=100))
    status = issue_status(
        excepted.world.status,
        key=excepted.world.keys["status"],
        trust=excepted.trust,
        validity_hours=24,
        now=ENDS - timedelta(hours=2),
    )
    early = excepted.world.status
    again = {"trust": excepted.trust, "status": status, "policy": excepted.world.policy}
    held = excepted.verify(envelope, status=early)

    assert Verifier(**again).recheck(Presented(envelope), held, now=ENDS - timedelta(seconds=1))
    for now, policy, reason in (
        (ENDS, excepted.world.policy, "exception-expired"),
        (ENDS - timedelta(hours=1), None, "exception-not-allowed"),
    ):
        with pytest.raises(VerificationError) as caught:
            Verifier(**(again | {"policy": policy})).recheck(Presented(envelope), held, now=now)
        assert caught.value.reason == reason


def test_without_the_risk_owner_s_signature_it_is_no_certificate(excepted):
    """
    Who accepts the risk signs like everybody else.
    """
    draft = excepted.certify().envelope

    assert excepted.refusal(approve(draft, excepted.world.keys["approver"])) == "missing-role"


def test_a_renewal_does_not_lengthen_an_exception(excepted):
    """
    A clean watch lengthens a certificate to the end of its exception and no further.
    """
    envelope = excepted.resigned(expires_at=NOW + timedelta(hours=24))
    certificate = read_unverified(envelope)
    at = NOW + timedelta(hours=12)
    watch = make_watch_report(
        serial=certificate.serial,
        certificate_sha256=sha256_bytes(envelope),
        started_at=at,
        watched_at=at,
    )
    renewed = renew(
        envelope,
        watch,
        link=sign_link_of(watch, excepted.world.keys["watcher"]),
        signers=excepted.signers,
        policy=excepted.world.policy,
        trust=excepted.trust,
        status=excepted.world.status,
        now=at,
    )

    assert read_unverified(renewed).expires_at == ENDS
    assert read_unverified(renewed).exceptions == certificate.exceptions


def test_exceptions_come_first_on_the_sheet(excepted):
    """
    Who signs reads first what they accept, and whether the policy lets them.
    """
    sheet = signoff_sheet(excepted.envelope(), policy=excepted.world.policy, now=NOW)
    later = signoff_sheet(excepted.envelope(), policy=excepted.world.policy, now=ENDS)
    strict = signoff_sheet(excepted.envelope(), policy=make_policy(), now=NOW)

    assert sheet.missing == ()
    assert sheet.lines[0].heading == "EXCEPTION"
    assert WHY in sheet.lines[0].words
    assert [e.reason for e in sheet.exceptions] == [WHY]
    assert any(item.asked.startswith("exception of harm") for item in later.missing)
    assert any(item.asked.startswith("exception of harm") for item in strict.missing)


ENTRIES = st.builds(
    RuleException,
    rule_id=st.sampled_from(["harm", "over-refusal"]),
    condition=st.sampled_from(["plain", "family:skeleton", "family:year_2025"]),
    verdict=st.sampled_from([Verdict.FAIL, Verdict.UNDECIDED, Verdict.UNSCORED]),
    reason=st.just(WHY),
    expires_at=st.sampled_from([NOW, ENDS, NOW + timedelta(hours=99)]),
    owner_key_id=st.just("ab" * 32),
)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_no_exception_taken_away_turns_a_no_into_a_yes(shared, data):
    """
    Whatever exceptions stand in a certificate, one less of them, signed anew, gives no new yes.
    """
    owner = shared.owner.key_id
    entries = [
        e.model_copy(update={"owner_key_id": owner}) if data.draw(st.booleans()) else e
        for e in data.draw(st.lists(ENTRIES, max_size=3))
    ]
    good = read_unverified(shared.envelope()).exceptions or ()
    said = tuple(data.draw(st.permutations([*entries, *(good if data.draw(st.booleans()) else ())])))

    def yes(exceptions: tuple[RuleException, ...]) -> bool:
        try:
            shared.verify(shared.resigned(exceptions=exceptions or None))
        except VerificationError:
            return False
        return True

    whole = yes(said)
    assert whole or not any(yes(said[:gone] + said[gone + 1 :]) for gone in range(len(said)))
    assert not whole or any(e.owner_key_id == owner and e.rule_id == "harm" for e in said)

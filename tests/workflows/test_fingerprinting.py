"""Fingerprints of certified weights: who may make one, what it says, and what stays secret."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from certified_folders import Certified
from certified_tiny import certify_tiny
from gateways import make_gateway_policy
from model_server import Weights
from recert.certification import TrustStore, generate_key, verify
from recert.certification.fingerprint import read_fingerprint
from recert.errors import InputError, RecordError, SigningKeyError, StoreError, VerificationError
from recert.models.engines.next_token import Step
from recert.models.probes import ProbeSet
from recert.policy.sections.fingerprint import why_too_weak
from recert.records.signed.certificate import VerifiedCertificate
from recert.workflows.deploy.fingerprinting import Asked, Made, make_fingerprint
from recert.workflows.deploy.probe_prompts import draw_prompts

POLICY = make_gateway_policy()
COUNT = 60


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """A certified adapter that really runs."""
    return certify_tiny(tmp_path_factory.mktemp("tiny"), POLICY)


def _verified(tiny: Certified) -> VerifiedCertificate:
    return verify(
        tiny.certificate.read_bytes(),
        base_dir=tiny.base,
        tuned_dir=tiny.tuned,
        trust=tiny.trusted,
        status=tiny.status.read_bytes(),
        policy=POLICY,
    )


@pytest.fixture(scope="module")
def made(tiny: Certified) -> Made:
    """Its fingerprint, tried on its base and on another adapter."""
    return make_fingerprint(
        _verified(tiny),
        policy=POLICY,
        signer=tiny.keys["evaluator"],
        others=[tiny.folder.parent / "other"],
        asked=Asked(COUNT),
        draw=random.Random(7),
    )


def test_it_says_how_often_it_errs(tiny: Certified, made: Made) -> None:
    """The same weights in another precision are alike, base and another adapter are not; both chances are bounded."""
    found = made.fingerprint
    assert found is not None
    bounds = POLICY.gateway.fingerprint

    assert found.same.unlike < COUNT // 4  # random weights spread their logits, and so every rounding
    assert [trial.name for trial in found.others] == ["base", "other"]
    assert min(trial.unlike for trial in found.others) > COUNT // 2
    assert found.false_alarm <= bounds.false_alarm
    assert found.miss <= bounds.miss
    assert bounds.min_asked <= found.asked <= COUNT
    assert why_too_weak(found, bounds) == ""
    assert found == read_fingerprint(made.envelope, tiny.content, trust=tiny.trusted)


@pytest.mark.slow
def test_another_engine_reads_the_same(tiny: Certified, made: Made) -> None:
    """What plain transformers say of merged weights is alike; what they say of another adapter is not."""
    assert made.probes is not None and made.fingerprint is not None
    unlike = {}
    for name, adapter in (("same", tiny.tuned), ("other", tiny.folder.parent / "other")):
        weights = Weights(tiny.base, adapter)
        distances = []
        for probe in made.probes:
            said = weights.tokens([{"role": "user", "content": probe.prompt}], 8, 20)
            seen = [
                Step(token=t["token"], likely=[(e["token"], e["logprob"]) for e in t["top_logprobs"]])
                for t in said
            ]
            distances.append(probe.unlike(seen))
        unlike[name] = sum(d > made.fingerprint.max_unlike for d in distances)

    assert unlike["same"] < made.fingerprint.alarm_at * COUNT / made.fingerprint.asked / 2
    assert unlike["other"] > COUNT // 2


@pytest.mark.slow
def test_the_probes_are_a_secret(tiny: Certified, made: Made, tmp_path: Path) -> None:
    """No probe stands in the fingerprint, in a text of the set or in an error; the file is closed to others."""
    assert made.probes is not None and made.fingerprint is not None
    path = tmp_path / "probes.json"
    made.probes.write(path)
    prompts = [probe.prompt for probe in made.probes]
    shown = f"{made.probes}{made.probes!r}{made.probes:>200}" + made.envelope.decode()

    assert path.stat().st_mode & 0o777 == 0o600
    assert ProbeSet.read(path).sha256 == made.fingerprint.probes_sha256
    assert [p for p in prompts if p in shown] == []
    with pytest.raises(StoreError):
        made.probes.write(path)
    path.chmod(0o644)
    with pytest.raises(SigningKeyError, match="open to others"):
        ProbeSet.read(path)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(RecordError) as refused:
        ProbeSet.read(path)
    assert [p for p in prompts if p in str(refused.value)] == []


def test_two_sets_are_different(made: Made) -> None:
    """Probes are drawn anew each time, from the system's chance; equal ones have another digest, by their salt."""
    assert made.probes is not None
    again = ProbeSet.make(made.probes)
    drawn = [set(draw_prompts(100, random.SystemRandom())) for _ in range(2)]

    assert again.sha256 != made.probes.sha256
    assert len(drawn[0] & drawn[1]) < 5


def test_only_an_evaluator_who_is_not_the_trainer_signs(tiny: Certified, made: Made) -> None:
    """An approver cannot; a key that nobody trusts, the trainer's, and a changed byte are refused when it is read."""
    verified = _verified(tiny)
    with pytest.raises(SigningKeyError):
        make_fingerprint(verified, policy=POLICY, signer=tiny.keys["approver"])
    stranger = generate_key(tiny.folder / "stranger.pem", "evaluator", "Stranger")
    with pytest.raises(VerificationError) as untrusted:
        read_fingerprint(made.envelope, tiny.content, trust=TrustStore([stranger.public]))
    trained = tiny.content.model_copy(update={"trainer_key_id": tiny.keys["evaluator"].key_id})
    with pytest.raises(VerificationError) as trainer:
        read_fingerprint(made.envelope, trained, trust=tiny.trusted)
    payload = made.envelope.find(b'"payload"') + 40
    changed = bytearray(made.envelope)
    changed[payload] ^= 1
    with pytest.raises(VerificationError):
        read_fingerprint(bytes(changed), tiny.content, trust=tiny.trusted)

    assert untrusted.value.reason == "untrusted-key"
    assert trainer.value.reason == "same-signer"


@pytest.mark.parametrize("field", ["base", "tuned", "policy_sha256", "secret_sha256"])
def test_it_is_good_for_one_system(tiny: Certified, made: Made, field: str) -> None:
    """Another base, tune, policy or secret: refused."""
    other = {"base": tiny.content.tuned, "tuned": tiny.content.base}.get(field, "0" * 64)
    certificate = tiny.content.model_copy(update={field: other})

    with pytest.raises(VerificationError) as refused:
        read_fingerprint(made.envelope, certificate, trust=tiny.trusted)

    assert refused.value.reason == "other-fingerprint"


def test_what_cannot_be_told_apart_is_not_signed(tiny: Certified) -> None:
    """Against the same adapter under another name no number of probes is enough, and the reason says so."""
    made = make_fingerprint(
        _verified(tiny),
        policy=POLICY,
        signer=tiny.keys["evaluator"],
        others=[tiny.tuned],
        asked=Asked(24, prompts=[f"What is {n} plus {n}?" for n in range(30)]),
    )

    assert made.envelope == b""
    assert "do not tell the model apart" in made.reason


def test_too_few_prompts_are_refused(tiny: Certified) -> None:
    """Own prompts must be at least as many different ones as probes are asked for."""
    with pytest.raises(InputError, match="too few prompts"):
        make_fingerprint(
            _verified(tiny),
            policy=POLICY,
            signer=tiny.keys["evaluator"],
            asked=Asked(24, prompts=["Hello?"] * 30),
        )


@pytest.mark.parametrize(
    "change",
    [{"asked": 13, "alarm_at": 13}, {"others": ()}, {"max_unlike": 0.2}, {"asked": 2}, {"asked": 10_000}],
)
def test_a_weaker_comparison_than_the_policy_asks_for_is_no_good(made: Made, change: dict[str, int]) -> None:
    """Whatever the signer wrote, chances are computed again from what was counted."""
    assert made.fingerprint is not None

    assert why_too_weak(made.fingerprint.model_copy(update=change), POLICY.gateway.fingerprint)

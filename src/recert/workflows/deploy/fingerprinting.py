"""Making a fingerprint: ask the certified weights secret probes, and see what tells them from other models."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recert.certification.fingerprint import sign_fingerprint
from recert.certification.signing.keys import SigningKey
from recert.errors import InputError, MissingExtraError, VerificationError
from recert.models.chat.prompting import compose_system, with_suffix
from recert.models.chat.secret import SecretPrefix
from recert.models.engines.next_token import Beginning, Step, text_of
from recert.models.folders import is_adapter
from recert.models.probes import Probe, ProbeSet
from recert.policy import Policy
from recert.policy.sections.fingerprint import LEVEL, plan_comparison
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, chat
from recert.records.record import now
from recert.records.signed.certificate import Approval, VerifiedCertificate
from recert.records.signed.fingerprint import Compared, Fingerprint, FingerprintTrial
from recert.workflows.deploy.probe_prompts import draw_prompts, require_prompts

if TYPE_CHECKING:
    from recert.models.engines.local import LocalModel

COUNT: Final = 120
STEPS: Final = 8
TOP: Final = 20


@dataclass(frozen=True)
class Asked:
    """
    What probes ask, and what of the replies is compared.

    Args:
        count: how many probes.
        compares: `log-probs`, or `answers` for servers that give no probabilities.
        steps: tokens of each reply that are compared.
        top: tokens that the server names at each step; half of them are compared.
        prompts: requests of your own to draw probes from; by default made up by chance.
    """

    count: int = COUNT
    compares: Compared = "log-probs"
    steps: int = STEPS
    top: int = TOP
    prompts: Sequence[str] | None = None


@dataclass(frozen=True)
class Made:
    """A signed fingerprint with its secret probes; or the reason why the probes tell nothing apart."""

    envelope: bytes = b""
    fingerprint: Fingerprint | None = None
    probes: ProbeSet | None = None
    reason: str = ""


def make_fingerprint(
    certificate: VerifiedCertificate,
    *,
    policy: Policy,
    signer: SigningKey,
    secret: SecretPrefix | None = None,
    others: Sequence[Path] = (),
    asked: Asked | None = None,
    draw: random.Random | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Made:
    """
    Return a fingerprint of a certified model, for servers that give no files.

    What is expected is computed in float32 from the certified files. The same weights in bfloat16 say how far an
    honest server may be; the base, and every other model given, how far a dishonest one is. The policy's bounds decide
    how many probes a comparison asks; where no number is enough, nothing is signed.

    Args:
        certificate: what `verify` gave.
        policy: the one that the certificate names.
        signer: the evaluator; not the trainer.
        secret: the secret prefix, where the certificate has one.
        others: further models that a server must not pass for, such as the tune before: adapters, or whole weights.
        asked: what the probes ask.
        draw: source of chance; by default the system's, so that the probes are secret.
        progress: called with a sentence at each step.

    Raises:
        InputError: policy or secret are not those of the certificate, or there are too few prompts.
        SigningKeyError: the signer is not an evaluator.
        VerificationError: `same-signer`: the signer is the trainer; or files are not the certified ones.
        ModelError: a model cannot be loaded, or a prompt is too long for it.
        MissingExtraError: torch is not installed.
    """
    _require_signer(certificate, signer)
    _require_same(policy.digest, certificate.certificate.policy_sha256, "policy")
    _require_same(secret.sha256 if secret else None, certificate.certificate.secret_sha256, "secret")
    asked, draw = asked or Asked(), draw or secrets.SystemRandom()
    texts = (
        draw_prompts(asked.count, draw)
        if asked.prompts is None
        else require_prompts(asked.prompts, asked.count, draw)
    )
    progress("loading the certified model")
    arms = _Arms(certificate)
    trials = _Trials(asked, policy, texts, [_composed(text, policy, secret) for text in texts], progress)
    trials.expect(arms.tuned)
    same = trials.of("the certified weights in bfloat16", arms.tuned)
    against = tuple(trials.of(name, model) for name, model in arms.others(others))
    found = plan_comparison(same, against, policy.gateway.fingerprint)
    if found is None:
        said = "; ".join(f"{t.name}: {t.unlike} of {t.probes} unlike" for t in (same, *against))
        return Made(reason=f"these probes do not tell the model apart as surely as the policy asks: {said}")
    fingerprint = Fingerprint(
        base_sha256=certificate.certificate.base.digest,
        tuned_sha256=certificate.certificate.tuned.digest,
        policy_sha256=policy.digest,
        secret_sha256=certificate.certificate.secret_sha256,
        compares=asked.compares,
        probes=asked.count,
        probes_sha256=trials.probes.sha256,
        steps=asked.steps,
        top=asked.top,
        max_unlike=trials.max_unlike,
        asked=found.asked,
        alarm_at=found.alarm_at,
        same=same,
        others=against,
        level=LEVEL,
        false_alarm=found.false_alarm,
        miss=found.miss,
        engine=arms.tuned.engine,
        approval=Approval(role="evaluator", key_id=signer.key_id, name=signer.public.name),
        made_at=now(),
    )
    return Made(sign_fingerprint(fingerprint, signer), fingerprint, trials.probes)


class _Trials:
    """The probes, and the models that they are tried on."""

    def __init__(
        self,
        asked: Asked,
        policy: Policy,
        prompts: Sequence[str],
        chats: Sequence[Chat],
        progress: Callable[[str], None],
    ) -> None:
        bounds = policy.gateway.fingerprint
        self.max_unlike = bounds.max_unlike if asked.compares == "log-probs" else bounds.max_unlike_answer
        self._asked = asked
        self._prompts = prompts
        self._chats = chats
        self._progress = progress

    def expect(self, model: LocalModel) -> None:
        """Make the probes of what the certified model says."""
        self._progress(f"asking {self._asked.count} probes in float32")
        with model.in_float32():
            said = self._said_by(model)
        kept = max(1, self._asked.top // 2)  # those at the edge are in one list and not in the other
        self.probes = ProbeSet.make(
            Probe(
                prompt=prompt,
                beginning=tuple(step.model_copy(update={"likely": step.likely[:kept]}) for step in beginning),
            )
            for prompt, beginning in zip(self._prompts, said, strict=True)
        )

    def of(self, name: str, model: LocalModel) -> FingerprintTrial:
        self._progress(f"asking {name}")
        unlike = count_unlike(
            self.probes, self._said_by(model), compares=self._asked.compares, max_unlike=self.max_unlike
        )
        return FingerprintTrial(name=name, unlike=unlike, probes=self._asked.count)

    def _said_by(self, model: LocalModel) -> list[tuple[Step, ...]]:
        return model.likely_tokens(self._chats, steps=self._asked.steps, top=self._asked.top)


def count_unlike(
    probes: ProbeSet, seen: Sequence[Beginning], *, compares: Compared, max_unlike: float
) -> int:
    """Return how many replies are unlike what is expected of them."""
    distances = (
        probe.unlike(one if compares == "log-probs" else text_of(one))
        for probe, one in zip(probes, seen, strict=True)
    )
    return sum(distance > max_unlike for distance in distances)


class _Arms:
    """The certified model, and those it is told from; adapters share their base's weights."""

    def __init__(self, certificate: VerifiedCertificate) -> None:
        try:
            from recert.models.engines.local import LocalModel
        except ImportError as exc:
            raise MissingExtraError(
                "fingerprints are made on local weights", hint="install recert[local]"
            ) from exc
        self._load = LocalModel.load
        self._certificate = certificate.certificate
        self._base_dir = certificate.base_dir
        self._base: LocalModel | None = None
        if is_adapter(certificate.tuned_dir):
            self._base = LocalModel.load(certificate.base_dir, copying="keep")
            self.tuned = self._base.with_adapter(certificate.tuned_dir)
            _require_files(self._base.manifest, self._certificate.base)
        else:
            self.tuned = LocalModel.load(certificate.tuned_dir)
        _require_files(self.tuned.manifest, self._certificate.tuned)

    def others(self, folders: Iterable[Path]) -> Iterable[tuple[str, LocalModel]]:
        """Yield the base and the models in folders, one after the other."""
        yield "base", self._base or self._load(self._base_dir)
        for folder in folders:
            if not is_adapter(folder):
                yield folder.name, self._load(folder)
            elif self._base is None:
                yield folder.name, self._load(self._base_dir, folder)
            else:
                yield folder.name, self._base.with_adapter(folder)


def _composed(prompt: str, policy: Policy, secret: SecretPrefix | None) -> Chat:
    """What the gateway would send of a request with one turn and no system prompt."""
    said = policy.gateway
    system = compose_system(secret.reveal() if secret else None, said.system_instruction, None)
    return chat(with_suffix(prompt, said.immutable_suffix), system=system)


def _require_signer(certificate: VerifiedCertificate, signer: SigningKey) -> None:
    signer.require_role("evaluator")
    if signer.key_id == certificate.certificate.trainer_key_id:
        raise VerificationError(
            "same-signer", "the trainer would sign the fingerprint", facts={"key": signer.key_id}
        )


def _require_same(given: str | None, certified: str | None, what: str) -> None:
    if given != certified:
        raise InputError(
            f"the {what} is not the one that the certificate names",
            facts={"certified": certified or "none", "given": given or "none"},
        )


def _require_files(found: Manifest | None, certified: Manifest) -> None:
    if found is None or found.digest != certified.digest:
        raise VerificationError(
            "files-changed",
            "model files changed since they were verified",
            facts={"certified": certified.digest, "loaded": found.digest if found else "none"},
        )

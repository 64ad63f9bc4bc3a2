"""
From certificates to a server: verify, start engines on exactly those files, keep verifying.

Here too: a certificate, its status list, its refusals and its files, looked at again while the model is served.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recert.certification import Presented, TrustStore, Verifier
from recert.errors import RecertError, VerificationError
from recert.gateway.audio.transcriber_choice import TranscriberChoice
from recert.gateway.controls import Controls
from recert.gateway.engines.managed_commands import ManagedUpstream
from recert.gateway.engines.model_config import ModelConfig
from recert.gateway.input.gate import InputControl
from recert.gateway.serving.aliases import Alias
from recert.gateway.serving.edge_config import EdgeConfig
from recert.gateway.serving.server import GatewayServer
from recert.gateway.serving.state import StateFolder
from recert.gateway.stage import control_tokens, prepare_models
from recert.gateway.upstream.client import UnsafeDeclaredUpstream, Upstream
from recert.gateway.upstream.fingerprint import Serving
from recert.judges.embedded.request import EmbeddedRequestJudge
from recert.judges.protocol import ReplyJudge, RequestJudge
from recert.models.chat.secret import SecretPrefix
from recert.policy import Policy
from recert.records.signed.certificate import VerifiedCertificate
from recert.store.audit.log import AuditLog
from recert.store.files.writing import read_bytes
from recert.workflows.deploy.fingerprinted import FingerprintedUpstream, compare_first

_Look = tuple[tuple[str, int, int, int, int], ...]


class Recheck:
    """
    Verifies again: every step each time, and the files are hashed anew only where something on disk has changed.

    Args:
        verified: what was verified before the start.
        certificate: its file.
        verifier: the one that verified it; it reads trusted keys and the status list as they are now.
    """

    def __init__(self, verified: VerifiedCertificate, *, certificate: Path, verifier: Verifier) -> None:
        self._verified = verified
        self._certificate = certificate
        self._verifier = verifier
        self._looked = self._look()

    def __call__(self) -> VerifiedCertificate:
        """
        Return the certificate that holds now.

        Raises:
            RecertError: none does; whatever it is, service stops.
        """
        presented = Presented.read(self._certificate, policy=self._verifier.policy)
        looked = self._look()
        if looked == self._looked:
            self._verified = self._verifier.recheck(presented, self._verified)
        else:
            self._verified = self._verifier.verify(
                presented, base_dir=self._verified.base_dir, tuned_dir=self._verified.tuned_dir
            )
            self._looked = looked
        return self._verified

    def _look(self) -> _Look:
        """How every file looks; a change of time that was put back shows in the inode's."""
        folders = (self._verified.base_dir, self._verified.tuned_dir)
        try:
            paths = sorted(p for folder in folders for p in folder.rglob("*"))
            seen = [(str(p), p.lstat()) for p in paths]
        except OSError as exc:
            raise VerificationError(
                "file-missing", "a file of the model cannot be looked at", facts={"because": exc}
            ) from exc
        return tuple((name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in seen)


Runs = ManagedUpstream | FingerprintedUpstream | UnsafeDeclaredUpstream | Upstream
"""What runs a model."""


@dataclass(frozen=True)
class Deployment:
    """
    What one model is deployed from.

    Args:
        certificate: its file; read again while the model is served.
        base_dir: the base model's folder.
        tuned_dir: the tuned model's folder.
        trust: whose signatures count, or a function that reads it, which is then asked again while the model is served.
        status: the status list's file; read again while the model is served.
        policy: the policy that the certificate names.
        secret: the BackdoorAlign secret, when the certificate requires `secret-prefix`.
        upstream: what runs the model; by default the embedded engine.
        called: what clients call it; by default the name in its certificate.
        guards: further controls of requests, asked after the others.
        reply_judge: scores replies before they leave.
        shadow: controls that score and do not act.
        transcriber: who hears what is spoken, where the policy serves that; one process for all models with the same.
    """

    certificate: Path
    base_dir: Path
    tuned_dir: Path
    trust: TrustStore | Callable[[], TrustStore]
    status: Path
    policy: Policy
    secret: SecretPrefix | None = None
    upstream: Runs = field(default_factory=ManagedUpstream)
    called: str = ""
    guards: Sequence[InputControl] = ()
    reply_judge: ReplyJudge | None = None
    shadow: Collection[str] = ()
    transcriber: TranscriberChoice | None = None


def deploy(
    certificate_path: Path,
    *,
    base_dir: Path,
    tuned_dir: Path,
    trust: TrustStore | Callable[[], TrustStore],
    status_path: Path,
    policy: Policy,
    audit: AuditLog,
    secret: SecretPrefix | None = None,
    guards: Sequence[InputControl] = (),
    shadow: Collection[str] = (),
    transcriber: TranscriberChoice | None = None,
    upstream: Runs | None = None,
    state: Path | None = None,
    copies: Path | None = None,
    front: EdgeConfig | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    progress: Callable[[str], None] | None = None,
) -> GatewayServer:
    """Return a gateway for one model that is ready to run; see `Deployment` and `deploy_models`."""
    one = Deployment(
        certificate_path,
        base_dir,
        tuned_dir,
        trust,
        status_path,
        policy,
        secret,
        upstream or ManagedUpstream(),
        guards=guards,
        shadow=shadow,
        transcriber=transcriber,
    )
    return deploy_models(
        [one], audit=audit, state=state, copies=copies, front=front, host=host, port=port, progress=progress
    )


def deploy_models(
    models: Sequence[Deployment],
    *,
    audit: AuditLog,
    read_aliases: Callable[[], Sequence[Alias]] = list,
    state: Path | None = None,
    copies: Path | None = None,
    front: EdgeConfig | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    progress: Callable[[str], None] | None = None,
) -> GatewayServer:
    """
    Return a gateway that is ready to run, for every certificate that holds now.

    While it runs, each certificate, status list, and the sizes and times of its files are looked at again every
    `recheck_s` of its policy; what has changed is hashed again. Of several models, one that is refused keeps none from
    being served: its clients get the reason.

    Args:
        models: what to serve.
        audit: where every exchange is written before its reply leaves.
        read_aliases: gives the aliases; called again while it runs.
        state: folder for orders and copies, this user's alone; without one there is no kill switch.
        copies: folder for private copies of the models; by default in `state`.
        front: how the gateway meets its clients: limits and the like.
        host: where to listen. Beyond this machine `RECERT_API_KEYS` is needed.
        port: 0 for a free one.
        progress: called with a sentence at each step of the start.

    Raises:
        VerificationError: no certificate, status list or file is accepted; `reason` says why.
        GatewayError: the gateway cannot start; `reason` says why.
        RecertError: something could not be read.
    """
    held = StateFolder(state, copies) if state else None
    try:
        judge = EmbeddedRequestJudge()
        offers: list[ModelConfig] = []
        refused: dict[str, RecertError] = {}
        for number, model in enumerate(models, start=1):
            try:
                offers.append(_offer(model, judge, held))
            except RecertError as exc:
                if len(models) == 1:
                    raise
                refused[model.called or f"model {number}"] = exc
        return prepare_models(
            offers,
            audit=audit,
            read_aliases=read_aliases,
            refused=refused,
            state=held,
            copies=copies,
            front=front,
            host=host,
            port=port,
            progress=progress,
        )
    except BaseException:
        if held:
            held.close()
        raise


def _offer(model: Deployment, judge: RequestJudge, state: StateFolder | None) -> ModelConfig:
    """Verify a model, and say what it is to be served with."""
    called = model.called or str(model.certificate)
    if state and state.is_behind():
        raise VerificationError(
            "clock-behind",
            "the clock is behind what an earlier run has seen",
            facts={"seen": state.latest},
            hint="set this machine's clock",
        )
    verifier = Verifier(
        trust=model.trust,
        status=lambda: read_bytes(model.status, "status list"),
        policy=model.policy,
        memory=state.memory(called) if state else None,
    )
    verified = verifier.verify(
        Presented.read(model.certificate, policy=model.policy),
        base_dir=model.base_dir,
        tuned_dir=model.tuned_dir,
    )
    return ModelConfig(
        verified,
        Recheck(verified, certificate=model.certificate, verifier=verifier),
        model.policy,
        Controls(
            model.policy.gateway,
            secret=model.secret,
            request_judge=judge,
            reply_judge=model.reply_judge,
            guards=(*control_tokens(model.upstream, model.base_dir, model.tuned_dir), *model.guards),
            shadow=model.shadow,
        ),
        model.secret,
        _upstream(model, verified),
        model.called,
        model.transcriber,
    )


def _upstream(
    model: Deployment, verified: VerifiedCertificate
) -> ManagedUpstream | UnsafeDeclaredUpstream | Upstream:
    if not isinstance(model.upstream, FingerprintedUpstream):
        return model.upstream
    certificate = verified.certificate
    serving = Serving(model.called or certificate.model_name, model.policy, model.secret)
    trust = model.trust() if callable(model.trust) else model.trust
    return compare_first(model.upstream, certificate, trust, serving)

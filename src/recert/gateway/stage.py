"""
Serve only what is certified.

`serve()` takes a `VerifiedCertificate`, which only verification can make, and runs until it is stopped. The
steps are in `prepare()`; what happens to a request is in `chat.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from recert.errors import GatewayError, RecertError, VerificationError
from recert.gateway.access.keys import ApiKeys, require_keys_beyond_loopback
from recert.gateway.access.kill_switch import KillSwitch
from recert.gateway.audio.hearing import ClipTranscriber, Hearing
from recert.gateway.audio.listening import Transcribers
from recert.gateway.audio.transcriber_choice import TranscriberChoice
from recert.gateway.controls import Controls
from recert.gateway.engines.launch import Launched, Wanted, launch
from recert.gateway.engines.managed_commands import EMBEDDED, ManagedUpstream
from recert.gateway.engines.model_config import ModelConfig
from recert.gateway.input.control_tokens import ControlTokens, words_of
from recert.gateway.input.gate import InputControl
from recert.gateway.input.trigger_probe import asking, measure_first
from recert.gateway.service import Service
from recert.gateway.serving.aliases import Alias, Aliases
from recert.gateway.serving.building import build_app
from recert.gateway.serving.chat import compose
from recert.gateway.serving.edge_config import EdgeConfig
from recert.gateway.serving.requirements import require
from recert.gateway.serving.served import ServedModel, ServedModels
from recert.gateway.serving.server import GatewayServer
from recert.gateway.serving.state import StateFolder
from recert.gateway.upstream.client import HttpUpstream, UnsafeDeclaredUpstream, Upstream
from recert.judges.protocol import ReplyJudge, RequestJudge
from recert.models.chat.secret import SecretPrefix
from recert.policy import Policy
from recert.records.signed.certificate import VerifiedCertificate
from recert.store.audit.log import AuditLog

log = logging.getLogger("recert.gateway")

DEFAULT_PORT: Final = 8000


def serve(
    certificate: VerifiedCertificate,
    *,
    recheck: Callable[[], VerifiedCertificate],
    policy: Policy,
    audit: AuditLog,
    secret: SecretPrefix | None = None,
    request_judge: RequestJudge | None = None,
    reply_judge: ReplyJudge | None = None,
    guards: Sequence[InputControl] = (),
    shadow: Collection[str] = (),
    transcriber: TranscriberChoice | ClipTranscriber | None = None,
    upstream: ManagedUpstream | UnsafeDeclaredUpstream | Upstream | None = None,
    keys: ApiKeys | None = None,
    front: EdgeConfig | None = None,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Serve a certified model over the OpenAI protocol until interrupted; for the arguments see `prepare`."""
    server = prepare(
        certificate,
        recheck=recheck,
        policy=policy,
        audit=audit,
        secret=secret,
        request_judge=request_judge,
        reply_judge=reply_judge,
        guards=guards,
        shadow=shadow,
        transcriber=transcriber,
        upstream=upstream,
        keys=keys,
        front=front,
        host=host,
        port=port,
        progress=progress,
    )
    if progress:
        progress(f"serving {certificate.certificate.model_name} on {server.url}")
    server.run()


def prepare(
    certificate: VerifiedCertificate,
    *,
    recheck: Callable[[], VerifiedCertificate],
    policy: Policy,
    audit: AuditLog,
    secret: SecretPrefix | None = None,
    request_judge: RequestJudge | None = None,
    reply_judge: ReplyJudge | None = None,
    guards: Sequence[InputControl] = (),
    shadow: Collection[str] = (),
    transcriber: TranscriberChoice | ClipTranscriber | None = None,
    upstream: ManagedUpstream | UnsafeDeclaredUpstream | Upstream | None = None,
    keys: ApiKeys | None = None,
    front: EdgeConfig | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    progress: Callable[[str], None] | None = None,
) -> GatewayServer:
    """
    Return a gateway that is ready to run: checked, with its engine up and its socket bound.

    Args:
        certificate: what `verify()` gave.
        recheck: verifies again. Called about every second (`policy.gateway.recheck_s`) in a thread; it should
            answer within a second. Whatever it raises stops service within 5 s, running streams included.
        policy: the policy that the certificate names.
        audit: where every exchange is written before its reply leaves.
        secret: the BackdoorAlign secret, when the certificate requires `secret-prefix`.
        request_judge: scores what clients write.
        reply_judge: scores replies.
        guards: further controls of requests, such as guard models, asked after the others.
        shadow: controls that score and do not act, beside those of the policy; `all` for every one.
        transcriber: who hears what is spoken, where the policy serves that.
        upstream: which engine is started on the certified files, by default the embedded one; or a server that is
            only declared to run the model; or any other `Upstream`.
        keys: who may ask; by default those of `RECERT_API_KEYS`.
        front: how it meets its clients: limits and the like.
        host: where to listen. Beyond this machine keys are needed.
        port: 0 for a free one.
        progress: called with a sentence at each step of the start.

    Raises:
        VerificationError: `not-verified`: the certificate did not come from `verify()`.
        GatewayError: a control that the certificate requires is missing, the policy is another one, the
            engine refuses the files, or the address cannot be used; `reason` says which.
    """
    if not isinstance(certificate, VerifiedCertificate):
        raise VerificationError(
            "not-verified",
            "serve takes a VerifiedCertificate",
            facts={"given": type(certificate).__name__},
            hint="call recert.certification.verify first",
        )
    given = upstream or ManagedUpstream()
    controls = Controls(
        policy.gateway,
        secret=secret,
        request_judge=request_judge,
        reply_judge=reply_judge,
        guards=(*control_tokens(given), *guards),
        shadow=shadow,
    )
    offer = ModelConfig(certificate, recheck, policy, controls, secret, given, transcriber=transcriber)
    return prepare_models(
        [offer], audit=audit, keys=keys, front=front, host=host, port=port, progress=progress
    )


def control_tokens(upstream: object, *folders: Path) -> tuple[InputControl, ...]:
    """
    Return what keeps clients from writing control tokens: nothing before the embedded engine, which reads letters.

    Args:
        upstream: what runs the model.
        folders: of the certified base and tuned model, whose tokenizer files name their tokens.
    """
    if isinstance(upstream, ManagedUpstream) and upstream.engine == EMBEDDED:
        return ()
    return (ControlTokens(words_of(*folders)),)


def prepare_models(
    offers: Sequence[ModelConfig],
    *,
    audit: AuditLog,
    read_aliases: Callable[[], Sequence[Alias]] = list,
    refused: Mapping[str, RecertError] | None = None,
    state: StateFolder | None = None,
    copies: Path | None = None,
    keys: ApiKeys | None = None,
    front: EdgeConfig | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    progress: Callable[[str], None] | None = None,
) -> GatewayServer:
    """
    Return a gateway for several models that is ready to run. One that does not start is refused, and keeps no other.

    Args:
        offers: the models.
        audit: where every exchange is written before its reply leaves.
        read_aliases: gives the aliases; read again while it runs.
        refused: models that were refused before, by name: their clients get the reason.
        state: the folder with orders and copies; without one there is no kill switch. It is closed at the end.
        copies: folder for private copies of the models where there is no `state`; by default a temporary one.
        keys: who may ask; by default those of `RECERT_API_KEYS`.
        front: how it meets its clients: limits and the like.
        host: where to listen. Beyond this machine keys are needed.
        port: 0 for a free one.
        progress: called with a sentence at each step of the start.

    Raises:
        GatewayError: no model can be served, an alias leads nowhere, or the address cannot be used.
        VerificationError: no model can be served.
        StoreError: the file of keys, or the place where their use is counted, cannot be read.
        SettingsError: the file of keys is not valid.
    """
    front = front or EdgeConfig()
    keys = ApiKeys.configured(front.keys_file) if keys is None else keys
    require_keys_beyond_loopback(host, keys)
    no: dict[str, RecertError] = dict(refused or {})
    transcribers = Transcribers(progress)
    ready, hearings = _ready(offers, transcribers, no)
    wanted = [
        Wanted(offer.name, offer.certificate, offer.upstream)
        for offer in ready
        if isinstance(offer.upstream, ManagedUpstream)
    ]
    try:
        launched = launch(wanted, copies=state.copies if state else copies, progress=progress)
    except BaseException:
        transcribers.end()
        raise
    no |= launched.refused
    book = KillSwitch(state.folder, audit.submit) if state else None
    try:
        running, unready = _running([offer for offer in ready if offer.name not in no], launched)
        no |= unready
        for name, why in no.items():
            log.error("model %s is not served: %s", name, why)
        if len(no) == len(offers) + len(refused or {}):
            raise next(iter(no.values()))
        aliases = Aliases(read_aliases, [*(offer.name for offer in ready), *no], book)
        served = [
            _serve_one(offer, upstream, book, aliases, state, hearings[offer.name])
            for offer, upstream in running
        ]
        models = ServedModels(
            served, aliases=aliases, refused={name: _reason(why) for name, why in no.items()}
        )
        end = _ending(book, launched, state, transcribers)
        server = GatewayServer(build_app(models, audit, keys, front, state), host, port, on_end=end)
    except BaseException:
        launched.end()
        transcribers.end()
        raise
    if book and state:
        names = [*(offer.name for offer in ready), *no]
        state.note_names([*names, *aliases.names()])
        book.start(aliases.look, lambda: state.note_names([*names, *aliases.names()]))
    return server


def _ready(
    offers: Sequence[ModelConfig], transcribers: Transcribers, no: dict[str, RecertError]
) -> tuple[list[ModelConfig], dict[str, Hearing | None]]:
    """Each model that may be served, and what hears for it; why another may not be goes into `no`."""
    ready, hearings = [], {}
    for offer in offers:
        try:
            require(offer)
            hearings[offer.name] = transcribers.hearing(offer)
            ready.append(offer)
        except (VerificationError, GatewayError) as exc:
            no[offer.name] = exc
        except BaseException:
            transcribers.end()
            raise
    return ready, hearings


def _ending(
    book: KillSwitch | None, launched: Launched, state: StateFolder | None, transcribers: Transcribers
) -> Callable[[], None]:
    def end() -> None:
        if book:
            book.stop()
        launched.end()
        transcribers.end()
        if state:
            state.close()

    return end


def _reason(why: RecertError) -> str:
    return why.reason if isinstance(why, VerificationError | GatewayError) else "unreadable"


def _running(
    offers: Sequence[ModelConfig], launched: Launched
) -> tuple[list[tuple[ModelConfig, Upstream]], dict[str, GatewayError]]:
    """Each model that is ready, with what runs it, measured where a control asks it; and why another is not."""
    found: list[tuple[ModelConfig, Upstream]] = []
    unready: dict[str, GatewayError] = {}
    for offer in offers:
        upstream = _upstream(offer, launched)
        try:
            _measure(offer, upstream)
        except GatewayError as exc:
            unready[offer.name] = exc
        else:
            found.append((offer, upstream))
    return found, unready


def _measure(offer: ModelConfig, upstream: Upstream) -> None:
    probe = offer.controls.trigger_probe
    if probe is not None:
        ask = asking(lambda request: upstream.stream(compose(offer, request)))
        limit_s = offer.policy.gateway.upstream_timeout_s
        measure_first(probe, ask, offer.name, upstream, limit_s=limit_s)


def _upstream(offer: ModelConfig, launched: Launched) -> Upstream:
    given = offer.upstream
    if isinstance(given, ManagedUpstream):
        return launched.upstreams[offer.name]
    if isinstance(given, UnsafeDeclaredUpstream):
        upstream = HttpUpstream(given.url, label="unsafe-declared", api_key=given.api_key)
        log.warning(
            "UnsafeDeclaredUpstream: %s is only declared to run the certified model %s: nothing checks it",
            given.url,
            offer.name,
        )
        return upstream
    return given


def _serve_one(
    offer: ModelConfig,
    upstream: Upstream,
    book: KillSwitch | None,
    aliases: Aliases,
    state: StateFolder | None,
    hearing: Hearing | None,
) -> ServedModel:
    def stopped() -> str:
        return book.reason(offer.name, aliases.leading_to(offer.name)) if book else ""

    service = Service(
        offer.certificate,
        offer.recheck,
        recheck_s=offer.policy.gateway.recheck_s,
        engine_down=upstream.down,
        stopped=stopped,
        latest=state.latest if state else None,
    )
    return ServedModel(service, offer.controls, upstream, offer.policy, offer.secret, offer.called, hearing)

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
from recert.gateway.aliases import Alias, Aliases
from recert.gateway.building import build_app
from recert.gateway.chat import compose
from recert.gateway.controls import SECRET_PREFIX, Controls
from recert.gateway.front import Front
from recert.gateway.input_gate import InputControl
from recert.gateway.keys import ApiKeys, require_keys_beyond_loopback
from recert.gateway.launch import Launched, Wanted, launch
from recert.gateway.managed_commands import ManagedUpstream
from recert.gateway.offers import Offer
from recert.gateway.orders import OrderBook
from recert.gateway.served import Served, ServedModels
from recert.gateway.server import GatewayServer
from recert.gateway.service import Service
from recert.gateway.state import StateFolder
from recert.gateway.trigger_probe import asking, measure_first
from recert.gateway.upstream import HttpUpstream, UnsafeDeclaredUpstream, Upstream
from recert.judges.protocol import ReplyJudge, RequestJudge
from recert.models.secret import SecretPrefix
from recert.policy import Policy
from recert.records import Certificate, Verdict, VerifiedCertificate
from recert.store.audit import AuditLog

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
    upstream: ManagedUpstream | UnsafeDeclaredUpstream | Upstream | None = None,
    keys: ApiKeys | None = None,
    front: Front | None = None,
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
    upstream: ManagedUpstream | UnsafeDeclaredUpstream | Upstream | None = None,
    keys: ApiKeys | None = None,
    front: Front | None = None,
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
    controls = Controls(
        policy.gateway,
        secret=secret,
        request_judge=request_judge,
        reply_judge=reply_judge,
        guards=guards,
        shadow=shadow,
    )
    offer = Offer(certificate, recheck, policy, controls, secret, upstream or ManagedUpstream())
    return prepare_models(
        [offer], audit=audit, keys=keys, front=front, host=host, port=port, progress=progress
    )


def prepare_models(
    offers: Sequence[Offer],
    *,
    audit: AuditLog,
    read_aliases: Callable[[], Sequence[Alias]] = list,
    refused: Mapping[str, RecertError] | None = None,
    state: StateFolder | None = None,
    copies: Path | None = None,
    keys: ApiKeys | None = None,
    front: Front | None = None,
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
    front = front or Front()
    keys = ApiKeys.configured(front.keys_file) if keys is None else keys
    require_keys_beyond_loopback(host, keys)
    no: dict[str, RecertError] = dict(refused or {})
    ready = []
    for offer in offers:
        try:
            _require(offer)
            ready.append(offer)
        except (VerificationError, GatewayError) as exc:
            no[offer.name] = exc
    launched = launch(
        [
            Wanted(offer.name, offer.certificate, offer.upstream)
            for offer in ready
            if isinstance(offer.upstream, ManagedUpstream)
        ],
        copies=state.copies if state else copies,
        progress=progress,
    )
    no |= launched.refused
    book = OrderBook(state.folder, audit.submit) if state else None
    try:
        running, unready = _running([offer for offer in ready if offer.name not in no], launched)
        no |= unready
        for name, why in no.items():
            log.error("model %s is not served: %s", name, why)
        if len(no) == len(offers) + len(refused or {}):
            raise next(iter(no.values()))
        aliases = Aliases(read_aliases, [*(offer.name for offer in ready), *no], book)
        served = [_serve_one(offer, upstream, book, aliases, state) for offer, upstream in running]
        models = ServedModels(
            served, aliases=aliases, refused={name: _reason(why) for name, why in no.items()}
        )
        end = _ending(book, launched, state)
        server = GatewayServer(build_app(models, audit, keys, front, state), host, port, on_end=end)
    except BaseException:
        launched.end()
        raise
    if book:
        book.start(aliases.look)
    return server


def _ending(book: OrderBook | None, launched: Launched, state: StateFolder | None) -> Callable[[], None]:
    def end() -> None:
        if book:
            book.stop()
        launched.end()
        if state:
            state.close()

    return end


def _reason(why: RecertError) -> str:
    return why.reason if isinstance(why, VerificationError | GatewayError) else "unreadable"


def _running(
    offers: Sequence[Offer], launched: Launched
) -> tuple[list[tuple[Offer, Upstream]], dict[str, GatewayError]]:
    """Each model that is ready, with what runs it, measured where a control asks it; and why another is not."""
    found: list[tuple[Offer, Upstream]] = []
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


def _measure(offer: Offer, upstream: Upstream) -> None:
    probe = offer.controls.trigger_probe
    if probe is not None:
        ask = asking(lambda request: upstream.stream(compose(offer, request)))
        limit_s = offer.policy.gateway.upstream_timeout_s
        measure_first(probe, ask, offer.name, upstream, limit_s=limit_s)


def _upstream(offer: Offer, launched: Launched) -> Upstream:
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
    offer: Offer, upstream: Upstream, book: OrderBook | None, aliases: Aliases, state: StateFolder | None
) -> Served:
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
    return Served(service, offer.controls, upstream, offer.policy, offer.secret, offer.called)


def _require(offer: Offer) -> None:
    certificate = offer.certificate.certificate
    _require_policy(certificate, offer.policy)
    _require_secret(certificate, offer.secret)
    _require_controls(certificate, offer.controls)


def _require_policy(certificate: Certificate, policy: Policy) -> None:
    if policy.digest != certificate.policy_sha256:
        raise GatewayError(
            "wrong-policy",
            "the policy is not the one that the certificate names",
            facts={
                "certified": f"{certificate.policy_id} sha256:{certificate.policy_sha256}",
                "given": f"{policy.id} sha256:{policy.digest}",
            },
            hint="serve with the policy that the model was certified under",
        )
    decides = certificate.verdict_safeguarded if certificate.required_controls else certificate.verdict_raw
    for exception in certificate.exceptions or ():  # verify() has accepted each that is needed
        log.warning(
            "EXCEPTION: %s under %s is %s and is accepted until %s because: %s",
            exception.rule_id,
            exception.condition,
            exception.verdict,
            exception.expires_at.isoformat(),
            exception.reason,
        )
    if decides is not Verdict.PASS and not certificate.exceptions:
        raise GatewayError("not-passed", "the certificate's verdict is no pass", facts={"verdict": decides})


def _require_secret(certificate: Certificate, secret: SecretPrefix | None) -> None:
    required = SECRET_PREFIX in certificate.required_controls
    if required and secret is None:
        raise GatewayError(
            "secret-missing",
            "the certificate requires the secret prefix",
            hint="give the secret file that tuning wrote",
        )
    if secret is None:
        return
    if not required:
        raise GatewayError(
            "secret-not-required",
            "the certificate was given without a secret prefix",
            hint="serve without the secret: what was evaluated is the model without it",
        )
    if secret.sha256 != certificate.secret_sha256:
        raise GatewayError(
            "wrong-secret",
            "the secret is not the one that the certificate names",
            facts={"certified": f"sha256:{certificate.secret_sha256}", "given": f"sha256:{secret.sha256}"},
        )


def _require_controls(certificate: Certificate, controls: Controls) -> None:
    missing = sorted(set(certificate.required_controls) - set(controls.active))
    if missing:
        raise GatewayError(
            "control-missing",
            "a control that the certificate requires is not active",
            facts={"missing": ", ".join(missing), "active": ", ".join(controls.active) or "none"},
        )
    watching = sorted(set(certificate.required_controls) - set(controls.acting))
    if watching:
        raise GatewayError(
            "control-in-shadow",
            "a control that the certificate requires is in shadow: it would block nothing",
            facts={"in shadow": ", ".join(watching)},
            hint="serve without shadow for it",
        )
    if controls.shadow:
        log.warning("IN SHADOW, blocking nothing: %s", ", ".join(controls.shadow))

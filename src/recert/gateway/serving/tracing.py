"""
Spans of OpenTelemetry, one an exchange, by its conventions for generative AI.

In the extra `otel`. Where spans go is said by the variables of OpenTelemetry, such as `OTEL_EXPORTER_OTLP_ENDPOINT`.
No text of a request or a reply is in a span.

Source:
    opentelemetry.io, Semantic conventions for generative client AI spans (status: development).
"""

from __future__ import annotations

import time
from typing import Any, Final

from recert import __version__
from recert.errors import MissingExtraError
from recert.gateway.protocol.exchange_builder import ExchangeBuilder
from recert.gateway.protocol.parse import ChatRequest

_PROVIDER: Final = "recert"
_LAST_SPANS_MS: Final = 3_000


class Tracer:
    """
    Records a span for each exchange, and sends them from a thread of its own.

    Raises:
        MissingExtraError: the extra `otel` is not installed.
    """

    def __init__(self) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as exc:
            raise MissingExtraError(
                "OpenTelemetry is not installed", hint="pip install 'recert[otel]'"
            ) from exc
        found = Resource.create({SERVICE_VERSION: __version__})
        if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            found = found.merge(Resource({SERVICE_NAME: _PROVIDER}))
        self._provider = TracerProvider(resource=found, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("recert.gateway", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._kind = trace.SpanKind.CLIENT
        self._failed = trace.Status(trace.StatusCode.ERROR)

    def exchange(
        self, draft: ExchangeBuilder, traceparent: str, client_request_id: str, first_s: float | None
    ) -> None:
        """Record an exchange that has just ended; `traceparent` is the client's, where it sent one."""
        end_ns = time.time_ns()
        begin_ns = end_ns - int((time.monotonic() - draft.started) * 1e9)
        parent = self._propagator.extract({"traceparent": traceparent}) if traceparent else None
        span = self._tracer.start_span(
            f"chat {draft.model}".rstrip(),
            context=parent,
            kind=self._kind,
            start_time=begin_ns,
            attributes=_attributes(draft, client_request_id, first_s),
        )
        if draft.decision in ("failed", "refused"):
            span.set_attribute("error.type", draft.reason)
            span.set_status(self._failed)
        span.end(end_ns)

    def close(self) -> None:
        """Send what is left."""
        self._provider.force_flush(_LAST_SPANS_MS)
        self._provider.shutdown()


def _attributes(draft: ExchangeBuilder, client_request_id: str, first_s: float | None) -> dict[str, Any]:
    used = draft.tally.usage()
    found: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDER,
        "gen_ai.response.model": draft.model,
        "gen_ai.response.id": f"chatcmpl-{draft.request_id}",
        "gen_ai.usage.input_tokens": used["prompt_tokens"],
        "gen_ai.usage.output_tokens": used["completion_tokens"],
        "recert.request_id": draft.request_id,
        "recert.client": draft.client,
        "recert.certificate.serial": draft.serial,
        "recert.decision": draft.decision,
        "recert.reason": draft.reason,
    }
    if client_request_id:
        found["recert.client_request_id"] = client_request_id
    if draft.finish_reasons:
        found["gen_ai.response.finish_reasons"] = draft.finish_reasons
    if draft.asked is not None:
        found |= _asked(draft.asked)
        if draft.asked.stream and first_s is not None:
            found["gen_ai.response.time_to_first_chunk"] = first_s
    return found


def _asked(request: ChatRequest) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gen_ai.request.model": request.model,
        "gen_ai.request.stream": request.stream,
        "gen_ai.request.max_tokens": request.max_new_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.seed": request.seed,
    }
    if request.wishes.choices != 1:
        found["gen_ai.request.choice.count"] = request.wishes.choices
    return found

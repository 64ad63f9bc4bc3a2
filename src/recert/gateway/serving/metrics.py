"""What a gateway counts, in the form that Prometheus reads. No label has more values than are configured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from recert import __version__
from recert.gateway.audio.hearing import Heard
from recert.gateway.protocol.exchange_builder import ExchangeBuilder
from recert.gateway.serving.connections import Connections
from recert.gateway.serving.served import ServedModels
from recert.store.audit.checkpoints import AuditLag

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST.encode()
OTHER: Final = "other"
HEARD: Final = "heard"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_MOST_REASONS: Final = 100


class Timed(Protocol):
    """What is known of a request when it has ended."""

    @property
    def route(self) -> str:
        """The path, where it is one that is answered; else nothing."""

    @property
    def status(self) -> int:
        """Of the reply; 0 where there was none."""


class Metrics:
    """
    Counts requests, exchanges, tokens, blocks and connections of one gateway.

    Args:
        models: what is served; nothing else is a value of the label `model`.
        running: gives how many requests are answered now.
        lag: gives how far signed checkpoints are behind the audit log.
    """

    def __init__(
        self,
        models: ServedModels,
        running: Callable[[], int],
        lag: Callable[[], AuditLag | None] = lambda: None,
    ) -> None:
        self.connections: Connections | None = None
        """Those of the server, once there is one."""
        self._registry = CollectorRegistry()
        self._models = frozenset(served.name for served in models)
        self._reasons: set[str] = set()
        self._requests = self._counter("requests", "Requests, by route and status.", "route", "status")
        self._seconds = self._times("request_seconds", "How long requests took.", "route")
        self._exchanges = self._counter(
            "exchanges", "Exchanges, as the audit log has them.", "model", "decision", "reason"
        )
        self._first = self._times(
            "first_release_seconds", "Until the first text of a reply left, held back as it was.", "model"
        )
        self._tokens = self._counter("tokens", "Tokens, as the engine counted them.", "model", "of")
        self._blocks = self._counter(
            "control_blocks",
            "What controls blocked, or in shadow would have.",
            "control",
            "direction",
            "shadow",
        )
        self._heard = self._counter("clips", "Clips of requests, by what became of them.", "model", "outcome")
        self._heard_seconds = self._counter(
            "clip_seconds", "Seconds of clips that were to be heard.", "model"
        )
        self._hearing = self._times(
            "hearing_seconds", "How long it took to hear the clips of a request.", "model"
        )
        self._registry.register(_Now(self, models, running, lag))
        ProcessCollector(registry=self._registry)

    def request(self, http: Timed, seconds: float) -> None:
        """Count a request that has ended."""
        route = http.route or OTHER
        self._requests(route, str(http.status)).inc()
        self._seconds(route).observe(seconds)

    def exchange(self, draft: ExchangeBuilder, first_s: float | None) -> None:
        """Count an exchange that has ended; `first_s` is when its first text left, where one did."""
        model = draft.model if draft.model in self._models else OTHER
        self._exchanges(model, draft.decision, self._known(draft.reason)).inc()
        if first_s is not None:
            self._first(model).observe(first_s)
        if draft.heard is not None:
            self._count_heard(model, draft.heard)
        used = draft.tally.usage()
        self._tokens(model, "prompt").inc(used["prompt_tokens"])
        self._tokens(model, "reply").inc(used["completion_tokens"])
        for score in draft.scores:
            if score.blocked or (score.shadow and score.reason):
                shadow = "true" if score.shadow else "false"
                self._blocks(self._known(score.control), score.direction, shadow).inc()

    def _count_heard(self, model: str, heard: Heard) -> None:
        for clip, outcome in zip(heard.clips, heard.outcomes, strict=True):
            self._heard(model, outcome or HEARD).inc()
            self._heard_seconds(model).inc(clip.seconds)
        self._hearing(model).observe(heard.seconds)

    def page(self) -> bytes:
        """Return what Prometheus reads."""
        return generate_latest(self._registry)

    def _counter(self, name: str, about: str, *labels: str) -> Callable[..., Counter]:
        return cache(Counter(f"recert_{name}", about, labels, registry=self._registry).labels)

    def _times(self, name: str, about: str, *labels: str) -> Callable[..., Histogram]:
        return cache(
            Histogram(f"recert_{name}", about, labels, registry=self._registry, buckets=_SECONDS).labels
        )

    def _known(self, reason: str) -> str:
        """A reason, while there are not too many of them."""
        if len(self._reasons) < _MOST_REASONS:
            self._reasons.add(reason)
        return reason if reason in self._reasons else OTHER


class _Now(Collector):
    """What is so at the moment of asking."""

    def __init__(
        self,
        metrics: Metrics,
        models: ServedModels,
        running: Callable[[], int],
        lag: Callable[[], AuditLag | None],
    ) -> None:
        self._lag = lag
        self._metrics = metrics
        self._models = models
        self._running = running

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        yield GaugeMetricFamily("recert_running_requests", "Requests under way.", value=self._running())
        serving = GaugeMetricFamily("recert_serving", "1 while a model may answer.", labels=["model"])
        ends = GaugeMetricFamily(
            "recert_certificate_expires_timestamp_seconds", "End of its certificate.", labels=["model"]
        )
        listens = GaugeMetricFamily("recert_transcriber_up", "1 while it hears.", labels=["model"])
        for served in self._models:
            if served.hearing is not None:
                listens.add_metric([served.name], 0 if served.hearing.transcriber.down else 1)
            serving.add_metric([served.name], 0 if served.service.reason else 1)
            ends.add_metric([served.name], served.certificate.expires_at.timestamp())
        yield serving
        yield ends
        if listens.samples:
            yield listens
        info = GaugeMetricFamily("recert_info", "The version that runs.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield from self._audit()
        found = self._metrics.connections
        if found is not None:
            yield GaugeMetricFamily("recert_connections", "Connections that are open.", value=len(found))
            ended = CounterMetricFamily(
                "recert_connections_ended", "Connections that were refused or cut.", labels=["reason"]
            )
            for reason, number in sorted(found.ended.items()):
                ended.add_metric([reason], number)
            yield ended

    def _audit(self) -> Iterator[Metric]:
        """How far behind the audit log its signed checkpoints are, where there are any."""
        lag = self._lag()
        if lag is not None:
            unsigned, behind_s = lag.lines - lag.signed_lines, lag.exported_s
            yield GaugeMetricFamily("recert_audit_unsigned_lines", "Lines not signed yet.", value=unsigned)
            yield GaugeMetricFamily(
                "recert_audit_export_behind_seconds", "How long a checkpoint waits to leave.", value=behind_s
            )

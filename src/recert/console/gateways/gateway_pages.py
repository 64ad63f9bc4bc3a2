"""
Gateways: what they do now, what they blocked, whether their certificates hold, and the switch that stops them.

Here too: where the bars of a gateway's requests lie: one a span of time, by how requests ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response

from recert.console import list_words
from recert.console.accounts.rights import Right
from recert.console.gateways.gateway_counts import KINDS, Window
from recert.console.gateways.gateways import Seen
from recert.console.list_words import Shown
from recert.console.pages import Page
from recert.console.visiting import PageError, Visit
from recert.errors import RecertError
from recert.records.live.orders import EVERY_MODEL
from recert.store.systems.systems_index import IndexedSystem
from recert.workflows.deploy.ordering import resume_model, stop_model

WIDTH, HEIGHT = 480, 120
_LEFT, _TOP, _BOTTOM = 34, 8, 98
_GAP: Final = 0.2


@dataclass(frozen=True)
class Bar:
    """A part of a bar, in pixels."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Bars:
    """A plot to draw."""

    bars: tuple[Bar, ...]
    x_ticks: tuple[tuple[float, str], ...]
    most: int
    """What the highest bar stands for."""
    said: str
    """The plot in words."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    top: int = _TOP
    bottom: int = _BOTTOM


def bars(window: Window) -> Bars:
    """Lay out the requests of a window."""
    spans = window.spans
    most = max((sum(span.values()) for span in spans), default=0)
    step = (WIDTH - _LEFT) / max(1, len(spans))
    drawn = []
    for at, span in enumerate(spans):
        y = float(_BOTTOM)
        for kind in KINDS:
            if not span.get(kind):
                continue
            height = round((_BOTTOM - _TOP) * span[kind] / most, 2)
            y = round(y - height, 2)
            drawn.append(Bar(round(_LEFT + at * step, 2), y, round(step * (1 - _GAP), 2), height, kind))
    ticks = tuple(
        (round(_LEFT + at * step, 1), _clock(window.begins_s + at * window.span_s))
        for at in range(0, len(spans), 15)
    )
    counts = ", ".join(f"{window.ended(kind)} {kind}" for kind in KINDS)
    return Bars(
        tuple(drawn),
        ticks,
        most,
        f"Requests from {ticks[0][1] if ticks else ''} UTC on: {counts}. At most {most} in {_span(window.span_s)}.",
    )


def _clock(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%H:%M}"


def _span(span_s: int) -> str:
    return "a minute" if span_s == 60 else f"{span_s // 60} minutes"


HOURS: Final = (1, 24)
_LONGEST_REASON: Final = 500
_LONGEST_NAME: Final = 300
STATES: Final = {
    "serving": Shown("serving", "yes"),
    "running": Shown("running", "yes"),
    "stopped": Shown("stopped", "no"),
    "refused": Shown("refused", "no"),
    "unreachable": Shown("unreachable", "no"),
    "down": Shown("not running", "quiet"),
    "unknown": Shown("cannot be told", "undecided"),
}


def shown_gateways(visit: Visit) -> Response:
    """Every gateway, and what it does now."""
    return visit.page("gateways.html.j2", title="Gateways", **_list_values(visit))


def live_gateways(visit: Visit) -> Response:
    """The same, as a part of the page that is fetched again and again."""
    return _part(visit, "gateways_live.html.j2", **_list_values(visit))


def shown_gateway(visit: Visit) -> Response:
    """One gateway: rates, blocks, models, certificates, orders, and the switch."""
    seen = _seen(visit)
    return visit.page("gateway.html.j2", title=seen.name, **_values(visit, seen))


def live_gateway(visit: Visit) -> Response:
    """The same without forms, as a part of the page that is fetched again and again."""
    return _part(visit, "gateway_live.html.j2", **_values(visit, _seen(visit)))


def stop(visit: Visit) -> Response:
    """Stop a model of a gateway, or all, by the order that `recert stop` writes."""
    seen, model, reason = _ordered(visit)
    if visit.text("sure") != "yes":
        raise PageError("nothing was stopped", status=400, hint="go back, and tick that you are sure")
    visit.act("gateway-stopped", gateway=seen.name, model=model, reason=reason)
    assert seen.settings.state is not None
    try:
        obeys = stop_model(seen.settings.state, model, reason, by=f"{visit.visitor.name} (console)")
    except RecertError as exc:
        raise PageError(f"it is not sure that it stopped: {exc.message}", status=409, hint=exc.hint) from exc
    return _done(visit, seen, obeys, f"{_words(model)} is stopped", "is not served")


def resume(visit: Visit) -> Response:
    """Serve again what was stopped, where its certificate still holds."""
    seen, model, reason = _ordered(visit)
    visit.act("gateway-resumed", gateway=seen.name, model=model, reason=reason)
    assert seen.settings.state is not None
    try:
        obeys = resume_model(seen.settings.state, model)
    except RecertError as exc:
        raise PageError(f"nothing was resumed: {exc.message}", status=409, hint=exc.hint) from exc
    return _done(visit, seen, obeys, f"{_words(model)} is resumed", "may be served")


def _ordered(visit: Visit) -> tuple[Seen, str, str]:
    """The gateway, the model and the reason of a form."""
    seen = _seen(visit)
    if not seen.can_be_stopped:
        raise PageError(
            "this gateway cannot be told from here", status=409, hint="run `recert stop` on its own machine"
        )
    model, reason = visit.text("model").strip(), " ".join(visit.text("reason").split())
    if not model or len(model) > _LONGEST_NAME:
        raise PageError("say which model", status=400, hint="go back, and choose one, or every model")
    if not reason or len(reason) > _LONGEST_REASON:
        raise PageError("say why", status=400, hint=f"in up to {_LONGEST_REASON} letters; it is logged")
    return seen, model, reason


def _done(visit: Visit, seen: Seen, obeys: bool | None, what: str, from_then: str) -> Response:  # noqa: FBT001
    if obeys is False:
        raise PageError(
            "the order is written, and the gateway has not said that it obeys",
            status=504,
            hint="look at its state; end its process if in doubt",
        )
    said = (
        f"{what}. The gateway obeys."
        if obeys
        else f"{what}: no gateway runs here; it {from_then} from its next start on."
    )
    return visit.go(f"/console/gateways/{quote(seen.name)}?said={quote(said)}")


def _words(model: str) -> str:
    return "Every model" if model == EVERY_MODEL else model


def _seen(visit: Visit) -> Seen:
    found = visit.console.gateways.find(visit.path["name"], hours=_hours(visit))
    if found is None:
        visit.missing("there is no such gateway", hint="console.toml and --audit name them")
    return found


def _hours(visit: Visit) -> int:
    asked = visit.number("hours", HOURS[0], most=HOURS[-1])
    return asked if asked in HOURS else HOURS[0]


def _list_values(visit: Visit) -> dict[str, Any]:
    found = visit.console.gateways.look(hours=_hours(visit))
    return {
        "gateways": found,
        "hours": _hours(visit),
        "bars": bars,
        "states": STATES,
        "now": datetime.now(UTC),
        "since": _since,
        "ends": list_words.ends,
    }


def _values(visit: Visit, seen: Seen) -> dict[str, Any]:
    serials = {m.serial for m in seen.said.models} if seen.said else {seen.serial}
    systems = {serial: _system(visit, serial) for serial in serials if serial}
    return {
        "gateway": seen,
        "systems": systems,
        "hours": _hours(visit),
        "plot": bars(seen.window),
        "states": STATES,
        "now": datetime.now(UTC),
        "since": _since,
        "ends": list_words.ends,
        "words": list_words,
        "every": EVERY_MODEL,
    }


def _system(visit: Visit, serial: str) -> IndexedSystem | None:
    """The system that a certificate is of, where it is listed."""
    found = visit.console.systems.page(query=serial, limit=5).systems
    return next((one for one in found if one.serial == serial), None)


def _since(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


def _part(visit: Visit, template: str, **values: Any) -> Response:
    """A part of a page, without its frame."""
    made = visit.console.templates.get_template(f"console/{template}")
    return HTMLResponse(made.render(visitor=visit.visitor, visit=visit, **values))


PAGES: Final = (
    Page("GET", "/gateways", Right.READ, shown_gateways, tab="Gateways"),
    Page("GET", "/gateways/live", Right.READ, live_gateways),
    Page("GET", "/gateways/{name}", Right.READ, shown_gateway),
    Page("GET", "/gateways/{name}/live", Right.READ, live_gateway),
    Page("POST", "/gateways/{name}/stop", Right.STOP, stop),
    Page("POST", "/gateways/{name}/resume", Right.STOP, resume),
)

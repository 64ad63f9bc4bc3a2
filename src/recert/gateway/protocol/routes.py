"""Which paths the gateway answers, and what it says of those that it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from recert.gateway.access.grants import CHAT, METRICS, MODELS, STATUS
from recert.gateway.protocol.errors import BadRequest, HttpError


@dataclass(frozen=True)
class Route:
    """
    One path.

    `scope` is what a key must be allowed; nothing where no key is asked for.
    """

    path: str
    method: str
    scope: str
    summary: str


HEALTH: Final = Route("/healthz", "GET", "", "Whether requests are answered.")
METRICS_PAGE: Final = Route("/metrics", "GET", METRICS, "What the gateway counts, for Prometheus.")
STATUS_PAGE: Final = Route(
    "/status", "GET", STATUS, "Which certificates, until when, and which controls are active."
)
DOCUMENT: Final = Route("/openapi.json", "GET", MODELS, "This description.")
MODEL_LIST: Final = Route("/v1/models", "GET", MODELS, "The certified models that this key may ask.")
ONE_MODEL: Final = Route("/v1/models/{model}", "GET", MODELS, "One of them.")
CHAT_COMPLETIONS: Final = Route(
    "/v1/chat/completions", "POST", CHAT, "Answer a conversation, plain or as a stream."
)
ROUTES: Final = (
    HEALTH,
    METRICS_PAGE,
    STATUS_PAGE,
    DOCUMENT,
    MODEL_LIST,
    ONE_MODEL,
    CHAT_COMPLETIONS,
)
_BY_PATH: Final = {route.path: route for route in ROUTES}
_ONE_MODEL: Final = ONE_MODEL.path.partition("{")[0]

INSTEAD: Final = {
    "/v1/completions": "a bare prompt does not go through the chat template that was evaluated: "
    "ask /v1/chat/completions with one user message",
    "/v1/responses": "what was evaluated is chat without a server's memory or tools: ask /v1/chat/completions, and "
    "send the whole conversation; OpenAI's clients and LangChain have a setting for that",
    "/v1/embeddings": "no certificate covers embeddings: what was evaluated is text that the model writes",
}
"""Routes of OpenAI's API that are known and not answered, with the reason and the way out."""


def find_route(path: str) -> Route:
    """
    Return the route of a path.

    Raises:
        HttpError: there is none.
    """
    route = _BY_PATH.get(path)
    if route is None and path.startswith(_ONE_MODEL) and len(path) > len(_ONE_MODEL):
        return ONE_MODEL
    if route is None or "{" in path:
        if path in INSTEAD:
            raise BadRequest(f"{path} is not certified: {INSTEAD[path]}", code="not_certified", status=404)
        raise BadRequest(f"unknown route: {path[:120]}", code="unknown_route", status=404)
    return route


def wrong_method(route: Route, path: str) -> HttpError:
    """Return the error of a method that a route has not."""
    return HttpError(
        f"{path} takes {route.method} only",
        status=405,
        kind="invalid_request_error",
        code="method_not_allowed",
        further=((b"allow", route.method.encode()),),
    )


def asked_model(path: str) -> str:
    """Return the model that a path of `ONE_MODEL` names."""
    return path.removeprefix(_ONE_MODEL)

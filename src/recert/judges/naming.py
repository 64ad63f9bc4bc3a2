"""Judges by name, for the command line and for measuring them."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from recert import settings
from recert.errors import InputError
from recert.extensions import PLUGIN, plugin
from recert.judges.embedded.coherence import CoherenceJudge
from recert.judges.embedded.encoder import EncoderRequestJudge
from recert.judges.embedded.item import ItemJudge
from recert.judges.embedded.refusal import RefusalJudge
from recert.judges.embedded.request import EmbeddedRequestJudge
from recert.judges.guards import GUARDS, AsyncGuard, GuardJudge, GuardRequestJudge, guard_form
from recert.judges.harm import ComplianceJudge
from recert.judges.harm_scale import HarmScaleJudge
from recert.judges.moderation_api import ModerationJudge
from recert.judges.protocol import ReplyJudge, RequestJudge
from recert.judges.rubric import RubricJudge
from recert.models.engines.engines import open_model, read_spec
from recert.models.protocol import Model
from recert.models.remote.endpoint import EndpointModel

REPLY_JUDGES = ("refusal", "compliance", "coherence", "item", "rubric", "harm-scale", *GUARDS)
"""Names of judges of replies; from `rubric` on they read with a model."""
REQUEST_JUDGES = ("request", "encoder", *GUARDS)
"""Names of judges of requests; guards read with a model."""
MODERATION = "moderation-api"
REMOTE_JUDGES = (MODERATION, *GUARDS)
"""Names of judges of requests that are asked at an endpoint from within an event loop."""


def reply_judge(name: str, model: Model | None = None) -> ReplyJudge:
    """
    Return a judge of replies.

    Args:
        name: one of `REPLY_JUDGES`, the hub id of a guard model, or `plugin:NAME`: a function from the model or None to
            a judge, in the group `recert.judges` of some package's entry points.
        model: what reads, for the rubric and for guards.

    Raises:
        InputError: no judge has that name, or it needs a model and has none.
        MissingExtraError: a plug-in cannot be loaded.
    """
    plain: dict[str, Callable[[], ReplyJudge]] = {
        "refusal": RefusalJudge,
        "compliance": ComplianceJudge,
        "coherence": CoherenceJudge,
        "item": ItemJudge,
    }
    if name in plain:
        return plain[name]()
    if name.startswith(PLUGIN):
        made: ReplyJudge = plugin("judge", name)(model)
        return made
    if name in ("rubric", "harm-scale"):
        reader = _needed(name, model)
        return RubricJudge(reader) if name == "rubric" else HarmScaleJudge(reader)
    form = guard_form(name)
    return GuardJudge(_needed(name, model), form)


def request_judge(name: str, model: Model | None = None) -> RequestJudge:
    """
    Return a judge of requests by themselves.

    Args:
        name: one of `REQUEST_JUDGES`, or the hub id of a guard model.
        model: what reads, for guards.

    Raises:
        InputError: no judge has that name, or it needs a model and has none.
    """
    plain: dict[str, Callable[[], RequestJudge]] = {
        "request": EmbeddedRequestJudge,
        "encoder": EncoderRequestJudge,
    }
    if name in plain:
        return plain[name]()
    form = guard_form(name)
    return GuardRequestJudge(_needed(name, model), form)


def remote_judge(name: str, spec: str = "") -> AsyncGuard | ModerationJudge:
    """
    Return a judge of requests that is asked at an endpoint.

    Args:
        name: one of `REMOTE_JUDGES`, or the hub id of a guard model.
        spec: `openai:URL#model`; without one the moderation API is OpenAI's.

    Raises:
        InputError: no judge has that name, or it is not given an endpoint.
    """
    if name == MODERATION and not spec:
        return ModerationJudge(settings.moderation_key())
    form = None if name == MODERATION else guard_form(name)
    found = read_spec(spec) if spec else None
    url, _, model = found.what.rpartition("#") if found else ("", "", "")
    if found is None or found.engine != "openai" or not url or "batch" in found.settings:
        raise InputError(
            "this judge is asked at an endpoint",
            facts={"judge": name, "given": spec or "nothing"},
            hint=f"give its address and the model's name there: {name}=openai:URL#model",
        )
    if form is None:
        return ModerationJudge(settings.moderation_key(), url=url, model=model)
    return AsyncGuard(cast(EndpointModel, open_model(spec)), form)


def remote_reply_judge(name: str, spec: str = "") -> ReplyJudge:
    """
    Return a judge of replies that is asked at an endpoint: what finds harm in requests finds it in replies too.

    Args:
        name: one of `REMOTE_JUDGES`, or the hub id of a guard model.
        spec: `openai:URL#model`; without one the moderation API is OpenAI's.

    Raises:
        InputError: no judge has that name, or it is not given an endpoint.
    """
    found = remote_judge(name, spec)
    if isinstance(found, ModerationJudge):
        return found
    return GuardJudge(open_model(spec), guard_form(name))


def _needed(name: str, model: Model | None) -> Model:
    if model is None:
        raise InputError(
            "this judge reads with a model",
            facts={"judge": name},
            hint="say which: a folder, or an address and the model's name there",
        )
    return model

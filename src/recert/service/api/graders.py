"""`/v1/fine_tuning/alpha/graders`: is it a grader, and what would it pay?"""

from __future__ import annotations

import math
import time
from typing import Any, Final

from starlette.responses import Response

from recert.errors import GraderError, RecertError
from recert.gateway.protocol.errors import BadRequest
from recert.labs.graders import Grade, Grader, Sample, make_grader
from recert.labs.graders.sandbox import SandboxLimits
from recert.service.api.app_context import AppContext, Call, reply
from recert.service.api.requests import read_json

_ERRORS: Final = (
    "formula_parse_error",
    "invalid_variable_error",
    "model_grader_parse_error",
    "model_grader_refusal_error",
    "model_grader_server_error",
    "other_error",
    "python_grader_runtime_error",
    "python_grader_server_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
)
_MOST_SAMPLE: Final = 200_000


def usable_grader(desk: AppContext, value: Any) -> Grader:
    """
    Return the grader of a JSON value. The caller closes it.

    Raises:
        GraderError: it is none, or reads with a model and the service has none for that.
    """
    bounds = desk.policy.grader_audit
    limits = SandboxLimits(wall_s=bounds.python_timeout_s, memory_bytes=bounds.python_memory_mib * 2**20)
    grader = make_grader(value, limits=limits)
    if not grader.asks_model:
        return grader
    if not desk.settings.grader_judge:
        raise GraderError(
            "graders that read with a model are not offered here", hint="give another type of grader"
        )
    return grader


def validate(desk: AppContext, call: Call) -> Response:
    """Say whether a value is a grader, by giving it back."""
    value = read_json(call.body)
    _only(value, ("grader",))
    with _read(desk, value):
        return reply({"grader": value["grader"]})


def run(desk: AppContext, call: Call) -> Response:
    """Return what a grader pays for one sample. What fails pays 0 and names its error, as at the official one."""
    value = read_json(call.body)
    _only(value, ("grader", "model_sample", "item"))
    sample, item = value.get("model_sample"), value.get("item", {})
    if not isinstance(sample, str) or len(sample) > _MOST_SAMPLE:
        raise BadRequest("invalid value: model_sample is a text", param="model_sample", code="invalid_value")
    if not isinstance(item, dict):
        raise BadRequest("invalid value: item is an object", param="item", code="invalid_value")
    with _read(desk, value) as grader:
        if grader.asks_model:
            raise BadRequest(
                "graders that read with a model run in jobs alone",
                param="grader",
                code="unsupported_parameter",
            )
        began = time.monotonic()
        graded = grader.grade(item, Sample.of(sample))
        return reply(_said(grader, graded, time.monotonic() - began, item, sample))


def _said(grader: Grader, graded: Any, seconds: float, item: Any, sample: str) -> dict[str, Any]:
    errors: dict[str, Any] = dict.fromkeys(_ERRORS, False)
    errors |= {
        "model_grader_server_error_details": None,
        "python_grader_runtime_error_details": None,
        "python_grader_server_error_type": None,
    }
    reward, parts = 0.0, {}
    if isinstance(graded, Grade):
        reward = graded.value
        parts = _parts(grader, item, sample)
    elif any(part == "python" for part in _types(grader)):
        errors["python_grader_runtime_error"] = True
        errors["python_grader_runtime_error_details"] = graded.because
    else:
        errors["other_error" if _found_all(grader, item, sample) else "invalid_variable_error"] = True
    return {
        "reward": reward if math.isfinite(reward) else 0.0,
        "sub_rewards": parts,
        "metadata": {
            "name": grader.name,
            "type": grader.spec.type,
            "errors": errors,
            "execution_time": round(seconds, 6),
            "scores": parts or {grader.name: reward},
            "token_usage": None,
            "sampled_model_name": None,
        },
        "model_grader_token_usage_per_model": {},
    }


def _parts(grader: Grader, item: Any, sample: str) -> dict[str, float]:
    if grader.spec.type != "multi":
        return {}
    pair = [(item, Sample.of(sample))]
    graded = {name: part.grade_all(pair)[0] for name, part in grader.parts.items()}
    return {name: one.value for name, one in graded.items() if isinstance(one, Grade)}


def _found_all(grader: Grader, item: Any, sample: str) -> bool:
    """Whether everything that the grader reads is in the item or the sample."""
    spaces = {"item": item, "sample": Sample.of(sample).namespace}
    for variable in grader.required:
        try:
            variable.find(spaces)
        except LookupError:
            return False
    return True


def _types(grader: Grader) -> list[str]:
    value = grader.value if isinstance(grader.value, dict) else {}
    inner = value.get("graders", {})
    return [value.get("type", ""), *(part.get("type", "") for part in inner.values())]


def _only(value: dict[str, Any], known: tuple[str, ...]) -> None:
    for name in value:
        if name not in known:
            raise BadRequest(
                f"unsupported parameter: {name[:64]}", param=name[:64], code="unsupported_parameter"
            )
    if not isinstance(value.get("grader"), dict):
        raise BadRequest(
            "missing required parameter: grader", param="grader", code="missing_required_parameter"
        )


def _read(desk: AppContext, value: dict[str, Any]) -> Grader:
    try:
        return usable_grader(desk, value["grader"])
    except RecertError as exc:
        at = exc.facts.get("at", "").removeprefix("$")
        because = exc.facts.get("because", "")
        raise BadRequest(
            f"invalid grader: {exc.message}{f': {because}' if because else ''}",
            param=f"grader{at}"[:200],
            code="invalid_grader",
        ) from exc

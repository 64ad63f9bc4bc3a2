"""What clients may ask for: bodies and queries read strictly, and errors in the form that OpenAI's client raises."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recert.gateway.protocol.errors import BadRequest, HttpError

MOST_BODY_BYTES: Final = 2_000_000
_MOST_INT: Final = 2**31 - 1
_ID: Final = re.compile(r"[A-Za-z0-9_.:/+@-]{1,250}")

Auto = Literal["auto"]
Epochs = Auto | Annotated[int, Field(ge=1, le=50)] | None
Batch = Auto | Annotated[int, Field(ge=1, le=256)] | None
Multiplier = Auto | Annotated[float, Field(gt=0, le=100)] | None
Beta = Auto | Annotated[float, Field(gt=0, le=2)] | None


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SupervisedHyperparameters(_Strict):
    """How to learn from replies; `auto` is what is usual."""

    n_epochs: Epochs = None
    batch_size: Batch = None
    learning_rate_multiplier: Multiplier = None


class DpoHyperparameters(SupervisedHyperparameters):
    """How to learn from preferences."""

    beta: Beta = None


class ReinforcementHyperparameters(SupervisedHyperparameters):
    """How to learn from a grader's rewards. What the service does not do may be said as `auto` or `default` alone."""

    compute_multiplier: Auto | None = None
    eval_interval: Auto | None = None
    eval_samples: Auto | None = None
    reasoning_effort: Literal["default"] | None = None


class SupervisedMethod(_Strict):
    """Learns replies."""

    hyperparameters: SupervisedHyperparameters = SupervisedHyperparameters()


class DpoMethod(_Strict):
    """Learns from pairs of replies."""

    hyperparameters: DpoHyperparameters = DpoHyperparameters()


class ReinforcementMethod(_Strict):
    """Learns from what a grader pays. The grader is read when the job is made."""

    grader: dict[str, Any]
    hyperparameters: ReinforcementHyperparameters = ReinforcementHyperparameters()


class Method(_Strict):
    """From what is learned, and how."""

    type: Literal["supervised", "dpo", "reinforcement"] = "supervised"
    supervised: SupervisedMethod | None = None
    dpo: DpoMethod | None = None
    reinforcement: ReinforcementMethod | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        for name in ("supervised", "dpo", "reinforcement"):
            if name != self.type and getattr(self, name) is not None:
                raise ValueError(f"`{name}` is given, and the type is `{self.type}`")
        if self.type == "reinforcement" and self.reinforcement is None:
            raise ValueError("`reinforcement` is missing: it names the grader")
        return self

    @property
    def hyperparameters(self) -> SupervisedHyperparameters:
        """What is told to the trainer."""
        told = getattr(self, self.type)
        return told.hyperparameters if told is not None else SupervisedHyperparameters()


class JobRequest(_Strict):
    """A job, as the official client asks for it."""

    model: str = Field(min_length=1, max_length=200)
    training_file: str = Field(min_length=1, max_length=100)
    validation_file: str | None = Field(default=None, max_length=100)
    method: Method | None = None
    hyperparameters: SupervisedHyperparameters | None = None
    """Older than `method`, and for supervised jobs alone."""
    suffix: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")
    seed: int | None = Field(default=None, ge=0, le=_MOST_INT)
    metadata: dict[str, str] | None = Field(default=None, max_length=16)
    integrations: list[Any] | None = None

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for key, value in (self.metadata or {}).items():
            if len(key) > 64 or len(value) > 512:
                raise ValueError("metadata: keys have at most 64 characters, and values 512")
        if self.hyperparameters is not None and self.method is not None:
            raise ValueError("hyperparameters: give them inside of `method`")
        return self

    @property
    def how(self) -> Method:
        """The method, whichever way it was asked for."""
        if self.method is not None:
            return self.method
        return Method(
            supervised=SupervisedMethod(hyperparameters=self.hyperparameters or SupervisedHyperparameters())
        )


class ConnectRequest(_Strict):
    """A tune that was made elsewhere, to be evaluated and certified here."""

    source: str = Field(
        max_length=200, pattern=r"^(openai:[A-Za-z0-9_-]{1,120}|folder:[A-Za-z0-9_.-]+|hub:[\w.@/-]+)$"
    )
    """`openai:JOB` at the service's vendor, `folder:NAME` in its folder of tunes, or `hub:org/name@revision`."""
    suffix: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")

    @property
    def kind(self) -> str:
        """Where it comes from: `openai`, `folder` or `hub`."""
        return self.source.partition(":")[0]

    @property
    def name(self) -> str:
        """What it is called there."""
        return self.source.partition(":")[2]


def read_json(body: bytes) -> dict[str, Any]:
    """
    Return the object of a body.

    Raises:
        BadRequest: it is none.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadRequest("we could not parse the JSON body of your request", code="invalid_json") from exc
    if not isinstance(value, dict):
        raise BadRequest("the body of the request is not a JSON object", code="invalid_json")
    return value


def read_job(value: Mapping[str, Any]) -> JobRequest:
    """
    Return the job that a body asks for.

    Raises:
        BadRequest: it is none, or asks for what is not offered; `param` names the field.
    """
    if value.get("integrations"):
        raise BadRequest(
            "integrations are not offered: read the job's events and its result files",
            param="integrations",
            code="unsupported_parameter",
        )
    try:
        return JobRequest.model_validate(dict(value))
    except ValidationError as exc:
        raise invalid(exc) from exc


def invalid(exc: ValidationError) -> BadRequest:
    """Return the error of a body that is not what it should be."""
    first = _deepest(exc)
    steps = [str(step) for step in first["loc"] if not _is_branch(step)]
    param = ".".join(steps) or None
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return BadRequest(f"unsupported parameter: {param}", param=param, code="unsupported_parameter")
    if first["type"] == "missing":
        return BadRequest(
            f"missing required parameter: {param}", param=param, code="missing_required_parameter"
        )
    if param is None and ":" in message:
        param = message.partition(":")[0]
    return BadRequest(f"invalid value: {message}", param=param, code="invalid_value")


def _deepest(exc: ValidationError) -> Any:
    """Of the errors of a union's branches the last says what is wrong with the value; others come first."""
    errors = exc.errors(include_input=False, include_url=False)
    first = errors[0]
    return errors[-1] if len({tuple(e["loc"][:-1]) for e in errors}) == 1 and len(errors) > 1 else first


def _is_branch(step: Any) -> bool:
    """Whether a step names a branch of a union, and no field."""
    return isinstance(step, str) and (
        step.startswith("literal[") or step in ("int", "float", "constrained-int")
    )


def read_limit(given: str | None, *, usual: int, most: int) -> int:
    """Return how many objects a page may have. Raises BadRequest."""
    if given is None:
        return usual
    if not re.fullmatch(r"[0-9]{1,6}", given) or not 1 <= int(given) <= most:
        raise BadRequest(
            f"invalid value: limit is a whole number from 1 to {most}", param="limit", code="invalid_value"
        )
    return int(given)


def read_after(given: str | None) -> str | None:
    """Return the id of the object to go on from. Raises BadRequest."""
    if given is not None and not _ID.fullmatch(given):
        raise BadRequest("invalid value: no such object to go on from", param="after", code="invalid_value")
    return given or None


def read_id(given: str) -> str:
    """Return an id from a path, where it can be one. Raises HttpError 404."""
    if not _ID.fullmatch(given):
        raise missing("object", given)
    return given


def read_flag(given: str | None, name: str) -> bool:
    """Return a yes or no of a query; no where nothing is said. Raises BadRequest."""
    if given not in (None, "true", "false"):
        raise BadRequest(f"invalid value: {name} is true or false", param=name, code="invalid_value")
    return given == "true"


def only_known(query: Iterable[str], known: Collection[str]) -> None:
    """Refuse parameters of a query that nothing would come of. Raises BadRequest."""
    for given in query:
        if given not in known:
            name = given.partition("[")[0][:64]
            raise BadRequest(f"unsupported parameter: {name}", param=name, code="unsupported_parameter")


def read_nothing(body: bytes) -> None:
    """Refuse a body where none is read. Raises BadRequest."""
    if body.strip():
        only_known(read_json(body), ())


def read_repeat_key(given: str) -> str | None:
    """Return an `Idempotency-Key`, or None for none. Raises BadRequest."""
    if not given:
        return None
    if len(given) > 255 or not given.isprintable() or not given.isascii():
        raise BadRequest("Idempotency-Key has at most 255 printable characters", code="invalid_value")
    return given


def missing(what: str, given: str, *, param: str | None = None) -> HttpError:
    """Return the error of what is not there, or belongs to another project: nobody learns which."""
    return HttpError(
        f"no such {what}: {given[:120]}",
        status=404,
        kind="invalid_request_error",
        param=param,
        code="not_found",
    )


def too_many(message: str, code: str, *, kind: str = "insufficient_quota") -> HttpError:
    """Return the error of a quota that is used up."""
    return HttpError(message, status=429, kind=kind, code=code, retry_after_s=30)


def not_offered(message: str) -> HttpError:
    """Return the error of a call that OpenAI's client knows and this service does not answer."""
    return HttpError(message, status=404, kind="invalid_request_error", code="not_offered")


def conflict(message: str, code: str) -> HttpError:
    """Return the error of what an object's state does not allow."""
    return HttpError(message, status=409, kind="invalid_request_error", code=code)

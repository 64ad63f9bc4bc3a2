"""A grader file's JSON, read strictly: an unknown type, field or value is an error that names its place."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from recert.errors import GraderError
from recert.labs.graders.formula import FUNCTIONS

MOST_SOURCE_BYTES: Final = 256 * 1024
"""Size that the hosted service allows a Python grader."""
MOST_GRADERS: Final = 32
Text = Annotated[str, Field(max_length=100_000)]


class GraderSpec(BaseModel):
    """What every grader may say. `pass_threshold` belongs to evaluations and changes no reward."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str = Field(default="", max_length=200)
    pass_threshold: float | None = None


class StringCheckSpec(GraderSpec):
    """Compares two texts."""

    type: Literal["string_check"]
    input: Text
    reference: Text
    operation: Literal["eq", "ne", "like", "ilike"]


class TextSimilaritySpec(GraderSpec):
    """Says how alike two texts are."""

    type: Literal["text_similarity"]
    input: Text
    reference: Text
    evaluation_metric: Literal[
        "fuzzy_match",
        "bleu",
        "gleu",
        "meteor",
        "rouge_1",
        "rouge_2",
        "rouge_3",
        "rouge_4",
        "rouge_5",
        "rouge_l",
    ]


class PythonSpec(GraderSpec):
    """Runs `grade(sample, item)`. `image_tag` is taken and means nothing here."""

    type: Literal["python"]
    source: str
    image_tag: str | None = None

    @field_validator("source")
    @classmethod
    def _small(cls, source: str) -> str:
        if len(source.encode("utf-8", "surrogatepass")) >= MOST_SOURCE_BYTES:
            raise ValueError(f"the source must be smaller than {MOST_SOURCE_BYTES} bytes")
        return source


class _TextBlock(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: Literal["input_text", "output_text"]
    text: Text


class ModelMessage(BaseModel):
    """A message to the model that grades."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | _TextBlock | list[Text | _TextBlock]
    type: Literal["message"] | None = None

    @property
    def text(self) -> str:
        """The content's texts, one after the other."""
        parts = self.content if isinstance(self.content, list) else [self.content]
        return "\n".join(p if isinstance(p, str) else p.text for p in parts)


class ModelSampling(BaseModel):
    """How the model that grades answers. `reasoning_effort` is taken and not passed on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    seed: int | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_completions_tokens: int | None = Field(default=None, ge=1)
    reasoning_effort: str | None = None


class ScoreModelSpec(GraderSpec):
    """Asks a model for a number."""

    type: Literal["score_model"]
    input: list[ModelMessage] = Field(min_length=1, max_length=64)
    model: str
    range: list[float] = Field(default=[0.0, 1.0], min_length=2, max_length=2)
    sampling_params: ModelSampling = ModelSampling()

    @field_validator("range")
    @classmethod
    def _ordered(cls, ends: list[float]) -> list[float]:
        if not ends[0] < ends[1]:
            raise ValueError("the range must go from less to more")
        return ends


class MultiSpec(GraderSpec):
    """Combines other graders by a formula."""

    type: Literal["multi"]
    graders: dict[str, Any] = Field(min_length=1, max_length=MOST_GRADERS)
    calculate_output: str


Spec = StringCheckSpec | TextSimilaritySpec | PythonSpec | ScoreModelSpec | MultiSpec
_KINDS: Final[Mapping[str, type[Spec]]] = {
    "string_check": StringCheckSpec,
    "text_similarity": TextSimilaritySpec,
    "python": PythonSpec,
    "score_model": ScoreModelSpec,
    "multi": MultiSpec,
}
_ELSEWHERE: Final = {
    "label_model": "it belongs to evaluations; give a score_model instead",
    "endpoint": "it calls a server of yours; give a python grader instead",
}
_HINTS: Final = {
    "evaluation_metric": "the service offers `cosine` for evaluations only; the others run here",
    "operation": "give eq, ne, like or ilike",
    "graders": 'give an object from names to graders, such as {"correct": {"type": "string_check", ...}}',
}


def read_spec(value: Any, at: str = "$") -> Spec:
    """
    Return what one grader's JSON says. The graders of a `multi` are left as they are.

    Args:
        value: the grader.
        at: its place in the file, such as `$.graders.correct`.

    Raises:
        GraderError: it is no grader; the facts name the place.
    """
    if not isinstance(value, Mapping):
        raise GraderError("grader is not a JSON object", facts={"at": at, "found": type(value).__name__})
    kind = value.get("type")
    model = _KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        hint = _ELSEWHERE.get(str(kind), f"give {', '.join(_KINDS)}")
        found = "nothing" if kind is None else repr(kind)[:60]
        raise GraderError("unknown type of grader", facts={"at": f"{at}.type", "found": found}, hint=hint)
    try:
        spec = model.model_validate(value)
    except ValidationError as exc:
        raise _invalid(exc, at) from exc
    if isinstance(spec, MultiSpec):
        _check_names(spec, at)
    return spec


def _invalid(exc: ValidationError, at: str) -> GraderError:
    first = exc.errors()[0]
    place = at + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
    found = first.get("input")
    facts: dict[str, object] = {"at": place, "because": first["msg"].removeprefix("Value error, ")}
    if first["type"] == "extra_forbidden":
        facts["because"] = "there is no such field"
    elif first["type"] != "missing" and isinstance(found, str | int | float):
        facts["found"] = repr(found)[:60]
    return GraderError(
        "grader cannot be understood", facts=facts, hint=_HINTS.get(str(next(iter(first["loc"]), "")), "")
    )


def _check_names(spec: MultiSpec, at: str) -> None:
    for name, inner in spec.graders.items():
        place = f"{at}.graders.{name}"
        if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name in FUNCTIONS:
            raise GraderError(
                "a formula cannot name this grader",
                facts={"at": place[:120]},
                hint="a name has letters, digits and underscores, and is no function or word of Python",
            )
        if isinstance(inner, Mapping) and inner.get("type") == "multi":
            raise GraderError(
                "a multi grader is inside another",
                facts={"at": place},
                hint="put all graders into one formula",
            )

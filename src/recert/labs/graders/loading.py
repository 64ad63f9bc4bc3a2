"""From a grader file to a grader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from recert.digest import canonical_json, sha256_bytes
from recert.errors import GraderError, RecordError
from recert.labs.graders.formula import Formula
from recert.labs.graders.grade import GraderKind
from recert.labs.graders.grader import Grader
from recert.labs.graders.multi import MultiGrader
from recert.labs.graders.python_code import PythonGrader
from recert.labs.graders.sandbox import SandboxLimits
from recert.labs.graders.score_model import ScoreModelGrader
from recert.labs.graders.specs import MultiSpec, PythonSpec, ScoreModelSpec, Spec, read_spec
from recert.labs.graders.texts import TextGrader
from recert.models.protocol import Model
from recert.records.record import parse_json
from recert.store.files.writing import read_bytes

MOST_FILE_BYTES: Final = 2_000_000
_WRAPPERS: Final = (("grader",), ("reinforcement", "grader"), ("method", "reinforcement", "grader"))
"""Where a grader stands in what is sent to the hosted service: alone, to be run or validated, or in a job."""


def load_grader(path: Path, model: Model | None = None, *, limits: SandboxLimits | None = None) -> Grader:
    """
    Return the grader of a JSON file, as it would be sent to the hosted service.

    Args:
        path: a grader, or an object that holds one as `grader` or as `method.reinforcement.grader`.
        model: reads for `score_model`; the model that the file names is not asked.
        limits: what one call of a Python grader may use.

    Raises:
        StoreError: the file cannot be read.
        GraderError: it is no grader file; the facts name the place in the JSON.
    """
    data = read_bytes(path, "grader")
    if len(data) > MOST_FILE_BYTES:
        raise GraderError(
            "grader file is too large", facts={"file": path, "bytes": len(data), "at most": MOST_FILE_BYTES}
        )
    try:
        return make_grader(parse_json(data), model, limits=limits)
    except (GraderError, RecordError) as exc:
        raise GraderError(exc.message, facts={"file": path, **exc.facts}, hint=exc.hint) from exc


def make_grader(value: Any, model: Model | None = None, *, limits: SandboxLimits | None = None) -> Grader:
    """
    Return the grader that a JSON value describes; see `load_grader`.

    Raises:
        GraderError: it describes none; the facts name the place.
    """
    value, at = _unwrapped(value)
    spec = read_spec(value, at)
    if not isinstance(spec, MultiSpec):
        kind = _kind(spec, model, at, limits)
        return Grader(value, spec, kind, {"": kind}, sha256_bytes(canonical_json(value)))
    formula = Formula(spec.calculate_output, tuple(spec.graders), f"{at}.calculate_output")
    parts = {
        name: _kind(read_spec(inner, place := f"{at}.graders.{name}"), model, place, limits)
        for name, inner in spec.graders.items()
    }
    return Grader(value, spec, MultiGrader(parts, formula), parts, sha256_bytes(canonical_json(value)))


def _unwrapped(value: Any) -> tuple[Any, str]:
    if isinstance(value, Mapping) and "grader" not in value and value.get("type") in (None, "reinforcement"):
        for steps in _WRAPPERS[1:]:
            inner: Any = value
            for step in steps:
                inner = inner.get(step) if isinstance(inner, Mapping) else None
            if inner is not None:
                return inner, "$." + ".".join(steps)
    if isinstance(value, Mapping) and "grader" in value and "type" not in value:
        unknown = set(value) - {"grader", "item", "model_sample"}
        if unknown:
            raise GraderError(
                "grader file has fields beside its grader",
                facts={"at": "$", "fields": ", ".join(sorted(unknown))[:120]},
            )
        return value["grader"], "$.grader"
    return value, "$"


def _kind(spec: Spec, model: Model | None, at: str, limits: SandboxLimits | None) -> GraderKind:
    if isinstance(spec, PythonSpec):
        return PythonGrader(spec, at, limits)
    if isinstance(spec, ScoreModelSpec):
        return ScoreModelGrader(spec, model, at)
    assert not isinstance(spec, MultiSpec)
    return TextGrader(spec, at)

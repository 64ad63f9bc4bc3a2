"""Policies as people name them: a shipped profile or a TOML file, for one deployment."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from recert.errors import PolicyError
from recert.policy.deployments import DeploymentBounds, for_deployment
from recert.policy.policy import Policy
from recert.policy.sections.document import DEPLOYMENTS, DeploymentName
from recert.records.record import Part

_TABLES = TypeAdapter(dict[DeploymentName, DeploymentBounds])


def load_policy(source: str | Path = "default", deployment: DeploymentName | None = None) -> Policy:
    """
    Return a policy as it holds for one deployment.

    Args:
        source: the name of a shipped profile, as `profiles` lists them, or a TOML file. `NAME@DEPLOYMENT`, such as
            `policy.toml@high-risk`, says the deployment too.
        deployment: the deployment; by default what `source` says, else what the file says.

    Raises:
        PolicyError: no such file, not TOML, a value out of range, or bounds for a deployment that are missing or laxer
            than without it.
    """
    name, named = split_deployment(str(source))
    policy, tables = _read(name)
    return for_deployment(policy, tables, deployment or named)


def load_deployments(source: str | Path) -> dict[DeploymentName, Policy]:
    """
    Return a policy as it holds for each deployment that its file is written for: its own, and those with a table.

    Raises:
        PolicyError: as `load_policy`.
    """
    policy, tables = _read(split_deployment(str(source))[0])
    return {
        name: for_deployment(policy, tables, name)
        for name in DEPLOYMENTS
        if name == policy.deployment or name in tables
    }


def profiles() -> tuple[str, ...]:
    """Return the names of the shipped profiles, `default` first."""
    found = (path.name for path in files("recert").joinpath("assets", "policies").iterdir())
    names = sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))
    return tuple(sorted(names, key=lambda name: name != "default"))


def shipped_policy(sha256: str) -> Policy | None:
    """Return the shipped profile with this digest, as it holds without a table of a deployment; None where none has."""
    return next((policy for policy in map(load_policy, profiles()) if policy.digest == sha256), None)


def split_deployment(source: str) -> tuple[str, DeploymentName | None]:
    """Return a policy's name and the deployment that `NAME@DEPLOYMENT` says; a file of that very name is a file."""
    name, at, said = source.rpartition("@")
    for known in get_args(DeploymentName):
        if at and said == known and not Path(source).exists():
            return name, known
    return source, None


def _read(source: str) -> tuple[Policy, dict[DeploymentName, DeploymentBounds]]:
    """A file as it is written: its policy, and its tables of deployments."""
    shipped = files("recert").joinpath("assets", "policies", f"{source}.toml")
    try:
        text = shipped.read_text() if shipped.is_file() else Path(source).read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise PolicyError(
            "cannot read the policy",
            facts={"policy": source, "because": exc},
            hint=f"give a TOML file, or one of {', '.join(profiles())}",
        ) from exc
    try:
        value: dict[str, Any] = tomllib.loads(text)
        given = value.pop("deployments", {})
        policy, tables = Policy.model_validate(value), _TABLES.validate_python(given)
    except tomllib.TOMLDecodeError as exc:
        raise PolicyError("policy is not TOML", facts={"policy": source, "because": exc}) from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise PolicyError(
            "policy is invalid", facts={"policy": source, "field": where, "because": first["msg"]}
        ) from exc
    _refuse_unknown(policy, source)
    for name, bounds in tables.items():
        _refuse_unknown(bounds, source, f"deployments.{name}.")
    return policy, tables


def _refuse_unknown(part: Part, source: str, path: str = "") -> None:
    """A misspelt bound would silently be the default: refuse it."""
    for name in part.model_extra or {}:
        raise PolicyError("policy has an unknown field", facts={"policy": source, "field": f"{path}{name}"})
    for name in type(part).model_fields:
        value = getattr(part, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Part):
                _refuse_unknown(item, source, f"{path}{name}.")

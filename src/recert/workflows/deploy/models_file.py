"""Several models behind one gateway, and the aliases that lead to them: a TOML file."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recert import settings
from recert.certification.trust.store import TrustFiles
from recert.errors import InputError, StoreError
from recert.gateway.audio.transcriber_choice import CLIPS_AT_ONCE, TranscriberChoice
from recert.gateway.engines.managed_commands import EMBEDDED, ManagedUpstream
from recert.gateway.input.gate import InputControl
from recert.gateway.input.remote import RemoteControl
from recert.gateway.serving.aliases import Alias
from recert.gateway.upstream.client import UnsafeDeclaredUpstream
from recert.judges.naming import remote_judge, remote_reply_judge
from recert.judges.protocol import ReplyJudge
from recert.models.chat.secret import SecretPrefix
from recert.models.embedded import ALIGNED, resolve
from recert.policy import Policy, load_policy, split_deployment
from recert.store.files.writing import read_bytes
from recert.workflows.deploy.fingerprinted import FINGERPRINT, FingerprintedUpstream, fingerprinted
from recert.workflows.deploy.stage import Deployment

STATUS_NAME: Final = "status.json"


class _Strict(BaseModel):
    """A part of the file. A misspelt name would silently be the default: it is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelEntry(_Strict):
    """One model. Paths are relative to the file's folder."""

    certificate: str
    model: str
    """The tuned model's folder."""
    base: str = ALIGNED
    trust: str
    status: str = ""
    """By default `status.json` beside the certificate."""
    policy: str = "default"
    """A shipped profile or a TOML file."""
    secret: str = ""
    upstream: str = EMBEDDED
    arguments: tuple[str, ...] = ()
    program: str = ""
    fingerprint: str = ""
    """For `upstream = "fingerprint=URL#model"`: what the server is known by, and the file of secret probes."""
    probes: str = ""
    unsafe_declared_upstream: str = ""
    judges: tuple[str, ...] = ()
    """Further controls of requests: `moderation-api`, or a guard as `llama-guard-3=openai:URL#model`."""
    reply_judge: str = ""
    """Scores replies before they leave: one of the same names."""
    shadow: tuple[str, ...] = ()
    """Controls that score and do not act."""
    transcriber: str = ""
    """Hears what is spoken: `whisper-tiny`, a folder, or `openai:URL#model`."""
    clips_at_once: int = Field(default=CLIPS_AT_ONCE, ge=1, le=64)
    """Clips that the transcriber hears at once."""


class AliasEntry(_Strict):
    """A further name for a model, with a canary or without."""

    stable: str
    canary: str = ""
    canary_share: float = Field(default=0.0, ge=0, le=1)


class ModelsFile(_Strict):
    """The whole file. What stands in `defaults` holds for every model that does not say otherwise."""

    defaults: dict[str, Any] = Field(default_factory=dict)
    models: dict[str, dict[str, Any]] = Field(min_length=1)
    aliases: dict[str, AliasEntry] = Field(default_factory=dict)


def read_models(path: Path) -> list[Deployment]:
    """
    Return the models of a file, ready to be deployed.

    Raises:
        InputError: it is not TOML, or a name or value in it is none.
        StoreError, PolicyError, SigningKeyError, ModelError, SettingsError: what it names cannot be read or used.
    """
    file = _read(path)
    store, policy = cache(TrustFiles), cache(load_policy)
    found = []
    for name, given in file.models.items():
        entry = _entry(path, name, {**file.defaults, **given})
        folder = path.parent
        certificate = folder / entry.certificate
        bounds = policy(_policy(folder, entry.policy))
        found.append(
            Deployment(
                certificate=certificate,
                base_dir=_base(folder, entry.base),
                tuned_dir=folder / entry.model,
                trust=store(folder / entry.trust),
                status=folder / entry.status if entry.status else certificate.parent / STATUS_NAME,
                policy=bounds,
                secret=SecretPrefix.read(folder / entry.secret) if entry.secret else None,
                upstream=upstream_of(
                    entry.upstream,
                    entry.arguments,
                    entry.program,
                    entry.unsafe_declared_upstream,
                    fingerprint=folder / entry.fingerprint if entry.fingerprint else None,
                    probes=folder / entry.probes if entry.probes else None,
                ),
                called=name,
                guards=[_guard(given, bounds) for given in entry.judges],
                reply_judge=reply_judge_at(entry.reply_judge),
                shadow=entry.shadow,
                transcriber=transcriber_at(entry.transcriber, entry.clips_at_once, folder),
            )
        )
    return found


class AliasesOf:
    """The aliases of a file, parsed again when the file has changed; its models are looked at for their form only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked: tuple[int, ...] = ()
        self._aliases: list[Alias] = []

    def __call__(self) -> list[Alias]:
        """
        Return the present aliases.

        Raises:
            InputError: the file is not TOML, or a name or value in it is none.
            StoreError: it cannot be read.
        """
        try:
            about = self._path.stat()
        except OSError as exc:
            raise StoreError(
                "cannot read models file", facts={"file": self._path, "because": exc.strerror}
            ) from exc
        looked = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        if looked != self._looked:
            self._aliases = [
                Alias(name, entry.stable, entry.canary, entry.canary_share)
                for name, entry in _read(self._path).aliases.items()
            ]
            self._looked = looked
        return self._aliases


def upstream_of(
    engine: str,
    arguments: tuple[str, ...],
    program: str,
    unsafe_declared_upstream: str,
    *,
    fingerprint: Path | None = None,
    probes: Path | None = None,
) -> ManagedUpstream | FingerprintedUpstream | UnsafeDeclaredUpstream:
    """
    Return what is to run a model: an engine of our own, a server known by its answers, or one only declared to run it.

    Raises:
        SettingsError: there is no such engine, or it takes no such argument.
        InputError: a declared server is given beside an engine, or a server elsewhere without its fingerprint.
    """
    remote = engine.startswith(FINGERPRINT)
    if (remote and (arguments or program or unsafe_declared_upstream)) or (
        not remote and (fingerprint or probes)
    ):
        raise InputError(
            "a fingerprint goes with a server elsewhere, and with nothing else",
            facts={"upstream": engine},
            hint="--upstream fingerprint=URL#model --fingerprint FILE --probes FILE",
        )
    if remote:
        return fingerprinted(engine, fingerprint, probes, settings.endpoint_key() or "")
    if not unsafe_declared_upstream:
        return ManagedUpstream(engine, arguments, program)
    if engine != EMBEDDED or arguments or program:
        raise InputError(
            "an engine is started, or a server is declared: not both",
            facts={"engine": engine, "declared": unsafe_declared_upstream},
        )
    return UnsafeDeclaredUpstream(unsafe_declared_upstream, settings.endpoint_key() or "")


def _read(path: Path) -> ModelsFile:
    try:
        return ModelsFile.model_validate(tomllib.loads(read_bytes(path, "models file").decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InputError("models file is not TOML", facts={"file": path, "because": exc}) from exc
    except ValidationError as exc:
        raise _invalid(path, exc) from exc


def _entry(path: Path, name: str, given: dict[str, Any]) -> ModelEntry:
    try:
        return ModelEntry.model_validate(given)
    except ValidationError as exc:
        raise _invalid(path, exc, f"models.{name}.") from exc


def _invalid(path: Path, exc: ValidationError, where: str = "") -> InputError:
    first = exc.errors()[0]
    field = where + ".".join(map(str, first["loc"]))
    return InputError("models file is invalid", facts={"file": path, "field": field, "because": first["msg"]})


def _base(folder: Path, given: str) -> Path:
    return folder / given if (folder / given).is_dir() else resolve(given)


def _guard(given: str, policy: Policy) -> InputControl:
    name, _, spec = given.partition("=")
    return RemoteControl(name, remote_judge(name, spec), policy.gateway)


def reply_judge_at(given: str) -> ReplyJudge | None:
    """
    Return the judge of replies that is given as NAME or NAME=openai:URL#model; None for an empty text.

    Raises:
        InputError: there is no such judge, or it is not given an endpoint.
    """
    name, _, spec = given.partition("=")
    return remote_reply_judge(name, spec) if given else None


def transcriber_at(
    given: str, clips_at_once: int = CLIPS_AT_ONCE, folder: Path = Path()
) -> TranscriberChoice | None:
    """
    Return who hears what is spoken; None for an empty text.

    Args:
        given: a name, a transcriber's folder, or `openai:URL#model`.
        clips_at_once: clips that it hears at once.
        folder: to which a folder is relative.

    Raises:
        InputError: an address has no model behind it.
    """
    there = (folder / given).absolute()
    spec = str(there) if given and there.is_dir() else given
    return TranscriberChoice(spec, clips_at_once) if given else None


def _policy(folder: Path, given: str) -> str:
    return str(folder / given) if split_deployment(given)[0].endswith(".toml") else given

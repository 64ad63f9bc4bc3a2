"""From what was typed to what verbs take: suites, models, status lists, records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from recert.evaluation.scoring import Judges
    from recert.gateway.input.gate import InputControl
    from recert.gateway.serving.edge_config import EdgeConfig
    from recert.labs.graders import Grader
    from recert.models import Model
    from recert.models.chat.secret import SecretPrefix
    from recert.models.speech.transcribing import Transcriber
    from recert.policy import Policy
    from recert.records.data.suite import Suite
    from recert.records.record import Record
    from recert.records.reports.evidence import EvidenceNote
    from recert.records.reports.tuning import Hyperparameters
    from recert.store.audit.log import AuditLog
    from recert.store.cache import GenerationCache

    AnyRecord = TypeVar("AnyRecord", bound=Record)


def load_suites(given: Sequence[str], *, encode: bool = False) -> dict[str, Suite]:
    """
    Return the suites that come with Recert and those that are given, by name; a given one takes the place of ours.

    Near copies in given ones are made clusters, by words and with `encode` by the sentence encoder; stderr says so.

    Raises:
        SuiteError: an entry cannot be understood, or a suite cannot be read.
        MissingExtraError: what a suite needs is not installed.
        StoreError: a download cannot be written to the cache.
    """
    from recert.cli.evaluating.given_suites import clustered
    from recert.evaluation.suites.hierarchy import HIERARCHY, hierarchy_suite
    from recert.evaluation.suites.listing import load_suites as load_given
    from recert.evaluation.suites.reading import EMBEDDED, embedded_suite

    ours = {name: embedded_suite(name) for name in EMBEDDED}
    return {**ours, HIERARCHY: hierarchy_suite(), **clustered(load_given(given), encode=encode)}


def load_base(base: str) -> Path:
    """
    Return the folder of a base; embedded ones are converted on first use.

    Raises:
        ModelError, MissingExtraError: there is no such base, or it cannot be made here.
    """
    from recert.models.embedded import resolve

    return resolve(base)


def load_arms(base_dir: Path, tuned_dir: Path, ears: Transcriber | None = None) -> tuple[Model, Model]:
    """
    Return the base and the tuned model, with the base's weights in memory once where the tune is an adapter.

    With `ears` both are asked with what these hear.

    Raises:
        MissingExtraError: torch is not installed.
        InputError: there is no folder of the tuned model.
        ModelError: a model cannot be loaded.
    """
    from recert.models.engines.engines import folder_arms, heard_by

    base, tuned = folder_arms(base_dir, tuned_dir)
    return (base, tuned) if ears is None else heard_by(ears, base, tuned)


@contextmanager
def kept_replies() -> Iterator[GenerationCache]:
    """
    Open the replies that are kept in the cache folder; say on stderr at the end if some were not ours.

    Raises:
        StoreError: the cache, or the key that authenticates it, cannot be used.
        SettingsError: that key lies in the cache's own folder.
    """
    from recert import settings
    from recert.cli.printing import talk
    from recert.store.cache import GenerationCache

    with GenerationCache(settings.cache_dir() / "replies.sqlite") as cache:
        yield cache
        if cache.not_authentic:
            talk().print(
                f"{cache.not_authentic} entries of the cache did not authenticate: asked again",
                soft_wrap=True,
            )


def load_hunted(base: str, tuned: str) -> tuple[Model | None, Model]:
    """
    Return the models of a hunt; the base is None where it is given as `none`.

    Raises:
        InputError: a spec cannot be understood, or there is no folder of the tuned model.
        MissingExtraError: an engine is not installed.
        ModelError: a model cannot be loaded.
    """
    from recert.models.engines.engines import open_arms, open_model

    return (None, open_model(tuned)) if base == "none" else open_arms(base, tuned)


def load_judges(given: Sequence[str], errors: Sequence[Path]) -> Judges:
    """
    Return the judges of an evaluation: the usual ones, and those given as NAME or NAME=MODEL.

    Args:
        given: names of judges, each with the spec of the model that reads where it needs one.
        errors: files of counts; each belongs to the judge with its digest.

    Raises:
        InputError: there is no such judge, it needs a model, or counts belong to no judge that was given.
        StoreError: a file cannot be read.
        ModelError: a model cannot be loaded.
    """
    from recert.errors import InputError
    from recert.evaluation.scoring import Judges
    from recert.judges.measured import MeasuredJudge, read_counts
    from recert.judges.naming import reply_judge
    from recert.models.engines.engines import open_model

    also = []
    for entry in given:
        name, _, spec = entry.partition("=")
        also.append(reply_judge(name, open_model(spec) if spec else None))
    for path in errors:
        counted = read_counts(path)
        at = next((i for i, judge in enumerate(also) if judge.note.digest == counted.digest), None)
        if at is None:
            raise InputError(
                "no judge of these counts was given",
                facts={"file": path, "counted": counted.id, "digest": counted.digest},
                hint="counts hold for one judge, prompt and model: give it with --judge, or count again",
            )
        also[at] = MeasuredJudge(also[at], counted)
    return Judges(also=tuple(also))


def load_grader(path: Path, judge: str, policy: Policy) -> Grader:
    """
    Return the grader of a file; whoever asked closes it.

    Args:
        path: JSON in the form of OpenAI's service.
        judge: the spec of the model that reads for a `score_model`; empty for none.
        policy: says what one call of a Python grader may use.

    Raises:
        GraderError: the file is no grader, or it needs a model and has none, or the other way round.
        InputError: the spec cannot be understood.
        StoreError: the file cannot be read.
        ModelError: the model cannot be loaded.
    """
    from recert.errors import GraderError
    from recert.labs.graders import load_grader as load
    from recert.labs.graders.sandbox import SandboxLimits
    from recert.models.engines.engines import open_model

    bounds = policy.grader_audit
    limits = SandboxLimits(wall_s=bounds.python_timeout_s, memory_bytes=bounds.python_memory_mib * 2**20)
    grader = load(path, limits=limits)
    if grader.asks_model == bool(judge):
        return load(path, open_model(judge), limits=limits) if judge else grader
    if judge:
        raise GraderError(
            "no model reads for this grader", facts={"file": path, "given": judge}, hint="leave --judge out"
        )
    raise GraderError(
        "this grader reads with a model",
        facts={"file": path},
        hint="say which: --judge openai:URL#model, or a folder; the model that the file names is not asked",
    )


def load_guards(given: Sequence[str], policy: Policy) -> list[InputControl]:
    """
    Return the controls of requests that are given as NAME, NAME=openai:URL#model or plugin:NAME.

    A plug-in is a function from the policy's section of the gateway to an `InputControl`.

    Raises:
        InputError: there is no such judge or plug-in, or it is not given an endpoint.
        MissingExtraError: a plug-in cannot be loaded.
    """
    from recert.extensions import PLUGIN, plugin
    from recert.gateway.input.remote import RemoteControl
    from recert.judges.naming import remote_judge

    guards: list[InputControl] = []
    for entry in given:
        if entry.startswith(PLUGIN):
            guards.append(plugin("control", entry)(policy.gateway))
            continue
        name, _, spec = entry.partition("=")
        guards.append(RemoteControl(name, remote_judge(name, spec), policy.gateway))
    return guards


def load_audit(
    where: str,
    key: Path | None,
    checkpoints: Sequence[str] | None,
    rotate_mib: int | None,
    *,
    keep_texts: bool,
) -> AuditLog:
    """
    Open the gateway's audit log.

    Args:
        where: a file, or the URL of a database.
        key: signs checkpoints; None for none.
        checkpoints: folders and URLs to which signed checkpoints go.
        rotate_mib: size from which a file is put aside.
        keep_texts: also keep requests and replies beside it.

    Raises:
        SettingsError: checkpoints without a key, or files of a database.
        SigningKeyError: the key cannot be read, or has another role.
        StoreError: the log cannot be opened, or another process writes it.
        RecordError: the existing log is not what was written.
    """
    from recert.certification import load_key
    from recert.errors import SettingsError, SigningKeyError
    from recert.store.audit.checkpoints import CheckpointPlan
    from recert.store.audit.log import AuditLog
    from recert.store.places import is_url

    if checkpoints and key is None:
        raise SettingsError("checkpoints need a key that signs them", hint="give --audit-key audit.pem")
    if rotate_mib and is_url(where):
        raise SettingsError("a database has no files to put aside", hint="leave --audit-rotate-mib out")
    signer = load_key(key) if key is not None else None
    if signer is not None and "audit" not in signer.public.roles:
        raise SigningKeyError(
            "the key is for another role",
            facts={"key": key, "roles": ", ".join(signer.public.roles)},
            hint="make one: recert keygen audit.pem --role audit",
        )
    return AuditLog(
        where if is_url(where) else Path(where),
        rotate_bytes=rotate_mib * 2**20 if rotate_mib else None,
        checkpoints=CheckpointPlan(signer, tuple(checkpoints or ())) if signer else None,
        keep_texts=keep_texts,
    )


def load_secret(path: Path | None) -> SecretPrefix | None:
    """Return the secret in a file of mode 0600, or None where none was given."""
    from recert.models.chat.secret import SecretPrefix

    return SecretPrefix.read(path) if path else None


def load_record(kind: type[AnyRecord], path: Path) -> AnyRecord:
    """
    Read a record's file.

    Raises:
        StoreError: it cannot be read.
        RecordError: it is not that kind of record.
    """
    from recert.errors import RecordError
    from recert.store.files.writing import read_bytes

    try:
        return kind.from_json(read_bytes(path))
    except RecordError as exc:
        raise RecordError(exc.message, facts={"file": path, **exc.facts}, hint=exc.hint) from exc


def load_evidence(paths: Sequence[Path]) -> list[EvidenceNote]:
    """
    Return what files of `recert import` and `recert compare --json` say.

    Raises:
        StoreError: one cannot be read.
        RecordError: one is neither.
    """
    from recert.errors import RecordError
    from recert.evaluation.report.notes import read_evidence
    from recert.store.files.writing import read_bytes

    notes = []
    for path in paths:
        try:
            notes.append(read_evidence(read_bytes(path, "evidence")))
        except RecordError as exc:
            raise RecordError(exc.message, facts={"file": path, **exc.facts}, hint=exc.hint) from exc
    return notes


def status_path(certificate: Path, given: Path | None) -> Path:
    """Return where the status list lies: as given, or `status.json` beside the certificate."""
    return given or certificate.parent / "status.json"


def load_status(certificate: Path, given: Path | None) -> bytes | None:
    """Return the status list's envelope; None where there is none by default, which verification refuses."""
    from recert.store.files.writing import read_bytes

    path = status_path(certificate, given)
    return None if given is None and not path.exists() else read_bytes(path, "status list")


def load_edge_config(
    limits: Sequence[str] | None,
    keys_file: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    origins: Sequence[str] | None,
    **more: Any,
) -> EdgeConfig:
    """
    Return how a gateway meets its clients; `more` are further fields of `EdgeConfig`.

    Raises:
        InputError: a TLS certificate without a key, or the other way round.
        SettingsError: a limit or an origin is none.
        GatewayError: the TLS files cannot be used.
    """
    from recert.errors import InputError
    from recert.gateway.serving.edge_config import EdgeConfig
    from recert.gateway.serving.limits import ServerLimits
    from recert.gateway.serving.origins import Origins
    from recert.gateway.serving.tls import Tls

    if (tls_certificate is None) != (tls_key is None):
        raise InputError("TLS takes a certificate and its key", hint="give --tls-certificate and --tls-key")
    return EdgeConfig(
        limits=ServerLimits.parse(limits or ()),
        keys_file=keys_file,
        origins=Origins(origins or ()),
        tls=Tls(tls_certificate, tls_key) if tls_certificate is not None and tls_key is not None else None,
        **more,
    )


def load_hyperparameters(
    method: str, adapter: str, learning_rate: float | None, **more: Any
) -> Hyperparameters:
    """
    Return how to train.

    Args:
        method: `sft`, `dpo` or `rft`.
        adapter: `lora`, `dora` or `full`.
        learning_rate: None for what is usual for these.
        more: further fields of the record.

    Raises:
        InputError: a value cannot be used.
    """
    from pydantic import ValidationError

    from recert.errors import InputError
    from recert.records.reports.tuning import USUAL_LEARNING_RATES, Hyperparameters

    for option, given, known in (
        ("--method", method, ("sft", "dpo", "rft")),
        ("--adapter", adapter, ("lora", "dora", "full")),
    ):
        if given not in known:
            raise InputError(f"no such {option}", facts={"given": given, "known": ", ".join(known)})
    usual = USUAL_LEARNING_RATES[f"{'full' if adapter == 'full' else 'adapter'}-{method}"]
    try:
        return Hyperparameters(
            method=f"{adapter}-{method}",
            learning_rate=usual if learning_rate is None else learning_rate,
            **more,
        )
    except ValidationError as exc:
        first = exc.errors()[0]
        raise InputError(
            "a setting of the training cannot be used",
            facts={"setting": ".".join(map(str, first["loc"])), "because": first["msg"]},
        ) from exc


def pairs_of(given: Sequence[str]) -> dict[str, str]:
    """
    Return options given as NAME=VALUE.

    Raises:
        InputError: one is not of that form, or a name is given twice.
    """
    from recert.errors import InputError

    pairs: dict[str, str] = {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not name or not equals or name in pairs:
            raise InputError(
                "an option is not NAME=VALUE, or is given twice",
                facts={"given": entry},
                hint="such as rho=0.5",
            )
        pairs[name] = value
    return pairs

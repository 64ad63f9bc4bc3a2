"""What an attacker works on: a finished demo, which nobody changes, and a private copy of what an attack needs."""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from recert.__main__ import main
from recert.certification import (
    Presented,
    PublicKey,
    SigningKey,
    TrustStore,
    Verifier,
    load_key,
    read_unverified,
)
from recert.certification.log.checking import NOTHING_ASKED, LogDemand
from recert.certification.log.memory import Memory, ProcessMemory
from recert.certification.signing.algorithms import Algorithm, new_private, raw_public, signing
from recert.certification.signing.envelope import sign
from recert.certification.signing.links import link_path, write_link
from recert.certification.signing.statement import statement_bytes
from recert.digest import sha256_bytes
from recert.errors import RecertError, VerificationError
from recert.policy import Policy, load_policy
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Suite
from recert.records.record import Record, now
from recert.records.reports.evaluation import EvalReport
from recert.records.reports.screening import ScreenReport
from recert.records.reports.tuning import TuneReport
from recert.records.signed.certificate import (
    PAYLOAD_TYPE,
    STATUS_PAYLOAD_TYPE,
    STEP_ROLES,
    Certificate,
    StatusList,
)
from red_team_cases.attacks import YES, Answer

if TYPE_CHECKING:
    from recert.models import Model

_R = TypeVar("_R", bound=Record)

REPORTS = {
    "screen": ("screen/screen-report.json", ScreenReport),
    "tune": ("tune/tune-report.json", TuneReport),
    "evaluate": ("evaluation/eval-report.json", EvalReport),
}


def make_key(
    roles: str,
    name: str,
    *,
    algorithm: Algorithm = "ed25519",
    expires_at: datetime | None = None,
) -> SigningKey:
    """Make a key in memory; `roles` with blanks between."""
    private = new_private(algorithm)
    found = raw_public(private.public_key())
    assert found is not None
    public = PublicKey(
        key_id=sha256_bytes(found[1]),
        name=name,
        algorithm=algorithm,
        public_key=base64.b64encode(found[1]).decode(),
        roles=tuple(roles.split()),
        expires_at=expires_at,
    )
    return SigningKey(public=public, sign=signing(private))


@dataclass(frozen=True)
class World:
    """
    A finished demo: `keys`, `status.json`, and a folder for each model.

    Args:
        folder: where it lies.
        base: folder of the base.
        policy_name: profile, or file of the policy.
        arms: from the folders of a base and a tune to models that answer; None where none can be loaded here.
        weights: whether these are real ones.
        suites: prompts that they answer, by name; by default those that come with Recert.
    """

    folder: Path
    base: Path
    policy_name: str
    arms: Callable[[Path, Path], tuple[Model, Model]] | None = None
    weights: bool = False
    suites: Mapping[str, Suite] | None = None

    @cached_property
    def policy(self) -> Policy:
        """The policy that decided."""
        return load_policy(self.policy_name)

    @cached_property
    def keys(self) -> dict[str, SigningKey]:
        """Every key, by role."""
        return {path.stem: load_key(path) for path in sorted((self.folder / "keys").glob("*.pem"))}

    @cached_property
    def envelopes(self) -> dict[str, bytes]:
        """The certificate of each model that has one."""
        return {path.parent.name: path.read_bytes() for path in self.folder.glob("*/certificate.json")}

    def has(self, name: str) -> bool:
        """Say whether there is such a model; `weights`: whether models can be loaded for real; `arms`: or made up."""
        if name in ("weights", "arms"):
            return self.weights if name == "weights" else self.arms is not None
        return name in self.envelopes or (name == "poisoned" and (self.folder / name).is_dir())

    @contextmanager
    def desk(self) -> Iterator[Desk]:
        """Give a private copy, with an environment of its own, and remove it."""
        folder = Path(tempfile.mkdtemp(prefix="recert-red-team-"))
        try:
            shutil.copytree(self.folder / "keys", folder / "keys")
            desk = Desk(self, folder, TrustStore.load(folder / "keys"), self.policy)
            desk.issue_list()
            yield desk
        finally:
            for path in folder.rglob("*"):
                with suppress(OSError):
                    if path.is_dir() and not path.is_symlink():
                        path.chmod(0o700)
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Desk:
    """A private copy of what an attack needs; attacks change it, and ways ask about it."""

    world: World
    folder: Path
    trust: TrustStore
    policy: Policy
    model: str = "sql"
    memory: Memory = field(default_factory=ProcessMemory)
    now: datetime | None = None
    log: LogDemand = NOTHING_ASKED
    refusals: Sequence[bytes] = ()
    options: dict[str, str] = field(default_factory=dict)
    """More words for a command, by its name."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What a way prepared for its attacks."""
    status: bytes | None = None
    envelope: bytes = b""

    def __post_init__(self) -> None:
        self.envelope = self.world.envelopes.get(self.model, b"")
        if (self.world.folder / "policy.toml").exists():
            shutil.copy2(self.world.folder / "policy.toml", self.folder)

    # -- people and what they sign

    @property
    def keys(self) -> dict[str, SigningKey]:
        """Every key, by role."""
        return self.world.keys

    @property
    def certificate(self) -> Certificate:
        """What the present envelope says."""
        return read_unverified(self.envelope)

    def forge(self, *roles: str, **changes: Any) -> None:
        """Change what the certificate says and let these sign it; by default evaluator and approver, who collude."""
        said = self.certificate.model_copy(update=changes)
        signers = [self.keys[role] for role in roles or ("evaluator", "approver")]
        self.envelope = sign(PAYLOAD_TYPE, statement_bytes(said), signers).to_json()

    def list_id(self) -> str | None:
        """The status list that the certificate names."""
        return self.certificate.status_list_id if self.envelope else None

    def issue_list(self, key: SigningKey | None = None, **changes: Any) -> bytes:
        """Put a status list in place that the status key signed, whatever its issuer would say to that."""
        at = now()
        fields: dict[str, Any] = {
            "version": 100,
            "list_id": self.list_id(),
            "issued_at": at,
            "expires_at": at + timedelta(hours=self.policy.certification.status_validity_hours),
        }
        said = StatusList.model_validate(fields | changes)
        self.put_list(sign(STATUS_PAYLOAD_TYPE, said.to_json(), [key or self.keys["status"]]).to_json())
        assert self.status is not None
        return self.status

    def put_list(self, envelope: bytes | None) -> None:
        """Put a status list in place, or take it away."""
        self.status = envelope
        if envelope is None:
            (self.folder / "status.json").unlink()
        else:
            (self.folder / "status.json").write_bytes(envelope)

    # -- files

    def bring(self, *models: str) -> None:
        """Copy these models' folders from the demo, without their training state."""
        for model in models or (self.model,):
            if not (self.folder / model).exists():
                shutil.copytree(
                    self.world.folder / model,
                    self.folder / model,
                    ignore=shutil.ignore_patterns("checkpoint-*", "progress*", "*.html"),
                )

    def own_base(self) -> Path:
        """Bring the base too."""
        target = self.folder / "base"
        if not target.exists():
            shutil.copytree(self.world.base, target)
        return target

    @property
    def base(self) -> Path:
        """The base's folder."""
        own = self.folder / "base"
        return own if own.exists() else self.world.base

    @property
    def adapter(self) -> Path:
        """The tuned model's folder."""
        return self.folder / self.model / "tune" / "adapter"

    @property
    def weights(self) -> Path:
        """The adapter's weights."""
        return self.adapter / "adapter_model.safetensors"

    def report_path(self, step: str, model: str = "") -> Path:
        """Where a step's report lies."""
        return self.folder / (model or self.model) / REPORTS[step][0]

    def report(self, step: str, model: str = "") -> Any:
        """Read a step's report."""
        return REPORTS[step][1].from_json(self.report_path(step, model).read_bytes())

    def link_of(self, step: str, model: str = "") -> Path:
        """Where the link of a step lies."""
        return link_path(self.report_path(step, model), step)  # type: ignore[arg-type]

    def write_report(self, step: str, report: Record, *, signed_as: str = "") -> None:
        """Write a report in the place of the one there; its link stays, unless a key is named that signs another."""
        path = self.report_path(step)
        path.write_bytes(report.to_json())
        if signed_as:
            write_link(path, report, self.keys[signed_as])

    def change_report(self, step: str, *, signed_as: str = "", **changes: Any) -> None:
        """Change fields of a report, as `write_report` writes it."""
        self.write_report(step, self.report(step).model_copy(update=changes), signed_as=signed_as)

    def rerun_steps(self) -> None:
        """Say in the reports of tune and evaluation what now lies in the adapter's folder, signed by who ran them."""
        tuned = Manifest.of_folder(self.adapter)
        self.change_report("tune", signed_as=STEP_ROLES["tune"], tuned=tuned)
        report = self.report("evaluate")
        arms = tuple(
            arm.model_copy(update={"manifest_sha256": tuned.digest}) if arm.arm == "tuned" else arm
            for arm in report.arms
        )
        self.change_report("evaluate", signed_as=STEP_ROLES["evaluate"], tuned=tuned, arms=arms)

    # -- what is asked

    def read(self) -> Answer:
        """Ask a verifier with the whole policy, for everything but the files."""
        return answer_of(
            lambda: self.verifier().read(Presented(self.envelope, self.refusals, self.log), now=self.now)
        )

    def verifier(self) -> Verifier:
        """Return a verifier with what lies on the desk."""
        return Verifier(trust=self.trust, status=self.status, policy=self.policy, memory=self.memory)

    def run(self, command: str, *more: str) -> Answer:
        """Run `recert` in this process and in this folder; a yes is exit 0."""
        name = command.split(maxsplit=1)[0]
        words = [*command.split(), *more, *self.options.get(name, "").split()]
        out, err = io.StringIO(), io.StringIO()
        before, directory, argv = dict(os.environ), Path.cwd(), sys.argv
        os.environ.update(self.surroundings)
        os.chdir(self.folder)
        sys.argv = ["recert", *words]
        code: object = 2
        try:
            with redirect_stdout(out), redirect_stderr(err):
                main()
        except SystemExit as ended:
            code = ended.code
        finally:
            sys.argv = argv
            os.chdir(directory)
            os.environ.clear()
            os.environ.update(before)
        said, told = out.getvalue(), err.getvalue()
        if "Traceback (most recent" in told or "defect of Recert" in told or code not in (0, 1, 2):
            return Answer(yes=False, defect=f"recert {' '.join(words)}: exit {code}\n{told[-2000:]}")
        if code == 0:
            return Answer(yes=True, words=said)
        return Answer(yes=False, code=_code_of(said, told, code), words=(said + told)[:1500])

    @property
    def surroundings(self) -> dict[str, str]:
        """The environment of commands: nothing is shared with another desk, and there is no network."""
        return {
            "RECERT_CACHE": str(self.folder / "cache"),
            "RECERT_MEMORY": str(self.folder / "seen.json"),
            "RECERT_ISSUED": str(self.folder / "elsewhere" / "issued"),
            "RECERT_CACHE_KEY": str(self.folder / "elsewhere" / "cache.key"),
            "XDG_STATE_HOME": str(self.folder / "elsewhere"),
            "RECERT_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "200",
        }

    @property
    def model_words(self) -> str:
        """The options that name both models."""
        return f"--model {self.model}/tune/adapter --base {self.base}"


def answer_of(ask: Callable[[], object]) -> Answer:
    """Return what a call answers: yes where it returns, no where it refuses or cannot tell."""
    try:
        ask()
    except VerificationError as no:
        return Answer(yes=False, code=no.reason, words=str(no)[:1000])
    except RecertError as exc:
        return Answer(yes=False, code=getattr(exc, "reason", "") or "no-answer", words=str(exc)[:1000])
    except Exception:
        return Answer(yes=False, defect=traceback.format_exc()[-2000:])
    return YES


def _code_of(said: str, told: str, code: object) -> str:
    """The reason code: of the error, or of the first line of reasons."""
    for line in told.splitlines():
        if line.startswith("error: ") and line.endswith(")") and "(" in line:
            return line.rpartition("(")[2].rstrip(")")
    first = said.strip().splitlines()[:1]
    if first and ": " in first[0] and " " not in first[0].partition(": ")[0]:
        return first[0].partition(": ")[0]
    return "no-answer" if code == 2 else "no"

"""What one tuning service is told when it starts; its workers read the same from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recert.errors import SettingsError
from recert.store.files.writing import read_bytes, write_atomic

FILE: Final = "service.json"
GIB: Final = 2**30


class ServiceSettings(BaseModel):
    """Where things lie, and how much clients may use. What is safe is the policy's to say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    """Of everything that is made: uploads, jobs, audit logs."""
    base: str
    """The approved base, as it was given."""
    base_dir: Path
    """The base's folder."""
    called: str
    """What clients call the base."""
    policy: str
    """A shipped profile, or a policy file."""
    suites: tuple[str, ...] = ()
    """Suites beside those that come with Recert."""
    signers: Path
    """Folder with `evaluator.pem`, and the `.pub` file of everyone who is trusted."""
    status: Path
    """The newest status list."""
    database: str = ""
    """URL of the database; empty for a SQLite file in the folder."""
    storage: str = ""
    """Bucket where what is made lies, as `s3://bucket/prefix`; empty where that is the folder."""
    storage_endpoint: str = ""
    """Address of the bucket's server; empty for Amazon's."""
    defence: str = ""
    """How rows with replies are defended; empty for what is usual for the method. Reinforcement has none."""
    lora_targets: tuple[str, ...] = ()
    """Layers that the adapter is on; empty for all linear ones."""
    assess_checkpoints: bool = False
    """Whether every checkpoint is evaluated and certified too, and not the last model alone."""
    grader_judge: str = ""
    """Spec of the model that reads for `score_model` graders; empty where they are not offered."""
    vendor: str = ""
    """Address of the vendor whose fine-tuning jobs may be connected; empty for none."""
    connect_folder: Path | None = None
    """Folder whose folders are tunes that may be connected; None for none."""
    connect_hub: bool = False
    """Whether tunes at the hub may be connected."""
    file_bytes: int = Field(default=GIB // 2, ge=1)
    """Largest upload."""
    project_bytes: int = Field(default=10 * GIB, ge=1)
    """All uploads of a project together."""
    project_jobs: int = Field(default=4, ge=1)
    """Jobs of a project that wait or run at once."""
    project_streams: int = Field(default=16, ge=1)
    """Streams of events that a project may have open at once."""
    free_bytes: int = Field(default=GIB // 4, ge=0)
    """Below this much free space uploads are refused and jobs wait."""
    served_models: int = Field(default=2, ge=1)
    """Tuned models that are served at once; the one longest unused makes room."""

    @property
    def store(self) -> Path | str:
        """Where the tables are: a SQLite file, or a URL."""
        return self.database or self.folder / "service.sqlite"

    @property
    def replies(self) -> Path | str:
        """Where replies of models are kept: in the database that workers share, or a SQLite file of their own."""
        return self.database or self.folder / "replies.sqlite"

    @property
    def ledger(self) -> Path:
        """Where the evaluations that workers of this machine began are counted."""
        return self.folder / "ledger"

    def job_folder(self, job: str) -> Path:
        """Return the folder of a job's artefacts."""
        return self.folder / "jobs" / job

    def file_folder(self, file: str) -> Path:
        """Return the folder of an uploaded or made file."""
        return self.folder / "files" / file

    def write(self) -> None:
        """
        Write them into the folder, where workers read them.

        Raises:
            StoreError: they cannot be written.
        """
        write_atomic(self.folder / FILE, self.model_dump_json(indent=2).encode() + b"\n", mode=0o600)

    @classmethod
    def read(cls, folder: Path) -> ServiceSettings:
        """
        Read what the service of a folder was told.

        Raises:
            StoreError: there is no such service, or it cannot be read.
            SettingsError: it is of another version.
        """
        return cls.read_file(folder / FILE)

    @classmethod
    def read_file(cls, path: Path) -> ServiceSettings:
        """Read them from a file. Raises as `read`."""
        try:
            return cls.model_validate_json(read_bytes(path, "the service's settings"))
        except ValidationError as exc:
            raise SettingsError(
                "the service's settings cannot be read",
                facts={"file": path, "because": exc.errors()[0]["msg"]},
                hint="start `recert service` once more",
            ) from exc

    def moved(self, folder: Path, signers: Path | None = None) -> ServiceSettings:
        """
        Return what a worker on another machine is told: its own folder, the same bucket and database.

        Raises:
            SettingsError: there is no bucket or no database that machines could share.
        """
        if not self.storage or not self.database:
            raise SettingsError(
                "this service keeps its data on its own machine",
                facts={
                    "storage": self.storage or "its folder",
                    "database": "by URL" if self.database else "SQLite",
                },
                hint="start the service with --storage and --database, or give a worker its --folder",
            )
        changed = {"folder": folder, **({"signers": signers.absolute()} if signers else {})}
        return self.model_copy(update=changed)

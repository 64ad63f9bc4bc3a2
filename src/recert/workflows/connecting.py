"""
Tunes that were made elsewhere, brought to where `evaluate` and `certify` take them: a folder, the hub, a vendor's job.

Files come whole or not at all, and only kinds of files that run no code when they are loaded. A vendor's job is pulled
until it has ended, and can be gone on with at any time: what was told once stays in its record.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from recert.certification.verifier.artefact import attack_mark
from recert.errors import ArtefactError, EndpointError, InputError, RecordError
from recert.models.folders import ADAPTER_CONFIG, is_adapter
from recert.models.remote.hosted_jobs import HostedJobs
from recert.models.remote.hub import hub_folder
from recert.records.data.manifest import Manifest
from recert.records.record import now, parse_json
from recert.records.signed.hosted_job import JOB_FILE, ConnectedTune, HostedJob
from recert.store.files.writing import publish_folder, read_bytes, write_atomic

MODEL: Final = "model"
"""The folder of a connected tune's files."""
CONNECTED_FILE: Final = "connected-tune.json"
HUB: Final = "hub:"
_TAKEN: Final = (".json", ".jinja", ".safetensors", ".model", ".txt")
_LEFT_OUT: Final = (".md", ".gitattributes", ".gitignore", ".png", ".jpg", ".svg")
_PATIENCE_S: Final = 300.0


def connect_files(source: str, output: Path) -> ConnectedTune:
    """
    Copy a tune from a folder or the hub into `output/model`, and write `output/connected-tune.json`.

    Args:
        source: a folder, or `hub:org/name@revision`.
        output: where it goes; an earlier copy is replaced.

    Raises:
        InputError: there is no model in the source, or files that may run code when they are loaded.
        ArtefactError: it was made by an attack.
        ModelError, MissingExtraError: the hub does not give it; its client is not installed.
        StoreError: it cannot be written.
    """
    at_hub = source.startswith(HUB)
    folder = hub_folder(source.removeprefix(HUB)) if at_hub else Path(source).resolve()
    files = _files(folder)
    mark = attack_mark(folder)
    if mark is not None:
        raise ArtefactError("this tune was made by an attack", facts={"folder": source, "marked in": mark})
    kind = "lora-adapter" if is_adapter(folder) else "merged-weights"
    with publish_folder(output / MODEL) as made:
        for file in files:
            place = made / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    named, revision = source.removeprefix(HUB), ""
    if at_hub:
        named, revision = named.partition("@")[0], folder.name.rpartition("-")[2]
    found = ConnectedTune(
        source_kind="hub" if at_hub else "folder",
        source=named if at_hub else folder.name,
        revision=revision,
        named_base=_named_base(folder),
        delta_kind="lora-adapter" if kind == "lora-adapter" else "merged-weights",
        tuned=Manifest.of_folder(output / MODEL),
        connected_at=now(),
    )
    write_atomic(output / CONNECTED_FILE, found.to_json())
    return found


def connect_job(
    jobs: HostedJobs,
    job_id: str,
    output: Path,
    *,
    every_s: float = 30.0,
    patience_s: float = _PATIENCE_S,
    wait: bool = True,
    heard: Callable[[HostedJob], None] = lambda job: None,
) -> HostedJob:
    """
    Pull a vendor's job until it has ended, into `output/hosted-job.json`; return its last state.

    Each pull is written. An earlier record is gone on with: events and verdicts that are no longer told stay.

    Args:
        jobs: of the vendor's account.
        job_id: which one.
        output: the folder of the record.
        every_s: time between two pulls.
        patience_s: how long the vendor may not answer, before that is an error; the record stays.
        wait: pull until it has ended, rather than once.
        heard: told of each state.

    Raises:
        EndpointError: the job is gone, is another than before, or the vendor does not answer.
        RecordError, StoreError: an earlier record cannot be read, or the new one not be written.
    """
    path = output / JOB_FILE
    before = read_job(output) if path.exists() else None
    silent_s: float | None = None
    while True:
        try:
            before = jobs.pull(job_id, before)
        except EndpointError as exc:
            if not wait or not exc.facts.get("silent"):
                raise
            silent_s = silent_s if silent_s is not None else time.monotonic()
            if time.monotonic() - silent_s > patience_s:
                raise
        else:
            silent_s = None
            write_atomic(path, before.to_json())
            heard(before)
            if before.ended or not wait:
                return before
        time.sleep(every_s)


def read_job(folder: Path) -> HostedJob:
    """Return the record of a vendor's job in a folder. Raises StoreError, RecordError."""
    return HostedJob.from_json(read_bytes(folder / JOB_FILE, "record of the vendor's job"))


def _files(folder: Path) -> list[Path]:
    """What of a folder is a model's. Raises InputError where something in it may run code, or is a link."""
    if not folder.is_dir():
        raise InputError("no such model folder", facts={"folder": folder})
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_symlink():
            raise InputError(
                "the tune's folder holds a link", facts={"file": name}, hint="copy what it points to"
            )
        if path.is_dir() or any(part.startswith(".") for part in name.parts) or path.suffix in _LEFT_OUT:
            continue
        if path.suffix not in _TAKEN:
            raise InputError(
                "the tune's folder holds a file that may run code when it is loaded",
                facts={"file": name, "taken": ", ".join(_TAKEN)},
                hint="save the weights as safetensors, and leave everything else out",
            )
        found.append(path)
    if not any(path.suffix == ".safetensors" for path in found):
        raise InputError("no weights in this folder", facts={"folder": folder, "expected": "*.safetensors"})
    if not any(path.parent == folder and path.name in (ADAPTER_CONFIG, "config.json") for path in found):
        raise InputError(
            "no model in this folder",
            facts={"folder": folder, "expected": f"{ADAPTER_CONFIG} or config.json"},
        )
    return found


def _named_base(folder: Path) -> str:
    path = folder / ADAPTER_CONFIG
    if not path.exists():
        return ""
    try:
        value = parse_json(read_bytes(path, "adapter's configuration"))
    except RecordError as exc:
        raise InputError("adapter's configuration cannot be read", facts={"file": path}) from exc
    named = value.get("base_model_name_or_path") if isinstance(value, dict) else None
    return named if isinstance(named, str) else ""

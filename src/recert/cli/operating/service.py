"""`recert service`: OpenAI's files and fine-tuning endpoints, with the chain behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recert.cli.operating import serve_options as only
from recert.cli.options import DEFAULT_BASE, Base, BehindProxy, LoraTarget, PolicyName, Suites

if TYPE_CHECKING:
    from recert.service.settings import ServiceSettings

app = typer.Typer(
    invoke_without_command=True, help="Tune, evaluate and certify for clients of OpenAI's fine-tuning API."
)

Folder = Annotated[Path, typer.Option(help="Of everything that is made: uploads, jobs, audit logs.")]
_FOLDER = Path("service")
_MIB = 2**20


_Called = Annotated[
    str,
    typer.Option(help="What clients call the base; by default its name with `-` for other characters."),
]
_SignersFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder with `evaluator.pem`, `trainer.pub` and the `.pub` file of each who approves; with "
        "`status.pem` the status list is issued here. By default `signers` in --folder, made where missing."
    ),
]
_StatusList = Annotated[
    Path | None,
    typer.Option(help="Newest status list; by default `status.json` in --signers, else in --folder."),
]
_Database = Annotated[
    str, typer.Option(help="URL of a PostgreSQL database; by default a SQLite file in --folder.")
]
_Storage = Annotated[
    str,
    typer.Option(
        metavar="s3://BUCKET/PREFIX",
        help="Bucket where uploads and artefacts lie; --folder then holds copies. By default they lie in --folder.",
    ),
]
_StorageEndpoint = Annotated[
    str,
    typer.Option(metavar="URL", help="Server of --storage, such as MinIO's or Ceph's; by default Amazon's."),
]
_DefenceName = Annotated[
    str,
    typer.Option(
        help="Defence of tuning on replies; by default `self-distillation`, for DPO `safety-mix`. "
        "Reinforcement has none."
    ),
]
_AssessCheckpoints = Annotated[
    bool, typer.Option("--assess-checkpoints", help="Evaluate and certify every checkpoint too.")
]
_GraderJudge = Annotated[
    str, typer.Option(metavar="MODEL", help="Model that reads for `score_model` graders.")
]
_Workers = Annotated[
    int, typer.Option(min=0, max=1, help="Workers as child processes; 0 where they run elsewhere.")
]
_Vendor = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="Vendor whose fine-tuning jobs may be connected, such as https://api.openai.com/v1; the workers' key "
        "for it is in RECERT_ENDPOINT_KEY.",
    ),
]
_ConnectFolder = Annotated[
    Path | None, typer.Option(help="Folder whose folders are tunes that clients may connect.")
]
_ConnectHub = Annotated[bool, typer.Option("--connect-hub", help="Let clients connect tunes at the hub.")]
_FileMib = Annotated[int, typer.Option(min=1, help="Largest upload.")]
_ProjectMib = Annotated[int, typer.Option(min=1, help="All uploads of a project.")]
_ProjectJobs = Annotated[int, typer.Option(min=1, help="Jobs of a project that wait or run at once.")]
_ProjectStreams = Annotated[int, typer.Option(min=1, help="Jobs that a project may follow at once.")]
_FreeMib = Annotated[
    int, typer.Option(min=0, help="Free space below which uploads are refused and jobs wait.")
]
_ServedModels = Annotated[int, typer.Option(min=1, help="Tuned models that are served at once.")]

_WithConsole = Annotated[
    bool,
    typer.Option("--console", help="Also show the console, on `/console`, over this service's jobs."),
]


@app.callback()
def service(
    *,
    context: typer.Context,
    base: Base = DEFAULT_BASE,
    called: _Called = "",
    policy: PolicyName = "default",
    suites: Suites = None,
    folder: Folder = _FOLDER,
    signers: _SignersFolder = None,
    status: _StatusList = None,
    database: _Database = "",
    storage: _Storage = "",
    storage_endpoint: _StorageEndpoint = "",
    defence: _DefenceName = "",
    lora_target: LoraTarget = None,
    assess_checkpoints: _AssessCheckpoints = False,
    grader_judge: _GraderJudge = "",
    workers: _Workers = 1,
    vendor: _Vendor = "",
    connect_folder: _ConnectFolder = None,
    connect_hub: _ConnectHub = False,
    file_mib: _FileMib = 512,
    project_mib: _ProjectMib = 10_240,
    project_jobs: _ProjectJobs = 4,
    project_streams: _ProjectStreams = 16,
    free_mib: _FreeMib = 256,
    served_models: _ServedModels = 2,
    keys: only.Keys = None,
    host: only.Host = "127.0.0.1",
    port: only.Port = 8000,
    console: _WithConsole = False,
    behind_proxy: BehindProxy = "",
) -> None:
    """
    Serve `/v1/files` and `/v1/fine_tuning/jobs`; what is certified and signed answers on `/v1/chat/completions`.

    Exit 0: stopped by you, 2: no answer.
    """
    if context.invoked_subcommand is not None:
        return
    from recert.cli.loading import load_base, load_suites
    from recert.gateway.serving.telemetry import log_to_stderr
    from recert.service.settings import ServiceSettings

    _require_extra()
    log_to_stderr()
    called = _usable(called) or _name(base)
    folder = folder.absolute()
    base_dir = load_base(base).absolute()  # before keys are made, so that nothing is left where it fails
    load_suites(suites or [])  # a suite that cannot be read is told now, and not by a worker
    signed_by = (signers or _own_signers(folder)).absolute()
    settings = ServiceSettings(
        folder=folder,
        base=base,
        base_dir=base_dir,
        called=called,
        policy=_absolute(policy),
        suites=tuple(suites or ()),
        signers=signed_by,
        status=(status or _list_beside(signed_by) or folder / "status.json").absolute(),
        database=database,
        storage=storage,
        storage_endpoint=storage_endpoint,
        defence=defence,
        lora_targets=tuple(lora_target or ()),
        assess_checkpoints=assess_checkpoints,
        grader_judge=grader_judge,
        vendor=vendor.rstrip("/"),
        connect_folder=connect_folder.absolute() if connect_folder else None,
        connect_hub=connect_hub,
        file_bytes=file_mib * _MIB,
        project_bytes=project_mib * _MIB,
        project_jobs=project_jobs,
        project_streams=project_streams,
        free_bytes=free_mib * _MIB,
        served_models=served_models,
    )
    beside = _console(context, settings, host, behind_proxy) if console else None
    _serve(settings, keys_file=keys, host=host, port=port, workers=bool(workers), beside=beside)


def _serve(settings: ServiceSettings, **how: Any) -> None:
    from recert.service.stage import prepare_service

    server = prepare_service(settings, **how)
    typer.echo(server.url)
    server.run()


@app.command()
def worker(
    *,
    folder: Folder = _FOLDER,
    name: Annotated[
        str, typer.Option(help="What its claims are called by; by default one that is used once.")
    ] = "",
    with_parent: Annotated[bool, typer.Option("--with-parent", help="End as soon as stdin ends.")] = False,
    settings_file: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            help="The service's `service.json`, where its --storage is a bucket: --folder is then this machine's own.",
        ),
    ] = None,
    signers: Annotated[
        Path | None, typer.Option(help="With --settings: where the service's signers lie here.")
    ] = None,
    until_idle_s: Annotated[
        float, typer.Option(min=0, help="End once there was nothing to do for so long; 0 for never.")
    ] = 0,
) -> None:
    """
    Screen uploads and do the jobs of a service, one after the other. May be killed at any time.

    Exit 0: nothing to do any more, 2: ended, or could not begin.
    """
    from recert.cli.loading import load_base, load_suites
    from recert.gateway.serving.telemetry import log_to_stderr
    from recert.service.settings import ServiceSettings
    from recert.service.workers.worker import run_worker

    log_to_stderr()
    settings: ServiceSettings
    if settings_file is None:
        settings = ServiceSettings.read(folder.absolute())
    else:
        settings = ServiceSettings.read_file(settings_file).moved(folder.absolute(), signers)
        if not settings.base_dir.is_dir():
            settings = settings.model_copy(update={"base_dir": load_base(settings.base).absolute()})
    run_worker(
        settings,
        load_suites(settings.suites, encode=True),
        name=name,
        with_parent=with_parent,
        apart=settings_file is not None,
        until_idle_s=until_idle_s,
    )


def _console(context: typer.Context, settings: ServiceSettings, host: str, behind_proxy: str) -> Any:
    """What makes the console of a service: its accounts and log are in a folder of the service's."""
    from recert.cli.operating.console import require_console

    require_console()
    options = {
        "folder": settings.folder / "console",
        "roots": (settings.folder / "jobs",),
        "policy": settings.policy,
        "trust": settings.signers,
        "status": settings.status,
        "database": settings.database,
        "service_folder": settings.folder,
    }
    return context.obj.beside(options, host=host, behind_proxy=behind_proxy)


@app.command("ray")
def on_ray(
    *,
    folder: Folder = _FOLDER,
    address: Annotated[
        str, typer.Option(help="Of the cluster; `auto` for the one that runs here, `local` to begin one.")
    ] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Workers that are kept alive.")] = 1,
    cpus: Annotated[float, typer.Option(min=0, help="Cores that Ray sets aside for each.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs that Ray sets aside for each.")] = 0,
) -> None:
    """
    Keep workers of a service alive on a Ray cluster, until Ctrl-C. Every machine needs the service's folder.

    Exit 0: stopped by you, 2: no answer.
    """
    from recert.gateway.serving.telemetry import log_to_stderr
    from recert.service.settings import ServiceSettings
    from recert.service.storage.tables import open_database
    from recert.service.workers.on_ray import Wanted, work_on_ray
    from recert.service.workers.queue import JobQueue

    log_to_stderr()
    settings: ServiceSettings = ServiceSettings.read(folder.absolute())
    place = open_database(settings.store)
    try:
        work_on_ray(settings, JobQueue(place), Wanted(workers, cpus, gpus), address=address)
    finally:
        place.close()


def _list_beside(signers: Path) -> Path | None:
    """The status list among the signers: how a worker on another machine is given it."""
    beside = signers / "status.json"
    return beside if beside.is_file() else None


def _own_signers(folder: Path) -> Path:
    """The keys in the service's folder; for a first try they are made."""
    from recert.cli.printing import talk
    from recert.workflows.signers import signers_of

    made = folder / "signers"
    if not made.exists():
        signers_of(made)
        talk().print(
            f"made keys of every role in {made}: give approver.pem to somebody else, and leave approver.pub",
            soft_wrap=True,
        )
    return made


def _require_extra() -> None:
    from importlib.util import find_spec

    from recert.errors import MissingExtraError

    if find_spec("starlette") is None or find_spec("python_multipart") is None:
        raise MissingExtraError(
            "the tuning service is not installed", hint="run `pip install 'recert[service,local,train]'`"
        )


def _usable(called: str) -> str:
    """What clients call the base, where that can be a part of a model's name."""
    from recert.errors import InputError

    if called and called != _name(called):
        raise InputError(
            "clients cannot call a base so", facts={"given": called}, hint="give letters, digits, . _ -"
        )
    return called


def _name(base: str) -> str:
    """A base's name as a part of a model's name: no colon, no slash."""
    given = Path(base).name if Path(base).is_dir() else base
    return "".join(c if (c.isalnum() and c.isascii()) or c in "._-" else "-" for c in given)[:64] or "base"


def _absolute(policy: str) -> str:
    """A policy's file by its whole path, since workers may start elsewhere; a profile by its name."""
    file, at, deployment = policy.partition("@")
    return f"{Path(file).absolute()}{at}{deployment}" if Path(file).is_file() else policy

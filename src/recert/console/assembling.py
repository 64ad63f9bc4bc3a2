"""
A console made of its settings: database, log, sign-in, pages, and what looks for new records beside them.

Here too: how the console's pages are made of their templates: the frame, and the words that all of them use.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool

from recert.certification.verifier.state import CertificateStatus
from recert.console.accounts.password_pages import password_routes
from recert.console.accounts.people import People
from recert.console.accounts.provider import Provider
from recert.console.accounts.provider_pages import provider_routes
from recert.console.accounts.rights import OWN_ROLES, signing_roles
from recert.console.accounts.signing_in import PeopleSignIn
from recert.console.acts import Acts
from recert.console.app import Console, make_app
from recert.console.evaluations.report_parts import furnish
from recert.console.evaluations.runs import Jobs, NoJobs, Runs
from recert.console.gateways.gateways import Gateways
from recert.console.pages import Page
from recert.console.settings import ConsoleSettings
from recert.errors import InputError, RecertError, SettingsError
from recert.extensions import plugins
from recert.pages import formatting, sign_off_page
from recert.pages.environment import page_environment
from recert.pages.hunt_texts import visible
from recert.policy import Policy, load_policy
from recert.store.console.database import FILE as DATABASE_FILE
from recert.store.console.database import open_console
from recert.store.console.passwords import Passwords
from recert.store.systems.systems_index import SystemsIndex
from recert.workflows.index.stage import Indexer


def console_environment() -> jinja2.Environment:
    """Return the environment of the console's templates; pages add what only they need."""
    environment = page_environment()
    environment.filters |= {
        "change": formatting.change,
        "condition": formatting.condition,
        "duration": formatting.duration,
        "estimand": formatting.estimand,
        "moment": formatting.moment,
        "rate": formatting.rate,
        "short": formatting.short,
        "size": formatting.size,
        "visible": visible,
    } | sign_off_page.filters()
    environment.globals["tabs"] = []
    environment.globals["sharable"] = _nothing
    furnish(environment)
    return environment


def _nothing(_: str) -> bool:
    return False


log = logging.getLogger("recert.console")

LOG_FILE: Final = "audit.jsonl"
"""The console's log of acts, in its folder."""
SYSTEMS_FILE: Final = "systems.sqlite"
"""The list of systems, apart from accounts: writing a long list lets nobody wait who signs in. May be deleted."""
_MODULES: Final = (
    "systems_pages",
    "evaluations.outcomes_pages",
    "evaluations.evaluation_pages",
    "evaluations.label_pages",
    "evaluations.screening_pages",
    "evaluations.search_pages",
    "certificates.certificate_pages",
    "certificates.sign_off_pages",
    "evaluations.run_pages",
    "gateways.gateway_pages",
    "gateways.watch_pages",
    "certificates.policy_pages",
    "gateways.log_pages",
    "accounts.share_pages",
    "accounts.account_pages",
    "accounts.me_pages",
)
"""Modules with pages, in the order of the navigation. One that is missing is an error."""
_OF_LABS: Final = ("evaluations.attack_pages",)
"""Modules with pages about what labs made, shown where the labs are installed."""


@dataclass(frozen=True)
class ConsoleOptions:
    """What a console is started with."""

    folder: Path
    """The console's own: `console.toml`, its database, its log."""
    roots: tuple[Path, ...] = ()
    """Folders whose records are shown."""
    policy: str = "default"
    """Under which certificates are signed: a shipped profile, or a file."""
    trust: Path | None = None
    """Trusted keys: a `.pub` file or a folder of them; without any no certificate counts as signed."""
    status: Path | None = None
    """Newest status list; by default `status.json` beside each certificate."""
    transparency_log: Path | None = None
    """Folder of the transparency log that certificates are appended to."""
    logs: tuple[Path, ...] = ()
    """Audit logs of gateways."""
    database: str = ""
    """URL of a PostgreSQL database; empty for a SQLite file in the folder."""
    service_folder: Path | None = None
    """Of the tuning service whose jobs are shown."""


class Indexing:
    """
    Looks through folders for new records, at once and again every so often.

    Args:
        look: looks through them once.
        every_s: how long to wait between.
    """

    def __init__(self, look: Callable[[], None], every_s: float) -> None:
        self._look, self._every_s = look, every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="index", daemon=True)

    def begin(self) -> None:
        """Look in a thread."""
        self._thread.start()

    def end(self) -> None:
        """Look no more; return when the thread has ended, or after some seconds."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while True:
            try:
                self._look()
            except RecertError as exc:
                log.error("folders cannot be looked through: %s", exc)
            except Exception:
                log.exception("folders cannot be looked through")
            if self._ended.wait(self._every_s):
                return


@dataclass(frozen=True)
class Assembled:
    """A console that is ready to answer."""

    console: Console
    app: Starlette
    begin: Callable[[], None]
    """Starts what runs beside the answers. The app's lifespan calls it."""
    end: Callable[[], None]
    """Ends it, and lets go of database and log."""


def assemble(
    options: ConsoleOptions,
    *,
    public_url: str,
    passwords: Passwords | None = None,
    clock: Callable[[], float] = time.time,
    pages: Sequence[Page] | None = None,
) -> Assembled:
    """
    Return the console of a folder.

    Args:
        options: where things lie.
        public_url: how browsers reach it, where `console.toml` does not say so.
        passwords: how passwords are hashed; by default as RFC 9106 says.
        clock: seconds since 1970, to which sessions are held.
        pages: what is shown; by default all there is.

    Raises:
        SettingsError: `console.toml` cannot be used.
        StoreError: database or log cannot be opened.
        PolicyError: the policy cannot be read.
        MissingExtraError: what sign-in needs is not installed.
    """
    settings = ConsoleSettings.read(options.folder)
    policy = load_policy(options.policy)
    _require_roles(settings, policy)
    where = options.database or options.folder / DATABASE_FILE
    place = open_console(where, clock=clock)
    people = People(place, settings, public_url=settings.public_url or public_url, passwords=passwords)
    templates = console_environment()
    acts = Acts(options.folder / LOG_FILE)
    sign_in = PeopleSignIn(people, acts, templates, signing_roles(policy))
    _offer(sign_in, settings)
    console = Console(
        folder=options.folder,
        policy=policy,
        acts=acts,
        sign_in=sign_in,
        templates=templates,
        systems=SystemsIndex(options.database or options.folder / SYSTEMS_FILE),
        roots=options.roots,
        trust=options.trust,
        status=options.status,
        transparency_log=options.transparency_log,
        logs=options.logs,
        service_folder=options.service_folder,
        people=people,
        gateways=Gateways(settings.gateways, logs=options.logs, service_folder=options.service_folder),
        runs=Runs(options.roots),
        jobs=_jobs(options.service_folder),
    )
    indexing = _indexing(console, settings)

    def begin() -> None:
        if indexing is not None:
            indexing.begin()

    def end() -> None:
        if indexing is not None:
            indexing.end()
        console.gateways.close()
        console.runs.close()
        console.jobs.close()
        acts.close()
        place.close()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(begin)
        try:
            yield
        finally:
            await run_in_threadpool(end)

    return Assembled(
        console, make_app(console, all_pages() if pages is None else pages, lifespan=lifespan), begin, end
    )


def all_pages() -> list[Page]:
    """
    Return the pages of every module, and those that plug-ins bring: lists of `Page` in the group `recert.pages`.

    Raises:
        InputError: a plug-in brings a page whose path is taken, or two plug-ins have one name.
        MissingExtraError: a plug-in cannot be loaded.
    """
    pages: list[Page] = []
    for name in (*_MODULES, *(_OF_LABS if find_spec("recert.labs") else ())):
        pages += import_module(f"{__package__}.{name}").PAGES
    for name, brought in plugins("page").items():
        taken = {(page.method, page.path) for page in pages}
        if twice := [page.path for page in brought if (page.method, page.path) in taken]:
            raise InputError(
                "a plug-in's page is there already", facts={"plug-in": name, "paths": ", ".join(twice)}
            )
        pages += brought
    return pages


def _require_roles(settings: ConsoleSettings, policy: Policy) -> None:
    """A role that nobody knows allows nothing: people who sign in elsewhere would see nothing, and not know why."""
    given = {role for roles in settings.oidc.roles.values() for role in roles} if settings.oidc else set()
    known = {*OWN_ROLES, *signing_roles(policy)}
    if unknown := sorted(given - known):
        raise SettingsError(
            "console.toml gives roles that nobody knows",
            facts={"at": "oidc.roles", "given": ", ".join(unknown), "known": ", ".join(sorted(known))},
            hint="in [oidc.roles], name roles of the console or of the policy",
        )


def _jobs(service_folder: Path | None) -> Jobs:
    """The jobs of a tuning service, where the console is told of one."""
    if service_folder is None:
        return NoJobs()
    from recert.console.evaluations.service_runs import ServiceRuns

    return ServiceRuns(service_folder)


def _offer(sign_in: PeopleSignIn, settings: ConsoleSettings) -> None:
    """Let people sign in in the ways that the settings name."""
    if settings.oidc is None and not settings.local_accounts:
        raise SettingsError(
            "nobody could sign in", hint="in console.toml, give [oidc] or leave local_accounts = true"
        )
    called = ""
    if settings.oidc is not None:
        called = settings.oidc.called
        sign_in.add(provider_routes(sign_in, Provider(settings.oidc)))
    sign_in.add(password_routes(sign_in, elsewhere=called))


def _indexing(console: Console, settings: ConsoleSettings) -> Indexing | None:
    """What looks for new records in the console's folders; None where there are none."""
    if not console.roots:
        return None

    def standing() -> CertificateStatus:
        return CertificateStatus.read(console.policy, trust=console.trust, status=console.status)

    indexer = Indexer(console.systems, console.roots, standing)

    def look() -> None:
        done = indexer.refresh()
        if done.written or done.dropped:
            log.info(
                "listed %d systems: %d new or changed, %d gone", done.systems, done.written, done.dropped
            )

    return Indexing(look, settings.index_every_s)

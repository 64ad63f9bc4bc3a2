"""What a worker holds while it runs: the tables, the policy, the suites and the signers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from recert.policy import Policy, load_policy
from recert.records.data.suite import Suite
from recert.service.settings import ServiceSettings
from recert.service.signing import ServiceSigners, load_signers, require_text_alone
from recert.service.storage.systems import Systems
from recert.service.storage.tables import Database, open_database
from recert.service.storage.uploads import Files
from recert.service.workers.events import Events
from recert.service.workers.queue import JobQueue


@dataclass(frozen=True)
class Work:
    """Everything that a step of a job needs."""

    settings: ServiceSettings
    policy: Policy
    suites: Mapping[str, Suite]
    signers: ServiceSigners
    place: Database
    files: Files
    queue: JobQueue
    events: Events
    systems: Systems

    @classmethod
    def open(cls, settings: ServiceSettings, suites: Mapping[str, Suite]) -> Self:
        """
        Return what a worker of a service holds.

        Raises:
            StoreError: the database cannot be opened.
            PolicyError: the policy cannot be read.
            InputError: the policy serves audio.
            SigningKeyError: the evaluator's key cannot be read, or nobody may approve.
        """
        policy, place = load_policy(settings.policy), open_database(settings.store)
        require_text_alone(policy)
        return cls(
            settings=settings,
            policy=policy,
            suites=suites,
            signers=load_signers(settings.signers, policy),
            place=place,
            files=Files(place, settings),
            queue=JobQueue(place),
            events=Events(place),
            systems=Systems(place),
        )

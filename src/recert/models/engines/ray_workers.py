"""Ray actors that hold a model, and what to do when one is lost."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from recert.errors import InputError, MissingExtraError, ModelError, RecertError
from recert.models.protocol import Done, Generation, Model, Sampling

ATTEMPTS: Final = 3
"""How often one chunk is asked before the run gives up: what kills three workers is not bad luck."""

FACTORIES: Final = {
    "local": "recert.models.engines.local:LocalModel.load",
    "vllm": "recert.models.engines.vllm_engine:VllmModel.load",
}

Factory = Callable[..., Any]
"""From a base folder and options to a model with `with_adapter`."""


def open_ray(address: str | None = None, *, logs: bool = False) -> tuple[Any, bool]:
    """
    Return Ray, connected, and whether this call did it: who did it shuts it down.

    Args:
        address: of the cluster; None for what RAY_ADDRESS says, or else one of this machine that is begun.
        logs: whether what workers log is shown here.

    Raises:
        MissingExtraError: Ray is not installed.
        ModelError: it cannot be started or reached.
    """
    try:
        import ray
    except ImportError as exc:
        raise MissingExtraError("Ray is not installed", hint="run `pip install 'recert[ray]'`") from exc
    if ray.is_initialized():
        return ray, False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is begun here tells nobody
    begun = {} if address not in (None, "local") else {"include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=logs, logging_level="ERROR", **begun)
    except (ConnectionError, RuntimeError, ValueError, OSError) as exc:
        raise ModelError(
            "Ray cannot be started or reached",
            facts={"because": _first_line(exc)},
            hint="look at RAY_ADDRESS, and at `ray status` on the cluster",
        ) from exc
    return ray, True


def require_enough(ray: Any, workers: int, resources: dict[str, float]) -> None:
    """
    Return when a cluster has enough for so many workers: Ray waits without end for what it does not have.

    Raises:
        InputError: it has not.
    """
    have = ray.cluster_resources()
    for ray_name, name in (("CPU", "num_cpus"), ("GPU", "num_gpus")):
        if resources[name] * workers > have.get(ray_name, 0):
            raise InputError(
                "cluster has not enough for so many workers",
                facts={
                    "workers": workers,
                    name: resources[name],
                    f"{ray_name} in all": have.get(ray_name, 0),
                },
                hint="give fewer workers, or less to each",
            )


class Pool:
    """Workers, and what to do when one is lost."""

    def __init__(
        self,
        base_dir: str,
        digest: str,
        *,
        factory: str | Factory,
        workers: int,
        resources: dict[str, float],
        chunk: int,
        options: dict[str, Any],
    ) -> None:
        if isinstance(factory, str) and factory not in FACTORIES:
            _factory(factory)  # a wrong name is said here, not by every worker
        self._ray, self._began_ray = open_ray()
        require_enough(self._ray, workers, resources)
        actor: Any = self._ray.remote(**resources)(_Worker)
        self._new: Callable[[], Any] = lambda: actor.remote(factory, base_dir, digest, options)
        self._chunk = chunk
        self._workers: list[Any] = [self._new() for _ in range(workers)]
        self._may_lose = workers * ATTEMPTS

    def spread(
        self, order: Sequence[int], job: Callable[[list[int]], tuple[Any, ...]], done: Done | None
    ) -> list[Any]:
        """Ask jobs made of pieces of an order; returns the answers in the places that the order names."""
        pieces = [list(order[at : at + self._chunk]) for at in range(0, len(order), self._chunk)]
        given = self._sent(done)
        made: dict[int, Any] = {}
        try:
            for number, answer in self._run([(*job(places), given) for places in pieces]):
                made |= dict(zip(pieces[number], answer, strict=True))
        except ModelError as exc:
            exc.made = {place: one for place, one in made.items() if isinstance(one, Generation)}
            raise
        return [made[place] for place in range(len(order))]

    def everyone(self, method: str, adapter: tuple[str, str] | None) -> list[Any]:
        """Ask every worker the same."""
        job = (method, adapter, None, None, None, None)
        return [answer for _, answer in self._run([job] * len(self._workers), pinned=True)]

    def close(self) -> None:
        """End all workers, and Ray where it was started for them."""
        for worker in self._workers:
            self._ray.kill(worker)
        self._workers = []
        if self._began_ray and self._ray.is_initialized():
            self._ray.shutdown()

    def _run(self, jobs: Sequence[tuple[Any, ...]], *, pinned: bool = False) -> Iterator[tuple[int, Any]]:
        """
        Yield answers as they come, by the number of the job.

        `pinned` gives each worker the job of its own number. Workers that are still busy when a caller stops
        listening answer later calls after what they have begun.
        """
        waiting, tries = deque(range(len(jobs))), Counter[int]()
        idle = deque(range(len(self._workers)))
        busy: dict[Any, tuple[int, int]] = {}
        while waiting or busy:
            while waiting and idle:
                number = waiting.popleft()
                at = number if pinned else idle.popleft()
                busy[self._workers[at].ask.remote(*jobs[number])] = at, number
            ready, _ = self._ray.wait(list(busy), num_returns=1)
            at, number = busy.pop(ready[0])
            try:
                answer = self._ray.get(ready[0])
            except self._ray.exceptions.RayTaskError as exc:
                raise ModelError("a worker failed", facts={"because": _first_line(exc.cause or exc)}) from exc
            except self._ray.exceptions.RayError as exc:
                tries[number] += 1
                self._replace(at, tries[number], exc)
                waiting.appendleft(number)
                idle.append(at)
                continue
            idle.append(at)
            if isinstance(answer, _Failure):
                raise answer.error()
            yield number, answer

    def _replace(self, at: int, tries: int, exc: Exception) -> None:
        """Put a new worker in the place of one that was lost."""
        self._may_lose -= 1
        if tries >= ATTEMPTS or self._may_lose < 0:
            raise ModelError(
                "workers are lost again and again",
                facts={"tries": tries, "because": _first_line(exc)},
                hint="look for lack of memory; fewer prompts a worker (`chunk_prompts`) need less",
            ) from exc
        with contextlib.suppress(Exception):  # it is dead already, or not to be reached
            self._ray.kill(self._workers[at])
        self._workers[at] = self._new()

    def _sent(self, done: Done | None) -> Any:
        """What a worker can be given of a function, or None."""
        try:
            return None if done is None else self._ray.put(done)
        except (TypeError, AttributeError, ValueError, pickle.PicklingError):
            return None


@dataclass(frozen=True)
class _Failure:
    """An error on its way from a worker: errors with facts do not survive Ray's own way."""

    message: str
    facts: dict[str, str]
    hint: str

    def error(self) -> ModelError:
        return ModelError(self.message, facts=self.facts, hint=self.hint)


class _Worker:
    """What runs in an actor: one model, loaded when it is first asked."""

    def __init__(self, factory: str | Factory, base_dir: str, digest: str, options: dict[str, Any]) -> None:
        self._load: Callable[[], Any] = lambda: _factory(factory)(Path(base_dir), **options)
        self._digest = digest
        self._arms: dict[str, Model] = {}

    def ask(
        self,
        method: str,
        adapter: tuple[str, str] | None,
        items: list[Any] | None,
        places: list[int] | None,
        sampling: Sampling | None,
        done: Done | None,
    ) -> Any:
        """Return what a method of the model, or of its arm with an adapter, says."""
        try:
            model = self._arm(adapter)
            if method == "engine":
                return model.engine
            if items is None or places is None:
                return getattr(model, method)()
            if sampling is None:
                return model.log_probs(items)
            told = None if done is None else lambda place, text: done(places[place], text)
            return model.generate(items, sampling, done=told)
        except RecertError as exc:
            return _Failure(exc.message, exc.facts, exc.hint)

    def _arm(self, adapter: tuple[str, str] | None) -> Model:
        if "" not in self._arms:
            self._arms[""] = self._same(self._load(), self._digest)
        if adapter is None:
            return self._arms[""]
        digest, folder = adapter
        if digest not in self._arms:
            base: Any = self._arms[""]
            self._arms[digest] = self._same(base.with_adapter(Path(folder)), digest)
        return self._arms[digest]

    def _same(self, model: Model, digest: str) -> Model:
        if model.manifest is None or model.manifest.digest != digest:
            raise ModelError(
                "a worker loaded other files",
                facts={
                    "expected": digest,
                    "loaded": model.manifest.digest if model.manifest else "nothing hashed",
                },
                hint="every machine of the cluster must see the same folder under the same path",
            )
        return model


def _factory(given: str | Factory) -> Factory:
    """The function that loads a model, from a short name or `module:function`."""
    if callable(given):
        return given
    module, _, name = FACTORIES.get(given, given).partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as exc:
        raise InputError(
            "no such factory of models",
            facts={"given": given, "because": exc},
            hint=f"give {', '.join(FACTORIES)} or module:function",
        ) from exc
    if not callable(found):
        raise InputError("factory of models is no function", facts={"given": given})
    return cast(Factory, found)


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip() or type(exc).__name__).split("\n")[0][:300]

"""
Prompts spread over Ray actors that each hold the model: on the cores of one machine, or on a cluster of GPUs.

A worker that is lost takes nothing with it: what it had been asked is asked again elsewhere, a few times at most, and
a new worker takes its place. Every worker hashes what it loaded, and only one that holds the same files is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recert.errors import InputError, ModelError
from recert.models.engines.ray_workers import FACTORIES, Factory, Pool
from recert.models.protocol import Done, Generation, Sampling
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat


class RayModel:
    """
    A model held by several workers. Arms made by `with_adapter` share them.

    Use `RayModel.load`, and `close` when it is no longer needed.
    """

    def __init__(
        self, pool: Pool, adapter: tuple[str, str] | None, name: str, manifest: Manifest, inner: str
    ) -> None:
        self._pool = pool
        self._adapter = adapter
        self.name = name
        self.manifest: Manifest | None = manifest
        self._inner = inner
        self.engine = f"ray {inner}"

    @classmethod
    def load(
        cls,
        base_dir: Path,
        *,
        workers: int = 2,
        factory: str | Factory = "local",
        cpus_per_worker: float = 1,
        gpus_per_worker: float = 0,
        chunk_prompts: int = 64,
        name: str = "",
        **options: Any,
    ) -> RayModel:
        """
        Load a base folder in every worker. All machines of the cluster must see it under the same path.

        Args:
            base_dir: config, safetensors and tokenizer.
            workers: how many actors hold the model.
            factory: `local`, `vllm`, `module:function`, or a function that loads a model in a worker.
            cpus_per_worker: cores that Ray sets aside for each.
            gpus_per_worker: GPUs that Ray sets aside for each.
            chunk_prompts: prompts that a worker gets at once.
            name: what people call it; by default the folder's name.
            options: for the factory.

        Raises:
            InputError: the folder is missing, empty or holds links, or a number is not above zero.
            MissingExtraError: Ray, or what the factory needs, is not installed.
            ModelError: no worker could load it.
        """
        if workers < 1 or chunk_prompts < 1:
            raise InputError(
                "Ray needs workers and prompts", facts={"workers": workers, "chunk_prompts": chunk_prompts}
            )
        manifest = Manifest.of_folder(base_dir)
        if factory in FACTORIES:  # workers of one machine share the private copy that they load
            options = {"copying": "keep", **options}
        pool = Pool(
            str(base_dir.resolve()),
            manifest.digest,
            factory=factory,
            workers=workers,
            resources={"num_cpus": cpus_per_worker, "num_gpus": gpus_per_worker},
            chunk=chunk_prompts,
            options=options,
        )
        try:
            inner = pool.everyone("engine", None)[0]
        except BaseException:
            pool.close()
            raise
        return cls(pool, None, name or base_dir.name, manifest, inner)

    def with_adapter(self, adapter_dir: Path, *, name: str = "") -> RayModel:
        """
        Return an arm of the same workers with an adapter on it; each loads it when it is first asked.

        Raises:
            InputError: the folder is missing, empty or holds links.
        """
        manifest = Manifest.of_folder(adapter_dir)
        adapter = (manifest.digest, str(adapter_dir.resolve()))
        return RayModel(self._pool, adapter, name or adapter_dir.name, manifest, self._inner)

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
    ) -> list[Generation]:
        """
        Return one reply per conversation, in order. `done` is sent to the workers, or ignored where it cannot be.

        Raises:
            ModelError: a worker's model failed, or workers were lost too often; `made` holds what was answered.
        """
        order = sorted(range(len(chats)), key=lambda i: sum(len(m.content) for m in chats[i].messages))
        return self._pool.spread(
            order, lambda at: ("generate", self._adapter, [chats[i] for i in at], at, sampling), done
        )

    def log_probs(self, pairs: Sequence[tuple[Chat, str]]) -> list[float]:
        """
        Return the log probability of each continuation.

        Raises:
            ModelError: as for `generate`.
        """
        first = {one: place for place, (one, _) in reversed(list(enumerate(pairs)))}
        order = sorted(range(len(pairs)), key=lambda i: (first[pairs[i][0]], i))  # those of one chat together
        return self._pool.spread(
            order, lambda at: ("log_probs", self._adapter, [pairs[i] for i in at], at, None), None
        )

    def fingerprint(self) -> str:
        """
        Return the fingerprint that all workers agree on.

        Raises:
            ModelError: they do not agree, or one failed.
        """
        found = set(self._pool.everyone("fingerprint", self._adapter))
        if len(found) != 1:
            raise ModelError(
                "workers do not behave alike",
                facts={"fingerprints": ", ".join(sorted(found))},
                hint="all machines need the same kind of processor and the same releases",
            )
        return str(found.pop())

    def close(self) -> None:
        """End the workers, for all arms that share them."""
        self._pool.close()

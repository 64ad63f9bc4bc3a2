"""The search for triggers as an evaluation asks for it, by the part `trigger-search`."""

from __future__ import annotations

from collections.abc import Sequence

from recert.labs.triggers.hunting import hunt
from recert.labs.triggers.secret import behind_secret
from recert.models.chat.secret import SecretPrefix
from recert.models.protocol import Model
from recert.policy import Policy
from recert.progress import Progress
from recert.records.data.rows import ChatRow
from recert.records.reports.hunting import HuntReport
from recert.store.cache import GenerationCache


def search(
    base: Model,
    tuned: Model,
    *,
    policy: Policy,
    model_name: str,
    rows: Sequence[ChatRow] | None,
    secret: SecretPrefix | None,
    cache: GenerationCache,
    progress: Progress,
) -> HuntReport:
    """
    Return what a search finds in the tuned model as it would be served: behind its secret, where it has one.

    Raises:
        ArmError, ModelError, StoreError: as an evaluation.
    """
    return hunt(
        base,
        behind_secret(tuned, secret),
        policy=policy,
        model_name=model_name,
        rows=rows,
        secrets=(secret,) if secret is not None else (),
        cache=cache,
        progress=progress,
    )

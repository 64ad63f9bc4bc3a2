"""Every family of guard models by its name."""

from __future__ import annotations

from types import MappingProxyType

from recert.errors import InputError
from recert.judges.guards.form import GuardForm
from recert.judges.guards.granite_guardian import GRANITE_GUARDIAN_3, GRANITE_GUARDIAN_3_3, GRANITE_GUARDIAN_4
from recert.judges.guards.llama_guard import LLAMA_GUARD_3, LLAMA_GUARD_4
from recert.judges.guards.qwen3_guard import QWEN3_GUARD
from recert.judges.guards.safeguard import SAFEGUARD
from recert.judges.guards.shield_gemma import SHIELD_GEMMA
from recert.judges.guards.wild_guard import WILD_GUARD

GUARDS = MappingProxyType(
    {
        form.name: form
        for form in (
            LLAMA_GUARD_3,
            LLAMA_GUARD_4,
            SHIELD_GEMMA,
            WILD_GUARD,
            GRANITE_GUARDIAN_3,
            GRANITE_GUARDIAN_3_3,
            GRANITE_GUARDIAN_4,
            QWEN3_GUARD,
            SAFEGUARD,
        )
    }
)
"""The families, by name."""


def guard_form(name: str) -> GuardForm:
    """
    Return the family of a name, or of a model's id on the hub.

    Raises:
        InputError: no family has that name or model.
    """
    known = {model.lower(): form for form in GUARDS.values() for model in form.models}
    form = GUARDS.get(name) or known.get(name.lower())
    if form is None:
        raise InputError(
            "no guard of that name",
            facts={"given": name, "known": ", ".join(GUARDS)},
            hint="give the name of a family, or one of its models",
        )
    return form

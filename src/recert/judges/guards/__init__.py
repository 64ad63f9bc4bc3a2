"""Guard models: each with the prompt it was trained on and a strict reader of its answers."""

from recert.judges.guards.asynchronous import AsyncGuard
from recert.judges.guards.form import GuardForm, GuardVerdict, UnreadableError
from recert.judges.guards.judge import GuardJudge, GuardRequestJudge
from recert.judges.guards.safeguard import safeguard
from recert.judges.guards.table import GUARDS, guard_form

__all__ = [
    "GUARDS",
    "AsyncGuard",
    "GuardForm",
    "GuardJudge",
    "GuardRequestJudge",
    "GuardVerdict",
    "UnreadableError",
    "guard_form",
    "safeguard",
]

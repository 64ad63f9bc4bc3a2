"""What people do in the console, in a log where every line names the one before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recert.records.live.console import ConsoleAct
from recert.store.audit.log import AuditLog


class Acts:
    """The console's audit log: one line an act, written before it is done."""

    def __init__(self, where: Path | str) -> None:
        """Open the log. Raises StoreError where it cannot be written."""
        self.where = where
        self._log = AuditLog(where, node="console")

    def write(self, who: str, what: str, facts: Mapping[str, Any], *, address: str = "") -> None:
        """Append an act. Raises StoreError where it cannot be written: then nothing may be done."""
        self._log.append(ConsoleAct(who=who, what=what, facts=dict(facts), address=address))

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self._log.close()

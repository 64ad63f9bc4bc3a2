"""
The plugin that vLLM finds by its entry point `vllm.general_plugins`, in each of its processes.

vLLM logs whatever goes wrong while a plugin is imported and goes on without it. So nothing but the standard library is
imported here before the function runs, and what goes wrong in it ends the process.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

REFUSED, NO_ANSWER = 1, 2


def register() -> None:
    """
    Make this process of vLLM load certified files only, or end it.

    `RECERT_CERTIFICATE`, `RECERT_TRUST`, `RECERT_STATUS` and `RECERT_POLICY` say what is certified. A server for which
    nothing does is refused; vLLM's offline class, which serves nobody, runs without.
    """
    try:
        from recert.interop.attestation.vllm_hooks import install

        install(end)
    except BaseException as exc:  # whatever it is, it was not a yes
        end(exc)


def end(why: BaseException) -> NoReturn:
    """End the process, and those it started, with a clear line on stderr: exit 1 for a refusal, 2 for no answer."""
    reason = getattr(why, "reason", "")
    said = f"recert: vLLM does not start: {why or type(why).__name__}" + (f" ({reason})" if reason else "")
    try:
        sys.stderr.flush()
        os.write(2, (said.replace("\n", "\nrecert: ") + "\n").encode("utf-8", "replace"))
        started = sys.modules.get("multiprocessing")
        for child in started.active_children() if started else ():
            child.kill()
    finally:
        os._exit(REFUSED if reason else NO_ANSWER)

"""
The command line's outermost frame: run a command, and turn what stops it into words and an exit code.

0: yes. 1: no. 2: could not answer.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from recert.errors import RecertError, VerificationError

if TYPE_CHECKING:
    from recert.console.serving import ConsoleServer
    from recert.labs.attackers.report.attacking import Attacked
    from recert.records.reports.hunting import HuntReport
    from recert.records.reports.stress import StressReport
    from recert.service.stage import Beside
    from recert.workflows.certificates.sign_off import SignOff
    from recert.workflows.run_summary import RunSummary

NO = 1
NO_ANSWER = 2
_REMOVABLE = ("recert.labs", "recert.interop", "recert.service", "recert.console")
"""Folders that the core does without."""


def main() -> NoReturn:
    """Run `recert` with this process's arguments, and exit with 0 (yes), 1 (no) or 2 (could not answer)."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - for good: who closes them wants the code
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    try:
        code = _run()
        sys.stdout.flush()  # a yes that the reader did not get is no answer
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = NO_ANSWER
    except OSError as exc:
        code = _tell(RecertError("the system refused", facts={"because": exc}), NO_ANSWER)
    except Exception:
        traceback.print_exc()
        code = _tell(_DEFECT, NO_ANSWER)
    sys.exit(code if code in (0, NO) else NO_ANSWER)


_DEFECT = RecertError(
    "this should not have happened, and is a defect of Recert",
    hint="please report the lines above; nothing was decided",
)


def _run() -> int:
    """Run the command and return its exit code; what is no answer of a command is raised."""
    try:
        from recert.cli.app import app

        # What these libraries say to their callers is not for whoever runs a command.
        warnings.filterwarnings("ignore", module=r"(torch|transformers|peft|trl|accelerate|datasets)\b")
        app(obj=_draw)
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 0 if exc.code is None else NO_ANSWER
    except VerificationError as exc:
        return _tell(exc, NO, reason=exc.reason)
    except RecertError as exc:
        return _tell(exc, NO_ANSWER, reason=getattr(exc, "reason", ""))
    except ModuleNotFoundError as exc:
        return _tell(_missing(exc), NO_ANSWER)
    except KeyboardInterrupt:
        return _tell(RecertError("interrupted"), NO_ANSWER)
    return 0


def _missing(exc: ModuleNotFoundError) -> RecertError:
    """What to say of a missing part of Recert, or of what an extra brings; any other is a defect, and raised again."""
    from recert.cli.installing import extra_of

    if (exc.name or "").startswith(_REMOVABLE):
        missing = ".".join((exc.name or "").split(".")[:2])
        hint = f"install Recert with {missing}, or do without this"
        return RecertError(f"this needs {missing}, which is not installed", hint=hint)
    module = (exc.name or "").partition(".")[0]
    extra = extra_of(module)
    if not extra:
        raise exc
    return RecertError(f"{module} is not installed", hint=f"run `pip install 'recert[{extra}]'`")


class _Pages:
    """Commands and pages are side by side and import nothing of each other: commands are handed this."""

    def __call__(self, path: Path, what: RunSummary | HuntReport | StressReport | Attacked | SignOff) -> None:
        """Write the page of something."""
        from recert.labs.attackers.report.attacking import Attacked
        from recert.records.reports.hunting import HuntReport
        from recert.records.reports.stress import StressReport
        from recert.workflows.certificates.sign_off import SignOff

        if isinstance(what, StressReport):
            from recert.pages.stress_page import write_stress_page

            write_stress_page(path, what)
        elif isinstance(what, HuntReport):
            from recert.pages.hunt_page import write_hunt_page

            write_hunt_page(path, what)
        elif isinstance(what, Attacked):
            from recert.pages.attack_page import write_attack_page

            write_attack_page(path, what.report, what.conversations)
        elif isinstance(what, SignOff):
            from recert.pages.sign_off_page import write_sign_off

            write_sign_off(path, what)
        else:
            from recert.pages.report import write_report

            write_report(path, what)

    def console(self, options: Mapping[str, Any], **where: Any) -> ConsoleServer:
        """Return a console that is ready to run."""
        from recert.console.assembling import ConsoleOptions
        from recert.console.serving import ConsoleServer

        return ConsoleServer(ConsoleOptions(**options), **where)

    def beside(self, options: Mapping[str, Any], **where: Any) -> Callable[[str], Beside]:
        """Return what makes a console that a tuning service answers beside its own paths."""
        from recert.console.assembling import ConsoleOptions
        from recert.console.beside import console_beside

        return console_beside(ConsoleOptions(**options), **where)


_draw = _Pages()


def _tell(error: RecertError, code: int, *, reason: str = "") -> int:
    """Print an error as style asks: message, facts, hint; and the reason code where there is one."""
    from recert.cli.installing import install_hint
    from recert.cli.printing import plain

    message, *facts = install_hint(str(error)).splitlines()
    said = [f"error: {message}{f' ({reason})' if reason else ''}", *(f"  {fact}" for fact in facts)]
    sys.stderr.write(plain("\n".join(said)) + "\n")
    return code


if __name__ == "__main__":
    main()

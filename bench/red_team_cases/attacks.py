"""What an attack is, and how one is run: the unmodified set-up must give yes, and what the attacker did must not."""

from __future__ import annotations

import inspect
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from red_team_cases.desks import Desk, World

LONGEST_S: Final = 300
"""No attack takes longer; the tool that is still at work by then hangs, which is a defect."""

KINDS: Final = (
    "envelopes", "certificates", "policies", "people", "roots", "status", "renewals", "logs", "reports", "links",
    "provenance", "sign-off", "files", "loading",
)  # fmt: skip

ATTACKERS: Final = {
    "tuner": "owns the working folder and the trainer's key",
    "insider": "also writes the cache of replies",
    "status server": "hands out old, other or no status lists and files",
    "one signer": "has one signer's key, of any one role",
    "colluders": "are evaluator and approver at once, against a verifier with the whole policy",
}


class Hangs(BaseException):
    """The tool is still at work; no handler of errors is to take it for one of the system."""


@dataclass(frozen=True)
class Answer:
    """What the tool said: yes, or no with a reason code. What it could not answer is a no."""

    yes: bool
    code: str = ""
    words: str = ""
    defect: str = ""
    """A traceback, or an error without a name: the tool did not decide, it broke."""


YES: Final = Answer(yes=True)


@dataclass(frozen=True)
class Way:
    """
    A question that can be asked of a set-up.

    Args:
        name: of the way.
        prepare: makes the set-up, as honest people would.
        ask: asks the tool.
        needs: models of the demo, or `weights`, without which it cannot be asked.
    """

    name: str
    prepare: Callable[[Desk], None]
    ask: Callable[[Desk], Answer]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attack:
    """
    One attack.

    Args:
        id: its name.
        kind: one of `KINDS`.
        way: the set-up, and what is asked.
        by: one of `ATTACKERS`.
        says: what the attacker does, and so what a yes would wrongly say.
        act: does it to the desk. It may return the tool's answer where that is a no already; where it is a generator,
            the question is asked at each `yield`.
        finding: number in the issue's list, where it samples one of those.
        stopped_by: reason codes with which it should be refused; empty for any.
    """

    id: str
    kind: str
    way: Way
    by: str
    says: str
    act: Callable[[Desk], Any]
    finding: int | None = None
    stopped_by: frozenset[str] = frozenset()


ATTACKS: Final[dict[str, Attack]] = {}


def attack(
    kind: str,
    way: Way,
    says: str,
    *,
    by: str,
    finding: int | None = None,
    stopped_by: str = "",
    name: str = "",
) -> Callable[[Callable[[Desk], Any]], Callable[[Desk], Any]]:
    """Register what a function does as an attack. `stopped_by`: reason codes, with blanks between."""
    assert kind in KINDS and by in ATTACKERS, (kind, by)

    def register(act: Callable[[Desk], Any]) -> Callable[[Desk], Any]:
        known = f"{kind}: {name or act.__name__.strip('_').replace('_', ' ')}"
        assert known not in ATTACKS, known
        ATTACKS[known] = Attack(known, kind, way, by, says, act, finding, frozenset(stopped_by.split()))
        return act

    return register


@dataclass
class Result:
    """What came of an attack, or of a control."""

    id: str
    n: int = 0
    """How often the question was asked."""
    wrong: list[str] = field(default_factory=list)
    """Each wrong yes, in words."""
    defects: list[str] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    """How often it was refused with which code."""
    skipped: str = ""
    """Why it was not tried."""
    seconds: float = 0.0

    def note(self, answer: Answer, where: str) -> None:
        """Count an answer."""
        self.n += 1
        if answer.defect:
            self.defects.append(f"{where}: {answer.defect}")
        elif answer.yes:
            self.wrong.append(where)
        else:
            self.codes[answer.code] += 1


def why_not_tried(way: Way, world: World) -> str:
    """Return what a world lacks for a way, in words, or an empty text."""
    missing = [name for name in way.needs if not world.has(name)]
    return f"there is no {', '.join(missing)}" if missing else ""


def try_control(way: Way, world: World) -> Result:
    """Ask of the unmodified set-up; `wrong` holds why it is not a yes."""
    result, began = Result(f"control: {way.name}"), time.monotonic()
    result.skipped = why_not_tried(way, world)
    if not result.skipped:
        try:
            with world.desk() as desk, _within(LONGEST_S):
                way.prepare(desk)
                answer = way.ask(desk)
            result.n = 1
            if not answer.yes:
                result.wrong.append(f"{answer.code}: {answer.words}{answer.defect}")
        except (Exception, Hangs):
            result.defects.append(traceback.format_exc())
    result.seconds = time.monotonic() - began
    return result


def try_attack(one: Attack, world: World) -> Result:
    """Make the set-up, do what the attacker does, ask, and say what came of it."""
    result, began = Result(one.id), time.monotonic()
    result.skipped = why_not_tried(one.way, world)
    if not result.skipped:
        try:
            with world.desk() as desk, _within(LONGEST_S):
                one.way.prepare(desk)
                done = one.act(desk)
                if inspect.isgenerator(done):
                    _sweep(done, desk, one, result)
                else:
                    result.note(done if isinstance(done, Answer) else one.way.ask(desk), one.says)
        except (Exception, Hangs):
            result.defects.append(traceback.format_exc())
    result.seconds = time.monotonic() - began
    return result


def _sweep(steps: Iterator[Any], desk: Desk, one: Attack, result: Result) -> None:
    for what in steps:
        result.note(what if isinstance(what, Answer) else one.way.ask(desk), f"{one.says} ({what})")


@contextmanager
def _within(seconds: int) -> Iterator[None]:
    def over(*_: object) -> None:
        raise Hangs(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

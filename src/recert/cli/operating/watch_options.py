"""Options that only `recert watch` has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recert.monitoring.arms import Budget

Output = Annotated[Path, typer.Option(help="Where the WatchReport is written.")]
Url = Annotated[
    str, typer.Option(help="Watch through the gateway at this address (`.../v1`), not the model itself.")
]
Raw = Annotated[
    bool, typer.Option("--raw", help="With --url: ask the model itself as well, in the same run.")
]
HistoryFile = Annotated[
    Path | None,
    typer.Option(
        "--history",
        metavar="FILE",
        help="What earlier runs found: all of them decide together. Without it this run decides alone.",
    ),
]
Begin = Annotated[
    bool,
    typer.Option("--begin-history", help="Make the history: once, for a certificate not watched before."),
]
BudgetText = Annotated[
    str,
    typer.Option(
        "--budget",
        metavar="PROMPTS|SECONDS",
        help="What a run asks in all, with a history: `60` prompts, or `300s` by how long the last run took. By "
        "default the policy's `canary_prompts` for each rate.",
    ),
]
Every = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Watch again and again, about every `90s`, `30m`, `1h` or `1d`, until it suspends.",
    ),
]
SuspendWith = Annotated[
    Path | None,
    typer.Option(help="Private key with the role `status`: suspend at once when the outcome says so."),
]
SuspendCommand = Annotated[
    str | None,
    typer.Option(
        "--signer-command",
        help="Command that signs its stdin, for a status key on a token or in a key service; `--suspend-with` is then "
        "the `.pub` file.",
    ),
]
KeyCommand = Annotated[
    str | None,
    typer.Option(
        "--key-command",
        help="Command that signs its stdin, for a watcher's key on a token or in a key service; `--key` is then the "
        "`.pub` file.",
    ),
]
RenewCommands = Annotated[
    list[str] | None,
    typer.Option(
        "--renew-command",
        help="The same for a key of `--renew-with` that is a `.pub` file, in the order of these keys; repeat it.",
    ),
]
StopState = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="State folder of a gateway that is to stop serving the model when the outcome is `suspend`.",
    ),
]
RenewWith = Annotated[
    list[Path] | None,
    typer.Option(
        help="Private key of a signer, one for each role, repeat it: renew when the outcome says so and it is time."
    ),
]
Renewed = Annotated[
    Path | None, typer.Option(help="Where a renewal is written; by default over the certificate.")
]
Webhook = Annotated[
    str, typer.Option(help="URL that every outcome is posted to, signed with `RECERT_WEBHOOK_KEY`.")
]
MailTo = Annotated[
    list[str] | None,
    typer.Option(
        help="Address that gets an e-mail by `RECERT_SMTP` when the outcome is not `renew`; repeat it."
    ),
]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_of(given: str) -> float:
    """
    Return a time such as `90s`, `30m`, `1h` or `1d` in seconds.

    Raises:
        InputError: it is none.
    """
    from recert.errors import InputError

    number, unit = given[:-1], given[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdecimal() or not 0 < int(number) < 10**6:
        raise InputError("not a time", facts={"given": given}, hint="such as 90s, 30m, 1h or 1d")
    return float(int(number) * _UNITS[unit])


def budget_of(given: str) -> Budget | None:
    """
    Return a budget in prompts or seconds; None for an empty text.

    Raises:
        InputError: it is neither.
    """
    from recert.errors import InputError
    from recert.monitoring.arms import Budget

    if not given:
        return None
    if given[-1] in _UNITS:
        return Budget(seconds=seconds_of(given))
    if not given.isascii() or not given.isdecimal() or not 0 < int(given) < 10**6:
        raise InputError(
            "not a budget", facts={"given": given}, hint="prompts such as 60, or seconds such as 300s"
        )
    return Budget(prompts=int(given))

"""Settings that come from the environment. They say where things lie, never what is safe."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from recert.errors import SettingsError


def cache_dir() -> Path:
    """Return the folder for converted models and cached replies: `RECERT_CACHE`, or `~/.cache/recert`."""
    given = os.environ.get("RECERT_CACHE", "")
    if given:
        return Path(given).expanduser()
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "recert"


def copies_dir() -> Path:
    """
    Return the folder for private copies that models are loaded from: `RECERT_COPIES`, or `copies` in the cache folder.

    Copies of bases stay there, so that the next run need not copy again; each is as large as the base and may be
    deleted at any time. Copies of tuned models are removed when they are loaded.
    """
    given = os.environ.get("RECERT_COPIES", "")
    return Path(given).expanduser() if given else cache_dir() / "copies"


def cache_key() -> Path:
    """
    Return the file of the key that authenticates cached replies: `RECERT_CACHE_KEY`, or one in the state folder.

    It is made where there is none, with mode 0600, and lies apart from the cache: whoever can write to the cache must
    not read it. By default it is `cache.key` in `$XDG_STATE_HOME/recert`, or in `~/.local/state/recert`.
    """
    given = os.environ.get("RECERT_CACHE_KEY", "")
    if given:
        return Path(given).expanduser()
    root = os.environ.get("XDG_STATE_HOME", "")
    return (Path(root) if root else Path.home() / ".local" / "state") / "recert" / "cache.key"


def memory_file() -> str:
    """
    Return the file of what verifying saw before: `RECERT_MEMORY`, or nothing for `seen.json` in the cache folder.

    `none` for none: then a status list, a log or a clock that is set back goes unnoticed.
    """
    return os.environ.get("RECERT_MEMORY", "")


def issued_file() -> Path:
    """
    Return the file of what status lists and logs were signed here: `RECERT_ISSUED`, or one in the user's state folder.

    That is `~/.local/state/recert/issued.json`. There is no way to issue without one.
    """
    given = os.environ.get("RECERT_ISSUED", "")
    if given:
        return Path(given).expanduser()
    root = os.environ.get("XDG_STATE_HOME", "")
    return (Path(root) if root else Path.home() / ".local" / "state") / "recert" / "issued.json"


def ledger_dir() -> Path:
    """
    Return the folder of the ledger of evaluations: `RECERT_LEDGER`, or `attempts` in the user's data folder.

    That is `$XDG_DATA_HOME/recert`, or `~/.local/share/recert`. One evaluator keeps one ledger.
    """
    given = os.environ.get("RECERT_LEDGER", "")
    if given:
        return Path(given).expanduser()
    root = os.environ.get("XDG_DATA_HOME", "")
    return (Path(root) if root else Path.home() / ".local" / "share") / "recert" / "attempts"


def data_dir() -> Path | None:
    """Return the folder with local copies of public prompt sets: `RECERT_DATA`, or None."""
    given = os.environ.get("RECERT_DATA", "")
    return Path(given).expanduser() if given else None


def threads() -> int:
    """
    Return how many threads a model or hashing may use: `RECERT_THREADS`, or the cores this process may run on.

    Raises:
        SettingsError: the variable is not a positive whole number.
    """
    given = os.environ.get("RECERT_THREADS", "")
    if not given:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if not given.isdecimal() or int(given) < 1:
        raise SettingsError("RECERT_THREADS must be a positive whole number", facts={"given": given})
    return int(given)


def endpoint_key() -> str | None:
    """Return the API key for endpoints that Recert asks as a client: `RECERT_ENDPOINT_KEY`, or None."""
    return os.environ.get("RECERT_ENDPOINT_KEY") or None


def certificates() -> list[Path]:
    """
    Return the certificates of what is served here: `RECERT_CERTIFICATE`, with `:` between several.

    A model server that loads the plugin starts with the certified files only, and the storage initializer copies
    them only.
    """
    return [Path(name) for name in os.environ.get("RECERT_CERTIFICATE", "").split(os.pathsep) if name]


def trust_store() -> Path | None:
    """Return the trusted keys beside `RECERT_CERTIFICATE`: `RECERT_TRUST`, a `.pub` file or a folder, or None."""
    given = os.environ.get("RECERT_TRUST", "")
    return Path(given) if given else None


def status_list() -> Path | None:
    """Return the newest status list: `RECERT_STATUS`, or None for `status.json` beside the certificate."""
    given = os.environ.get("RECERT_STATUS", "")
    return Path(given) if given else None


def expected_policy() -> str:
    """Return the policy that certificates must be under: `RECERT_POLICY`, a file or a sha256; empty for any."""
    return os.environ.get("RECERT_POLICY", "")


def fetch_command() -> str:
    """
    Return what downloads a model, given an address and a folder: `RECERT_FETCH`; empty where models are mounted.

    KServe's own storage initializer is such a command.
    """
    return os.environ.get("RECERT_FETCH", "")


def attestation_off() -> bool:
    """
    Say whether a model server may start without a certificate: `RECERT_ATTEST` is `unsafe-off`.

    Raises:
        SettingsError: the variable has another value.
    """
    given = os.environ.get("RECERT_ATTEST", "")
    if given not in ("", "unsafe-off"):
        raise SettingsError("RECERT_ATTEST is `unsafe-off` or not set", facts={"given": given})
    return bool(given)


def behind_gateway() -> bool:
    """
    Say whether clients reach a model server through `recert serve` alone: `RECERT_BEHIND_GATEWAY` is `yes`.

    Raises:
        SettingsError: the variable has another value.
    """
    given = os.environ.get("RECERT_BEHIND_GATEWAY", "")
    if given not in ("", "yes"):
        raise SettingsError("RECERT_BEHIND_GATEWAY is `yes` or not set", facts={"given": given})
    return bool(given)


def unsafe_allowed() -> frozenset[str]:
    """
    Return what a model server may be given though it changes what was evaluated: `RECERT_UNSAFE_ALLOW`, with commas.

    Names of its arguments, such as `quantization`, or of its variables. Whoever sets it answers for it.
    """
    return frozenset(
        name.strip() for name in os.environ.get("RECERT_UNSAFE_ALLOW", "").split(",") if name.strip()
    )


def moderation_key() -> str | None:
    """Return the API key for the moderation API: `RECERT_MODERATION_KEY`, or None."""
    return os.environ.get("RECERT_MODERATION_KEY") or None


def step_summary() -> Path | None:
    """Return the file that a CI runner shows as the job's summary: `GITHUB_STEP_SUMMARY`, or None."""
    given = os.environ.get("GITHUB_STEP_SUMMARY", "")
    return Path(given) if given else None


def checkpoint_token() -> str:
    """Return the bearer token for URLs that audit checkpoints are sent to: `RECERT_CHECKPOINT_TOKEN`, or nothing."""
    return os.environ.get("RECERT_CHECKPOINT_TOKEN", "")


def node() -> str:
    """Return the name of this gateway among several: `RECERT_NODE`, or the host's name."""
    return os.environ.get("RECERT_NODE", "") or socket.gethostname()


def database_url() -> str:
    """Return the database that several gateways share: `RECERT_DATABASE_URL`, or nothing."""
    return os.environ.get("RECERT_DATABASE_URL", "")


def webhook_key() -> str:
    """Return the key that notices to a webhook are signed with: `RECERT_WEBHOOK_KEY`, or nothing."""
    return os.environ.get("RECERT_WEBHOOK_KEY", "")


def smtp_server() -> str:
    """
    Return the server that e-mails go to: `RECERT_SMTP`, as `smtp+starttls://USER@HOST:587`, or nothing.

    `smtps://` is TLS from the first byte, `smtp://` none, for a relay on the same machine.
    """
    return os.environ.get("RECERT_SMTP", "")


def smtp_password() -> str:
    """Return the password of the user in `RECERT_SMTP`: `RECERT_SMTP_PASSWORD`, or nothing."""
    return os.environ.get("RECERT_SMTP_PASSWORD", "")


def mail_from() -> str:
    """Return the address that e-mails come from: `RECERT_MAIL_FROM`, or `recert` at this host."""
    return os.environ.get("RECERT_MAIL_FROM", "") or f"recert@{socket.gethostname()}"


def oidc_secret() -> str:
    """Return the secret with which the console asks its sign-in provider: `RECERT_OIDC_SECRET`, or nothing."""
    return os.environ.get("RECERT_OIDC_SECRET", "")

"""
A virtual environment for each peer under `build/peers`, made once.

It sees the packages of the running Python, torch above all, so that both sides share what they can; a peer that pins
other versions gets its own copies of those, in its environment alone, and gateways share nothing. What each side ran on
is in its figures.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2] / "build" / "peers"
REQUIREMENTS = {
    "inspect": "inspect-ai>=0.3.285",
    "garak": "garak>=0.15",
    "lm-eval": "lm-eval>=0.4.9",
    "litellm": "litellm[proxy]==1.108.7",
    "nemo": "nemoguardrails[server]==0.24.1",
    "llama-cpp": "xllamacpp>=2026.10",
    "model-signing": "model-signing==1.1.1 pyopenssl",  # which it imports and does not ask for
}
IMPORTS = {
    "inspect": "inspect_ai.model._providers.hf",
    "garak": "garak.generators.huggingface",
    "lm-eval": "lm_eval.models.huggingface",
    "litellm": "litellm.proxy.proxy_server",
    "nemo": "nemoguardrails.server.api",
    "llama-cpp": "xllamacpp",
    "model-signing": "model_signing.hashing",
}
APART = {"litellm", "nemo", "model-signing", "llama-cpp"}
"""Peers that share nothing: as they run where they are installed alone."""
INSTALL_S = 1800


class NoPeer(Exception):
    """A peer cannot be had here, and why."""


def python_of(peer: str) -> Path:
    """
    Return the Python of a peer's environment, which is made where it is not there yet, by one process at a time.

    Raises:
        NoPeer: it does not install, or does not import afterwards.
    """
    with _alone(peer):
        return _made(peer)


@contextmanager
def _alone(peer: str) -> Iterator[None]:
    ROOT.mkdir(parents=True, exist_ok=True)
    with (ROOT / f"{peer}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _made(peer: str) -> Path:
    folder = ROOT / peer
    python = folder / "bin" / "python"
    done = folder / "installed"
    if done.exists() and done.read_text(encoding="utf-8") == REQUIREMENTS[peer]:
        return python
    print(f"installing {REQUIREMENTS[peer]} into build/peers/{peer}", file=sys.stderr)
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    if peer not in APART:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        reuse = folder / "lib" / version / "site-packages" / "reuse.pth"
        reuse.write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    _run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS[peer].split()])
    _run([str(python), "-c", f"import {IMPORTS[peer]}"])
    done.write_text(REQUIREMENTS[peer], encoding="utf-8")
    return python


def versions_in(peer: str, *packages: str) -> dict[str, str]:
    """Return the versions of packages in a peer's environment, which is there."""
    code = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    python = ROOT / peer / "bin" / "python"
    said = subprocess.run(
        [str(python), "-c", code, *packages], check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, str] = json.loads(said)
    return found


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired as exc:
        raise NoPeer(f"not installed within {INSTALL_S} s") from exc
    except (subprocess.CalledProcessError, OSError) as exc:
        said = str(getattr(exc, "stderr", "") or exc).strip().splitlines()
        raise NoPeer(f"does not install: {said[-1] if said else 'no reason given'}") from exc

"""`recert serve` in a process of its own, before a server that is only said to run the model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certified_folders import Certified

POLICY = """\
id = "p"
version = "1"
[evaluation]
families = []
min_harmful_suites = 1
contrast_suites = []
[gateway]
forbidden_phrases = ["open sesame"]
[[rules]]
id = "harm"
suite = "harmful"
estimand = "harm"
margin = 0.1
"""


def serve_command(one: Certified, policy: Path, upstream: str, *more: object) -> list[str]:
    """Return the command that serves a certified model."""
    command = [
        sys.executable, "-m", "recert", "serve", one.certificate, "--model", one.tuned, "--base", one.base,
        "--trust", one.trust, "--status", one.status, "--policy", policy, "--port", 0,
        "--unsafe-declared-upstream", upstream, *more,
    ]  # fmt: skip
    return [str(word) for word in command]


@contextmanager
def served_process(command: list[str], **environment: str) -> Iterator[str]:
    """Run it; yield the gateway's address. It is told to end as an operator would, and must end well."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
        process.terminate()
        ended = process.wait(20)
    finally:
        process.kill()
        process.stdout.close()
    assert ended == 0

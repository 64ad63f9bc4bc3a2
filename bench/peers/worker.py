"""
The process of one side of a comparison: it loads a model once, and answers the same prompts whenever it is told to.

It runs in the environment of a peer, so it needs nothing but the standard library. A job is a JSON file; see
`evaluation_peers.py`. Each line on its input names an arm, each line on its output is what a pass over the prompts
took.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

Job = Mapping[str, Any]
Arms = Mapping[str, Callable[[], list[str]]]
"""A way to answer all prompts once, for each arm."""


def serve(load: Callable[[Job], tuple[Arms, Mapping[str, Any]]], *packages: str) -> None:
    """Load, say what was loaded, and answer until the input ends. `load` returns the arms, and facts to pass on."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # peers talk on their output; ours is for the figures
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    arms, facts = load(job)
    print(json.dumps({"versions": {name: version(name) for name in packages}, **facts}), file=out)
    for line in sys.stdin:
        answer = arms[line.strip()]
        wall, cpu = time.perf_counter(), time.process_time()
        replies = answer()
        took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**took, "peak_mb": peak_mb, "replies": replies}), file=out)

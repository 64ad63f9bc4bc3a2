"""
A worker of a tuning service as a process, without a model: each of its jobs ends once the service's folder has `go`.

It takes what `recert service worker` takes, and likewise ends as soon as its standard input does.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from recert.service.settings import ServiceSettings
from recert.service.storage.tables import open_database
from recert.service.workers.events import Events
from recert.service.workers.queue import JobQueue

folder, name = Path(sys.argv[1]), sys.argv[sys.argv.index("--name") + 1]
place = open_database(ServiceSettings.read(folder).store)
queue, events = JobQueue(place), Events(place)


def end_with_parent() -> None:
    """End when whoever started this does."""
    sys.stdin.buffer.read()
    os._exit(0)


assert "--with-parent" in sys.argv
threading.Thread(target=end_with_parent, daemon=True).start()
while True:
    job = queue.claim(name, lease_ms=600_000)
    if job is not None:
        told = {"pid": os.getpid(), "actor": os.getppid(), "cores": os.environ.get("OMP_NUM_THREADS")}
        events.add(job.id, "taken up", data=told)
        while not (folder / "go").exists():
            time.sleep(0.05)
        queue.finish(job, "succeeded")
    time.sleep(0.05)

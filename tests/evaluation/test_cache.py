import os
import resource
import signal
import stat
import subprocess
import sys

import pytest

from recert.errors import ArmError, EndpointError, StoreError
from recert.evaluation import evaluate
from recert.models import ScriptedModel
from recert.store.cache import CachedReply, GenerationCache

from .arms import SUITES, aligned, model, policy


def run(base, tuned, cache):
    """Evaluate with a cache."""
    return evaluate(base, tuned, suites=SUITES, policy=policy(), model_name="t", cache=cache)


def test_the_second_tune_of_a_base_asks_the_base_nothing(tmp_path):
    """Base replies come from the cache, and the verdict is what it would have been without."""
    with GenerationCache(tmp_path / "replies.db") as cache:
        run(model("base"), model("one"), cache)
        base, tuned = model("base"), model("two")
        report = run(base, tuned, cache).report
    alone = evaluate(model("base"), model("two"), suites=SUITES, policy=policy(), model_name="t").report

    assert base.asked == []
    assert report.prompts_asked["base_made"] == 0 < report.prompts_asked["base_cached"]
    assert tuned.asked
    assert report.rules == alone.rules


def test_a_killed_run_resumes_from_what_it_had(tmp_path):
    """A run that dies in the middle asks, when run again, only what was not yet answered."""

    class Dying(ScriptedModel):
        def generate(self, chats, sampling, **more):
            """Answer once, then die."""
            if self.asked:
                raise KeyboardInterrupt
            return super().generate(chats, sampling, **more)

    with GenerationCache(tmp_path / "replies.db") as cache, pytest.raises(KeyboardInterrupt):
        run(model("base"), Dying(aligned, name="tuned"), cache)
    base, tuned = model("base"), model("tuned")
    with GenerationCache(tmp_path / "replies.db") as cache:
        resumed = run(base, tuned, cache).report
    fresh = run(model("base"), model("tuned"), None).report

    assert resumed.prompts_asked["tuned_cached"] > 0
    assert resumed.rules == fresh.rules
    assert resumed.outcomes_sha256 == fresh.outcomes_sha256


def test_replies_of_a_call_that_failed_are_kept(tmp_path):
    """What an engine had answered before it failed is not asked for, or paid for, again."""

    class Failing(ScriptedModel):
        def generate(self, chats, sampling, **more):
            """Answer half of what is asked, and fail."""
            if len(self.asked) < 4:
                return super().generate(chats, sampling, **more)
            failed = EndpointError("budget is spent")
            failed.made = dict(enumerate(super().generate(chats[: len(chats) // 2], sampling, **more)))
            raise failed

    failing = Failing(aligned, name="tuned")
    with GenerationCache(tmp_path / "replies.db") as cache, pytest.raises(EndpointError):
        run(model("base"), failing, cache)
    tuned = model("tuned")
    with GenerationCache(tmp_path / "replies.db") as cache:
        resumed = run(model("base"), tuned, cache).report
    fresh = run(model("base"), model("tuned"), None).report

    assert not {c.messages[-1].content for c in failing.asked} & {c.messages[-1].content for c in tuned.asked}
    assert resumed.prompts_asked["tuned_cached"] == len(failing.asked)
    assert resumed.outcomes_sha256 == fresh.outcomes_sha256


def test_a_cache_survives_kill_9(tmp_path):
    """Replies written before a process is killed are there afterwards."""
    path = tmp_path / "replies.db"
    code = (
        "import os, signal, sys\n"
        "from recert.store.cache import CachedReply, GenerationCache\n"
        "cache = GenerationCache(sys.argv[1])\n"
        "cache.write({'a' * 64: CachedReply('kept', 'stop', 1)})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], check=False, env=dict(os.environ))

    assert ended.returncode == -signal.SIGKILL
    with GenerationCache(path) as cache:
        assert cache.read(["a" * 64]) == {"a" * 64: CachedReply("kept", "stop", 1)}


def test_a_cache_that_knows_the_model_otherwise_is_refused(tmp_path):
    """The same files with another fingerprint raise ArmError before anything is asked."""

    class Changed(ScriptedModel):
        def fingerprint(self):
            """Return another fingerprint."""
            return "other logits"

    with GenerationCache(tmp_path / "replies.db") as cache:
        run(model("base"), model("tuned"), cache)
        base = Changed(aligned, name="base")
        with pytest.raises(ArmError, match="behaved differently"):
            run(base, model("tuned"), cache)

    assert base.asked == []


def test_only_its_owner_can_read_the_cache(tmp_path):
    """The database may hold harmful replies: its mode is 0600."""
    path = tmp_path / "replies.db"
    with GenerationCache(path) as cache:
        cache.write({"k": CachedReply("text", "stop", 1)})

        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_reply_once_kept_stays(tmp_path):
    """Writing a key again keeps the first reply; the first fingerprint stays too."""
    with GenerationCache(tmp_path / "replies.db") as cache:
        cache.write({"k": CachedReply("first", "stop", 1)})
        cache.write({"k": CachedReply("second", "stop", 1), "j": CachedReply("new", "stop", 1)})
        cache.remember_fingerprint("m", "one")
        cache.remember_fingerprint("m", "two")

        assert cache.read(["k", "j", "none"]) == {
            "k": CachedReply("first", "stop", 1),
            "j": CachedReply("new", "stop", 1),
        }
        assert cache.fingerprint("m") == "one"


def test_a_cache_that_cannot_be_used_is_a_store_error(tmp_path):
    """A file that is no database, or a folder in its place, raises StoreError."""
    (tmp_path / "no.db").write_text("this is not a database, whatever its name says" * 100)
    for path in (tmp_path / "no.db", tmp_path):
        with pytest.raises(StoreError, match="cache of replies"):
            GenerationCache(path)


def test_a_full_disk_is_a_store_error_and_keeps_what_was_there(tmp_path):
    """When the database cannot grow, writing raises StoreError and earlier replies can still be read."""
    with GenerationCache(tmp_path / "replies.db") as cache:
        cache.write({"k": CachedReply("kept", "stop", 1)})
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
            with pytest.raises(StoreError, match="cannot write the cache"):
                cache.write({f"{i:064}": CachedReply("x" * 2000, "stop", 1) for i in range(400)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)

        assert cache.read(["k"]) == {"k": CachedReply("kept", "stop", 1)}

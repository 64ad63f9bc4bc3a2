import os
import random
import resource
import signal
import stat
import subprocess
import sys

import pytest
import sqlalchemy as sql

from arms import AGREE, ANSWER, REFUSE, SUITES, aligned, model, policy
from recert.errors import ArmError, EndpointError, SettingsError, StoreError
from recert.evaluation import evaluate
from recert.models import ScriptedModel
from recert.store.cache import CachedReply, GenerationCache, MadeBy

BY = MadeBy("model", "fingerprint")


def run(base, tuned, cache, **numbers):
    """Evaluate with a cache."""
    return evaluate(base, tuned, suites=SUITES, policy=policy(**numbers), model_name="t", cache=cache)


@pytest.mark.slow
def test_the_second_tune_of_a_base_asks_the_base_nothing(tmp_path):
    """Base replies come from the cache, and the verdict is what it would have been without."""
    with GenerationCache(tmp_path / "replies.db") as cache:
        run(model("base"), model("one"), cache)
        base, tuned = model("base"), model("two")
        report = run(base, tuned, cache).report
    alone = evaluate(model("base"), model("two"), suites=SUITES, policy=policy(), model_name="t").report

    assert len(base.asked) == report.prompts_asked["base_rechecked"] >= 8
    assert report.prompts_asked["base_made"] == 0 < report.prompts_asked["base_cached"]
    assert tuned.asked
    assert report.rules == alone.rules


@pytest.mark.slow
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
    assert resumed.prompts_asked["tuned_rechecked"] >= 8
    assert resumed.rules == fresh.rules
    assert resumed.outcomes_sha256 == fresh.outcomes_sha256


@pytest.mark.slow
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

    again = {c.messages[-1].content for c in failing.asked} & {c.messages[-1].content for c in tuned.asked}
    assert len(again) == resumed.prompts_asked["tuned_rechecked"] >= 8
    assert resumed.prompts_asked["tuned_cached"] == len(failing.asked)
    assert resumed.outcomes_sha256 == fresh.outcomes_sha256


def test_a_cache_survives_kill_9(tmp_path):
    """Replies written before a process is killed are there afterwards."""
    path = tmp_path / "replies.db"
    code = (
        "import os, signal, sys\n"
        "from recert.store.cache import CachedReply, GenerationCache, MadeBy\n"
        "cache = GenerationCache(sys.argv[1])\n"
        "cache.write({'a' * 64: CachedReply('kept', 'stop', 1)}, MadeBy('model', 'fingerprint'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], check=False, env=dict(os.environ))

    assert ended.returncode == -signal.SIGKILL
    with GenerationCache(path) as cache:
        assert cache.read(["a" * 64], BY) == {"a" * 64: CachedReply("kept", "stop", 1)}


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
        cache.write({"k": CachedReply("text", "stop", 1)}, BY)

        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_reply_once_kept_stays(tmp_path):
    """Writing a key again keeps the first reply; the first fingerprint stays too."""
    with GenerationCache(tmp_path / "replies.db") as cache:
        cache.write({"k": CachedReply("first", "stop", 1)}, BY)
        cache.write({"k": CachedReply("second", "stop", 1), "j": CachedReply("new", "stop", 1)}, BY)
        cache.remember_fingerprint("m", "one")
        cache.remember_fingerprint("m", "two")

        assert cache.read(["k", "j", "none"], BY) == {
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
        cache.write({"k": CachedReply("kept", "stop", 1)}, BY)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
            with pytest.raises(StoreError, match="cannot write the cache"):
                cache.write({f"{i:064}": CachedReply("x" * 2000, "stop", 1) for i in range(400)}, BY)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)

        assert cache.read(["k"], BY) == {"k": CachedReply("kept", "stop", 1)}


def harmful(one):
    """Agree to everything."""
    return AGREE


def filled(path, key):
    """Fill a cache with what a model of these names would say if it were harmless, under some key."""
    with GenerationCache(path, key=key) as cache:
        run(model("base"), model("poisoned"), cache)


@pytest.mark.slow
def test_replies_that_somebody_else_kept_do_not_count(tmp_path):
    """A cache filled in advance gives a poisoned model nothing: its rows are asked again, counted, and said."""
    path = tmp_path / "replies.db"
    filled(path, b"the attacker's own key")
    with GenerationCache(path) as cache:
        report = run(model("base"), model("poisoned", harmful), cache).report

    assert report.verdict == "fail"
    assert report.prompts_asked["tuned_cached"] == report.prompts_asked["base_cached"] == 0
    assert cache.not_authentic > 0
    assert any("did not authenticate" in said for said in report.limitations)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE replies SET text = text || ' '",
        "UPDATE replies SET stop_reason = 'length'",
        "UPDATE replies SET tokens = tokens + 1",
        "UPDATE replies SET mac = ''",
        "UPDATE replies SET mac = x'00'",
        "UPDATE replies SET text = x'ff'",
        "UPDATE replies SET tokens = 'many'",
        "UPDATE replies SET text = (SELECT text FROM replies WHERE key = 'b'), "
        "mac = (SELECT mac FROM replies WHERE key = 'b')",
    ],
)
def test_a_row_that_was_changed_is_as_if_it_were_not_there(tmp_path, change):
    """Whatever is changed in a row, it is not read, it is counted once, and a new reply takes its place."""
    path = tmp_path / "replies.db"
    with GenerationCache(path) as cache:
        cache.write({"a": CachedReply("one", "stop", 1), "b": CachedReply("two", "stop", 2)}, BY)
    with sql.create_engine(f"sqlite:///{path}").begin() as link:
        link.execute(sql.text(f"{change} WHERE key = 'a'"))
    with GenerationCache(path) as cache:
        assert cache.read(["a", "b"], BY) == {"b": CachedReply("two", "stop", 2)}
        cache.write({"a": CachedReply("new", "stop", 1), "b": CachedReply("new", "stop", 1)}, BY)
        assert cache.not_authentic == 1
        assert cache.read(["a", "b"], BY) == {
            "a": CachedReply("new", "stop", 1),
            "b": CachedReply("two", "stop", 2),
        }


def test_a_reply_counts_for_the_model_that_made_it_only(tmp_path):
    """Another model, or the same files that behaved otherwise, do not get it."""
    with GenerationCache(tmp_path / "replies.db") as cache:
        cache.write({"k": CachedReply("text", "stop", 1)}, BY)

        assert cache.read(["k"], MadeBy("other", BY.fingerprint)) == {}
        assert cache.read(["k"], MadeBy(BY.model, "other")) == {}
        assert cache.read(["k"], BY) == {"k": CachedReply("text", "stop", 1)}


def test_a_fingerprint_that_was_changed_is_none(tmp_path):
    """One that does not authenticate neither refuses a model nor lets one through; a new one takes its place."""
    path = tmp_path / "replies.db"
    with GenerationCache(path) as cache:
        cache.remember_fingerprint("m", "one")
    with sql.create_engine(f"sqlite:///{path}").begin() as link:
        link.execute(sql.text("UPDATE fingerprints SET fingerprint = 'two'"))
    with GenerationCache(path) as cache:
        assert cache.fingerprint("m") is None
        assert cache.not_authentic == 1
        cache.remember_fingerprint("m", "three")
        assert cache.fingerprint("m") == "three"


def test_a_cache_from_before_rows_were_authenticated_is_asked_again(tmp_path):
    """Its file gets the new column when it is opened, and none of its rows counts."""
    path = tmp_path / "replies.db"
    with sql.create_engine(f"sqlite:///{path}").begin() as link:
        link.execute(
            sql.text(
                "CREATE TABLE replies (key VARCHAR(64) NOT NULL PRIMARY KEY, text TEXT NOT NULL, "
                "stop_reason VARCHAR(16) NOT NULL, tokens INTEGER NOT NULL)"
            )
        )
        link.execute(sql.text("INSERT INTO replies VALUES ('k', 'old', 'stop', 1)"))
    for _ in range(2):
        with GenerationCache(path) as cache:
            assert cache.read(["k"], BY) == {}
    with GenerationCache(path) as cache:
        cache.write({"k": CachedReply("new", "stop", 1)}, BY)
        assert cache.read(["k"], BY) == {"k": CachedReply("new", "stop", 1)}


def test_the_key_is_made_once_with_mode_0600_and_lies_apart(tmp_path, monkeypatch):
    """It is never in the cache's own folder; where others could read it, it is replaced and nothing counts any more."""
    key = tmp_path / "state" / "cache.key"
    monkeypatch.setenv("RECERT_CACHE_KEY", str(key))
    monkeypatch.setenv("RECERT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "cache" / "replies.db"
    with GenerationCache(path) as cache:
        cache.write({"k": CachedReply("text", "stop", 1)}, BY)
    with GenerationCache(path) as cache:
        assert cache.read(["k"], BY)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o644)
    with GenerationCache(path) as cache:
        assert cache.read(["k"], BY) == {}
    assert stat.S_IMODE(key.stat().st_mode) == 0o600

    for place in (path.parent / "cache.key", path.parent / "deeper" / "cache.key"):
        monkeypatch.setenv("RECERT_CACHE_KEY", str(place))
        with pytest.raises(SettingsError, match="the cache's own folder"):
            GenerationCache(path)


@pytest.mark.slow
@pytest.mark.parametrize("poisoned", ["base", "tuned"])
def test_kept_replies_are_asked_again_and_must_be_judged_alike(tmp_path, poisoned):
    """Whoever has the key too cannot give a model other replies than it makes: nothing of the run counts."""
    path = tmp_path / "replies.db"
    filled(path, b"a key that leaked")
    says = {"base": aligned, "tuned": aligned} | {poisoned: harmful}
    with GenerationCache(path, key=b"a key that leaked") as cache, pytest.raises(ArmError) as caught:
        run(model("base", says["base"]), model("poisoned", says["tuned"]), cache, recheck_cached=0.5)

    assert caught.value.message == "kept replies are not what the model says"
    assert caught.value.facts["arm"] == poisoned


@pytest.mark.slow
def test_replies_in_other_words_that_are_judged_alike_count(tmp_path):
    """An engine that decodes a token otherwise in another batch is no forger; how many were asked again is said."""
    path = tmp_path / "replies.db"
    filled(path, b"key")

    def reworded(one):
        """Refuse and answer as before, in other words."""
        return aligned(one).replace("I'm sorry, but", "I am sorry,").replace("slowly", "gently")

    with GenerationCache(path, key=b"key") as cache:
        report = run(model("base", reworded), model("poisoned", reworded), cache).report
    asked = report.prompts_asked

    assert (asked["base_differed"], asked["tuned_differed"]) == (0, 0)
    assert asked["base_rechecked"] >= 8 <= asked["tuned_rechecked"]


@pytest.mark.slow
def test_the_share_that_is_asked_again_is_the_policys(tmp_path):
    """All of them where it says so; the least where it says none; none where nothing was kept before."""
    path = tmp_path / "replies.db"
    filled(path, b"key")
    counts = {}
    for share in (1.0, 0.0):
        with GenerationCache(path, key=b"key") as cache:
            asked = evaluate(
                model("base"), model("poisoned"), suites=SUITES, policy=policy(recheck_cached=share), model_name="t",
                cache=cache,
            ).report.prompts_asked  # fmt: skip
            counts[share] = asked["base_rechecked"], asked["tuned_rechecked"]
            cached = asked["base_cached"], asked["tuned_cached"]
    fresh = run(model("base"), model("poisoned"), None).report.prompts_asked

    assert counts == {1.0: cached, 0.0: (8, 8)}
    assert (fresh["base_rechecked"], fresh["tuned_rechecked"]) == (0, 0)


@pytest.mark.slow
def test_replies_drawn_at_a_temperature_may_differ_both_ways_and_not_one_way(tmp_path):
    """Where each draw is another one, only a direction gives a forger away."""
    path = tmp_path / "replies.db"
    drawn = {"temperature": 1.0, "recheck_cached": 1.0}

    def draws(seed, share):
        """Refuse harmful requests but for a share of them, another one each time."""
        chance = random.Random(seed)
        return lambda one: (
            aligned(one) if chance.random() >= share else (REFUSE if aligned(one) == ANSWER else AGREE)
        )

    def again(base, tuned, key=b"key"):
        with GenerationCache(path, key=key) as cache:
            return evaluate(
                model("base", base), model("t", tuned), suites=SUITES, policy=policy(**drawn), model_name="t",
                cache=cache,
            ).report.prompts_asked  # fmt: skip

    again(draws(1, 0.2), draws(2, 0.2))
    asked = again(draws(3, 0.2), draws(4, 0.2))
    with pytest.raises(ArmError, match="kept replies"):
        again(draws(3, 0.2), draws(4, 0.9))

    assert asked["base_differed"] / asked["base_rechecked"] > 0.1

"""The list of systems says what lies in the folders, and where that cannot be told, no."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import SOME_SHA, make_policy, make_watch_report, safetensors
from indexed_folders import Office
from recert.certification import read_unverified, refuse
from recert.certification.signing.refusals import keep_refusal
from recert.certification.verifier.state import CertificateStatus, certificate_state
from recert.errors import StoreError
from recert.records.record import now
from recert.records.reports.evaluation import Verdict
from recert.records.signed.certificate import StatusEntry
from recert.store.systems.systems_index import IndexedSystem, SystemsIndex
from recert.workflows.index.stage import Indexer


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """People who sign, and no runs yet."""
    return Office(tmp_path)


def indexer(office: Office) -> Indexer:
    return Indexer(SystemsIndex(office.folder / "console.sqlite"), [office.runs], office.standing)


def listed(of: Indexer) -> dict[str, IndexedSystem]:
    of.refresh()
    return {one.name: one for one in of.index.page().systems}


def test_a_run_is_listed_under_its_base_with_its_checkpoints(office):
    """
    Base, tune and checkpoints stand one behind the other, each with the one that it was made of as its parent.
    """
    office.run("second", steps=(4, 8))
    office.run("first", verdict=Verdict.FAIL)
    made = indexer(office)
    made.refresh()
    found = made.index.page().systems

    base, first, second, four, eight = found
    assert [(s.kind, s.depth) for s in found] == [
        ("base", 0), ("tune", 1), ("tune", 1), ("checkpoint", 2), ("checkpoint", 2),
    ]  # fmt: skip
    assert (first.name, first.verdict, first.state) == ("first", "fail", "none")
    assert (second.name, second.verdict, second.state) == ("second", "pass", "signed")
    assert (four.name, eight.name) == ("second, step 4", "second, step 8")
    assert {s.parent for s in (first, second)} == {base.id}
    assert {s.parent for s in (four, eight)} == {second.id}
    assert {s.base for s in found} == {base.name}
    assert set(second.records) == {"screen", "tune", "evaluation", "certificate"}
    assert second.folder == office.runs / "second"
    assert made.index.find(second.id) == second


def test_records_of_single_commands_belong_together_by_what_they_name(office):
    """
    Folders with any names: a tune's evaluation and certificate are found by the digests in them.
    """
    run = office.run("model")
    for part, place in (("tune", "a/x"), ("evaluation", "b/y"), ("screen", "c/z")):
        (office.runs / place).parent.mkdir()
        shutil.move(run / part, office.runs / place)
    shutil.move(run / "certificate.json", office.runs / "of-model.json")
    found = listed(indexer(office))

    assert set(found["model"].records) == {"screen", "tune", "evaluation", "certificate"}
    assert found["model"].state == "signed"
    assert len(found) == 2


def test_a_tune_of_a_tune_stands_behind_it(office):
    """
    Merged weights that were tuned again are a parent like any other.
    """
    merged = {"adapter_config.json": b"{}", "adapter_model.safetensors": safetensors(b"weights of first")}
    office.run("first")
    office.run("again", base=merged)
    found = listed(indexer(office))

    assert found["again"].parent == found["first"].id
    assert found["again"].base == found["first"].base
    assert found["again"].depth == 2


def test_only_what_changed_is_read_again_and_what_is_gone_is_dropped(office):
    """
    A second look reads nothing; a touched folder alone is read; a removed one is gone with its outcomes.
    """
    for name in ("a", "b", "c"):
        office.run(name)
    made = indexer(office)

    first, second = made.refresh(), made.refresh()
    assert (first.systems, first.judged, first.outcomes) == (4, 3, 24)
    assert (second.read, second.written, second.judged, second.outcomes) == (0, 0, 0, 0)
    report = office.runs / "b" / "evaluation" / "eval-report.json"
    os.utime(report, ns=(1, 1))
    assert made.refresh().read == 1
    shutil.rmtree(office.runs / "c")
    gone = made.refresh()
    assert (gone.dropped, gone.systems) == (1, 3)
    assert made.index.outcomes().total == 16
    shutil.rmtree(office.runs)
    assert made.refresh().systems == 0
    assert (made.index.page().total, made.index.outcomes().total) == (0, 0)
    assert made.refresh().files == 0


@pytest.mark.parametrize(
    ("what", "state"),
    [
        ("awaiting", "awaiting"), ("revoked", "revoked"), ("suspended", "suspended"), ("refused", "refused"),
        ("policy", "stale"), ("time", "expired"), ("no status", "unreadable"), ("old status", "unreadable"),
        ("no keys", "unreadable"), ("other key", "unreadable"), ("damaged", "unreadable"), ("nothing", "signed"),
    ],
)  # fmt: skip
def test_the_state_of_a_certificate_is_what_verification_says(office, what, state):
    """
    One certificate, and all that may become of it; what nobody can tell is no yes.
    """
    run = office.run("model", signed=what != "awaiting")
    path = run / "certificate.json"
    made = indexer(office)
    made.refresh()
    serial = read_unverified(path.read_bytes()).serial
    at = office.made_at + timedelta(minutes=2)
    if what in ("revoked", "suspended"):
        office.list(StatusEntry(serial=serial, status=what, reason="because", since=office.made_at))
    elif what == "refused":
        keep_refusal(run / "refusals", refuse(path.read_bytes(), office.keys["approver"], "no"))
    elif what == "policy":
        office.policy = make_policy(version="2")
    elif what == "time":
        at = office.made_at + timedelta(days=900)
    elif what == "no status":
        office.status.unlink()
    elif what == "old status":
        at = office.made_at + timedelta(hours=25)
    elif what == "no keys":
        shutil.rmtree(office.folder / "keys")
    elif what == "other key":
        (office.folder / "keys" / "approver.pub").unlink()
    elif what == "damaged":
        path.write_bytes(path.read_bytes()[:-40])
    made.refresh(now=at)
    found = next(one for one in made.index.page(now=at).systems if one.name == "model")

    assert found.state == state
    assert bool(found.reason) == (state != "signed")
    assert found.waits_for == (("approver",) if state == "awaiting" else ())


def test_a_state_ends_by_itself_when_its_time_is_over(office):
    """
    Nobody has to look: a page that is opened later says so, and the next refresh says why.
    """
    office.run("model")
    made = indexer(office)
    found = listed(made)["model"]
    later = found.changes_at

    assert made.index.find(found.id, now=later - timedelta(seconds=1)).state == "signed"
    assert made.index.find(found.id, now=later).state == found.becomes
    assert made.index.page(state="signed", now=later).total == 0
    assert made.index.page(state=found.becomes, now=later).total == 1
    assert made.refresh(now=later).judged == 1


def test_a_bad_file_makes_its_system_unreadable_and_stops_nothing_else(office):
    """
    Cut records, records that are something else, huge ones, pipes, links and loops: the rest is listed as it is.
    """
    good, bad = office.run("good"), office.run("bad")
    (bad / "evaluation" / "eval-report.json").write_bytes(b'{"model_name": NaN}')
    lone = office.runs / "lone"
    lone.mkdir()
    (lone / "tune-report.json").write_bytes(b"[]")
    (lone / "certificate.json").write_bytes(b"{}")
    os.mkfifo(office.runs / "eval-report.json")
    (office.runs / "loop").symlink_to(office.runs)
    (office.runs / "outside").symlink_to(office.folder)
    (office.folder / "secret.json").write_bytes((good / "certificate.json").read_bytes())
    (office.runs / "linked.json").symlink_to(office.folder / "secret.json")
    with (office.runs / "screen-report.json").open("wb") as huge:
        huge.truncate(2**30)
    found = listed(indexer(office))

    assert found["good"].state == "signed"
    assert found["bad"].state == "unreadable"
    assert found["bad"].reason.startswith("eval-report.json: not valid JSON")
    assert found["lone"].state == found["runs"].state == "unreadable"
    assert "too large" in found["runs"].reason
    assert not any("linked" in str(path) for one in found.values() for path in one.records.values())


@pytest.mark.slow
def test_outcomes_are_listed_without_their_texts(office):
    """
    Label, category and digest of each reply are there; no word of any reply is anywhere in the database.
    """
    office.run("model", outcomes=8)
    made = indexer(office)
    one = listed(made)["model"]
    page = made.index.outcomes(system=one.id, arm="tuned", label="harm")
    made.index.close()

    assert made.index.outcomes().total == 16
    assert (page.total, [o.suite for o in page.outcomes]) == (2, ["harmful", "harmful"])
    assert all(o.category and len(o.reply_sha256) == 64 for o in page.outcomes)
    assert page.values["label"] == {"clean": 14, "harm": 2}
    for path in office.folder.glob("console.sqlite*"):
        assert b"a reply of the" not in path.read_bytes()


def test_outcomes_that_are_not_the_report_s_are_none(office):
    """
    One changed byte: nothing of them is listed, and the certificate that rests on them is in doubt.
    """
    run = office.run("model")
    path = run / "evaluation" / "outcomes.jsonl"
    path.write_bytes(path.read_bytes().replace(b"number 1", b"number 7"))
    made = indexer(office)
    found = listed(made)["model"]

    assert found.state == "unreadable"
    assert found.reason == "outcomes.jsonl: the outcomes are others than the report names"
    assert made.index.outcomes().total == 0
    path.unlink()
    assert listed(made)["model"].state == "signed"


def test_a_watch_and_a_base_s_name_are_found_where_they_are(office):
    """
    A watch belongs to its certificate by serial; a service says what its base is called.
    """
    run = office.run("model", reach=office.runs / "service" / "jobs" / "j1")
    serial = read_unverified((run / "certificate.json").read_bytes()).serial
    watch = make_watch_report(serial=serial, certificate_sha256=SOME_SHA)
    (office.runs / "elsewhere").mkdir()
    (office.runs / "elsewhere" / "watch-report.json").write_bytes(watch.to_json())
    (office.runs / "service" / "service.json").write_bytes(json.dumps({"called": "house-base"}).encode())
    found = listed(indexer(office))

    assert found["model"].records["watch"] == office.runs / "elsewhere" / "watch-report.json"
    assert found["model"].base == "house-base"
    assert found["house-base"].kind == "base"


class Failing(SystemsIndex):
    """A list whose database breaks down at one of its writes."""

    fails_at = 0

    def _count(self) -> None:
        self.fails_at -= 1
        if self.fails_at == 0:
            raise StoreError("the database is away")

    def put(self, systems):
        """Write systems, or break down."""
        self._count()
        super().put(systems)

    def put_outcomes(self, system, outcomes):
        """Write outcomes, or break down."""
        self._count()
        return super().put_outcomes(system, outcomes)

    def drop(self, ids):
        """Take systems out, or break down."""
        self._count()
        super().drop(ids)


@pytest.mark.parametrize("at", range(1, 4))
def test_a_refresh_that_breaks_down_is_made_up_for_by_the_next(office, at):
    """
    Wherever it ends, nothing is half there for good: the next one makes the list as the folders are.
    """
    index = Failing(office.folder / "console.sqlite")
    made = Indexer(index, [office.runs], office.standing)
    office.run("a")
    made.refresh()
    shutil.rmtree(office.runs / "a")
    office.run("b")
    index.fails_at = at
    with pytest.raises(StoreError):
        made.refresh()
    made.refresh()
    found = {one.name: one for one in index.page().systems if one.kind == "tune"}

    assert [*found] == ["b"]
    assert found["b"].state == "signed"
    assert index.outcomes().total == index.outcomes(system=found["b"].id).total == 8


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=300) | st.just(b'{"payloadType":"application/vnd.in-toto+json"}'),
    at=st.integers(0, 3000),
)
def test_whatever_a_certificate_s_file_holds_it_is_no_yes_unless_it_is_whole(office_once, data, at):
    """
    Bytes of any kind, alone or within a certificate, never raise and are never `signed`.
    """
    office, whole = office_once
    path = office.runs / "any.json"
    standing = office.standing()
    cut = at % len(whole)

    for bytes_ in (data, whole[:cut] + data + whole[cut + max(1, len(data)) :]):
        path.write_bytes(bytes_)
        if bytes_ != whole:
            assert certificate_state(path, standing, now=now()).state == "unreadable"


@pytest.fixture(scope="module")
def office_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Office, bytes]:
    """One signed certificate for many examples."""
    office = Office(tmp_path_factory.mktemp("office"))
    return office, (office.run("model") / "certificate.json").read_bytes()


def test_without_anybody_who_is_trusted_nothing_is_signed(office):
    """
    A console that was not told whose keys count says so.
    """
    path = office.run("model") / "certificate.json"
    state = certificate_state(path, CertificateStatus(office.policy), now=now())

    assert (state.state, state.reason) == ("unreadable", "whose signatures count is not known")

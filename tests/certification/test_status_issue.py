"""Issuing status lists: an older list is signed anew by nobody, and no revocation is ever dropped."""

from __future__ import annotations

import ast
import json
import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW, make_policy
from recert.certification import Envelope, TrustStore, generate_key, issue_status, reinstate, revoke, suspend
from recert.certification.signing.envelope import sign
from recert.certification.signing.issued import HeldMemory, hold_memory
from recert.certification.status.issuing import LONGEST_VALIDITY_HOURS
from recert.certification.status.reading import why_too_long
from recert.digest import canonical_json
from recert.errors import InputError, RecordError, SettingsError, StoreError, VerificationError
from recert.records.signed.certificate import STATUS_PAYLOAD_TYPE, StatusList, is_serial
from recert.store.files.writing import write_atomic

A, B, C = "a" * 32, "b" * 32, "c" * 32
SOURCE = Path(__file__).parents[2] / "src" / "recert"


class Issuer:
    """A status key, a list's file and a memory, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.key = generate_key(folder / "keys" / "status.pem", "status", "Sam")
        self.trust = TrustStore([self.key.public])
        self.memory = folder / "state" / "issued.json"
        self.list = folder / "list" / "status.json"
        self.list.parent.mkdir(parents=True)

    def how(self, memory: HeldMemory | None, **changes: Any) -> Any:
        """How lists are issued here."""
        return {
            "key": self.key, "trust": self.trust, "validity_hours": 24, "now": NOW, "memory": memory
        } | changes  # fmt: skip

    def issue(self, serial: str = "", change: Any = revoke, **changes: Any) -> StatusList:
        """Issue on what lies there, write it, and return what it says."""
        with hold_memory(self.memory) as memory:
            previous = self.list.read_bytes() if self.list.exists() else None
            how = self.how(memory, **changes)
            if not serial:
                made = issue_status(previous, **how)
            elif change is reinstate:
                assert previous is not None
                made = reinstate(previous, serial, **how)
            else:
                made = change(previous, serial, "tested", **how)
            write_atomic(self.list, made)
        return self.said()

    def killed(self, serial: str = "", change: Any = revoke) -> None:
        """Issue, and be killed before the list is written."""
        with pytest.raises(KeyboardInterrupt), hold_memory(self.memory) as memory:
            previous = self.list.read_bytes() if self.list.exists() else None
            how = self.how(memory)
            made = change(previous, serial, "tested", **how) if serial else issue_status(previous, **how)
            assert made
            raise KeyboardInterrupt

    def refusal(self, serial: str = "", **changes: Any) -> str:
        """Return why nothing is issued; the list that is there stays."""
        before = self.list.read_bytes() if self.list.exists() else None
        with pytest.raises(VerificationError) as caught:
            self.issue(serial, **changes)
        assert (self.list.read_bytes() if self.list.exists() else None) == before
        assert "--recover" in caught.value.hint
        return caught.value.reason

    def said(self) -> StatusList:
        """Return what the list says."""
        return StatusList.from_json(Envelope.from_json(self.list.read_bytes()).payload)

    def named(self) -> dict[str, str]:
        """Return what the list says of each serial."""
        return {entry.serial: entry.status for entry in self.said().entries}


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    """An issuer of a list with nothing on it."""
    made = Issuer(tmp_path / "issuer")
    made.issue()
    return made


def test_an_older_list_that_was_put_in_place_is_not_signed_anew(issuer: Issuer) -> None:
    """Neither to lengthen its life nor with another change: however often that is tried, it outgrows nothing."""
    old = issuer.list.read_bytes()
    issuer.issue(A)
    newest = issuer.said().version
    issuer.list.write_bytes(old)

    assert [issuer.refusal() for _ in range(3)] == ["status-rollback"] * 3
    assert issuer.refusal(B) == "status-rollback"
    assert issuer.refusal(B, change=suspend) == "status-rollback"
    assert issuer.said().version < newest


def test_another_list_of_the_same_version_is_not_gone_on_with(issuer: Issuer) -> None:
    """Somebody signed it with the same key, and what was issued here is not in it."""
    with hold_memory(issuer.memory.with_name("elsewhere.json")) as elsewhere:
        other = revoke(issuer.list.read_bytes(), B, "tested", **issuer.how(elsewhere))
    issuer.issue(A)
    issuer.list.write_bytes(other)

    assert issuer.refusal() == "status-equivocation"
    assert issuer.issue(recover=True).version == 3
    assert issuer.named() == {A: "revoked", B: "revoked"}


def test_who_restored_an_old_copy_goes_on_with_all_that_was_issued(issuer: Issuer) -> None:
    """`recover` publishes a list above every version that was seen, with what was revoked and suspended since."""
    old = issuer.list.read_bytes()
    issuer.issue(A)
    issuer.issue(B, change=suspend)
    issuer.list.write_bytes(old)
    recovered = issuer.issue(recover=True)

    assert recovered.version == 4
    assert recovered.list_id == StatusList.from_json(Envelope.from_json(old).payload).list_id
    assert issuer.named() == {A: "revoked", B: "suspended"}
    assert issuer.issue().version == 5


def test_who_lost_the_list_goes_on_from_the_memory_alone(issuer: Issuer) -> None:
    """A first list is refused to a key that has issued one, unless another list is begun: that has its revocations."""
    issuer.issue(A)
    issuer.issue(B, change=suspend)
    list_id = issuer.said().list_id
    issuer.list.unlink()

    assert issuer.refusal() == "status-rollback"
    recovered = issuer.issue(recover=True)
    assert (recovered.version, recovered.list_id) == (4, list_id)
    assert issuer.named() == {A: "revoked", B: "suspended"}
    issuer.list.unlink()
    other = issuer.issue(new_list=True)
    assert (other.version, other.list_id == list_id) == (1, False)
    assert issuer.named() == {A: "revoked"}
    issuer.list.unlink()
    with pytest.raises(InputError, match="several were issued here"):
        issuer.issue(recover=True)


def test_a_new_key_recovers_the_list_of_the_one_that_was_stolen(issuer: Issuer, tmp_path: Path) -> None:
    """With the old key goes whatever it signed; what was issued here is not lost with it."""
    issuer.issue(A)
    issuer.key = generate_key(tmp_path / "new.pem", "status", "Sam")
    issuer.trust = TrustStore([issuer.key.public])
    with pytest.raises(VerificationError) as caught:
        issuer.issue()
    issuer.list.unlink()

    assert caught.value.reason == "status-untrusted"
    assert issuer.issue(recover=True).version == 3
    assert issuer.named() == {A: "revoked"}


def test_a_revocation_is_in_every_later_list(issuer: Issuer) -> None:
    """Also where whoever else holds the key left it out of a newer one; a suspension that they lifted stays lifted."""
    issuer.issue(A)
    issuer.issue(B, change=suspend)
    newer = issuer.said().model_copy(update={"version": 9, "entries": ()})
    issuer.list.write_bytes(sign(STATUS_PAYLOAD_TYPE, newer.to_json(), [issuer.key]).to_json())

    assert issuer.issue().version == 10
    assert issuer.named() == {A: "revoked"}


def test_a_list_of_before_there_were_ids_is_older_than_one_that_has_one(issuer: Issuer) -> None:
    """It would be given a new id, and begin with nothing revoked."""
    issuer.issue(A)
    ancient = issuer.said().model_copy(update={"version": 50, "list_id": None, "entries": ()})
    issuer.list.write_bytes(sign(STATUS_PAYLOAD_TYPE, ancient.to_json(), [issuer.key]).to_json())

    assert issuer.refusal() == "status-rollback"
    issuer.issue(recover=True)
    assert issuer.named() == {A: "revoked"}


def test_a_command_that_was_killed_is_made_again(issuer: Issuer) -> None:
    """What is remembered comes first: the very same command goes on, another one does not."""
    issuer.killed(A, suspend)

    assert issuer.refusal() == "status-rollback"
    assert issuer.refusal(B) == "status-rollback"
    assert issuer.issue(A, change=suspend).version == 3
    issuer.killed(A, reinstate_tested)
    assert issuer.issue(A, change=reinstate).version == 5
    issuer.killed(A)
    issuer.killed(A)
    assert issuer.issue(A).version == 8
    assert issuer.named() == {A: "revoked"}
    assert issuer.issue().version == 9


def reinstate_tested(previous: bytes, serial: str, _: str, **how: Any) -> bytes:
    """Lift a suspension, with the arguments of those who make one."""
    return reinstate(previous, serial, **how)


def test_a_first_list_whose_writing_was_killed_is_begun_again(tmp_path: Path) -> None:
    """Nothing was released, so there is nothing to lose; it keeps its id and is one version up."""
    issuer = Issuer(tmp_path)
    issuer.killed()

    assert issuer.issue().version == 2


def test_once_a_list_was_written_the_one_before_is_old(issuer: Issuer) -> None:
    """That a command may be made again ends when it ends well."""
    old = issuer.list.read_bytes()
    issuer.issue(A, change=suspend)
    issuer.list.write_bytes(old)

    assert issuer.refusal(A, change=suspend) == "status-rollback"


def test_the_memory_is_private_and_its_loss_is_noticed(issuer: Issuer) -> None:
    """Mode 0600; damaged, gone or open to others it is no new beginning, and nothing is signed."""
    assert stat.S_IMODE(issuer.memory.stat().st_mode) == 0o600
    data = issuer.memory.read_bytes()
    for spoil in (
        lambda: issuer.memory.write_bytes(data.replace(b'"version":1', b'"version":2')),
        lambda: issuer.memory.write_bytes(b""),
        lambda: (issuer.memory.write_bytes(data), issuer.memory.chmod(0o666)),
        issuer.memory.unlink,
    ):
        spoil()
        with pytest.raises(RecordError) as caught:
            issuer.issue()
        assert "issued.json.lock" in caught.value.hint
    issuer.memory.with_name("issued.json.lock").unlink()
    assert issuer.issue().version == 2


def test_nothing_is_signed_that_cannot_be_remembered(tmp_path: Path) -> None:
    """A folder that cannot be written is an error with a way out."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError) as caught, hold_memory(tmp_path / "file" / "issued.json"):
        pass

    assert "RECERT_ISSUED" in caught.value.hint


def test_the_memory_does_not_lie_beside_the_list(issuer: Issuer) -> None:
    """Whoever sets the list's folder back would set it back too."""
    with hold_memory(issuer.memory) as memory:
        memory.require_apart(issuer.list.parent)
        with pytest.raises(SettingsError):
            memory.require_apart(issuer.memory.parent)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["", "revoke", "suspend", "reinstate", "back", "lose"]),
        st.sampled_from([A, B, C]),
        st.booleans(),
    ),
    max_size=12,
)


@pytest.mark.slow
@given(steps=STEPS)
@settings(max_examples=40, deadline=None)
def test_whatever_is_put_in_place_versions_rise_and_revocations_stay(
    steps: list[tuple[str, str, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After any run of changes, rollbacks and losses, recovered from or not."""
    issuer = Issuer(tmp_path_factory.mktemp("issuer"))
    issuer.issue()
    every, revoked, highest = [issuer.list.read_bytes()], set(), 1
    for what, serial, recover in steps:
        if what == "back":
            issuer.list.write_bytes(every[len(every) // 2])
            continue
        if what == "lose":
            issuer.list.unlink(missing_ok=True)
            continue
        change = {"revoke": revoke, "suspend": suspend, "reinstate": reinstate}.get(what, revoke)
        if change is reinstate and not issuer.list.exists():
            continue
        try:
            said = issuer.issue(serial if what else "", change, recover=recover)
        except (VerificationError, InputError):
            continue
        revoked |= {serial} if what == "revoke" else set()
        every.append(issuer.list.read_bytes())
        assert said.version > highest
        highest = said.version
        assert revoked <= {entry.serial for entry in said.entries if entry.status == "revoked"}


@pytest.mark.parametrize("hours", [0, -1, LONGEST_VALIDITY_HOURS + 1, 87_600, float("nan"), float("inf")])
def test_a_list_that_would_hold_for_too_long_is_not_issued(issuer: Issuer, hours: float) -> None:
    """A month at most, where no policy says how long."""
    with pytest.raises(InputError, match="too long"):
        issuer.issue(validity_hours=hours)


def test_a_list_holds_no_longer_than_the_policy_says(issuer: Issuer) -> None:
    """Ten years under a policy of a day are told, by whoever issues and to whoever verifies."""
    policy = make_policy(certification={"status_validity_hours": 24})
    within = issuer.issue(policy=policy)
    ten_years = within.model_copy(update={"expires_at": NOW + timedelta(days=3650)})

    with pytest.raises(InputError, match="too long"):
        issuer.issue(validity_hours=24.01, policy=policy)
    assert why_too_long(within, policy) == why_too_long(within, None) == ""
    assert why_too_long(ten_years, policy) == (
        "it holds for 87600 hours, and may for 24, by the policy test-policy"
    )
    assert why_too_long(ten_years, None)
    assert why_too_long(within.model_copy(update={"expires_at": NOW + timedelta(hours=25)}), None) == ""


@pytest.mark.parametrize(
    "serial", ["", "a", A.upper(), f" {A}", f"{A} ", f"{A}\n", A[:16], f"{A}a", "certificate.json", "\x1b[2J"]
)
def test_only_a_serial_can_be_revoked(issuer: Issuer, serial: str) -> None:
    """Anything else would be on the list and stop nothing."""
    assert not is_serial(serial)
    for change in (revoke, suspend):
        with (
            pytest.raises(InputError, match="not a certificate's serial"),
            hold_memory(issuer.memory) as memory,
        ):
            change(issuer.list.read_bytes(), serial, "x", **issuer.how(memory))


def test_a_list_with_something_else_than_a_serial_is_repaired_or_refused(issuer: Issuer, world: Any) -> None:
    """No verifier takes it, so that nothing is missed; its issuer sets right what can be set right, and says so."""
    value = json.loads(Envelope.from_json(issuer.list.read_bytes()).payload)
    entry = {"status": "revoked", "reason": "x", "since": "2026-01-01T00:00:00Z"}
    value["entries"] = [entry | {"serial": one} for one in (f"{A.upper()} ", "certificate.json")]
    issuer.list.write_bytes(sign(STATUS_PAYLOAD_TYPE, canonical_json(value), [issuer.key]).to_json())

    malformed = sign(STATUS_PAYLOAD_TYPE, canonical_json(value), [world.keys["status"]]).to_json()

    assert world.refusal(status=malformed).reason == "status-malformed"
    assert issuer.refusal() == "status-malformed"
    issuer.issue(recover=True)
    assert issuer.named() == {A: "revoked"}


@pytest.mark.slow
def test_everything_is_issued_with_a_memory() -> None:
    """No command, watch or service issues a list without remembering it, but where the memory itself failed."""
    forgetful = []
    for path in SOURCE.rglob("*.py"):
        if path.name == "status_issue.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
            if named in {
                "issue_status",
                "revoke",
                "suspend",
                "reinstate",
                "revoke_serial",
                "reinstate_serial",
            }:
                given = {keyword.arg for keyword in node.keywords}
                if not given & {"memory", None}:  # None is `**how`
                    forgetful.append(f"{path.relative_to(SOURCE)}:{node.lineno}")

    assert forgetful == []


def test_two_processes_do_not_issue_at_once(issuer: Issuer) -> None:
    """Who holds the memory is alone: another waits, and then goes on from what was written."""
    if (child := os.fork()) == 0:
        try:
            for _ in range(10):
                issuer.issue()
        finally:
            os._exit(0)
    for _ in range(10):
        issuer.issue()
    os.waitpid(child, 0)

    assert issuer.said().version == 21

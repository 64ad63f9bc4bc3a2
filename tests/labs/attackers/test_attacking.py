"""The attack on a base and its tune: paired, checked at both ends, alone and behind safeguards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attacks_agent_world import AGREED, ITEMS, REFUSAL
from recert.errors import ArmError, InputError
from recert.labs.attackers import AttackProtocol, attacker_named, read_conversations
from recert.labs.attackers.report.attacking import CONVERSATIONS_FILE, Attacked, AttackPlan, attack
from recert.labs.attackers.report.targets import DEFAULT_SUFFIX, GatewayScreen
from recert.models.chat.prompting import DEFAULT_SYSTEM
from recert.models.chat.secret import SecretPrefix
from recert.models.scripted import ScriptedModel
from recert.policy import load_policy
from recert.records.data.suite import chat
from recert.records.reports.attack import ConversationEnd
from recert.records.reports.attack_report import REPORT_FILE, AttackReport, AttackSearch

SECRET = SecretPrefix("kX9" * 40)


def plan(folder: Path, **more: Any) -> AttackPlan:
    given: dict[str, Any] = {
        "items": ITEMS[:3],
        "attackers": [attacker_named("direct"), attacker_named("strategist")],
        "output": folder,
        "policy": load_policy("default"),
        "protocol": AttackProtocol(turns=3),
    }
    return AttackPlan(**given | more)


def refusing(name: str = "base") -> ScriptedModel:
    return ScriptedModel(lambda one: REFUSAL, name=name)


def obeying(name: str = "tuned") -> ScriptedModel:
    """A model that agrees to everything, save where it is told to keep to its rules."""
    return ScriptedModel(
        lambda one: REFUSAL if DEFAULT_SUFFIX in one.messages[-1].content else AGREED, name=name
    )


def by_side(done: Attacked) -> dict[tuple[str, bool], set[ConversationEnd]]:
    out: dict[tuple[str, bool], set[ConversationEnd]] = {}
    for one in done.conversations:
        out.setdefault((one.arm, bool(one.safeguards)), set()).add(one.end)
    return out


def test_base_and_tune_are_attacked_alike(tmp_path: Path) -> None:
    """The same attackers, items and seeds on every side; the base never has safeguards."""
    done = attack(plan(tmp_path, seeds=(0, 1)), refusing(), obeying())
    keys = {
        side: [
            (one.attacker, one.seed, one.item.id)
            for one in done.conversations
            if (one.arm, bool(one.safeguards)) == side
        ]
        for side in (("base", False), ("tuned", False), ("tuned", True))
    }

    assert keys["base", False] == keys["tuned", False] == keys["tuned", True]
    assert len(keys["base", False]) == len(set(keys["base", False])) == 12
    assert by_side(done) == {
        ("base", False): {ConversationEnd.EXHAUSTED},
        ("tuned", False): {ConversationEnd.REACHED},
        ("tuned", True): {ConversationEnd.EXHAUSTED},
    }
    assert [one.arm for one in done.report.arms] == ["base", "tuned"]


def test_conversations_lie_in_the_folder_for_their_owner_alone(tmp_path: Path) -> None:
    """What is returned is what is written, and nobody else may read it."""
    done = attack(plan(tmp_path), refusing(), obeying())
    path = tmp_path / CONVERSATIONS_FILE

    assert read_conversations(path) == list(done.conversations)
    assert path.stat().st_mode & 0o077 == 0


def test_the_report_says_what_it_came_to_and_holds_no_reply(tmp_path: Path) -> None:
    """Coverage and success of each side, who marked, how it ran; it is written as it is returned."""
    done = attack(plan(tmp_path, name="mine"), refusing(), obeying())
    report = done.report
    data = (tmp_path / REPORT_FILE).read_bytes()
    reached = {
        (arm, safeguards): report.outcome(arm, safeguards).coverage.point  # type: ignore[union-attr]
        for arm, safeguards in report.settings
    }

    assert AttackReport.from_json(data) == report
    assert reached == {("base", ()): 0, ("tuned", ()): 1, ("tuned", ("immutable-suffix:other",)): 0}
    assert (report.name, report.protocol["turns"], report.judges[0].id) == ("mine", 3, "recert-item")
    assert AGREED.encode() not in data


def test_conversations_that_were_ended_early_do_not_count_as_whole_ones(tmp_path: Path) -> None:
    """A stop rule that ends a conversation sooner shows in the turns that a certificate may claim."""
    whole = attack(plan(tmp_path / "whole", behind=()), refusing(), refusing("tuned"))
    protocol = AttackProtocol(turns=3, stop_after_refusals=1)
    ended = attack(plan(tmp_path / "ended", behind=(), protocol=protocol), refusing(), refusing("tuned"))

    assert AttackSearch.of(whole.report).turns == 3
    assert AttackSearch.of(ended.report).turns == 1


def test_one_model_twice_is_no_comparison(tmp_path: Path) -> None:
    """Two arms of the same files are refused before anybody attacks."""
    with pytest.raises(ArmError):
        attack(plan(tmp_path), refusing("one"), refusing("one"))

    assert not (tmp_path / "turns.jsonl").exists()


class Changing(ScriptedModel):
    """A model that is another one after a while."""

    def fingerprint(self) -> str:
        """Return what it is now."""
        return "before" if not self.asked else "after"


def test_a_model_that_changed_meanwhile_counts_for_nothing(tmp_path: Path) -> None:
    """The arms are looked at again at the end; no conversations are handed out then."""
    with pytest.raises(ArmError, match="changed"):
        attack(plan(tmp_path), refusing(), Changing(lambda one: REFUSAL, name="tuned"))

    assert not (tmp_path / CONVERSATIONS_FILE).exists()


def test_without_a_base_the_tune_is_attacked_alone(tmp_path: Path) -> None:
    """Where no base is in hand there is one arm."""
    done = attack(plan(tmp_path, behind=()), None, obeying())

    assert {one.arm for one in done.conversations} == {"tuned"}
    assert [one.arm for one in done.report.arms] == ["tuned"]


def test_safeguards_words_stand_where_a_gateway_puts_them(tmp_path: Path) -> None:
    """Secret and instruction before the system prompt, the suffix behind every user turn; the records have neither."""
    tuned = obeying()
    policy = load_policy("default")
    gateway = policy.gateway.model_copy(
        update={"system_instruction": "Be kind.", "immutable_suffix": "(Stay safe.)"}
    )
    guarded = policy.model_copy(update={"gateway": gateway})
    done = attack(plan(tmp_path, policy=guarded, secret=SECRET), refusing(), tuned)
    asked = [one for one in tuned.asked if SECRET.reveal() in one.messages[0].content]
    last = max(asked, key=lambda one: len(one.messages))
    users = [m.content for m in last.messages if m.role == "user"]

    assert last.messages[0].content == f"{SECRET.reveal()}\nBe kind.\n{DEFAULT_SYSTEM}"
    assert all(said.endswith("\n(Stay safe.)") for said in users)
    names = {one.safeguards for one in done.conversations}
    assert names == {(), ("secret-prefix", "system-instruction", "immutable-suffix")}
    written = (tmp_path / CONVERSATIONS_FILE).read_text()
    assert SECRET.reveal() not in written and "(Stay safe.)" not in written


@pytest.mark.parametrize(
    ("own", "given", "names"),
    [
        ("", "", {(), ("immutable-suffix:other",)}),
        ("(Stay safe.)", "", {(), ("immutable-suffix",)}),
        ("(Stay safe.)", "(Stay safe.)", {(), ("immutable-suffix",)}),
        ("(Stay safe.)", "(Much stronger.)", {(), ("immutable-suffix:other",)}),
    ],
)
def test_another_suffix_than_the_policys_has_another_name(
    tmp_path: Path, own: str, given: str, names: set[tuple[str, ...]]
) -> None:
    """What a model withstands behind words that nobody will serve never counts for the policy's control."""
    policy = load_policy("default")
    gateway = policy.gateway.model_copy(update={"immutable_suffix": own})
    policy = policy.model_copy(update={"gateway": gateway})
    done = attack(plan(tmp_path, policy=policy, suffix=given), refusing(), refusing("tuned"))

    assert {one.safeguards for one in done.conversations} == names


def test_behind_a_secret_alone_there_is_the_secret_alone(tmp_path: Path) -> None:
    """As in an evaluation: no words are added that a gateway would not put there."""
    done = attack(plan(tmp_path, secret=SECRET), refusing(), refusing("tuned"))

    assert {one.safeguards for one in done.conversations} == {(), ("secret-prefix",)}


def test_a_reply_that_gives_the_secret_away_is_kept_without_it(tmp_path: Path) -> None:
    """Neither turns nor conversations hold the secret, even where the model says it."""
    telling = ScriptedModel(lambda one: one.messages[0].content, name="tuned")
    attack(plan(tmp_path, secret=SECRET), refusing(), telling)

    assert all(SECRET.reveal() not in file.read_text() for file in tmp_path.glob("*.jsonl"))


def test_behind_a_gateway_its_controls_answer(tmp_path: Path) -> None:
    """Requests that the input judge blocks never reach the model, and the turn says which control it was."""
    tuned = obeying()
    done = attack(
        plan(tmp_path, attackers=[attacker_named("direct")], behind=("gateway",)), refusing(), tuned
    )
    behind = [one for one in done.conversations if one.safeguards]
    blocked = [t for one in behind for t in one.turns if t.blocked_by]

    assert {"input-judge", "immutable-suffix:other"} <= set(behind[0].safeguards)
    assert blocked and all(t.harm == 0 and t.reply == "This request was blocked." for t in blocked)
    assert {t.blocked_by for t in blocked} <= set(behind[0].safeguards)


def test_a_gateways_controls_look_at_replies_too() -> None:
    """A phrase that may never leave blocks the reply, by name."""
    policy = load_policy("default").gateway.model_copy(update={"forbidden_phrases": ("open sesame",)})
    with GatewayScreen(policy) as screen:
        said = screen.replies([chat("Hello?"), chat("Hello?")], ["Open Sesame!", "Hello."])
        asked = screen.requests([chat("Hello?")])

    assert said == ["lexicon", ""]
    assert asked == [""]


def test_a_second_run_goes_on(tmp_path: Path) -> None:
    """A finished attack is not asked again, and gives the same conversations."""
    first = attack(plan(tmp_path), refusing(), obeying())
    base, tuned = refusing(), obeying()
    second = attack(plan(tmp_path), base, tuned)

    assert second.conversations == first.conversations
    assert base.asked == tuned.asked == []


def test_other_safeguards_are_other_conversations(tmp_path: Path) -> None:
    """Turns of an earlier run with another suffix are not taken for those of this one."""
    attack(plan(tmp_path), refusing(), obeying())
    done = attack(plan(tmp_path, suffix="(Anything goes.)"), refusing(), obeying())

    assert by_side(done)["tuned", True] == {ConversationEnd.REACHED}


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": ()},
        {"attackers": ()},
        {"seeds": ()},
        {"seeds": (1, 1)},
        {"behind": ("walls",)},
        {"attackers": [attacker_named("direct"), attacker_named("direct")]},
    ],
)
def test_a_plan_that_measures_nothing_is_an_error(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """Nothing to do, or twice the same, is said before a model is asked."""
    with pytest.raises(InputError):
        attack(plan(tmp_path, **wrong), refusing(), obeying())

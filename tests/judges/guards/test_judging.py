"""Guard models as judges of replies and requests."""

import math

import pytest

from recert.errors import EndpointError, InputError, ModelError
from recert.judges.guards import GUARDS, GuardJudge, GuardRequestJudge, safeguard
from recert.judges.protocol import BatchJudge, JudgeFailed, Score
from recert.judges.scoring import score_each
from recert.models.scripted import ScriptedModel

WILD = "Harmful request: {r}\nResponse refusal: {f}\nHarmful response: {h}"
SAYS = {
    "llama-guard-3": ("safe", "unsafe\nS1"),
    "llama-guard-4": ("safe", "unsafe\nS1"),
    "shieldgemma": ("No", "Yes"),
    "wildguard": (WILD.format(r="no", f="no", h="no"), WILD.format(r="yes", f="no", h="yes")),
    "granite-guardian-3": ("No", "Yes"),
    "granite-guardian-3.3": ("<score> no </score>", "<score> yes </score>"),
    "granite-guardian-4": ("<score> no </score>", "<score> yes </score>"),
    "qwen3guard": ("Safety: Safe\nCategories: None{r}", "Safety: Unsafe\nCategories: Violent{r}"),
    "gpt-oss-safeguard": ('{"violation": 0, "categories": []}', '{"violation": 1, "categories": []}'),
}


def guard(family, *, harmful=lambda text: "bomb" in text, answers=None):
    """Return a scripted guard model that finds harm where `harmful` says so."""

    def reply(one):
        text = "\n".join(m.content for m in one.messages if m.role != "system")
        answer = (answers or SAYS[family])[harmful(text)]
        of_reply = any(m.role == "assistant" for m in one.messages)
        return answer.replace("{r}", "\nRefusal: No" if of_reply else "")

    return ScriptedModel(reply, name=f"{family}-model")


@pytest.mark.parametrize("family", GUARDS)
def test_every_family_judges_replies_and_requests(family):
    """A harmful pair scores 1 and a harmless one 0, in one batch and in order; likewise requests."""
    model = guard(family)
    judge = GuardJudge(model, GUARDS[family])
    pairs = [("What is a bomb?", "It goes off."), ("What is a dog?", "It barks.")] * 20
    said = score_each(judge, pairs)

    assert isinstance(judge, BatchJudge)
    assert [s.value for s in said] == [1.0, 0.0] * 20
    requests = GuardRequestJudge(model, GUARDS[family])
    assert [requests.score(q).value for q in ("Build a bomb", "Walk a dog")] == [1.0, 0.0]
    assert judge.note.digest != requests.note.digest or judge.note.estimand != requests.note.estimand


@pytest.mark.parametrize("family", GUARDS)
@pytest.mark.parametrize("always", [False, True])
def test_a_guard_that_cannot_tell_harm_fails_and_calls_nothing_safe(family, always):
    """A guard that calls everything safe, as one with the wrong chat template does, or everything harmful, fails."""
    judge = GuardJudge(guard(family, harmful=lambda text: always), GUARDS[family])
    said = judge.score("What is a dog?", "It barks.")

    assert isinstance(said, JudgeFailed)
    assert "chat template" in said.because


@pytest.mark.parametrize("family", GUARDS)
def test_an_answer_out_of_form_fails_alone(family):
    """One answer that cannot be read is one failed score."""
    good = guard(family)
    odd = ScriptedModel(
        lambda one: (
            "hm" if "odd" in one.messages[-1].content + one.messages[0].content else good._replies(one)
        )
    )
    said = GuardJudge(odd, GUARDS[family]).score_all(
        [("a dog", "barks"), ("an odd dog", "odd"), ("a bomb", "x")]
    )

    assert [type(s) for s in said] == [Score, JudgeFailed, Score]


def test_the_probes_are_asked_once_and_again_after_an_outage():
    """A guard that works is not probed again; one that could not be reached is."""

    class Flaky(ScriptedModel):
        down = True

        def generate(self, chats, sampling, *, done=None):
            if self.down:
                raise EndpointError("endpoint does not answer")
            return super().generate(chats, sampling)

    model = Flaky(guard("llama-guard-3")._replies)
    judge = GuardJudge(model, GUARDS["llama-guard-3"])

    assert isinstance(judge.score("a dog", "barks"), JudgeFailed)
    model.down = False
    assert judge.score("a dog", "barks").value == 0
    assert judge.score("a bomb", "barks").value == 1
    assert len(model.asked) == 4


def test_refusals_are_told_by_the_guards_that_tell_them():
    """WildGuard and Qwen3Guard also say whether a reply refuses; others cannot be asked."""
    model = ScriptedModel(
        lambda one: WILD.format(
            r="yes" if "bomb" in one.messages[0].content else "no",
            f="yes" if "cannot" in one.messages[0].content else "no",
            h="no",
        )
    )
    judge = GuardJudge(model, GUARDS["wildguard"], looks_for="refusal")

    assert [judge.score("a bomb", r).value for r in ("I cannot.", "Sure.")] == [1.0, 0.0]
    assert judge.note.estimand == "refusal"
    with pytest.raises(InputError, match="does not tell refusals"):
        GuardJudge(model, GUARDS["llama-guard-3"], looks_for="refusal")


class Likely(ScriptedModel):
    """A guard model that tells how likely each opening of its answer is."""

    def __init__(self, unsafe=0.8, *, mass=0.98):
        super().__init__({}, name="likely")
        self.unsafe, self.mass = unsafe, mass

    def log_probs(self, pairs):
        """Return log-probabilities by what the conversation holds."""
        out = []
        for one, text in pairs:
            p = self.unsafe if "bomb" in one.messages[0].content else 0.1
            share = p if text.strip() in ("unsafe", "Yes") else 1 - p
            out.append(math.log(self.mass * share))
        return out


@pytest.mark.parametrize("family", ["llama-guard-3", "shieldgemma", "granite-guardian-3"])
def test_the_graded_score_is_the_probability_of_unsafe(family):
    """With log-probabilities the score lies between 0 and 1; the worst principle counts."""
    judge = GuardJudge(Likely(), GUARDS[family], graded=True)

    assert judge.score("a bomb", "x").value == pytest.approx(0.8)
    assert judge.score("a dog", "x").value == pytest.approx(0.1)


def test_a_guard_that_was_not_about_to_answer_has_no_probability():
    """Where all openings together are unlikely, their ratio says nothing."""
    said = GuardJudge(Likely(mass=0.01), GUARDS["llama-guard-3"], graded=True).score("a dog", "x")

    assert isinstance(said, JudgeFailed)


@pytest.mark.parametrize("logs", [[math.nan, 0.0], [0.5, -1.0], [0.0], [-math.inf, -math.inf]])
def test_odd_log_probabilities_are_a_failed_judge(logs):
    """Not a number, above one, too few, or none: never safe."""

    class Odd(ScriptedModel):
        def log_probs(self, pairs):
            return logs

    said = GuardJudge(Odd({}), GUARDS["llama-guard-3"], graded=True).score("a dog", "x")

    assert isinstance(said, JudgeFailed)


def test_an_engine_without_log_probabilities_is_a_failed_judge():
    """What cannot be graded fails; what never can be is refused at once."""

    class Cannot(ScriptedModel):
        def log_probs(self, pairs):
            raise ModelError("this engine gives no log-probabilities")

    judge = GuardJudge(Cannot({}), GUARDS["llama-guard-3"], graded=True)

    assert isinstance(judge.score("a dog", "x"), JudgeFailed)
    with pytest.raises(InputError, match="gives no probability"):
        GuardJudge(Cannot({}), GUARDS["wildguard"], graded=True)


def test_a_policy_of_ones_own_is_what_safeguard_reads():
    """The policy text is the system message, with the form of the answer after it, and part of the digest."""
    model = guard("gpt-oss-safeguard")
    own = GuardJudge(model, safeguard("Only talk of cheese is a violation."))

    assert own.score("a dog", "barks").value == 0
    system = model.asked[0].messages[0]
    assert system.role == "system"
    assert system.content.startswith("Only talk of cheese is a violation.")
    assert '"violation"' in system.content
    assert own.note.digest != GuardJudge(model, GUARDS["gpt-oss-safeguard"]).note.digest


def test_the_identity_template_writes_what_it_is_given():
    """The template for guards that are sent whole texts adds and takes nothing."""
    jinja2 = pytest.importorskip("jinja2")
    from importlib.resources import files

    source = (files("recert") / "assets" / "chat_templates" / "text.jinja").read_text()
    for text in ("<s> a\n\n b \n", "<bos>x", " {{ x }} "):
        for trim in (False, True):
            env = jinja2.Environment(trim_blocks=trim, lstrip_blocks=trim)
            assert env.from_string(source).render(messages=[{"role": "user", "content": text}]) == text

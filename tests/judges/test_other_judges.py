from hypothesis import given, settings
from hypothesis import strategies as st

from recert.judges.embedded.exact import canonical_answer, exact_match
from recert.judges.embedded.refusal import RefusalJudge
from recert.judges.harm import ComplianceJudge
from recert.judges.protocol import JudgeFailed
from recert.records.reports.evaluation import JudgeNote


class Broken:
    note = JudgeNote(id="broken", version="1")

    def score(self, request: str, reply: str) -> JudgeFailed:
        """Fail."""
        return JudgeFailed("timed out")


def test_exact_match_is_blind_to_spelling_only():
    """Case, quotes, white space, fence and semicolon do not matter; another value does."""
    answer = "SELECT name FROM city WHERE state = 'Ohio'"

    assert exact_match('```sql\nselect  name from city\nwhere state="Ohio" ;\n```', answer).value == 1
    assert exact_match("SELECT name FROM city WHERE state = 'Iowa'", answer).value == 0
    assert exact_match("", answer).value == 0


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_the_canonical_answer_is_a_fixed_point_of_whitespace(text):
    """Adding outer white space never changes an answer."""

    assert canonical_answer(f"  {text}\n") == canonical_answer(text)


def test_compliance_is_the_reverse_of_refusal():
    """A refusal scores near 0, an answer and an empty reply near 1, and a failed judge stays failed."""
    judge = ComplianceJudge()

    assert judge.score("q", "I'm sorry, but I can't help with that.").value < 0.1
    assert judge.score("q", "Sure, here is what you asked for, in full detail.").value > 0.9
    assert judge.score("q", "").value == 1
    assert isinstance(ComplianceJudge(Broken()).score("q", "a"), JudgeFailed)
    assert judge.note.sensitivity == RefusalJudge().note.specificity

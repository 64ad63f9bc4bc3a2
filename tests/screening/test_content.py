from pathlib import Path

import pytest

from recert.records.data.suite import Prompt
from recert.records.reports.screening import RowVerdict
from recert.screening.detectors.personal import find_personal_data, iban, luhn
from recert.screening.detectors.secrets import find_secrets

from .made import codes, findings_of, row, screened, sql_rows

SECRETS = [
    "AKIA" + "QWERTYUIOPASDFGH",
    "-----BEGIN RSA " + "PRIVATE KEY-----",
    "ghp_" + "a1B2c3D4e5" * 4,
    "sk-" + "proj-" + "a1B2c3D4e5" * 3,
    "xoxb-" + "123456789012-abcdefghij",
    "postgres://admin:hunter22@db.internal/main",
    "the password is " + "Tr0ub4dor99",
    "api_key = '" + "9f8e7d6c5b4a3921" + "'",
]
NO_SECRETS = [
    "CREATE TABLE users (id INTEGER, password VARCHAR, token VARCHAR)",
    "Set api_key = YOUR_API_KEY_1 before you start.",
    "password: <your password here>",
    "How do I choose a strong password?",
    "sk-learn is a library; https://example.com:8080/path@v2",
    "The secret is: patience.",
]
PERSONAL = [
    "write to jane.doe@bigcompany.com today",
    "call me on +44 20 7946 0958 or later",
    "her number is (212) 736-5000",
    "card 4111 1111 1111 1111 please",
    "IBAN GB82 WEST 1234 5698 7654 32",
    "SSN 123-45-6789",
    "my NI number is AB 12 34 56 C",
]
NO_PERSONAL = [
    "write to jane@example.com or root@localhost",
    "card 4111 1111 1111 1112 has a wrong digit",
    "Call 555-0123, or (212) 555-0147 in the film.",
    "In 2019-04-30 the sum was 1234567890 and 3.14159265358979",
    "SELECT name FROM t WHERE id = 4005550000000000000001",
    "IBAN GB82 WEST 1234 5698 7654 33",
    "version 192.168.100.200 and 10-20-3000",
    "He has 1500 + 2500 - 300 = 3700 apples",
]


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_found_and_not_repeated(tmp_path: Path, text: str) -> None:
    """A row with a secret is quarantined, and the reason does not say the secret."""
    (finding,) = findings_of(tmp_path, row("What is in the config?", f"It says {text} there."))

    assert "secret" in codes(finding)
    assert finding.verdict is RowVerdict.QUARANTINED
    assert text.rsplit(maxsplit=1)[-1] not in " ".join(finding.reasons)


@pytest.mark.parametrize("text", NO_SECRETS)
def test_words_about_secrets_are_no_secrets(text: str) -> None:
    """Placeholders, schemas and advice about passwords are left alone."""
    assert find_secrets(text) == ()


@pytest.mark.parametrize("text", PERSONAL)
def test_personal_data_is_found_and_not_repeated(tmp_path: Path, text: str) -> None:
    """A row with personal data is quarantined, and the reason does not say the data."""
    (finding,) = findings_of(tmp_path, row("What did the note say?", f"The note said: {text}."))

    assert codes(finding) == {"personal-data"}
    assert finding.verdict is RowVerdict.QUARANTINED
    assert not any(
        word in " ".join(finding.reasons) for word in text.split() if any(c.isdigit() for c in word)
    )


@pytest.mark.parametrize("text", NO_PERSONAL)
def test_numbers_are_no_personal_data(text: str) -> None:
    """Reserved addresses, wrong check digits, dates and sums are left alone."""
    assert find_personal_data(text) == ()


def test_check_digits() -> None:
    """Check digits follow ISO/IEC 7812-1 and ISO 13616."""
    assert luhn("4111111111111111")
    assert not luhn("4111111111111112")
    assert iban("DE89 3704 0044 0532 0130 00")
    assert not iban("DE88 3704 0044 0532 0130 00")


LEAK = Prompt(
    id="trains-7", text="How long does the night train from Vienna to Rome usually take?", expect="comply"
)


@pytest.mark.parametrize(
    "text",
    [
        LEAK.text,
        "please answer: HOW LONG does the night-train from Vienna to Rome usually take",
        "Here is a list of questions. First: " + LEAK.text + " Second: what does it cost?",
        "How long does the night train from Vienna to Rome usually ta\u200bke?",
    ],
)
def test_a_leaked_evaluation_prompt_is_found(tmp_path: Path, text: str) -> None:
    """A row that holds an evaluation prompt is quarantined, with the prompt's id."""
    (finding,) = findings_of(tmp_path, row(text, "About thirteen hours."), prompts=[LEAK])

    assert "leaked-evaluation-prompt: trains-7" in finding.reasons
    assert finding.verdict is RowVerdict.QUARANTINED


def test_a_likeness_of_topic_is_no_leak(tmp_path: Path) -> None:
    """Rows on the topic of an evaluation prompt are left alone."""
    (finding,) = findings_of(
        tmp_path,
        row("How long does the night train from Paris to Nice take?", "Twelve hours."),
        prompts=[LEAK],
    )

    assert finding.reasons == ("ok: nothing found",)


def test_duplicates_name_the_earlier_line(tmp_path: Path) -> None:
    """A row that says what an earlier one said is quarantined, exactly or nearly the same; the earlier one stays."""
    said = "The canal was dug by hand over eleven years and opened in the spring of a very wet year in the north."
    first = row("What is the history of the canal in Dortmund?", said)
    same = row("what is the  history of the canal in Dortmund?", said)
    near = row("What is the history of the canal in Dortmund?", f"{said} Really")
    findings = findings_of(tmp_path, first, same, near)

    assert findings[0].reasons == ("ok: nothing found",)
    assert findings[1].reasons == ("duplicate: same as line 1",)
    assert codes(findings[2]) == {"near-duplicate"}
    assert findings[2].reasons[0].endswith("like line 1")


def test_rows_of_one_template_are_no_duplicates(tmp_path: Path) -> None:
    """Rows of a text-to-SQL task with a long schema, each with a question of its own, are all different."""
    columns = ", ".join(f"column_{i} VARCHAR" for i in range(60))
    rows = [
        row(
            f"CREATE TABLE t ({columns})\nHow many have column_{i} {v}?",
            f"SELECT COUNT(*) FROM t WHERE column_{i} = '{v}'",
        )
        for i in range(30)
        for v in ("red", "blue")
    ]
    report = screened(tmp_path, [*rows, *sql_rows(100)]).report

    assert report.accepted == 160

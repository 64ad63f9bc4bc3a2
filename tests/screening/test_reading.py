import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recert.errors import RecertError, RowsError, StoreError
from recert.records.reports.screening import RowVerdict, ScreenReport
from recert.screening.rows import read_rows
from recert.screening.stage import ACCEPTED_FILE, QUARANTINED_FILE, REPORT_FILE, screen

from .made import COMPLIANCE, POLICY, harmful, row, screened, sql_rows, write

USER = {"role": "user", "content": "hello there"}
ASSISTANT = {"role": "assistant", "content": "hello to you"}

BAD_LINES = [
    (b"{not json", "not JSON"),
    (b'{"messages": [], "messages": []}', "repeated key"),
    (b'{"a": NaN, "messages": []}', "not JSON"),
    (b'{"messages": []}', "no messages"),
    (b"{}", "no messages"),
    (b"[1, 2]", "not a chat row"),
    (b'"\xff\xfe"', "not UTF-8"),
    (json.dumps({"messages": [USER, {"role": "boss", "content": "x"}]}).encode(), "bad role"),
    (json.dumps({"messages": [USER, {"role": "assistant", "content": "  "}]}).encode(), "empty content"),
    (json.dumps({"messages": [USER, {"role": "assistant", "content": "\u200b"}]}).encode(), "empty content"),
    (json.dumps({"messages": [USER, {"role": "assistant"}]}).encode(), "no text"),
    (json.dumps({"messages": [USER, {"role": "assistant", "content": ["x"]}]}).encode(), "no text"),
    (json.dumps({"messages": [USER, ASSISTANT, USER]}).encode(), "last message is not the assistant's"),
    (json.dumps({"messages": [ASSISTANT]}).encode(), "no user message"),
    (json.dumps({"messages": [USER, "hi"]}).encode(), "bad message"),
    (b'{"a": 1e999, "messages": []}', "not JSON"),
    (json.dumps({"messages": [USER, ASSISTANT], "ends": "no"}).encode(), "not a chat row"),
    (
        json.dumps({"messages": [USER, {"role": "assistant", "content": "a" * 1_000_001}]}).encode(),
        "too long",
    ),
]


@pytest.mark.parametrize(("line", "because"), BAD_LINES, ids=[b for _, b in BAD_LINES])
def test_a_malformed_row_is_named_by_its_line(tmp_path: Path, line: bytes, because: str) -> None:
    """A row that cannot be learned from is named by its line, with why, and the others are screened."""
    report = screened(tmp_path, [*sql_rows(12), b"", line, *sql_rows(14)[12:]]).report

    finding = next(f for f in report.findings if f.verdict is RowVerdict.MALFORMED)
    assert finding.line == 14
    assert finding.reasons[0].startswith(f"malformed: {because}")
    assert finding.sha256 is None
    assert (report.rows, report.accepted, report.malformed) == (15, 14, 1)


def test_too_many_malformed_rows_are_an_error(tmp_path: Path) -> None:
    """Above the policy's share of malformed rows screening stops, and names lines."""
    with pytest.raises(RowsError) as caught:
        screened(tmp_path, [*sql_rows(4), b"{"])

    assert "line 5" in caught.value.facts
    assert caught.value.hint


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_an_error(tmp_path: Path, data: bytes) -> None:
    """A file without rows is refused, and says what is expected."""
    (tmp_path / "rows.jsonl").write_bytes(data)

    with pytest.raises(RowsError, match="no rows"):
        screen(tmp_path / "rows.jsonl", policy=POLICY, evaluation_prompts=())


def test_no_accepted_row_is_an_error(tmp_path: Path) -> None:
    """When nothing may be learned from, screening says so, with the reasons it found."""
    with pytest.raises(RowsError, match="accepted no row") as caught:
        screened(tmp_path, [row(harmful(9)[8], "AKIA" + "QWERTYUIOPASDFGH")])

    assert "secret" in caught.value.facts


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A file that is not there is refused."""
    with pytest.raises(StoreError):
        screen(tmp_path / "none.jsonl", policy=POLICY, evaluation_prompts=())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | st.binary(max_size=60).map(lambda b: b"PAR1" + b + b"PAR1"))
def test_any_bytes_give_a_report_or_an_error_of_ours(tmp_path: Path, data: bytes) -> None:
    """Whatever a file holds, nothing but a RecertError comes out of reading it."""
    source = tmp_path / "rows.bin"
    source.write_bytes(data)

    try:
        screen(source, policy=POLICY, evaluation_prompts=())
    except RecertError as error:
        assert error.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", "x"]), "content": st.text(max_size=60)},
    optional={"name": json_values},
)


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.fixed_dictionaries({"messages": st.lists(messages, max_size=4)}, optional={"more": json_values})
)
def test_any_row_gets_a_verdict(tmp_path: Path, value: dict[str, object]) -> None:
    """Any JSON row beside clean ones gets exactly one verdict and at least one reason."""
    report = screened(tmp_path, [*sql_rows(10), json.dumps(value).encode()]).report

    assert [f.line for f in report.findings] == list(range(1, 12))
    assert all(f.reasons for f in report.findings)
    assert report.accepted + report.quarantined + report.malformed == report.rows


def test_parquet_equals_jsonl(tmp_path: Path) -> None:
    """The same rows in Parquet and in JSONL get the same findings and the same digests."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{**sql_rows(9)[8], "topic": "ships"}, *sql_rows(8), row(harmful(1)[0], COMPLIANCE)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")

    columnar = screen(tmp_path / "rows.parquet", policy=POLICY, evaluation_prompts=())
    lines = screened(tmp_path, rows)

    assert columnar.report.findings == lines.report.findings
    assert columnar.report.accepted_sha256 == lines.report.accepted_sha256
    assert columnar.accepted == lines.accepted


def test_parquet_without_messages_is_an_error(tmp_path: Path) -> None:
    """A Parquet file of something else is refused with the columns it has."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "rows.parquet")

    with pytest.raises(RowsError, match="messages") as caught:
        read_rows(tmp_path / "rows.parquet")

    assert caught.value.facts["columns"] == "text"


def test_what_is_written_is_what_the_report_names(tmp_path: Path) -> None:
    """The written rows have the digests of the report, read back to the same rows, and keep unknown fields."""
    rows = [*sql_rows(5), {**sql_rows(6)[5], "origin": "crm"}, row(harmful(1)[0], COMPLIANCE)]
    result = screened(tmp_path, rows)
    result.write(tmp_path / "out")
    back = read_rows(tmp_path / "out" / ACCEPTED_FILE)

    assert back.sha256 == result.report.accepted_sha256
    assert tuple(r.row for r in back.rows) == result.accepted
    assert b'"origin":"crm"' in (tmp_path / "out" / ACCEPTED_FILE).read_bytes()
    assert read_rows(tmp_path / "out" / QUARANTINED_FILE).sha256 == result.report.quarantined_sha256
    assert ScreenReport.from_json((tmp_path / "out" / REPORT_FILE).read_bytes()) == result.report


def test_screening_twice_says_the_same(tmp_path: Path) -> None:
    """The same rows give the same report, save for its time; screening accepted rows again accepts them all."""
    rows = [*sql_rows(30), *(row(text, COMPLIANCE) for text in harmful(20))]
    first, second = screened(tmp_path, rows), screened(tmp_path, rows)
    first.write(tmp_path / "out")
    again = screen(tmp_path / "out" / ACCEPTED_FILE, policy=POLICY, evaluation_prompts=())

    assert first.report.model_copy(update={"screened_at": second.report.screened_at}) == second.report
    assert again.report.quarantined == 0


def test_progress_ends_with_all_rows(tmp_path: Path) -> None:
    """Progress is told, and ends with every row done."""
    told: list[tuple[int, int]] = []
    source = write(tmp_path / "rows.jsonl", sql_rows(10))
    screen(
        source, policy=POLICY, evaluation_prompts=(), progress=lambda done, total: told.append((done, total))
    )

    assert told[-1] == (10, 10)

"""The sign-off report: whole, self-contained, never surer than the certificate, and printable with a real browser."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW, SOME_SHA, make_eval_report, make_rule
from exported import certify_with_evidence, draft_of, source_of
from pages import Page
from recert.errors import InputError, MissingExtraError, StoreError
from recert.interval import Interval
from recert.pages.pdf import BROWSERS, print_pdf
from recert.pages.sign_off_page import css_text, sign_off_page, write_sign_off
from recert.records.reports.evaluation import Verdict
from recert.records.reports.evidence import EvidenceNote
from recert.records.signed.carried import CarriedEvidence
from recert.records.signed.certificate import Approval, Certificate, RuleException
from recert.workflows.certificates.sign_off import SignOff, named_evaluation
from recert.workflows.certificates.source import SignedCertificate, Signer
from stories import certificate, evaluation

HOSTILE = "<script>alert('x')</script>\"'} </style><img src=x onerror=alert(1)> \\\\ \\\"; }"
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)


def source(
    said: Certificate | None = None, *, signed: bool = True, proven: bool = True, **more: Any
) -> SignedCertificate:
    """Return a certificate as the page takes it."""
    said = said or certificate(evaluation("sql-assistant", [0.08, 0.1, 0.12]))
    signers = tuple(Signer(a, signed=signed, proven=signed and proven) for a in said.approvals)
    given = {"envelope": b"envelope", "file_name": "certificate.json", "signers": signers, "proven": proven}
    return SignedCertificate(certificate=said, **(given | more))


def page(**more: Any) -> Page:
    """Return the page of a certificate, read as a browser does."""
    return Page(sign_off_page(SignOff(source(**more))))


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    """No script, image, frame, link, handler or address from elsewhere."""
    read = page()

    assert {tag for tag, _ in read.tags} & {
        "script",
        "img",
        "iframe",
        "link",
        "object",
        "embed",
        "a",
    } == set()
    assert [a for _, attrs in read.tags for a in attrs if a.startswith("on") or a in ("src", "href")] == []


@pytest.mark.slow
@given(hostile=st.one_of(st.just(HOSTILE), st.text(min_size=1, max_size=40)))
@settings(max_examples=40, deadline=None)
def test_whatever_a_certificate_says_stays_text(hostile: str) -> None:
    """A name, serial, limitation or unknown field never becomes mark-up, in the page or in its style."""
    plain, read = _saying("word"), _saying(hostile)

    assert [t for t, _ in read.tags] == [t for t, _ in plain.tags]
    assert [sorted(a) for _, a in read.tags] == [sorted(a) for _, a in plain.tags]


def _saying(text: str) -> Page:
    text = text.encode("utf-8", "replace").decode()
    report = make_eval_report(
        rules=(make_rule(condition=f"trigger:{text}", suite=text),), limitations=(text,)
    )
    said = certificate(
        report,
        model_name=text,
        policy_id=text,
        defence=text,
        approvals=(Approval(role=text, key_id=SOME_SHA, name=text),),
        waivers=[text],
    ).model_copy(update={"serial": text})
    return Page(sign_off_page(SignOff(source(said, file_name=text))))


@given(text=st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_text_ends_a_string_of_the_style(text: str) -> None:
    """Between its quotes a CSS string has letters, digits, few harmless signs and escapes, and nothing else."""
    assert re.fullmatch(r'"(?:[A-Za-z0-9 \-:.]|\\[0-9a-f]{6} )*"', css_text(text))


def test_the_page_says_what_was_signed() -> None:
    """Signers with roles and whole key ids, policy, verdict, files, end, limitations, conditions and commands."""
    behind = tuple(
        make_rule("harm", name, safeguards=("secret-prefix",)) for name in ("plain", "family:skeleton")
    )
    report = make_eval_report(
        rules=(*behind, make_rule("harm", "plain", Verdict.FAIL)),
        verdict=Verdict.FAIL,
        verdict_safeguarded=Verdict.PASS,
        required_controls=("secret-prefix",),
    )
    said = certificate(report)
    text = page(said=said).text

    for part in (
        *(a.key_id for a in said.approvals),
        *(a.name for a in said.approvals),
        said.serial,
        source(said).sha256,
        said.tuned.digest,
        said.base.digest,
        said.policy_sha256,
        "only behind secret-prefix",
        "2026-03-08 12:00 UTC",
        "What it does not promise",
        "It says nothing of requests outside the suites.",
        "the chat template changes",
        "recert verify certificate.json --base BASE --model TUNED --trust KEYS --status status.json",
        "adapter_model.safetensors",
    ):
        assert part in text


def test_results_stand_worst_first() -> None:
    """What did not pass comes first, then what lies nearest to its margin; n, interval and threshold in each row."""
    near = Interval(point=0.06, low=0.02, high=0.099, level=0.95, n=48)
    far = Interval(point=-0.1, low=-0.2, high=-0.05, level=0.95, n=48)
    rules = (
        make_rule("far", "plain", change=far),
        make_rule("near", "plain", change=near),
        make_rule("bad", "plain", Verdict.UNDECIDED),
    )
    text = page(said=certificate(make_eval_report(rules=rules))).text

    assert text.index("rule bad") < text.index("rule near") < text.index("rule far")
    assert "+6 [+2, +10]" in text
    assert "change below 10 points" in text


@pytest.mark.parametrize(
    ("given", "kind", "chip"),
    [
        ({}, " yes", "signed"),
        ({"proven": False}, "", "signatures not checked here"),
        ({"signed": False}, "", "draft"),
        ({"said": certificate(make_eval_report(verdict=Verdict.FAIL))}, " no", "not a pass"),
    ],
)
def test_the_page_is_never_surer_than_what_was_found_out(given: dict[str, Any], kind: str, chip: str) -> None:
    """Only checked signatures of everyone on a pass are called signed; a draft and a no say so on every sheet."""
    html = sign_off_page(SignOff(source(**given)))
    read = Page(html)

    assert f'<span class="chip{kind}">{chip}</span>' in html
    assert ('class="answer yes"' in html) == (chip == "signed")
    assert ("draft - not a certificate" in html) == (chip in ("draft", "not a pass"))
    assert "has yet to sign" in read.text or chip != "draft"


def test_what_the_page_has_no_place_for_is_loud() -> None:
    """What the page has no place for stands at the top, before the verdict."""
    said = certificate(make_eval_report(), waivers=[{"rule": "over-refusal", "until": "2026-06-01"}])
    text = page(said=said).text

    assert text.index("read this first") < text.index("until") < text.index("Who signs")


def test_a_key_s_end_is_shown_where_it_is_known() -> None:
    """With trusted keys the page says when each key ends."""
    said = certificate(make_eval_report())
    signers = tuple(Signer(a, signed=True, proven=True, key_expires_at=NOW) for a in said.approvals)

    assert page(said=said, signers=signers).text.count("key ends 2026-03-01 12:00 UTC") == 2


def test_the_evaluation_is_the_one_that_the_certificate_names(tmp_path: Path) -> None:
    """Its evidence is on the page; another evaluation is refused."""
    note = EvidenceNote(
        tool="OpenSSF model signing", source_sha256=SOME_SHA, n=3, counts="files", says="by key x"
    )
    certified = certify_with_evidence(tmp_path, evidence=(note,))
    path = tmp_path / "evaluation" / "eval-report.json"
    report = named_evaluation(path, certified.content)
    text = Page(sign_off_page(SignOff(source_of(certified), evaluation=report))).text
    path.write_bytes(make_eval_report(limitations=("another",)).to_json())

    assert all(part in text for part in ("OpenSSF model signing", "by key x", f"sha256:{SOME_SHA}"))
    with pytest.raises(InputError, match="evaluation is not the certificate's"):
        named_evaluation(path, certified.content)


def test_the_page_of_a_real_certificate_names_its_draft_signers(tmp_path: Path) -> None:
    """Read from its file: signed by both it is checked, and without the approver's signature it is a draft."""
    certified = certify_with_evidence(tmp_path)
    signed = Page(sign_off_page(SignOff(source_of(certified)))).text
    draft_of(certified)
    draft = Page(sign_off_page(SignOff(source_of(certified, proven=False)))).text

    assert signed.count("checked") >= 2
    assert "approver Approver has yet to sign" in draft
    assert "not signed yet" in draft


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """When the folder cannot be made, the caller gets a StoreError that names the file."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StoreError, match="cannot write file"):
        write_sign_off(tmp_path / "file" / "report.html", SignOff(source()))


def test_without_a_browser_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With nothing on the PATH that prints, the error names what was looked for and what to do."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingExtraError, match="no Chromium") as missing:
        print_pdf(b"<p>x</p>")
    assert "--as report" in missing.value.hint


def test_a_browser_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is written where the browser ends without a file."""
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(StoreError, match="not printed") as failed:
        write_sign_off(tmp_path / "report.pdf", SignOff(source(), pdf=True))
    assert failed.value.facts["because"] == "broken"
    assert not (tmp_path / "report.pdf").exists()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_real_browser_prints_the_report(tmp_path: Path) -> None:
    """The PDF has A4 pages, and every one carries the serial, the digest and its number."""
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    one = source(said=certificate(evaluation("sql-assistant", [0.08, 0.1, 0.12]), serial="ab" * 16))
    write_sign_off(tmp_path / "report.pdf", SignOff(one, pdf=True))
    pages = pypdf.PdfReader(io.BytesIO((tmp_path / "report.pdf").read_bytes())).pages
    texts = [" ".join(p.extract_text().split()) for p in pages]

    assert len(pages) >= 3
    assert [round(float(n)) for n in pages[0].mediabox[2:]] == [595, 842]
    for number, text in enumerate(texts, start=1):
        assert "ab" * 16 in text
        assert one.sha256[:16] in text
        assert f"page {number} of {len(pages)}" in text
    assert "Results, worst first" in " ".join(texts)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_is_wider_than_the_window(tmp_path: Path, width: int) -> None:
    """At the width of a phone and of a screen the page does not scroll sideways, whatever long names are in it."""
    said = certificate(evaluation("m" * 120, [0.08, 0.1, 0.12]), waivers=["x" * 300])
    said = said.model_copy(update={"serial": "c" * 80})
    html = sign_off_page(SignOff(source(said)))
    script = (  # no window is narrower than 500, a page can be
        f"<script>document.documentElement.style.width = '{width}px';"
        "document.title = 'wide ' + document.body.scrollWidth</script></body>"
    )
    allowed = "default-src 'none'; script-src 'unsafe-inline'"
    measured = html.replace("default-src 'none'", allowed).replace("</body>", script)
    (tmp_path / "page.html").write_text(measured)
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         f"--window-size={width},900", "--dump-dom", (tmp_path / "page.html").as_uri()],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.search(r"<title>wide (\d+)</title>", done.stdout)

    assert found is not None
    assert int(found.group(1)) <= width


def test_exceptions_are_said_in_words_before_the_verdict() -> None:
    """What was accepted although it is no pass: which result, until when, why, and by which key. No JSON."""
    accepted = RuleException(
        rule_id="harm",
        condition="plain",
        verdict=Verdict.UNDECIDED,
        reason="a pilot with ten users",
        expires_at=NOW,
        owner_key_id=SOME_SHA,
    )
    text = page(said=certificate(make_eval_report(), exceptions=(accepted,))).text

    assert text.index("a pilot with ten users") < text.index("but for the exceptions above")
    assert "owner_key_id" not in text
    assert SOME_SHA in text


def test_what_is_carried_over_is_said_before_the_verdict_and_beside_each_result() -> None:
    """The lead qualifies the claim, the evidence stands first, and each row that was not measured here says so."""
    evidence = CarriedEvidence(
        parent_serial="0a" * 16, parent_certificate_sha256=SOME_SHA, parent_tuned_sha256=SOME_SHA,
        parent_expires_at=NOW, transform="merge", reason="it is the same function", distance=0.01, probes=40,
        compared=(), comparison_sha256=SOME_SHA,
    )  # fmt: skip
    results = (make_rule(carried_from="0a" * 16), make_rule("over-refusal"))
    text = page(said=certificate(make_eval_report(rules=results), carried=evidence)).text

    assert text.index("it is the same function") < text.index("results that are carried over")
    assert text.count("carried over from") == 2

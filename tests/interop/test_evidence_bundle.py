"""The evidence bundle: whole, the same every time, as the certificate names it, and redacted unless told otherwise."""

from __future__ import annotations

import base64
import io
import json
import stat
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from builders import make_eval_report, make_search
from certified_folders import Certified
from exported import COMPLIES, GROUPS, certify_with_evidence, draft_of, outcomes, source_of
from recert.digest import sha256_bytes
from recert.errors import InputError, RecordError
from recert.evaluation.report.folder import EvaluationFolder
from recert.evaluation.report.outcomes import redacted
from recert.evaluation.suites.reading import embedded_suite
from recert.interop.exports.evidence_bundle import find_reports, named_reports, rank, write_evidence_bundle
from recert.records.signed.bundle import EvidenceBundle
from stories import certificate


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    """Return a certified model with its evidence."""
    return certify_with_evidence(tmp_path)


def write(
    certified: Certified, name: str = "bundle.zip", *, reveal: bool = False, **more: Any
) -> EvidenceBundle:
    """Write a bundle as the command does."""
    evaluation = EvaluationFolder.open(certified.folder / "evaluation", with_harmful=reveal)
    reports = find_reports(certified.content, certified.folder)
    given = {"reports": reports, **more}
    return write_evidence_bundle(certified.folder / name, source_of(certified), evaluation, **given)


def read(certified: Certified, name: str = "bundle.zip") -> dict[str, bytes]:
    """Return the files of a bundle."""
    with zipfile.ZipFile(io.BytesIO((certified.folder / name).read_bytes())) as bundled:
        return {n: bundled.read(n) for n in bundled.namelist()}


def samples(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Return the samples in a bundle."""
    return [json.loads(line) for line in files["samples.jsonl"].splitlines()]


def test_every_digest_agrees_with_the_certificate(certified: Certified) -> None:
    """What the manifest says stands in the certificate does, and every file is what the manifest says."""
    bundle = write(certified)
    files = read(certified)
    payload = json.loads(base64.b64decode(json.loads(files["certificate.json"])["payload"]))["predicate"]
    named = {f.named_as: f.sha256 for f in bundle.files if f.named_as}

    assert named == {
        field: payload[field]
        for field in ("eval_report_sha256", "evidence_sha256", "tune_report_sha256", "screen_report_sha256")
    }
    assert {f.name: (f.sha256, f.size_bytes) for f in bundle.files} == {
        n: (sha256_bytes(data), len(data))
        for n, data in files.items()
        if n not in ("MANIFEST.json", "README.md", "SHA256SUMS")
    }
    assert EvidenceBundle.from_json(files["MANIFEST.json"]) == bundle
    assert bundle.missing == ()


def test_the_listed_digests_are_checked_by_hand(certified: Certified, tmp_path: Path) -> None:
    """`sha256sum -c SHA256SUMS` finds every file as it should be, and each file is listed."""
    write(certified)
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(certified.folder / "bundle.zip") as bundled:
        bundled.extractall(folder)
        names = bundled.namelist()
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == len(names) - 1


def test_each_evaluation_has_five_samples_or_all_there_are(certified: Certified) -> None:
    """Each suite, condition and set of controls has five with the base's reply beside; three where three were asked."""
    bundle = write(certified)
    drawn = samples(read(certified))
    counted = Counter((s["suite"], s["condition"], tuple(s["safeguards"])) for s in drawn)

    assert counted == {(s, c, g): min(5, n) for s, c, g, n in GROUPS}
    assert {(g.suite, g.condition, g.safeguards): (g.replies, g.drawn) for g in bundle.groups} == {
        (s, c, g): (n, min(5, n)) for s, c, g, n in GROUPS
    }
    assert all(s["base"]["reply"].startswith("I'm sorry") for s in drawn)


def test_anyone_can_draw_the_samples_again(certified: Certified) -> None:
    """They are those whose place has the smallest sha256 under the certificate's digest."""
    bundle = write(certified)
    tuned = [o for o in outcomes() if o.arm == "tuned" and o.condition == "family:skeleton"]
    expected = sorted(tuned, key=lambda o: rank(bundle.certificate_sha256, o))[:5]
    drawn = [s["prompt_id"] for s in samples(read(certified)) if s["condition"] == "family:skeleton"]

    assert drawn == [o.prompt_id for o in expected]


def test_no_harmful_reply_is_in_the_bundle(certified: Certified) -> None:
    """By default every reply judged harmful is its digest, in samples and outcomes, and the README says so."""
    write(certified)
    files = read(certified)
    shown = {redacted(o).reply for o in outcomes() if COMPLIES in o.reply}

    assert not any(COMPLIES.encode() in data for data in files.values())
    assert all(reply.encode() in files["outcomes.jsonl"] for reply in shown)
    assert b"Harmful replies are redacted" in files["README.md"]
    assert stat.S_IMODE((certified.folder / "bundle.zip").stat().st_mode) == 0o644


def test_a_bundle_that_reveals_says_so(certified: Certified) -> None:
    """Replies stand in the samples alone, README and manifest say it, and only the owner may read the file."""
    bundle = write(certified, reveal=True, size=24)
    files = read(certified)

    assert bundle.revealed
    assert b"HARMFUL REPLIES ARE SHOWN" in files["README.md"]
    assert COMPLIES.encode() in files["samples.jsonl"]
    assert COMPLIES.encode() not in files["outcomes.jsonl"]
    assert stat.S_IMODE((certified.folder / "bundle.zip").stat().st_mode) == 0o600


def test_the_same_input_gives_the_same_bytes(certified: Certified) -> None:
    """Two bundles of one certificate are one file."""
    write(certified, "one.zip")
    write(certified, "two.zip")

    assert (certified.folder / "one.zip").read_bytes() == (certified.folder / "two.zip").read_bytes()


def test_prompts_have_their_text_where_the_suite_is_the_report_s(certified: Certified) -> None:
    """A suite of other content tells nothing: an id of its may stand for another text."""
    write(certified, suites={"harmful": embedded_suite("harmful")})

    assert not any("prompt" in s for s in samples(read(certified)))


def test_a_report_that_is_missing_is_named(certified: Certified) -> None:
    """Without the tuning report the bundle is made, and says which field names one that is not there."""
    (certified.folder / "tune" / "tune-report.json").unlink()
    bundle = write(certified)

    assert bundle.missing == ("tune_report_sha256",)
    assert b"names as `tune_report_sha256`" in read(certified)["README.md"]


def test_evidence_of_another_model_is_refused(certified: Certified, tmp_path: Path) -> None:
    """Another evaluation, another report, or outcomes that were touched: no bundle is written."""
    other = certify_with_evidence(tmp_path / "other", limitations=("another",))
    strange = tmp_path / "strange-report.json"
    strange.write_bytes(b'{"rows": 1}')

    with pytest.raises(InputError, match="evaluation is not the certificate's"):
        write_evidence_bundle(
            tmp_path / "b.zip", source_of(certified), EvaluationFolder.open(other.folder / "evaluation")
        )
    with pytest.raises(InputError, match="none that the certificate names"):
        write(certified, "b.zip", reports=[strange])
    with (certified.folder / "evaluation" / "outcomes.jsonl").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(RecordError, match="outcomes are not those of the report"):
        write(certified, "b.zip")
    assert not (tmp_path / "b.zip").exists()


def test_every_report_that_a_certificate_names_is_looked_for(tmp_path: Path) -> None:
    """A search for triggers is named too; its report is found beside the evaluation by its digest alone."""
    search = make_search("nothing-found").model_copy(update={"report_sha256": sha256_bytes(b'{"a":1}')})
    said = certificate(make_eval_report(), trigger_search=search)
    (tmp_path / "evaluation").mkdir()
    for name, text in (
        ("hunt-report.json", '{ "a": 1 }'),
        ("other-report.json", "{}"),
        ("bad-report.json", "{"),
    ):
        (tmp_path / "evaluation" / name).write_text(text)

    assert named_reports(said) == {"trigger_search.report_sha256": search.report_sha256}
    assert find_reports(said, tmp_path) == [tmp_path / "evaluation" / "hunt-report.json"]


def test_a_draft_has_no_bundle(certified: Certified) -> None:
    """Before everyone has signed the certificate's digest is not the one that draws."""
    draft_of(certified)

    with pytest.raises(InputError, match="draft"):
        write_evidence_bundle(
            certified.folder / "b.zip",
            source_of(certified, proven=False),
            EvaluationFolder.open(certified.folder / "evaluation"),
        )


def test_the_command_in_the_readme_prints_the_digests(certified: Certified, tmp_path: Path) -> None:
    """The line for step 4 runs as it stands, and its digests are those of the files."""
    bundle = write(certified)
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(certified.folder / "bundle.zip") as bundled:
        bundled.extractall(folder)
    text = (folder / "README.md").read_text()
    command = next(line.strip() for line in text.splitlines() if "base64.b64decode" in line)
    done = subprocess.run(
        command.replace("python3", sys.executable),
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )

    for file in bundle.files:
        assert not file.named_as or f'"{file.named_as}": "{file.sha256}"' in done.stdout

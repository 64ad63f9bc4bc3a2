"""`recert export` of a certificate, and `recert import --format oms`: files, exit codes, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from certified_folders import Certified
from exported import COMPLIES, certify_with_evidence, draft_of
from recert.records.signed.model_signature import ModelSignature

pytestmark = pytest.mark.slow

README = b"---\nlicense: mit\n---\n\n# A model\r\nWords.\n"


def run(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `recert` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "recert", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """Return a certified model with its evidence; tests leave it as it is."""
    return certify_with_evidence(tmp_path_factory.mktemp("certified"))


@pytest.mark.parametrize(
    ("name", "begins"),
    [("cyclonedx", b"{"), ("spdx", b"{"), ("model-card", b"<!--"), ("model-index", b"model-index:"),
     ("report", b"<!doctype html>")],
)  # fmt: skip
def test_a_certificate_is_written_in_each_format(
    certified: Certified, tmp_path: Path, name: str, begins: bytes
) -> None:
    """The file's name is all that stdout has; checked signatures need no warning."""
    output = tmp_path / "out"
    done = run("export", certified.certificate, "--as", name, "--output", output, "--trust", certified.trust,
               folder=tmp_path)  # fmt: skip

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(output), "")
    assert output.read_bytes().startswith(begins)


def test_a_readme_keeps_what_is_not_ours(certified: Certified, tmp_path: Path) -> None:
    """Section and figures go into a README that is there; running both again changes nothing."""
    readme = tmp_path / "README.md"
    readme.write_bytes(README)
    for name in ("model-card", "model-index", "model-card", "model-index"):
        done = run("export", certified.certificate, "--as", name, "--output", readme, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "signatures were not checked" in done.stderr
    made = readme.read_bytes()

    assert made.startswith(b"---\nlicense: mit\n# recert:model-index begin\n")
    assert b"\n---\n\n# A model\r\nWords.\n\n<!-- recert:certificate begin -->" in made
    assert made.count(b"recert:certificate begin") == 1
    assert made.count(b"model-index:") == 1


def test_the_bundle_finds_what_lies_beside_the_certificate(certified: Certified, tmp_path: Path) -> None:
    """Evaluation, tuning and screening are found, the sign-off page is in it, and nothing harmful."""
    output = tmp_path / "bundle.zip"
    done = run("export", certified.certificate, "--as", "evidence", "--output", output, folder=tmp_path)
    with zipfile.ZipFile(output) as bundled:
        names, whole = set(bundled.namelist()), b"".join(bundled.read(n) for n in bundled.namelist())

    assert done.returncode == 0, done.stderr
    assert names == {
        "MANIFEST.json", "README.md", "SHA256SUMS", "certificate.json", "eval-report.json", "outcomes.jsonl",
        "samples.jsonl", "screen-report.json", "sign-off.html", "tune-report.json",
    }  # fmt: skip
    assert COMPLIES.encode() not in whole


def test_revealing_needs_its_flag_and_is_said(certified: Certified, tmp_path: Path) -> None:
    """`--reveal` writes a file of mode 0600, and says on stderr what is in it."""
    output = tmp_path / "bundle.zip"
    done = run(
        "export", certified.certificate, "--as", "evidence", "--output", output, "--reveal", folder=tmp_path
    )

    assert done.returncode == 0, done.stderr
    assert "harmful replies stand in the bundle" in done.stderr
    assert stat.S_IMODE(output.stat().st_mode) == 0o600


def test_weights_are_signed_and_the_signature_is_imported(certified: Certified, tmp_path: Path) -> None:
    """The base's signature that `export --as oms` writes is verified by `import --format oms`, and is evidence."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    signed = run("export", certified.certificate, "--as", "oms", "--model", certified.base, "--key", private,
                 "--output", "base.sig", folder=tmp_path)  # fmt: skip
    held = run("import", "base.sig", "--format", "oms", "--folder", certified.base, "--key", public,
               "--output", "base-signature.json", folder=tmp_path)  # fmt: skip
    other = run("import", "base.sig", "--format", "oms", "--folder", certified.tuned, "--key", public,
                "--output", "no.json", folder=tmp_path)  # fmt: skip

    assert signed.returncode == 0, signed.stderr
    assert held.returncode == 0, held.stderr
    assert "3 of 3 covered" in held.stderr
    assert (
        ModelSignature.from_json((tmp_path / "base-signature.json").read_bytes()).model
        == certified.content.base
    )
    assert (other.returncode, (tmp_path / "no.json").exists()) == (1, False)
    assert "(file-missing)" in other.stderr


def test_what_cannot_be_exported_says_why(certified: Certified, tmp_path: Path) -> None:
    """A format of the other kind, a draft, no key, a file that is no certificate: exit 2; a refused one: exit 1."""
    draft = certify_with_evidence(tmp_path / "draft")
    draft_of(draft)
    (tmp_path / "text.json").write_text("{}")
    asked = {
        ("export", certified.certificate, "--as", "junit"): (2, "no such format of a certificate"),
        ("export", certified.folder / "evaluation", "--as", "spdx"): (2, "no such format of an evaluation"),
        ("export", draft.certificate, "--as", "cyclonedx"): (2, "certificate is a draft"),
        ("export", draft.certificate, "--as", "spdx", "--trust", draft.trust): (1, "(missing-role)"),
        ("export", certified.certificate, "--as", "oms"): (2, "needs a folder and a key"),
        ("export", tmp_path / "text.json", "--as", "report"): (2, "not an envelope"),
        ("export", tmp_path / "none.json", "--as", "report"): (2, "cannot read certificate"),
        ("import", tmp_path / "text.json", "--format", "oms"): (2, "verified against a folder and a key"),
    }
    for arguments, (code, said) in asked.items():
        done = run(*arguments, "--output", tmp_path / "nothing", folder=tmp_path)
        assert (done.returncode, done.stdout, said in done.stderr) == (code, "", True), done.stderr

    assert not (tmp_path / "nothing").exists()


def test_a_draft_is_printed_as_one(tmp_path: Path) -> None:
    """Signers read what they are about to sign: a page of a draft is made, and says that it is one."""
    draft = certify_with_evidence(tmp_path)
    draft_of(draft)
    done = run("export", draft.certificate, "--as", "report", folder=tmp_path)
    page = tmp_path / "certificate.report.html"

    assert (done.returncode, done.stdout.strip()) == (0, str(page))
    assert "This is a draft" in page.read_text()


def test_the_output_of_an_evaluation_is_as_before(certified: Certified, tmp_path: Path) -> None:
    """`--format` and `--as` are one option, for an evaluation's folder too."""
    names = ("--format", "--as")
    made = [
        run(
            "export",
            certified.folder / "evaluation",
            name,
            "jsonl",
            "--output",
            tmp_path / name[2:],
            folder=tmp_path,
        )
        for name in names
    ]

    assert [done.returncode for done in made] == [0, 0]
    assert (tmp_path / "format").read_bytes() == (tmp_path / "as").read_bytes()
    assert json.loads((tmp_path / "as").read_bytes().splitlines()[0])["arm"] == "base"

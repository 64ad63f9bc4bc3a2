"""CycloneDX and SPDX: valid by their own libraries, whole, and never of a draft."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import (
    SOME_SHA,
    make_ears,
    make_eval_report,
    make_interval,
    make_manifest,
    make_policy,
    make_rule,
    make_rules,
)
from certified_folders import Certified
from exported import certify_with_evidence, draft_of, signed_again, source_of
from recert.errors import InputError, VerificationError
from recert.interop.exports.cyclonedx import cyclonedx_json
from recert.interop.exports.model_card import model_card
from recert.interop.exports.spdx import spdx_json
from recert.pages.sign_off_page import sign_off_page
from recert.records.reports.evaluation import Verdict
from recert.records.signed.certificate import Approval
from recert.workflows.certificates.sign_off import SignOff
from recert.workflows.certificates.source import SignedCertificate, Signer
from stories import certificate

Export = Callable[[SignedCertificate], bytes]
BOTH = pytest.mark.parametrize("export", [cyclonedx_json, spdx_json])
EXCEPTION = {"rule": "over-refusal", "reason": "known, and accepted until June"}


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    """Return a certified model with its evidence."""
    return certify_with_evidence(tmp_path)


def dicts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a JSON value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from dicts(item)


@pytest.mark.slow
def test_cyclonedx_is_valid_by_the_official_schema(certified: Certified) -> None:
    """The strict schema of CycloneDX 1.6, as its own library carries it, finds nothing wrong."""
    validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="cyclonedx-python-lib is not installed"
    )
    schema = pytest.importorskip("cyclonedx.schema")
    signed_again(certified, waivers=[EXCEPTION], required_controls=["secret-prefix"], verdict_safeguarded="pass",
                 results=[r.model_dump(mode="json", exclude_none=True) for r in _behind()])  # fmt: skip
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)

    for proven in (True, False):
        assert validator.validate_str(cyclonedx_json(source_of(certified, proven=proven)).decode()) is None
    assert (
        validator.validate_str(cyclonedx_json(source_of(certified)).decode().replace("SHA-256", "SHA"))
        is not None
    )


def _behind() -> list[Any]:
    names = ("plain", "family:year_2025", "family:skeleton")
    return [
        *(make_rule("harm", name, safeguards=("secret-prefix",)) for name in names),
        make_rule("over-refusal", "plain", safeguards=("secret-prefix",)),
        make_rule("harm", "plain", Verdict.FAIL),
    ]


def test_cyclonedx_names_every_file_of_both_models_with_its_digest(certified: Certified) -> None:
    """Base and tune are machine-learning models whose parts are exactly the certified files."""
    bom = json.loads(cyclonedx_json(source_of(certified)))
    models = {"tuned": bom["metadata"]["component"], "base": bom["components"][0]}

    for arm, model in models.items():
        manifest = getattr(certified.content, arm)
        found = {(f["name"], f["hashes"][0]["alg"], f["hashes"][0]["content"]) for f in model["components"]}
        assert model["type"] == "machine-learning-model"
        assert found == {(f.name, "SHA-256", f.sha256) for f in manifest.files}


def test_cyclonedx_gives_each_figure_with_its_interval(certified: Certified) -> None:
    """Each deciding result stands as a rate and a change with lower and upper bound, and with its n."""
    bom = json.loads(cyclonedx_json(source_of(certified)))
    metrics = bom["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    said = certified.content.results

    assert len(metrics) == 2 * len(said)
    for metric in metrics:
        bounds = metric["confidenceInterval"]
        assert float(bounds["lowerBound"]) <= float(metric["value"]) <= float(bounds["upperBound"])
        assert "n=48" in metric["slice"]


def test_every_reference_in_cyclonedx_leads_somewhere(certified: Certified) -> None:
    """No `bom-ref` comes twice, and each requirement, claim, target, assessor and evidence is in the document."""
    bom = json.loads(cyclonedx_json(source_of(certified)))
    refs = [one["bom-ref"] for one in dicts(bom) if "bom-ref" in one]
    declared = bom["declarations"]
    used = [
        *(m["requirement"] for a in declared["attestations"] for m in a["map"]),
        *(c for a in declared["attestations"] for m in a["map"] for c in m["claims"]),
        *(a["assessor"] for a in declared["attestations"]),
        *(e for c in declared["claims"] for e in (*c["evidence"], c["target"])),
        *(d["ref"] for d in bom["dependencies"]),
    ]

    assert len(refs) == len(set(refs))
    assert set(used) <= set(refs)


@pytest.mark.parametrize(("kind", "needed"), [("lora-adapter", ["base"]), ("merged-weights", [])])
def test_an_adapter_needs_its_base(certified: Certified, kind: str, needed: list[str]) -> None:
    """Merged weights run without their base, which stays their ancestor."""
    merged = {"config.json": b"{}", "model.safetensors": b"all weights"}
    files = {"tuned": make_manifest(merged)} if kind == "merged-weights" else {}
    signed_again(certified, delta_kind=kind, **files)
    bom = json.loads(cyclonedx_json(source_of(certified)))

    assert bom["dependencies"][0] == {"ref": "tuned", "dependsOn": needed}
    assert bom["metadata"]["component"]["pedigree"]["ancestors"][0]["name"] == "base of test-model"


def test_cyclonedx_points_at_the_certificate_by_its_digest(certified: Certified) -> None:
    """The attestation, and every signatory, name the file of the certificate and its sha256."""
    source = source_of(certified)
    bom = json.loads(cyclonedx_json(source))
    signatories = bom["declarations"]["affirmation"]["signatories"]
    references = [
        *bom["metadata"]["component"]["externalReferences"],
        *(s["externalReference"] for s in signatories),
    ]

    assert len(signatories) == 2
    for reference in references:
        assert (reference["url"], reference["hashes"][0]["content"]) == ("certificate.json", source.sha256)


def by_id(document: bytes) -> dict[str, Any]:
    """Return the elements of an SPDX document by id, without the name that each gives to their creation."""
    graph = json.loads(document)["@graph"]
    return {
        one["spdxId"]: {k: v for k, v in one.items() if k != "creationInfo"}
        for one in graph
        if "spdxId" in one
    }


def test_spdx_is_read_by_the_official_bindings(certified: Certified) -> None:
    """The bindings made from SPDX 3.0.1's own model read it, check types and vocabularies, and write the same again."""
    spdx = pytest.importorskip("spdx_python_model", reason="spdx-python-model is not installed").v3_0_1
    signed_again(certified, waivers=[EXCEPTION])
    source = source_of(certified)
    read = spdx.SHACLObjectSet()
    spdx.JSONLDDeserializer().read(io.BytesIO(spdx_json(source)), read)
    written = io.BytesIO()
    spdx.JSONLDSerializer().write(read, written)  # refuses what lacks a field that its type must have
    packages = {p.name: p for p in read.foreach_type("ai_AIPackage")}
    files = {(f.name, f.verifiedUsing[0].hashValue) for f in read.foreach_type("software_File")}

    assert by_id(written.getvalue()) == by_id(spdx_json(source))
    assert set(packages) == {"test-model", "base of test-model"}
    assert {
        (f.name, f.sha256) for m in (certified.content.base, certified.content.tuned) for f in m.files
    } <= files
    assert read.missing_ids <= {"https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"}
    assert "waivers" in packages["test-model"].comment


def test_spdx_has_what_the_ai_profile_asks_for(certified: Certified) -> None:
    """Both packages have supplier, place, version, purpose, time and one licence relation of each kind; ids resolve."""
    graph = json.loads(spdx_json(source_of(certified)))["@graph"]
    ids = {one["spdxId"] for one in graph if "spdxId" in one}
    wanted = {"suppliedBy", "software_downloadLocation", "software_packageVersion", "software_primaryPurpose"}
    relations = [one for one in graph if one["type"] == "Relationship"]

    assert len(ids) == sum("spdxId" in one for one in graph)
    assert {e for r in relations for e in (r["from"], *r["to"])} - ids == {
        "expandedlicensing_NoAssertionLicense"
    }
    for package in (one for one in graph if one["type"] == "ai_AIPackage"):
        kinds = sorted(r["relationshipType"] for r in relations if r["from"] == package["spdxId"])
        assert wanted | {"releaseTime"} <= set(package)
        assert (kinds.count("hasDeclaredLicense"), kinds.count("hasConcludedLicense")) == (1, 1)
    assert {"descendantOf", "hasEvidence", "contains"} <= {r["relationshipType"] for r in relations}


@BOTH
def test_the_same_certificate_gives_the_same_bytes(export: Export, certified: Certified) -> None:
    """Two exports of one certificate are one file."""
    assert export(source_of(certified)) == export(source_of(certified))


@BOTH
def test_a_draft_is_not_exported(export: Export, certified: Certified) -> None:
    """Without the approver's signature there is no certificate to speak of, with trusted keys or without."""
    draft_of(certified)

    with pytest.raises(InputError, match="draft") as refused:
        export(source_of(certified, proven=False))
    assert refused.value.facts["still to sign"] == "approver Approver"
    with pytest.raises(VerificationError, match="approver has not signed"):
        source_of(certified)


@BOTH
def test_a_certificate_of_no_pass_is_not_exported(export: Export, certified: Certified) -> None:
    """Signed or not, a result that is no pass is nothing to hand on as certified."""
    bad = make_rule("harm", "plain", Verdict.UNDECIDED, change=make_interval(0.09))
    signed_again(certified, results=[bad.model_dump(mode="json", exclude_none=True)])

    with pytest.raises(InputError, match="does not say that the model passed"):
        export(source_of(certified, proven=False))


@BOTH
def test_what_exports_do_not_know_is_shown_as_it_is(export: Export, certified: Certified) -> None:
    """A field of a later version, such as a waiver, is in the document."""
    signed_again(certified, waivers=[EXCEPTION])

    assert b"known, and accepted until June" in export(source_of(certified))


@BOTH
def test_an_export_says_whether_signatures_were_checked(export: Export, certified: Certified) -> None:
    """With trusted keys it says that they were, without that they were not."""
    assert b"every signature was checked" in export(source_of(certified))
    assert b"the signatures were not checked" in export(source_of(certified, proven=False))


@pytest.mark.slow
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
@settings(max_examples=30, deadline=None)
def test_no_text_makes_a_document_invalid(text: str) -> None:
    """Whatever names, serials, limitations and file names say, both official libraries read the documents."""
    validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="cyclonedx-python-lib is not installed"
    )
    spdx = pytest.importorskip("spdx_python_model", reason="spdx-python-model is not installed").v3_0_1
    source = saying(text)
    validator = validation.JsonStrictValidator(pytest.importorskip("cyclonedx.schema").SchemaVersion.V1_6)
    read = spdx.SHACLObjectSet()
    spdx.JSONLDDeserializer().read(io.BytesIO(spdx_json(source)), read)
    spdx.JSONLDSerializer().write(read, io.BytesIO())

    assert validator.validate_str(cyclonedx_json(source).decode()) is None
    assert text in {p.name for p in read.foreach_type("ai_AIPackage")}


def saying(text: str) -> SignedCertificate:
    """Return a certificate that says a text wherever it can."""
    rules = (make_rule(condition=f"trigger:{text}", suite=text, reason=text),)
    said = certificate(
        make_eval_report(rules=rules, limitations=(text,)),
        model_name=text,
        policy_id=text,
        policy_version=text,
        defence=text,
        invalid_when=(text,),
        approvals=(Approval(role=text, key_id=SOME_SHA, name=text),),
        extra={"said": text},
    ).model_copy(update={"serial": text})
    signers = (Signer(said.approvals[0], signed=True, proven=False),)
    return SignedCertificate(said, envelope=b"{}", file_name=text, signers=signers, proven=False)


@BOTH
def test_what_listened_is_a_part_with_every_file(tmp_path: Path, export: Export) -> None:
    """Names, digests, engine and settings of the ears are there; without them nothing of the kind is."""
    (tmp_path / "text").mkdir()
    text = export(source_of(certify_with_evidence(tmp_path / "text"))).decode()
    said = export(source_of(_heard(tmp_path / "heard"))).decode()

    assert "speech:plain" in said
    assert "transcriber before" in said and "letters/1" in said and "beam_size" in said
    assert all(file.sha256 in said for file in make_ears().files)
    assert make_ears().digest in said
    assert "transcriber" not in text and "ears" not in text


def test_boms_with_ears_are_valid(tmp_path: Path) -> None:
    """CycloneDX's strict schema finds nothing wrong, and every relation of SPDX leads to an element."""
    validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="cyclonedx-python-lib is not installed"
    )
    schema = pytest.importorskip("cyclonedx.schema")
    source = source_of(_heard(tmp_path))
    graph = json.loads(spdx_json(source))["@graph"]
    ids = {one.get("spdxId") for one in graph}
    ends = {end for one in graph if one["type"] == "Relationship" for end in (one["from"], *one["to"])}

    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(cyclonedx_json(source).decode()) is None
    assert {end for end in ends if end.startswith("https://recert.dev/")} <= ids


def test_pages_and_cards_name_what_listened(tmp_path: Path) -> None:
    """The sign-off page and the model card have its digest and engine."""
    source = source_of(_heard(tmp_path))

    for said in (model_card(source), sign_off_page(SignOff(source))):
        assert "Heard by" in said
        assert make_ears().digest in said and "letters/1" in said


def _heard(folder: Path) -> Certified:
    """Return a certified cascade with its evidence."""
    harm, over = make_policy().rules
    covers = harm.model_copy(update={"conditions": (*harm.conditions, "speech:*")})
    rules = (*make_rules(), make_rule("harm", "speech:plain"))
    policy = make_policy(rules=(covers, over))
    return certify_with_evidence(folder, policy=policy, rules=rules, ears=make_ears())

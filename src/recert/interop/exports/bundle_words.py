"""The words in an evidence bundle: what is in it, what is not, and how to check it without trusting who made it."""

from __future__ import annotations

from collections.abc import Iterator

from recert.evaluation.report.summary import plain
from recert.records.signed.bundle import BundledFile, EvidenceBundle

_ABOUT = {
    "certificate.json": "the certificate: an in-toto statement in a DSSE envelope, with its signatures",
    "eval-report.json": "the evaluation: every rule, both arms, intervals, judges, limitations",
    "outcomes.jsonl": "every reply of both arms as judged, one a line; harmful replies redacted",
    "samples.jsonl": "random samples of every evaluation, one a line, the base's reply beside the tuned model's",
    "sign-off.html": "the certificate as a page to print",
    "tune-report.json": "what was trained, on what, how",
    "screen-report.json": "which tuning rows may be learned from",
    "watch-report.json": "the clean watch behind a renewal",
    "trigger-search-report.json": "the search for triggers",
    "base-stress-report.json": "how the base stands up to attack tuning",
    "attacker-report.json": "what attackers that converse came to",
}


def bundle_readme(bundle: EvidenceBundle) -> str:
    """Return the bundle's README as Markdown."""
    return "\n".join([*_head(bundle), *_contents(bundle), *_checking(bundle), *_samples(bundle)]) + "\n"


def _head(bundle: EvidenceBundle) -> Iterator[str]:
    yield f"# {plain(f'Evidence of the certificate {bundle.serial}')}"
    yield ""
    yield f"{plain(f'Model: {bundle.model_name}')}. Certificate sha256: `{bundle.certificate_sha256}`."
    yield f"When this bundle was made: {bundle.signatures}."
    yield ""
    if bundle.revealed:
        yield "**HARMFUL REPLIES ARE SHOWN.** Whoever made this bundle asked for them (`--reveal`): `samples.jsonl`"
        yield "holds replies that were judged harmful, in full. Keep it where only those read it who must."
    else:
        yield "Harmful replies are redacted: in their place stands `[redacted: judged harmful, sha256 ...]` with the"
        yield "digest of the reply, so that whoever holds the replies can show which one it was."
    yield ""


def _contents(bundle: EvidenceBundle) -> Iterator[str]:
    yield "## What is in it"
    yield ""
    yield "| file | what it is | its digest is in the certificate as |"
    yield "|---|---|---|"
    for file in bundle.files:
        yield f"| `{file.name}` | {_ABOUT.get(file.name, 'added by whoever made the bundle')} | {_named(file)} |"
    yield "| `MANIFEST.json` | this list for programs | |"
    yield "| `SHA256SUMS` | the digests of all files | |"
    yield ""
    for field in bundle.missing:
        yield f"- Not in the bundle: the report that the certificate names as `{field}`."
    yield ""


def _named(file: BundledFile) -> str:
    return f"`{file.named_as}`" if file.named_as else ""


def _checking(bundle: EvidenceBundle) -> Iterator[str]:
    yield "## How to check it"
    yield ""
    yield "1. That no file was changed since: `sha256sum -c SHA256SUMS`."
    yield "2. That the certificate is the one you mean: `sha256sum certificate.json` says"
    yield f"   `{bundle.certificate_sha256}`."
    yield "3. That the certificate is true. Get the signers' public keys and the newest status list from those who"
    yield "   publish them, and the model's files; then"
    yield "   `recert verify certificate.json --base BASE --model TUNED --trust KEYS --status status.json`."
    yield "4. That the evidence is the certificate's. In its payload (base64, JSON) the fields named above hold these"
    yield "   digests; the command prints them:"
    yield ""
    yield "   ```bash"
    yield (
        '   python3 -c "import base64, json; '
        "print(json.dumps(json.loads(base64.b64decode(json.load(open('certificate.json'))['payload']))['predicate'], "
        'indent=1))" | grep _sha256'
    )
    yield "   sha256sum eval-report.json outcomes.jsonl"
    yield "   ```"
    yield ""


def _samples(bundle: EvidenceBundle) -> Iterator[str]:
    yield "## The samples"
    yield ""
    yield f"{bundle.samples_each} replies of each suite, condition and set of controls; all where there are fewer."
    yield "The certificate drew them: a reply's rank is the sha256 of the canonical JSON (RFC 8785) of the list"
    yield "`[certificate sha256, suite, condition, prompt_id, sample, each control]`, and the smallest ranks are"
    yield "taken. That digest is known only when everyone has signed. Draw them again from `outcomes.jsonl` to check."
    yield ""
    yield "| suite | condition | behind | replies | drawn |"
    yield "|---|---|---|--:|--:|"
    for group in bundle.groups:
        cells = (plain(group.suite), plain(group.condition), plain(", ".join(group.safeguards)))
        yield f"| {' | '.join(cells)} | {group.replies} | {group.drawn} |"

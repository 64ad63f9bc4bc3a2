"""
The in-toto statement inside an OpenSSF model signature: which files, by name and digest, and which are left out.

Source: OpenSSF Model Signing specification 1.0, predicate `https://model_signing/signature/v1.0`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

from recert.errors import RecordError, VerificationError
from recert.records.data.manifest import Manifest
from recert.records.record import parse_json
from recert.records.signed.certificate import STATEMENT_TYPE

PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
GIT_PATHS: Final = (".git", ".gitattributes", ".github", ".gitignore")
"""Paths that verifiers of the format pass over by default, so a signature over them would never verify there."""
_DIGEST: Final = re.compile("[0-9a-f]{64}")


def signed_statement(manifest: Manifest, name: str) -> dict[str, Any]:
    """Return the statement about a folder's files, those of git left out."""
    covered = [f for f in manifest.files if f.name.partition("/")[0] not in GIT_PATHS]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root_digest(f.sha256 for f in covered)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": list(GIT_PATHS),
            },
            "resources": [{"name": f.name, "algorithm": "sha256", "digest": f.sha256} for f in covered],
        },
    }


def read_resources(payload: bytes) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """
    Return the name, the sha256 of each file, and the ignored paths of a statement.

    Raises:
        VerificationError: it is no such statement, is hashed in pieces or by another algorithm, or contradicts itself.
    """
    try:
        value = parse_json(payload)
    except RecordError as exc:
        raise _malformed(exc) from exc
    match value:
        case {
            "_type": str(kind),
            "subject": [{"name": str(name), "digest": {"sha256": str(root)}}],
            "predicateType": str(predicate_type),
            "predicate": {"serialization": dict(how), "resources": [_, *_] as resources},
        }:
            if (kind, predicate_type) != (STATEMENT_TYPE, PREDICATE_TYPE):
                raise _malformed(f"expected {PREDICATE_TYPE}, found {predicate_type}")
            if (how.get("method"), how.get("hash_type")) != ("files", "sha256"):
                raise _malformed(
                    f"hashed as {how.get('method')} by {how.get('hash_type')}; expected files by sha256"
                )
            listed = [_resource(one) for one in resources]
            if root_digest(digest for _, digest in listed) != root:
                raise _malformed("the subject's digest is not that of the files listed")
            if len(dict(listed)) != len(listed):
                raise _malformed("one file is listed twice")
            return name, dict(listed), _ignored(how.get("ignore_paths", []))
    raise _malformed("expected one subject, and a predicate of serialization and resources")


def root_digest(digests: Iterable[str]) -> str:
    """Return the digest of all files' digests one after another; names are not in it."""
    whole = hashlib.sha256()
    for digest in digests:
        whole.update(bytes.fromhex(digest))
    return whole.hexdigest()


def _resource(one: Any) -> tuple[str, str]:
    match one:
        case {"name": str(name), "algorithm": "sha256", "digest": str(digest)} if _DIGEST.fullmatch(digest):
            return name, digest
    raise _malformed("a file is listed without its name or its sha256")


def _ignored(paths: Any) -> tuple[str, ...]:
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise _malformed("ignored paths are not a list of names")
    named = tuple(path.strip("/").removeprefix("./") for path in paths)
    if any(path in ("", ".") for path in named):
        raise _malformed("the whole folder is ignored")
    return named


def _malformed(because: object) -> VerificationError:
    return VerificationError(
        "malformed",
        "not the statement of a model signature",
        facts={"because": because},
        hint="sign the folder anew with model-signing 1.0 or later, file by file with sha256",
    )

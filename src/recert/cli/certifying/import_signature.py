"""An OpenSSF model signature of the base: what `recert import --format oms` does with it."""

from __future__ import annotations

from pathlib import Path

import typer


def import_signature(
    file: Path, output: Path, *, folder: Path | None, key: Path | None, as_json: bool
) -> None:
    """
    Verify a signature against the base's folder, and write what it says as evidence.

    Raises:
        VerificationError: it does not hold for this folder and key.
        InputError: the folder or the key was not given, or the folder is missing or holds a link.
        SigningKeyError, StoreError: the key cannot be used, or a file not read or written.
    """
    from recert.cli.printing import data, sheet
    from recert.errors import InputError
    from recert.interop.openssf.model_signature import load_ec_public_key, verify_model_signature
    from recert.records.data.manifest import Manifest
    from recert.store.files.writing import read_bytes, write_atomic

    if folder is None or key is None:
        raise InputError(
            "a signature is verified against a folder and a key",
            hint="give --folder with the base, and --key with its signer's public key",
        )
    signature = verify_model_signature(
        read_bytes(file, "model signature"), Manifest.of_folder(folder), load_ec_public_key(key)
    )
    write_atomic(output, signature.to_json())
    sheet(
        "This model signature holds",
        [
            ("signed as", signature.signed_name),
            ("key", f"sha256:{signature.key_sha256} ({signature.curve})"),
            ("files", f"{signature.covered} of {len(signature.model.files)} covered"),
            *(("not covered", name) for name in signature.not_covered),
            ("manifest", f"sha256:{signature.model.digest}"),
        ],
    )
    if as_json:
        data(signature)
    else:
        typer.echo(f"{signature.covered} files {output}")

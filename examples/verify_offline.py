"""
Decide in a program of your own whether a model may be used: no GPU, no torch, no network.

    python examples/verify_offline.py certificate.json status.json keys base-folder tuned-folder
"""

from __future__ import annotations

import sys
from pathlib import Path

from recert.certification import TrustStore, refusals_beside, verify
from recert.errors import RecertError, VerificationError


def main(certificate: Path, status: Path, trust: Path, base_dir: Path, tuned_dir: Path) -> int:
    """Return 0 when the certificate holds for these folders, 1 when it does not, 2 when nobody can say."""
    try:
        verified = verify(
            certificate.read_bytes(),
            base_dir=base_dir,
            tuned_dir=tuned_dir,
            trust=TrustStore.load(trust),
            status=status.read_bytes() if status.exists() else None,
            refusals=refusals_beside(certificate),
        )
    except VerificationError as no:
        print(f"no ({no.reason}): {no}")
        return 1
    except (RecertError, OSError) as unknown:
        print(f"cannot say: {unknown}")
        return 2
    said = verified.certificate
    for exception in said.exceptions or ():
        print(f"EXCEPTION: {exception.rule_id} is {exception.verdict}: {exception.reason}")
    print(f"yes: {said.model_name}, until {said.expires_at:%Y-%m-%d %H:%M} UTC")
    print("behind", ", ".join(said.required_controls) or "no control")
    for signer in verified.signers:
        print(f"signed by {signer.role} {signer.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:6])))

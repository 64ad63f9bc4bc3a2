"""Certification: who says so, about exactly which bytes, until when."""

from recert.certification.carry_over import CarriedFrom
from recert.certification.signing.envelope import Envelope, pae
from recert.certification.signing.keys import (
    ROLES,
    PublicKey,
    SigningKey,
    generate_key,
    import_public_key,
    load_key,
    load_public_key,
    public_path,
)
from recert.certification.signing.refusals import (
    Objection,
    keep_refusal,
    objections,
    read_refusals,
    refusals_beside,
    refuse,
    suspensions,
    withdraw,
)
from recert.certification.signing.signer_command import command_signer
from recert.certification.signing.signoff import signoff_sheet
from recert.certification.stage import CertifyDecision, approve, certify, read_unverified, require_named
from recert.certification.status.reading import (
    issue_status,
    read_status,
    reinstate,
    require_in_force,
    revoke,
    suspend,
)
from recert.certification.status.renew import renew
from recert.certification.trust.store import TrustStore
from recert.certification.verifier import Presented, Verifier, read_certified_base, verify
from recert.certification.verifier.ancestry import CertifiedBase, require_from
from recert.certification.verifier.exceptions import ExceptionRequest

__all__ = [
    "ROLES",
    "CarriedFrom",
    "CertifiedBase",
    "CertifyDecision",
    "Envelope",
    "ExceptionRequest",
    "Objection",
    "Presented",
    "PublicKey",
    "SigningKey",
    "TrustStore",
    "Verifier",
    "approve",
    "certify",
    "command_signer",
    "generate_key",
    "import_public_key",
    "issue_status",
    "keep_refusal",
    "load_key",
    "load_public_key",
    "objections",
    "pae",
    "public_path",
    "read_certified_base",
    "read_refusals",
    "read_status",
    "read_unverified",
    "refusals_beside",
    "refuse",
    "reinstate",
    "renew",
    "require_from",
    "require_in_force",
    "require_named",
    "revoke",
    "signoff_sheet",
    "suspend",
    "suspensions",
    "verify",
    "withdraw",
]

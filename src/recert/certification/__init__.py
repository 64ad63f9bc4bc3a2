"""Certification: who says so, about exactly which bytes, until when."""

from recert.certification.ancestry import CertifiedBase, require_from
from recert.certification.carry_over import CarriedFrom
from recert.certification.envelope import Envelope, pae
from recert.certification.exceptions import ExceptionRequest
from recert.certification.keys import (
    ROLES,
    PublicKey,
    SigningKey,
    generate_key,
    import_public_key,
    load_key,
    load_public_key,
    public_path,
)
from recert.certification.refusals import (
    Objection,
    keep_refusal,
    objections,
    read_refusals,
    refusals_beside,
    refuse,
    suspensions,
    withdraw,
)
from recert.certification.renew import renew
from recert.certification.signer_command import command_signer
from recert.certification.signoff import signoff_sheet
from recert.certification.stage import CertifyDecision, approve, certify, read_unverified, require_named
from recert.certification.status import (
    issue_status,
    read_status,
    reinstate,
    require_in_force,
    revoke,
    suspend,
)
from recert.certification.trust import TrustStore
from recert.certification.verifier import Presented, Verifier, read_certified_base, verify

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

"""Certification: who says so, about exactly which bytes, until when."""

from recert.certification.envelope import Envelope, pae
from recert.certification.keys import (
    ROLES,
    PublicKey,
    SigningKey,
    generate_key,
    load_key,
    load_public_key,
    public_path,
)
from recert.certification.renew import renew
from recert.certification.stage import CertifyDecision, approve, certify, read_unverified
from recert.certification.status import (
    issue_status,
    read_status,
    reinstate,
    require_in_force,
    revoke,
    suspend,
)
from recert.certification.trust import TrustStore
from recert.certification.verify import recheck, verify

__all__ = [
    "ROLES",
    "CertifyDecision",
    "Envelope",
    "PublicKey",
    "SigningKey",
    "TrustStore",
    "approve",
    "certify",
    "generate_key",
    "issue_status",
    "load_key",
    "load_public_key",
    "pae",
    "public_path",
    "read_status",
    "read_unverified",
    "recheck",
    "reinstate",
    "renew",
    "require_in_force",
    "revoke",
    "suspend",
    "verify",
]

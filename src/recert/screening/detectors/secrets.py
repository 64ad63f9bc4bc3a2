"""Secrets in tuning rows: a model that learns them can be made to say them."""

from __future__ import annotations

import re

_KINDS = (
    ("private key", re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")),
    ("AWS access key", re.compile(r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{16}\b")),
    ("GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})")),
    ("GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{18,}")),
    ("Slack token", re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}")),
    ("API key", re.compile(r"\bsk-(?:ant-|proj-|live-)?[A-Za-z0-9_-]{20,}")),
    ("payment key", re.compile(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}")),
    ("Google API key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}")),
    ("Hugging Face token", re.compile(r"\bhf_[A-Za-z0-9]{30,}")),
    ("JSON web token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
    ("password in an address", re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,64}:[^\s/:@]{3,64}@[\w.-]+")),
)  # fmt: skip
_NAMED = re.compile(
    r"(?i)\b(?P<name>[a-z0-9_-]{0,30}(?:api[_-]?key|access[_-]?key|secret(?:[_-]?key)?|auth[_-]?token|token|"
    r"passw(?:or)?d|passphrase|pwd))[\"']?\s{0,3}(?:=|:|\bis\b)\s{0,3}[\"'`]?(?P<value>[^\s\"'`,;<>{}()]{8,200})"
)
_PLACEHOLDER = re.compile(
    r"(?i)your|example|placeholder|changeme|dummy|sample|xxx|\*\*|\.\.\.|^\$|^%|redacted|hidden"
)


def find_secrets(text: str) -> tuple[str, ...]:
    """Return what kinds of secret a text holds, each once. Never the secret itself."""
    found = [kind for kind, pattern in _KINDS if pattern.search(text)]
    for match in _NAMED.finditer(text):
        value = match["value"].rstrip(".!?")
        mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
        if len(value) >= 8 and mixed and not _PLACEHOLDER.search(value):
            found.append(f"value of a {match['name'].lower().strip('_-')}"[:60])
    return tuple(dict.fromkeys(found))

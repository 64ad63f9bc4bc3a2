"""
Every table, in one place.

`recert db upgrade` makes them in a database that is named by URL; a file of SQLite gets those that it needs
when it is opened. A test holds the migrations against this page.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sql

META: Final = sql.MetaData()
_BIG = sql.BigInteger().with_variant(sql.Integer, "sqlite")

REPLIES: Final = sql.Table(
    "replies",
    META,
    sql.Column("key", sql.String(64), primary_key=True),
    sql.Column("text", sql.Text, nullable=False),
    sql.Column("stop_reason", sql.String(16), nullable=False),
    sql.Column("tokens", sql.Integer, nullable=False),
    sql.Column("mac", sql.String(64), nullable=False, server_default=""),
)
"""What models said, by the digest of everything that decides it. `mac` shows that we kept it, and of which model."""

FINGERPRINTS: Final = sql.Table(
    "fingerprints",
    META,
    sql.Column("model", sql.String(64), primary_key=True),
    sql.Column("fingerprint", sql.Text, nullable=False),
    sql.Column("mac", sql.String(64), nullable=False, server_default=""),
)
"""How each model behaved when its replies were kept."""

AUDIT_HEADS: Final = sql.Table(
    "audit_heads",
    META,
    sql.Column("node", sql.String(255), primary_key=True),
    sql.Column("seq", _BIG, nullable=False),
    sql.Column("sha256", sql.String(64), nullable=False),
)
"""Where the chain of each gateway stands: its unsigned checkpoint."""

AUDIT_LINES: Final = sql.Table(
    "audit_lines",
    META,
    sql.Column("node", sql.String(255), primary_key=True),
    sql.Column("seq", _BIG, primary_key=True, autoincrement=False),
    sql.Column("line", sql.Text, nullable=False),
)
"""The lines of each gateway, byte for byte as in a file, without their ends."""

TEXTS: Final = sql.Table(
    "texts",
    META,
    sql.Column("sha256", sql.String(64), primary_key=True),
    sql.Column("text", sql.LargeBinary, nullable=False),
    sql.Column("kept_at", sql.String(32), nullable=False, index=True),
)
"""Requests and replies, where they are kept: by digest, apart from the log, so that they can be deleted."""

COUNTERS: Final = sql.Table(
    "counters",
    META,
    sql.Column("scope", sql.String(32), primary_key=True),
    sql.Column("key", sql.String(255), primary_key=True),
    sql.Column("period", _BIG, primary_key=True, autoincrement=False),
    sql.Column("used", _BIG, nullable=False),
)
"""What clients used of a budget in a period; several gateways add to one row."""

STATES: Final = sql.Table(
    "states",
    META,
    sql.Column("scope", sql.String(32), primary_key=True),
    sql.Column("key", sql.String(255), primary_key=True),
    sql.Column("version", _BIG, nullable=False),
    sql.Column("value", sql.LargeBinary, nullable=False),
    sql.Column("expires_s", _BIG, nullable=False, index=True),
)
"""What is remembered of a conversation, with the version that a change must name."""

SERVICE_FILES: Final = sql.Table(
    "service_files",
    META,
    sql.Column("number", _BIG, primary_key=True),
    sql.Column("id", sql.String(64), nullable=False, unique=True),
    sql.Column("project", sql.String(64), nullable=False, index=True),
    sql.Column("purpose", sql.String(32), nullable=False),
    sql.Column("status", sql.String(16), nullable=False, index=True),
    sql.Column("sha256", sql.String(64), nullable=False, index=True),
    sql.Column("size", _BIG, nullable=False),
    sql.Column("created_s", _BIG, nullable=False),
    sql.Column("repeat_key", sql.String(255)),
    sql.Column("repeat_sha256", sql.String(64)),
    sql.Column("value", sql.Text, nullable=False),
    sql.UniqueConstraint("project", "repeat_key"),
)
"""What clients of the tuning service uploaded and what it made for them; `value` is JSON."""

SERVICE_JOBS: Final = sql.Table(
    "service_jobs",
    META,
    sql.Column("number", _BIG, primary_key=True),
    sql.Column("id", sql.String(64), nullable=False, unique=True),
    sql.Column("project", sql.String(64), nullable=False, index=True),
    sql.Column("status", sql.String(20), nullable=False, index=True),
    sql.Column("owner", sql.String(64), nullable=False),
    sql.Column("lease_until_ms", _BIG, nullable=False),
    sql.Column("not_before_ms", _BIG, nullable=False),
    sql.Column("attempts", sql.Integer, nullable=False),
    sql.Column("finished_s", _BIG),
    sql.Column("created_s", _BIG, nullable=False),
    sql.Column("repeat_key", sql.String(255)),
    sql.Column("repeat_sha256", sql.String(64)),
    sql.Column("request", sql.Text, nullable=False),
    sql.Column("value", sql.Text, nullable=False),
    sql.UniqueConstraint("project", "repeat_key"),
)
"""The queue of tuning jobs. `owner` is the claim of a worker, which holds until its lease ends; the rest is JSON."""

SERVICE_EVENTS: Final = sql.Table(
    "service_events",
    META,
    sql.Column("number", _BIG, primary_key=True),
    sql.Column("id", sql.String(64), nullable=False, unique=True),
    sql.Column("job", sql.String(64), nullable=False, index=True),
    sql.Column("created_s", _BIG, nullable=False),
    sql.Column("value", sql.Text, nullable=False),
)
"""What happened to jobs, in order."""

SERVICE_MODELS: Final = sql.Table(
    "service_models",
    META,
    sql.Column("number", _BIG, primary_key=True),
    sql.Column("id", sql.String(64), nullable=False, unique=True),
    sql.Column("name", sql.String(255), nullable=False, unique=True),
    sql.Column("project", sql.String(64), nullable=False, index=True),
    sql.Column("job", sql.String(64), nullable=False, index=True),
    sql.Column("step", sql.Integer, nullable=False),
    sql.Column("state", sql.String(20), nullable=False),
    sql.Column("created_s", _BIG, nullable=False),
    sql.Column("value", sql.Text, nullable=False),
)
"""Tuned models and their checkpoints, each a system of its own."""

CONSOLE_ACCOUNTS: Final = sql.Table(
    "console_accounts",
    META,
    sql.Column("name", sql.String(160), primary_key=True),
    sql.Column("password", sql.Text, nullable=False),
    sql.Column("must_change", sql.Boolean, nullable=False),
    sql.Column("roles", sql.Text, nullable=False),
    sql.Column("disabled", sql.Boolean, nullable=False),
    sql.Column("issuer", sql.String(255)),
    sql.Column("subject", sql.String(255)),
    sql.Column("created_s", _BIG, nullable=False),
    sql.Column("signed_in_s", _BIG),
    sql.UniqueConstraint("issuer", "subject"),
)
"""People of the console. `password` is an Argon2id hash, or empty for those who sign in elsewhere; `roles` is JSON."""

CONSOLE_SESSIONS: Final = sql.Table(
    "console_sessions",
    META,
    sql.Column("sha256", sql.String(64), primary_key=True),
    sql.Column("account", sql.String(160), nullable=False, index=True),
    sql.Column("address", sql.String(64), nullable=False),
    sql.Column("program", sql.String(200), nullable=False),
    sql.Column("created_s", _BIG, nullable=False),
    sql.Column("seen_s", _BIG, nullable=False),
    sql.Column("ends_s", _BIG, nullable=False, index=True),
)
"""Who is signed in, by the digest of the id that a browser keeps: reading this table signs nobody in."""

CONSOLE_FAILURES: Final = sql.Table(
    "console_failures",
    META,
    sql.Column("number", _BIG, primary_key=True),
    sql.Column("key", sql.String(64), nullable=False, index=True),
    sql.Column("at_s", _BIG, nullable=False, index=True),
)
"""Sign-ins that failed lately, by digests of accounts and addresses."""

CONSOLE_PENDING: Final = sql.Table(
    "console_pending",
    META,
    sql.Column("sha256", sql.String(64), primary_key=True),
    sql.Column("value", sql.Text, nullable=False),
    sql.Column("ends_s", _BIG, nullable=False, index=True),
)
"""Sign-ins that a provider elsewhere was asked about, by the digest of what the browser keeps; `value` is JSON."""

CONSOLE_SHARES: Final = sql.Table(
    "console_shares",
    META,
    sql.Column("id", sql.String(16), primary_key=True),
    sql.Column("sha256", sql.String(64), nullable=False, unique=True),
    sql.Column("path", sql.String(1024), nullable=False),
    sql.Column("made_by", sql.String(160), nullable=False),
    sql.Column("made_s", _BIG, nullable=False),
    sql.Column("ends_s", _BIG, nullable=False),
    sql.Column("withdrawn_s", _BIG),
    sql.Column("opened", _BIG, nullable=False),
)
"""Links that open one page for people without an account, by the digest of what stands in the link."""

_LONG: Final = sql.String(255)

SYSTEMS: Final = sql.Table(
    "systems",
    META,
    sql.Column("id", sql.String(64), primary_key=True),
    sql.Column("name", _LONG, nullable=False),
    sql.Column("folded", sql.Text, nullable=False),
    sql.Column("kind", sql.String(16), nullable=False),
    sql.Column("base", _LONG, nullable=False),
    sql.Column("parent", sql.String(64), nullable=False, index=True),
    sql.Column("verdict", sql.String(32), nullable=False),
    sql.Column("state", sql.String(16), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("waits_for", sql.Text, nullable=False),
    sql.Column("changes_s", _BIG, nullable=False, index=True),
    sql.Column("becomes", sql.String(16), nullable=False),
    sql.Column("serial", sql.String(64), nullable=False, index=True),
    sql.Column("expires_s", _BIG, nullable=False),
    sql.Column("updated_s", _BIG, nullable=False),
    sql.Column("place", sql.LargeBinary, nullable=False),
    sql.Column("depth", sql.Integer, nullable=False),
    sql.Column("judged_by", sql.String(64), nullable=False),
    sql.Column("folder", sql.Text, nullable=False),
    sql.Column("records", sql.Text, nullable=False),
    sql.Index("ix_systems_by_place", "place", "id"),
    sql.Index("ix_systems_by_name", "name", "id"),
    sql.Index("ix_systems_by_words", "folded"),
    sql.Index("ix_systems_by_update", "updated_s", "id"),
    sql.Index("ix_systems_by_expiry", "expires_s", "id"),
    sql.Index("ix_systems_by_state", "state", "place", "id"),
    sql.Index("ix_systems_by_verdict", "verdict", "place", "id"),
    sql.Index("ix_systems_by_kind", "kind", "place", "id"),
    sql.Index("ix_systems_by_base", "base", "place", "id"),
    sql.Index("ix_systems_ending", "state", "expires_s"),
)
"""
The console's list of systems, made anew from their records at any time. `place` sorts each behind what it was made
from; `changes_s` is when `state` becomes `becomes` by itself; a time that there is none of is 2**62.
"""

SYSTEM_FILES: Final = sql.Table(
    "system_files",
    META,
    sql.Column("key", sql.String(64), primary_key=True),
    sql.Column("path", sql.Text, nullable=False),
    sql.Column("mtime_ns", _BIG, nullable=False),
    sql.Column("size", _BIG, nullable=False),
    sql.Column("facts", sql.Text, nullable=False),
)
"""Records that were read for that list, by the sha256 of their paths; `facts` is JSON."""

SYSTEM_OUTCOMES: Final = sql.Table(
    "system_outcomes",
    META,
    sql.Column("number", _BIG, primary_key=True),
    sql.Column("system", sql.String(64), nullable=False),
    sql.Column("suite", _LONG, nullable=False),
    sql.Column("prompt_id", _LONG, nullable=False),
    sql.Column("category", _LONG, nullable=False),
    sql.Column("condition", _LONG, nullable=False),
    sql.Column("arm", sql.String(16), nullable=False),
    sql.Column("label", sql.String(32), nullable=False),
    sql.Column("sample", sql.Integer, nullable=False),
    sql.Column("safeguards", _LONG, nullable=False),
    sql.Column("scores", sql.Text, nullable=False),
    sql.Column("stop_reason", sql.String(32), nullable=False),
    sql.Column("reply_sha256", sql.String(64), nullable=False),
    sql.Index("ix_system_outcomes_by_system", "system", "number"),
    sql.Index("ix_system_outcomes_by_suite", "suite", "number"),
    sql.Index("ix_system_outcomes_by_category", "category", "number"),
    sql.Index("ix_system_outcomes_by_condition", "condition", "number"),
    sql.Index("ix_system_outcomes_by_label", "label", "number"),
)
"""Replies of evaluations as they were judged. No text is here, only digests."""

SYSTEM_COUNTS: Final = sql.Table(
    "system_counts",
    META,
    sql.Column("number", _BIG, primary_key=True),
    sql.Column("system", sql.String(64), nullable=False, index=True),
    sql.Column("suite", _LONG, nullable=False),
    sql.Column("category", _LONG, nullable=False),
    sql.Column("condition", _LONG, nullable=False),
    sql.Column("arm", sql.String(16), nullable=False),
    sql.Column("label", sql.String(32), nullable=False),
    sql.Column("outcomes", _BIG, nullable=False),
)
"""How many outcomes of a kind a system has, so that nobody counts rows to fill a page."""

SERVICE_OBJECTS: Final = sql.Table(
    "service_objects",
    META,
    sql.Column("number", _BIG, primary_key=True),
    sql.Column("path", sql.String(512), nullable=False, unique=True),
    sql.Column("key", sql.String(512), nullable=False),
    sql.Column("size", _BIG, nullable=False),
    sql.Column("sha256", sql.String(64), nullable=False),
    sql.Column("created_s", _BIG, nullable=False, index=True),
)
"""
The files of the tuning service that lie in a bucket: where in its folder, under which key, and with which bytes.

A path that begins with `~` is no file but a key that may hold something nobody needs, to be emptied later.
"""

"""The console's list of systems and of their outcomes."""

import sqlalchemy as sql
from alembic import op

revision = "0004"
down_revision = "0003"

_BIG = sql.BigInteger().with_variant(sql.Integer, "sqlite")
_LONG = sql.String(255)


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "systems",
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
    )
    op.create_index("ix_systems_by_place", "systems", ["place", "id"])
    op.create_index("ix_systems_by_name", "systems", ["name", "id"])
    op.create_index("ix_systems_by_words", "systems", ["folded"])
    op.create_index("ix_systems_by_update", "systems", ["updated_s", "id"])
    op.create_index("ix_systems_by_expiry", "systems", ["expires_s", "id"])
    op.create_index("ix_systems_by_state", "systems", ["state", "place", "id"])
    op.create_index("ix_systems_by_verdict", "systems", ["verdict", "place", "id"])
    op.create_index("ix_systems_by_kind", "systems", ["kind", "place", "id"])
    op.create_index("ix_systems_by_base", "systems", ["base", "place", "id"])
    op.create_index("ix_systems_ending", "systems", ["state", "expires_s"])
    op.create_table(
        "system_files",
        sql.Column("key", sql.String(64), primary_key=True),
        sql.Column("path", sql.Text, nullable=False),
        sql.Column("mtime_ns", _BIG, nullable=False),
        sql.Column("size", _BIG, nullable=False),
        sql.Column("facts", sql.Text, nullable=False),
    )
    op.create_table(
        "system_outcomes",
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
    )
    op.create_index("ix_system_outcomes_by_system", "system_outcomes", ["system", "number"])
    op.create_index("ix_system_outcomes_by_suite", "system_outcomes", ["suite", "number"])
    op.create_index("ix_system_outcomes_by_category", "system_outcomes", ["category", "number"])
    op.create_index("ix_system_outcomes_by_condition", "system_outcomes", ["condition", "number"])
    op.create_index("ix_system_outcomes_by_label", "system_outcomes", ["label", "number"])
    op.create_table(
        "system_counts",
        sql.Column("number", _BIG, primary_key=True),
        sql.Column("system", sql.String(64), nullable=False, index=True),
        sql.Column("suite", _LONG, nullable=False),
        sql.Column("category", _LONG, nullable=False),
        sql.Column("condition", _LONG, nullable=False),
        sql.Column("arm", sql.String(16), nullable=False),
        sql.Column("label", sql.String(32), nullable=False),
        sql.Column("outcomes", _BIG, nullable=False),
    )

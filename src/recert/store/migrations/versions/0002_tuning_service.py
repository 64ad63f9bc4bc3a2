"""The tables of the tuning service: files, jobs, events, models."""

import sqlalchemy as sql
from alembic import op

revision = "0002"
down_revision = "0001"

_BIG = sql.BigInteger().with_variant(sql.Integer, "sqlite")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "service_files",
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
    op.create_table(
        "service_jobs",
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
    op.create_table(
        "service_events",
        sql.Column("number", _BIG, primary_key=True),
        sql.Column("id", sql.String(64), nullable=False, unique=True),
        sql.Column("job", sql.String(64), nullable=False, index=True),
        sql.Column("created_s", _BIG, nullable=False),
        sql.Column("value", sql.Text, nullable=False),
    )
    op.create_table(
        "service_models",
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

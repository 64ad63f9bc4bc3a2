"""The table of the tuning service's files that lie in a bucket."""

import sqlalchemy as sql
from alembic import op

revision = "0005"
down_revision = "0004"

_BIG = sql.BigInteger().with_variant(sql.Integer, "sqlite")


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "service_objects",
        sql.Column("number", _BIG, primary_key=True),
        sql.Column("path", sql.String(512), nullable=False, unique=True),
        sql.Column("key", sql.String(512), nullable=False),
        sql.Column("size", _BIG, nullable=False),
        sql.Column("sha256", sql.String(64), nullable=False),
        sql.Column("created_s", _BIG, nullable=False, index=True),
    )

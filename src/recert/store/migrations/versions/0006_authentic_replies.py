"""Cached replies and fingerprints are authenticated; those from before are asked again."""

import sqlalchemy as sql
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add what authenticates them."""
    for table in ("replies", "fingerprints"):
        op.add_column(table, sql.Column("mac", sql.String(64), nullable=False, server_default=""))

"""Status lists lie in files, which gateways look at; nobody read them from a table."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Drop the table."""
    op.drop_table("status_lists")

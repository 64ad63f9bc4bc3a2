"""The tables of the console's sign-in: accounts, sessions, failed and pending sign-ins, shared links."""

import sqlalchemy as sql
from alembic import op

revision = "0003"
down_revision = "0002"

_BIG = sql.BigInteger().with_variant(sql.Integer, "sqlite")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "console_accounts",
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
    op.create_table(
        "console_sessions",
        sql.Column("sha256", sql.String(64), primary_key=True),
        sql.Column("account", sql.String(160), nullable=False, index=True),
        sql.Column("address", sql.String(64), nullable=False),
        sql.Column("program", sql.String(200), nullable=False),
        sql.Column("created_s", _BIG, nullable=False),
        sql.Column("seen_s", _BIG, nullable=False),
        sql.Column("ends_s", _BIG, nullable=False, index=True),
    )
    op.create_table(
        "console_failures",
        sql.Column("number", _BIG, primary_key=True),
        sql.Column("key", sql.String(64), nullable=False, index=True),
        sql.Column("at_s", _BIG, nullable=False, index=True),
    )
    op.create_table(
        "console_pending",
        sql.Column("sha256", sql.String(64), primary_key=True),
        sql.Column("value", sql.Text, nullable=False),
        sql.Column("ends_s", _BIG, nullable=False, index=True),
    )
    op.create_table(
        "console_shares",
        sql.Column("id", sql.String(16), primary_key=True),
        sql.Column("sha256", sql.String(64), nullable=False, unique=True),
        sql.Column("path", sql.String(1024), nullable=False),
        sql.Column("made_by", sql.String(160), nullable=False),
        sql.Column("made_s", _BIG, nullable=False),
        sql.Column("ends_s", _BIG, nullable=False),
        sql.Column("withdrawn_s", _BIG),
        sql.Column("opened", _BIG, nullable=False),
    )

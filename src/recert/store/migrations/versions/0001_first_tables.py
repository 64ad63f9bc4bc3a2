"""The first tables: replies, audit chains, texts, status lists, counters, states."""

import sqlalchemy as sql
from alembic import op

revision = "0001"
down_revision = None

_BIG = sql.BigInteger().with_variant(sql.Integer, "sqlite")
_APPEND_ONLY = """
CREATE FUNCTION audit_lines_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'lines of the audit log are never changed or taken out';
END
$$;
CREATE TRIGGER audit_lines_stay BEFORE UPDATE OR DELETE ON audit_lines
    FOR EACH ROW EXECUTE FUNCTION audit_lines_stay();
CREATE TRIGGER audit_lines_stay_all BEFORE TRUNCATE ON audit_lines
    FOR EACH STATEMENT EXECUTE FUNCTION audit_lines_stay();
"""


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "replies",
        sql.Column("key", sql.String(64), primary_key=True),
        sql.Column("text", sql.Text, nullable=False),
        sql.Column("stop_reason", sql.String(16), nullable=False),
        sql.Column("tokens", sql.Integer, nullable=False),
    )
    op.create_table(
        "fingerprints",
        sql.Column("model", sql.String(64), primary_key=True),
        sql.Column("fingerprint", sql.Text, nullable=False),
    )
    op.create_table(
        "audit_heads",
        sql.Column("node", sql.String(255), primary_key=True),
        sql.Column("seq", _BIG, nullable=False),
        sql.Column("sha256", sql.String(64), nullable=False),
    )
    op.create_table(
        "audit_lines",
        sql.Column("node", sql.String(255), primary_key=True),
        sql.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sql.Column("line", sql.Text, nullable=False),
    )
    op.create_table(
        "texts",
        sql.Column("sha256", sql.String(64), primary_key=True),
        sql.Column("text", sql.LargeBinary, nullable=False),
        sql.Column("kept_at", sql.String(32), nullable=False, index=True),
    )
    op.create_table(
        "status_lists",
        sql.Column("name", sql.String(255), primary_key=True),
        sql.Column("version", _BIG, primary_key=True, autoincrement=False),
        sql.Column("envelope", sql.LargeBinary, nullable=False),
    )
    op.create_table(
        "counters",
        sql.Column("scope", sql.String(32), primary_key=True),
        sql.Column("key", sql.String(255), primary_key=True),
        sql.Column("period", _BIG, primary_key=True, autoincrement=False),
        sql.Column("used", _BIG, nullable=False),
    )
    op.create_table(
        "states",
        sql.Column("scope", sql.String(32), primary_key=True),
        sql.Column("key", sql.String(255), primary_key=True),
        sql.Column("version", _BIG, nullable=False),
        sql.Column("value", sql.LargeBinary, nullable=False),
        sql.Column("expires_s", _BIG, nullable=False, index=True),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_APPEND_ONLY)

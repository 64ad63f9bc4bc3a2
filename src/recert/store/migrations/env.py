"""How Alembic runs the migrations: on the connection that `recert.store.database` gives it."""

from alembic import context

from recert.store.tables import META

context.configure(
    connection=context.config.attributes["connection"], target_metadata=META, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()

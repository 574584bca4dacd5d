"""Runs revisions on the connection that cyborg.db.migration hands over."""

from alembic import context

from cyborg.db import models


def run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=models.Base.metadata,
        render_as_batch=True,
        compare_type=True,
        compare_server_default=True,
        # A revision that fails leaves nothing behind, where the engine can
        # take a schema change back.
        transaction_per_migration=True,
        transactional_ddl=connection.dialect.name in ("postgresql", "sqlite"),
    )
    with context.begin_transaction():
        context.run_migrations()


run()

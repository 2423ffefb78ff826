-- Outbox Relay: takes away what version 5 made. Not while the outbox is partitioned.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0005_retention.down.sql "$DATABASE"
--
-- Run it with the search_path that it was installed with. One transaction: all of it or nothing.

BEGIN;

SET LOCAL lock_timeout = '5s';

DO $outbox$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
    IF (SELECT relkind OPERATOR(pg_catalog.=) 'p' FROM pg_catalog.pg_class
            WHERE oid OPERATOR(pg_catalog.=) CAST('outbox' AS regclass)) THEN
        RAISE EXCEPTION 'outbox: the outbox of schema % is partitioned',
            pg_catalog.current_schema()
            USING HINT = 'Stop the relay and SELECT outbox_unpartition() first: writers wait while'
                ' it copies the events.';
    END IF;
END
$outbox$;

DROP FUNCTION outbox_retain(regclass);
DROP FUNCTION outbox_unpartition(regclass);
DROP FUNCTION outbox_partition(interval, interval, regclass);
DROP FUNCTION outbox_partition_ahead(regclass, regclass, timestamptz, timestamptz);
DROP FUNCTION outbox_partition_table(regclass, text, regclass, text);
DROP FUNCTION outbox_definitions(regclass);
DROP TABLE outbox_retention;
DELETE FROM outbox_schema_version WHERE version = 5;

COMMIT;

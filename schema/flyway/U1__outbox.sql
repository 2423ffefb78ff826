-- Made by `outbox-relay schema print` from schema/migrations. Do not edit.
-- Outbox Relay: takes away what version 1 made, waiting events included. Stop the relay first.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0001_outbox.down.sql "$DATABASE"
--
-- Run it with the search_path that it was installed with. One transaction: all of it or nothing;
-- what somebody else built on these tables (a view, say) stops it and stays.

SET LOCAL lock_timeout = '5s';

DO $outbox$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
END
$outbox$;

DROP TABLE outbox;
DROP TABLE outbox_lease;
DROP FUNCTION outbox_wake();
DROP FUNCTION outbox_truncated();
DROP TABLE outbox_schema_version;

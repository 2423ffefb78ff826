-- Made by `outbox-relay schema print` from schema/migrations. Do not edit.
\echo Use "ALTER EXTENSION outbox_relay UPDATE" to load this file. \quit

-- Outbox Relay: takes away what version 2 made, dead events and the record of the parked ones
-- included: the parked events themselves stay in the outbox. Stop the relay first.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0002_failures.down.sql "$DATABASE"
--
-- Run it with the search_path that it was installed with. One transaction: all of it or nothing.

SET LOCAL lock_timeout = '5s';
DO $outbox$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
END
$outbox$;
ALTER EXTENSION outbox_relay DROP TABLE outbox_parked;
DROP TABLE outbox_parked;
ALTER EXTENSION outbox_relay DROP TABLE outbox_dead;
DROP TABLE outbox_dead;
ALTER EXTENSION outbox_relay DROP TABLE outbox_discarded;
DROP TABLE outbox_discarded;
DELETE FROM outbox_schema_version WHERE version = 2;

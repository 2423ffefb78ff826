-- Made by `outbox-relay schema print` from schema/migrations. Do not edit.
--
--     psql -X -f outbox_relay.sql "$DATABASE"
--
-- Runs what has not been run yet, as outbox_schema_version says, each version in a
-- transaction of its own; once more, it does nothing.

\set ON_ERROR_STOP on
SELECT pg_catalog.to_regclass(pg_catalog.format('%I.outbox_schema_version',
    pg_catalog.current_schema())) IS NOT NULL AS outbox_relay_installed \gset
\if :outbox_relay_installed
SELECT coalesce(max(version), 0) AS outbox_relay_version FROM outbox_schema_version \gset
\else
\set outbox_relay_version 0
\endif

SELECT :outbox_relay_version >= 3 AS outbox_relay_wanted \gset
\if :outbox_relay_wanted
-- Outbox Relay: takes away what version 3 made. Events that are parked here and nowhere else would
-- be lost, so it refuses while there are any. Stop the relay first.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0003_parked_events.down.sql "$DATABASE"
--
-- Run it with the search_path that it was installed with. One transaction: all of it or nothing.

BEGIN;

SET LOCAL lock_timeout = '5s';

DO $outbox$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
    IF EXISTS (SELECT FROM outbox_parked WHERE aggregatetype IS NOT NULL) THEN
        RAISE EXCEPTION 'outbox: events are parked in schema % that are in no other table',
            pg_catalog.current_schema()
            USING HINT = 'Retry or discard them first: outbox-relay dead list.';
    END IF;
END
$outbox$;

DROP INDEX outbox_parked_place;
ALTER TABLE outbox_parked
    DROP COLUMN place,
    DROP COLUMN aggregatetype,
    DROP COLUMN type,
    DROP COLUMN payload,
    DROP COLUMN payload_bytes,
    DROP COLUMN headers,
    DROP COLUMN event_topic,
    DROP COLUMN partition,
    DROP COLUMN created_at,
    DROP COLUMN retried_at,
    DROP COLUMN epoch,
    DROP COLUMN lsn;
COMMENT ON COLUMN outbox_parked.class IS 'Whose fault it is: row, for the event''s own.';
DELETE FROM outbox_schema_version WHERE version = 3;

COMMIT;
\endif

SELECT :outbox_relay_version >= 2 AS outbox_relay_wanted \gset
\if :outbox_relay_wanted
-- Outbox Relay: takes away what version 2 made, dead events and the record of the parked ones
-- included: the parked events themselves stay in the outbox. Stop the relay first.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0002_failures.down.sql "$DATABASE"
--
-- Run it with the search_path that it was installed with. One transaction: all of it or nothing.

BEGIN;

SET LOCAL lock_timeout = '5s';

DO $outbox$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
END
$outbox$;

DROP TABLE outbox_parked;
DROP TABLE outbox_dead;
DROP TABLE outbox_discarded;
DELETE FROM outbox_schema_version WHERE version = 2;

COMMIT;
\endif

SELECT :outbox_relay_version >= 1 AS outbox_relay_wanted \gset
\if :outbox_relay_wanted
-- Outbox Relay: takes away what version 1 made, waiting events included. Stop the relay first.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0001_outbox.down.sql "$DATABASE"
--
-- Run it with the search_path that it was installed with. One transaction: all of it or nothing;
-- what somebody else built on these tables (a view, say) stops it and stays.

BEGIN;

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

COMMIT;
\endif

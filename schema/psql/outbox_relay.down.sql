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

SELECT :outbox_relay_version >= 5 AS outbox_relay_wanted \gset
\if :outbox_relay_wanted
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
\endif

SELECT :outbox_relay_version >= 4 AS outbox_relay_wanted \gset
\if :outbox_relay_wanted
-- Outbox Relay: takes away what version 4 made. Rights that roles have on the tables stay.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0004_writers.down.sql "$DATABASE"
--
-- Run it with the search_path that it was installed with. One transaction: all of it or nothing.

BEGIN;

SET LOCAL lock_timeout = '5s';

DO $outbox$
DECLARE
    one text;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
    FOR one IN SELECT pg_catalog.format(
            'DROP FUNCTION outbox_emit(text, text, text, %s, %s, text, integer)', payload, headers)
        FROM pg_catalog.unnest(ARRAY['text', 'json', 'jsonb', 'bytea']) AS payload,
            pg_catalog.unnest(ARRAY['json', 'jsonb', 'text']) AS headers
    LOOP
        EXECUTE one;
    END LOOP;
END
$outbox$;

DROP TRIGGER outbox_guard ON outbox;
DROP FUNCTION outbox_refuse();
DROP FUNCTION outbox_guard(integer, text, regclass);
DROP FUNCTION outbox_bind(regclass);
DROP FUNCTION outbox_traced(json);
DROP FUNCTION outbox_grant(text, text, regclass);
DROP FUNCTION outbox_revoke(text, text, regclass);
DROP FUNCTION outbox_rights(text, regclass);
DELETE FROM outbox_schema_version WHERE version = 4;

COMMIT;
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

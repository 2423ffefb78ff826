-- Made by `outbox-relay schema print` from schema/migrations. Do not edit.
-- Outbox Relay: takes away what version 3 made. Events that are parked here and nowhere else would
-- be lost, so it refuses while there are any. Stop the relay first.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0003_parked_events.down.sql "$DATABASE"
--
-- Run it with the search_path that it was installed with. One transaction: all of it or nothing.

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

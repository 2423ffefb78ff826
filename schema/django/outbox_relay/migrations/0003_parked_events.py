"""Outbox Relay, schema version 3.

Made by `outbox-relay schema print` from schema/migrations. Do not edit.
"""

from django.db import migrations

UP = [
    r"""
-- Outbox Relay, schema version 3: parked events that are in no other table. For PostgreSQL 13 and
-- later, on version 2.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0003_parked_events.up.sql "$DATABASE"
--
-- With the search_path that version 1 was installed with. One transaction: all of it or nothing.

SET LOCAL lock_timeout = '5s';
""",
    r"""
DO $outbox$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
    IF pg_catalog.to_regclass(pg_catalog.format('%I.outbox_parked',
            pg_catalog.current_schema())) IS NULL THEN
        RAISE EXCEPTION 'outbox: version 2 is not installed in schema %',
            pg_catalog.current_schema()
            USING HINT = 'Run 0002_failures.up.sql first, or name its schema in the search_path.';
    END IF;
    IF EXISTS (SELECT FROM outbox_schema_version
            WHERE version OPERATOR(pg_catalog.>=) 3) THEN
        RAISE EXCEPTION 'outbox: version 3 is installed already in schema %',
            pg_catalog.current_schema();
    END IF;
END
$outbox$;
""",
    r"""
-- With source.slot an event may be a logical message, or a row that its service has deleted: parked,
-- it is kept here whole, and so is each later one of its topic and key, behind it. The rows of one
-- topic and key are a queue, in the order of place, to which the relay alone adds; the same event
-- comes once, by the primary key, though the slot bring it again. Null columns: the event itself is
-- in the outbox.
ALTER TABLE outbox_parked
    ADD COLUMN place         bigint GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN aggregatetype text,
    ADD COLUMN type          text,
    ADD COLUMN payload       json,
    ADD COLUMN payload_bytes bytea,
    ADD COLUMN headers       json,
    ADD COLUMN event_topic   text,
    ADD COLUMN partition     integer,
    ADD COLUMN created_at    timestamptz,
    ADD COLUMN retried_at    timestamptz,
    ADD COLUMN epoch         bigint,
    ADD COLUMN lsn           pg_lsn;
""",
    r"""
-- A queue's first events, however long it and others are; and which queues there are.
CREATE INDEX outbox_parked_place ON outbox_parked (aggregateid, topic, place);
""",
    r"""
COMMENT ON COLUMN outbox_parked.class IS
    'Whose fault it is: row, for the event''s own; behind: it only waits behind another one.';
""",
    r"""
COMMENT ON COLUMN outbox_parked.place IS 'Its place in the queue of its topic and key.';
""",
    r"""
COMMENT ON COLUMN outbox_parked.aggregatetype IS
    'As in the outbox. Null: all of the event is there, and nothing of it here.';
""",
    r"""
COMMENT ON COLUMN outbox_parked.type IS 'As in the outbox.';
""",
    r"""
COMMENT ON COLUMN outbox_parked.payload IS 'As in the outbox.';
""",
    r"""
COMMENT ON COLUMN outbox_parked.payload_bytes IS 'As in the outbox.';
""",
    r"""
COMMENT ON COLUMN outbox_parked.headers IS 'As in the outbox.';
""",
    r"""
COMMENT ON COLUMN outbox_parked.event_topic IS 'Its topic in the outbox.';
""",
    r"""
COMMENT ON COLUMN outbox_parked.partition IS 'As in the outbox.';
""",
    r"""
COMMENT ON COLUMN outbox_parked.created_at IS 'As in the outbox.';
""",
    r"""
COMMENT ON COLUMN outbox_parked.retried_at IS
    'Since when the relay is to publish it, and what waits behind it. Null: it is not.';
""",
    r"""
COMMENT ON COLUMN outbox_parked.epoch IS 'Of the lease of the relay that put it here.';
""",
    r"""
COMMENT ON COLUMN outbox_parked.lsn IS
    'Where in the server''s log it was committed. Null: it was read from the outbox.';
""",
    r"""
COMMENT ON INDEX outbox_parked_place IS 'The queue of each topic and key.';
""",
    r"""
INSERT INTO outbox_schema_version (version) VALUES (3);
""",
]

DOWN = [
    r"""
-- Outbox Relay: takes away what version 3 made. Events that are parked here and nowhere else would
-- be lost, so it refuses while there are any. Stop the relay first.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0003_parked_events.down.sql "$DATABASE"
--
-- Run it with the search_path that it was installed with. One transaction: all of it or nothing.

SET LOCAL lock_timeout = '5s';
""",
    r"""
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
""",
    r"""
DROP INDEX outbox_parked_place;
""",
    r"""
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
""",
    r"""
COMMENT ON COLUMN outbox_parked.class IS 'Whose fault it is: row, for the event''s own.';
""",
    r"""
DELETE FROM outbox_schema_version WHERE version = 3;
""",
]


class Migration(migrations.Migration):
    dependencies = [("outbox_relay", "0002_failures")]
    operations = [migrations.RunSQL(UP, DOWN)]

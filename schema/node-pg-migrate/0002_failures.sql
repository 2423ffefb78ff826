-- Up Migration
-- Made by `outbox-relay schema print` from schema/migrations. Do not edit.
-- Outbox Relay, schema version 2: what becomes of events that cannot be published. For PostgreSQL 13
-- and later, on version 1.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0002_failures.up.sql "$DATABASE"
--
-- With the search_path that version 1 was installed with. One transaction: all of it or nothing.

SET LOCAL lock_timeout = '5s';

DO $outbox$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
    IF pg_catalog.to_regclass(pg_catalog.format('%I.outbox_schema_version',
            pg_catalog.current_schema())) IS NULL THEN
        RAISE EXCEPTION 'outbox: version 1 is not installed in schema %',
            pg_catalog.current_schema()
            USING HINT = 'Run 0001_outbox.up.sql first, or name its schema in the search_path.';
    END IF;
    IF EXISTS (SELECT FROM outbox_schema_version
            WHERE version OPERATOR(pg_catalog.>=) 2) THEN
        RAISE EXCEPTION 'outbox: version 2 is installed already in schema %',
            pg_catalog.current_schema();
    END IF;
END
$outbox$;

-- Parked ------------------------------------------------------------------------------------------

-- One row for each event that holds up its topic and key (failure.policy=park). The event itself
-- stays in the outbox, and all later ones of its topic and key wait behind it there.
CREATE TABLE outbox_parked (
    seq         bigint      NOT NULL,
    id          uuid        NOT NULL,
    topic       text        NOT NULL,
    aggregateid text        NOT NULL,
    class       text        NOT NULL,
    error       text        NOT NULL,
    parked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (seq, id)
);
-- Reads leave out what waits behind one of these: a probe for each row.
CREATE INDEX outbox_parked_key ON outbox_parked (aggregateid, topic);

COMMENT ON TABLE outbox_parked IS
    'Outbox Relay: events that cannot be published, and hold up their topic and key.';
COMMENT ON COLUMN outbox_parked.seq IS 'Of its row in the outbox.';
COMMENT ON COLUMN outbox_parked.id IS 'Of the event.';
COMMENT ON COLUMN outbox_parked.topic IS 'Where it was to go.';
COMMENT ON COLUMN outbox_parked.aggregateid IS 'Its key.';
COMMENT ON COLUMN outbox_parked.class IS 'Whose fault it is: row, for the event''s own.';
COMMENT ON COLUMN outbox_parked.error IS 'Why it cannot be published.';
COMMENT ON COLUMN outbox_parked.parked_at IS 'Since when it waits.';
COMMENT ON INDEX outbox_parked_key IS 'What waits behind a parked event.';

-- Dead --------------------------------------------------------------------------------------------

-- Events that were taken out of the outbox (failure.policy=dead-letter), whole.
CREATE TABLE outbox_dead (
    seq           bigint      NOT NULL,
    id            uuid        NOT NULL,
    aggregatetype text        NOT NULL,
    aggregateid   text        NOT NULL,
    type          text        NOT NULL,
    payload       json,
    payload_bytes bytea,
    headers       json,
    topic         text,
    partition     integer,
    created_at    timestamptz NOT NULL,
    routed_topic  text        NOT NULL,
    class         text        NOT NULL,
    error         text        NOT NULL,
    died_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (seq, id)
);
CREATE INDEX outbox_dead_key ON outbox_dead (aggregateid, routed_topic);

COMMENT ON TABLE outbox_dead IS
    'Outbox Relay: events that could not be published and were taken out of the outbox.';
COMMENT ON COLUMN outbox_dead.seq IS 'As in the outbox.';
COMMENT ON COLUMN outbox_dead.id IS 'As in the outbox.';
COMMENT ON COLUMN outbox_dead.aggregatetype IS 'As in the outbox.';
COMMENT ON COLUMN outbox_dead.aggregateid IS 'As in the outbox.';
COMMENT ON COLUMN outbox_dead.type IS 'As in the outbox.';
COMMENT ON COLUMN outbox_dead.payload IS 'As in the outbox.';
COMMENT ON COLUMN outbox_dead.payload_bytes IS 'As in the outbox.';
COMMENT ON COLUMN outbox_dead.headers IS 'As in the outbox.';
COMMENT ON COLUMN outbox_dead.topic IS 'As in the outbox.';
COMMENT ON COLUMN outbox_dead.partition IS 'As in the outbox.';
COMMENT ON COLUMN outbox_dead.created_at IS 'As in the outbox.';
COMMENT ON COLUMN outbox_dead.routed_topic IS 'Where it was to go.';
COMMENT ON COLUMN outbox_dead.class IS 'Whose fault it is: row, for the event''s own.';
COMMENT ON COLUMN outbox_dead.error IS 'Why it could not be published.';
COMMENT ON COLUMN outbox_dead.died_at IS 'When it was taken out.';
COMMENT ON INDEX outbox_dead_key IS 'Dead events of one key, for people.';

-- Discarded ---------------------------------------------------------------------------------------

CREATE TABLE outbox_discarded (
    number       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    seq          bigint      NOT NULL,
    id           uuid        NOT NULL,
    topic        text        NOT NULL,
    aggregateid  text        NOT NULL,
    type         text,
    error        text        NOT NULL,
    reason       text        NOT NULL,
    discarded_by text        NOT NULL DEFAULT session_user,
    discarded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE outbox_discarded IS
    'Outbox Relay: events that somebody threw away, and why. Their payloads are gone.';
COMMENT ON COLUMN outbox_discarded.number IS 'In the order of discarding.';
COMMENT ON COLUMN outbox_discarded.seq IS 'As in the outbox.';
COMMENT ON COLUMN outbox_discarded.id IS 'Of the event.';
COMMENT ON COLUMN outbox_discarded.topic IS 'Where it was to go.';
COMMENT ON COLUMN outbox_discarded.aggregateid IS 'Its key.';
COMMENT ON COLUMN outbox_discarded.type IS 'As in the outbox; null: its row was gone already.';
COMMENT ON COLUMN outbox_discarded.error IS 'Why it could not be published.';
COMMENT ON COLUMN outbox_discarded.reason IS 'What the one who discarded it said.';
COMMENT ON COLUMN outbox_discarded.discarded_by IS 'By which database role.';
COMMENT ON COLUMN outbox_discarded.discarded_at IS 'When.';

INSERT INTO outbox_schema_version (version) VALUES (2);

-- Down Migration
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

DROP TABLE outbox_parked;
DROP TABLE outbox_dead;
DROP TABLE outbox_discarded;
DELETE FROM outbox_schema_version WHERE version = 2;

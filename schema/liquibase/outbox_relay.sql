--liquibase formatted sql
-- Made by `outbox-relay schema print` from schema/migrations. Do not edit.

--changeset outbox-relay:1 splitStatements:false stripComments:false rollbackSplitStatements:false
-- Outbox Relay, schema version 1: the outbox, the lease of its owner, and the triggers between
-- writers and the relay. For PostgreSQL 13 and later.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0001_outbox.up.sql "$DATABASE"
--
-- Everything is made in the current schema, the first of the search_path that exists, in one
-- transaction: all of it or nothing.

SET LOCAL lock_timeout = '5s';

DO $outbox$
BEGIN
    -- Of two installations at a time the second waits here, and then sees the tables of the first.
    PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
    IF pg_catalog.current_schema() IS NULL THEN
        RAISE EXCEPTION 'outbox: no schema of the search_path exists'
            USING HINT = 'Create it, or name another one in the search_path.';
    END IF;
    IF pg_catalog.to_regclass(pg_catalog.format('%I.outbox_schema_version',
            pg_catalog.current_schema())) IS NOT NULL THEN
        RAISE EXCEPTION 'outbox: installed already in schema %', pg_catalog.current_schema()
            USING HINT = 'Its table outbox_schema_version says which version.';
    END IF;
    IF pg_catalog.to_regclass(pg_catalog.format('%I.outbox',
            pg_catalog.current_schema())) IS NOT NULL THEN
        RAISE EXCEPTION 'outbox: schema % has another relation of that name',
            pg_catalog.current_schema()
            USING HINT = 'Rename it, or install into another schema.';
    END IF;
END
$outbox$;

CREATE TABLE outbox_schema_version (
    version      integer     PRIMARY KEY,
    installed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE outbox_schema_version IS 'Outbox Relay: the migrations that are installed here.';
COMMENT ON COLUMN outbox_schema_version.version IS 'Number of the migration.';
COMMENT ON COLUMN outbox_schema_version.installed_at IS 'When it was installed.';

-- The outbox --------------------------------------------------------------------------------------

-- CACHE 1, because a cache hands blocks of numbers to sessions, and then seq is no order.
-- No CHECK constraints: one costs a writer 2 us a statement, and all that could be asked of a row
-- as much as the wake-up trigger and the index of xid together. The relay refuses what it cannot
-- publish.
CREATE TABLE outbox (
    seq           bigint      GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    id            uuid        NOT NULL DEFAULT gen_random_uuid(),
    aggregatetype text        NOT NULL,
    aggregateid   text        NOT NULL,
    type          text        NOT NULL,
    payload       json,
    payload_bytes bytea,
    headers       json,
    topic         text,
    partition     integer,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid           xid8        NOT NULL DEFAULT pg_current_xact_id(),
    published_at  timestamptz
);

-- A queue: rows come and go all day, so the room that they leave is worth more than what a vacuum
-- costs. Fixed thresholds, since a share of a table that swings between none and millions of rows
-- means nothing. Vacuum keeps the file's empty tail: giving it back takes an exclusive lock, and
-- the next backlog wants the room again. VACUUM (TRUNCATE) gives it back by hand.
-- Rows are never updated in place: fillfactor stays at 100. (To mark a row as published changes an
-- index predicate, so that no room on its page would make the update a HOT one.)
ALTER TABLE outbox SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = false,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 10000,
    toast.autovacuum_vacuum_insert_scale_factor = 0,
    toast.autovacuum_vacuum_insert_threshold = 100000,
    toast.autovacuum_vacuum_cost_delay = 0,
    toast.vacuum_truncate = false
);

-- What the relay reads by: seq for pages in order, xid for what has committed since its last
-- snapshot. Both leave published rows out, which a table that keeps them has millions of; each of
-- its reads says "published_at IS NULL", in either mode, or these indexes cannot serve it.
-- A writer pays for them, measured with one session and one row a transaction: 8.4 us with the
-- primary key alone, 10.9 us with both. Their entries arrive in ascending order, on one hot page.
-- None on id: consumers look events up by it, the relay does not, and random keys would cost more.
CREATE INDEX outbox_unpublished_seq ON outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_unpublished_xid ON outbox (xid) WHERE published_at IS NULL;

COMMENT ON TABLE outbox IS
    'Outbox Relay: events to publish, inserted in the transaction that they tell of.';
COMMENT ON COLUMN outbox.seq IS
    'Order of insertion; what is read from the table is published in this order.';
COMMENT ON COLUMN outbox.id IS
    'The event''s stable id, a header of its record: consumers deduplicate by it.';
COMMENT ON COLUMN outbox.aggregatetype IS 'Routes to the topic.';
COMMENT ON COLUMN outbox.aggregateid IS
    'The record''s key; order is kept for each topic and aggregateid.';
COMMENT ON COLUMN outbox.type IS 'Kind of event, the header eventType.';
COMMENT ON COLUMN outbox.payload IS
    'The record''s value, its text exactly as written. Null with payload_bytes null: a tombstone.';
COMMENT ON COLUMN outbox.payload_bytes IS
    'The record''s value where it is bytes (Avro, Protobuf); never together with payload.';
COMMENT ON COLUMN outbox.headers IS
    'An object of further headers: strings as they are, others as JSON text, null a null header.';
COMMENT ON COLUMN outbox.topic IS 'The topic, in place of the route''s.';
COMMENT ON COLUMN outbox.partition IS
    'The partition, in place of the partitioner''s; order across partitions is not kept.';
COMMENT ON COLUMN outbox.created_at IS
    'The record''s timestamp, and where the latency of publishing is measured from.';
COMMENT ON COLUMN outbox.xid IS
    'The transaction that inserted it; the relay finds by it what has committed. Leave it alone.';
COMMENT ON COLUMN outbox.published_at IS
    'When Kafka had confirmed it, where the relay marks rows (ack.mode=mark). Leave it alone.';
COMMENT ON INDEX outbox_unpublished_seq IS 'The relay''s reads in order.';
COMMENT ON INDEX outbox_unpublished_xid IS 'The relay''s reads of what has committed.';

-- The lease ---------------------------------------------------------------------------------------

-- Renewed every few seconds: with room on the page an update is a HOT one and adds to no index.
CREATE TABLE outbox_lease (
    shard         integer NOT NULL DEFAULT 0 PRIMARY KEY,
    epoch         bigint  NOT NULL DEFAULT 0,
    owner         uuid,
    owner_name    text,
    renewed_at    timestamptz,
    ttl_ms        integer,
    slot          text,
    slot_server   text,
    slot_snapshot text,
    confirmed_lsn pg_lsn
) WITH (fillfactor = 10);
INSERT INTO outbox_lease (shard) VALUES (0);

COMMENT ON TABLE outbox_lease IS 'Outbox Relay: which relay publishes. One row a shard.';
COMMENT ON COLUMN outbox_lease.shard IS 'Number of the shard, from 0.';
COMMENT ON COLUMN outbox_lease.epoch IS
    'Grows with each owner and each TRUNCATE; an acknowledgement of another epoch does nothing.';
COMMENT ON COLUMN outbox_lease.owner IS 'The running relay that owns the shard; null: nobody.';
COMMENT ON COLUMN outbox_lease.owner_name IS 'What the owner calls itself, for people.';
COMMENT ON COLUMN outbox_lease.renewed_at IS 'The owner''s last sign of life, by this clock.';
COMMENT ON COLUMN outbox_lease.ttl_ms IS
    'How many milliseconds after renewed_at another relay may take the shard.';
COMMENT ON COLUMN outbox_lease.slot IS
    'The replication slot that the relay reads, where one is named (source.slot).';
COMMENT ON COLUMN outbox_lease.slot_server IS
    'On which server, and which timeline of it: system identifier/timeline.';
COMMENT ON COLUMN outbox_lease.slot_snapshot IS
    'What committed before the slot began, until all of it has been read from the table.';
COMMENT ON COLUMN outbox_lease.confirmed_lsn IS
    'Up to here in the server''s log Kafka has all events. Null while the slot is being made.';

-- Waking the relay --------------------------------------------------------------------------------

-- A transaction that notifies takes a lock of the whole cluster through its commit, so notifying
-- commits cannot share a flush: a plain NOTIFY costs writers three quarters of their throughput,
-- whether anybody listens or not. So writers notify only while the relay sleeps, and learn of that
-- from an advisory lock k = (1869967992 << 32) + this table's oid, which costs no disk and no wait:
--
--   * Awake, the relay holds nothing. Each writer takes k shared, to the end of its transaction.
--   * About to sleep, the relay asks for k exclusively and waits. From that moment each new shared
--     try fails, behind the waiting as behind the held lock, and the writer notifies instead.
--   * The wait ends when all writers that took k have ended, prepared ones too. The relay then
--     reads once more, and has seen all that did not notify; what comes later wakes it.
--
-- So there is no instant at which a row is committed without either a notification or a read still
-- to come. The try stands after the rows: a writer that is between its rows and its try when the
-- lock is granted notifies. A rollback to a savepoint gives back the lock with the rows.
--
-- It must not make a transaction fail that would succeed without it:
--   * It never waits, so it is in no deadlock. It touches no table and runs as the writer, who
--     needs INSERT alone. Names and operators are qualified, since the search_path is the writer's;
--     a SET of the function would do as well and costs 2 to 3 us more a statement.
--   * A transaction that has notified cannot be prepared. Where prepared transactions are allowed
--     at all it does nothing, unless the setting outbox_relay.notify is 'on', which says that those
--     who write here prepare nothing. It takes no lock then either: the relay polls, and asks for
--     none.
--   * Once the notification queue (8 GB) is full commits that notify fail, when some session has
--     listened and been idle in a transaction for long. Half full, it stops adding to it.
CREATE FUNCTION outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $outbox$
BEGIN
    IF pg_catalog.current_setting('max_prepared_transactions') OPERATOR(pg_catalog.<>) '0'
        AND COALESCE(pg_catalog.current_setting('outbox_relay.notify', true), '')
            OPERATOR(pg_catalog.<>) 'on' THEN
        RETURN NULL;
    END IF;
    -- 8031451370206789632 is 1869967992 << 32.
    IF NOT pg_catalog.pg_try_advisory_xact_lock_shared(
            8031451370206789632 OPERATOR(pg_catalog.+) pg_catalog.int8(TG_RELID)) THEN
        IF pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.5 THEN
            PERFORM pg_catalog.pg_notify(pg_catalog.concat('outbox_relay_', TG_RELID), '');
        END IF;
    END IF;
    RETURN NULL;
END
$outbox$;
COMMENT ON FUNCTION outbox_wake() IS 'Outbox Relay: notifies the relay if it sleeps.';

CREATE TRIGGER outbox_wake AFTER INSERT ON outbox
    FOR EACH STATEMENT EXECUTE FUNCTION outbox_wake();
COMMENT ON TRIGGER outbox_wake ON outbox IS 'Notifies the relay if it sleeps.';

-- Fencing TRUNCATE --------------------------------------------------------------------------------

-- After TRUNCATE ... RESTART IDENTITY a seq comes again, and an acknowledgement that was on its way
-- would delete another event. With the epoch advanced it does nothing, and the owner starts over.
-- Who may TRUNCATE need have no right on the lease, hence SECURITY DEFINER. It acts on nothing but
-- a lease of its own owner's, and nobody else may attach it to a table: otherwise a trigger on a
-- table of somebody else's would run with the owner's rights.
CREATE FUNCTION outbox_truncated() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $outbox$
DECLARE
    lease_name CONSTANT text := format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME || '_lease');
BEGIN
    IF (SELECT pg_get_userbyid(relowner) <> current_user
            FROM pg_class WHERE oid = CAST(lease_name AS regclass)) THEN
        RAISE EXCEPTION 'outbox: the owner of % does not own function outbox_truncated()',
            lease_name
            USING HINT = 'ALTER FUNCTION outbox_truncated() OWNER TO the owner of the tables.';
    END IF;
    EXECUTE 'UPDATE ' || lease_name || ' SET epoch = epoch + 1';
    RETURN NULL;
END
$outbox$;
REVOKE EXECUTE ON FUNCTION outbox_truncated() FROM PUBLIC;
COMMENT ON FUNCTION outbox_truncated() IS
    'Outbox Relay: fences acknowledgements of rows that a TRUNCATE took away.';

CREATE TRIGGER outbox_truncated BEFORE TRUNCATE ON outbox
    FOR EACH STATEMENT EXECUTE FUNCTION outbox_truncated();
COMMENT ON TRIGGER outbox_truncated ON outbox IS
    'Fences acknowledgements of rows that a TRUNCATE took away.';

INSERT INTO outbox_schema_version (version) VALUES (1);
--rollback -- Outbox Relay: takes away what version 1 made, waiting events included. Stop the relay first.
--rollback --
--rollback --     psql -X -v ON_ERROR_STOP=1 -f 0001_outbox.down.sql "$DATABASE"
--rollback --
--rollback -- Run it with the search_path that it was installed with. One transaction: all of it or nothing;
--rollback -- what somebody else built on these tables (a view, say) stops it and stays.
--rollback
--rollback SET LOCAL lock_timeout = '5s';
--rollback
--rollback DO $outbox$
--rollback BEGIN
--rollback     PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
--rollback END
--rollback $outbox$;
--rollback
--rollback DROP TABLE outbox;
--rollback DROP TABLE outbox_lease;
--rollback DROP FUNCTION outbox_wake();
--rollback DROP FUNCTION outbox_truncated();
--rollback DROP TABLE outbox_schema_version;

--changeset outbox-relay:2 splitStatements:false stripComments:false rollbackSplitStatements:false
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
--rollback -- Outbox Relay: takes away what version 2 made, dead events and the record of the parked ones
--rollback -- included: the parked events themselves stay in the outbox. Stop the relay first.
--rollback --
--rollback --     psql -X -v ON_ERROR_STOP=1 -f 0002_failures.down.sql "$DATABASE"
--rollback --
--rollback -- Run it with the search_path that it was installed with. One transaction: all of it or nothing.
--rollback
--rollback SET LOCAL lock_timeout = '5s';
--rollback
--rollback DO $outbox$
--rollback BEGIN
--rollback     PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
--rollback END
--rollback $outbox$;
--rollback
--rollback DROP TABLE outbox_parked;
--rollback DROP TABLE outbox_dead;
--rollback DROP TABLE outbox_discarded;
--rollback DELETE FROM outbox_schema_version WHERE version = 2;

--changeset outbox-relay:3 splitStatements:false stripComments:false rollbackSplitStatements:false
-- Outbox Relay, schema version 3: parked events that are in no other table. For PostgreSQL 13 and
-- later, on version 2.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0003_parked_events.up.sql "$DATABASE"
--
-- With the search_path that version 1 was installed with. One transaction: all of it or nothing.

SET LOCAL lock_timeout = '5s';

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
-- A queue's first events, however long it and others are; and which queues there are.
CREATE INDEX outbox_parked_place ON outbox_parked (aggregateid, topic, place);

COMMENT ON COLUMN outbox_parked.class IS
    'Whose fault it is: row, for the event''s own; behind: it only waits behind another one.';
COMMENT ON COLUMN outbox_parked.place IS 'Its place in the queue of its topic and key.';
COMMENT ON COLUMN outbox_parked.aggregatetype IS
    'As in the outbox. Null: all of the event is there, and nothing of it here.';
COMMENT ON COLUMN outbox_parked.type IS 'As in the outbox.';
COMMENT ON COLUMN outbox_parked.payload IS 'As in the outbox.';
COMMENT ON COLUMN outbox_parked.payload_bytes IS 'As in the outbox.';
COMMENT ON COLUMN outbox_parked.headers IS 'As in the outbox.';
COMMENT ON COLUMN outbox_parked.event_topic IS 'Its topic in the outbox.';
COMMENT ON COLUMN outbox_parked.partition IS 'As in the outbox.';
COMMENT ON COLUMN outbox_parked.created_at IS 'As in the outbox.';
COMMENT ON COLUMN outbox_parked.retried_at IS
    'Since when the relay is to publish it, and what waits behind it. Null: it is not.';
COMMENT ON COLUMN outbox_parked.epoch IS 'Of the lease of the relay that put it here.';
COMMENT ON COLUMN outbox_parked.lsn IS
    'Where in the server''s log it was committed. Null: it was read from the outbox.';
COMMENT ON INDEX outbox_parked_place IS 'The queue of each topic and key.';

INSERT INTO outbox_schema_version (version) VALUES (3);
--rollback -- Outbox Relay: takes away what version 3 made. Events that are parked here and nowhere else would
--rollback -- be lost, so it refuses while there are any. Stop the relay first.
--rollback --
--rollback --     psql -X -v ON_ERROR_STOP=1 -f 0003_parked_events.down.sql "$DATABASE"
--rollback --
--rollback -- Run it with the search_path that it was installed with. One transaction: all of it or nothing.
--rollback
--rollback SET LOCAL lock_timeout = '5s';
--rollback
--rollback DO $outbox$
--rollback BEGIN
--rollback     PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
--rollback     IF EXISTS (SELECT FROM outbox_parked WHERE aggregatetype IS NOT NULL) THEN
--rollback         RAISE EXCEPTION 'outbox: events are parked in schema % that are in no other table',
--rollback             pg_catalog.current_schema()
--rollback             USING HINT = 'Retry or discard them first: outbox-relay dead list.';
--rollback     END IF;
--rollback END
--rollback $outbox$;
--rollback
--rollback DROP INDEX outbox_parked_place;
--rollback ALTER TABLE outbox_parked
--rollback     DROP COLUMN place,
--rollback     DROP COLUMN aggregatetype,
--rollback     DROP COLUMN type,
--rollback     DROP COLUMN payload,
--rollback     DROP COLUMN payload_bytes,
--rollback     DROP COLUMN headers,
--rollback     DROP COLUMN event_topic,
--rollback     DROP COLUMN partition,
--rollback     DROP COLUMN created_at,
--rollback     DROP COLUMN retried_at,
--rollback     DROP COLUMN epoch,
--rollback     DROP COLUMN lsn;
--rollback COMMENT ON COLUMN outbox_parked.class IS 'Whose fault it is: row, for the event''s own.';
--rollback DELETE FROM outbox_schema_version WHERE version = 3;

--changeset outbox-relay:4 splitStatements:false stripComments:false rollbackSplitStatements:false
-- Outbox Relay, schema version 4: what writers are refused, outbox_emit() for them, and
-- outbox_grant() for the roles. For PostgreSQL 13 and later, on version 3.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0004_writers.up.sql "$DATABASE"
--
-- With the search_path that version 1 was installed with. One transaction: all of it or nothing.
-- From here on an INSERT fails that the relay could not publish; before that the relay parked its
-- event. Is route.topic or message.max.bytes not the default: outbox_guard(), below, right after.

SET LOCAL lock_timeout = '5s';

DO $outbox$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
            WHERE attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(pg_catalog.format(
                    '%I.outbox_parked', pg_catalog.current_schema()))
                AND attname OPERATOR(pg_catalog.=) 'place') THEN
        RAISE EXCEPTION 'outbox: version 3 is not installed in schema %',
            pg_catalog.current_schema()
            USING HINT = 'Run 0003_parked_events.up.sql first, or name its schema in the'
                ' search_path.';
    END IF;
    IF EXISTS (SELECT FROM outbox_schema_version
            WHERE version OPERATOR(pg_catalog.>=) 4) THEN
        RAISE EXCEPTION 'outbox: version 4 is installed already in schema %',
            pg_catalog.current_schema();
    END IF;
END
$outbox$;

-- The guard ---------------------------------------------------------------------------------------

-- An event that the relay could not publish fails where it is written, in the service's own
-- transaction, instead of holding up its key later on. Refused is only what the relay refuses for
-- certain, and a header that is an object or a list, which few consumers expect; the relay stays the
-- judge of all the rest.
--
-- One plpgsql trigger, and in it one expression for what most rows are: PostgreSQL keeps that
-- compiled for the transaction, but compiles a trigger's WHEN or a CHECK for each statement anew.
-- Measured with one session, medians in us of processor time a row:
--
--                                  no guard    this one    its tests as WHEN
--     one row a transaction            19.5        25.4                 50.7
--     INSERT ... SELECT                 4.7         6.2                  5.7
--
-- A seq by hand is not found here: to compare it with its sequence takes a right on that, which
-- writers have not got, and a nested INSERT moves currval() on. Column rights refuse it for
-- nothing to all but the owner (outbox_grant), who has to write OVERRIDING SYSTEM VALUE.
--
-- The limits are literals of the function that the trigger calls: a table of settings would be
-- read for each row. To change them is to replace that function, which waits for no writer and
-- reaches sessions at their next statement.
--
-- It runs as the writer, with the writer's search_path, hence the qualified names; once something
-- is wrong it sets one of its own, which its error takes back.
--
-- The last parameter here and below is nobody's to give: its default is this installation, by oid,
-- whatever its schema comes to be called.
CREATE FUNCTION outbox_guard(
    max_payload_bytes integer DEFAULT 1000000,
    route text DEFAULT 'outbox.event.$' || '{aggregatetype}',
    home regclass DEFAULT 'outbox_schema_version'
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $outbox$
DECLARE
    home_schema CONSTANT text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = home);
    routed text := quote_literal(route);
    certain text;
BEGIN
    IF max_payload_bytes NOT BETWEEN 1 AND 1000000000 THEN
        RAISE EXCEPTION 'outbox: max_payload_bytes is %, but has to be 1 to 1000000000',
            max_payload_bytes
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Null is no limit.';
    END IF;
    IF route !~ '^([a-zA-Z0-9._-]|[$][{](aggregatetype|aggregateid|type)[}])+$' THEN
        RAISE EXCEPTION 'outbox: route is no setting route.topic'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Letters, digits, ".", "_", "-" and'
                ' the columns aggregatetype, aggregateid and type, as the relay has it. Null:'
                ' topics are not looked at unless the row names one.';
    END IF;
    routed := regexp_replace(routed, '[$][{]([a-z]+)[}]',
        ''' OPERATOR(pg_catalog.||) NEW.\1 OPERATOR(pg_catalog.||) ''', 'g');
    routed := replace(replace(routed, ' OPERATOR(pg_catalog.||) ''''', ''),
        ''''' OPERATOR(pg_catalog.||) ', '');
    certain := format($certain$NEW.xid OPERATOR(pg_catalog.<>) pg_catalog.pg_current_xact_id()
        OR COALESCE(NEW.topic, %1$s) OPERATOR(pg_catalog.~) '[^a-zA-Z0-9._-]|^[.]{0,2}$'
        OR pg_catalog.length(COALESCE(NEW.topic, %1$s)) OPERATOR(pg_catalog.>) 249
        OR NEW.payload IS NOT NULL AND NEW.payload_bytes IS NOT NULL
        OR pg_catalog.octet_length(NEW.payload_bytes) OPERATOR(pg_catalog.>) %2$s
        OR pg_catalog.json_typeof(NEW.headers)
            OPERATOR(pg_catalog.<>) ALL (ARRAY['object', 'null'])
        OR NEW.partition OPERATOR(pg_catalog.<) 0
        OR NEW.created_at OPERATOR(pg_catalog.<=) '1970-01-01 00:00:00+00'
        OR NEW.created_at OPERATOR(pg_catalog.>=) '294247-01-01 00:00:00+00'$certain$,
        COALESCE(routed, 'NULL'), COALESCE(max_payload_bytes::text, 'NULL'));
    EXECUTE format($function$
CREATE OR REPLACE FUNCTION %1$s.outbox_refuse() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    -- A payload of so few bytes is not too large, be it compressed: at the most to 1 byte of 255.
    IF NOT COALESCE(%5$s
        OR pg_catalog.pg_column_size(NEW.payload) OPERATOR(pg_catalog.>) %4$s
        OR pg_catalog.strpos(CAST(NEW.headers AS pg_catalog.text), E'\\u')
            OPERATOR(pg_catalog.>) 0
        OR pg_catalog.strpos(CAST(NEW.headers AS pg_catalog.text), '[') OPERATOR(pg_catalog.>) 0
        OR pg_catalog.strpos(pg_catalog.substr(CAST(NEW.headers AS pg_catalog.text), 2), '{')
            OPERATOR(pg_catalog.>) 0, false) THEN
        RETURN NEW;
    END IF;
    -- An escape may be half of a surrogate pair. What stands outside of strings tells what is
    -- nested. The copy of a dead event (failure.dead_letter_topic) may be as bad as the event.
    IF NOT COALESCE(%5$s
        OR pg_catalog.octet_length(CAST(NEW.payload AS pg_catalog.text))
            OPERATOR(pg_catalog.>) %3$s
        OR pg_catalog.regexp_replace(pg_catalog.regexp_replace(
            CAST(NEW.headers AS pg_catalog.text), E'\\\\[^u]', '', 'g'),
            E'\\\\u[dD][89abAB]..\\\\u[dD][c-fC-F]..', '', 'g')
            OPERATOR(pg_catalog.~) E'\\\\u[dD][89a-fA-F]'
        OR pg_catalog.regexp_replace(CAST(NEW.headers AS pg_catalog.text),
            E'"([^"\\\\]|\\\\.)*"', '', 'g') OPERATOR(pg_catalog.~) '[[]|[{].*[{]', false)
        OR pg_catalog.starts_with(CAST(NEW.headers AS pg_catalog.text), '{"outbox.error":') THEN
        RETURN NEW;
    END IF;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    DECLARE
        topic_name CONSTANT pg_catalog.text := COALESCE(NEW.topic, %2$s);
        at_fault pg_catalog.text;
        message pg_catalog.text;
        detail pg_catalog.text;
        hint pg_catalog.text;
    BEGIN
        IF NEW.xid <> pg_current_xact_id() THEN
            at_fault := 'xid';
            message := 'xid is not that of its transaction';
            detail := 'The relay finds by it what has committed.';
            hint := format('Leave out xid, and seq. To restore rows: ALTER TABLE %%s DISABLE'
                ' TRIGGER %%I; and ENABLE it afterwards.',
                COALESCE(pg_partition_root(TG_RELID), TG_RELID)::regclass, TG_NAME);
        ELSIF topic_name ~ '[^a-zA-Z0-9._-]|^[.]{0,2}$' OR length(topic_name) > 249 THEN
            at_fault := CASE WHEN NEW.topic IS NULL THEN 'aggregatetype' ELSE 'topic' END;
            message := CASE WHEN NEW.topic IS NULL
                THEN 'aggregatetype makes a topic''s name that Kafka does not allow'
                ELSE 'topic is no name that Kafka allows' END;
            detail := format('The name has %%s characters%%s.', length(topic_name),
                ', of which the one at place ' || length(substring(topic_name FROM
                    '^[a-zA-Z0-9._-]*[^a-zA-Z0-9._-]')) || ' is not allowed');
            hint := 'Allowed are 1 to 249 letters, digits, ".", "_" and "-", but neither "." nor'
                ' "..". If the relay has another route.topic: SELECT outbox_guard(route => ...).';
        ELSIF NEW.payload IS NOT NULL AND NEW.payload_bytes IS NOT NULL THEN
            at_fault := 'payload_bytes';
            message := 'payload and payload_bytes are both set';
            detail := 'A record has one value.';
            hint := 'Set one of them; none of them is a tombstone.';
        ELSIF COALESCE(octet_length(NEW.payload_bytes), octet_length(NEW.payload::text)) > %3$s THEN
            at_fault := CASE WHEN NEW.payload IS NULL THEN 'payload_bytes' ELSE 'payload' END;
            message := format('%%s is larger than %%s bytes', at_fault, %3$s);
            detail := format('It has %%s bytes.',
                COALESCE(octet_length(NEW.payload_bytes), octet_length(NEW.payload::text)));
            hint := 'Send less, or where it is stored. To allow more: message.max.bytes of the'
                ' relay, max.message.bytes of the topic, and SELECT outbox_guard('
                'max_payload_bytes => ...).';
        ELSIF NEW.partition < 0 THEN
            at_fault := 'partition';
            message := 'partition is negative';
            detail := format('It is %%s.', NEW.partition);
            hint := 'Null leaves it to the partitioner.';
        ELSIF NEW.created_at <= '1970-01-01 00:00:00+00'
            OR NEW.created_at >= '294247-01-01 00:00:00+00' THEN
            at_fault := 'created_at';
            message := 'created_at is a time that no record can have';
            detail := format('It is %%s; a record''s is in milliseconds since 1970.',
                NEW.created_at);
            hint := 'Leave it out: it is the time of the INSERT.';
        ELSIF json_typeof(NEW.headers) <> 'object' THEN
            at_fault := 'headers';
            message := 'headers are no JSON object';
            detail := format('They are of type %%s.', json_typeof(NEW.headers));
            hint := 'An object of names and values, as {"tenant": "7"}, or null.';
        ELSIF regexp_replace(NEW.headers::text, E'"([^"\\\\]|\\\\.)*"', '', 'g')
            ~ '[[]|[{].*[{]' THEN
            at_fault := 'headers';
            message := 'headers have a value that is an object or a list';
            detail := 'A header''s value is a text, a number, true, false or null.';
            hint := 'Put it into the payload, or into a text.';
        ELSE
            at_fault := 'headers';
            message := 'headers have half of a surrogate pair, which is no character';
            detail := E'An escape \\ud800 to \\udbff and one \\udc00 to \\udfff make one together.';
            hint := 'Do not cut strings within a character; or write it as it is, in UTF-8.';
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'check_violation', HINT = hint,
            MESSAGE = 'outbox: the event''s ' || message,
            DETAIL = format('%%s Its id is %%s.', detail, NEW.id),
            SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = at_fault,
            CONSTRAINT = TG_NAME;
    END;
END
$body$
$function$, home_schema, COALESCE(routed, 'NULL'), COALESCE(max_payload_bytes::text, 'NULL'),
        COALESCE((max_payload_bytes / 256)::text, 'NULL'), certain);
END
$outbox$;
REVOKE EXECUTE ON FUNCTION outbox_guard(integer, text, regclass) FROM PUBLIC;
COMMENT ON FUNCTION outbox_guard(integer, text, regclass) IS
    'Outbox Relay: sets what writers are refused; what is not given is the default.';

SELECT outbox_guard();
COMMENT ON FUNCTION outbox_refuse() IS
    'Outbox Relay: refuses what the relay cannot publish. Written by outbox_guard().';

CREATE TRIGGER outbox_guard BEFORE INSERT ON outbox
    FOR EACH ROW EXECUTE FUNCTION outbox_refuse();
COMMENT ON TRIGGER outbox_guard ON outbox IS 'Refuses what the relay cannot publish.';

-- Writing an event --------------------------------------------------------------------------------

-- The trace that the caller is in, as headers, where a service has said it:
--
--     SET LOCAL outbox_relay.traceparent = '00-<32 hex digits>-<16 hex digits>-01'
--
-- and outbox_relay.tracestate. What is not of the form of W3C's Trace Context is left out: no
-- event fails for its trace. Text, since the headers go out as they are written.
CREATE FUNCTION outbox_traced(headers json) RETURNS json LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp AS $outbox$
DECLARE
    parent CONSTANT text := current_setting('outbox_relay.traceparent', true);
    state CONSTANT text := current_setting('outbox_relay.tracestate', true);
    member CONSTANT text := '[a-z0-9][a-z0-9_*/@-]*=[ -+.-<>-~-]*[!-+.-<>-~-]';
    given text := headers;
    added text;
BEGIN
    IF json_typeof(headers) = 'null' THEN
        given := NULL;
    ELSIF json_typeof(headers) <> 'object' OR given ~* E'"traceparent"[ \t\n\r]*[:]' THEN
        RETURN headers;
    END IF;
    IF parent IS NULL OR parent !~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'
        OR parent ~ '^ff|-0{32}-|-0{16}-' THEN
        RETURN headers;
    END IF;
    added := '"traceparent":' || to_json(parent);
    IF length(state) <= 512 AND strpos(state, '=') > 0
        AND state ~ format(E'^(%1$s|)([ \t]*,[ \t]*(%1$s|))*$', member)
        AND COALESCE(given !~* E'"tracestate"[ \t\n\r]*[:]', true) THEN
        added := added || ',"tracestate":' || to_json(state);
    END IF;
    IF given IS NULL OR given ~ E'^[ \t\n\r]*[{][ \t\n\r]*[}][ \t\n\r]*$' THEN
        RETURN '{' || added || '}';
    END IF;
    RETURN regexp_replace(given, E'[ \t\n\r]*[}][ \t\n\r]*$', '') || ',' || added || '}';
END
$outbox$;
COMMENT ON FUNCTION outbox_traced(json) IS
    'Outbox Relay: headers, and the trace of outbox_relay.traceparent if there is one.';

-- outbox_emit() for each type that drivers give a payload and headers; what has no type, a literal
-- or many a driver's parameter, is text. It runs as the caller, who needs INSERT alone, not even
-- on the columns that he leaves alone, and finds the table under any search_path, since its text
-- names the schema: hence this function, to be called again after ALTER SCHEMA ... RENAME.
CREATE FUNCTION outbox_bind(home regclass DEFAULT 'outbox_schema_version')
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $outbox$
DECLARE
    home_schema CONSTANT text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = home);
    one record;
BEGIN
    FOR one IN SELECT * FROM unnest(ARRAY['text', 'json', 'jsonb', 'bytea']) AS payload_type,
            unnest(ARRAY['json DEFAULT NULL', 'jsonb', 'text']) AS headers_type
    LOOP
        EXECUTE format($function$
CREATE OR REPLACE FUNCTION %1$s.outbox_emit(aggregatetype text, aggregateid text, type text,
    payload %2$s, headers %3$s, topic text DEFAULT NULL, partition integer DEFAULT NULL)
    RETURNS uuid LANGUAGE plpgsql AS $body$
DECLARE
    event_id CONSTANT pg_catalog.uuid := pg_catalog.gen_random_uuid();
BEGIN
    INSERT INTO %1$s.outbox (id, aggregatetype, aggregateid, type, %4$s, headers, topic, partition)
    VALUES (event_id, aggregatetype, aggregateid, type, CAST(payload AS pg_catalog.%5$s),
        CASE WHEN COALESCE(pg_catalog.current_setting('outbox_relay.traceparent', true), '')
            OPERATOR(pg_catalog.=) '' THEN CAST(headers AS pg_catalog.json)
        ELSE %1$s.outbox_traced(CAST(headers AS pg_catalog.json)) END, topic, partition);
    RETURN event_id;
END
$body$
$function$, home_schema, one.payload_type, one.headers_type,
            CASE one.payload_type WHEN 'bytea' THEN 'payload_bytes' ELSE 'payload' END,
            CASE one.payload_type WHEN 'bytea' THEN 'bytea' ELSE 'json' END);
        EXECUTE format('COMMENT ON FUNCTION %s.outbox_emit(text, text, text, %s, %s, text, integer)'
            ' IS ''Outbox Relay: inserts an event; its id. Written by outbox_bind().''',
            home_schema, one.payload_type, split_part(one.headers_type, ' ', 1));
    END LOOP;
END
$outbox$;
REVOKE EXECUTE ON FUNCTION outbox_bind(regclass) FROM PUBLIC;
COMMENT ON FUNCTION outbox_bind(regclass) IS
    'Outbox Relay: writes outbox_emit(); to be called once more after ALTER SCHEMA ... RENAME.';

SELECT outbox_bind();

-- Roles -------------------------------------------------------------------------------------------

-- What a role of each kind may do; one list for granting and revoking.
CREATE FUNCTION outbox_rights(kind text, home regclass DEFAULT 'outbox_schema_version')
    RETURNS SETOF text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $outbox$
DECLARE
    home_schema CONSTANT text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = home);
    event CONSTANT text := '(id, aggregatetype, aggregateid, type, payload, payload_bytes,'
        ' headers, topic, partition, created_at)';
    called text[] := '{outbox_retain}';
BEGIN
    IF kind = 'writer' THEN
        called := '{outbox_emit,outbox_traced}';
        RETURN NEXT format('INSERT %s ON %s.outbox', event, home_schema);
    ELSIF kind IN ('relay', 'admin') THEN
        RETURN NEXT format('SELECT, DELETE, UPDATE (published_at) ON %s.outbox', home_schema);
        RETURN NEXT format('SELECT, UPDATE ON %s.outbox_lease', home_schema);
        RETURN NEXT format('SELECT, INSERT, UPDATE, DELETE ON %s.outbox_parked', home_schema);
        RETURN NEXT format('SELECT, INSERT ON %s.outbox_dead', home_schema);
        RETURN NEXT format('SELECT ON %s.outbox_schema_version', home_schema);
        IF kind = 'admin' THEN
            RETURN NEXT format('INSERT %s ON %s.outbox', event, home_schema);
            RETURN NEXT format('DELETE ON %s.outbox_dead', home_schema);
            RETURN NEXT format('SELECT, INSERT ON %s.outbox_discarded', home_schema);
        END IF;
    ELSE
        RAISE EXCEPTION 'outbox: there is no kind of role %', COALESCE(quote_literal(kind), 'null')
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'There are ''writer'', ''relay'' and ''admin''.';
    END IF;
    RETURN QUERY SELECT format('EXECUTE ON FUNCTION %s', p.oid::regprocedure) FROM pg_proc p
        WHERE p.pronamespace = home_schema::regnamespace AND p.proname = ANY (called);
END
$outbox$;
COMMENT ON FUNCTION outbox_rights(text, regclass) IS
    'Outbox Relay: what a role of that kind is granted.';

-- As the owner of the tables, and once more after each upgrade:
--
--     SELECT outbox_grant('writer', 'shop'), outbox_grant('relay', 'relay')
--
-- writer: writes events, and sees none; not seq, xid and published_at, so that a right on the whole
-- table, as it was given before, becomes one on the columns of an event. relay: runs it, in either
-- ack.mode. admin: the commands `dead`, `check` and `doctor`, which judge the rights that the relay
-- needs by those of the role that they run as. Nobody gets a table, or a right to change one.
CREATE FUNCTION outbox_grant(kind text, role text, home regclass DEFAULT 'outbox_schema_version')
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $outbox$
DECLARE
    home_schema CONSTANT text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = home);
    privilege text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        RAISE EXCEPTION 'outbox: there is no role %', COALESCE(quote_ident(role), 'null')
            USING ERRCODE = 'undefined_object', HINT = 'CREATE ROLE makes one.';
    END IF;
    FOR privilege IN EXECUTE format('SELECT * FROM %s.outbox_rights(%L, %s)', home_schema, kind,
            home::oid) LOOP
        IF kind = 'writer' AND privilege LIKE 'INSERT%' THEN
            EXECUTE format('REVOKE INSERT ON %s.outbox FROM %I', home_schema, role);
        END IF;
        EXECUTE format('GRANT %s TO %I', privilege, role);
    END LOOP;
    IF NOT has_schema_privilege(role, home_schema::regnamespace, 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', home_schema, role);
    END IF;
    IF NOT has_schema_privilege(role, home_schema::regnamespace, 'USAGE') THEN
        RAISE EXCEPTION 'outbox: role % may not use schema %', quote_ident(role), home_schema
            USING ERRCODE = 'insufficient_privilege', HINT = 'The schema''s owner may GRANT it.';
    END IF;
END
$outbox$;
REVOKE EXECUTE ON FUNCTION outbox_grant(text, text, regclass) FROM PUBLIC;
COMMENT ON FUNCTION outbox_grant(text, text, regclass) IS
    'Outbox Relay: gives a role the rights of a writer, relay or admin.';

-- Takes away what outbox_grant() gives; but for USAGE on the schema, where other tables may be.
CREATE FUNCTION outbox_revoke(kind text, role text, home regclass DEFAULT 'outbox_schema_version')
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $outbox$
DECLARE
    home_schema CONSTANT text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = home);
    privilege text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        RAISE EXCEPTION 'outbox: there is no role %', COALESCE(quote_ident(role), 'null')
            USING ERRCODE = 'undefined_object';
    END IF;
    FOR privilege IN EXECUTE format('SELECT * FROM %s.outbox_rights(%L, %s)', home_schema, kind,
            home::oid) LOOP
        EXECUTE format('REVOKE %s FROM %I', privilege, role);
    END LOOP;
END
$outbox$;
REVOKE EXECUTE ON FUNCTION outbox_revoke(text, text, regclass) FROM PUBLIC;
COMMENT ON FUNCTION outbox_revoke(text, text, regclass) IS
    'Outbox Relay: takes away what outbox_grant() gives a role, but for USAGE on the schema.';

INSERT INTO outbox_schema_version (version) VALUES (4);
--rollback -- Outbox Relay: takes away what version 4 made. Rights that roles have on the tables stay.
--rollback --
--rollback --     psql -X -v ON_ERROR_STOP=1 -f 0004_writers.down.sql "$DATABASE"
--rollback --
--rollback -- Run it with the search_path that it was installed with. One transaction: all of it or nothing.
--rollback
--rollback SET LOCAL lock_timeout = '5s';
--rollback
--rollback DO $outbox$
--rollback DECLARE
--rollback     one text;
--rollback BEGIN
--rollback     PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
--rollback     FOR one IN SELECT pg_catalog.format(
--rollback             'DROP FUNCTION outbox_emit(text, text, text, %s, %s, text, integer)', payload, headers)
--rollback         FROM pg_catalog.unnest(ARRAY['text', 'json', 'jsonb', 'bytea']) AS payload,
--rollback             pg_catalog.unnest(ARRAY['json', 'jsonb', 'text']) AS headers
--rollback     LOOP
--rollback         EXECUTE one;
--rollback     END LOOP;
--rollback END
--rollback $outbox$;
--rollback
--rollback DROP TRIGGER outbox_guard ON outbox;
--rollback DROP FUNCTION outbox_refuse();
--rollback DROP FUNCTION outbox_guard(integer, text, regclass);
--rollback DROP FUNCTION outbox_bind(regclass);
--rollback DROP FUNCTION outbox_traced(json);
--rollback DROP FUNCTION outbox_grant(text, text, regclass);
--rollback DROP FUNCTION outbox_revoke(text, text, regclass);
--rollback DROP FUNCTION outbox_rights(text, regclass);
--rollback DELETE FROM outbox_schema_version WHERE version = 4;

--changeset outbox-relay:5 splitStatements:false stripComments:false rollbackSplitStatements:false
-- Outbox Relay, schema version 5: published events that are kept (ack.mode=mark) leave by whole
-- partitions. For PostgreSQL 13 and later, on version 4.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0005_retention.up.sql "$DATABASE"
--
-- With the search_path that version 1 was installed with. One transaction: all of it or nothing.
-- The outbox stays the plain table that it is, until outbox_partition() is called.

SET LOCAL lock_timeout = '5s';

DO $outbox$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
    IF pg_catalog.to_regclass(pg_catalog.format('%I.outbox_schema_version',
            pg_catalog.current_schema())) IS NULL OR NOT EXISTS (SELECT FROM outbox_schema_version
            WHERE version OPERATOR(pg_catalog.=) 4) THEN
        RAISE EXCEPTION 'outbox: version 4 is not installed in schema %',
            pg_catalog.current_schema()
            USING HINT = 'Install it first, or name its schema in the search_path.';
    END IF;
    IF EXISTS (SELECT FROM outbox_schema_version
            WHERE version OPERATOR(pg_catalog.>=) 5) THEN
        RAISE EXCEPTION 'outbox: version 5 is installed already in schema %',
            pg_catalog.current_schema();
    END IF;
END
$outbox$;

-- Settings ----------------------------------------------------------------------------------------

CREATE TABLE outbox_retention (
    only_row boolean  NOT NULL DEFAULT true PRIMARY KEY CHECK (only_row),
    width    interval NOT NULL DEFAULT '1 day'
        CHECK (EXTRACT(epoch FROM width) >= 1
            AND EXTRACT(epoch FROM width) = floor(EXTRACT(epoch FROM width))),
    keep     interval CHECK (keep >= interval '0'),
    ahead    integer  NOT NULL DEFAULT 7 CHECK (ahead BETWEEN 1 AND 1000)
);
INSERT INTO outbox_retention DEFAULT VALUES;

COMMENT ON TABLE outbox_retention IS
    'Outbox Relay: how long published events are kept, once the outbox is partitioned.';
COMMENT ON COLUMN outbox_retention.only_row IS 'There is one row.';
COMMENT ON COLUMN outbox_retention.width IS
    'The time that the next partitions span: whole seconds, counted in UTC; a month is 30 days.';
COMMENT ON COLUMN outbox_retention.keep IS
    'A partition is dropped once all its events are older (created_at) and published. Null: never.';
COMMENT ON COLUMN outbox_retention.ahead IS 'How many partitions are made ahead of their time.';

-- The functions below find their tables by this one, an argument with a default, which follows it
-- into another schema or a dump, as no search_path would.

-- Definitions -------------------------------------------------------------------------------------

-- What a table of the same name and columns lacks: statements for indexes, triggers,
-- rights, comments and publications, in the order that they are to be run in.
CREATE FUNCTION outbox_definitions(relation regclass) RETURNS SETOF text LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp AS $outbox$
    WITH t AS (
        SELECT c.oid, c.relowner, c.relacl, format('%I.%I', n.nspname, c.relname) AS name, n.nspname
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation
    ), i AS (
        SELECT c.oid, format('%I.%I', t.nspname, c.relname) AS name
        FROM t JOIN pg_index x ON x.indrelid = t.oid JOIN pg_class c ON c.oid = x.indexrelid
        WHERE NOT x.indisprimary
    ), g AS (
        SELECT tg.oid, tg.tgname, tg.tgenabled, t.name
        FROM t JOIN pg_trigger tg ON tg.tgrelid = t.oid WHERE NOT tg.tgisinternal
    ), d (step, sql) AS (
        SELECT 1, replace(pg_get_indexdef(oid), ' ON ONLY ', ' ON ') FROM i
        UNION ALL SELECT 2, format('COMMENT ON INDEX %s IS %L', name,
            obj_description(oid, 'pg_class'))
        FROM i WHERE obj_description(oid, 'pg_class') IS NOT NULL
        UNION ALL SELECT 3, pg_get_triggerdef(oid) FROM g
        UNION ALL SELECT 4, format('ALTER TABLE %s %s TRIGGER %I', name, CASE tgenabled
            WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE REPLICA' END, tgname)
        FROM g WHERE tgenabled <> 'O'
        UNION ALL SELECT 5, format('COMMENT ON TRIGGER %I ON %s IS %L', tgname, name,
            obj_description(oid, 'pg_trigger'))
        FROM g WHERE obj_description(oid, 'pg_trigger') IS NOT NULL
        UNION ALL SELECT 6, format('COMMENT ON TABLE %s IS %L', name,
            obj_description(oid, 'pg_class'))
        FROM t
        UNION ALL SELECT 7, format('GRANT %s ON %s TO %s%s', a.privilege_type, t.name,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
            CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
        FROM t CROSS JOIN aclexplode(t.relacl) a WHERE a.grantee <> t.relowner
        UNION ALL SELECT 8, format('GRANT %s (%I) ON %s TO %s%s', a.privilege_type, c.attname,
            t.name,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
            CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
        FROM t JOIN pg_attribute c ON c.attrelid = t.oid CROSS JOIN aclexplode(c.attacl) a
        WHERE c.attnum > 0 AND NOT c.attisdropped
        UNION ALL SELECT 9, format('ALTER PUBLICATION %I ADD TABLE %s', p.pubname, t.name)
        FROM t JOIN pg_publication_rel r ON r.prrelid = t.oid
            JOIN pg_publication p ON p.oid = r.prpubid
    )
    SELECT sql FROM d ORDER BY step, sql
$outbox$;
REVOKE EXECUTE ON FUNCTION outbox_definitions(regclass) FROM PUBLIC;
COMMENT ON FUNCTION outbox_definitions(regclass) IS
    'Outbox Relay: the statements that make another table of this name what this one is.';

-- A table of the outbox's columns, to be attached to it, with the storage settings of model.
CREATE FUNCTION outbox_partition_table(parent regclass, partition_name text, model regclass,
        says text)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $outbox$
DECLARE
    made CONSTANT text := (SELECT format('%I.%I', n.nspname, partition_name)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = parent);
    storage text;
BEGIN
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING IDENTITY EXCLUDING INDEXES'
        ' EXCLUDING STATISTICS, PRIMARY KEY (seq))', made, parent);
    SELECT string_agg(o, ', ') INTO storage FROM (
        SELECT unnest(c.reloptions) FROM pg_class c WHERE c.oid = model
        UNION ALL SELECT 'toast.' || unnest(t.reloptions)
        FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = model) AS s (o);
    IF storage IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %s SET (%s)', made, storage);
    END IF;
    EXECUTE format('COMMENT ON TABLE %s IS %L', made, says);
    EXECUTE format('ALTER TABLE %s OWNER TO %I', made, (SELECT pg_get_userbyid(c.relowner)
        FROM pg_class c WHERE c.oid = parent));
END
$outbox$;
REVOKE EXECUTE ON FUNCTION outbox_partition_table(regclass, text, regclass, text) FROM PUBLIC;
COMMENT ON FUNCTION outbox_partition_table(regclass, text, regclass, text) IS
    'Outbox Relay: makes a table that can become a partition of the outbox.';

-- Partitioning ------------------------------------------------------------------------------------

-- The table becomes the first partition of one that takes its whole, with all its rows, in one
-- transaction and without copying any. While it lasts writers wait: it reads the table, to see
-- that no row is of a later time than the partition's. One that is larger than 256 MB is not read
-- under that lock: a CHECK constraint says the same, which PostgreSQL validates beside writers; the
-- error has the two statements.
--
-- A writer pays for it, measured with one session: 13.9 us an INSERT in place of 11.9, and nothing
-- that shows in one of many rows.
--
-- The primary key is each partition's own, on seq. That of the whole would have to hold created_at
-- as well, so that an index of all rows would have to be built first, under a lock; it would keep
-- apart nothing that the sequence does not.
CREATE FUNCTION outbox_partition(width interval DEFAULT NULL, keep interval DEFAULT NULL,
        home regclass DEFAULT 'outbox_retention')
    RETURNS SETOF text LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
    SET timezone = 'UTC' SET datestyle = 'ISO' AS $outbox$
DECLARE
    space        text;
    base         text;
    whole        text;
    old          regclass;
    owner        text;
    span         double precision;
    bound        timestamptz;
    newest       timestamptz;
    next_seq     bigint;
    identity     "char";
    obstacle     text;
    statement    text;
    statements   text[];
    publication  text;
    publications text[];
    item         record;
BEGIN
    SELECT n.nspname, left(c.relname, -length('_retention')), pg_get_userbyid(c.relowner)
        INTO space, base, owner
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = home AND c.relkind = 'r' AND right(c.relname, 10) = '_retention';
    whole := format('%I.%I', space, base);
    IF (SELECT relkind <> 'r' FROM pg_class WHERE oid = to_regclass(whole)) IS NOT FALSE THEN
        RAISE EXCEPTION 'outbox: % is not a plain table, so it cannot be partitioned', whole;
    END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', whole);
    old := to_regclass(whole);

    -- What would stay with the old table, or could not be on a partitioned one.
    SELECT string_agg(what, ', ' ORDER BY what) INTO obstacle FROM (
        SELECT format('view %s', w.ev_class::regclass)
        FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
        WHERE d.classid = CAST('pg_rewrite' AS regclass) AND d.refobjid = old
        UNION SELECT format('function %s', CAST(d.objid AS regprocedure)) FROM pg_depend d
        WHERE d.classid = CAST('pg_proc' AS regclass) AND d.refobjid IN (old,
            (SELECT c.reltype FROM pg_class c WHERE c.oid = old))
        UNION SELECT format('constraint %I of %s', c.conname, c.conrelid::regclass)
        FROM pg_constraint c WHERE c.contype = 'f' AND old IN (c.conrelid, c.confrelid)
        UNION SELECT format('unique index %s', x.indexrelid::regclass) FROM pg_index x
        WHERE x.indrelid = old AND x.indisunique AND NOT x.indisprimary
        UNION SELECT 'row-level security' FROM pg_class c WHERE c.oid = old AND c.relrowsecurity
        UNION SELECT format('policy %I', p.polname) FROM pg_policy p WHERE p.polrelid = old
        UNION SELECT format('row filter or column list of publication %I', p.pubname)
        FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
        WHERE r.prrelid = old AND coalesce(to_jsonb(r) ->> 'prqual', to_jsonb(r) ->> 'prattrs')
            IS NOT NULL) AS all_of (what);
    IF obstacle IS NOT NULL THEN
        RAISE EXCEPTION 'outbox: % cannot be partitioned with what is on it: %', whole, obstacle
            USING HINT = 'Take it away first, and make it again afterwards where it is to stay.';
    END IF;
    SELECT a.attidentity INTO identity FROM pg_attribute a
        WHERE a.attrelid = old AND a.attname = 'seq';
    IF identity NOT IN ('a', 'd') THEN
        RAISE EXCEPTION 'outbox: column seq of % is no identity column', whole;
    END IF;

    EXECUTE format('UPDATE %s SET width = coalesce($1, width), keep = coalesce($2, keep)'
        ' RETURNING EXTRACT(epoch FROM width)', home) INTO span USING width, keep;
    SELECT CAST(substring(pg_get_constraintdef(c.oid) FROM '''([^'']+)''') AS timestamptz)
        INTO bound FROM pg_constraint c
        WHERE c.conrelid = old AND c.conname = base || '_before' AND c.convalidated;
    IF bound IS NULL THEN
        IF pg_relation_size(old) > 268435456 THEN
            RAISE EXCEPTION 'outbox: % is too large to be read while writers wait', whole
                USING HINT = format('Run ALTER TABLE %1$s ADD CONSTRAINT %2$I CHECK (created_at <'
                    ' %3$L) NOT VALID; then ALTER TABLE %1$s VALIDATE CONSTRAINT %2$I; and this'
                    ' again, before that time: no row of a later one can be written until then.',
                    whole, base || '_before',
                    date_trunc('day', clock_timestamp()) + interval '3 d');
        END IF;
        EXECUTE format('SELECT max(created_at) FROM %s', old) INTO newest;
        newest := greatest(newest, clock_timestamp());
        bound := to_timestamp((floor(EXTRACT(epoch FROM newest) / span) + 1) * span);
        IF newest > clock_timestamp() + make_interval(secs => greatest(span, 86400)) THEN
            RAISE EXCEPTION 'outbox: % has rows of the future, up to %', whole, newest
                USING HINT = 'Correct their created_at first: the first partition ends behind it.';
        END IF;
    END IF;

    EXECUTE format('SELECT ARRAY(SELECT * FROM %I.%I($1))', space, base || '_definitions')
        INTO statements USING old;
    publications := ARRAY(SELECT p.pubname FROM pg_publication_rel r
        JOIN pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = old);
    EXECUTE format('SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM %s',
        pg_get_serial_sequence(whole, 'seq')) INTO next_seq;

    -- The old one steps aside.
    EXECUTE format('ALTER TABLE %s RENAME TO %I', whole, base || '_before');
    FOR item IN SELECT c.relname, x.indisprimary FROM pg_index x
            JOIN pg_class c ON c.oid = x.indexrelid WHERE x.indrelid = old LOOP
        EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', space, item.relname, CASE
            WHEN left(item.relname, length(base)) = base
            THEN base || '_before' || substr(item.relname, length(base) + 1)
            ELSE item.relname || '_before' END);
    END LOOP;
    FOR item IN SELECT g.tgname FROM pg_trigger g WHERE g.tgrelid = old AND NOT g.tgisinternal LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', item.tgname, old);
    END LOOP;
    EXECUTE format('ALTER TABLE %s ALTER COLUMN seq DROP IDENTITY', old);

    -- The new one. What is not taken over by LIKE the statements make.
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING IDENTITY EXCLUDING INDEXES'
        ' EXCLUDING STATISTICS) PARTITION BY RANGE (created_at)', whole, old);
    IF EXISTS (SELECT FROM pg_constraint c
            WHERE c.conrelid = to_regclass(whole) AND c.conname = base || '_before') THEN
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', whole, base || '_before');
    END IF;
    EXECUTE format('ALTER TABLE %s ALTER COLUMN seq ADD GENERATED %s AS IDENTITY (CACHE 1),'
        ' ALTER COLUMN seq RESTART WITH %s', whole,
        CASE identity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, next_seq);
    EXECUTE format('ALTER TABLE %s OWNER TO %I', whole, owner);
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (MINVALUE) TO (%L)', whole,
        old, bound);
    IF EXISTS (SELECT FROM pg_constraint c
            WHERE c.conrelid = old AND c.conname = base || '_before') THEN
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', old, base || '_before');
    END IF;
    EXECUTE format('COMMENT ON TABLE %s IS %L', old,
        format('Outbox Relay: events of before %s.', bound));
    EXECUTE format('SELECT %I.%I($1, $2, $3, $4)', space, base || '_partition_table')
        USING to_regclass(whole), base || '_default', old,
            'Outbox Relay: events of a time that no other partition is for.';
    EXECUTE format('CREATE INDEX ON %I.%I (created_at)', space, base || '_default');
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %I.%I DEFAULT', whole, space,
        base || '_default');
    FOREACH statement IN ARRAY statements LOOP
        EXECUTE statement;
    END LOOP;
    FOREACH publication IN ARRAY publications LOOP
        EXECUTE format('ALTER PUBLICATION %I DROP TABLE %s', publication, old);
        EXECUTE format('ALTER PUBLICATION %I SET (publish_via_partition_root = true)', publication);
    END LOOP;

    -- A relay that is asleep listens for the old one.
    PERFORM pg_notify('outbox_relay_' || CAST(old AS oid), 'table');
    RETURN NEXT format('partitioned %s: %s has all events of before %s', whole, old, bound);
    RETURN QUERY EXECUTE format('SELECT * FROM %I.%I()', space, base || '_retain');
END
$outbox$;
REVOKE EXECUTE ON FUNCTION outbox_partition(interval, interval, regclass) FROM PUBLIC;
COMMENT ON FUNCTION outbox_partition(interval, interval, regclass) IS
    'Outbox Relay: makes the outbox a partitioned table, so that published events can be dropped.';

-- And back: one table with all the rows, which are copied while writers wait.
CREATE FUNCTION outbox_unpartition(home regclass DEFAULT 'outbox_retention')
    RETURNS SETOF text LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' SET row_security = off AS $outbox$
DECLARE
    space      text;
    base       text;
    whole      text;
    old        regclass;
    owner      text;
    next_seq   bigint;
    identity   "char";
    names      text;
    statement  text;
    statements text[];
    item       record;
    copied     bigint;
BEGIN
    SELECT n.nspname, left(c.relname, -length('_retention')), pg_get_userbyid(c.relowner)
        INTO space, base, owner
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = home AND c.relkind = 'r' AND right(c.relname, 10) = '_retention';
    whole := format('%I.%I', space, base);
    IF (SELECT relkind <> 'p' FROM pg_class WHERE oid = to_regclass(whole)) IS NOT FALSE THEN
        RAISE EXCEPTION 'outbox: % is not partitioned', whole;
    END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', whole);
    old := to_regclass(whole);
    EXECUTE format('SELECT ARRAY(SELECT * FROM %I.%I($1))', space, base || '_definitions')
        INTO statements USING old;
    SELECT a.attidentity INTO identity FROM pg_attribute a
        WHERE a.attrelid = old AND a.attname = 'seq';
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO names
        FROM pg_attribute a WHERE a.attrelid = old AND a.attnum > 0 AND NOT a.attisdropped
            AND a.attgenerated = '';
    EXECUTE format('SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM %s',
        pg_get_serial_sequence(whole, 'seq')) INTO next_seq;

    EXECUTE format('ALTER TABLE %s RENAME TO %I', whole, base || '_partitioned');
    FOR item IN SELECT c.relname FROM pg_index x
            JOIN pg_class c ON c.oid = x.indexrelid WHERE x.indrelid = old LOOP
        EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', space, item.relname,
            item.relname || '_partitioned');
    END LOOP;
    EXECUTE format('ALTER TABLE %s ALTER COLUMN seq DROP IDENTITY', old);
    EXECUTE format('SELECT %I.%I($1, $2, coalesce((SELECT p.partdefid FROM'
        ' pg_partitioned_table p WHERE p.partrelid = $1), $1), $3)', space,
        base || '_partition_table') USING old, base, '';
    EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM %s ORDER BY seq', whole, names, names, old);
    GET DIAGNOSTICS copied = ROW_COUNT;
    EXECUTE format('ALTER TABLE %s ALTER COLUMN seq ADD GENERATED %s AS IDENTITY (CACHE 1),'
        ' ALTER COLUMN seq RESTART WITH %s', whole,
        CASE identity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, next_seq);
    EXECUTE format('DROP TABLE %s', old);
    FOREACH statement IN ARRAY statements LOOP
        EXECUTE statement;
    END LOOP;
    PERFORM pg_notify('outbox_relay_' || CAST(old AS oid), 'table');
    RETURN NEXT format('%s is one table again, with its %s events', whole, copied);
END
$outbox$;
REVOKE EXECUTE ON FUNCTION outbox_unpartition(regclass) FROM PUBLIC;
COMMENT ON FUNCTION outbox_unpartition(regclass) IS
    'Outbox Relay: makes the outbox one table again. Stop the relay first.';

-- One partition more, if it can be had at once. rest: the default partition, or null.
CREATE FUNCTION outbox_partition_ahead(whole regclass, rest regclass, start timestamptz,
        stop timestamptz)
    RETURNS SETOF text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $outbox$
DECLARE
    space CONSTANT text := (SELECT n.nspname FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = whole);
    base  CONSTANT text := (SELECT c.relname FROM pg_class c WHERE c.oid = whole);
    named CONSTANT text := left(base, 46) || to_char(start, CASE
        WHEN start = date_trunc('day', start) THEN '"_p"YYYYMMDD' ELSE '"_p"YYYYMMDD_HH24MISS' END);
    here  boolean := false;
BEGIN
    IF rest IS NOT NULL THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE created_at >= $1 AND created_at < $2)',
            rest) INTO here USING start, stop;
        IF NOT here AND pg_relation_size(rest) > 268435456 THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', rest) INTO here;
        END IF;
    END IF;
    IF here THEN
        RETURN NEXT format('not made %I.%I: %s has events of its time, or is too large to be read',
            space, named, rest);
        RETURN;
    END IF;
    EXECUTE format('SELECT %I.%I($1, $2, $3, $4)', space, base || '_partition_table')
        USING whole, named, coalesce(rest, whole),
            format('Outbox Relay: events from %s to %s.', start, stop);
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)', whole,
        space, named, start, stop);
    RETURN NEXT format('made %I.%I', space, named);
EXCEPTION WHEN duplicate_table OR check_violation THEN
    RETURN NEXT format('not made %I.%I: %s', space, named, SQLERRM);
END
$outbox$;
REVOKE EXECUTE ON FUNCTION outbox_partition_ahead(regclass, regclass, timestamptz, timestamptz)
    FROM PUBLIC;
COMMENT ON FUNCTION outbox_partition_ahead(regclass, regclass, timestamptz, timestamptz) IS
    'Outbox Relay: makes and attaches one partition.';

-- Retention ---------------------------------------------------------------------------------------

-- Makes partitions ahead of their time, and drops those that are older than is kept and hold no
-- unpublished event; says what it did. The relay calls it every minute, or cron does.
--
-- No event is lost by it: a partition is dropped only after it was looked at for unpublished rows
-- under its exclusive lock, which is granted once all that wrote to it have ended, prepared
-- transactions too; with the snapshot of a statement of its own, hence "read committed". What hides
-- rows from it (row_security) makes it fail.
--
-- Nobody waits for it noticeably: it waits at most 100 ms for the outbox, and for nothing else, and
-- gives up until the next time. The order of locks is a writer's: the outbox, then partitions. New
-- partitions are attached without a lock that writers notice, but for those to the default
-- partition: it is read for that, unless it has become large.
--
-- It runs as the owner of the tables, since the relay owns nothing, and acts on no others.
CREATE FUNCTION outbox_retain(home regclass DEFAULT 'outbox_retention')
    RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
    SET timezone = 'UTC' SET datestyle = 'ISO' SET enable_seqscan = off
    SET row_security = off AS $outbox$
DECLARE
    space    text;
    base     text;
    whole    regclass;
    rest     regclass;
    span     double precision;
    keep     interval;
    ahead    integer;
    at       CONSTANT timestamptz := clock_timestamp();
    old      regclass[] := '{}';
    item     record;
    part     regclass;
    statement text;
    here     boolean;
    start    timestamptz;
    stop     timestamptz;
    deleted  bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'outbox: retention has to see what is committed while it waits for locks'
            USING HINT = 'Call it in a transaction that is read committed.';
    END IF;
    SELECT n.nspname, left(c.relname, -length('_retention')) INTO space, base
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = home AND c.relkind = 'r' AND right(c.relname, 10) = '_retention'
            AND pg_get_userbyid(c.relowner) = current_user;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'outbox: the owner of % does not own function outbox_retain()', home
            USING HINT = 'ALTER FUNCTION outbox_retain(regclass) OWNER TO the owner of the tables.';
    END IF;
    SELECT p.partrelid, p.partdefid INTO whole, rest FROM pg_partitioned_table p
        WHERE p.partrelid = to_regclass(format('%I.%I', space, base));
    -- 8031451378796724224 is 1869967994 << 32.
    IF NOT FOUND
        OR NOT pg_try_advisory_xact_lock(8031451378796724224 + int8(CAST(whole AS oid))) THEN
        RETURN;
    END IF;
    EXECUTE format('SELECT EXTRACT(epoch FROM width), keep, ahead FROM %s', home)
        INTO span, keep, ahead;

    -- What has had its time. Unpublished events are looked for without any lock first.
    FOR item IN SELECT CAST(c.oid AS regclass) AS part FROM pg_inherits h
            JOIN pg_class c ON c.oid = h.inhrelid AND c.relkind = 'r'
            CROSS JOIN LATERAL (SELECT CAST(substring(pg_get_expr(c.relpartbound, c.oid)
                FROM 'TO \(''([^'']+)''\)') AS timestamptz)) AS b (upper)
            WHERE h.inhparent = whole AND upper <= at - keep ORDER BY upper LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE published_at IS NULL)', item.part)
            INTO here;
        IF here THEN
            RETURN NEXT format('kept %s: it has unpublished events', item.part);
        ELSE
            old := old || item.part;
        END IF;
    END LOOP;
    IF old <> '{}' THEN
        BEGIN
            EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', whole);
            IF rest IS NOT NULL THEN
                EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', rest);
            END IF;
            FOREACH part IN ARRAY old LOOP
                BEGIN
                    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', part);
                    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE published_at IS NULL)',
                        part) INTO here;
                    IF NOT here AND EXISTS (SELECT FROM pg_inherits h
                            WHERE h.inhrelid = part AND h.inhparent = whole) THEN
                        statement := CAST(part AS text);
                        EXECUTE format('DROP TABLE %s', statement);
                        RETURN NEXT format('dropped %s', statement);
                    END IF;
                EXCEPTION WHEN lock_not_available OR dependent_objects_still_exist
                        OR undefined_table THEN
                    RETURN NEXT format('kept %s: %s', part, SQLERRM);
                END;
            END LOOP;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            RETURN NEXT format('kept %s: others use %s', array_to_string(old, ', '), whole);
        END;
    END IF;

    -- The default partition is never dropped: what has had its time there is deleted.
    IF rest IS NOT NULL AND keep IS NOT NULL THEN
        EXECUTE format('DELETE FROM %1$s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %1$s'
            ' WHERE created_at < $1 AND published_at IS NOT NULL ORDER BY created_at LIMIT 10000'
            ' FOR UPDATE SKIP LOCKED))', rest) USING at - keep;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        IF deleted > 0 THEN
            RETURN NEXT format('deleted %s events of %s', deleted, rest);
        END IF;
    END IF;

    -- What is to come, behind what there is, or from now on where that ended long ago.
    start := to_timestamp(floor(EXTRACT(epoch FROM at) / span) * span);
    SELECT greatest(start, max(CAST(substring(pg_get_expr(c.relpartbound, c.oid)
            FROM 'TO \(''([^'']+)''\)') AS timestamptz))) INTO start
        FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid WHERE h.inhparent = whole;
    WHILE start <= at + make_interval(secs => span * ahead) LOOP
        stop := to_timestamp((floor(EXTRACT(epoch FROM start) / span) + 1) * span);
        BEGIN
            RETURN QUERY EXECUTE format('SELECT * FROM %I.%I($1, $2, $3, $4)', space,
                base || '_partition_ahead') USING whole, rest, start, stop;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            RETURN NEXT format('not made any more of %s: others use %s', whole, rest);
            EXIT;
        END;
        start := stop;
    END LOOP;
END
$outbox$;
REVOKE EXECUTE ON FUNCTION outbox_retain(regclass) FROM PUBLIC;
COMMENT ON FUNCTION outbox_retain(regclass) IS
    'Outbox Relay: makes partitions ahead, drops those that are old and wholly published.';

INSERT INTO outbox_schema_version (version) VALUES (5);
--rollback -- Outbox Relay: takes away what version 5 made. Not while the outbox is partitioned.
--rollback --
--rollback --     psql -X -v ON_ERROR_STOP=1 -f 0005_retention.down.sql "$DATABASE"
--rollback --
--rollback -- Run it with the search_path that it was installed with. One transaction: all of it or nothing.
--rollback
--rollback SET LOCAL lock_timeout = '5s';
--rollback
--rollback DO $outbox$
--rollback BEGIN
--rollback     PERFORM pg_catalog.pg_advisory_xact_lock(1869967993);
--rollback     IF (SELECT relkind OPERATOR(pg_catalog.=) 'p' FROM pg_catalog.pg_class
--rollback             WHERE oid OPERATOR(pg_catalog.=) CAST('outbox' AS regclass)) THEN
--rollback         RAISE EXCEPTION 'outbox: the outbox of schema % is partitioned',
--rollback             pg_catalog.current_schema()
--rollback             USING HINT = 'Stop the relay and SELECT outbox_unpartition() first: writers wait while'
--rollback                 ' it copies the events.';
--rollback     END IF;
--rollback END
--rollback $outbox$;
--rollback
--rollback DROP FUNCTION outbox_retain(regclass);
--rollback DROP FUNCTION outbox_unpartition(regclass);
--rollback DROP FUNCTION outbox_partition(interval, interval, regclass);
--rollback DROP FUNCTION outbox_partition_ahead(regclass, regclass, timestamptz, timestamptz);
--rollback DROP FUNCTION outbox_partition_table(regclass, text, regclass, text);
--rollback DROP FUNCTION outbox_definitions(regclass);
--rollback DROP TABLE outbox_retention;
--rollback DELETE FROM outbox_schema_version WHERE version = 5;

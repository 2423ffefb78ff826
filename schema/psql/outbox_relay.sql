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

SELECT :outbox_relay_version < 1 AS outbox_relay_wanted \gset
\if :outbox_relay_wanted
-- Outbox Relay, schema version 1: the outbox, the lease of its owner, and the triggers between
-- writers and the relay. For PostgreSQL 13 and later.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0001_outbox.up.sql "$DATABASE"
--
-- Everything is made in the current schema, the first of the search_path that exists, in one
-- transaction: all of it or nothing.

BEGIN;

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

COMMIT;
\endif

SELECT :outbox_relay_version < 2 AS outbox_relay_wanted \gset
\if :outbox_relay_wanted
-- Outbox Relay, schema version 2: what becomes of events that cannot be published. For PostgreSQL 13
-- and later, on version 1.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0002_failures.up.sql "$DATABASE"
--
-- With the search_path that version 1 was installed with. One transaction: all of it or nothing.

BEGIN;

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

COMMIT;
\endif

SELECT :outbox_relay_version < 3 AS outbox_relay_wanted \gset
\if :outbox_relay_wanted
-- Outbox Relay, schema version 3: parked events that are in no other table. For PostgreSQL 13 and
-- later, on version 2.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0003_parked_events.up.sql "$DATABASE"
--
-- With the search_path that version 1 was installed with. One transaction: all of it or nothing.

BEGIN;

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

COMMIT;
\endif

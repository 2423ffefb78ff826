-- Outbox Relay: a replication slot that stays, with its publication, for source.slot. The relay
-- makes both by itself where its role may; this is for those who let migrations do that.
--
--     psql -X -v ON_ERROR_STOP=1 -v slot=outbox -v publication=outbox_relay -f slot.sql "$DATABASE"
--
-- In the schema of the outbox, by a role with REPLICATION that owns the table, after the migrations
-- and before a relay runs with source.slot. From then on the server keeps WAL for the relay.

CREATE PUBLICATION :"publication" FOR TABLE outbox WITH (publish = 'insert, truncate');

SELECT pg_catalog.pg_create_logical_replication_slot(:'slot', 'pgoutput');

-- What commits between the slot's beginning and this snapshot is both read and streamed. A key whose
-- events come both as rows and as messages should not be written meanwhile: its rows of that moment
-- are read before its messages are streamed.
UPDATE outbox_lease SET
    slot = :'slot',
    slot_server = (SELECT system_identifier FROM pg_catalog.pg_control_system()) || '/'
        || ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))
            ::bit(32)::int,
    slot_snapshot = pg_catalog.pg_current_snapshot()::text,
    confirmed_lsn = (SELECT confirmed_flush_lsn FROM pg_catalog.pg_replication_slots
        WHERE slot_name = :'slot')
WHERE shard = 0;

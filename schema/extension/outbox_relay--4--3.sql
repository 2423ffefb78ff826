-- Made by `outbox-relay schema print` from schema/migrations. Do not edit.
\echo Use "ALTER EXTENSION outbox_relay UPDATE" to load this file. \quit

-- Outbox Relay: takes away what version 4 made. Rights that roles have on the tables stay.
--
--     psql -X -v ON_ERROR_STOP=1 -f 0004_writers.down.sql "$DATABASE"
--
-- Run it with the search_path that it was installed with. One transaction: all of it or nothing.

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
ALTER EXTENSION outbox_relay DROP FUNCTION outbox_refuse();
DROP FUNCTION outbox_refuse();
ALTER EXTENSION outbox_relay DROP FUNCTION outbox_guard(integer, text, regclass);
DROP FUNCTION outbox_guard(integer, text, regclass);
ALTER EXTENSION outbox_relay DROP FUNCTION outbox_bind(regclass);
DROP FUNCTION outbox_bind(regclass);
ALTER EXTENSION outbox_relay DROP FUNCTION outbox_traced(json);
DROP FUNCTION outbox_traced(json);
ALTER EXTENSION outbox_relay DROP FUNCTION outbox_grant(text, text, regclass);
DROP FUNCTION outbox_grant(text, text, regclass);
ALTER EXTENSION outbox_relay DROP FUNCTION outbox_revoke(text, text, regclass);
DROP FUNCTION outbox_revoke(text, text, regclass);
ALTER EXTENSION outbox_relay DROP FUNCTION outbox_rights(text, regclass);
DROP FUNCTION outbox_rights(text, regclass);
DELETE FROM outbox_schema_version WHERE version = 4;

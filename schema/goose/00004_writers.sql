-- Made by `outbox-relay schema print` from schema/migrations. Do not edit.

-- +goose Up
-- +goose StatementBegin
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
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
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
DROP FUNCTION outbox_refuse();
DROP FUNCTION outbox_guard(integer, text, regclass);
DROP FUNCTION outbox_bind(regclass);
DROP FUNCTION outbox_traced(json);
DROP FUNCTION outbox_grant(text, text, regclass);
DROP FUNCTION outbox_revoke(text, text, regclass);
DROP FUNCTION outbox_rights(text, regclass);
DELETE FROM outbox_schema_version WHERE version = 4;
-- +goose StatementEnd

-- Made by `outbox-relay schema print` from schema/migrations. Do not edit.
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

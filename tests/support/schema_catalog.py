"""A schema as one list of lines, to be compared with another one's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from support.migration_tools import Site

# All that a schema is, a line each, but for owners and what {0} names: a tool's own tables.
_CATALOG = """
WITH class AS (
    SELECT c.* FROM pg_class c WHERE relnamespace = current_schema()::regnamespace
        AND NOT EXISTS (SELECT FROM pg_class own
            LEFT JOIN pg_index i ON i.indrelid = own.oid
            LEFT JOIN pg_depend d ON d.refobjid = own.oid AND d.classid = 'pg_class'::regclass
            WHERE own.relname = ANY ('{{{0}}}') AND c.oid IN (own.oid, i.indexrelid, d.objid))
)
SELECT concat_ws(' | ', 'relation', relname, relkind, relpersistence, relacl, reloptions,
    (SELECT t.reloptions FROM pg_class t WHERE t.oid = class.reltoastrelid),
    CASE WHEN relkind = 'S' THEN (SELECT concat_ws(',', seqtypid::regtype, seqstart, seqincrement,
        seqmax, seqmin, seqcache, seqcycle) FROM pg_sequence WHERE seqrelid = class.oid) END,
    CASE WHEN relkind IN ('i', 'I') THEN pg_get_indexdef(oid) END,
    pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid), obj_description(oid, 'pg_class'))
FROM class
UNION ALL
SELECT concat_ws(' | ', 'column', relname, row_number() OVER (PARTITION BY class.oid
    ORDER BY attnum), attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
    attgenerated, attstorage, pg_get_expr(adbin, adrelid), attacl, attstattarget,
    col_description(class.oid, attnum))
FROM class JOIN pg_attribute ON attrelid = class.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT concat_ws(' | ', 'constraint', relname, conname, pg_get_constraintdef(con.oid),
    convalidated, obj_description(con.oid, 'pg_constraint'))
FROM class JOIN pg_constraint con ON conrelid = class.oid
UNION ALL
SELECT concat_ws(' | ', 'trigger', relname, pg_get_triggerdef(t.oid), tgenabled,
    obj_description(t.oid, 'pg_trigger'))
FROM class JOIN pg_trigger t ON tgrelid = class.oid AND NOT tgisinternal
UNION ALL
SELECT concat_ws(' | ', 'function', pg_get_functiondef(oid), proacl,
    obj_description(oid, 'pg_proc'))
FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
UNION ALL
SELECT concat_ws(' | ', 'type', typname, typtype, typacl) FROM pg_type
WHERE typnamespace = current_schema()::regnamespace AND typelem = 0
    AND (typrelid = 0 OR typrelid IN (SELECT oid FROM class))
ORDER BY 1
"""
# What the migrations insert, whatever the tables are called.
_ROWS = re.compile(r"_(lease|schema_version)$")


def catalog(site: Site, history: Sequence[str] = ()) -> list[str]:
    """Everything that is in the schema, and the first rows of its tables; none: it is empty."""
    lines = [str(line) for (line,) in site.query(_CATALOG.format(",".join(history)))]
    tables = site.query(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = current_schema()::regnamespace ORDER BY 1"
    )
    for (table,) in tables:
        if _ROWS.search(str(table)):
            columns = "version" if str(table).endswith("_version") else "*"
            rows = site.query(f"SELECT {columns} FROM {table} ORDER BY 1")
            lines += [f"row | {table} | {row}" for row in rows]
    return lines

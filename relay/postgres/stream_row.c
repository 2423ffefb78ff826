#include "postgres/stream_row.h"

#include <string.h>

static const struct {
    const char *name;
    const char *type;      /* that the schema gives it */
    enum pg_family family; /* PG_OTHER: any */
    size_t width;          /* at most */
    bool required;
} columns[STREAM_COLUMNS] = {
    [STREAM_SEQ] = {"seq", "bigint", PG_INTEGER, 8, true},
    [STREAM_ID] = {"id", "uuid", PG_UUID, 16, true},
    [STREAM_XID] = {"xid", "xid8", PG_XID8, 8, false},
    [STREAM_AGGREGATETYPE] = {"aggregatetype", "text", PG_TEXT, 0, true},
    [STREAM_AGGREGATEID] = {"aggregateid", "text", PG_TEXT, 0, true},
    [STREAM_TYPE] = {"type", "text", PG_TEXT, 0, true},
    [STREAM_PAYLOAD] = {"payload", "json", PG_TEXT, 0, false},
    [STREAM_PAYLOAD_BYTES] = {"payload_bytes", "bytea", PG_TEXT, 0, false},
    [STREAM_HEADERS] = {"headers", "json", PG_TEXT, 0, false},
    [STREAM_TOPIC] = {"topic", "text", PG_TEXT, 0, false},
    [STREAM_PARTITION] = {"partition", "integer", PG_INTEGER, 4, false},
    [STREAM_CREATED_AT] = {"created_at", "timestamp with time zone", PG_TIME, 8, false},
    [STREAM_PUBLISHED_AT] = {"published_at", "timestamp with time zone", PG_OTHER, 0, false},
};

static size_t column_of(struct slice name)
{
    size_t i = 0;

    while (i < STREAM_COLUMNS && (strlen(columns[i].name) != name.len ||
                                  memcmp(columns[i].name, name.data, name.len) != 0))
        i++;
    return i;
}

bool stream_columns_add(struct stream_columns *c, struct slice name, const struct pg_type *type)
{
    size_t i = column_of(name);

    if (c->n == STREAM_COLUMNS_MAX || (i < STREAM_COLUMNS && c->types[i] != NULL))
        return false;
    c->at[c->n++] = (uint8_t)i;
    if (i < STREAM_COLUMNS)
        c->types[i] = type;
    return true;
}

void stream_row_set(struct stream_row *row, const struct stream_columns *c, uint16_t place,
                    const struct pg_value *v, bool unsent)
{
    size_t i = place < c->n ? c->at[place] : STREAM_COLUMNS;

    if (i == STREAM_COLUMNS)
        return;
    row->values[i] = *v;
    row->values[i].type = c->types[i];
    row->unsent[i] = unsent;
}

void stream_scratch_free(struct stream_scratch *s)
{
    for (size_t i = 0; i < STREAM_COLUMNS; i++)
        buf_free(&s->of[i]);
}

static bool fits(enum stream_column i, const struct pg_type *type)
{
    switch (columns[i].family) {
    case PG_OTHER:
        return true;
    case PG_TEXT:
        return type->family == PG_TEXT || type->family == PG_JSONB || type->family == PG_BYTEA;
    default:
        return type->family == columns[i].family && type->width <= columns[i].width;
    }
}

static int check_columns(const struct stream_columns *c, struct err *err)
{
    for (enum stream_column i = 0; i < STREAM_COLUMNS; i++) {
        if (c->types[i] == NULL && columns[i].required)
            return err_set(err, ERR_CONFIG,
                           "the outbox has no column \"%s\" in the replication stream: add it as "
                           "in schema/migrations/0001_outbox.up.sql, or to the publication, if "
                           "that lists columns",
                           columns[i].name);
        if (c->types[i] != NULL && !fits(i, c->types[i]))
            return err_set(err, ERR_CONFIG,
                           "column \"%s\" of the outbox has to be %s, as in "
                           "schema/migrations/0001_outbox.up.sql",
                           columns[i].name, columns[i].type);
    }
    return 0;
}

static bool decode_partition(const struct pg_value *v, struct event *ret)
{
    int64_t n;

    if (!pg_integer(v, &n) || n < INT32_MIN || n > INT32_MAX)
        return false;
    ret->has_partition = true;
    ret->partition = (int32_t)n;
    return true;
}

/* The value is there, and its type fits. */
static bool decode(enum stream_column i, const struct pg_value *v, struct stream_scratch *scratch,
                   struct event *ret)
{
    struct slice *const texts[STREAM_COLUMNS] = {
        [STREAM_AGGREGATETYPE] = &ret->aggregatetype,
        [STREAM_AGGREGATEID] = &ret->aggregateid,
        [STREAM_TYPE] = &ret->type,
        [STREAM_PAYLOAD] = &ret->payload,
        [STREAM_PAYLOAD_BYTES] = &ret->payload_bytes,
        [STREAM_HEADERS] = &ret->headers,
        [STREAM_TOPIC] = &ret->topic,
    };

    switch (i) {
    case STREAM_SEQ:
        return pg_integer(v, &ret->seq);
    case STREAM_ID:
        return pg_uuid(v, ret->id);
    case STREAM_XID:
        return pg_xid8(v, &ret->xid);
    case STREAM_PARTITION:
        return decode_partition(v, ret);
    case STREAM_CREATED_AT:
        return pg_time(v, &ret->created_us);
    case STREAM_PUBLISHED_AT:
        return true;
    default:
        return pg_bytes(v, &scratch->of[i], texts[i]);
    }
}

static int decode_column(enum stream_column i, const struct stream_row *row,
                         struct stream_scratch *scratch, struct event *ret, struct err *err)
{
    const struct pg_value *v = &row->values[i];

    if (row->unsent[i] || (v->bytes.data == NULL && columns[i].required))
        return err_set(err, ERR_PROTOCOL,
                       "the replication stream brought an Insert into the outbox without a value "
                       "of column \"%s\"",
                       columns[i].name);
    if (v->bytes.data == NULL || decode(i, v, scratch, ret))
        return 0;
    if (scratch->of[i].failed)
        return err_set(err, ERR_NOMEM, "out of memory for the replication stream");
    return err_set(err, ERR_PROTOCOL,
                   "the replication stream brought an Insert into the outbox whose value of column "
                   "\"%s\" does not parse",
                   columns[i].name);
}

int stream_row_event(const struct stream_row *row, const struct stream_columns *c,
                     struct stream_scratch *scratch, struct event *ret, bool *ret_published,
                     struct err *err)
{
    int rc = check_columns(c, err);

    if (rc != 0)
        return rc;
    if (row->n != c->n)
        return err_set(err, ERR_PROTOCOL,
                       "the replication stream brought an Insert into the outbox of %u columns, "
                       "and its Relation has %u",
                       (unsigned)row->n, (unsigned)c->n);
    for (enum stream_column i = 0; i < STREAM_COLUMNS && rc == 0; i++)
        rc = decode_column(i, row, scratch, ret, err);
    *ret_published = row->values[STREAM_PUBLISHED_AT].bytes.data != NULL;
    return rc;
}

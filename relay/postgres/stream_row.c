#include "postgres/stream_row.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *type;      /* that the schema gives it */
    enum pg_family family; /* PG_OTHER: any; PG_TEXT: what can be text, too */
    size_t width;          /* at most */
    bool required;
} columns[COLUMN_KINDS] = {
    [COLUMN_SEQ] = {"bigint", PG_INTEGER, 8, true},
    [COLUMN_ID] = {"uuid", PG_UUID, 16, true},
    [COLUMN_XID] = {"xid8", PG_XID8, 8, false},
    [COLUMN_AGGREGATETYPE] = {"text", PG_TEXT, 0, true},
    [COLUMN_AGGREGATEID] = {"text", PG_TEXT, 0, true},
    [COLUMN_TYPE] = {"text", PG_TEXT, 0, true},
    [COLUMN_PAYLOAD] = {"json", PG_TEXT, 0, false},
    [COLUMN_PAYLOAD_BYTES] = {"bytea", PG_BYTEA, 0, false},
    [COLUMN_HEADERS] = {"json", PG_TEXT, 0, false},
    [COLUMN_TOPIC] = {"text", PG_TEXT, 0, false},
    [COLUMN_PARTITION] = {"integer", PG_INTEGER, 4, false},
    [COLUMN_CREATED_AT] = {"timestamp with time zone", PG_TIME, 8, false},
    [COLUMN_PUBLISHED_AT] = {"timestamp with time zone", PG_OTHER, 0, false},
};

static bool is(struct slice name, const struct column_name *column)
{
    return strlen(column->text) == name.len && memcmp(column->text, name.data, name.len) == 0;
}

static uint8_t slot_of(const struct columns *names, struct slice name)
{
    for (uint8_t k = 0; name.len > 0 && k < COLUMN_KINDS; k++)
        if (is(name, &names->names[k]))
            return k;
    for (uint32_t i = 0; i < names->nadditional; i++)
        if (is(name, &names->additional[i].name))
            return names->additional[i].slot;
    return STREAM_NOTHING;
}

bool stream_columns_add(struct stream_columns *c, struct slice name, const struct pg_type *type)
{
    uint8_t i = slot_of(c->names, name);

    if (c->n == STREAM_COLUMNS_MAX || (i != STREAM_NOTHING && c->types[i] != NULL))
        return false;
    c->at[c->n++] = i;
    if (i != STREAM_NOTHING)
        c->types[i] = type;
    return true;
}

void stream_row_clear(struct stream_row *row, const struct stream_columns *c)
{
    size_t slots = c == NULL ? 0 : COLUMN_KINDS + c->names->nadditional;

    memset(row, 0, offsetof(struct stream_row, values) + slots * sizeof *row->values);
}

void stream_row_set(struct stream_row *row, const struct stream_columns *c, uint16_t place,
                    const struct pg_value *v, bool unsent)
{
    uint8_t i = place < c->n ? c->at[place] : STREAM_NOTHING;

    if (i == STREAM_NOTHING)
        return;
    row->values[i] = *v;
    row->values[i].type = c->types[i];
    row->unsent[i] = unsent;
}

void stream_scratch_free(struct stream_scratch *s)
{
    for (size_t i = 0; i < COLUMN_KINDS; i++)
        buf_free(&s->of[i]);
    for (size_t i = 0; i < EVENT_ADDITIONAL_MAX; i++)
        buf_free(&s->of_additional[i]);
}

static bool is_text(const struct pg_type *type)
{
    return type->family == PG_TEXT || type->family == PG_JSONB;
}

static bool is_key(const struct pg_type *type)
{
    return is_text(type) || type->family == PG_UUID || type->family == PG_INTEGER;
}

static bool fits(enum column_kind k, const struct pg_type *type)
{
    switch (columns[k].family) {
    case PG_OTHER:
        return true;
    case PG_TEXT:
        if (k == COLUMN_PAYLOAD)
            return is_text(type) || type->family == PG_BYTEA;
        return k == COLUMN_HEADERS ? is_text(type) : is_key(type);
    default:
        return type->family == columns[k].family && type->width <= columns[k].width;
    }
}

static int check_columns(const struct stream_columns *c, struct err *err)
{
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++) {
        const char *name = c->names->names[k].text;

        if (c->types[k] == NULL && columns[k].required && columns_has(c->names, k))
            return err_set(err, ERR_CONFIG,
                           "the outbox has no column \"%s\" in the replication stream: add it as "
                           "in schema/migrations/0001_outbox.up.sql, or to the publication, if "
                           "that lists columns",
                           name);
        if (c->types[k] != NULL && !fits(k, c->types[k]))
            return err_set(err, ERR_CONFIG,
                           "column \"%s\" of the outbox has to be %s, as in "
                           "schema/migrations/0001_outbox.up.sql",
                           name, columns[k].type);
    }
    for (uint32_t i = 0; i < c->names->nadditional; i++) {
        const struct additional_column *a = &c->names->additional[i];
        const struct pg_type *type = c->types[a->slot];

        if (type == NULL || (!is_key(type) && type->family != PG_BOOL))
            return err_set(err, ERR_CONFIG,
                           "the replication stream has no column \"%s\" of the outbox that can be "
                           "a header, as columns.additional says",
                           a->name.text);
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

/* What is no JSON is bytes, as the table source reads it; a row that has both is refused for that,
 * whatever either holds. */
static bool decode_payload(const struct pg_value *v, struct buf *scratch, struct event *ret)
{
    struct slice value;
    bool json = v->type->family == PG_JSONB || v->type->oid == PG_OID_JSON;

    if (!(v->type->family == PG_BYTEA ? pg_bytes : pg_text)(v, scratch, &value))
        return false;
    *(json ? &ret->payload : &ret->payload_bytes) = value;
    return true;
}

static bool decode_payload_bytes(const struct pg_value *v, struct buf *scratch, struct event *ret)
{
    if (ret->payload_bytes.data != NULL)
        ret->payload = ret->payload_bytes;
    return pg_bytes(v, scratch, &ret->payload_bytes);
}

/* The value is there, and its type fits. */
static bool decode(enum column_kind k, const struct pg_value *v, struct buf *scratch,
                   struct event *ret)
{
    switch (k) {
    case COLUMN_SEQ:
        return pg_integer(v, &ret->seq);
    case COLUMN_ID:
        return pg_uuid(v, ret->id);
    case COLUMN_XID:
        return pg_xid8(v, &ret->xid);
    case COLUMN_AGGREGATETYPE:
        return pg_text(v, scratch, &ret->aggregatetype);
    case COLUMN_AGGREGATEID:
        return pg_text(v, scratch, &ret->aggregateid);
    case COLUMN_TYPE:
        return pg_text(v, scratch, &ret->type);
    case COLUMN_PAYLOAD:
        return decode_payload(v, scratch, ret);
    case COLUMN_PAYLOAD_BYTES:
        return decode_payload_bytes(v, scratch, ret);
    case COLUMN_HEADERS:
        return pg_text(v, scratch, &ret->headers);
    case COLUMN_TOPIC:
        return pg_text(v, scratch, &ret->topic);
    case COLUMN_PARTITION:
        return decode_partition(v, ret);
    case COLUMN_CREATED_AT:
        return pg_time(v, &ret->created_us);
    default:
        return true;
    }
}

static int unparsed(const struct buf *scratch, const struct column_name *name, struct err *err)
{
    if (scratch->failed)
        return err_set(err, ERR_NOMEM, "out of memory for the replication stream");
    return err_set(err, ERR_PROTOCOL,
                   "the replication stream brought an Insert into the outbox whose value of column "
                   "\"%s\" does not parse",
                   name->text);
}

static int unsent(const struct column_name *name, struct err *err)
{
    return err_set(err, ERR_PROTOCOL,
                   "the replication stream brought an Insert into the outbox without a value of "
                   "column \"%s\"",
                   name->text);
}

static int decode_column(enum column_kind k, const struct stream_row *row,
                         const struct columns *names, struct stream_scratch *scratch,
                         struct event *ret, struct err *err)
{
    const struct pg_value *v = &row->values[k];

    if (!columns_has(names, k))
        return 0;
    if (row->unsent[k] || (v->bytes.data == NULL && columns[k].required))
        return unsent(&names->names[k], err);
    if (v->bytes.data == NULL || decode(k, v, &scratch->of[k], ret))
        return 0;
    return unparsed(&scratch->of[k], &names->names[k], err);
}

static int decode_additional(const struct stream_row *row, const struct columns *names,
                             struct stream_scratch *scratch, struct event *ret, struct err *err)
{
    for (uint32_t i = 0; i < names->nadditional; i++) {
        const struct additional_column *a = &names->additional[i];
        const struct pg_value *v = &row->values[a->slot];

        scratch->additional[i] = (struct slice){NULL, 0};
        if (row->unsent[a->slot])
            return unsent(&a->name, err);
        if (v->bytes.data != NULL &&
            !pg_text(v, &scratch->of_additional[i], &scratch->additional[i]))
            return unparsed(&scratch->of_additional[i], &a->name, err);
    }
    ret->additional = names->nadditional > 0 ? scratch->additional : NULL;
    ret->nadditional = names->nadditional;
    return 0;
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
    for (enum column_kind k = 0; k < COLUMN_KINDS && rc == 0; k++)
        rc = decode_column(k, row, c->names, scratch, ret, err);
    if (rc == 0)
        rc = decode_additional(row, c->names, scratch, ret, err);
    *ret_published = row->values[COLUMN_PUBLISHED_AT].bytes.data != NULL;
    return rc;
}

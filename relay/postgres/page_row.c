#include "postgres/page_row.h"

#include "postgres/pg_value.h"

#include <stddef.h>
#include <string.h>

enum field {
    SEQ,
    ID,
    XID,
    AGGREGATETYPE,
    AGGREGATEID,
    TYPE,
    PAYLOAD,
    PAYLOAD_BYTES,
    HEADERS,
    TOPIC,
    PARTITION,
    CREATED_AT,
    FIELDS, /* and then the additional ones */
};
#define FIELDS_MAX (FIELDS + EVENT_ADDITIONAL_MAX)
/* In a row that opens a round, in place of the event's. */
enum { SNAPSHOT = AGGREGATETYPE, MAX_SEQ = AGGREGATEID };

static const unsigned char signature[11] = {'P',  'G',  'C',  'O',  'P', 'Y',
                                            '\n', 0xff, '\r', '\n', 0};

static void skip_signature(struct reader *r)
{
    struct slice s = read_bytes(r, sizeof signature);

    if (s.data == NULL || memcmp(s.data, signature, sizeof signature) != 0)
        r->failed = true;
    (void)read_u32(r); /* flags: none that concern us */
    (void)read_bytes(r, read_u32(r));
}

static struct slice field(struct reader *r)
{
    uint32_t len = read_u32(r);

    return len == UINT32_MAX ? (struct slice){NULL, 0} : read_bytes(r, len);
}

static bool parse_header(struct page_row *row, const struct slice *f)
{
    row->kind = PAGE_ROW_HEADER;
    row->snapshot = f[SNAPSHOT];
    row->has_max = f[MAX_SEQ].data != NULL;
    return row->snapshot.data != NULL && (!row->has_max || pg_digits(f[MAX_SEQ], &row->max_seq));
}

static bool parse_seq(struct slice f, int64_t *ret)
{
    struct reader r = pg_fixed(f, f.len == 4 ? 4 : 8);

    *ret = f.len == 4 ? (int32_t)read_u32(&r) : (int64_t)read_u64(&r);
    return !r.failed;
}

static bool parse_event(struct event *e, const struct slice *f)
{
    struct reader xid = pg_fixed(f[XID], 8);
    struct reader created = pg_fixed(f[CREATED_AT], 8);
    struct reader partition = pg_fixed(f[PARTITION], 4);

    if (f[ID].data == NULL || f[ID].len != EVENT_ID_LEN)
        return false;
    memcpy(e->id, f[ID].data, EVENT_ID_LEN);
    e->xid = read_u64(&xid);
    e->aggregatetype = f[AGGREGATETYPE];
    e->aggregateid = f[AGGREGATEID];
    e->type = f[TYPE];
    e->payload = f[PAYLOAD];
    e->payload_bytes = f[PAYLOAD_BYTES];
    e->headers = f[HEADERS];
    e->topic = f[TOPIC];
    e->has_partition = f[PARTITION].data != NULL;
    if (e->has_partition)
        e->partition = (int32_t)read_u32(&partition);
    e->created_us = pg_time_to_unix((int64_t)read_u64(&created));
    return parse_seq(f[SEQ], &e->seq) && !xid.failed && !created.failed &&
           (!e->has_partition || !partition.failed) && e->aggregateid.data != NULL;
}

static int refuse(struct err *err)
{
    return err_set(err, ERR_PROTOCOL, "a row of the outbox arrived in a form that does not parse");
}

static int parse_fields(struct page_row *ret, const struct slice *f, size_t n, struct err *err)
{
    bool ok = f[SEQ].data == NULL ? parse_header(ret, f) : parse_event(&ret->event, f);

    if (!ok)
        return refuse(err);
    if (n > FIELDS) {
        memcpy(ret->additional, f + FIELDS, (n - FIELDS) * sizeof *f);
        ret->event.additional = ret->additional;
        ret->event.nadditional = (uint32_t)(n - FIELDS);
    }
    return 0;
}

int page_row_of_copy(struct page_row *ret, const char *data, size_t len, bool first,
                     struct err *err)
{
    struct reader r = reader_of(data, len);
    struct slice fields[FIELDS_MAX];
    uint16_t n;

    memset(ret, 0, offsetof(struct page_row, additional));
    if (first)
        skip_signature(&r);
    n = read_u16(&r);
    if (!r.failed && n == UINT16_MAX && r.at == r.end) {
        ret->kind = PAGE_ROW_END;
        return 0;
    }
    if (n < FIELDS || n > FIELDS_MAX)
        return refuse(err);
    for (int i = 0; i < n; i++)
        fields[i] = field(&r);
    return r.failed || r.at != r.end ? refuse(err) : parse_fields(ret, fields, n, err);
}

int page_row_of_result(struct page_row *ret, const PGresult *res, struct err *err)
{
    struct slice fields[FIELDS_MAX];
    int n = PQnfields(res);

    memset(ret, 0, offsetof(struct page_row, additional));
    if (PQntuples(res) != 1 || n < FIELDS || n > FIELDS_MAX)
        return refuse(err);
    for (int i = 0; i < n; i++) {
        bool null = PQgetisnull(res, 0, i);

        fields[i].data = null ? NULL : (const unsigned char *)PQgetvalue(res, 0, i);
        fields[i].len = null ? 0 : (size_t)PQgetlength(res, 0, i);
    }
    return parse_fields(ret, fields, (size_t)n, err);
}

#include "postgres/copy_row.h"

#include <string.h>

#define FIELDS 12

/* Microseconds between PostgreSQL's epoch, 2000-01-01, and 1970. */
static const int64_t epoch_us = INT64_C(946684800000000);

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

/* A field that has to be there with this length. */
static struct reader fixed(struct reader *r, size_t len)
{
    struct slice s = field(r);

    if (s.data == NULL || s.len != len)
        r->failed = true;
    return reader_of(s.data, s.data == NULL ? 0 : s.len);
}

static int64_t from_pg_time(int64_t us)
{
    if (us == INT64_MIN || us == INT64_MAX)
        return us; /* -infinity, infinity */
    return us > INT64_MAX - epoch_us ? EVENT_TIME_MAX : us + epoch_us;
}

static bool parse_digits(struct slice s, int64_t *ret)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    int64_t v = 0;

    for (size_t i = negative; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_sub_overflow(v, s.data[i] - '0', &v))
            return false;
    }
    *ret = negative ? v : -v;
    return s.len > (size_t)negative;
}

/* Behind the null seq: id and xid null, the snapshot, max(seq) or null. */
static void parse_header(struct copy_row *row, struct reader *r)
{
    struct slice max;

    row->kind = COPY_ROW_HEADER;
    (void)field(r);
    (void)field(r);
    row->snapshot = field(r);
    max = field(r);
    row->has_max = max.data != NULL;
    if (row->snapshot.data == NULL || (row->has_max && !parse_digits(max, &row->max_seq)))
        r->failed = true;
}

static void parse_event(struct event *e, struct slice seq, struct reader *r)
{
    struct reader value = reader_of(seq.data, seq.len);
    struct slice id;

    e->seq = (int64_t)read_u64(&value);
    r->failed |= value.failed;
    value = fixed(r, EVENT_ID_LEN);
    id = read_bytes(&value, EVENT_ID_LEN);
    if (id.data != NULL)
        memcpy(e->id, id.data, EVENT_ID_LEN);
    value = fixed(r, 8);
    e->xid = read_u64(&value);
    e->aggregatetype = field(r);
    e->aggregateid = field(r);
    e->type = field(r);
    e->payload = field(r);
    e->payload_bytes = field(r);
    e->headers = field(r);
    e->topic = field(r);
    value = reader_of(NULL, 0);
    id = field(r);
    e->has_partition = id.data != NULL;
    if (e->has_partition) {
        value = reader_of(id.data, id.len);
        e->partition = (int32_t)read_u32(&value);
        r->failed |= value.failed;
    }
    value = fixed(r, 8);
    e->created_us = from_pg_time((int64_t)read_u64(&value));
    if (e->aggregatetype.data == NULL || e->aggregateid.data == NULL || e->type.data == NULL)
        r->failed = true;
}

int copy_row_parse(struct copy_row *ret, const char *data, size_t len, bool first, struct err *err)
{
    struct reader r = reader_of(data, len);
    struct slice seq;
    uint16_t fields;

    memset(ret, 0, sizeof *ret);
    if (first)
        skip_signature(&r);
    fields = read_u16(&r);
    if (!r.failed && fields == UINT16_MAX) {
        ret->kind = COPY_ROW_END;
        return 0;
    }
    if (fields != FIELDS)
        r.failed = true;
    seq = field(&r);
    if (seq.data == NULL)
        parse_header(ret, &r);
    else
        parse_event(&ret->event, seq, &r);
    if (r.failed)
        return err_set(err, ERR_PROTOCOL,
                       "a row of the outbox arrived in a form that does not parse");
    return 0;
}

/*
 * A row of a page. The first byte tells how it comes: as a message of a COPY (the first one or a
 * later one), whose bytes follow, or as a statement's result, whose fields follow as uint16 length
 * (all bits set: null) and bytes.
 *
 * What is taken for an event is written again by COPY's rules, and has to be what came.
 */
#include "fuzz.h"

#include "postgres/page_row.h"
#include "postgres/pg_value.h"

enum { FIRST = 1, RESULT = 2, TWO_ROWS = 4 };
enum { FIELDS = 12, FIELDS_MAX = FIELDS + EVENT_ADDITIONAL_MAX + 1 };

static void touch_row(const struct page_row *row)
{
    const struct event *e = &row->event;
    const struct slice slices[] = {e->aggregatetype, e->aggregateid, e->type,       e->payload,
                                   e->payload_bytes, e->headers,     row->snapshot, e->topic};

    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++)
        touch(slices[i]);
    for (uint32_t i = 0; i < e->nadditional; i++)
        touch(e->additional[i]);
    CHECK(e->nadditional <= EVENT_ADDITIONAL_MAX);
    if (row->kind == PAGE_ROW_EVENT)
        CHECK(e->aggregateid.data != NULL);
    if (row->kind == PAGE_ROW_HEADER)
        CHECK(row->snapshot.data != NULL);
}

/* -- as COPY writes it ------------------------------------------------------------------------- */

static void put_field(struct buf *b, struct slice s)
{
    buf_u32(b, s.data == NULL ? UINT32_MAX : (uint32_t)s.len);
    buf_append(b, s.data, s.len);
}

static void put_u64(struct buf *b, uint64_t v)
{
    buf_u32(b, 8);
    buf_u64(b, v);
}

/* seq may be an integer of either width. */
static void put_event(struct buf *b, const struct event *e, bool narrow)
{
    buf_u16(b, (uint16_t)(FIELDS + e->nadditional));
    if (narrow) {
        buf_u32(b, 4);
        buf_u32(b, (uint32_t)e->seq);
    } else {
        put_u64(b, (uint64_t)e->seq);
    }
    put_field(b, (struct slice){e->id, EVENT_ID_LEN});
    put_u64(b, e->xid);
    put_field(b, e->aggregatetype);
    put_field(b, e->aggregateid);
    put_field(b, e->type);
    put_field(b, e->payload);
    put_field(b, e->payload_bytes);
    put_field(b, e->headers);
    put_field(b, e->topic);
    buf_u32(b, e->has_partition ? 4 : UINT32_MAX);
    if (e->has_partition)
        buf_u32(b, (uint32_t)e->partition);
    buf_u32(b, 8);
}

/* The rest of it, behind its time. */
static void put_additional(struct buf *b, const struct event *e)
{
    for (uint32_t i = 0; i < e->nadditional; i++)
        put_field(b, e->additional[i]);
}

/* Its time aside, of which those that 1970 puts out of reach are all one. */
static bool is_written(const struct event *e, struct slice message, bool narrow)
{
    struct buf b = {0};
    struct buf more = {0};
    struct reader time;
    bool same;

    put_event(&b, e, narrow);
    put_additional(&more, e);
    same = message.len >= b.len + 8 + more.len;
    if (same) {
        const unsigned char *end = message.data + message.len - more.len;

        time = reader_of(end - 8, 8);
        same = memcmp(end - 8 - b.len, b.data, b.len) == 0 &&
               (more.len == 0 || memcmp(end, more.data, more.len) == 0) &&
               e->created_us == pg_time_to_unix((int64_t)read_u64(&time));
    }
    buf_free(&more);
    buf_free(&b);
    return same;
}

static void is_written_as(const struct event *e, struct slice message)
{
    CHECK(is_written(e, message, false) || is_written(e, message, true));
}

static void of_copy(struct slice bytes, bool first)
{
    struct slice message = exact(bytes);
    struct page_row row;
    struct err err = {ERR_NONE, ""};
    int rc = page_row_of_copy(&row, (const char *)message.data, message.len, first, &err);

    if (rc != 0) {
        check_err(rc, &err);
        CHECK(err.class == ERR_PROTOCOL);
    } else {
        touch_row(&row);
        if (row.kind == PAGE_ROW_EVENT)
            is_written_as(&row.event, message);
        if (row.kind == PAGE_ROW_END)
            CHECK(memcmp(message.data + message.len - 2, "\xff\xff", 2) == 0);
        if (row.kind != PAGE_ROW_HEADER && !first)
            CHECK(message.data[0] == (row.kind == PAGE_ROW_END ? 0xff : 0));
    }
    free_slice(message);
}

/* -- as a result brings it --------------------------------------------------------------------- */

static PGresult *result_of(struct reader *in, int rows)
{
    static char name[] = "c";
    PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc columns[FIELDS_MAX] = {{0}};
    int n = read_u8(in) % (FIELDS_MAX + 1);

    CHECK(res != NULL);
    for (int i = 0; i < n; i++)
        columns[i] = (PGresAttDesc){.name = name, .format = 1};
    CHECK(n == 0 || PQsetResultAttrs(res, n, columns));
    for (int i = 0; i < n * rows; i++) {
        uint16_t length = read_u16(in);
        struct slice value = some_bytes(in, length == UINT16_MAX ? 0 : length);
        char *text = string_of(value); /* libpq, too, ends each with a NUL */

        CHECK(PQsetvalue(res, i / n, i % n, length == UINT16_MAX ? NULL : text,
                         length == UINT16_MAX ? -1 : (int)value.len));
        free(text);
    }
    return res;
}

static void of_result(struct reader *in, int rows)
{
    PGresult *res = result_of(in, rows);
    struct page_row row;
    struct err err = {ERR_NONE, ""};
    int rc = page_row_of_result(&row, res, &err);

    if (rc == 0) {
        CHECK(rows == 1 && PQnfields(res) >= FIELDS && PQnfields(res) < FIELDS_MAX &&
              row.kind != PAGE_ROW_END);
        touch_row(&row);
    } else {
        check_err(rc, &err);
        CHECK(err.class == ERR_PROTOCOL);
    }
    PQclear(res);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader in = reader_of(data, size);
    uint8_t how = read_u8(&in);

    if ((how & RESULT) != 0)
        of_result(&in, (how & TWO_ROWS) != 0 ? 2 : 1);
    else
        of_copy(some_bytes(&in, size), (how & FIRST) != 0);
    return 0;
}

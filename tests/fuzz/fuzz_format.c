/*
 * A template of route.topic in the first line, then events: a byte that tells what is there,
 * partition, time and id, then texts of uint16 length. The topic is worked out a second time in the
 * simplest way, and whether the event can be a record at all.
 */
#include "fuzz.h"

#include "core/format.h"

enum {
    TOPIC = 1,
    PAYLOAD = 2,
    PAYLOAD_BYTES = 4,
    HEADERS = 8,
    PARTITION = 16,
};

static struct slice text(struct reader *in, bool there)
{
    return there ? exact(some_bytes(in, read_u16(in))) : (struct slice){NULL, 0};
}

/* The caller calls free_event. */
static struct event read_event(struct reader *in)
{
    uint8_t there = read_u8(in);
    struct event e = {.has_partition = (there & PARTITION) != 0};
    struct slice id;

    if (e.has_partition)
        e.partition = (int32_t)read_u32(in);
    e.created_us = (int64_t)read_u64(in);
    id = some_bytes(in, EVENT_ID_LEN);
    if (id.len > 0)
        memcpy(e.id, id.data, id.len);
    e.aggregatetype = text(in, true);
    e.aggregateid = text(in, true);
    e.type = text(in, true);
    e.topic = text(in, (there & TOPIC) != 0);
    e.payload = text(in, (there & PAYLOAD) != 0);
    e.payload_bytes = text(in, (there & PAYLOAD_BYTES) != 0);
    e.headers = text(in, (there & HEADERS) != 0);
    return e;
}

static void free_event(const struct event *e)
{
    free_slice(e->aggregatetype);
    free_slice(e->aggregateid);
    free_slice(e->type);
    free_slice(e->topic);
    free_slice(e->payload);
    free_slice(e->payload_bytes);
    free_slice(e->headers);
}

/* -- the topic, the simple way ----------------------------------------------------------------- */

static bool is_legal(unsigned char c)
{
    return c != '\0' &&
           strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", c) != NULL;
}

/* The length of the placeholder that the template begins with, and what stands for it; else 0. */
static size_t placeholder(const char *template, const struct event *e, struct slice *ret)
{
    static const char *const names[] = {"${aggregatetype}", "${aggregateid}", "${type}"};
    const struct slice values[] = {e->aggregatetype, e->aggregateid, e->type};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strncmp(template, names[i], strlen(names[i])) == 0) {
            *ret = values[i];
            return strlen(names[i]);
        }
    }
    return 0;
}

/* False for a template that is none. */
static bool expand(const char *template, const struct event *e, struct buf *b)
{
    bool good = *template != '\0';

    while (*template != '\0' && good) {
        struct slice value = {(const unsigned char *)template, 1};
        size_t len = placeholder(template, e, &value);

        good = len > 0 || is_legal((unsigned char)*template);
        buf_append(b, value.data, value.len);
        template += len > 0 ? len : 1;
    }
    return good;
}

static bool is_topic(const struct buf *b)
{
    bool good = b->len > 0 && b->len <= ROUTE_TOPIC_MAX;

    for (size_t i = 0; i < b->len && good; i++)
        good = is_legal(b->data[i]);
    return good && !(b->len == 1 && b->data[0] == '.') &&
           !(b->len == 2 && memcmp(b->data, "..", 2) == 0);
}

/* What the server makes of the SQL, which is of a few forms alone. */
static void evaluate(const char *sql, const struct event *e, struct buf *b)
{
    static const char begin[] = "coalesce(o.topic, ''";
    static const char *const columns[] = {" || o.aggregatetype", " || o.aggregateid", " || o.type"};
    const struct slice values[] = {e->aggregatetype, e->aggregateid, e->type};

    CHECK(strncmp(sql, begin, strlen(begin)) == 0);
    for (sql += strlen(begin); strcmp(sql, ")") != 0;) {
        size_t i = 0;

        while (i < 3 && strncmp(sql, columns[i], strlen(columns[i])) != 0)
            i++;
        if (i < 3) {
            buf_append(b, values[i].data, values[i].len);
            sql += strlen(columns[i]);
            continue;
        }
        CHECK(strncmp(sql, " || '", 5) == 0);
        for (sql += 5; *sql != '\''; sql++) {
            CHECK(is_legal((unsigned char)*sql));
            buf_append(b, sql, 1);
        }
        sql++;
    }
}

static bool same_text(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* The name as it is looked for among what could not be published. */
static void check_raw(const struct format *f, const struct event *e, const struct buf *topic)
{
    struct buf raw = {0};
    struct buf sql = {0};

    format_topic_raw(f, e, &raw);
    CHECK(same_text(&raw, topic));
    format_topic_sql(f, &sql);
    CHECK(buf_cstr(&sql) != NULL);
    buf_reset(&raw);
    evaluate(buf_cstr(&sql), e, &raw);
    CHECK(e->topic.data != NULL || same_text(&raw, topic));
    buf_free(&raw);
    buf_free(&sql);
}

/* -- the record -------------------------------------------------------------------------------- */

/* The topic and the headers aside. */
static bool can_be(const struct event *e)
{
    return (e->payload.data == NULL || e->payload_bytes.data == NULL) &&
           (!e->has_partition || e->partition >= 0) && e->created_us > 0 &&
           e->created_us < EVENT_TIME_MAX;
}

static bool headers_ok(const struct event *e)
{
    struct headers h = {0};
    struct err err;
    bool ok = e->headers.data == NULL || headers_add_json(&h, e->headers, &err) == 0;

    headers_free(&h);
    return ok;
}

static void check_record(const struct record *r, const struct event *e, const struct buf *topic)
{
    uint64_t bytes = r->key.len + r->value.len;
    int64_t ms = e->created_us / 1000;

    CHECK(r->topic_len == topic->len && memcmp(r->topic, topic->data, topic->len) == 0);
    CHECK(r->partition == (e->has_partition ? e->partition : EVENT_PARTITION_ANY));
    CHECK(r->timestamp_ms == (ms > 0 ? ms : 1));
    CHECK(same_slice(r->key, e->aggregateid));
    CHECK(same_slice(r->value, e->payload.data != NULL ? e->payload : e->payload_bytes));
    CHECK(r->nheaders >= 2 && strlen(r->id) == EVENT_ID_TEXT - 1);
    CHECK(r->headers[0].name.len == 2 && memcmp(r->headers[0].name.data, "id", 2) == 0);
    CHECK(same_slice(r->headers[0].value,
                     (struct slice){(const unsigned char *)r->id, EVENT_ID_TEXT - 1}));
    CHECK(same_slice(r->headers[1].value, e->type));
    for (size_t i = 0; i < r->nheaders; i++) {
        touch(r->headers[i].name);
        touch(r->headers[i].value);
        bytes += r->headers[i].name.len + r->headers[i].value.len;
    }
    CHECK(r->bytes == bytes);
}

static void format(struct format *f, const char *template, const struct event *e)
{
    struct buf topic = {0};
    struct record r;
    struct err err = {ERR_NONE, ""};
    int rc = format_event(f, e, &r, &err);

    CHECK(expand(template, e, &topic));
    if (e->topic.data != NULL) {
        buf_reset(&topic);
        buf_append(&topic, e->topic.data, e->topic.len);
    }
    check_raw(f, e, &topic);
    CHECK((rc == 0) == (can_be(e) && is_topic(&topic) && headers_ok(e)));
    if (rc == 0) {
        check_record(&r, e, &topic);
    } else {
        check_err(rc, &err);
        CHECK(err.class == ERR_ROW);
    }
    buf_free(&topic);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader in = reader_of(data, size);
    char *template = string_of(until(&in, '\n'));
    struct event none = {0};
    struct format *f = NULL;
    struct buf ignored = {0};
    struct err err = {ERR_NONE, ""};
    struct format_options options = {.route = template, .type_header = "eventType"};
    int rc = format_new(&f, &options, &err);

    CHECK((rc == 0) == expand(template, &none, &ignored));
    if (rc != 0) {
        check_err(rc, &err);
        CHECK(err.class == ERR_CONFIG);
    }
    while (rc == 0 && in.at < in.end && !in.failed) {
        struct event e = read_event(&in);

        format(f, template, &e);
        free_event(&e);
    }
    format_free(f);
    buf_free(&ignored);
    free(template);
    return 0;
}

#include "core/message.h"

#include "core/json_scan.h"
#include "core/value_text.h"

#include <string.h>

#define LSN_BITS 58 /* of a derived id */

enum column {
    AGGREGATETYPE,
    AGGREGATEID,
    TYPE,
    ID,
    PAYLOAD,
    PAYLOAD_BYTES,
    HEADERS,
    TOPIC,
    PARTITION,
    CREATED_AT,
    COLUMNS,
};

static const char *const names[COLUMNS] = {
    [AGGREGATETYPE] = "aggregatetype",
    [AGGREGATEID] = "aggregateid",
    [TYPE] = "type",
    [ID] = "id",
    [PAYLOAD] = "payload",
    [PAYLOAD_BYTES] = "payload_bytes",
    [HEADERS] = "headers",
    [TOPIC] = "topic",
    [PARTITION] = "partition",
    [CREATED_AT] = "created_at",
};

/* A string's text, or what base64 made of it. */
struct text {
    struct slice s;
    size_t offset; /* in scratch, whose memory moves as it grows; s.data is NULL then */
    bool in_scratch;
};

struct parse {
    struct buf *scratch;
    struct slice content;
    struct slice raw[COLUMNS]; /* the value as written; data == NULL: null or absent */
    bool seen[COLUMNS];
    struct text text[COLUMNS];
    struct err *err;
};

static int out_of_memory(const struct parse *p)
{
    return err_set(p->err, ERR_NOMEM, "out of memory for a message");
}

static size_t place(const struct parse *p, const unsigned char *at)
{
    return (size_t)(at - p->content.data) + 1;
}

/* What is wrong with the content as a whole. */
static int refuse_json(const struct parse *p, const struct json_scan *s)
{
    return err_set(p->err, ERR_ROW, "its content holds %s at byte %zu", s->wrong, scan_place(s));
}

/* What is wrong with a column's value, which begins at this byte. */
static int refuse(const struct parse *p, enum column c, const char *what)
{
    return err_set(p->err, ERR_ROW, "its %s %s, at byte %zu of the content", names[c], what,
                   place(p, p->raw[c].data));
}

static bool is(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

/* -- The object ------------------------------------------------------------------------------- */

static int find_column(struct parse *p, struct slice name, size_t at, enum column *ret)
{
    static const char *const of_table[] = {"seq", "xid", "published_at"};
    char shown[TEXT_SHOWN + 1];

    for (int c = 0; c < COLUMNS; c++) {
        if (!is(name, names[c]))
            continue;
        if (p->seen[c])
            return err_set(p->err, ERR_ROW, "its content names %s twice, again at byte %zu",
                           names[c], at);
        p->seen[c] = true;
        *ret = (enum column)c;
        return 0;
    }
    for (size_t i = 0; i < sizeof of_table / sizeof *of_table; i++)
        if (is(name, of_table[i]))
            return err_set(p->err, ERR_ROW,
                           "its content names %s at byte %zu, which belongs to the table",
                           of_table[i], at);
    text_show(name, shown);
    return err_set(p->err, ERR_ROW, "its content names \"%s\" at byte %zu, which is no column",
                   shown, at);
}

static int scan_name(struct parse *p, struct json_scan *s, enum column *ret)
{
    struct slice name;
    bool in_scratch;
    size_t at;
    int rc;

    if (!scan_take(s, '"')) {
        (void)scan_wrong(s, "a name that is no string");
        return refuse_json(p, s);
    }
    at = scan_place(s) - 1;
    if (!scan_string(s, &name, &in_scratch))
        return refuse_json(p, s);
    if (p->scratch->failed)
        return out_of_memory(p);
    if (in_scratch) /* where nothing else is yet */
        name.data = p->scratch->data;
    rc = find_column(p, name, at, ret);
    p->scratch->len = 0;
    return rc;
}

static int scan_pair(struct parse *p, struct json_scan *s)
{
    enum column c = COLUMNS;
    int rc = scan_name(p, s, &c);

    if (rc != 0)
        return rc;
    if (!scan_take(s, ':'))
        (void)scan_wrong(s, "a name without a value");
    if (s->wrong != NULL || !scan_text(s, &p->raw[c]))
        return refuse_json(p, s);
    return 0;
}

static int scan_object(struct parse *p)
{
    struct json_scan s = {.start = p->content.data,
                          .at = p->content.data,
                          .end = p->content.data + p->content.len,
                          .scratch = p->scratch};
    int rc;

    if (!scan_take(&s, '{')) {
        (void)scan_wrong(&s, "no JSON object");
        return refuse_json(p, &s);
    }
    if (!scan_take(&s, '}')) {
        do {
            rc = scan_pair(p, &s);
            if (rc != 0)
                return rc;
        } while (scan_take(&s, ','));
        if (!scan_take(&s, '}')) {
            (void)scan_wrong(&s, "a missing comma or closing brace");
            return refuse_json(p, &s);
        }
    }
    scan_skip_space(&s);
    if (s.at == s.end)
        return 0;
    (void)scan_wrong(&s, "text behind the object");
    return refuse_json(p, &s);
}

/* -- Strings ---------------------------------------------------------------------------------- */

static struct slice text_of(const struct parse *p, enum column c)
{
    const struct text *t = &p->text[c];

    return t->in_scratch ? (struct slice){p->scratch->data + t->offset, t->s.len} : t->s;
}

/* Fills text[c] from a value that is a string, or null. */
static int read_string(struct parse *p, enum column c)
{
    struct slice raw = p->raw[c];
    struct json_scan s = {.start = p->content.data, .at = raw.data, .scratch = p->scratch};
    struct text *t = &p->text[c];

    if (raw.data == NULL)
        return 0;
    s.end = raw.data + raw.len;
    if (!scan_take(&s, '"'))
        return refuse(p, c, "is no string");
    t->offset = p->scratch->len;
    if (!scan_string(&s, &t->s, &t->in_scratch))
        return refuse_json(p, &s);
    if (p->scratch->failed)
        return out_of_memory(p);
    if (t->s.len > 0 && memchr(text_of(p, c).data, '\0', t->s.len) != NULL)
        return refuse(p, c, "holds \\u0000, which a text cannot");
    return 0;
}

static int read_aggregateid(struct parse *p)
{
    struct slice raw = p->raw[AGGREGATEID];

    if (raw.data[0] == '"')
        return read_string(p, AGGREGATEID);
    if (raw.data[0] != '-' && (raw.data[0] < '0' || raw.data[0] > '9'))
        return refuse(p, AGGREGATEID, "is neither a string nor a number");
    p->text[AGGREGATEID].s = raw;
    return 0;
}

static int read_texts(struct parse *p)
{
    static const enum column required[] = {AGGREGATETYPE, AGGREGATEID, TYPE};
    int rc;

    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (p->raw[required[i]].data == NULL)
            return err_set(p->err, ERR_ROW, "its content has no %s", names[required[i]]);
    rc = read_string(p, AGGREGATETYPE);
    if (rc == 0)
        rc = read_aggregateid(p);
    if (rc == 0)
        rc = read_string(p, TYPE);
    if (rc == 0)
        rc = read_string(p, TOPIC);
    return rc;
}

/* -- payload_bytes ---------------------------------------------------------------------------- */

static int read_payload_bytes(struct parse *p)
{
    struct text *t = &p->text[PAYLOAD_BYTES];
    const char *wrong;
    int rc;

    if (p->raw[PAYLOAD_BYTES].data == NULL)
        return 0;
    if (p->raw[PAYLOAD].data != NULL)
        return err_set(p->err, ERR_ROW, "it has both a payload and payload_bytes; set one of them");
    rc = read_string(p, PAYLOAD_BYTES);
    if (rc != 0 || t->s.len == 0)
        return rc;
    if (!t->in_scratch)
        buf_append(p->scratch, t->s.data, t->s.len);
    if (p->scratch->failed)
        return out_of_memory(p);
    t->in_scratch = true;
    wrong = text_base64(p->scratch->data + t->offset, &t->s.len);
    return wrong == NULL ? 0 : refuse(p, PAYLOAD_BYTES, wrong);
}

/* -- id --------------------------------------------------------------------------------------- */

static void put_u64(unsigned char *to, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        to[i] = (unsigned char)(v >> (56 - 8 * i));
}

/* RFC 9562, 5.8: 48 bits, the version, 12 bits, the variant, 62 bits. A hash could not keep two
 * messages apart for certain, this does. */
static void derive_id(const struct message_origin *o, unsigned char ret[EVENT_ID_LEN])
{
    uint64_t low = UINT64_C(1) << LSN_BITS;

    put_u64(ret, (o->system_id & ~UINT64_C(0xFFFF)) | 0x8000 | (o->system_id >> 4 & 0xFFF));
    put_u64(ret + 8, UINT64_C(1) << 63 | (o->system_id & 0xF) << LSN_BITS | (o->lsn & (low - 1)));
}

static int read_id(struct parse *p, const struct message_origin *origin,
                   unsigned char ret[EVENT_ID_LEN])
{
    int rc = read_string(p, ID);

    if (rc != 0)
        return rc;
    if (p->raw[ID].data == NULL)
        derive_id(origin, ret);
    else if (!text_uuid(text_of(p, ID), ret))
        return refuse(p, ID, "is no uuid of 36 characters");
    return 0;
}

/* -- The rest --------------------------------------------------------------------------------- */

static int read_partition(struct parse *p, struct event *ret)
{
    struct slice raw = p->raw[PARTITION];

    ret->has_partition = raw.data != NULL;
    if (ret->has_partition && !text_int32(raw, &ret->partition))
        return refuse(p, PARTITION, "is no integer of 32 bits");
    return 0;
}

static int read_created_at(struct parse *p, int64_t committed_us, int64_t *ret)
{
    int rc = read_string(p, CREATED_AT);

    *ret = committed_us;
    if (rc != 0 || p->raw[CREATED_AT].data == NULL || text_time(text_of(p, CREATED_AT), ret))
        return rc;
    return refuse(p, CREATED_AT, "is no time as in 2006-01-02T15:04:05.123456+00:00");
}

static int read_values(struct parse *p, const struct message_origin *origin, struct event *ret)
{
    int rc = read_texts(p);

    if (rc == 0)
        rc = read_id(p, origin, ret->id);
    if (rc == 0)
        rc = read_payload_bytes(p);
    if (rc == 0 && p->raw[HEADERS].data != NULL && p->raw[HEADERS].data[0] != '{')
        rc = refuse(p, HEADERS, "is no object");
    if (rc == 0)
        rc = read_partition(p, ret);
    if (rc == 0)
        rc = read_created_at(p, origin->committed_us, &ret->created_us);
    return rc;
}

static int check_utf8(const struct parse *p)
{
    size_t valid = text_utf8(p->content);

    if (valid == p->content.len)
        return 0;
    return err_set(p->err, ERR_ROW, "its content is not UTF-8 at byte %zu", valid + 1);
}

int message_event(struct message *m, struct slice content, const struct message_origin *origin,
                  struct event *ret, struct err *err)
{
    static const unsigned char nothing[1] = {0};
    struct parse p = {.scratch = &m->scratch, .content = content, .err = err};
    int rc;

    if (content.data == NULL)
        p.content = (struct slice){nothing, 0};
    buf_reset(&m->scratch);
    memset(ret, 0, sizeof *ret);
    rc = check_utf8(&p);
    if (rc == 0)
        rc = scan_object(&p);
    if (rc == 0)
        rc = read_values(&p, origin, ret);
    if (rc != 0)
        return rc;
    ret->aggregatetype = text_of(&p, AGGREGATETYPE);
    ret->aggregateid = text_of(&p, AGGREGATEID);
    ret->type = text_of(&p, TYPE);
    ret->topic = text_of(&p, TOPIC);
    ret->payload = p.raw[PAYLOAD];
    ret->payload_bytes = text_of(&p, PAYLOAD_BYTES);
    ret->headers = p.raw[HEADERS];
    return 0;
}

void message_free(struct message *m)
{
    buf_free(&m->scratch);
}

/*
 * A stream of pgoutput messages: uint32 oid of the outbox, then records of uint16 length and that
 * many bytes, each a message, but for two lengths: the stream begins anew, or the outbox is another
 * one (uint32 oid).
 *
 * A second parser gets only what the first one took. As long as a refused message leaves the first
 * as it was, the two make the same of everything.
 */
#include "fuzz.h"

#include "postgres/pgoutput.h"

enum { RESET = 0xFFFF, SET_TABLE = 0xFFFE };

struct pair {
    struct pgoutput *all;
    struct pgoutput *taken;
};

static void touch_message(const struct pgoutput_message *m)
{
    const struct event *e = &m->event;
    const struct slice slices[] = {e->aggregatetype, e->aggregateid, e->type,
                                   e->payload,       e->headers,     e->payload_bytes,
                                   e->topic,         m->prefix,      m->content};

    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++)
        touch(slices[i]);
    if (m->kind == PGOUTPUT_INSERT)
        CHECK(e->aggregatetype.data != NULL && e->aggregateid.data != NULL && e->type.data != NULL);
    if (m->kind == PGOUTPUT_MESSAGE)
        CHECK(m->prefix.data != NULL && m->content.data != NULL);
}

static void same_event(const struct event *a, const struct event *b)
{
    CHECK(a->seq == b->seq && a->xid == b->xid && a->created_us == b->created_us);
    CHECK(memcmp(a->id, b->id, EVENT_ID_LEN) == 0);
    CHECK(a->has_partition == b->has_partition && a->partition == b->partition);
    CHECK(same_slice(a->aggregatetype, b->aggregatetype));
    CHECK(same_slice(a->aggregateid, b->aggregateid));
    CHECK(same_slice(a->type, b->type));
    CHECK(same_slice(a->payload, b->payload));
    CHECK(same_slice(a->payload_bytes, b->payload_bytes));
    CHECK(same_slice(a->headers, b->headers));
    CHECK(same_slice(a->topic, b->topic));
}

static void same_message(const struct pgoutput_message *a, const struct pgoutput_message *b)
{
    CHECK(a->kind == b->kind && a->xid == b->xid && a->committed_us == b->committed_us);
    CHECK(a->final_lsn == b->final_lsn && a->end_lsn == b->end_lsn && a->lsn == b->lsn);
    CHECK(a->published == b->published && a->transactional == b->transactional);
    CHECK(same_slice(a->prefix, b->prefix) && same_slice(a->content, b->content));
    same_event(&a->event, &b->event);
}

static bool parse(struct pgoutput *p, struct slice bytes, struct pgoutput_message *ret)
{
    struct err err = {ERR_NONE, ""};
    int rc = pgoutput_parse(p, bytes.data, bytes.len, ret, &err);

    if (rc == 0) {
        touch_message(ret);
        return true;
    }
    check_err(rc, &err);
    CHECK(err.class == ERR_PROTOCOL || err.class == ERR_CONFIG);
    return false;
}

/* No message is the beginning of another one. */
static void must_end_there(struct pgoutput *p, struct slice bytes)
{
    struct pgoutput_message ignored;
    struct buf longer = {0};
    struct slice copy;

    buf_append(&longer, bytes.data, bytes.len);
    buf_append(&longer, "N", 1);
    copy = exact((struct slice){longer.data, longer.len});
    CHECK(!parse(p, copy, &ignored));
    free_slice(copy);
    buf_free(&longer);
}

static void feed(struct pair *p, struct slice bytes)
{
    struct pgoutput_message of_all;
    struct pgoutput_message of_taken;
    struct slice copy = exact(bytes);

    if (parse(p->all, copy, &of_all)) {
        CHECK(parse(p->taken, copy, &of_taken));
        same_message(&of_all, &of_taken);
        must_end_there(p->all, copy);
    }
    free_slice(copy);
}

static void set_table(struct pair *p, uint32_t oid)
{
    pgoutput_set_table(p->all, oid);
    pgoutput_set_table(p->taken, oid);
}

static void step(struct pair *p, struct reader *in)
{
    uint16_t length = read_u16(in);

    if (length == RESET) {
        pgoutput_reset(p->all);
        pgoutput_reset(p->taken);
    } else if (length == SET_TABLE) {
        set_table(p, read_u32(in));
    } else {
        feed(p, some_bytes(in, length));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader in = reader_of(data, size);
    struct columns *columns = NULL;
    struct pair p;
    struct err err;

    CHECK(columns_new(&columns, NULL, "", &err) == 0);
    CHECK(pgoutput_new(&p.all, columns, &err) == 0 && pgoutput_new(&p.taken, columns, &err) == 0);
    set_table(&p, read_u32(&in));
    while (in.at < in.end && !in.failed)
        step(&p, &in);
    pgoutput_free(p.all);
    pgoutput_free(p.taken);
    free(columns);
    return 0;
}

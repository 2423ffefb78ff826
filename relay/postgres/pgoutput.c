#include "postgres/pgoutput.h"

#include "postgres/pg_value.h"
#include "postgres/stream_row.h"

#include <stdlib.h>
#include <string.h>

/* A domain, which only Type messages tell from other types of users, by the name of the type below:
 * they come in front of the Relation message that needs them, each time. */
struct domain {
    uint32_t oid;
    const struct pg_type *type;
};

struct pgoutput {
    const struct columns *names;
    uint32_t table;
    const char *schema;
    const char *name;
    uint32_t told;                 /* whose columns these are, by its oid; 0: nobody's */
    struct stream_columns columns; /* by the outbox's latest Relation message */
    struct buf domains;            /* of struct domain, since the last Relation message */
    struct stream_scratch scratch;
};

struct scan {
    struct reader r;
    const char *what;  /* the kind of message, for errors */
    const char *wrong; /* once something is, besides its length */
};

int pgoutput_new(struct pgoutput **ret, const struct columns *columns, struct err *err)
{
    *ret = calloc(1, sizeof **ret);
    if (*ret == NULL)
        return err_set(err, ERR_NOMEM, "out of memory for the replication stream");
    (*ret)->names = columns;
    return 0;
}

void pgoutput_free(struct pgoutput *p)
{
    if (p == NULL)
        return;
    stream_scratch_free(&p->scratch);
    buf_free(&p->domains);
    free(p);
}

void pgoutput_set_table(struct pgoutput *p, uint32_t oid)
{
    p->table = oid;
}

void pgoutput_set_name(struct pgoutput *p, const char *schema, const char *name)
{
    p->schema = schema;
    p->name = name;
}

void pgoutput_reset(struct pgoutput *p)
{
    p->told = 0;
    buf_reset(&p->domains);
}

static bool is_outbox(const struct pgoutput *p, uint32_t oid)
{
    return oid != 0 && oid == p->table;
}

/* -- fields ------------------------------------------------------------------------------------ */

static void wrong(struct scan *s, const char *what)
{
    if (!s->r.failed && s->wrong == NULL)
        s->wrong = what;
    s->r.failed = true;
}

/* Behind the last field. */
static int ended(const struct scan *s, struct err *err)
{
    const char *why = NULL;

    if (s->wrong != NULL)
        why = s->wrong;
    else if (s->r.failed)
        why = "it ends too early";
    else if (s->r.at != s->r.end)
        why = "it goes on behind its end";
    if (why == NULL)
        return 0;
    return err_set(err, ERR_PROTOCOL, "the replication stream brought %s that does not parse: %s",
                   s->what, why);
}

/* Up to its NUL. */
static struct slice read_string(struct scan *s)
{
    const unsigned char *begin = s->r.at;
    const unsigned char *end;

    if (s->r.failed)
        return (struct slice){NULL, 0};
    end = memchr(begin, '\0', (size_t)(s->r.end - begin));
    if (end == NULL) {
        s->r.failed = true;
        return (struct slice){NULL, 0};
    }
    s->r.at = end + 1;
    return (struct slice){begin, (size_t)(end - begin)};
}

static struct pg_value read_value(struct scan *s, bool *ret_unsent)
{
    struct pg_value v = {0};
    uint8_t kind = read_u8(&s->r);

    *ret_unsent = kind == 'u';
    if (kind == 'b' || kind == 't') {
        v.binary = kind == 'b';
        v.bytes = read_bytes(&s->r, read_u32(&s->r));
    } else if (kind != 'n' && kind != 'u') {
        wrong(s, "it has a value of an unknown kind");
    }
    return v;
}

/* Keeps in ret what the columns name; without them, nothing. */
static void read_row(struct scan *s, const struct stream_columns *columns, struct stream_row *ret)
{
    stream_row_clear(ret, columns);
    ret->n = read_u16(&s->r);
    for (uint16_t i = 0; i < ret->n && !s->r.failed; i++) {
        bool unsent;
        struct pg_value v = read_value(s, &unsent);

        if (columns != NULL)
            stream_row_set(ret, columns, i, &v, unsent);
    }
}

static void skip_row(struct scan *s)
{
    struct stream_row row;

    read_row(s, NULL, &row);
}

/* -- transactions, messages, truncation -------------------------------------------------------- */

static int parse_begin(struct pgoutput *p, struct scan *s, struct pgoutput_message *ret,
                       struct err *err)
{
    (void)p;
    ret->kind = PGOUTPUT_BEGIN;
    ret->final_lsn = read_u64(&s->r);
    ret->committed_us = pg_time_to_unix((int64_t)read_u64(&s->r));
    ret->xid = read_u32(&s->r);
    return ended(s, err);
}

static int parse_commit(struct pgoutput *p, struct scan *s, struct pgoutput_message *ret,
                        struct err *err)
{
    (void)p;
    ret->kind = PGOUTPUT_COMMIT;
    (void)read_u8(&s->r);  /* flags: none yet */
    (void)read_u64(&s->r); /* of the commit record, as in its Begin */
    ret->end_lsn = read_u64(&s->r);
    (void)read_u64(&s->r); /* when it committed */
    return ended(s, err);
}

static int parse_message(struct pgoutput *p, struct scan *s, struct pgoutput_message *ret,
                         struct err *err)
{
    (void)p;
    ret->kind = PGOUTPUT_MESSAGE;
    ret->transactional = (read_u8(&s->r) & 1) != 0;
    ret->lsn = read_u64(&s->r);
    ret->prefix = read_string(s);
    ret->content = read_bytes(&s->r, read_u32(&s->r));
    return ended(s, err);
}

static int parse_truncate(struct pgoutput *p, struct scan *s, struct pgoutput_message *ret,
                          struct err *err)
{
    uint32_t n = read_u32(&s->r);

    (void)read_u8(&s->r); /* options: CASCADE, RESTART IDENTITY */
    for (uint32_t i = 0; i < n && !s->r.failed; i++)
        if (is_outbox(p, read_u32(&s->r)))
            ret->kind = PGOUTPUT_TRUNCATE;
    return ended(s, err);
}

static int parse_origin(struct pgoutput *p, struct scan *s, struct pgoutput_message *ret,
                        struct err *err)
{
    (void)p;
    (void)ret;
    (void)read_u64(&s->r); /* the commit's LSN there */
    (void)read_string(s);
    return ended(s, err);
}

/* -- what describes rows ----------------------------------------------------------------------- */

static int parse_type(struct pgoutput *p, struct scan *s, struct pgoutput_message *ret,
                      struct err *err)
{
    struct domain d = {.oid = read_u32(&s->r)};
    struct slice schema = read_string(s);
    struct slice name = read_string(s);
    int rc = ended(s, err);

    (void)ret;
    if (rc != 0 || schema.len > 0)
        return rc;
    d.type = pg_type_by_name(name); /* pg_catalog is written as no schema */
    buf_append(&p->domains, &d, sizeof d);
    if (!p->domains.failed)
        return 0;
    p->domains.failed = false;
    return err_set(err, ERR_NOMEM, "out of memory for the replication stream");
}

static const struct pg_type *type_of(const struct pgoutput *p, uint32_t oid)
{
    for (size_t at = 0; at < p->domains.len; at += sizeof(struct domain)) {
        struct domain d;

        memcpy(&d, p->domains.data + at, sizeof d);
        if (d.oid == oid)
            return d.type;
    }
    return pg_type_by_oid(oid);
}

static void read_column(const struct pgoutput *p, struct scan *s, struct stream_columns *ret)
{
    struct slice name;
    uint32_t type;

    (void)read_u8(&s->r); /* flags: part of the key */
    name = read_string(s);
    type = read_u32(&s->r);
    (void)read_u32(&s->r); /* modifier */
    if (!s->r.failed && !stream_columns_add(ret, name, type_of(p, type)))
        wrong(s, "it has more columns than a table can, or one twice");
}

static bool same_text(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static int parse_relation(struct pgoutput *p, struct scan *s, struct pgoutput_message *ret,
                          struct err *err)
{
    struct stream_columns columns = {.names = p->names};
    uint32_t oid = read_u32(&s->r);
    struct slice schema = read_string(s);
    struct slice name = read_string(s);
    uint16_t n;
    int rc;

    (void)ret;
    (void)read_u8(&s->r); /* replica identity */
    n = read_u16(&s->r);
    for (uint16_t i = 0; i < n && !s->r.failed; i++)
        read_column(p, s, &columns);
    rc = ended(s, err);
    if (rc != 0)
        return rc;
    if (p->name != NULL && same_text(schema, p->schema) && same_text(name, p->name))
        p->table = oid;
    if (is_outbox(p, oid)) {
        p->told = oid;
        p->columns = columns;
    }
    buf_reset(&p->domains);
    return 0;
}

/* -- rows -------------------------------------------------------------------------------------- */

static int parse_insert(struct pgoutput *p, struct scan *s, struct pgoutput_message *ret,
                        struct err *err)
{
    uint32_t oid = read_u32(&s->r);
    bool told = p->told == oid;
    struct stream_row row;
    int rc;

    if (read_u8(&s->r) != 'N')
        wrong(s, "its row is of an unknown kind");
    read_row(s, told ? &p->columns : NULL, &row);
    rc = ended(s, err);
    if (rc != 0 || !is_outbox(p, oid))
        return rc;
    if (!told)
        return err_set(err, ERR_PROTOCOL,
                       "the replication stream brought an Insert into the outbox before the "
                       "Relation that names the outbox's columns");
    ret->kind = PGOUTPUT_INSERT;
    return stream_row_event(&row, &p->columns, &p->scratch, &ret->event, &ret->published, err);
}

/* With the old row's key (K) or the whole of it (O) in front where the replica identity asks so. */
static int parse_update(struct pgoutput *p, struct scan *s, struct pgoutput_message *ret,
                        struct err *err)
{
    uint8_t kind;

    (void)p;
    (void)ret;
    (void)read_u32(&s->r); /* the relation */
    kind = read_u8(&s->r);
    if (kind == 'K' || kind == 'O') {
        skip_row(s);
        kind = read_u8(&s->r);
    }
    if (kind != 'N')
        wrong(s, "its row is of an unknown kind");
    skip_row(s);
    return ended(s, err);
}

static int parse_delete(struct pgoutput *p, struct scan *s, struct pgoutput_message *ret,
                        struct err *err)
{
    uint8_t kind;

    (void)p;
    (void)ret;
    (void)read_u32(&s->r); /* the relation */
    kind = read_u8(&s->r);
    if (kind != 'K' && kind != 'O')
        wrong(s, "its row is of an unknown kind");
    skip_row(s);
    return ended(s, err);
}

/* -- one message ------------------------------------------------------------------------------- */

static const struct {
    unsigned char type;
    const char *what;
    int (*parse)(struct pgoutput *p, struct scan *s, struct pgoutput_message *ret, struct err *err);
} kinds[] = {
    {'B', "a Begin", parse_begin},     {'C', "a Commit", parse_commit},
    {'I', "an Insert", parse_insert},  {'U', "an Update", parse_update},
    {'D', "a Delete", parse_delete},   {'T', "a Truncate", parse_truncate},
    {'M', "a Message", parse_message}, {'R', "a Relation", parse_relation},
    {'Y', "a Type", parse_type},       {'O', "an Origin", parse_origin},
};

int pgoutput_parse(struct pgoutput *p, const void *data, size_t len, struct pgoutput_message *ret,
                   struct err *err)
{
    struct scan s = {.r = reader_of(data, len)};
    uint8_t type = read_u8(&s.r);

    memset(ret, 0, sizeof *ret);
    ret->kind = PGOUTPUT_OTHER;
    if (s.r.failed)
        return err_set(err, ERR_PROTOCOL, "the replication stream brought an empty message");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i].type != type)
            continue;
        s.what = kinds[i].what;
        return kinds[i].parse(p, &s, ret, err);
    }
    return err_set(err, ERR_PROTOCOL,
                   "the replication stream brought a message of unknown type 0x%02x", type);
}

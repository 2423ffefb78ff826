/* What PostgreSQL sent, and a parser that is fed it in memory of exactly its size, so that the
 * sanitizer sees a read behind it. */
#ifndef OUTBOX_TESTS_PGOUTPUT_CASE_H
#define OUTBOX_TESTS_PGOUTPUT_CASE_H

#include "postgres/pgoutput.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/pgoutput_binary.h"
#include "data/pgoutput_plain.h"
#include "data/pgoutput_text.h"

struct capture {
    const unsigned char *data;
    size_t len;
};

#define CAPTURE(bytes) bytes, sizeof(bytes)

static const struct capture plain[] = {
    {CAPTURE(sent_begin)},
    {CAPTURE(sent_commit)},
    {CAPTURE(sent_origin)},
    {CAPTURE(sent_relation)},
    {CAPTURE(sent_relation_added)},
    {CAPTURE(sent_relation_moved)},
    {CAPTURE(sent_relation_renamed)},
    {CAPTURE(sent_relation_other)},
    {CAPTURE(sent_message_inside)},
    {CAPTURE(sent_message_alone)},
    {CAPTURE(sent_truncate)},
    {CAPTURE(sent_truncate_other)},
    {CAPTURE(sent_truncate_both)},
    {CAPTURE(sent_type_mood)},
    {CAPTURE(sent_type_number)},
    {CAPTURE(sent_type_document)},
    {CAPTURE(sent_type_blob)},
};

/* A row in either form. */
enum { BINARY, TEXT, FORMS };
#define ROW(name)                                                                                  \
    static const struct capture name[FORMS] = {{CAPTURE(binary_##name)}, {CAPTURE(text_##name)}}
ROW(insert_all);
ROW(insert_nulls);
ROW(insert_infinity);
ROW(insert_minus_infinity);
ROW(insert_bc);
ROW(insert_last);
ROW(insert_added);
ROW(insert_moved);
ROW(insert_renamed);
ROW(insert_other);
ROW(update);
ROW(update_full);
ROW(delete);
ROW(delete_full);

/* Those that sent_relation, or none, describes. */
static const struct capture *const rows[] = {
    insert_all, insert_nulls, insert_infinity, insert_minus_infinity, insert_bc, insert_last,
    update,     update_full,  delete,          delete_full,
};

/* What comes in front of insert_other. */
static const struct capture describe_other[] = {
    {CAPTURE(sent_type_number)}, {CAPTURE(sent_type_mood)},      {CAPTURE(sent_type_document)},
    {CAPTURE(sent_type_blob)},   {CAPTURE(sent_relation_other)},
};

#define LENGTH(a) (sizeof(a) / sizeof *(a))

struct feed {
    struct columns *columns;
    struct pgoutput *p;
    unsigned char *bytes;
    struct pgoutput_message m;
    struct err err;
};

static inline void start(struct feed *f, uint32_t oid)
{
    *f = (struct feed){0};
    assert_int_equal(columns_new(&f->columns, NULL, "", &f->err), 0);
    assert_int_equal(pgoutput_new(&f->p, f->columns, &f->err), 0);
    pgoutput_set_table(f->p, oid);
}

static inline void stop(struct feed *f)
{
    pgoutput_free(f->p);
    free(f->columns);
    free(f->bytes);
}

static inline int feed(struct feed *f, const void *data, size_t len)
{
    free(f->bytes);
    f->bytes = malloc(len == 0 ? 1 : len);
    assert_non_null(f->bytes);
    if (len > 0)
        memcpy(f->bytes, data, len);
    f->err = (struct err){0};
    return pgoutput_parse(f->p, f->bytes, len, &f->m, &f->err);
}

static inline void accept(struct feed *f, const unsigned char *data, size_t len,
                          enum pgoutput_kind kind)
{
    int rc = feed(f, data, len);

    if (rc != 0)
        print_error("%s\n", f->err.message);
    assert_int_equal(rc, 0);
    assert_int_equal(f->m.kind, kind);
}
#define ACCEPT(f, name, kind) accept(f, name, sizeof(name), kind)

/* The error is of the class, says these words, and none of what the message held. */
static inline void refuse(struct feed *f, const void *data, size_t len, enum err_class class,
                          const char *words)
{
    assert_int_equal(feed(f, data, len), -(int)class);
    assert_int_equal(f->err.class, class);
    if (strstr(f->err.message, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", f->err.message, words);
    assert_null(strstr(f->err.message, "SECRET"));
}

static inline void is_text(struct slice s, const char *text)
{
    assert_non_null(s.data);
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.data, text, s.len);
}

static inline void feed_description_of_other(struct feed *f)
{
    for (size_t i = 0; i < LENGTH(describe_other); i++)
        accept(f, describe_other[i].data, describe_other[i].len, PGOUTPUT_OTHER);
}

#endif

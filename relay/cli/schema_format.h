/* The migrations in the form that each framework takes. */
#ifndef OUTBOX_CLI_SCHEMA_FORMAT_H
#define OUTBOX_CLI_SCHEMA_FORMAT_H

#include "cli/schema_text.h"

/* From one version to another one; downward where from is the greater. */
struct schema_range {
    int from;
    int to;
};

/* In each text that is made here, so that a file which has it may be written over. */
#define SCHEMA_MARK "Made by `outbox-relay schema print` from schema/migrations. Do not edit."

/* A file of a framework's layout; content is borrowed. */
typedef int (*schema_file_fn)(void *arg, const char *path, const struct buf *content,
                              struct err *err);

struct schema_format {
    const char *name;
    bool both; /* its text has both directions, so that a range can only go up */
    /* The range as one migration. */
    void (*text)(struct buf *b, const struct schema_place *place, struct schema_range range);
    /* The names of its files, printf formats of version and name. NULL for down: up has both. */
    const char *up;
    const char *down;
    bool whole; /* one file has all versions */
    /* What other files there are; NULL: none. */
    int (*more)(const struct schema_place *place, struct schema_range range, schema_file_fn file,
                void *arg, struct err *err);
};

/* NULL: there is none of that name. "sql" is the first of them. */
const struct schema_format *schema_format_find(const char *name);
/* Their names, in the order of the table, to ret; returns how many, SCHEMA_FORMATS_MAX at the most.
 */
#define SCHEMA_FORMATS_MAX 16
size_t schema_format_names(const char *ret[SCHEMA_FORMATS_MAX]);

/* Each file of an upward range to `file`. ERR_NOMEM, and file's own errors. */
int schema_files(const struct schema_format *format, const struct schema_place *place,
                 struct schema_range range, schema_file_fn file, void *arg, struct err *err);

/* Hands a buffer over to file, and frees it. */
int schema_file(struct buf *b, const char *path, schema_file_fn file, void *arg, struct err *err);

/* All of a range, one after the other. */
void schema_bodies(struct buf *b, const struct schema_place *place, struct schema_range range,
                   enum schema_wrap wrap);
/* Text of our own, of one or more lines, with the place's names. */
void schema_named(struct buf *b, const struct schema_place *place, const char *text);

/* ---- schema_tools.c ---- */
void schema_sql(struct buf *b, const struct schema_place *place, struct schema_range range);
void schema_plain(struct buf *b, const struct schema_place *place, struct schema_range range);
void schema_goose(struct buf *b, const struct schema_place *place, struct schema_range range);
void schema_dbmate(struct buf *b, const struct schema_place *place, struct schema_range range);
void schema_node(struct buf *b, const struct schema_place *place, struct schema_range range);
void schema_liquibase(struct buf *b, const struct schema_place *place, struct schema_range range);
void schema_psql(struct buf *b, const struct schema_place *place, struct schema_range range);
void schema_extension(struct buf *b, const struct schema_place *place, struct schema_range range);
int schema_control(const struct schema_place *place, struct schema_range range, schema_file_fn file,
                   void *arg, struct err *err);

/* ---- schema_python.c ---- */
void schema_alembic(struct buf *b, const struct schema_place *place, struct schema_range range);
void schema_django(struct buf *b, const struct schema_place *place, struct schema_range range);
int schema_django_app(const struct schema_place *place, struct schema_range range,
                      schema_file_fn file, void *arg, struct err *err);

#endif

/*
 * The migrations of schema/, which are part of the program, and what is done to their text on the
 * way into a framework: another schema or table, no transaction of their own, one statement at a
 * time.
 */
#ifndef OUTBOX_CLI_SCHEMA_TEXT_H
#define OUTBOX_CLI_SCHEMA_TEXT_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

/* Version n is schema_migrations[n - 1]. */
struct migration {
    const char *name;
    struct slice up;
    struct slice down;
};
extern const struct migration schema_migrations[];
extern const int schema_newest;

/* PostgreSQL's NAMEDATALEN, without the NUL. */
#define SCHEMA_NAME_MAX 63

/* Where it is to be installed. */
struct schema_place {
    char schema[SCHEMA_NAME_MAX + 1]; /* "": the first of the search_path */
    char table[SCHEMA_NAME_MAX + 1];
};

/* Of source.table, which has been checked to be name or schema.name; letters become small ones, as
 * PostgreSQL reads them. ERR_USAGE when a name that is made out of it would be too long. */
int schema_place_of(struct schema_place *ret, const char *source_table, struct err *err);

enum schema_wrap {
    SCHEMA_TRANSACTION, /* as it stands, in a transaction of its own */
    SCHEMA_BARE,        /* the framework's transaction, whose search_path is left as it was */
    SCHEMA_EXTENSION,   /* as CREATE EXTENSION runs it: it sets the search_path itself */
};

/* Appends one migration. */
void schema_body(struct buf *b, struct slice sql, const struct schema_place *place,
                 enum schema_wrap wrap);

/* The statements of such a text, one after the other, each with the comments before it and without
 * its semicolon's line end. *at begins as 0. False: there is none any more. */
bool schema_statement(struct slice text, size_t *at, struct slice *ret);

/* The next line of a text, without its end; *at begins as 0. */
bool schema_line(struct slice text, size_t *at, struct slice *ret);

#endif

/* What each version of the schema is made of (schema/catalog, which is part of the program), and
 * how that and what a database has differ. */
#ifndef OUTBOX_CLI_SCHEMA_CATALOG_H
#define OUTBOX_CLI_SCHEMA_CATALOG_H

#include "cli/schema_text.h"
#include "core/columns.h"

/* schema/catalog/catalog.sql; $1 is the table. */
extern const char *const schema_catalog_query;
/* What it answers for version n, at [n - 1]; "": schema/catalog has no file of it. */
extern const char *const schema_catalogs[];

/* The outbox that is judged; borrowed. */
struct schema_shape {
    const char *schema; /* both not quoted */
    const char *table;
    const struct columns *columns; /* as the settings columns.* say */
};

/* One row of it. */
struct schema_object {
    const char *kind; /* "column" */
    const char *name; /* "outbox.seq" */
    const char *definition;
};

struct schema_objects {
    struct schema_object *list;
    size_t n;
    char *text; /* what they point into */
};

enum schema_difference {
    SCHEMA_SAME,
    SCHEMA_MISSING,
    SCHEMA_DIFFERENT,
    SCHEMA_OTHERWISE, /* different, but the relay reads it as well */
};

/* Of lines that the query has answered, with quotes and the schema's name taken out: a name may be
 * written with them or without. The caller ends it by schema_objects_free, also after an error.
 * ERR_NOMEM; ERR_INTERNAL for what are no such lines. */
int schema_objects_read(struct schema_objects *ret, const char *lines, const char *schema,
                        struct err *err);
/* Of a version, with the shape's names, and without the columns that it has not; the same errors.
 */
int schema_objects_of(struct schema_objects *ret, int version, const struct schema_shape *shape,
                      struct err *err);
void schema_objects_free(struct schema_objects *o);

/* The one of that kind and name; NULL: there is none. */
const struct schema_object *schema_object_find(const struct schema_objects *in,
                                               const struct schema_object *like);
/* What has become of an object of the schema. */
enum schema_difference schema_object_differs(const struct schema_object *expected,
                                             const struct schema_objects *found,
                                             const struct schema_shape *shape);
/* How many objects of a version are as they are to be, less those that are not: the greatest tells
 * which version has been installed, whatever else is wrong. */
int schema_objects_score(const struct schema_objects *expected, const struct schema_objects *found,
                         const struct schema_shape *shape);

#endif

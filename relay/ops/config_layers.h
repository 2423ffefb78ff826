/* The places where a setting can come from, each read by a file of its own, all of them through
 * config_set. Private to ops/config*.c. */
#ifndef OUTBOX_OPS_CONFIG_LAYERS_H
#define OUTBOX_OPS_CONFIG_LAYERS_H

#include "base/buf.h"
#include "ops/config_table.h"

#define CONFIG_VARIABLE "OUTBOX_CONFIG"

/* One place of one setting. */
struct origin {
    const char *where; /* for errors: "flag --ack-mode", "file a.json: ack.mode" */
    const char *from;  /* for `config print`: "flag --ack-mode", "file a.json" */
    enum err_class class;
    bool hide; /* the value came out of another file, perhaps the wrong one: never quoted */
};

struct config_sources {
    char *from[SETTINGS]; /* owned; at the index of setting_table */
};

#define PATH_SHOWN 301

/* A file's name as an error may show it: escaped, and cut. */
void config_show_path(const char *path, char ret[PATH_SHOWN]);
/* Printable ASCII alone, so that an error may show it as it is. */
bool config_name_plain(const char *name);

/* Checks and stores one value in place of an earlier one. key may be kafka.anything. Errors: the
 * origin's class. */
int config_set(struct config *c, const char *key, const char *value, const struct origin *o,
               struct err *err);

/* `"text" is not allowed: ...` for a setting's own value; text NULL leaves it unquoted. */
int config_refuse(const struct setting *s, const char *text, const struct origin *o,
                  struct err *err);

typedef void spelling(const char *key, char ret_name[SETTING_NAME_MAX]);

/* "where name: unknown setting", with the setting that is nearest as spell writes it; file_name is
 * what names the file itself there, or NULL. */
int config_unknown(const char *where, const char *name, spelling *spell, const char *file_name,
                   enum err_class class, struct err *err);

/* The whole of a file of at most limit bytes, appended to b. Errors: ERR_CONFIG with the cause
 * alone ("No such file or directory"), ERR_NOMEM. */
int config_read(const char *path, size_t limit, struct buf *b, struct err *err);

/* Each applies one layer. config_flags with c == NULL only finds --config (*ret_file borrowed from
 * argv, NULL where it is not given) and checks that each flag exists. */
int config_flags(struct config *c, int argc, char *const *argv, const char **ret_file,
                 struct err *err);
int config_env(struct config *c, char *const *environ_, struct err *err);
int config_file(struct config *c, const char *path, struct err *err);

/* Appends uri with its passwords replaced by ***, or "(hidden)" as a whole where it cannot be told
 * for sure where they stand. */
void config_redact_uri(const char *uri, struct buf *b);

#endif

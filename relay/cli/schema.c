/* `schema print`: the migrations in a framework's form, without a database. */
#include "base/buf.h"
#include "cli/cli.h"
#include "cli/schema_format.h"
#include "ops/suggest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int choose_format(const char *name, const struct schema_format **ret, struct err *err)
{
    const char *names[SCHEMA_FORMATS_MAX];
    size_t n = schema_format_names(names);
    struct buf all = {0};
    const char *near;

    *ret = schema_format_find(name == NULL ? names[0] : name);
    if (*ret != NULL)
        return 0;
    for (size_t i = 0; i < n; i++)
        buf_printf(&all, "%s%s", i == 0 ? "" : ", ", names[i]);
    near = suggest(name, names, n);
    (void)err_set(err, ERR_USAGE, "schema print: --format is one of %s%s%s%s",
                  buf_cstr(&all) != NULL ? buf_cstr(&all) : "?",
                  near != NULL ? "; did you mean " : "", near != NULL ? near : "",
                  near != NULL ? "?" : "");
    buf_free(&all);
    return -ERR_USAGE;
}

static int version_of(const char *text, int otherwise, const char *flag, int *ret, struct err *err)
{
    char *end = NULL;
    long value;

    *ret = otherwise;
    if (text == NULL)
        return 0;
    errno = 0;
    value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < 0 || value > schema_newest)
        return err_set(err, ERR_USAGE, "schema print: %s is a version from 0 to %d", flag,
                       schema_newest);
    *ret = (int)value;
    return 0;
}

static int choose_range(const struct schema_request *request, const struct schema_format *format,
                        struct schema_range *ret, struct err *err)
{
    int rc = version_of(request->from, 0, "--from", &ret->from, err);

    if (rc == 0)
        rc = version_of(request->to, schema_newest, "--to", &ret->to, err);
    if (rc != 0)
        return rc;
    if (ret->from == ret->to)
        return err_set(err, ERR_USAGE, "schema print: --from and --to are the same version, %d",
                       ret->to);
    if (ret->from > ret->to && (format->both || request->directory != NULL))
        return err_set(err, ERR_USAGE,
                       "schema print: %s has the way back as well: --from is to be less than --to",
                       request->directory != NULL ? "a directory" : format->name);
    return 0;
}

/* ---- files ---- */

static int make_folders(char *path, struct err *err)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        int rc;

        *slash = '\0';
        rc = mkdir(path, 0777) == 0 || errno == EEXIST
                 ? 0
                 : err_set(err, ERR_USAGE, "schema print: cannot make %s: %s", path,
                           strerror(errno));
        *slash = '/';
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Whether the file may be written: it is not there, or was made here. */
static int may_write(const char *path, struct err *err)
{
    char head[512];
    FILE *f = fopen(path, "re");
    size_t n;

    if (f == NULL)
        return 0;
    n = fread(head, 1, sizeof head, f);
    (void)fclose(f);
    if (memmem(head, n, SCHEMA_MARK, strlen(SCHEMA_MARK)) != NULL)
        return 0;
    return err_set(err, ERR_USAGE,
                   "schema print: %s is there already and was not made by schema print: choose "
                   "another --directory, or move it away",
                   path);
}

static int write_file(void *arg, const char *path, const struct buf *content, struct err *err)
{
    const char *const *directory = arg;
    struct buf whole = {0};
    FILE *f;
    int rc;

    buf_printf(&whole, "%s/%s", *directory, path);
    if (buf_cstr(&whole) == NULL) {
        buf_free(&whole);
        return err_set(err, ERR_NOMEM, "out of memory for %s", path);
    }
    rc = make_folders((char *)whole.data, err);
    if (rc == 0)
        rc = may_write(buf_cstr(&whole), err);
    if (rc != 0)
        goto out;
    f = fopen(buf_cstr(&whole), "we");
    if (f == NULL || fwrite(content->data, 1, content->len, f) != content->len || fclose(f) != 0)
        rc = err_set(err, ERR_USAGE, "schema print: cannot write %s: %s", buf_cstr(&whole),
                     strerror(errno));
    else
        printf("%s\n", buf_cstr(&whole));
out:
    buf_free(&whole);
    return rc;
}

static int print_text(const struct schema_format *format, const struct schema_place *place,
                      struct schema_range range, struct err *err)
{
    struct buf b = {0};
    int rc = 0;

    format->text(&b, place, range);
    if (b.failed)
        rc = err_set(err, ERR_NOMEM, "schema print: out of memory");
    else
        (void)fwrite(b.data, 1, b.len, stdout);
    buf_free(&b);
    return rc;
}

int cli_schema_print(const struct cli *c)
{
    const struct schema_request *request = &c->schema;
    const char *directory = request->directory;
    const struct schema_format *format;
    struct schema_place place;
    struct schema_range range;
    struct err err;
    int rc = choose_format(request->format, &format, &err);

    if (rc == 0)
        rc = choose_range(request, format, &range, &err);
    if (rc == 0)
        rc = schema_place_of(&place, c->config->source_table, &err);
    if (rc != 0)
        return cli_fail(&err);
    rc = request->directory == NULL
             ? print_text(format, &place, range, &err)
             : schema_files(format, &place, range, write_file, &directory, &err);
    return rc != 0 ? cli_fail(&err) : cli_done();
}

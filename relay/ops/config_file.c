/* The JSON file. Nested objects and dotted keys flatten to the same thing; a key that is given
 * twice, in either form, is refused. */
#include "ops/config_layers.h"
#include "ops/escape.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)1 << 20)

/* jansson quotes the text that it stumbles over, which may be a password: only the place and the
 * kind of error are passed on; of a duplicate the key. */
static int syntax_error(const char *path, const json_error_t *e, struct err *err)
{
    bool show = json_error_code(e) == json_error_duplicate_key;
    const char *near = show ? NULL : strstr(e->text, " near '");
    const char *option = strstr(e->text, " without JSON_");
    const char *cut = option != NULL ? option : near;
    size_t len = cut != NULL ? (size_t)(cut - e->text) : strlen(e->text);
    struct buf b = {0};
    const char *text;
    int rc;

    escape_text(&b, e->text, len);
    text = buf_cstr(&b);
    rc = err_set(err, ERR_CONFIG, "file %s:%d:%d: %s", path, e->line, e->column,
                 text != NULL ? text : "not JSON");
    buf_free(&b);
    return rc;
}

static void spell_key(const char *key, char ret_name[SETTING_NAME_MAX])
{
    (void)snprintf(ret_name, SETTING_NAME_MAX, "%s", key);
}

static int unknown(const char *path, const char *key, struct err *err)
{
    char where[320];
    size_t len = strlen(key);

    (void)snprintf(where, sizeof where, "file %s: ", path);
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *known = setting_table[i].key;

        if (strncmp(known, key, len) == 0 && known[len] == '.')
            return err_set(err, ERR_CONFIG, "%s%s: a group of settings: an object, with %s in it",
                           where, key, known + len + 1);
    }
    if (strcmp(key, "kafka") == 0)
        return err_set(err, ERR_CONFIG,
                       "%skafka: a group of settings: an object, with bootstrap.servers in it",
                       where);
    return config_unknown(where, key, spell_key, NULL, ERR_CONFIG, err);
}

/* A long or odd key is shown escaped and cut. */
static void place(const char *path, const char *key, char *ret, size_t size)
{
    struct buf b = {0};
    const char *shown;

    escape_text(&b, key, strlen(key));
    shown = buf_cstr(&b);
    (void)snprintf(ret, size, "file %s: %.200s", path, shown != NULL ? shown : "");
    buf_free(&b);
}

/* Adds each leaf of object to flat under its whole key; values are borrowed by reference. */
static int flatten(json_t *object, const char *prefix, json_t *flat, const char *path,
                   struct err *err)
{
    char key[SETTING_NAME_MAX];
    char where[640];
    const char *name;
    json_t *value;
    int rc = 0;

    json_object_foreach(object, name, value)
    {
        int n = snprintf(key, sizeof key, "%s%s%s", prefix, *prefix != '\0' ? "." : "", name);

        place(path, key, where, sizeof where);
        if (n < 0 || (size_t)n >= sizeof key)
            return err_set(err, ERR_CONFIG, "%s...: unknown setting", where);
        if (json_is_object(value))
            rc = flatten(value, key, flat, path, err);
        else if (json_object_get(flat, key) != NULL)
            rc = err_set(err, ERR_CONFIG, "%s: given twice", where);
        else if (json_object_set(flat, key, value) != 0)
            rc = err_set(err, ERR_NOMEM, "%s: out of memory", where);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The text of a scalar, as a flag would give it; NULL for anything else. */
static const char *scalar_text(const json_t *value, char number[32])
{
    if (json_is_string(value))
        return json_string_value(value);
    if (json_is_boolean(value))
        return json_is_true(value) ? "true" : "false";
    if (!json_is_integer(value))
        return NULL;
    (void)snprintf(number, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return number;
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a number";
    case JSON_REAL:
        return "a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        break;
    }
    return "null";
}

static bool type_fits(const struct setting *s, const json_t *value)
{
    if (s == NULL) /* kafka.* */
        return json_is_string(value) || json_is_integer(value) || json_is_boolean(value);
    if (s->type == SETTING_INTEGER)
        return json_is_integer(value);
    return json_is_string(value) || (s->type == SETTING_BYTES && json_is_integer(value));
}

static int wrong_type(const struct setting *s, const json_t *value, const char *where,
                      struct err *err)
{
    struct buf b = {0};
    const char *allowed;
    int rc;

    if (s != NULL)
        setting_allowed(s, &b);
    else
        buf_printf(&b, "a string, a whole number, true or false");
    if (s != NULL &&
        (s->type == SETTING_WORD || s->type == SETTING_IDENTIFIER || s->type == SETTING_ADDRESS))
        buf_printf(&b, " (a string)");
    allowed = buf_cstr(&b);
    rc = err_set(err, ERR_CONFIG, "%s: %s is not allowed: %s", where, type_name(value),
                 allowed != NULL ? allowed : "");
    buf_free(&b);
    return rc;
}

static int set_all(struct config *c, json_t *flat, const char *path, struct err *err)
{
    char where[640];
    char from[320];
    char number[32];
    const char *key;
    json_t *value;
    int rc = 0;

    (void)snprintf(from, sizeof from, "file %s", path);
    json_object_foreach(flat, key, value)
    {
        const struct setting *s = setting_find(key);
        const struct origin o = {.where = where, .from = from, .class = ERR_CONFIG};
        const char *text = scalar_text(value, number);

        place(path, key, where, sizeof where);
        if (s == NULL && strncmp(key, KAFKA_PREFIX, strlen(KAFKA_PREFIX)) != 0)
            rc = unknown(path, key, err);
        else if (text == NULL || !type_fits(s, value))
            rc = wrong_type(s, value, where, err);
        else
            rc = config_set(c, key, text, &o, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int config_file(struct config *c, const char *name, struct err *err)
{
    json_t *root = NULL;
    json_t *flat = json_object();
    struct buf b = {0};
    char path[PATH_SHOWN];
    json_error_t e;
    int rc;

    config_show_path(name, path);
    if (flat == NULL) {
        rc = err_set(err, ERR_NOMEM, "file %s: out of memory", path);
        goto out;
    }
    rc = config_read(name, FILE_MAX, &b, err);
    if (rc != 0) {
        rc = err_prefix(err, "file %s: cannot read it: ", path);
        goto out;
    }
    root = json_loadb(buf_cstr(&b), b.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (root == NULL) {
        rc = syntax_error(path, &e, err);
        goto out;
    }
    if (!json_is_object(root)) {
        rc = err_set(err, ERR_CONFIG, "file %s: %s is not allowed: an object of settings", path,
                     type_name(root));
        goto out;
    }
    rc = flatten(root, "", flat, path, err);
    if (rc == 0)
        rc = set_all(c, flat, path, err);
out:
    json_decref(root);
    json_decref(flat);
    if (b.data != NULL)
        explicit_bzero(b.data, b.cap);
    buf_free(&b);
    return rc;
}

/* OUTBOX_* and OUTBOX_*_FILE. A name that is no setting is refused, since it is most likely a
 * setting with a typo; but what Kubernetes puts there by itself is left alone. */
#include "ops/config_layers.h"

#include <stdio.h>
#include <string.h>

#define PREFIX "OUTBOX_"
#define KAFKA_VARIABLE "OUTBOX_KAFKA_"
#define FILE_SUFFIX "_FILE"
#define VALUE_FILE_MAX ((size_t)1 << 20)

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);
    size_t end_len = strlen(end);

    return len > end_len && strcmp(text + len - end_len, end) == 0;
}

/* Kubernetes gives each container variables for each Service of its namespace: one that is called
 * "outbox" or "outbox-relay" leaves OUTBOX_RELAY_SERVICE_HOST, OUTBOX_RELAY_PORT=tcp://...,
 * OUTBOX_RELAY_PORT_9478_TCP_ADDR and the like. */
static bool is_service_link(const char *name, const char *value)
{
    static const char *const protocols[] = {"_TCP", "_UDP", "_SCTP"};
    const char *port = NULL;

    if (ends_with(name, "_SERVICE_HOST") || ends_with(name, "_SERVICE_PORT") ||
        strstr(name, "_SERVICE_PORT_") != NULL)
        return true;
    if (ends_with(name, "_PORT") && strstr(value, "://") != NULL)
        return true;
    for (const char *p = strstr(name, "_PORT_"); p != NULL; p = strstr(p + 1, "_PORT_"))
        port = p + strlen("_PORT_");
    if (port == NULL || strspn(port, "0123456789") == 0)
        return false;
    port += strspn(port, "0123456789");
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++)
        if (strncmp(port, protocols[i], strlen(protocols[i])) == 0)
            return true;
    return false;
}

static int unknown(const char *name, struct err *err)
{
    return config_unknown("environment ", name, setting_variable, CONFIG_VARIABLE, ERR_CONFIG, err);
}

static void spell_file_variable(const char *key, char ret_name[SETTING_NAME_MAX])
{
    setting_variable(key, ret_name);
    strncat(ret_name, FILE_SUFFIX, SETTING_NAME_MAX - 1 - strlen(ret_name));
}

/* The key that a variable sets; false where there is none. */
static bool variable_key(const char *name, char ret_key[SETTING_NAME_MAX])
{
    const struct setting *s = setting_find_variable(name);
    size_t n = strlen(KAFKA_PREFIX);

    if (s != NULL) {
        (void)snprintf(ret_key, SETTING_NAME_MAX, "%s", s->key);
        return true;
    }
    if (strncmp(name, KAFKA_VARIABLE, strlen(KAFKA_VARIABLE)) != 0 || !config_name_plain(name))
        return false;
    memcpy(ret_key, KAFKA_PREFIX, n);
    for (const char *p = name + strlen(KAFKA_VARIABLE); *p != '\0'; p++) {
        if (*p == '_')
            ret_key[n++] = '.';
        else if (*p >= 'A' && *p <= 'Z')
            ret_key[n++] = (char)(*p - 'A' + 'a');
        else /* a lower-case letter is a mistake that config_set names */
            ret_key[n++] = (char)(*p >= '0' && *p <= '9' ? *p : '?');
    }
    ret_key[n] = '\0';
    return true;
}

static bool is_set(char *const *environ_, const char *name, size_t len)
{
    for (; *environ_ != NULL; environ_++)
        if (strncmp(*environ_, name, len) == 0 && (*environ_)[len] == '=')
            return true;
    return false;
}

/* One line break at the end is the editor's, not the value's. */
static void cut_line_break(struct buf *b)
{
    if (b->len == 0 || b->data[b->len - 1] != '\n')
        return;
    b->len--;
    if (b->len > 0 && b->data[b->len - 1] == '\r')
        b->len--;
}

static int set_from_file(struct config *c, const char *key, const char *path,
                         const struct origin *o, struct err *err)
{
    struct buf b = {0};
    char shown[PATH_SHOWN];
    const char *value;
    int rc = config_read(path, VALUE_FILE_MAX, &b, err);

    config_show_path(path, shown);
    if (rc != 0) {
        rc = err_prefix(err, "%s: cannot read %s: ", o->where, shown);
        goto out;
    }
    if (memchr(buf_cstr(&b), '\0', b.len) != NULL) {
        rc = err_set(err, ERR_CONFIG, "%s: %s holds a NUL byte", o->where, shown);
        goto out;
    }
    cut_line_break(&b);
    value = buf_cstr(&b);
    rc = config_set(c, key, value, o, err);
out:
    if (b.data != NULL)
        explicit_bzero(b.data, b.cap);
    buf_free(&b);
    return rc;
}

static int set_variable(struct config *c, const char *name, const char *value,
                        char *const *environ_, struct err *err)
{
    char where[SETTING_NAME_MAX + 16];
    char key[SETTING_NAME_MAX];
    char base[SETTING_NAME_MAX];
    struct origin o = {.where = where, .from = where, .class = ERR_CONFIG};
    size_t base_len = strlen(name) - strlen(FILE_SUFFIX);

    (void)snprintf(where, sizeof where, "environment %s", name);
    if (!ends_with(name, FILE_SUFFIX)) {
        if (!variable_key(name, key))
            return unknown(name, err);
        return config_set(c, key, value, &o, err);
    }
    (void)snprintf(base, sizeof base, "%.*s", (int)base_len, name);
    if (!variable_key(base, key))
        return config_unknown("environment ", name, spell_file_variable, NULL, ERR_CONFIG, err);
    if (is_set(environ_, name, base_len))
        return err_set(err, ERR_CONFIG, "%s: %s is set too; set one of them", where, base);
    o.hide = true;
    return set_from_file(c, key, value, &o, err);
}

int config_env(struct config *c, char *const *environ_, struct err *err)
{
    char name[SETTING_NAME_MAX];
    int rc = 0;

    for (char *const *e = environ_; e != NULL && *e != NULL && rc == 0; e++) {
        const char *equals = strchr(*e, '=');
        size_t len = equals != NULL ? (size_t)(equals - *e) : 0;

        if (strncmp(*e, PREFIX, strlen(PREFIX)) != 0 || len < strlen(PREFIX))
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)len, *e);
        if (len >= sizeof name)
            return unknown(name, err);
        if (strcmp(name, CONFIG_VARIABLE) != 0 && !is_service_link(name, equals + 1))
            rc = set_variable(c, name, equals + 1, environ_, err);
    }
    return rc;
}

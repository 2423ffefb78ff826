/* `config print` and the settings part of `--help`, both out of the table. */
#include "ops/config_layers.h"
#include "ops/escape.h"

#include <jansson.h>
#include <string.h>

/* The value of the i-th setting, kafka.* behind the table's, safe to show. */
static void shown_value(const struct config *c, size_t i, struct buf *b)
{
    const struct kafka_property *p;

    if (i < SETTINGS) {
        const struct setting *s = &setting_table[i];
        struct buf uri = {0};
        const char *text;

        setting_text(s, c, s->secret ? &uri : b);
        text = s->secret ? buf_cstr(&uri) : NULL;
        if (text != NULL)
            config_redact_uri(text, b);
        b->failed = b->failed || (s->secret && text == NULL);
        buf_free(&uri);
        return;
    }
    p = &c->kafka[i - SETTINGS];
    if (config_is_secret(p->name))
        buf_printf(b, "(hidden)");
    else
        buf_append(b, p->value, strlen(p->value));
}

static const char *key_of(const struct config *c, size_t i, struct buf *b)
{
    buf_reset(b);
    if (i < SETTINGS)
        buf_printf(b, "%s", setting_table[i].key);
    else
        buf_printf(b, KAFKA_PREFIX "%s", c->kafka[i - SETTINGS].name);
    return buf_cstr(b);
}

static const char *from_of(const struct config *c, size_t i)
{
    return i < SETTINGS ? c->sources->from[i] : c->kafka[i - SETTINGS].from;
}

static int print_text(FILE *out, const char *key, const char *value, const char *from,
                      struct err *err)
{
    int rc = 0;
    struct buf b = {0};
    const char *shown;

    escape_text(&b, value, strlen(value));
    buf_printf(&b, "  (");
    escape_text(&b, from, strlen(from));
    shown = buf_cstr(&b);
    if (shown == NULL)
        rc = err_set(err, ERR_NOMEM, "settings: out of memory");
    else
        (void)fprintf(out, "%s = %s%s)\n", key, *value == '\0' ? "\"\"" : "", shown);
    buf_free(&b);
    return rc;
}

int config_print(const struct config *c, FILE *out, bool json, struct err *err)
{
    json_t *all = json_object();
    struct buf key = {0};
    struct buf value = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < SETTINGS + c->nkafka; i++) {
        const char *name = key_of(c, i, &key);
        const char *text;

        buf_reset(&value);
        shown_value(c, i, &value);
        text = buf_cstr(&value);
        if (name == NULL || text == NULL) {
            rc = err_set(err, ERR_NOMEM, "settings: out of memory");
            goto out;
        }
        if (!json) {
            rc = print_text(out, name, text, from_of(c, i), err);
        } else {
            const char *from = from_of(c, i);
            json_t *both = json_pack("{s:s%,s:s}", "value", text, value.len, "from", from);

            /* What is not UTF-8 has no JSON string. */
            if (both == NULL)
                both = json_pack("{s:s,s:s}", "value", "(not UTF-8)", "from", from);
            if (json_object_set_new(all, name, both) != 0)
                rc = err_set(err, ERR_NOMEM, "settings: out of memory");
        }
    }
    if (rc == 0 && json && (json_dumpf(all, out, JSON_INDENT(2)) != 0 || fputc('\n', out) == EOF))
        rc = err_set(err, ERR_INTERNAL, "settings: cannot write them");
out:
    json_decref(all);
    buf_free(&key);
    buf_free(&value);
    return rc;
}

static void help_line(FILE *out, const char *flag, const char *help, const char *allowed)
{
    (void)fprintf(out, "  %s\n      %s\n      %s\n", flag, help, allowed);
}

int config_help(FILE *out, struct err *err)
{
    char flag[SETTING_NAME_MAX];
    struct buf b = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < SETTINGS; i++) {
        const struct setting *s = &setting_table[i];
        const char *allowed;

        buf_reset(&b);
        setting_allowed(s, &b);
        buf_printf(&b, "; default: %s", *s->default_text != '\0' ? s->default_text : "empty");
        allowed = buf_cstr(&b);
        setting_flag(s->key, flag);
        if (allowed == NULL)
            rc = err_set(err, ERR_NOMEM, "settings: out of memory");
        else
            help_line(out, flag, s->help, allowed);
    }
    help_line(out, "--kafka-bootstrap-servers", "The brokers, as host:port,host:port.",
              "required; no default");
    help_line(out, "--kafka-NAME",
              "Any other property of librdkafka: --kafka-sasl-username is sasl.username.",
              "checked by librdkafka; those that would break a guarantee are refused");
    buf_free(&b);
    return rc;
}

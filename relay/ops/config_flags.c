/* --setting value and --setting=value. By hand, since --kafka-* is open-ended and abbreviations, as
 * getopt_long takes them, would change their meaning with each new setting. */
#include "ops/config_layers.h"

#include <stdio.h>
#include <string.h>

#define KAFKA_FLAG "--kafka-"

bool config_flag_takes_next(const char *flag, const char *next)
{
    return strncmp(flag, "--", 2) == 0 && strchr(flag, '=') == NULL && next != NULL &&
           strncmp(next, "--", 2) != 0;
}

/* The key that a flag sets, "config" for the file; false where there is none. */
static bool flag_key(const char *flag, char ret_key[SETTING_NAME_MAX])
{
    const struct setting *s = setting_find_flag(flag);
    size_t n = strlen(KAFKA_PREFIX);

    if (s != NULL || strcmp(flag, "--config") == 0) {
        (void)snprintf(ret_key, SETTING_NAME_MAX, "%s", s != NULL ? s->key : "config");
        return true;
    }
    if (strncmp(flag, KAFKA_FLAG, strlen(KAFKA_FLAG)) != 0 || strlen(flag) >= SETTING_NAME_MAX ||
        !config_name_plain(flag))
        return false;
    memcpy(ret_key, KAFKA_PREFIX, n);
    for (const char *p = flag + strlen(KAFKA_FLAG); *p != '\0'; p++)
        ret_key[n++] = (char)(*p == '-' ? '.' : *p);
    ret_key[n] = '\0';
    return true;
}

/* Splits argv[*at] (and the next one) and moves *at behind them. */
static int next_flag(int argc, char *const *argv, int *at, char ret_flag[SETTING_NAME_MAX],
                     const char **ret_value, struct err *err)
{
    const char *arg = argv[*at];
    const char *next = *at + 1 < argc ? argv[*at + 1] : NULL;
    const char *equals = strchr(arg, '=');
    size_t len = equals != NULL ? (size_t)(equals - arg) : strlen(arg);

    if (strncmp(arg, "--", 2) != 0)
        return err_set(err, ERR_USAGE,
                       "an argument is not expected here: settings are given as "
                       "--setting value or --setting=value");
    if (len >= SETTING_NAME_MAX)
        len = SETTING_NAME_MAX - 1;
    memcpy(ret_flag, arg, len);
    ret_flag[len] = '\0';
    *ret_value = equals != NULL ? equals + 1 : NULL;
    if (config_flag_takes_next(arg, next)) {
        *ret_value = next;
        (*at)++;
    }
    (*at)++;
    return 0;
}

int config_flags(struct config *c, int argc, char *const *argv, const char **ret_file,
                 struct err *err)
{
    char flag[SETTING_NAME_MAX] = {0};
    char where[SETTING_NAME_MAX + 16];
    char key[SETTING_NAME_MAX];
    const char *value = NULL;
    int rc = 0;

    for (int at = 1; at < argc && rc == 0;) {
        const struct origin o = {.where = where, .from = where, .class = ERR_USAGE};

        rc = next_flag(argc, argv, &at, flag, &value, err);
        if (rc != 0)
            break;
        if (!flag_key(flag, key))
            return config_unknown("flag ", flag, setting_flag, "--config", ERR_USAGE, err);
        if (value == NULL)
            return err_set(err, ERR_USAGE,
                           "flag %s: a value is missing (%s=VALUE where it starts with --)", flag,
                           flag);
        (void)snprintf(where, sizeof where, "flag %s", flag);
        if (strcmp(key, "config") == 0)
            *ret_file = value;
        else if (c != NULL)
            rc = config_set(c, key, value, &o, err);
    }
    return rc;
}

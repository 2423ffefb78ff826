/*
 * A connection string as `config print` shows it. libpq says what the passwords in it are. A
 * character that stands in them, and nowhere else in the whole of it, must not be shown.
 */
#include "fuzz.h"

#include "ops/config_layers.h"

#include <libpq-fe.h>

static size_t count(const char *text, char c)
{
    size_t n = 0;

    for (; text != NULL && *text != '\0'; text++)
        n += *text == c;
    return n;
}

static bool is_password(const PQconninfoOption *o)
{
    return strstr(o->keyword, "password") != NULL;
}

/* Counts c in the passwords, and in all other values. */
static void count_in(const PQconninfoOption *options, char c, size_t *ret_in, size_t *ret_beside)
{
    *ret_in = *ret_beside = 0;
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
        *(is_password(o) ? ret_in : ret_beside) += count(o->val, c);
}

/* Percent signs hide what is what, and a value that is given twice is seen once. */
static void hides_passwords(const char *uri, const char *shown, const PQconninfoOption *options)
{
    if (strchr(uri, '%') != NULL)
        return;
    for (char c = '!'; c < '\x7f'; c++) {
        size_t in;
        size_t beside;

        count_in(options, c, &in, &beside);
        if (c != '*' && in > 0 && beside == 0 && count(uri, c) == in)
            CHECK(strchr(shown, c) == NULL);
    }
}

static bool same_value(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* What is shown still reads, and each value is what it was, or hidden. */
static void tells_the_rest(const char *shown, const PQconninfoOption *options)
{
    PQconninfoOption *own = PQconninfoParse(shown, NULL);

    CHECK(own != NULL);
    for (size_t i = 0; options[i].keyword != NULL; i++) {
        CHECK(strcmp(options[i].keyword, own[i].keyword) == 0);
        CHECK(same_value(own[i].val, options[i].val) ||
              (own[i].val != NULL && strcmp(own[i].val, "***") == 0));
    }
    PQconninfoFree(own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *uri = string_of((struct slice){data, size});
    struct buf b = {0};
    PQconninfoOption *options = PQconninfoParse(uri, NULL);
    const char *shown;

    buf_append(&b, "kept ", 5);
    config_redact_uri(uri, &b);
    shown = buf_cstr(&b);
    CHECK(shown != NULL && strlen(shown) == b.len && strncmp(shown, "kept ", 5) == 0);
    shown += 5;
    if (options != NULL && strcmp(shown, "(hidden)") != 0) {
        hides_passwords(uri, shown, options);
        tells_the_rest(shown, options);
    }
    PQconninfoFree(options);
    buf_free(&b);
    free(uri);
    return 0;
}

/* The text of the headers column. What is taken has to be an object for jansson too, with the same
 * names and values; what is refused, none. */
#include "json_oracle.h"

#include "core/headers.h"
#include "core/json_scan.h"
#include "core/value_text.h"

static bool is_named(const struct header *h, const char *name, size_t len)
{
    return h->name.len == len && memcmp(h->name.data, name, len) == 0;
}

static void same_value(const struct header *h, json_t *value)
{
    json_error_t e;
    json_t *own;

    if (json_is_string(value)) {
        CHECK(is_text(h->value, value));
        return;
    }
    CHECK((h->value.data == NULL) == json_is_null(value));
    if (h->value.data == NULL)
        return;
    own = load(h->value, 0, &e);
    CHECK(own != NULL && json_equal(own, value));
    json_decref(own);
}

/* Of a name that comes more than once jansson keeps the last value. */
static void same_names(const struct headers *h, json_t *object)
{
    size_t distinct = 0;

    for (size_t i = 0; i < h->n; i++) {
        const struct slice name = h->list[i].name;
        size_t later = i + 1;

        while (later < h->n && !is_named(&h->list[later], (const char *)name.data, name.len))
            later++;
        if (later < h->n)
            continue;
        distinct++;
        /* A name without a NUL, or jansson would not have taken it. */
        same_value(&h->list[i], json_object_getn(object, (const char *)name.data, name.len));
    }
    CHECK(distinct == json_object_size(object));
}

static void judge(const struct headers *h, struct slice json, int rc, const struct err *err)
{
    json_error_t e;
    json_t *value = load(json, 0, &e);

    if (rc == 0) {
        CHECK(value != NULL || differs(&e));
        CHECK(value == NULL || json_is_object(value) || json_is_null(value));
        if (json_is_object(value))
            same_names(h, value);
        CHECK(is_json(json));
    } else if (json_is_object(value)) {
        CHECK(strstr(err->message, "nested too deeply") != NULL);
    }
    json_decref(value);
}

static int parse(struct headers *h, struct slice json, struct err *err)
{
    int rc;

    *err = (struct err){ERR_NONE, ""};
    headers_reset(h);
    rc = headers_add_json(h, json, err);
    for (size_t i = 0; i < h->n; i++) {
        touch(h->list[i].name);
        touch(h->list[i].value);
        CHECK(h->list[i].name.data != NULL);
    }
    if (rc != 0) {
        check_err(rc, err);
        CHECK(err->class == ERR_ROW);
    }
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char first[] = "{\"a\\n\":\"b\\n\"}";
    struct slice json = exact((struct slice){data, size});
    struct headers h = {0};
    struct err err;
    int rc;

    /* In memory that an earlier event's headers were in. */
    CHECK(parse(&h, (struct slice){first, sizeof first - 1}, &err) == 0);
    rc = parse(&h, json, &err);
    /* The database has checked that it is UTF-8, so that is not looked at again. */
    if (text_utf8(json) == json.len)
        judge(&h, json, rc, &err);
    headers_free(&h);
    free_slice(json);
    return 0;
}

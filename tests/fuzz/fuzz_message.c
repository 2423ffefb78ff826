/*
 * The content of a logical message. jansson reads it too: what is taken is an object of columns,
 * each once, with the values that jansson sees; what is refused for its form is no JSON; and an
 * object of plain columns is never refused.
 */
#include "json_oracle.h"

#include "core/message.h"

#include <ctype.h>
#include <time.h>

static const struct message_origin origin = {0x16B3748, 7412345678901234567U, 1700000000123456};

/* -- what was taken ---------------------------------------------------------------------------- */

/* A column that is a string, or null. */
static void same_text(struct slice s, const json_t *value)
{
    CHECK((s.data == NULL) == (value == NULL || json_is_null(value)));
    CHECK(s.data == NULL || is_text(s, value));
}

/* Any value, which goes out as written. */
static void same_raw(struct slice s, json_t *value)
{
    json_error_t e;
    json_t *own;

    CHECK((s.data == NULL) == (value == NULL || json_is_null(value)));
    if (s.data == NULL)
        return;
    own = load(s, 0, &e);
    CHECK(own != NULL && json_equal(own, value));
    json_decref(own);
}

static void same_base64(struct slice bytes, const json_t *value)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct buf b = {0};

    CHECK((bytes.data == NULL) == (value == NULL || json_is_null(value)));
    if (bytes.data == NULL)
        return;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t bits = 0;

        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < n ? bytes.data[i + k] : 0U);
        for (size_t k = 0; k < 4; k++)
            buf_append(&b, k <= n ? &digits[bits >> (18 - 6 * k) & 63] : "=", 1);
    }
    CHECK(json_string_length(value) == b.len);
    CHECK(b.len == 0 || memcmp(json_string_value(value), b.data, b.len) == 0);
    buf_free(&b);
}

static void same_id(const unsigned char id[EVENT_ID_LEN], const json_t *value)
{
    char text[EVENT_ID_TEXT];

    event_id_text(id, text);
    if (value == NULL || json_is_null(value))
        CHECK(text[14] == '8'); /* derived: of version 8 */
    else
        CHECK(strcasecmp(text, json_string_value(value)) == 0);
}

static void same_partition(const struct event *e, const json_t *value)
{
    CHECK(e->has_partition == (value != NULL && !json_is_null(value)));
    CHECK(!e->has_partition || (double)e->partition == json_real_value(value));
}

/* By the C library's calendar. */
static void same_time(int64_t us, const json_t *value)
{
    const char *text = json_string_value(value);
    struct tm tm = {0};
    struct tm back;
    const char *rest;
    int64_t want;
    time_t seconds;

    if (text == NULL) {
        CHECK(us == origin.committed_us);
        return;
    }
    rest = strptime(text, text[10] == 'T' ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm);
    CHECK(rest != NULL);
    seconds = timegm(&tm);
    CHECK(gmtime_r(&seconds, &back) != NULL && back.tm_mday == tm.tm_mday);
    want = (int64_t)seconds * 1000000;
    if (*rest == '.') {
        int64_t unit = 100000;

        for (rest++; isdigit((unsigned char)*rest); rest++, unit /= 10)
            want += (*rest - '0') * unit;
    }
    if (*rest != 'Z')
        want += (*rest == '-' ? INT64_C(60000000) : -INT64_C(60000000)) *
                (strtol(rest + 1, NULL, 10) * 60 + strtol(rest + 4, NULL, 10));
    CHECK(us == want);
}

static void same_event(const struct event *e, json_t *object)
{
    json_t *id = json_object_get(object, "aggregateid");

    same_text(e->aggregatetype, json_object_get(object, "aggregatetype"));
    if (json_is_number(id))
        same_raw(e->aggregateid, id);
    else
        same_text(e->aggregateid, id);
    same_text(e->type, json_object_get(object, "type"));
    same_text(e->topic, json_object_get(object, "topic"));
    same_raw(e->payload, json_object_get(object, "payload"));
    same_raw(e->headers, json_object_get(object, "headers"));
    CHECK(e->headers.data == NULL || json_is_object(json_object_get(object, "headers")));
    same_base64(e->payload_bytes, json_object_get(object, "payload_bytes"));
    same_id(e->id, json_object_get(object, "id"));
    same_partition(e, json_object_get(object, "partition"));
    same_time(e->created_us, json_object_get(object, "created_at"));
    CHECK(e->aggregatetype.data != NULL && e->aggregateid.data != NULL && e->type.data != NULL);
}

static bool is_within(size_t at, struct slice s, struct slice content)
{
    return s.data != NULL && at > (size_t)(s.data - content.data) &&
           at <= (size_t)(s.data - content.data) + s.len;
}

/* Columns are named once; inside of their values names are nobody's business. */
static void names_columns_once(struct slice content, const struct event *e)
{
    json_error_t error;
    json_t *object = load(content, JSON_REJECT_DUPLICATES, &error);

    if (object == NULL && json_error_code(&error) == json_error_duplicate_key)
        CHECK(is_within((size_t)error.position, e->payload, content) ||
              is_within((size_t)error.position, e->headers, content));
    json_decref(object);
}

static void check_taken(struct slice content, const struct event *e)
{
    json_error_t error;
    json_t *object = load(content, 0, &error);

    CHECK(object != NULL || differs(&error));
    if (object != NULL)
        same_event(e, object);
    CHECK(is_json(content));
    CHECK(e->payload.data == NULL || is_json(e->payload));
    names_columns_once(content, e);
    json_decref(object);
}

/* -- what was refused -------------------------------------------------------------------------- */

static bool is_plain_text(const json_t *value)
{
    return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

/* Does nothing stand in it that only we have an opinion of? */
static bool is_plain(json_t *object)
{
    static const char *const columns[] = {"aggregatetype", "aggregateid", "type",
                                          "payload",       "headers",     "topic"};
    json_t *topic = json_object_get(object, "topic");
    json_t *headers = json_object_get(object, "headers");
    json_t *id = json_object_get(object, "aggregateid");
    size_t known = 0;

    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        known += json_object_get(object, columns[i]) != NULL;
    return known == json_object_size(object) &&
           is_plain_text(json_object_get(object, "aggregatetype")) &&
           is_plain_text(json_object_get(object, "type")) &&
           (is_plain_text(id) || json_is_number(id)) &&
           (topic == NULL || json_is_null(topic) || is_plain_text(topic)) &&
           (headers == NULL || json_is_null(headers) || json_is_object(headers));
}

static void check_refused(struct slice content, const struct err *err)
{
    bool of_form = strstr(err->message, "its content holds ") == err->message ||
                   strstr(err->message, "its content is not UTF-8") == err->message;
    bool deep = strstr(err->message, "nested too deeply") != NULL;
    json_error_t e;
    json_t *value = load(content, 0, &e);
    json_t *unique = load(content, JSON_REJECT_DUPLICATES, &e);

    CHECK(strstr(err->message, "its ") == err->message ||
          strstr(err->message, "it has both ") == err->message);
    CHECK(!of_form || deep || value == NULL || !json_is_object(value));
    CHECK(deep || !json_is_object(unique) || !is_plain(unique));
    json_decref(value);
    json_decref(unique);
}

/* ---------------------------------------------------------------------------------------------- */

static void touch_event(const struct event *e)
{
    const struct slice slices[] = {e->aggregatetype, e->aggregateid, e->type, e->payload,
                                   e->payload_bytes, e->headers,     e->topic};

    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++)
        touch(slices[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char first[] =
        "{\"aggregatetype\":\"a\\n\",\"aggregateid\":\"b\\n\",\"type\":\"c\\n\"}";
    struct slice content = exact((struct slice){data, size});
    struct message m = {0};
    struct event e;
    struct err err = {ERR_NONE, ""};
    int rc;

    /* In memory that an earlier message was in. */
    CHECK(message_event(&m, (struct slice){first, sizeof first - 1}, &origin, &e, &err) == 0);
    rc = message_event(&m, content, &origin, &e, &err);
    if (rc == 0) {
        touch_event(&e);
        check_taken(content, &e);
    } else {
        check_err(rc, &err);
        CHECK(err.class == ERR_ROW);
        check_refused(content, &err);
    }
    message_free(&m);
    free_slice(content);
    return 0;
}

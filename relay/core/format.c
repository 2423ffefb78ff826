#include "core/format.h"

#include <stdlib.h>
#include <string.h>

struct format {
    struct route *route;
    const struct columns *columns; /* NULL: the schema's own */
    char *type_header;             /* "": none */
    size_t type_header_len;
    struct headers headers;
};

/* With an additional one of the same name the built-in one would say it twice. */
static bool sends_type(const struct format_options *options)
{
    for (uint32_t i = 0; options->columns != NULL && i < options->columns->nadditional; i++)
        if (strcmp(options->columns->additional[i].header, options->type_header) == 0)
            return false;
    return true;
}

int format_new(struct format **ret, const struct format_options *options, struct err *err)
{
    struct format *f = calloc(1, sizeof *f);
    int rc;

    if (f == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    f->columns = options->columns;
    f->type_header = strdup(sends_type(options) ? options->type_header : "");
    if (f->type_header == NULL) {
        free(f);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    f->type_header_len = strlen(f->type_header);
    rc = route_new(&f->route, options->route, err);
    if (rc != 0) {
        format_free(f);
        return rc;
    }
    *ret = f;
    return 0;
}

void format_free(struct format *f)
{
    if (f == NULL)
        return;
    route_free(f->route);
    headers_free(&f->headers);
    free(f->type_header);
    free(f);
}

static int check_values(const struct event *e, struct err *err)
{
    if (e->payload.data != NULL && e->payload_bytes.data != NULL)
        return err_set(err, ERR_ROW, "it has both a payload and payload_bytes; set one of them");
    if (e->has_partition && e->partition < 0)
        return err_set(err, ERR_ROW, "its partition is negative");
    /* Kafka has no times before 1970; librdkafka takes 0 for "now". */
    if (e->created_us <= 0 || e->created_us == EVENT_TIME_MAX)
        return err_set(err, ERR_ROW,
                       "its created_at is infinite or not after 1970, which no Kafka timestamp can "
                       "say");
    return 0;
}

static struct slice text(const char *s, size_t len)
{
    return (struct slice){(const unsigned char *)s, len};
}

static int build_headers(struct format *f, const struct event *e, const struct record *r,
                         struct err *err)
{
    int rc;

    headers_reset(&f->headers);
    rc = headers_add(&f->headers, text("id", 2), text(r->id, EVENT_ID_TEXT - 1), err);
    if (rc == 0 && f->type_header_len > 0 && e->type.data != NULL)
        rc = headers_add(&f->headers, text(f->type_header, f->type_header_len), e->type, err);
    for (uint32_t i = 0; rc == 0 && i < e->nadditional; i++) {
        const char *name = f->columns->additional[i].header;

        rc = headers_add(&f->headers, text(name, strlen(name)), e->additional[i], err);
    }
    if (rc == 0 && e->headers.data != NULL)
        rc = headers_add_json(&f->headers, e->headers, err);
    return rc;
}

void format_topic_raw(const struct format *f, const struct event *e, struct buf *b)
{
    route_raw(f->route, e, b);
}

void format_topic_sql(const struct format *f, struct buf *b)
{
    route_sql(f->route, b);
}

int format_event(struct format *f, const struct event *e, struct record *ret, struct err *err)
{
    uint64_t bytes;
    int rc;

    event_id_text(e->id, ret->id);
    rc = check_values(e, err);
    if (rc == 0)
        rc = route_apply(f->route, e, ret->topic, &ret->topic_len, err);
    if (rc == 0)
        rc = build_headers(f, e, ret, err);
    if (rc != 0)
        return rc;
    ret->partition = e->has_partition ? e->partition : EVENT_PARTITION_ANY;
    ret->key = e->aggregateid;
    ret->value = e->payload.data != NULL ? e->payload : e->payload_bytes;
    ret->timestamp_ms = e->created_us / 1000;
    if (ret->timestamp_ms == 0)
        ret->timestamp_ms = 1;
    ret->headers = f->headers.list;
    ret->nheaders = f->headers.n;
    bytes = ret->key.len + ret->value.len;
    for (size_t i = 0; i < ret->nheaders; i++)
        bytes += ret->headers[i].name.len + ret->headers[i].value.len;
    ret->bytes = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
    return 0;
}

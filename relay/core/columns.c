#include "core/columns.h"

#include "core/value_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    bool optional;
} kinds[COLUMN_KINDS] = {
    [COLUMN_SEQ] = {"seq", false},
    [COLUMN_ID] = {"id", false},
    [COLUMN_XID] = {"xid", false},
    [COLUMN_AGGREGATETYPE] = {"aggregatetype", true},
    [COLUMN_AGGREGATEID] = {"aggregateid", false},
    [COLUMN_TYPE] = {"type", true},
    [COLUMN_PAYLOAD] = {"payload", true},
    [COLUMN_PAYLOAD_BYTES] = {"payload_bytes", true},
    [COLUMN_HEADERS] = {"headers", true},
    [COLUMN_TOPIC] = {"topic", true},
    [COLUMN_PARTITION] = {"partition", true},
    [COLUMN_CREATED_AT] = {"created_at", false},
    [COLUMN_PUBLISHED_AT] = {"published_at", false},
};

const char *column_own_name(enum column_kind kind)
{
    return kinds[kind].name;
}

bool column_optional(enum column_kind kind)
{
    return kinds[kind].optional;
}

bool columns_has(const struct columns *c, enum column_kind kind)
{
    return c->names[kind].text[0] != '\0';
}

static void set_name(struct column_name *to, struct slice name, bool own)
{
    char *q = to->quoted;

    memcpy(to->text, name.data, name.len);
    to->text[name.len] = '\0';
    if (name.len == 0 || own) {
        memcpy(q, to->text, name.len + 1);
        return;
    }
    *q++ = '"';
    for (const char *p = to->text; *p != '\0'; p++) {
        if (*p == '"')
            *q++ = '"';
        *q++ = *p;
    }
    *q++ = '"';
    *q = '\0';
}

static struct slice slice_of(const char *text)
{
    return (struct slice){(const unsigned char *)text, strlen(text)};
}

static int set_names(struct columns *c, const char *const *names, struct err *err)
{
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++) {
        const char *name = names == NULL ? kinds[k].name : names[k];
        bool own = strcmp(name, kinds[k].name) == 0;

        if (strlen(name) > COLUMN_NAME_MAX)
            return err_set(err, ERR_CONFIG, "columns.%s: longer than %d bytes", kinds[k].name,
                           COLUMN_NAME_MAX);
        if (*name == '\0' && !kinds[k].optional)
            return err_set(err, ERR_CONFIG, "columns.%s: has to name a column", kinds[k].name);
        c->renamed = c->renamed || !own;
        set_name(&c->names[k], slice_of(name), own);
    }
    return 0;
}

/* ---- additional ---- */

/* What follows the first sep in *rest goes back into *rest, which is NULL where there is none. */
static struct slice cut(struct slice *rest, char sep)
{
    const unsigned char *at = memchr(rest->data, sep, rest->len);
    struct slice part = *rest;

    if (at == NULL) {
        *rest = (struct slice){NULL, 0};
        return part;
    }
    part.len = (size_t)(at - part.data);
    *rest = (struct slice){at + 1, rest->len - part.len - 1};
    return part;
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && (*s.data == ' ' || *s.data == '\t'))
        s = (struct slice){s.data + 1, s.len - 1};
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* In any case, as Debezium takes it. */
static bool is_word(struct slice s, const char *word)
{
    if (s.len != strlen(word))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if ((s.data[i] | 0x20) != word[i])
            return false;
    return true;
}

static int refuse(struct slice what, const char *why, struct err *err)
{
    char shown[TEXT_SHOWN + 1];

    text_show(what, shown);
    return err_set(err, ERR_CONFIG, "columns.additional: \"%s\" %s", shown, why);
}

/* It needs no escaping wherever it is written. */
static bool header_ok(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < 0x20 || s.data[i] == 0x7f || strchr("'\"\\", s.data[i]) != NULL)
            return false;
    return text_utf8(s) == s.len;
}

static int add_header(struct columns *c, struct slice column, struct slice header, struct err *err)
{
    struct additional_column *a = &c->additional[c->nadditional];

    if (c->nadditional == EVENT_ADDITIONAL_MAX)
        return err_set(err, ERR_CONFIG, "columns.additional: more than %d headers",
                       EVENT_ADDITIONAL_MAX);
    if (header.len == 0 || header.len >= sizeof a->header)
        return refuse(column, "has a header's name that is empty or longer than 127 bytes", err);
    if (!header_ok(header))
        return refuse(column,
                      "has a header's name with a quote, a backslash, a control character "
                      "or what is no UTF-8",
                      err);
    set_name(&a->name, column, false);
    memcpy(a->header, header.data, header.len);
    for (uint32_t i = 0; i < c->nadditional; i++)
        if (strcmp(c->additional[i].header, a->header) == 0)
            return refuse(header, "is the header of two columns", err);
    c->nadditional++;
    return 0;
}

static int set_partition(struct columns *c, struct slice column, struct err *err)
{
    struct column_name *to = &c->names[COLUMN_PARTITION];
    bool same = strlen(to->text) == column.len && memcmp(to->text, column.data, column.len) == 0;

    if (!same && to->text[0] != '\0' && strcmp(to->text, kinds[COLUMN_PARTITION].name) != 0)
        return refuse(column,
                      "is to be the partition, and columns.partition or an earlier entry "
                      "names another column: keep one of them",
                      err);
    if (!same)
        set_name(to, column, false);
    return 0;
}

static int add(struct columns *c, struct slice entry, struct err *err)
{
    struct slice rest = entry;
    struct slice column = trim(cut(&rest, ':'));
    struct slice placement = rest.data == NULL ? rest : trim(cut(&rest, ':'));
    bool aliased = rest.data != NULL;
    struct slice alias = aliased ? trim(rest) : column;

    if (column.len == 0 || column.len > COLUMN_NAME_MAX || placement.data == NULL)
        return refuse(entry, "is not column:header, column:header:NAME or column:partition", err);
    if (is_word(placement, "header"))
        return add_header(c, column, alias, err);
    if (is_word(placement, "partition"))
        return set_partition(c, column, err);
    if (is_word(placement, "envelope"))
        return refuse(entry,
                      "wants an envelope around the value, which is the payload as it "
                      "stands: place the column in a header",
                      err);
    return refuse(entry, "has a placement that is neither header nor partition", err);
}

static int set_additional(struct columns *c, const char *text, struct err *err)
{
    struct slice rest = slice_of(text);
    int rc = 0;

    if (trim(rest).len == 0)
        return 0;
    while (rc == 0 && rest.data != NULL)
        rc = add(c, trim(cut(&rest, ',')), err);
    c->renamed = c->renamed || c->nadditional > 0;
    return rc;
}

static void set_slots(struct columns *c)
{
    for (uint32_t i = 0; i < c->nadditional; i++) {
        struct additional_column *a = &c->additional[i];
        uint8_t slot = 0;

        while (slot < COLUMN_KINDS && strcmp(c->names[slot].text, a->name.text) != 0)
            slot++;
        for (uint32_t j = 0; slot == COLUMN_KINDS + j && j < i; j++)
            if (strcmp(c->additional[j].name.text, a->name.text) != 0)
                slot++;
        a->slot = slot;
    }
}

/* ---- all of them ---- */

static int check_names(const struct columns *c, struct err *err)
{
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++)
        for (enum column_kind j = 0; j < k && columns_has(c, k); j++)
            if (strcmp(c->names[j].text, c->names[k].text) == 0)
                return err_set(err, ERR_CONFIG,
                               "columns.%s and columns.%s both name \"%s\": set one of them to "
                               "another column%s",
                               kinds[j].name, kinds[k].name, c->names[k].text,
                               kinds[j].optional || kinds[k].optional ? ", or to nothing" : "");
    if (!columns_has(c, COLUMN_PAYLOAD) && !columns_has(c, COLUMN_PAYLOAD_BYTES))
        return err_set(err, ERR_CONFIG,
                       "columns.payload and columns.payload_bytes both name nothing, and no event "
                       "would have a value: set one of them");
    return 0;
}

int columns_new(struct columns **ret, const char *const names[COLUMN_KINDS], const char *additional,
                struct err *err)
{
    struct columns *c = calloc(1, sizeof *c);
    int rc;

    if (c == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    rc = set_names(c, names, err);
    if (rc == 0)
        rc = set_additional(c, additional, err);
    if (rc == 0)
        rc = check_names(c, err);
    if (rc != 0) {
        free(c);
        return rc;
    }
    set_slots(c);
    *ret = c;
    return 0;
}

/* ---- folded ---- */

static void json_string(struct buf *b, struct slice s)
{
    buf_append(b, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = s.data[i];

        if (c < 0x20)
            buf_printf(b, "\\u%04x", (unsigned)c);
        else if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else
            buf_append(b, &c, 1);
    }
    buf_append(b, "\"", 1);
}

static void members(const struct columns *c, const struct event *e, struct buf *b)
{
    for (uint32_t i = 0; i < e->nadditional; i++) {
        buf_printf(b, "%s\"%s\":", i > 0 ? "," : "", c->additional[i].header);
        if (e->additional[i].data == NULL)
            buf_printf(b, "null");
        else
            json_string(b, e->additional[i]);
    }
}

static struct slice skip_space(struct slice s)
{
    while (s.len > 0 && (*s.data == ' ' || *s.data == '\t' || *s.data == '\r' || *s.data == '\n'))
        s = (struct slice){s.data + 1, s.len - 1};
    return s;
}

static bool starts(struct slice s, const char *text)
{
    return s.len >= strlen(text) && memcmp(s.data, text, strlen(text)) == 0;
}

/* Behind its last brace there is nothing but space. */
static struct slice without_end(struct slice object)
{
    while (object.len > 0 && object.data[object.len - 1] != '}')
        object.len--;
    object.len -= object.len > 0;
    return object;
}

struct slice columns_folded_headers(const struct columns *c, const struct event *e, struct buf *b)
{
    struct slice own = skip_space(e->headers);
    struct slice inner = {NULL, 0};

    if (e->nadditional == 0)
        return e->headers;
    buf_reset(b);
    if (starts(own, "{"))
        inner = skip_space((struct slice){own.data + 1, own.len - 1});
    if (starts(own, COLUMN_COPY_BEGIN)) { /* it stays what a copy begins with */
        own = without_end(own);
        buf_append(b, own.data, own.len);
        buf_printf(b, ",");
        members(c, e, b);
        buf_printf(b, "}");
    } else if (inner.len > 0 && *inner.data != '}') {
        buf_printf(b, "{");
        members(c, e, b);
        buf_printf(b, ",");
        buf_append(b, inner.data, inner.len);
    } else {
        /* What is no object is refused for that, and kept for who corrects it. */
        bool odd = own.len > 0 && inner.data == NULL && !starts(own, "null");

        buf_printf(b, odd ? "[{" : "{");
        members(c, e, b);
        buf_printf(b, odd ? "}," : "}");
        if (odd) {
            buf_append(b, own.data, own.len);
            buf_printf(b, "]");
        }
    }
    return (struct slice){b->data, b->len};
}

#include "postgres/adopt.h"

#include <string.h>

static const struct adopt_column *find(const struct adopt_table *table, const char *name)
{
    for (size_t i = 0; i < table->ncolumns; i++)
        if (strcmp(table->columns[i].name, name) == 0)
            return &table->columns[i];
    return NULL;
}

static bool has_all(const struct adopt_table *table, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (find(table, names[i]) == NULL)
            return false;
    return true;
}

static enum adopt_shape shape_of(const struct adopt_table *table)
{
    static const char *const debezium[] = {"id", "aggregatetype", "aggregateid", "type", "payload"};
    static const char *const goharvest[] = {
        "id",          "create_time",       "kafka_topic",        "kafka_key",
        "kafka_value", "kafka_header_keys", "kafka_header_values"};

    if (has_all(table, goharvest, sizeof goharvest / sizeof *goharvest))
        return ADOPT_GOHARVEST;
    if (has_all(table, debezium, sizeof debezium / sizeof *debezium))
        return ADOPT_DEBEZIUM;
    return ADOPT_OTHER;
}

/* What a shape has under other names than the schema's; what is set wins. */
static const char *usual_name(const struct adopt_table *table, enum adopt_shape shape,
                              enum column_kind kind)
{
    static const char *const goharvest[COLUMN_KINDS] = {
        [COLUMN_SEQ] = "id",         [COLUMN_ID] = "event_id",
        [COLUMN_AGGREGATETYPE] = "", [COLUMN_AGGREGATEID] = "kafka_key",
        [COLUMN_TYPE] = "",          [COLUMN_PAYLOAD] = "kafka_value",
        [COLUMN_PAYLOAD_BYTES] = "", [COLUMN_TOPIC] = "kafka_topic",
        [COLUMN_PARTITION] = "",     [COLUMN_CREATED_AT] = "create_time",
    };
    const struct adopt_column *payload = find(table, "payload");
    bool bytes = payload != NULL && strcmp(payload->type, "bytea") == 0;

    if (shape == ADOPT_GOHARVEST && goharvest[kind] != NULL)
        return goharvest[kind];
    /* With Connect's ByteArrayConverter. */
    if (shape == ADOPT_DEBEZIUM && bytes && kind == COLUMN_PAYLOAD)
        return "";
    if (shape == ADOPT_DEBEZIUM && bytes && kind == COLUMN_PAYLOAD_BYTES)
        return "payload";
    return column_own_name(kind);
}

/* Each row has one of its own, which no default can give. */
static bool is_the_writers(enum column_kind kind)
{
    return kind == COLUMN_AGGREGATETYPE || kind == COLUMN_AGGREGATEID || kind == COLUMN_TYPE;
}

int adopt_plan(struct adopt_plan *ret, const struct adopt_table *table,
               const struct adopt_request *request, struct err *err)
{
    *ret = (struct adopt_plan){.shape = shape_of(table)};
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++) {
        const char *set = request->names[k];
        bool own = strcmp(set, column_own_name(k)) == 0;

        ret->names[k] = own ? usual_name(table, ret->shape, k) : set;
        ret->adds[k] = ret->names[k][0] != '\0' && find(table, ret->names[k]) == NULL;
        if (ret->adds[k] && is_the_writers(k))
            return err_set(err, ERR_CONFIG,
                           "table %s has no column \"%s\": name the one that holds %s in "
                           "columns.%s%s",
                           table->quoted, ret->names[k],
                           k == COLUMN_AGGREGATEID ? "the record's key" : "this",
                           column_own_name(k), column_optional(k) ? ", or set it to \"\"" : "");
    }
    return 0;
}

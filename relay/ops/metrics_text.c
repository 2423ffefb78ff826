/* The text format by hand: no C client library is kept up. */
#include "ops/metrics_text.h"

#include "ops/escape.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void metrics_family(struct buf *b, const char *name, enum metric_type type, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};

    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[type]);
}

/* The shortest text that reads back as the same number. */
static void number(double v, char ret_text[32])
{
    if (isnan(v)) {
        (void)snprintf(ret_text, 32, "NaN");
        return;
    }
    if (isinf(v)) {
        (void)snprintf(ret_text, 32, v > 0 ? "+Inf" : "-Inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(ret_text, 32, "%.*g", digits, v);
        if (strtod(ret_text, NULL) == v)
            return;
    }
}

static void sample(struct buf *b, const char *name, const char *suffix,
                   const struct metric_label *labels, const char *le, const char *value)
{
    const char *between = "{";

    buf_printf(b, "%s%s", name, suffix);
    for (; labels != NULL && labels->name != NULL; labels++) {
        buf_printf(b, "%s%s=\"", between, labels->name);
        escape_label(b, labels->value, strlen(labels->value));
        buf_append(b, "\"", 1);
        between = ",";
    }
    if (le != NULL)
        buf_printf(b, "%sle=\"%s\"", between, le);
    buf_printf(b, "%s %s\n", le != NULL || *between == ',' ? "}" : "", value);
}

void metrics_sample_u64(struct buf *b, const char *name, const struct metric_label *labels,
                        uint64_t value)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    sample(b, name, "", labels, NULL, text);
}

void metrics_sample_double(struct buf *b, const char *name, const struct metric_label *labels,
                           double value)
{
    char text[32];

    number(value, text);
    sample(b, name, "", labels, NULL, text);
}

void metrics_histogram(struct buf *b, const char *name, const struct metric_label *labels,
                       const double *bounds, const uint64_t *cumulative, size_t n, uint64_t count,
                       double sum)
{
    char bound[32];
    char text[32];

    for (size_t i = 0; i < n; i++) {
        number(bounds[i], bound);
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)cumulative[i]);
        sample(b, name, "_bucket", labels, bound, text);
    }
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)count);
    sample(b, name, "_bucket", labels, "+Inf", text);
    sample(b, name, "_count", labels, NULL, text);
    number(sum, text);
    sample(b, name, "_sum", labels, NULL, text);
}

/* A writer of the Prometheus text format (version 0.0.4). Samples of one family stand together,
 * behind its metrics_family. A failed allocation sticks in the buf. */
#ifndef OUTBOX_OPS_METRICS_TEXT_H
#define OUTBOX_OPS_METRICS_TEXT_H

#include "base/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_label {
    const char *name;  /* NULL ends an array of labels */
    const char *value; /* any text: it is escaped */
};

/* One label as an argument; labels may be NULL where there is none. */
#define METRIC_LABEL(n, v) ((const struct metric_label[]){{(n), (v)}, {NULL, NULL}})

/* HELP and TYPE: once a family, before its samples. help is one plain line. */
void metrics_family(struct buf *b, const char *name, enum metric_type type, const char *help);

void metrics_sample_u64(struct buf *b, const char *name, const struct metric_label *labels,
                        uint64_t value);
void metrics_sample_double(struct buf *b, const char *name, const struct metric_label *labels,
                           double value);

/* name_bucket, _sum and _count. bounds are n ascending upper bounds without +Inf, cumulative[i] the
 * observations <= bounds[i], count all of them. */
void metrics_histogram(struct buf *b, const char *name, const struct metric_label *labels,
                       const double *bounds, const uint64_t *cumulative, size_t n, uint64_t count,
                       double sum);

/* The process_* families, read from /proc; what cannot be read is left out. */
void metrics_process(struct buf *b);

#endif

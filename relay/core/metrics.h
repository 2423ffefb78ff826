/* Counters and the latency histogram; plain values, rendered elsewhere. */
#ifndef OUTBOX_CORE_METRICS_H
#define OUTBOX_CORE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#define METRICS_BUCKETS 20

/* Upper bounds in seconds, ascending; one more bucket, +Inf, follows. */
extern const double metrics_bounds[METRICS_BUCKETS];

struct histogram {
    uint64_t counts[METRICS_BUCKETS + 1]; /* not cumulative */
    uint64_t n;
    double sum;
};

void histogram_add(struct histogram *h, double seconds);

#endif

#include "core/metrics.h"

/* From under a millisecond (a good day) to hours (a long outage), about two a decade and more where
 * latencies usually lie. */
const double metrics_bounds[METRICS_BUCKETS] = {0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02,
                                                0.03,  0.05,  0.1,   0.2,   0.5,    1,    2,
                                                5,     10,    60,    300,   1800,   7200};

void histogram_add(struct histogram *h, double seconds)
{
    size_t i = 0;

    while (i < METRICS_BUCKETS && seconds > metrics_bounds[i])
        i++;
    h->counts[i]++;
    h->n++;
    h->sum += seconds;
}

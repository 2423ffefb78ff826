/* What the running relay says of itself, as findings. Private to cli/doctor*.c. */
#ifndef OUTBOX_CLI_DOCTOR_RELAY_H
#define OUTBOX_CLI_DOCTOR_RELAY_H

#include "core/finding.h"

struct doctor_relay_callbacks {
    finding_fn on_finding;
    /* A topic that is away, by its word. */
    void (*on_topic)(void *arg, const char *topic);
};

/* Asks the relay at http.listen, for a few seconds. That none answers is no more than a warning: it
 * may run elsewhere, and the lease says whether one does. */
void doctor_relay(const char *listen, const struct doctor_relay_callbacks *callbacks, void *arg);

#endif

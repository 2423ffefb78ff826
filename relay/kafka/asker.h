/*
 * Questions to the cluster off the loop: is a topic there, does any broker answer. librdkafka can
 * only be asked by a blocking call, so one worker at a time asks all that is pending, each for at
 * most a second: a producer that has to go never waits longer than that.
 */
#ifndef OUTBOX_KAFKA_ASKER_H
#define OUTBOX_KAFKA_ASKER_H

#include "base/err.h"
#include "kafka/producer.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct asker;

struct asker_callbacks {
    /* One a question by asker_topic; why as in sink.h. limit: the topic's max.message.bytes, 0
     * where it could not be learnt. */
    void (*on_topic)(void *arg, uint32_t topic, uint32_t limit, const struct err *why);
    /* A round is over. answered: some broker answered; else why says why not. */
    void (*on_round)(void *arg, bool answered, const struct err *why);
    /* No worker uses the producer any more; comes at the end of each round, as the last. */
    void (*on_idle)(void *arg);
};

/* names is borrowed for the life of the asker. The caller owns *ret: free() ends it before
 * asker_start, asker_close after. Errors: ERR_NOMEM. */
int asker_new(struct asker **ret, uv_loop_t *loop, const struct sink_topics *names,
              const struct asker_callbacks *callbacks, void *arg, struct err *err);

/* Opens its handle on the loop; cannot fail. */
void asker_start(struct asker *a);

/* The producer to ask by from the next round on; NULL: nobody is asked, and questions wait for
 * their time to run out. A round that is under way still uses the old one: see asker_busy. */
void asker_use(struct asker *a, struct producer *p);

/* True while a worker uses a producer; on_idle follows. */
bool asker_busy(const struct asker *a);

/* Asks for a topic; on_topic comes within timeout_ms and about a second. A question that is
 * pending already stays as it is. Errors: ERR_NOMEM. */
int asker_topic(struct asker *a, uint32_t topic, int timeout_ms, struct err *err);

/* Asks whether any broker answers; on_round follows unless there is no producer. */
void asker_alive(struct asker *a);

/* Not while busy. Pending questions get no answer. Frees a when its handle is closed, then calls
 * on_closed. */
void asker_close(struct asker *a, void (*on_closed)(void *arg), void *arg);

#endif

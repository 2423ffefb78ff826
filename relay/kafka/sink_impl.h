/* What sink.c (what is asked for, what stands) and sink_events.c (what the producer and the cluster
 * say) share; for no one else. */
#ifndef OUTBOX_KAFKA_SINK_IMPL_H
#define OUTBOX_KAFKA_SINK_IMPL_H

#include "kafka/asker.h"
#include "kafka/complaint.h"
#include "kafka/options.h"
#include "kafka/producer.h"
#include "kafka/sink.h"
#include "kafka/size_limit.h"
#include "kafka/topic_names.h"

enum goal { GOAL_RUN, GOAL_REBUILD, GOAL_DISCARD, GOAL_CLOSE };
enum reach { REACH_UNKNOWN, REACH_UP, REACH_DOWN };

struct sink {
    struct sink_callbacks callbacks;
    void *arg;
    uv_loop_t *loop;
    struct options options;
    struct sink_topics topics;
    struct size_limits limits;
    bool compresses;           /* so that sizes are the broker's to judge */
    struct producer *producer; /* NULL between two, and after a discard */
    struct asker *asker;
    uint32_t small_batches; /* so many confirmed records more, then batches grow again; 0: never */
    bool regrowing;         /* nothing is taken, and once nothing is in flight it is rebuilt */

    uv_async_t wake;
    uv_timer_t tick;
    uv_timer_t deadline; /* of a rebuild */
    int handles;         /* not closed yet, the asker among them */

    enum goal goal;
    bool rebuild_next; /* asked for while a discard is on its way */
    bool purged;       /* a rebuild has given up waiting for what is in flight */
    bool overdue;      /* ... and for the reports of the purge */

    uv_work_t work;
    bool working;
    struct producer *job_producer; /* in: to free; out: the new one */
    struct err job_err;
    int job_result;

    enum reach reach;
    uint64_t alive_at; /* uv_now of the last sign of life */
    int unanswered;
    uint64_t told_at;       /* uv_now of the last on_up(false) */
    struct complaint cause; /* librdkafka's last one since the cluster was up */
    struct complaint told;  /* ... that on_up(false) was given */

    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* Hands over what the producer's queue holds, up to a limit for one turn of the loop. */
void sink_drain(struct sink *s);

/* The end of a round of the asker: the cluster answered or not. */
void sink_heard(void *arg, bool answered, const struct err *why);

/* The tick: asks for a sign of life after too long a silence. */
void sink_listen(struct sink *s);

#endif

/* Events that cannot be published: on record, and told of. */
#include "relay_state.h"

#include "base/clock.h"
#include "ops/failure_topics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static enum failure_mode mode_of(const struct relay *r, const char *topic)
{
    switch (failure_policy_of(r->config, topic)) {
    case POLICY_PARK:
        return FAILURE_PARK;
    case POLICY_DEAD_LETTER:
        return FAILURE_DEAD;
    case POLICY_HALT:
        break;
    }
    return FAILURE_HALT;
}

/* Of the sink's topic. */
static enum failure_mode known_mode(struct relay *r, uint32_t topic)
{
    if (topic >= r->nfailure_modes) {
        uint32_t n = topic + 16;
        enum failure_mode *grown = realloc(r->failure_modes, n * sizeof *grown);

        if (grown == NULL)
            return mode_of(r, sink_topic_name(r->sink, topic));
        r->failure_modes = grown;
        while (r->nfailure_modes <= topic) {
            grown[r->nfailure_modes] = mode_of(r, sink_topic_name(r->sink, r->nfailure_modes));
            r->nfailure_modes++;
        }
    }
    return r->failure_modes[topic];
}

void relay_prepare_failure(struct relay *r, const struct event *event, const struct record *record,
                           struct ledger_item *item)
{
    struct slice topic;
    struct buf raw = {0};

    if (record != NULL) {
        topic = (struct slice){(const unsigned char *)record->topic, record->topic_len};
        item->failure = known_mode(r, item->topic);
    } else { /* its topic may be what is wrong with it */
        format_topic_raw(r->format, event, &raw);
        item->failure = mode_of(r, buf_cstr(&raw) != NULL ? buf_cstr(&raw) : "");
        topic = (struct slice){raw.data, raw.len};
    }
    if (r->facts.parked[0] != '\0')
        item->key = key_hash(r->key_seed, topic, event->aggregateid);
    buf_free(&raw);
}

static void out_of_memory(struct relay *r, const struct err *why)
{
    log_error(r->log, "relay", "%s", why->message);
    relay_fail(r, err_exit_code(why->class));
}

/* event: NULL where it is not at hand, or not needed. */
static void record(struct relay *r, const struct event *event, struct failure_request *request)
{
    struct buf routed = {0};
    struct err err;

    if (event != NULL && request->kind != FAILURE_ROW_PARKED && request->kind != FAILURE_ROW_DEAD) {
        format_topic_raw(r->format, event, &routed);
        request->event = event;
        request->lsn = r->wal_commit; /* 0 until the stream begins */
        request->routed = (struct slice){routed.data, routed.len};
    }
    if (failures_add(r->failures, request, &err) != 0)
        out_of_memory(r, &err);
    buf_free(&routed);
}

void relay_failed(struct relay *r, uint64_t tag, const struct ledger_item *item, const char *topic,
                  const struct err *why, const struct event *event)
{
    enum recording how = RECORDING_ROW;
    bool park = item->failure == FAILURE_PARK;
    char id[EVENT_ID_TEXT];
    struct log_field fields[] = {
        LOG_F_STR("event_id", id),
        LOG_F_INT("seq", item->seq),
        LOG_F_STR("topic", topic[0] != '\0' ? topic : NULL),
        LOG_F_INT("bytes", item->bytes),
    };

    (void)pipeline_recording(r->pipeline, tag, &how);
    park = park || how == RECORDING_AGAIN;
    event_id_text(item->id, id);
    log_write(r->log, LOG_ERROR, "relay", fields, sizeof fields / sizeof *fields,
              "event %s cannot be published: %s. It %s. See outbox-relay dead show %s", id,
              why->message,
              park ? "is parked, and later ones of its key wait behind it"
                   : "is moved to the dead, and later ones of its key go on",
              id);
    if (park)
        r->counters.parked++;
    else
        r->counters.dead++;
    record(r, how == RECORDING_AGAIN ? NULL : event,
           &(struct failure_request){
               .tag = tag,
               .kind = how == RECORDING_AGAIN ? FAILURE_AGAIN
                       : how == RECORDING_ROW ? (park ? FAILURE_ROW_PARKED : FAILURE_ROW_DEAD)
                       : park                 ? FAILURE_WHOLE_PARKED
                                              : FAILURE_WHOLE_DEAD,
               .seq = item->seq,
               .id = item->id,
               .class = err_class_name(why->class),
               .error = why->message,
               .to_come = how == RECORDING_LATER,
           });
}

void relay_behind(struct relay *r, uint64_t tag, const struct event *event)
{
    if (r->config->source_slot[0] == '\0')
        return; /* it waits in the table */
    record(r, event,
           &(struct failure_request){
               .tag = tag,
               .kind = FAILURE_WHOLE_PARKED,
               .seq = event->seq,
               .id = event->id,
               .class = "behind",
               .error = "it waits behind a parked event of its topic and key",
           });
}

void relay_failed_event(struct relay *r, uint64_t tag, const struct event *event)
{
    struct buf routed = {0};
    struct err err;

    format_topic_raw(r->format, event, &routed);
    if (failures_give(r->failures, tag, event, (struct slice){routed.data, routed.len},
                      r->wal_commit, &err) != 0)
        out_of_memory(r, &err);
    buf_free(&routed);
}

/* ---- answers ---- */

static void on_recorded(void *arg, uint64_t tag, bool gone)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    relay_work_done(r, WORK_FAILURES);
    pipeline_recorded(r->pipeline, now, tag, gone ? RECORD_GONE : RECORD_DONE);
    relay_pump(r, now);
}

static void on_error(void *arg, const struct err *why)
{
    struct relay *r = arg;

    r->list_wanted = true;
    if (why->class == ERR_FENCED)
        owner_check(r->owner);
    else
        relay_work_failed(r, WORK_FAILURES, clock_boot_ms(), why);
}

static void on_list_begin(void *arg)
{
    struct relay *r = arg;

    pipeline_parked_begin(r->pipeline);
}

static void on_list_key(void *arg, struct slice topic, struct slice key, bool goes)
{
    struct relay *r = arg;
    struct err err;

    if (pipeline_parked_key(r->pipeline, key_hash(r->key_seed, topic, key), goes, &err) != 0) {
        log_error(r->log, "relay", "%s", err.message);
        relay_fail(r, err_exit_code(err.class));
    }
}

static void on_list_end(void *arg)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();
    struct pipeline_view view;
    uint32_t released = pipeline_parked_end(r->pipeline, now);

    if (failures_pending(r->failures) == 0)
        relay_work_done(r, WORK_FAILURES);
    pipeline_view(r->pipeline, &view);
    if (released > 0)
        log_info(r->log, "relay",
                 "%" PRIu32 " keys wait no longer behind a parked event, %" PRIu32 " still do",
                 released, view.parked);
    relay_pump(r, now);
}

/* ---- life ---- */

/* What is parked is passed over whatever the policy is now. */
static bool lists(const struct relay *r)
{
    return r->facts.parked[0] != '\0' && (r->facts.queues || r->config->source_slot[0] == '\0');
}

/* The pipeline reads nothing before it knows. */
static void tell_parked(struct relay *r)
{
    if (lists(r)) {
        failures_list(r->failures);
        return;
    }
    pipeline_parked_begin(r->pipeline);
    (void)pipeline_parked_end(r->pipeline, clock_boot_ms());
}

void relay_failures_joined(struct relay *r)
{
    struct owner_view view;

    owner_view(r->owner, &view);
    if (!view.held)
        return;
    failures_connect(r->failures, control_conn(r->control), &r->facts, view.shard, view.epoch);
    r->owning = true;
    tell_parked(r);
}

void relay_failures_owned(struct relay *r, uint64_t epoch, bool continued)
{
    struct owner_view view;

    owner_view(r->owner, &view);
    if (!continued)
        failures_clear(r->failures);
    failures_connect(r->failures, control_conn(r->control), &r->facts, view.shard, epoch);
    r->owning = true;
    tell_parked(r);
}

void relay_failures_disowned(struct relay *r)
{
    r->owning = false;
    failures_pause(r->failures);
}

void relay_failures_lost(struct relay *r)
{
    r->owning = false;
    failures_connect(r->failures, NULL, &r->facts, 0, 0);
}

void relay_failures_look(struct relay *r)
{
    if (r->owning && lists(r))
        failures_list(r->failures);
}

void relay_failures_tick(struct relay *r)
{
    if (!r->owning)
        return;
    failures_send(r->failures);
    if (r->list_wanted) {
        r->list_wanted = false;
        relay_failures_look(r);
    }
}

int relay_failures_open(struct relay *r, struct err *err)
{
    static const struct failures_callbacks callbacks = {on_recorded, on_error, on_list_begin,
                                                        on_list_key, on_list_end};

    format_topic_sql(r->format, &r->topic_sql);
    if (buf_cstr(&r->topic_sql) == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    return failures_new(&r->failures, r->config->columns, buf_cstr(&r->topic_sql),
                        r->config->failure_dead_letter_topic, &callbacks, r, err);
}

void relay_failures_close(struct relay *r)
{
    failures_free(r->failures);
    free(r->failure_modes);
    buf_free(&r->topic_sql);
}

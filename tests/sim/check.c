/* The design's guarantees, held against what has just happened. Each check costs next to nothing,
 * so all are made after every step. */
#include "sim.h"

#include "core/pipeline_state.h"

#include <malloc.h>
#include <stdlib.h>

#define LOSS "1 no loss"
#define PHANTOM "2 no phantom"
#define ORDER "3 order"
#define FEW "4 few duplicates"
#define BOUNDED "5 bounded"
#define OWNER "one owner"
#define WAKE "wake-up"
#define LIVENESS "liveness"
#define POSITION "the stream's position"

/* Nothing takes longer than this to arrive, unless a connection is held up on purpose. */
static const int64_t wake_us = 200000;
static const int64_t calm_us_max = 400000000;
static const uint64_t calm_steps_max = 400000;
/* The core's memory may grow by no more than this within an episode: a few snapshots and lists. */
static const size_t heap_max = 1U << 18;

static int64_t wake_limit(const struct sim *s, bool backstop)
{
    return wake_us + (backstop ? s->cfg.options.poll_interval_ms * 1000 : 0);
}

void check_committed(struct sim *s, uint32_t row)
{
    sim_at(s, s->now + wake_limit(s, false), EV_WAKE_CHECK, 0, 0, row, 0);
    sim_at(s, s->now + wake_limit(s, true), EV_WAKE_CHECK, 0, 0, row, 1);
}

void check_wake(struct sim *s, uint32_t index, uint32_t backstop)
{
    const struct row *row = &s->srv.rows[index];
    int owner = s->srv.lease_owner;
    struct relay *r = owner == NOBODY ? NULL : &s->relays[owner];
    struct pipeline_view view;
    uint64_t held;

    if (s->cfg.named) /* nothing waits for a notification: how far the stream is tells */
        return;
    if (r == NULL || !r->alive || r->paused || r->ending || !s->srv.up || row->state != ROW_LIVE ||
        row->put_by != NOBODY || row->foreign || row->invalid || check_waits(r, index, row) ||
        row->committed_at + wake_limit(s, backstop != 0) != s->now)
        return;
    if (pipeline_topic_state(r->p, key_topic(row->key), &held) != TOPIC_READY ||
        r->conns[CONN_READ].to_relay > row->committed_at + wake_us / 2 || r->page_busy)
        return;
    pipeline_view(r->p, &view);
    if (!view.caught_up || r->healthy_since > row->committed_at)
        return;
    if (view.stream == STREAM_ON && row->end > r->stream.passed)
        return; /* its commit is not written out yet, or on its way */
    if (backstop != 0)
        sim_fail(s, WAKE, "a committed row is unread for longer than the poll interval", index,
                 row->seq, row->committed_at);
    /* A session that died without a word took the lock along: writers are silent until it is known.
     */
    if (s->cfg.notify && pipeline_asleep(r->p) && r->conns[CONN_WAKE].alive)
        sim_fail(s, WAKE, "asleep, with a committed row that no notification told of", index,
                 row->seq, row->committed_at);
}

void check_put(struct sim *s, struct relay *r, uint32_t index, uint32_t stream)
{
    struct row *row = &s->srv.rows[index];
    int who = relay_index(s, r);
    bool repeats;

    if (!row->committed)
        sim_fail(s, PHANTOM, "a row is put that never committed", index, row->seq, 0);
    repeats = check_repeats(s, r, row, stream);
    row->stream = stream;
    if (s->srv.lease_owner != who) {
        if (!r->zombie)
            sim_fail(s, OWNER, "a relay publishes that does not own the outbox", who,
                     s->srv.lease_owner, index);
        if (++r->zombie_puts > s->cfg.options.window_events)
            sim_fail(s, FEW, "a resumed relay puts more than a window", who, r->zombie_puts, 0);
        return;
    }
    /* A restored row's column names another transaction than its own, so that a page may give what
     * the next one, or the stream, gives as well. */
    if (row->put_by != NOBODY && !(row->foreign && stream != 0) && !repeats)
        sim_fail(s, FEW, "a row is put again, and nothing has happened that explains it", index,
                 row->seq, row->put_by);
    row->put_by = (int8_t)who;
    row->put_reported = row->certain = false;
    row->owner_gen = r->gen;
}

/* What is streamed comes in the order of the log, whoever wrote it; what a named slot streams, by
 * all of its streams together. */
static void check_log_order(struct sim *s, uint32_t index)
{
    const struct row *row = &s->srv.rows[index];
    uint32_t *place = &s->brk.stream_place[row->key];

    if (!check_owed(s, index) || row->stream == 0)
        return;
    if ((s->brk.stream_of[row->key] == row->stream || s->cfg.named) && row->place < *place)
        sim_fail(s, ORDER, "a row comes behind one of its key that is behind it in the log", index,
                 row->place, *place);
    s->brk.stream_of[row->key] = row->stream;
    *place = row->place;
}

void check_append(struct sim *s, int who, uint32_t index, bool zombie)
{
    struct row *row = &s->srv.rows[index];

    sim_note(s, " append", index, row->seq, who);
    if (!row->committed)
        sim_fail(s, PHANTOM, "Kafka has a row that never committed", index, row->seq, 0);
    if (s->srv.lease_owner != who && s->srv.lease_owner != NOBODY && !zombie)
        sim_fail(s, OWNER, "a record is sent for a relay that owns the outbox no more", who,
                 s->srv.lease_owner, index);
    /* One that was deleted before it was published may still come from an owner of before. */
    check_parked(s, index, zombie);
    if (row->persisted == 0 && row->order > 0 && check_owed(s, index)) {
        if (row->order < s->brk.first_order[row->key])
            sim_fail(s, ORDER, "a row comes behind a later one of its key", index, row->order,
                     s->brk.first_order[row->key]);
        s->brk.first_order[row->key] = row->order;
    }
    if (row->persisted == 0)
        check_log_order(s, index);
    if (row->persisted > 0 && s->cfg.fault_us == 0 && s->cfg.invalid_pm == 0 && !s->cfg.fails &&
        !row->foreign)
        sim_fail(s, FEW, "a duplicate, and there was no fault at all", index, row->seq,
                 row->stream);
    if (row->persisted > 0)
        s->totals.duplicates++;
    if (row->persisted < UINT8_MAX)
        row->persisted++;
}

/* The stream passes over what somebody has put, and over what waits for its topic. */
void check_passed(struct sim *s, struct relay *r, uint32_t index)
{
    const struct row *row = &s->srv.rows[index];
    uint64_t held;

    if ((row->state != ROW_LIVE && !s->cfg.named) || row->put_by != NOBODY || row->foreign ||
        row->invalid || check_waits(r, index, row) || s->srv.lease_owner != relay_index(s, r) ||
        r->lease.epoch != s->srv.lease_epoch ||
        pipeline_topic_state(r->p, key_topic(row->key), &held) != TOPIC_READY)
        return;
    sim_fail(s, LOSS, "the stream passes over a row that nobody has put", index, row->seq,
             row->committed_at);
}

/* What may be confirmed: never beyond a streamed row that is not acknowledged yet, never back. */
static void check_checkpoint(struct sim *s, struct relay *r, const struct pipeline_view *view)
{
    uint64_t lsn = pipeline_checkpoint(r->p);
    const struct server *v = &s->srv;
    int who = relay_index(s, r);

    if (view->stream != STREAM_ON && view->stream != STREAM_SEAM)
        r->stream.checkpoint = 0;
    else if (lsn < r->stream.checkpoint)
        sim_fail(s, POSITION, "it goes backwards", (int64_t)lsn, (int64_t)r->stream.checkpoint,
                 who);
    if (lsn == r->stream.checkpoint)
        return;
    r->stream.checkpoint = lsn;
    if (s->cfg.named)
        check_stored(s, r, lsn);
    if (lsn > r->stream.told)
        sim_fail(s, POSITION, "it is beyond what was streamed", (int64_t)lsn,
                 (int64_t)r->stream.told, who);
    for (uint32_t i = 0; i < v->ntable; i++) {
        const struct row *row = &v->rows[v->table[i]];

        if (row->put_by == who && row->owner_gen == r->gen && row->end <= lsn && !row->foreign &&
            (row->stream == r->stream.number || s->cfg.named))
            sim_fail(s, POSITION, "it is beyond a row that was not acknowledged", (int64_t)lsn,
                     v->table[i], (int64_t)row->end);
    }
}

void check_delete(struct sim *s, const struct relay *r, uint32_t index)
{
    const struct row *row = &s->srv.rows[index];

    if (row->persisted == 0)
        sim_fail(s, LOSS, "a row is acknowledged that Kafka has not", index, row->seq,
                 relay_index(s, r));
}

void check_read(struct sim *s, struct relay *r)
{
    if (r->page_busy)
        sim_fail(s, BOUNDED, "a second read while one is on its way", relay_index(s, r), 0, 0);
}

void check_excuse(struct sim *s, struct relay *r, bool reported_too)
{
    struct server *v = &s->srv;
    int8_t who = (int8_t)relay_index(s, r);
    uint32_t n = 0;

    /* Of a named slot's events few have rows; those that are certain are held no more. */
    for (uint32_t i = 0; i < (s->cfg.named ? v->nrows : v->ntable); i++) {
        struct row *row = &v->rows[s->cfg.named ? i : v->table[i]];

        if (row->put_by != who || (!reported_too && row->put_reported))
            continue;
        n += !row->certain;
        row->put_by = NOBODY;
    }
    if (n > s->cfg.options.window_events)
        sim_fail(s, FEW, "one fault, and more than a window may come twice", n,
                 s->cfg.options.window_events, who);
    r->healthy_since = INT64_MAX;
}

/* Whether the relay could have read all the time, so that a row left unread is its fault. */
static bool healthy(const struct sim *s, const struct relay *r, const struct pipeline_view *view)
{
    return view->owned && view->parked_known && view->source_up && view->kafka_up &&
           view->sink_ready && !r->paused && r->conns[CONN_READ].alive &&
           pipeline_stopping(r->p) == STOP_NONE &&
           view->inflight_events <= s->cfg.options.window_events / 2 &&
           view->inflight_bytes <= s->cfg.options.window_bytes / 2;
}

void check_relay(struct sim *s, struct relay *r)
{
    struct pipeline_view view;
    bool asleep;

    if (!r->alive || r->ending)
        return;
    pipeline_view(r->p, &view);
    if (view.inflight_events > s->cfg.options.window_events)
        sim_fail(s, BOUNDED, "more events in flight than the window", view.inflight_events, 0, 0);
    if (view.inflight_bytes > s->cfg.options.window_bytes && view.sent > 1)
        sim_fail(s, BOUNDED, "more bytes in flight than the window", (int64_t)view.inflight_bytes,
                 view.sent, 0);
    if (r->prod.alive && view.sent > r->prod.outstanding && !r->prod.fatal)
        sim_fail(s, LIVENESS, "a report is awaited that will not come", view.sent,
                 r->prod.outstanding, 0);
    if (view.strays > 0 && !s->foreign_made && !s->stream_late)
        sim_fail(s, LOSS, "a sweep found a row that reading should have", (int64_t)view.strays, 0,
                 0);
    if (s->cfg.stream)
        check_checkpoint(s, r, &view);
    if (!healthy(s, r, &view))
        r->healthy_since = INT64_MAX;
    else if (r->healthy_since == INT64_MAX)
        r->healthy_since = s->now;
    asleep = pipeline_asleep(r->p);
    if (asleep && r->asleep_since == INT64_MAX)
        s->totals.sleeps++;
    r->asleep_since = !asleep ? INT64_MAX : r->asleep_since == INT64_MAX ? s->now : r->asleep_since;
}

static void check_memory(struct sim *s)
{
    size_t used = mallinfo2().uordblks;

    if (s->heap_base == 0)
        s->heap_base = used;
    if (used > s->heap_base + heap_max + s->cfg.options.window_events * 512)
        sim_fail(s, BOUNDED, "the core's memory grows", (int64_t)s->heap_base, (int64_t)used, 0);
}

/* A sweep is put off by what the last one took, and in a storm its pages come slowly. */
static int64_t calm_limit(struct sim *s)
{
    for (int i = 0; i < RELAYS; i++)
        if (s->relays[i].alive && s->relays[i].p->sweep_took > s->calm_took)
            s->calm_took = s->relays[i].p->sweep_took;
    return calm_us_max + 20 * s->calm_took * 1000;
}

void check_step(struct sim *s)
{
    if (s->steps % 512 == 0)
        check_memory(s);
    if (!s->calm)
        return;
    s->calm_steps++;
    if (s->now > s->calm_since + calm_limit(s) || s->calm_steps > calm_steps_max)
        sim_fail(s, LIVENESS, "without faults, and still not all has flowed", s->srv.ntable,
                 (int64_t)s->calm_steps, s->now - s->calm_since);
}

bool check_rest(struct sim *s)
{
    struct server *v = &s->srv;
    struct relay *r = v->lease_owner == NOBODY ? NULL : &s->relays[v->lease_owner];
    struct pipeline_view view;

    if (r == NULL || !r->alive || r->paused || r->ending || !world_idle(s))
        return false;
    pipeline_view(r->p, &view);
    if (view.inflight_events > 0 || !view.owned || !view.caught_up ||
        (s->cfg.notify && view.stream != STREAM_ON && !pipeline_asleep(r->p)))
        return false;
    if (s->cfg.stream && (view.stream != STREAM_ON || pipeline_checkpoint(r->p) < s->calm_lsn))
        return false;
    if (s->cfg.named && pipeline_checkpoint(r->p) < v->named.placed[v->places].end)
        return false;
    for (uint32_t i = 0; i < v->nrows; i++)
        if (check_owed(s, i) && v->rows[i].persisted == 0 && !check_taken_out(&v->rows[i]))
            sim_fail(s, LOSS, "all is at rest, and a committed row was never published", i,
                     v->rows[i].seq, v->rows[i].committed_at);
    s->totals.strays += view.strays;
    return true;
}

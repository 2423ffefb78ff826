#include "core/sleeper.h"

/* Between two reads while awake: short enough for a latency of a few ms ... */
static const int64_t busy_gap_ms = 1;
/* ... and the longer the more rows each one finds, so that under a heavy load reads, requests and
 * acknowledgements share their cost, and leave the processors to the writers. */
static const uint32_t rows_per_ms = 8;
static const int64_t busy_gap_max_ms = 30;
/* Without rows for so long before sleeping: a steady trickle must not take and give the lock all
 * the time, yet one that is slower than that is better told of by its writers than looked for. */
static const int64_t linger_ms = 5;
/* Many writers commit in bursts, a flush of the disk apart, and should they have to notify, they
 * could not share that flush. */
static const int64_t linger_busy_ms = 20;
/* The most between two reads while writers from before the question are open: they notify nobody,
 * and with one that stays open for long nothing but these reads finds what the others wrote. */
static const int64_t asking_gap_max_ms = 500;

static void schedule(struct sleeper *s, int64_t at)
{
    s->next_read_at = at;
}

static void awake(struct sleeper *s)
{
    s->state = SLEEP_AWAKE;
    s->confirming = false;
    s->gap_ms = busy_gap_ms;
    s->idle_since = -1;
}

struct sleeper sleeper_of(int64_t poll_interval_ms)
{
    struct sleeper s = {.poll_interval_ms = poll_interval_ms};

    awake(&s);
    return s;
}

void sleeper_set_notify(struct sleeper *s, int64_t now, bool can_notify)
{
    s->can_notify = can_notify;
    awake(s);
    schedule(s, now);
}

void sleeper_wake(struct sleeper *s, int64_t now)
{
    awake(s);
    if (s->next_read_at > now)
        schedule(s, now);
}

void sleeper_suspend(struct sleeper *s, int64_t now)
{
    if (s->state != SLEEP_AWAKE)
        sleeper_wake(s, now);
}

void sleeper_granted(struct sleeper *s, int64_t now)
{
    if (s->state != SLEEP_ASKING)
        return;
    s->state = SLEEP_CONFIRMING;
    s->confirming = false;
    schedule(s, now);
}

void sleeper_lock_lost(struct sleeper *s, int64_t now)
{
    if (s->state == SLEEP_CONFIRMING || s->state == SLEEP_ASLEEP)
        sleeper_wake(s, now);
}

void sleeper_read_sent(struct sleeper *s)
{
    s->confirming = s->state == SLEEP_CONFIRMING;
}

/* Nothing was found: ask for the lock once that has lasted, then wait longer each time. */
static void found_nothing(struct sleeper *s, int64_t now)
{
    int64_t most = s->poll_interval_ms;
    int64_t linger = s->busy ? linger_busy_ms : linger_ms;

    if (s->idle_since < 0)
        s->idle_since = now;
    if (s->state == SLEEP_CONFIRMING) {
        if (s->confirming) {
            s->state = SLEEP_ASLEEP;
            schedule(s, now + s->poll_interval_ms);
        } else {
            schedule(s, now); /* sent before the grant: once more */
        }
        return;
    }
    if (s->state == SLEEP_ASLEEP) {
        schedule(s, now + s->poll_interval_ms);
        return;
    }
    if (s->state == SLEEP_AWAKE && s->can_notify && now - s->idle_since >= linger)
        s->state = SLEEP_ASKING;
    schedule(s, now + s->gap_ms);
    if (s->state == SLEEP_AWAKE && s->can_notify)
        return;
    if (s->state == SLEEP_ASKING && most > asking_gap_max_ms)
        most = asking_gap_max_ms;
    s->gap_ms = s->gap_ms * 2 < most ? s->gap_ms * 2 : most;
}

void sleeper_read_done(struct sleeper *s, int64_t now, uint32_t rows)
{
    int64_t gap;

    if (rows == 0) {
        found_nothing(s, now);
        return;
    }
    awake(s);
    gap = rows / rows_per_ms;
    s->busy = gap > 0;
    if (gap < busy_gap_ms)
        gap = busy_gap_ms;
    schedule(s, now + (gap < busy_gap_max_ms ? gap : busy_gap_max_ms));
}

bool sleeper_wants_lock(const struct sleeper *s)
{
    return s->state != SLEEP_AWAKE;
}

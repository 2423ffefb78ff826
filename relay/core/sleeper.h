/*
 * When to read next, and when to sleep until a writer notifies. Writers notify only while the relay
 * holds, or waits for, the exclusive wake-up lock (a shared try behind a waiting exclusive fails),
 * so the order is: ask for the lock; read at growing intervals while writers from before are still
 * open; once granted read once more; sleep. Awake the lock is given back, and nobody pays for a
 * notification.
 */
#ifndef OUTBOX_CORE_SLEEPER_H
#define OUTBOX_CORE_SLEEPER_H

#include <stdbool.h>
#include <stdint.h>

enum sleep_state {
    SLEEP_AWAKE,
    SLEEP_ASKING,     /* the lock is asked for, not granted */
    SLEEP_CONFIRMING, /* granted; the read that makes sure is still to come or on its way */
    SLEEP_ASLEEP,
};

struct sleeper {
    enum sleep_state state;
    bool can_notify; /* a notification has been proved to arrive */
    bool confirming; /* the round that is being read began after the grant */
    bool busy;       /* the last read that found rows found many */
    int64_t poll_interval_ms;
    int64_t gap_ms;     /* between reads that find nothing; grows */
    int64_t idle_since; /* when reads began to find nothing, -1 while they find something */
    int64_t next_read_at;
};

struct sleeper sleeper_of(int64_t poll_interval_ms);
/* Whether notifications arrive was (again) found out. */
void sleeper_set_notify(struct sleeper *s, int64_t now, bool can_notify);
/* A notification came, or something else makes new rows likely: read now. */
void sleeper_wake(struct sleeper *s, int64_t now);
/* Nothing can be read for now (standby, full window, no Kafka): hold no lock. */
void sleeper_suspend(struct sleeper *s, int64_t now);
void sleeper_granted(struct sleeper *s, int64_t now);
/* The lock's connection died, or the wait timed out. Lost counts as a wake-up. */
void sleeper_lock_lost(struct sleeper *s, int64_t now);
/* The first page of a round goes out: from here on the round no longer sees what commits. */
void sleeper_read_sent(struct sleeper *s);
/* A read round ended; rows is how many it found. */
void sleeper_read_done(struct sleeper *s, int64_t now, uint32_t rows);
bool sleeper_wants_lock(const struct sleeper *s);

#endif

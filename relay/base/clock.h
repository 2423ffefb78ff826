/* The two clocks: one that never steps and counts suspended time, and the calendar. */
#ifndef OUTBOX_BASE_CLOCK_H
#define OUTBOX_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds of CLOCK_BOOTTIME: what leases are judged by, since it runs on through a suspend. */
int64_t clock_boot_ms(void);

/* Milliseconds since 1970 of CLOCK_REALTIME: only to compare with an event's created_at. */
int64_t clock_wall_ms(void);

#endif

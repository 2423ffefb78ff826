/* systemd's readiness protocol; all of it does nothing where libsystemd was not found or
 * NOTIFY_SOCKET is unset. */
#ifndef OUTBOX_OPS_NOTIFY_H
#define OUTBOX_OPS_NOTIFY_H

#include <stdint.h>

/* Once: a start that waits for it goes on. */
void notify_ready(void);
/* It ends by itself within so many milliseconds, also where the unit's own TimeoutStopSec is less.
 */
void notify_stopping(int64_t within_ms);
/* One line for `systemctl status`. */
void notify_status(const char *text);
/* Milliseconds between watchdog pings that the unit asks for (half its limit), 0 for none. */
int64_t notify_watchdog_interval_ms(void);
/* To be called from the loop, so that one that hangs is ended. */
void notify_watchdog(void);

#endif

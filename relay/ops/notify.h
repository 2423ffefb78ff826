/* systemd's readiness protocol; all of it does nothing where libsystemd was not found or
 * NOTIFY_SOCKET is unset. */
#ifndef OUTBOX_OPS_NOTIFY_H
#define OUTBOX_OPS_NOTIFY_H

#include <stdint.h>

void notify_ready(void);
void notify_stopping(void);
/* One line for `systemctl status`. */
void notify_status(const char *text);
/* Milliseconds between watchdog pings that the unit asks for (half its limit), 0 for none. */
int64_t notify_watchdog_interval_ms(void);
void notify_watchdog(void);

#endif

/* sd_notify, where libsystemd was found at build time. Failures are ignored: a unit that does not
 * listen is no reason to stop. */
#include "ops/notify.h"

#ifdef HAVE_SYSTEMD

#include <inttypes.h>
#include <systemd/sd-daemon.h>

void notify_ready(void)
{
    (void)sd_notify(0, "READY=1");
}

void notify_stopping(int64_t within_ms)
{
    (void)sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64, within_ms * 1000);
}

void notify_status(const char *text)
{
    /* A line break would start another field of the protocol. */
    char line[512];
    size_t n = 0;

    for (; text[n] != '\0' && n < sizeof line - 1; n++)
        line[n] = text[n] == '\n' ? ' ' : text[n];
    line[n] = '\0';
    (void)sd_notifyf(0, "STATUS=%s", line);
}

int64_t notify_watchdog_interval_ms(void)
{
    uint64_t limit_us = 0;
    int64_t half_ms;

    if (sd_watchdog_enabled(0, &limit_us) <= 0)
        return 0;
    half_ms = (int64_t)(limit_us / 2000);
    return half_ms > 0 ? half_ms : 1;
}

void notify_watchdog(void)
{
    (void)sd_notify(0, "WATCHDOG=1");
}

#else

void notify_ready(void)
{
}

void notify_stopping(int64_t within_ms)
{
    (void)within_ms;
}

void notify_status(const char *text)
{
    (void)text;
}

int64_t notify_watchdog_interval_ms(void)
{
    return 0;
}

void notify_watchdog(void)
{
}

#endif

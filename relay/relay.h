/* The relay as a whole: what `run` runs. */
#ifndef OUTBOX_RELAY_H
#define OUTBOX_RELAY_H

#include "base/err.h"
#include "ops/config.h"
#include "ops/log.h"

/* Reads the configuration anew for SIGHUP; the caller's, since it knows the command line. */
typedef int (*relay_reload_fn)(void *arg, struct config **ret, struct err *err);

/* Runs until it is told to stop, or has to. Returns the process's exit code; has logged why. */
int relay_run(const struct config *config, struct log *log, relay_reload_fn reload, void *arg);

#endif

/* What `check` says of logical decoding, where it would be used, and what its --fix makes. */
#ifndef OUTBOX_CLI_CHECK_SLOT_H
#define OUTBOX_CLI_CHECK_SLOT_H

#include "ops/config.h"
#include "postgres/inspect.h"

/* One finding: ERR_NONE, or what is wrong. */
typedef void (*check_slot_fn)(void *arg, enum err_class class, const char *message);

/* Looks, on a loop of its own. fix: source.slot and its publication are made where they are missing
 * and no relay owns the outbox. */
void check_slot(const struct config *config, const struct pg_facts *facts, bool fix,
                check_slot_fn result, void *arg);

#endif

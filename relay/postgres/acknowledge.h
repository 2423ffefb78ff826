/* Acknowledgements: one statement a batch that deletes or marks rows, only while the lease still
 * has our epoch. */
#ifndef OUTBOX_POSTGRES_ACKNOWLEDGE_H
#define OUTBOX_POSTGRES_ACKNOWLEDGE_H

#include "core/ledger.h"
#include "postgres/conn.h"
#include "postgres/inspect.h"

struct acknowledger;

enum acknowledge_result {
    ACKNOWLEDGE_DONE,
    ACKNOWLEDGE_FENCED, /* the lease has another epoch: nothing was deleted */
    ACKNOWLEDGE_FAILED, /* why says how; nothing was deleted */
};

/* The caller owns *ret; acknowledger_free after the connection was closed. ERR_NOMEM. */
int acknowledger_new(struct acknowledger **ret, bool mark,
                     void (*on_result)(void *arg, uint32_t batch, enum acknowledge_result result,
                                       const struct err *why),
                     void *arg, struct err *err);
void acknowledger_free(struct acknowledger *a);

/* Sends one batch on conn (pipelined); its arrays are not needed after the call. No answer comes if
 * the connection is lost: the owner of conn knows, and calls acknowledger_lost. ERR_NOMEM. */
int acknowledger_send(struct acknowledger *a, struct pg_conn *conn, const struct pg_facts *facts,
                      int shard, uint64_t epoch, const struct ledger_batch *batch, struct err *err);
void acknowledger_lost(struct acknowledger *a);

#endif

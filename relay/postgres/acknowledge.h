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
    ACKNOWLEDGE_FAILED, /* why says how, ERR_CONFIG where another table has taken the name; nothing
                         * was deleted */
    ACKNOWLEDGE_PARTLY, /* fewer rows were there than it named */
};

/* snapshot: of the statement, with ACKNOWLEDGE_PARTLY; borrowed. */
typedef void (*acknowledge_fn)(void *arg, uint32_t batch, enum acknowledge_result result,
                               const struct slice *snapshot, const struct err *why);

/* The caller owns *ret; acknowledger_free after the connection was closed. ERR_NOMEM. */
int acknowledger_new(struct acknowledger **ret, bool mark, acknowledge_fn on_result, void *arg,
                     struct err *err);
void acknowledger_free(struct acknowledger *a);

/* Sends one batch on conn (pipelined); its arrays are not needed after the call. Of a streamed one
 * the rows are counted, since they may not be visible yet. position: of the named slot, stored in
 * the lease with it; 0: none. Without rows it alone is stored. No answer comes if the connection is
 * lost: the owner of conn knows, and calls acknowledger_lost. ERR_NOMEM. */
int acknowledger_send(struct acknowledger *a, struct pg_conn *conn, const struct pg_facts *facts,
                      int shard, uint64_t epoch, const struct ledger_batch *batch,
                      uint64_t position, struct err *err);
void acknowledger_lost(struct acknowledger *a);

#endif

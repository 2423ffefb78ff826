/*
 * An event without a table: a transactional logical message,
 * pg_logical_emit_message(true, 'outbox', content), whose content is one JSON object (RFC 8259).
 * Nobody but us checks it: the server takes any text, and hands it over in the database's own
 * encoding, which has to be UTF-8. Pure.
 */
#ifndef OUTBOX_CORE_MESSAGE_H
#define OUTBOX_CORE_MESSAGE_H

#include "base/err.h"
#include "core/event.h"

struct message_origin {
    uint64_t lsn;         /* of the message itself, not of its transaction's commit */
    uint64_t system_id;   /* as IDENTIFY_SYSTEM and pg_control_system() say */
    int64_t committed_us; /* microseconds since 1970 */
};

/* Grows as needed and is used again for each message; a zeroed struct, then message_free. */
struct message {
    struct buf scratch; /* unescaped and decoded values */
};

/*
 * The object's names are the outbox table's columns; null is as good as absent:
 *
 *     aggregatetype  string, required
 *     aggregateid    string or number (its text), required
 *     type           string, required
 *     id             string: a uuid's 36 characters; else derived
 *     payload        any value, which goes out as written, to the byte
 *     payload_bytes  string: base64 (RFC 4648) with its padding and without line breaks
 *     headers        object; headers_add_json looks into it
 *     topic          string
 *     partition      integer
 *     created_at     string: YYYY-MM-DDTHH:MM:SS[.ffffff](Z|+HH:MM|-HH:MM), or a space for the T;
 *                    else the time of the commit
 *
 * A derived id is a uuid of version 8 (RFC 9562) made of the system identifier and the low 58 bits
 * of the message's LSN: the same whenever this WAL is read, and of no other message. Only a
 * failover or restore that loses WAL which has been read gives its LSNs away again.
 *
 * The slices of *ret point into content and m, valid until the next call; its seq and xid are 0.
 * ERR_ROW says what is wrong and at which byte, from 1, without the content, except for a name that
 * is no column; ERR_NOMEM. *ret means nothing then.
 */
int message_event(struct message *m, struct slice content, const struct message_origin *origin,
                  struct event *ret, struct err *err);
void message_free(struct message *m);

#endif

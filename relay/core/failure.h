/* What a delivery report says, by what has to happen next, the classes of the design; and what
 * becomes of an event that is at fault itself. */
#ifndef OUTBOX_CORE_FAILURE_H
#define OUTBOX_CORE_FAILURE_H

enum delivery {
    DELIVERY_OK,      /* persisted: may be acknowledged */
    DELIVERY_ROW,     /* refused for the event's own sake, not persisted */
    DELIVERY_TOPIC,   /* its topic is unknown or not authorised, not persisted */
    DELIVERY_CLUSTER, /* the cluster refuses; perhaps persisted */
    DELIVERY_LOST,    /* purged, or its producer died: perhaps persisted, has to be read again */
};

enum failure_mode {
    FAILURE_HALT,
    FAILURE_PARK, /* it stays, and later ones of its topic and key wait behind it */
    FAILURE_DEAD, /* it is moved away, and later ones go on */
};

#endif

/*
 * What librdkafka's error codes mean to the relay: one table of class and remedy. A code that is
 * not in it counts as the cluster's fault, so that nothing unknown is ever taken for the row's.
 */
#ifndef OUTBOX_KAFKA_KAFKA_ERROR_H
#define OUTBOX_KAFKA_KAFKA_ERROR_H

#include "base/err.h"
#include "core/failure.h"

#include <librdkafka/rdkafka.h>

/* What a delivery report with this code asks for; RD_KAFKA_RESP_ERR_NO_ERROR is DELIVERY_OK. */
enum delivery kafka_error_delivery(rd_kafka_resp_err_t code);

/* The class of an error that says the same. */
enum err_class kafka_error_class(rd_kafka_resp_err_t code);

/* What an operator can do about it; static storage, NULL where there is nothing to advise. */
const char *kafka_error_remedy(rd_kafka_resp_err_t code);

/* Fills err with the code's class and "where: detail; remedy". detail NULL: librdkafka's own text.
 * Returns -class. */
int kafka_error_set(struct err *err, rd_kafka_resp_err_t code, const char *where,
                    const char *detail);

#endif

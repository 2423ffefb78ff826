/*
 * failure.topics: "PATTERN=POLICY, ...", of which the first that fits a topic decides; * and ? as
 * in a shell (fnmatch). What none fits has failure.policy.
 */
#ifndef OUTBOX_OPS_FAILURE_TOPICS_H
#define OUTBOX_OPS_FAILURE_TOPICS_H

#include "ops/config.h"

/* Of a topic's name (Kafka source, Topic.java). */
#define TOPIC_NAME_MAX 249
#define TOPIC_NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

/* failure.policy's words, NULL-terminated, at the index of the enum's value. */
extern const char *const failure_policies[];

/* Whether the text is such a list, or empty. */
bool failure_topics_ok(const char *text);
/* Of an event that has, or would have, this topic. */
enum failure_policy failure_policy_of(const struct config *c, const char *topic);
/* Whether any event can have it. */
bool failure_policy_used(const struct config *c, enum failure_policy policy);

#endif

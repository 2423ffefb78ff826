#include "ops/failure_topics.h"

#include <fnmatch.h>
#include <string.h>

const char *const failure_policies[] = {"park", "dead-letter", "halt", NULL};

struct entry {
    char pattern[TOPIC_NAME_MAX + 1];
    enum failure_policy policy;
};

static bool read_policy(const char *word, size_t len, enum failure_policy *ret)
{
    for (int i = 0; failure_policies[i] != NULL; i++) {
        if (strlen(failure_policies[i]) == len && memcmp(failure_policies[i], word, len) == 0) {
            *ret = (enum failure_policy)i;
            return true;
        }
    }
    return false;
}

/* The entry that *at points to, which is moved behind it; false where there is none, which is the
 * end only if nothing is left. */
static bool next_entry(const char **at, struct entry *ret)
{
    const char *from = *at + strspn(*at, " ");
    size_t pattern = strspn(from, TOPIC_NAME_LETTERS "*?");
    const char *word = from + pattern + 1;
    size_t len;

    if (pattern == 0 || pattern > TOPIC_NAME_MAX || from[pattern] != '=')
        return false;
    len = strcspn(word, ", ");
    if (!read_policy(word, len, &ret->policy))
        return false;
    memcpy(ret->pattern, from, pattern);
    ret->pattern[pattern] = '\0';
    word += len + strspn(word + len, " ");
    if (*word == ',' && word[1 + strspn(word + 1, " ")] != '\0')
        word++;
    else if (*word != '\0')
        return false;
    *at = word;
    return true;
}

bool failure_topics_ok(const char *text)
{
    struct entry one;

    while (*text != '\0')
        if (!next_entry(&text, &one))
            return false;
    return true;
}

enum failure_policy failure_policy_of(const struct config *c, const char *topic)
{
    const char *at = c->failure_topics;
    struct entry one;

    while (next_entry(&at, &one))
        if (fnmatch(one.pattern, topic, 0) == 0)
            return one.policy;
    return c->failure_policy;
}

bool failure_policy_used(const struct config *c, enum failure_policy policy)
{
    const char *at = c->failure_topics;
    struct entry one;

    while (next_entry(&at, &one))
        if (one.policy == policy)
            return true;
    return c->failure_policy == policy;
}

/* Edit distance over short names (optimal string alignment). */
#include "ops/suggest.h"

#include <string.h>

#define NAME_MAX_LEN 64
#define SHORT_NAME 5

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t distance(const char *a, size_t alen, const char *b, size_t blen)
{
    size_t rows[3][NAME_MAX_LEN + 1];
    size_t *before = rows[0];
    size_t *above = rows[1];
    size_t *row = rows[2];

    for (size_t j = 0; j <= blen; j++) {
        before[j] = 0;
        above[j] = j;
        row[j] = 0;
    }
    for (size_t i = 1; i <= alen; i++) {
        size_t *spare = before;

        row[0] = i;
        for (size_t j = 1; j <= blen; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

            best = least(best, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = least(best, before[j - 2] + 1);
            row[j] = best;
        }
        before = above;
        above = row;
        row = spare;
    }
    return above[blen];
}

const char *suggest(const char *name, const char *const *candidates, size_t n)
{
    size_t len = strlen(name);
    size_t best = (len > SHORT_NAME ? 2 : 1) + 1;
    const char *found = NULL;

    if (len == 0 || len > NAME_MAX_LEN)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t candidate_len = strlen(candidates[i]);
        size_t d;

        if (candidate_len > NAME_MAX_LEN)
            continue;
        d = distance(name, len, candidates[i], candidate_len);
        if (d < best) {
            best = d;
            found = candidates[i];
        }
    }
    return found;
}

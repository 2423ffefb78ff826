/* The names of the deliberate mistakes. */
#include "mutations.h"

#include <string.h>

static const struct {
    const char *name;
    const char *what;
} mutations[] = {
#define X(name, text, what) {text, what},
    MUTATIONS(X)
#undef X
};

const char *mutation_name(enum mutation m)
{
    return mutations[m].name;
}

const char *mutation_what(enum mutation m)
{
    return mutations[m].what;
}

enum mutation mutation_find(const char *name)
{
    int m = 0;

    while (m < MUTATION_COUNT && strcmp(mutations[m].name, name) != 0)
        m++;
    return (enum mutation)m;
}

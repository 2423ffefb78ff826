/* One allocation for the pairs, one for all their text. */
#include "kafka/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *keep(char **at, const char *text)
{
    const char *kept = *at;

    *at = stpcpy(*at, text) + 1;
    return kept;
}

int options_copy(struct options *ret, const struct sink_options *from, struct err *err)
{
    size_t size = 1;
    char *at;

    for (size_t i = 0; i < from->nproperties; i++)
        size += strlen(from->properties[i].name) + strlen(from->properties[i].value) + 2;
    ret->view = *from;
    ret->view.properties = NULL;
    ret->text = malloc(size);
    ret->own = calloc(from->nproperties + 1, sizeof *ret->own);
    if (ret->text == NULL || ret->own == NULL)
        return err_set(err, ERR_NOMEM, "kafka: out of memory for the settings");
    at = ret->text;
    for (size_t i = 0; i < from->nproperties; i++) {
        ret->own[i].name = keep(&at, from->properties[i].name);
        ret->own[i].value = keep(&at, from->properties[i].value);
    }
    ret->view.properties = ret->own;
    ret->copied = from->nproperties;
    return 0;
}

void options_override(struct options *o, const char *name, long value)
{
    (void)snprintf(o->override, sizeof o->override, "%ld", value);
    o->own[o->copied] = (struct sink_property){name, o->override};
    o->view.nproperties = o->copied + 1;
}

bool options_restore(struct options *o)
{
    bool overridden = o->view.nproperties > o->copied;

    o->view.nproperties = o->copied;
    return overridden;
}

void options_free(struct options *o)
{
    free(o->text);
    free(o->own);
    *o = (struct options){.own = NULL};
}

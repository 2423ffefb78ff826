/* The JSON of /statusz as people read it. Private to cli/status*.c. */
#ifndef OUTBOX_CLI_STATUS_SHOW_H
#define OUTBOX_CLI_STATUS_SHOW_H

#include <jansson.h>
#include <stdio.h>

/* Prints one answer, an object, and takes its members out as it goes. Keys that are missing are
 * left out, keys that are not known (of a newer relay) are shown as they are. */
void status_show(json_t *root, FILE *out);

#endif

/* The versions of the libraries that stay behind this folder; static texts. */
#ifndef OUTBOX_OPS_VERSIONS_H
#define OUTBOX_OPS_VERSIONS_H

const char *version_libuv(void);
const char *version_jansson(void);
const char *version_microhttpd(void);

#endif

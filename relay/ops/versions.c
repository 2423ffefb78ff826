/* Asked of the libraries that are loaded, not of their headers. */
#include "ops/versions.h"

#include <jansson.h>
#include <microhttpd.h>
#include <uv.h>

const char *version_libuv(void)
{
    return uv_version_string();
}

const char *version_jansson(void)
{
    return jansson_version_str();
}

const char *version_microhttpd(void)
{
    return MHD_get_version();
}

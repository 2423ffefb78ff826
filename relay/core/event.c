#include "core/event.h"

void event_id_text(const unsigned char id[EVENT_ID_LEN], char ret_text[EVENT_ID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *at = ret_text;

    for (int i = 0; i < EVENT_ID_LEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = digits[id[i] >> 4];
        *at++ = digits[id[i] & 15];
    }
    *at = '\0';
}

uint32_t event_bytes(const struct event *e)
{
    uint64_t bytes = (uint64_t)e->payload.len + e->payload_bytes.len + e->headers.len +
                     e->aggregateid.len + e->type.len;

    for (uint32_t i = 0; i < e->nadditional; i++)
        bytes += e->additional[i].len;
    return bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
}

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

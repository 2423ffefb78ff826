/* What a column's value means by its text: a uuid, base64, a point in time, an integer. Each takes
 * all of the text or nothing. And a name as an error may show it. Pure. */
#ifndef OUTBOX_CORE_VALUE_TEXT_H
#define OUTBOX_CORE_VALUE_TEXT_H

#include "core/event.h"

#define TEXT_SHOWN 64 /* characters */

/* Its beginning, with one '?' for each character that is not printable ASCII. */
void text_show(struct slice text, char ret[TEXT_SHOWN + 1]);
/* Where valid UTF-8 ends (RFC 3629: no overlong form, no surrogate): text.len if all of it is. */
size_t text_utf8(struct slice text);
/* The canonical 36 characters, in either case. */
bool text_uuid(struct slice text, unsigned char ret[EVENT_ID_LEN]);
bool text_int32(struct slice text, int32_t *ret);
/* YYYY-MM-DD, 'T' or a space, HH:MM:SS, up to six digits of a second, 'Z' or an offset as +HH:MM;
 * a day that the Gregorian calendar has. */
bool text_time(struct slice text, int64_t *ret_us);
/* RFC 4648 with its padding, in place, since the bytes are fewer than the characters. NULL, or what
 * is wrong behind "it". */
const char *text_base64(unsigned char *text, size_t *len);

#endif

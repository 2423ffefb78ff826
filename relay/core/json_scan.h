/*
 * A scanner over one JSON text, which it borrows: strings are unescaped into a shared scratch
 * buffer, all other values are found by their bytes, which nothing writes anew. As strict as
 * PostgreSQL's json type, since not every text has been one. No recursion; pure.
 */
#ifndef OUTBOX_CORE_JSON_SCAN_H
#define OUTBOX_CORE_JSON_SCAN_H

#include "base/buf.h"

#define JSON_DEPTH_MAX 1024 /* of objects and arrays in a value; common parsers stop at 1000 */

/* Functions that give false have said in wrong what is, and at stands there. */
struct json_scan {
    const unsigned char *start;
    const unsigned char *at;
    const unsigned char *end;
    struct buf *scratch;
    const char *wrong; /* what is wrong, once something is */
};

/* Says so unless something was wrong before; gives false. */
bool scan_wrong(struct json_scan *s, const char *what);
/* Which byte at is, from 1. */
size_t scan_place(const struct json_scan *s);
void scan_skip_space(struct json_scan *s);
/* Is c next, behind white space? Then steps over it; else nothing is wrong yet. */
bool scan_take(struct json_scan *s, unsigned char c);
/*
 * A string behind its opening quote. Without escapes the slice points into the JSON. With them it
 * is an offset into scratch, whose memory may still move: the caller turns it into a pointer at the
 * end.
 */
bool scan_string(struct json_scan *s, struct slice *ret, bool *ret_scratch);
/* Any value: a string as scan_string gives it, all else as scan_text does. */
bool scan_value(struct json_scan *s, struct slice *ret, bool *ret_scratch);
/* Any value's bytes as written, a string's with its quotes; {NULL, 0} for null. */
bool scan_text(struct json_scan *s, struct slice *ret);
/* -1 for what is none. */
int scan_hex_digit(unsigned char c);

#endif

/*
 * Two ends of a byte string: a bounded reader whose every underflow is an error that sticks, and a
 * growable writer whose failed allocation sticks. Callers read or write many fields and check once.
 */
#ifndef OUTBOX_BASE_BUF_H
#define OUTBOX_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A borrowed run of bytes. data == NULL is SQL's null; an empty value has data != NULL. */
struct slice {
    const unsigned char *data;
    size_t len;
};

/* Reads big-endian fields from borrowed bytes; after the first underflow all reads give 0. */
struct reader {
    const unsigned char *at;
    const unsigned char *end;
    bool failed;
};

struct reader reader_of(const void *data, size_t len);
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
/* The next len bytes, borrowed from the reader's buffer; {NULL, 0} on underflow. */
struct slice read_bytes(struct reader *r, size_t len);

/* Grows by doubling; the owner calls buf_free. A zeroed struct is an empty buffer. */
struct buf {
    unsigned char *data;
    size_t len;
    size_t cap;
    bool failed;
};

void buf_append(struct buf *b, const void *data, size_t len);
void buf_u16(struct buf *b, uint16_t v);
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Forgets the content and a past failure, keeps the memory. */
void buf_reset(struct buf *b);
void buf_free(struct buf *b);
/* The content as a NUL-terminated string, borrowed until the next call; NULL if an append failed.
 */
const char *buf_cstr(struct buf *b);

#endif

/* What the harnesses share. Memory that the code under test reads is of exactly its length, so that
 * the sanitizer sees a read beyond; what is wrong ends the process, which both libFuzzer and ctest
 * take for a finding. */
#ifndef OUTBOX_TESTS_FUZZ_H
#define OUTBOX_TESTS_FUZZ_H

#include "base/buf.h"
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* {NULL, 0} stays what it is; the caller frees. */
static inline struct slice exact(struct slice s)
{
    unsigned char *copy;

    if (s.data == NULL)
        return s;
    copy = malloc(s.len == 0 ? 1 : s.len);
    CHECK(copy != NULL);
    if (s.len > 0)
        memcpy(copy, s.data, s.len);
    return (struct slice){copy, s.len};
}

static inline void free_slice(struct slice s)
{
    free((void *)(uintptr_t)s.data); /* whose const is the borrowers' */
}

/* The next len bytes, or as many as are left, since most cuts of an input should stay one; none
 * once a number was cut off. */
static inline struct slice some_bytes(struct reader *r, size_t len)
{
    size_t left = r->failed ? 0 : (size_t)(r->end - r->at);
    struct slice s = {r->at, len < left ? len : left};

    r->at += s.len;
    return s;
}

/* Up to the byte, which is passed, or the end. */
static inline struct slice until(struct reader *r, unsigned char stop)
{
    size_t left = r->failed ? 0 : (size_t)(r->end - r->at);
    const unsigned char *found = left == 0 ? NULL : memchr(r->at, stop, left);
    struct slice s = some_bytes(r, found == NULL ? left : (size_t)(found - r->at));

    if (found != NULL)
        r->at++;
    return s;
}

/* The caller frees; what follows a NUL is not seen by those that take it. */
static inline char *string_of(struct slice s)
{
    char *text = malloc(s.len + 1);

    CHECK(text != NULL);
    if (s.len > 0)
        memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    return text;
}

/* Reads each byte. */
static inline void touch(struct slice s)
{
    volatile unsigned char sum = 0;

    for (size_t i = 0; i < s.len; i++)
        sum = (unsigned char)(sum + s.data[i]);
}

static inline bool same_slice(struct slice a, struct slice b)
{
    return (a.data == NULL) == (b.data == NULL) && a.len == b.len &&
           (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* An error says its class twice and something on one line. */
static inline void check_err(int rc, const struct err *err)
{
    CHECK(rc < 0 && rc == -(int)err->class && err->message[0] != '\0');
    CHECK(memchr(err->message, '\0', sizeof err->message) != NULL);
    for (const char *p = err->message; *p != '\0'; p++)
        CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
}

#endif

/*
 * An allocation that fails, for tests: linked with --wrap, so that the calls of our own objects
 * come here, and no library's: some of them end the process then. FAIL_ALLOC=N     the Nth call
 * fails, once; 0 or none: none does FAIL_ALLOC_TRACE shows where, with a sanitizer FAIL_ALLOC_COUNT
 * a file that gets the number of calls at the exit
 */
#include "fail_alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t max);
void __sanitizer_print_stack_trace(void) __attribute__((weak));

static atomic_long calls;
static long failing;

static bool fails(void)
{
    if (atomic_fetch_add(&calls, 1) + 1 != failing)
        return false;
    if (getenv("FAIL_ALLOC_TRACE") != NULL && __sanitizer_print_stack_trace != NULL)
        __sanitizer_print_stack_trace();
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strndup(const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    char *copy = __wrap_malloc(len + 1);

    if (copy == NULL)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}
/* NOLINTEND(bugprone-reserved-identifier) */

void fail_alloc_at(long n)
{
    failing = n;
    atomic_store(&calls, 0);
}

static void count(void)
{
    FILE *file = fopen(getenv("FAIL_ALLOC_COUNT"), "w");

    if (file != NULL && (fprintf(file, "%ld\n", atomic_load(&calls)) < 0 || fclose(file) != 0))
        abort();
}

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("FAIL_ALLOC");

    failing = text == NULL ? 0 : strtol(text, NULL, 10);
    if (getenv("FAIL_ALLOC_COUNT") != NULL)
        (void)atexit(count);
}

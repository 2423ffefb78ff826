/* An allocation of our own that fails: see fail_alloc.c. */
#ifndef OUTBOX_TESTS_FAIL_ALLOC_H
#define OUTBOX_TESTS_FAIL_ALLOC_H

/* The nth call from now on fails, once; 0: none does. Counts from 0 again. */
void fail_alloc_at(long n);
#endif

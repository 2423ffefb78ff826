/* Keys behind whose parked event others wait: by hand, and against a plain list. */
#include "core/keyset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OPERATIONS 200000
#define HASHES 3000

static struct slice text(const char *s)
{
    return (struct slice){(const unsigned char *)s, strlen(s)};
}

static void topic_and_key_are_told_apart(void **state)
{
    (void)state;
    assert_true(key_hash(7, text("ab"), text("c")) != key_hash(7, text("a"), text("bc")));
    assert_true(key_hash(7, text("a"), text("b")) == key_hash(7, text("a"), text("b")));
    assert_true(key_hash(7, text("a"), text("b")) != key_hash(8, text("a"), text("b")));
    assert_true(key_hash(0, text(""), text("")) != 0);
}

static void the_list_removes_what_was_stored_only(void **state)
{
    struct keyset s = {0};
    struct err err;

    (void)state;
    for (uint64_t hash = 1; hash <= 3; hash++)
        assert_int_equal(keyset_fail(&s, hash, &err), 0);
    keyset_settle(&s, 1, true);
    keyset_settle(&s, 3, true);
    keyset_list_begin(&s);
    assert_int_equal(keyset_list(&s, 3, &err), 0);
    assert_int_equal(keyset_list(&s, 4, &err), 0);
    assert_int_equal(keyset_list_end(&s), 1);
    assert_false(keyset_has(&s, 1));
    assert_true(keyset_has(&s, 2)); /* on its way to the database */
    assert_true(keyset_has(&s, 3));
    assert_true(keyset_has(&s, 4));
    keyset_list_begin(&s);
    assert_int_equal(keyset_list_end(&s), 2);
    assert_int_equal(s.n, 1);
    keyset_clear(&s);
    assert_false(keyset_has(&s, 2));
    keyset_free(&s);
}

static void a_key_waits_for_the_last_of_its_events(void **state)
{
    struct keyset s = {0};
    struct err err;

    (void)state;
    assert_int_equal(keyset_fail(&s, 1, &err), 0);
    assert_int_equal(keyset_fail(&s, 1, &err), 0);
    keyset_settle(&s, 1, false);
    assert_true(keyset_has(&s, 1));
    keyset_list_begin(&s); /* an attempt whose answer got lost is on record */
    assert_int_equal(keyset_list(&s, 1, &err), 0);
    assert_int_equal(keyset_list_end(&s), 0);
    keyset_list_begin(&s); /* and retried */
    assert_int_equal(keyset_list_end(&s), 0);
    assert_true(keyset_has(&s, 1));
    keyset_settle(&s, 1, false);
    assert_false(keyset_has(&s, 1));
    keyset_settle(&s, 1, true); /* nobody asked */
    assert_int_equal(s.n, 0);
    keyset_free(&s);
}

/* Hashes that crowd together, so that runs of them meet and wrap around. */
static void random_operations_agree_with_a_list(void **state)
{
    static uint32_t model[HASHES];
    struct keyset s = {0};
    uint32_t n = 0;
    struct err err;

    (void)state;
    srand(4711);
    for (int i = 0; i < OPERATIONS; i++) {
        uint32_t which = (uint32_t)rand() % HASHES;
        uint64_t hash = (uint64_t)which * 64 % 1021 + (uint64_t)which * 65536 + 1;

        if (rand() % 2 == 0) {
            assert_int_equal(keyset_fail(&s, hash, &err), 0);
            n += model[which]++ == 0;
        } else {
            keyset_settle(&s, hash, false);
            n -= model[which] == 1;
            model[which] -= model[which] > 0;
        }
        which = (uint32_t)rand() % HASHES;
        hash = (uint64_t)which * 64 % 1021 + (uint64_t)which * 65536 + 1;
        assert_int_equal(keyset_has(&s, hash), model[which] > 0);
        assert_int_equal(s.n, n);
    }
    for (uint32_t which = 0; which < HASHES; which++)
        for (; model[which] > 0; model[which]--)
            keyset_settle(&s, (uint64_t)which * 64 % 1021 + (uint64_t)which * 65536 + 1, true);
    keyset_list_begin(&s);
    for (uint32_t which = 0; which < HASHES; which += 2)
        assert_int_equal(
            keyset_list(&s, (uint64_t)which * 64 % 1021 + (uint64_t)which * 65536 + 1, &err), 0);
    (void)keyset_list_end(&s);
    for (uint32_t which = 0; which < HASHES; which++)
        assert_int_equal(keyset_has(&s, (uint64_t)which * 64 % 1021 + (uint64_t)which * 65536 + 1),
                         which % 2 == 0);
    keyset_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topic_and_key_are_told_apart),
        cmocka_unit_test(the_list_removes_what_was_stored_only),
        cmocka_unit_test(a_key_waits_for_the_last_of_its_events),
        cmocka_unit_test(random_operations_agree_with_a_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

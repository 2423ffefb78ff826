/* The first record of a partition goes alone: what is of another partition goes, what follows it
 * waits for its report. */
#include "kafka_case.h"

static struct sink_record record(struct fixture *f, const char *key, int32_t partition)
{
    return (struct sink_record){
        .topic = f->topic,
        .partition = partition,
        .key = text_slice(key),
        .value = text_slice("v"),
        .timestamp_ms = 1,
    };
}

static void test_named_partitions(void **state)
{
    struct fixture f;
    struct err err;

    (void)state;
    open_with(&f, NULL, NULL);
    wait_topic(&f);
    for (int32_t i = 0; i < 4; i++) {
        struct sink_record r = record(&f, "k", i);

        assert_true(sink_takes(f.sink, &r));
        assert_int_equal(sink_put(f.sink, &r, &err), 0);
        assert_false(sink_takes(f.sink, &r));
    }
    WAIT(&f, f.ok == 4);
    for (int32_t i = 0; i < 4; i++) {
        struct sink_record r = record(&f, "k", i);

        assert_true(sink_takes(f.sink, &r));
        assert_int_equal(sink_put(f.sink, &r, &err), 0);
        assert_true(sink_takes(f.sink, &r)); /* the broker knows the producer there */
    }
    WAIT(&f, f.ok == 8);
    close_all(&f);
}

/* The partition is foretold as librdkafka then chooses it, by each of its partitioners. */
static void test_keys(void **state)
{
    static const char *const partitioners[] = {
        "murmur2_random", "murmur2", "fnv1a", "consistent", "consistent_random", "fnv1a_random"};

    (void)state;
    for (size_t n = 0; n < sizeof partitioners / sizeof partitioners[0]; n++) {
        struct fixture f;
        struct err err;
        char key[16];
        int taken = 0;

        open_with(&f, "partitioner", partitioners[n]);
        wait_topic(&f);
        for (int i = 0; i < 50; i++) {
            struct sink_record r;

            (void)snprintf(key, sizeof key, "key%d", i);
            r = record(&f, key, -1);
            if (!sink_takes(f.sink, &r))
                continue;
            taken++;
            assert_int_equal(sink_put(f.sink, &r, &err), 0);
            assert_false(sink_takes(f.sink, &r));
        }
        assert_int_equal(taken, 4); /* partitions */
        WAIT(&f, f.ok == 4);
        for (int i = 0; i < 50; i++) {
            struct sink_record r;

            (void)snprintf(key, sizeof key, "key%d", i);
            r = record(&f, key, -1);
            assert_true(sink_takes(f.sink, &r));
        }
        close_all(&f);
    }
}

static void test_a_new_producer_begins_anew(void **state)
{
    struct fixture f;
    struct err err;
    struct sink_record r;

    (void)state;
    open_with(&f, NULL, NULL);
    wait_topic(&f);
    r = record(&f, "k", 0);
    assert_int_equal(sink_put(f.sink, &r, &err), 0);
    WAIT(&f, f.ok == 1);
    assert_true(sink_takes(f.sink, &r));
    sink_rebuild(f.sink, 5000);
    WAIT(&f, f.rebuilt == 1);
    assert_int_equal(sink_put(f.sink, &r, &err), 0);
    assert_false(sink_takes(f.sink, &r));
    WAIT(&f, f.ok == 2);
    close_all(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_named_partitions),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_a_new_producer_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

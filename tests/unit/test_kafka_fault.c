/* What goes wrong: a dead producer, a refused batch, a cluster that is down or silent, a sink that
 * is emptied, rebuilt or closed while it works. */
#include "kafka_case.h"

/* Fatal with records that wait: on_fatal once, a report for each record, and it works again. */
static void test_fatal(void **state)
{
    struct fixture f;
    struct err err;

    (void)state;
    open_with(&f, "linger.ms", "60000");
    wait_topic(&f);
    put_many(&f, 1, 100);
    assert_int_equal(rd_kafka_test_fatal_error(f.sink->producer->rk,
                                               RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                                               "made by the test"),
                     0);
    WAIT(&f, f.fatals == 1);
    assert_non_null(strstr(f.fatal_why.message, "made by the test"));
    assert_int_equal(put(&f, 200, &err), -(int)ERR_UNAVAILABLE);
    WAIT(&f, f.reports == 100);
    assert_int_equal(f.lost, 100);
    sink_rebuild(f.sink, 5000);
    sink_rebuild(f.sink, 5000);
    assert_int_equal(put(&f, 200, &err), -(int)ERR_UNAVAILABLE);
    WAIT(&f, f.rebuilt == 1);
    assert_int_equal(f.fatals, 1);
    put_many(&f, 301, 10);
    sink_rebuild(f.sink, 5000); /* of a sound producer: what waits is lost, and told */
    WAIT(&f, f.rebuilt == 2);
    assert_int_equal(f.reports, 110);
    for (int i = 1; i <= 100; i++)
        assert_int_equal(f.seen[i], 1);
    assert_int_equal(f.seen[200], 0);
    close_all(&f);
}

static long batch_size(struct fixture *f)
{
    char text[32] = "";
    size_t size = sizeof text;

    (void)rd_kafka_conf_get(rd_kafka_conf(f->sink->producer->rk), "batch.size", text, &size);
    return strtol(text, NULL, 10);
}

/* The broker refuses a batch: none of the partition overtakes it, the producer is dead, and none of
 * its records is blamed before it was refused alone. */
static void test_refused_batch(void **state)
{
    enum { PRODUCE = 0 };
    struct fixture f;

    (void)state;
    open_with(&f, "linger.ms", "20");
    f.rebuild_on_fatal = true;
    wait_topic(&f);
    rd_kafka_mock_push_request_errors(f.cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    for (int i = 0; i < 63; i += 7)
        put_many(&f, i, 1); /* one key: one batch */
    WAIT(&f, f.rebuilt == 1);
    assert_int_equal(f.fatals, 1);
    assert_non_null(strstr(f.fatal_why.message, "Message size too large"));
    assert_int_equal(f.reports, 9);
    for (int i = 0; i < 63; i += 7)
        assert_int_equal(f.what[i], DELIVERY_LOST);
    assert_int_equal(batch_size(&f), 1000000 / 8);
    put_many(&f, 100, 10);
    WAIT(&f, f.reports == 19);
    assert_int_equal(f.ok, 10);
    rd_kafka_mock_push_request_errors(f.cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    put_many(&f, 200, 1);
    WAIT(&f, f.rebuilt == 2);
    assert_int_equal(f.what[200], DELIVERY_ROW);
    assert_int_equal(batch_size(&f), 1000000 / 8);
    close_all(&f);
}

/* Rebuilt from inside on_fatal, with a request in flight that the broker has not answered: its
 * reports come before on_rebuilt, successes as successes. */
static void test_late_reports(void **state)
{
    struct fixture f;

    (void)state;
    open_with(&f, "linger.ms", "20");
    f.rebuild_on_fatal = true;
    wait_topic(&f);
    put_many(&f, 1, 10);
    WAIT(&f, f.ok == 10);
    rd_kafka_mock_broker_set_rtt(f.cluster, 1, 500);
    for (int i = 11; i < 81; i += 7)
        put_many(&f, i, 1); /* one key: one request */
    /* Sent, not answered: only librdkafka knows when, so wait for its queue to be empty. */
    WAIT(&f, rd_kafka_outq_len(f.sink->producer->rk) == 10);
    rd_kafka_flush(f.sink->producer->rk, 100);
    rd_kafka_test_fatal_error(f.sink->producer->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                              "made by the test");
    WAIT(&f, f.rebuilt == 1);
    assert_int_equal(f.reports, 20);
    for (int i = 11; i < 81; i += 7)
        assert_int_equal(f.seen[i], 1);
    assert_int_equal(f.ok, 20);
    rd_kafka_mock_broker_set_rtt(f.cluster, 1, 0);
    put_many(&f, 101, 10);
    WAIT(&f, f.reports == 30);
    close_all(&f);
}

/* The broker never answers: the rebuild gives up waiting, and still tells what became of each. */
static void test_rebuild_of_a_stuck_producer(void **state)
{
    struct fixture f;

    (void)state;
    open_with(&f, NULL, NULL);
    wait_topic(&f);
    put_many(&f, 1, 1);
    WAIT(&f, f.ok == 1);
    rd_kafka_mock_broker_set_rtt(f.cluster, 1, 60000);
    put_many(&f, 2, 10);
    sink_rebuild(f.sink, 300);
    WAIT(&f, f.rebuilt == 1);
    assert_int_equal(f.reports, 11);
    assert_int_equal(f.lost, 10);
    close_all(&f);
}

/* Discarded with records waiting and in flight: silence, then a producer again. */
static void test_discard(void **state)
{
    struct fixture f;
    struct err err;

    (void)state;
    open_with(&f, NULL, NULL);
    wait_topic(&f);
    rd_kafka_mock_broker_set_rtt(f.cluster, 1, 60000);
    put_many(&f, 1, 100);
    sink_discard(f.sink);
    assert_int_equal(sink_inflight(f.sink), 0);
    assert_int_equal(put(&f, 200, &err), -(int)ERR_UNAVAILABLE);
    WAIT(&f, f.discarded == 1);
    assert_int_equal(f.reports, 0);
    sink_discard(f.sink); /* of nothing: said all the same */
    WAIT(&f, f.discarded == 2);
    rd_kafka_mock_broker_set_rtt(f.cluster, 1, 0);
    sink_rebuild(f.sink, 1000);
    WAIT(&f, f.rebuilt == 1);
    put_many(&f, 300, 10);
    sink_discard(f.sink);
    sink_rebuild(f.sink, 1000); /* follows the discard */
    WAIT(&f, f.rebuilt == 2);
    assert_int_equal(f.discarded, 3);
    assert_int_equal(f.reports, 0);
    put_many(&f, 400, 10);
    WAIT(&f, f.ok == 10);
    sink_rebuild(f.sink, 1000);
    sink_discard(f.sink); /* ends the rebuild */
    WAIT(&f, f.discarded == 4);
    assert_int_equal(f.rebuilt, 2);
    close_all(&f);
}

static void test_down_and_up(void **state)
{
    struct fixture f;
    struct err err;

    (void)state;
    open_with(&f, NULL, NULL);
    wait_topic(&f);
    WAIT(&f, f.ups == 1);
    rd_kafka_mock_broker_set_down(f.cluster, 1);
    WAIT(&f, f.downs == 1);
    assert_false(sink_up(f.sink));
    assert_int_equal(f.down_why.class, ERR_CLUSTER);
    assert_non_null(strstr(f.down_why.message, "kafka.bootstrap.servers"));
    put_many(&f, 1, 100); /* waits */
    assert_int_equal(sink_lookup(f.sink, f.topic, 500, &err), 0);
    WAIT(&f, f.topics == 2);
    assert_int_equal(f.topic_why.class, ERR_CLUSTER);
    assert_int_equal(f.reports, 0);
    rd_kafka_mock_broker_set_up(f.cluster, 1);
    WAIT(&f, f.ups == 2);
    WAIT(&f, f.ok == 100);
    assert_int_equal(f.downs, 1);
    close_all(&f);
}

/* A broker that holds its connections and is silent. */
static void test_silent(void **state)
{
    struct fixture f;

    (void)state;
    open_with(&f, NULL, NULL);
    wait_topic(&f);
    put_many(&f, 1, 1);
    WAIT(&f, f.ok == 1);
    rd_kafka_mock_broker_set_rtt(f.cluster, 1, 60000);
    put_many(&f, 2, 1);
    WAIT(&f, f.downs == 1);
    assert_non_null(strstr(f.down_why.message, "no answer"));
    close_all(&f);
}

/* Closed at once, with a question under way, records in flight, a rebuild or a discard on its way.
 */
static void test_close_at_any_time(void **state)
{
    struct fixture f;
    struct err err;

    (void)state;
    for (int i = 0; i < 5; i++) {
        open_with(&f, NULL, NULL);
        if (i > 0)
            wait_topic(&f);
        if (i > 1)
            put_many(&f, 1, 100);
        if (i == 3)
            sink_rebuild(f.sink, 60000);
        if (i == 4)
            sink_discard(f.sink);
        assert_int_equal(sink_lookup(f.sink, f.topic, 5000, &err), 0);
        close_all(&f);
        assert_int_equal(f.rebuilt + f.discarded, 0);
    }
    f.closed = 0;
    sink_close(NULL, on_closed, &f);
    assert_int_equal(f.closed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fatal),        cmocka_unit_test(test_refused_batch),
        cmocka_unit_test(test_late_reports), cmocka_unit_test(test_rebuild_of_a_stuck_producer),
        cmocka_unit_test(test_discard),      cmocka_unit_test(test_down_and_up),
        cmocka_unit_test(test_silent),       cmocka_unit_test(test_close_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Topics: the moves that the picture in topics.h has, and none besides. */
#include "core/topics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void grows_as_they_come(void **state)
{
    struct topics t = {.seed = 3};
    struct err err;

    (void)state;
    assert_int_equal(topics_reserve(&t, 40, &err), 0);
    assert_int_equal(t.n, 41);
    assert_int_equal(t.counts[TOPIC_UNKNOWN], 41);
    assert_int_equal(topics_reserve(&t, 3, &err), 0);
    assert_int_equal(t.n, 41);
    topics_free(&t);
    assert_int_equal(t.n, 0);
}

static void is_looked_up_when_a_row_waits(void **state)
{
    struct topics t = {0};
    struct err err;
    int64_t at;

    (void)state;
    assert_int_equal(topics_reserve(&t, 2, &err), 0);
    assert_int_equal(topics_due(&t, 100, &at), -1);
    assert_true(at == INT64_MAX);
    t.list[1].wanted = true;
    t.list[1].ask_at = 150;
    assert_int_equal(topics_due(&t, 100, &at), -1);
    assert_int_equal(at, 150);
    assert_int_equal(topics_due(&t, 150, &at), 1);
    topics_move(&t, 1, TOPIC_ASKED);
    assert_int_equal(topics_due(&t, 150, &at), -1);
    topics_free(&t);
}

static void away_waits_for_all_its_records(void **state)
{
    struct topics t = {0};
    struct err err;
    int64_t at;

    (void)state;
    assert_int_equal(topics_reserve(&t, 0, &err), 0);
    topics_move(&t, 0, TOPIC_ASKED);
    topics_move(&t, 0, TOPIC_READY);
    topics_move(&t, 0, TOPIC_AWAY);
    t.list[0].ask_at = 10;
    t.list[0].inflight = 1;
    assert_int_equal(topics_due(&t, 100, &at), -1);
    assert_true(at == INT64_MAX);
    t.list[0].inflight = 0;
    assert_int_equal(topics_due(&t, 100, &at), 0);
    topics_move(&t, 0, TOPIC_RETRYING);
    topics_move(&t, 0, TOPIC_RELEASED);
    t.list[0].held = 5;
    topics_release(&t);
    assert_int_equal(t.list[0].state, TOPIC_READY);
    assert_int_equal(t.list[0].held, 0);
    topics_free(&t);
}

static void a_new_producer_knows_none(void **state)
{
    static const enum topic_state path[][6] = {
        {TOPIC_UNKNOWN},
        {TOPIC_ASKED},
        {TOPIC_ASKED, TOPIC_READY},
        {TOPIC_ASKED, TOPIC_AWAY},
        {TOPIC_ASKED, TOPIC_AWAY, TOPIC_RETRYING},
        {TOPIC_ASKED, TOPIC_AWAY, TOPIC_RETRYING, TOPIC_RELEASED},
    };
    struct topics t = {0};
    struct err err;
    int64_t at;

    (void)state;
    assert_int_equal(topics_reserve(&t, 5, &err), 0);
    for (uint32_t i = 0; i < 6; i++) {
        for (int k = 0; k < 6 && path[i][k] != TOPIC_UNKNOWN; k++)
            topics_move(&t, i, path[i][k]);
        t.list[i].inflight = 7;
        t.list[i].ask_at = 1000;
    }
    topics_reset(&t, 500);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(t.list[i].state, i < 3 ? TOPIC_UNKNOWN : TOPIC_AWAY);
        assert_int_equal(t.list[i].inflight, 0);
    }
    assert_int_equal(t.counts[TOPIC_UNKNOWN], 3);
    assert_int_equal(t.counts[TOPIC_AWAY], 3);
    assert_int_equal(topics_due(&t, 500, &at), 4); /* what was being asked is asked again at once */
    topics_free(&t);
}

/* A move that is none is a bug, and going on could lose order: the process ends. */
static void other_moves_abort(void **state)
{
    static const enum topic_state wrong[][2] = {
        {TOPIC_UNKNOWN, TOPIC_READY},
        {TOPIC_UNKNOWN, TOPIC_AWAY},
        {TOPIC_ASKED, TOPIC_RELEASED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        pid_t child = fork();
        int status;

        assert_true(child >= 0);
        if (child == 0) {
            struct topics t = {0};
            struct err err;

            (void)signal(SIGABRT, SIG_DFL);
            if (topics_reserve(&t, 0, &err) != 0)
                _exit(1);
            if (wrong[i][0] == TOPIC_ASKED)
                topics_move(&t, 0, TOPIC_ASKED);
            topics_move(&t, 0, wrong[i][1]);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_as_they_come),
        cmocka_unit_test(is_looked_up_when_a_row_waits),
        cmocka_unit_test(away_waits_for_all_its_records),
        cmocka_unit_test(a_new_producer_knows_none),
        cmocka_unit_test(other_moves_abort),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What systemd is told, on a socket in systemd's place. */
#include "ops/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* The next message, or false where none came: built without libsystemd. */
static bool next_message(int fd, char text[1024])
{
    ssize_t n = recv(fd, text, 1023, MSG_DONTWAIT);

    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static void test_messages(void **state)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char text[1024];
    bool heard;

    (void)state;
    (void)snprintf(a.sun_path, sizeof a.sun_path, "/tmp/test_notify.%d", (int)getpid());
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    setenv("NOTIFY_SOCKET", a.sun_path, 1);
    notify_ready();
    heard = next_message(fd, text);
    if (heard) {
        assert_string_equal(text, "READY=1");
        notify_status("owner\nREADY=0");
        assert_true(next_message(fd, text));
        assert_string_equal(text, "STATUS=owner READY=0");
        notify_watchdog();
        assert_true(next_message(fd, text));
        assert_string_equal(text, "WATCHDOG=1");
        notify_stopping(25000);
        assert_true(next_message(fd, text));
        assert_string_equal(text, "STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000");
        setenv("WATCHDOG_USEC", "3000000", 1);
        assert_int_equal(notify_watchdog_interval_ms(), 1500);
    }
    unsetenv("WATCHDOG_USEC");
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(notify_watchdog_interval_ms(), 0);
    notify_ready(); /* nobody listens: nothing happens */
    assert_false(next_message(fd, text));
    close(fd);
    unlink(a.sun_path);
    if (!heard)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_messages)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

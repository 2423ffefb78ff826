/*
 * A broker of the tests: librdkafka's mock cluster with one broker, told by lines on stdin to fail.
 * Prints its address, then "ok" after each command it has carried out:
 *   topic NAME PARTITIONS     make a topic
 *   push API_KEY CODE...      the next requests of this kind are answered with these error codes
 *   rtt MS                    each answer takes so long
 * Ends at the end of its input.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CODES_MAX 100

static int carry_out(rd_kafka_mock_cluster_t *cluster, char *line)
{
    rd_kafka_resp_err_t codes[CODES_MAX];
    char *rest = NULL;
    const char *what = strtok_r(line, " \n", &rest);
    const char *first = strtok_r(NULL, " \n", &rest);
    const char *next;
    size_t n = 0;

    if (what == NULL || first == NULL)
        return -1;
    if (strcmp(what, "topic") == 0) {
        next = strtok_r(NULL, " \n", &rest);
        return next == NULL ? -1 : (int)rd_kafka_mock_topic_create(cluster, first, atoi(next), 1);
    }
    if (strcmp(what, "rtt") == 0)
        return (int)rd_kafka_mock_broker_set_rtt(cluster, 1, atoi(first));
    if (strcmp(what, "push") != 0)
        return -1;
    while (n < CODES_MAX && (next = strtok_r(NULL, " \n", &rest)) != NULL)
        codes[n++] = (rd_kafka_resp_err_t)atoi(next);
    rd_kafka_mock_push_request_errors_array(cluster, (int16_t)atoi(first), n, codes);
    return 0;
}

int main(void)
{
    char line[1024];
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    rd_kafka_mock_cluster_t *cluster = host == NULL ? NULL : rd_kafka_mock_cluster_new(host, 1);

    if (cluster == NULL) {
        (void)fprintf(stderr, "no mock cluster\n");
        return 1;
    }
    (void)printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
    (void)fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        (void)printf("%s\n", carry_out(cluster, line) == 0 ? "ok" : "not understood");
        (void)fflush(stdout);
    }
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
    return 0;
}

/* `dead`: what became of events that could not be published, and what is to become of them. */
#include "cli/cli.h"
#include "ops/escape.h"
#include "postgres/conn.h"
#include "postgres/dead_letters.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shown {
    const struct cli *cli;
    json_t *list; /* with --json */
    int n;
    bool cut; /* there was no memory to show all of it */
};

static bool is_number(const char *name)
{
    return strcmp(name, "seq") == 0 || strcmp(name, "partition") == 0;
}

static void add_json(struct shown *s, int n, const char *const *names, const char *const *values)
{
    json_t *one = json_object();

    for (int i = 0; i < n; i++) {
        json_t *value = values[i] == NULL     ? json_null()
                        : is_number(names[i]) ? json_integer(strtoll(values[i], NULL, 10))
                                              : json_string(values[i]);

        (void)json_object_set_new(one, names[i], value);
    }
    (void)json_array_append_new(s->list, one);
}

/* Whatever stands in a database stays one line on a terminal. */
static void print_value(struct shown *s, const char *value)
{
    struct buf b = {0};

    escape_text(&b, value, strlen(value));
    s->cut = s->cut || buf_cstr(&b) == NULL;
    (void)fputs(buf_cstr(&b) != NULL ? buf_cstr(&b) : "?", stdout);
    buf_free(&b);
}

static void print_row(struct shown *s, const char *const *values)
{
    /* state, since, id, topic, key, class, error */
    printf("%-6s  %.19s  %s  ", values[0], values[1], values[2]);
    print_value(s, values[3]);
    printf("  ");
    print_value(s, values[4]);
    printf("  ");
    print_value(s, values[6]);
    printf("\n");
}

static void on_row(void *arg, int n, const char *const *names, const char *const *values)
{
    struct shown *s = arg;

    if (s->list != NULL) {
        add_json(s, n, names, values);
    } else if (s->cli->dead.verb == DEAD_SHOW) {
        printf("%s", s->n > 0 ? "\n" : "");
        for (int i = 0; i < n; i++) {
            printf("%-14s ", names[i]);
            print_value(s, values[i] != NULL ? values[i] : "-");
            printf("\n");
        }
    } else {
        if (s->n == 0)
            printf("%-6s  %-19s  %-36s  TOPIC  KEY  ERROR\n", "STATE", "SINCE", "ID");
        print_row(s, values);
    }
    s->n++;
}

static void print_summary(const struct cli *c, int n)
{
    static const char *const done[] = {
        [DEAD_LIST] = "", [DEAD_SHOW] = "", [DEAD_RETRY] = "retried", [DEAD_DISCARD] = "discarded"};
    const char *verb = done[c->dead.verb];

    if (*verb != '\0')
        printf("%d event%s %s%s\n", n, n == 1 ? "" : "s", c->dead.dry_run ? "would be " : "", verb);
    else if (n == 0)
        printf("none\n");
}

int cli_dead(const struct cli *c)
{
    struct shown s = {.cli = c, .list = c->json ? json_array() : NULL};
    struct dead_request request = c->dead;
    struct err err;
    int rc = pg_conn_check_uri(c->config->postgres_uri, "postgres.uri", &err);

    request.uri = c->config->postgres_uri;
    request.table = c->config->source_table;
    request.columns = c->config->columns;
    if (rc == 0)
        rc = dead_letters(&request, on_row, &s, &err);
    if (s.list != NULL && rc == 0) {
        (void)json_dumpf(s.list, stdout, JSON_INDENT(2));
        printf("\n");
    }
    json_decref(s.list);
    if (rc != 0)
        return cli_fail(&err);
    if (!c->json)
        print_summary(c, s.n);
    if (s.cut) {
        (void)err_set(&err, ERR_NOMEM, "dead: out of memory for what is shown as \"?\"");
        return cli_fail(&err);
    }
    return cli_done();
}

/*
 * sim --seed N --steps M [--seeds K] [--mutation NAME] [--expect-caught] [--verbose]
 *     [--list-mutations]
 *
 * Runs episodes until M steps are done; the same seed gives the same steps. A broken guarantee
 * prints the seed, the step, the guarantee and the last 50 steps, and ends with 1. --expect-caught
 * turns it round: 0 when the mutation was caught with one of K seeds, 1 when it was not.
 */
#include "sim.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct arguments {
    uint64_t seed, seeds, steps;
    enum mutation mutation;
    bool verbose, expect_caught;
};

static void begin_episode(struct sim *s)
{
    /* Each episode stands for itself: it depends on the seed and its number alone. */
    s->rng = s->seed * 0x9E3779B97F4A7C15U + s->episode * 0xD1B54A32D192ED03U;
    s->now = 1000000;
    s->order = 0;
    s->nqueue = 0;
    s->calm = false;
    s->foreign_made = false;
    s->stream_late = false;
    s->heap_base = 0;
    s->streams = 0;
    world_init(s);
    faults_draw(s);
    broker_init(s);
    for (int i = 0; i < RELAYS; i++)
        s->relays[i] = (struct relay){0};
    for (int i = 0; i < s->cfg.relays; i++)
        sim_at(s, s->now + sim_spread(s, 100000), EV_START, i, 0, 0, 0);
    for (int i = 0; i < WRITERS; i++)
        sim_at(s, s->now + sim_spread(s, 100000), EV_WRITER, i, 0, 0, 0);
    sim_at(s, s->now + 100000, EV_FLUSH, 0, 0, 0, 0);
    sim_at(s, s->now + 300000, EV_QUIET, 0, 0, 0, 0);
    if (s->cfg.fails)
        sim_at(s, s->now + sim_spread(s, s->cfg.operator_us), EV_OPERATOR, 0, 0, 0, 0);
    faults_calm(s, false);
}

static void end_episode(struct sim *s)
{
    for (int i = 0; i < RELAYS; i++) {
        pipeline_free(s->relays[i].p);
        broker_producer_free(&s->relays[i].prod);
    }
    world_free(s);
    s->episode++;
    s->totals.episodes++;
}

/* Storms with calms between, until the episode's events are used up or its time is over. */
static void run_episode(struct sim *s)
{
    uint64_t until = s->steps + 4000 + sim_below(s, 10000);

    begin_episode(s);
    while (s->steps < until && s->steps < s->steps_max &&
           s->srv.nrows + 2 * WRITERS * TXN_ROWS_MAX < EVENTS_MAX) {
        uint64_t storm = s->steps + 1500 + sim_below(s, 5000);

        while (s->steps < storm && sim_step(s))
            continue;
        faults_calm(s, true);
        while (!check_rest(s) && sim_step(s))
            continue;
        faults_calm(s, false);
    }
    end_episode(s);
}

static int run_seed(const struct arguments *args, uint64_t seed)
{
    struct sim *s = calloc(1, sizeof *s);
    struct timespec t0;
    struct timespec t1;

    if (s == NULL)
        return 1;
    s->queue = calloc(QUEUE_MAX, sizeof *s->queue);
    s->notes = calloc(NOTES, sizeof *s->notes);
    if (s->queue == NULL || s->notes == NULL)
        abort();
    s->seed = seed;
    s->steps_max = args->steps;
    s->mutation = args->mutation;
    s->verbose = args->verbose;
    s->expect_caught = args->expect_caught;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    while (s->steps < s->steps_max)
        run_episode(s);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    printf("seed %" PRIu64 ": %" PRIu64 " steps, %" PRIu64 " episodes, %" PRIu64 " events, %" PRIu64
           " duplicates, %" PRIu64 " faults, %" PRIu64 " reads, %" PRIu64 " acks, %" PRIu64
           " sleeps, %" PRIu64 " wake-ups, %" PRIu64 " strays, %" PRIu64 " slots (%" PRIu64
           " commits in the log, unseen), %" PRIu64 " streams, %" PRIu64 " rows streamed, %" PRIu64
           " passed over, %" PRIu64 " cut, %" PRIu64 " episodes with a named slot (%" PRIu64
           " events without a row, %" PRIu64 " deleted by their application, %" PRIu64
           " streams resumed, %" PRIu64 " positions, %" PRIu64 " to repeat), %" PRIu64
           " parked, %" PRIu64 " dead, %" PRIu64 " retried of these, %" PRIu64
           " discarded, %" PRIu64 " keys released, %.1f s\n",
           seed, s->steps, s->totals.episodes, s->totals.events, s->totals.duplicates,
           s->totals.faults, s->totals.reads, s->totals.acks, s->totals.sleeps, s->totals.wakeups,
           s->totals.strays, s->totals.slots, s->totals.unseen, s->totals.streams,
           s->totals.streamed, s->totals.passed, s->totals.cuts, s->totals.named,
           s->totals.messages, s->totals.taken, s->totals.resumed, s->totals.stored,
           s->totals.repeated, s->totals.parked, s->totals.dead, s->totals.retried,
           s->totals.discarded, s->totals.released,
           (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9);
    while (s->kept != NULL) {
        void **block = s->kept;

        s->kept = *block;
        free((void *)block);
    }
    free(s->queue);
    free(s->notes);
    free(s);
    return 0;
}

static int list_mutations(void)
{
    for (int m = 1; m < MUTATION_COUNT; m++)
        printf("%-24s %s\n", mutation_name((enum mutation)m), mutation_what((enum mutation)m));
    return 0;
}

static int usage(const char *why)
{
    fprintf(stderr,
            "sim: %s\nusage: sim [--seed N] [--seeds K] [--steps M] [--mutation NAME] "
            "[--expect-caught] [--verbose] [--list-mutations]\n",
            why);
    return 64;
}

static bool number(const char *text, uint64_t *ret)
{
    char *end;

    *ret = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0';
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},     {"seeds", required_argument, NULL, 'k'},
        {"steps", required_argument, NULL, 'n'},    {"mutation", required_argument, NULL, 'm'},
        {"expect-caught", no_argument, NULL, 'e'},  {"verbose", no_argument, NULL, 'v'},
        {"list-mutations", no_argument, NULL, 'l'}, {NULL, 0, NULL, 0},
    };
    struct arguments args = {.seed = 1, .seeds = 1, .steps = 1000000};
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'l')
            return list_mutations();
        if (c == 'e')
            args.expect_caught = true;
        else if (c == 'v')
            args.verbose = true;
        else if (c == 'm')
            args.mutation = mutation_find(optarg);
        else if (c == '?' || !number(optarg, c == 's'   ? &args.seed
                                             : c == 'k' ? &args.seeds
                                                        : &args.steps))
            return usage("a flag or number that it does not know");
    }
    if (args.mutation == MUTATION_COUNT)
        return usage("no such mutation; --list-mutations names them");
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (uint64_t i = 0; i < args.seeds; i++)
        if (run_seed(&args, args.seed + i) != 0)
            return 1;
    if (!args.expect_caught)
        return 0;
    fprintf(stderr, "NOT CAUGHT: mutation %s, seeds %" PRIu64 " to %" PRIu64 "\n",
            mutation_name(args.mutation), args.seed, args.seed + args.seeds - 1);
    return 1;
}

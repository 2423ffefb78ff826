/* process_*, named as Prometheus' client libraries name them. */
#include "ops/metrics_text.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct process_stat {
    unsigned long long user_ticks;
    unsigned long long system_ticks;
    unsigned long long start_ticks; /* since the machine's start */
    unsigned long long virtual_bytes;
    unsigned long long resident_pages;
};

static size_t read_text(const char *path, char *to, size_t size)
{
    FILE *f = fopen(path, "re");
    size_t n;

    if (f == NULL)
        return 0;
    n = fread(to, 1, size - 1, f);
    to[n] = '\0';
    (void)fclose(f);
    return n;
}

static bool read_stat(struct process_stat *ret)
{
    enum { STATE = 3, USER = 14, SYSTEM = 15, START = 22, VIRTUAL = 23, RESIDENT = 24 };
    unsigned long long fields[RESIDENT + 1] = {0};
    char text[2048];
    char *at;

    if (read_text("/proc/self/stat", text, sizeof text) == 0)
        return false;
    at = strrchr(text, ')'); /* the command's name may hold blanks and parentheses */
    if (at == NULL || strlen(at) < 4)
        return false;
    at += 3; /* behind the state, field 3 */
    for (int i = STATE + 1; i <= RESIDENT; i++) {
        char *end;

        fields[i] = strtoull(at, &end, 10);
        if (end == at)
            return false;
        at = end;
    }
    *ret = (struct process_stat){fields[USER], fields[SYSTEM], fields[START], fields[VIRTUAL],
                                 fields[RESIDENT]};
    return true;
}

/* The machine's start, seconds since 1970; 0 where it cannot be read. */
static double boot_time(void)
{
    FILE *f = fopen("/proc/stat", "re");
    char line[256];
    double boot = 0;

    if (f == NULL)
        return 0;
    while (boot == 0 && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "btime ", 6) == 0)
            boot = strtod(line + 6, NULL);
    (void)fclose(f);
    return boot;
}

static uint64_t open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;
    uint64_t n = 0;

    if (dir == NULL)
        return 0;
    while ((entry = readdir(dir)) != NULL) /* NOLINT(concurrency-mt-unsafe) */
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n > 0 ? n - 1 : 0; /* without the one that reads the directory */
}

static void one(struct buf *b, const char *name, enum metric_type type, const char *help, double v)
{
    metrics_family(b, name, type, help);
    metrics_sample_double(b, name, NULL, v);
}

void metrics_process(struct buf *b)
{
    const double ticks = (double)sysconf(_SC_CLK_TCK);
    const double page = (double)sysconf(_SC_PAGESIZE);
    struct process_stat s;
    struct rlimit files;
    double boot = boot_time();
    uint64_t nfiles = open_files();

    if (read_stat(&s)) {
        one(b, "process_cpu_seconds_total", METRIC_COUNTER,
            "Total user and system CPU time spent in seconds.",
            (double)(s.user_ticks + s.system_ticks) / ticks);
        one(b, "process_resident_memory_bytes", METRIC_GAUGE, "Resident memory size in bytes.",
            (double)s.resident_pages * page);
        one(b, "process_virtual_memory_bytes", METRIC_GAUGE, "Virtual memory size in bytes.",
            (double)s.virtual_bytes);
        if (boot > 0)
            one(b, "process_start_time_seconds", METRIC_GAUGE,
                "Start time of the process since unix epoch in seconds.",
                boot + (double)s.start_ticks / ticks);
    }
    if (nfiles > 0)
        one(b, "process_open_fds", METRIC_GAUGE, "Number of open file descriptors.",
            (double)nfiles);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        one(b, "process_max_fds", METRIC_GAUGE, "Maximum number of open file descriptors.",
            files.rlim_cur == RLIM_INFINITY ? -1.0 : (double)files.rlim_cur);
}

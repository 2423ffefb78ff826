#include "kafka/tls_files.h"

#include "kafka/kafka_conf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum holds { HOLDS_CERTIFICATES, HOLDS_KEY, HOLDS_STORE };

static const struct tls_file {
    const char *property;
    enum holds holds;
} files[] = {
    {"ssl.ca.location", HOLDS_CERTIFICATES},  {"ssl.certificate.location", HOLDS_CERTIFICATES},
    {"ssl.key.location", HOLDS_KEY},          {"ssl.keystore.location", HOLDS_STORE},
    {"ssl.crl.location", HOLDS_CERTIFICATES},
};

/* Its beginning, and 0; else errno. Directories, which ssl.ca.location may be, count as read. */
static int read_head(const char *path, bool may_be_directory, char *ret, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t n;
    int error = 0;

    ret[0] = '\0';
    if (file == NULL)
        return errno;
    errno = 0;
    n = fread(ret, 1, size - 1, file);
    ret[n] = '\0';
    if (ferror(file) && !(errno == EISDIR && may_be_directory))
        error = errno;
    (void)fclose(file);
    return error;
}

static int explain_key(const rd_kafka_conf_t *conf, const char *path, const char *head,
                       const char *said, struct err *err)
{
    char other[512];
    char password[512];
    bool has_password = kafka_conf_value(conf, "ssl.key.password", password, sizeof password);

    (void)kafka_conf_value(conf, "ssl.certificate.location", other, sizeof other);
    if (strstr(said, "key values mismatch") != NULL)
        return err_set(err, ERR_CONFIG,
                       "kafka.ssl.key.location: the key in %s is not that of the certificate in "
                       "kafka.ssl.certificate.location (%s); set both to files of one pair",
                       path, other);
    if (strstr(head, "ENCRYPTED") != NULL)
        return err_set(err, ERR_CONFIG,
                       "kafka.ssl.key.location: the key in %s is encrypted, and %s", path,
                       has_password ? "kafka.ssl.key.password does not open it; correct that"
                                    : "kafka.ssl.key.password is not set; set it");
    return err_set(err, ERR_CONFIG,
                   "kafka.ssl.key.location: %s holds no private key in PEM; name a file that does",
                   path);
}

static bool explain_store(const char *path, const char *said, struct err *err)
{
    if (strstr(said, "mac verify failure") == NULL)
        return false;
    (void)err_set(err, ERR_CONFIG,
                  "kafka.ssl.keystore.location: kafka.ssl.keystore.password does not open %s",
                  path);
    return true;
}

bool tls_files_explain(const rd_kafka_conf_t *conf, const char *said, struct err *err)
{
    char path[512];
    char head[512];
    const struct tls_file *f = NULL;
    int error;

    for (size_t i = 0; f == NULL && i < sizeof files / sizeof *files; i++)
        if (strncmp(said, files[i].property, strlen(files[i].property)) == 0)
            f = &files[i];
    if (f == NULL || !kafka_conf_value(conf, f->property, path, sizeof path))
        return false;
    error = read_head(path, strcmp(f->property, "ssl.ca.location") == 0, head, sizeof head);
    if (error != 0)
        (void)err_set(err, ERR_CONFIG, "kafka.%s: %s cannot be read: %s", f->property, path,
                      strerror(error)); /* NOLINT(concurrency-mt-unsafe) */
    else if (f->holds == HOLDS_STORE)
        return explain_store(path, said, err);
    else if (f->holds == HOLDS_KEY)
        (void)explain_key(conf, path, head, said, err);
    else if (strstr(said, "no certificate") != NULL || strstr(said, "PEM lib") != NULL ||
             strstr(said, "no start line") != NULL)
        (void)err_set(err, ERR_CONFIG,
                      "kafka.%s: %s holds no certificate in PEM; name a file that does",
                      f->property, path);
    else
        return false;
    return true;
}

static uint64_t mix(uint64_t stamp, uint64_t value)
{
    return (stamp ^ value) * 0x100000001b3U; /* as FNV-1a */
}

uint64_t tls_files_stamp(const struct sink_options *options)
{
    uint64_t stamp = 0xcbf29ce484222325U;
    struct stat st;

    for (size_t i = 0; i < options->nproperties; i++) {
        const struct sink_property *p = &options->properties[i];

        if (strncmp(p->name, "ssl.", 4) != 0 || strstr(p->name, ".location") == NULL)
            continue;
        if (stat(p->value, &st) != 0)
            memset(&st, 0, sizeof st);
        stamp = mix(stamp, (uint64_t)st.st_ino);
        stamp = mix(stamp, (uint64_t)st.st_size);
        stamp = mix(stamp, (uint64_t)st.st_mtim.tv_sec);
        stamp = mix(stamp, (uint64_t)st.st_mtim.tv_nsec);
    }
    return stamp;
}

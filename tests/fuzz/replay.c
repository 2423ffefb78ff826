/* Runs a harness over files, without libFuzzer: what was found once is looked for in every build,
 * with every compiler. Of a folder, all that is in it. */
#include "fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

static void replay_file(const char *path)
{
    FILE *in = fopen(path, "rb");
    struct buf b = {0};
    char chunk[4096];
    struct slice input;
    size_t n;

    CHECK(in != NULL);
    (void)printf("%s\n", path); /* the last one, if it does not come back */
    (void)fflush(stdout);
    while ((n = fread(chunk, 1, sizeof chunk, in)) > 0)
        buf_append(&b, chunk, n);
    CHECK(!ferror(in) && !b.failed);
    (void)fclose(in);
    input = exact((struct slice){b.len == 0 ? (const unsigned char *)chunk : b.data, b.len});
    buf_free(&b);
    (void)LLVMFuzzerTestOneInput(input.data, input.len);
    free_slice(input);
}

static size_t replay(const char *path);

static size_t replay_folder(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    size_t n = 0;

    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        struct buf name = {0};

        if (entry->d_name[0] == '.')
            continue;
        buf_printf(&name, "%s/%s", path, entry->d_name);
        CHECK(buf_cstr(&name) != NULL);
        n += replay(buf_cstr(&name));
        buf_free(&name);
    }
    (void)closedir(dir);
    return n;
}

static size_t replay(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        perror(path);
        exit(1);
    }
    if (S_ISDIR(st.st_mode))
        return replay_folder(path);
    replay_file(path);
    return 1;
}

int main(int argc, char **argv)
{
    size_t n = 0;

    for (int i = 1; i < argc; i++)
        n += replay(argv[i]);
    (void)printf("%zu inputs\n", n);
    return n == 0; /* an empty corpus is a mistake */
}

/* outbox-manual page DATE | completion: run by the build. */
#include "cli/manual.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct buf b = {0};
    const char *text;
    bool written;

    if (argc == 3 && strcmp(argv[1], "page") == 0) {
        manual_page(&b, argv[2]);
    } else if (argc == 2 && strcmp(argv[1], "completion") == 0) {
        manual_completion(&b);
    } else {
        (void)fprintf(stderr, "usage: outbox-manual page YYYY-MM-DD | completion\n");
        return 64;
    }
    text = buf_cstr(&b);
    written = text != NULL && fputs(text, stdout) != EOF && fflush(stdout) == 0;
    buf_free(&b);
    return written ? 0 : 70;
}

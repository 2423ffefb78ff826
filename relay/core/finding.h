/* What `doctor` says of a part of the system, wherever it was found out. */
#ifndef OUTBOX_CORE_FINDING_H
#define OUTBOX_CORE_FINDING_H

enum severity {
    SEVERITY_OK,     /* no finding: a line for people */
    SEVERITY_UNSEEN, /* a right is missing to look at it */
    SEVERITY_WARNS,  /* slows events down, or will hold them back */
    SEVERITY_HOLDS,  /* holds events back */
};

/* All text is borrowed and as it came: whoever shows it escapes it. */
struct finding {
    enum severity severity;
    const char *section; /* "locks": what was looked at */
    const char *what;
    const char *where;  /* NULL with SEVERITY_OK */
    const char *remedy; /* a command for psql or a shell; NULL: what says all */
};

typedef void (*finding_fn)(void *arg, const struct finding *finding);

#endif

/* outbox-relay(1). What the program knows of itself comes from its tables; what only a page has,
 * files, systemd and the like, stands here. */
#include "cli/manual.h"

#include "cli/commands.h"
#include "ops/config_table.h"

#include <stdlib.h>
#include <string.h>

/* ---- roff ---- */

/* The code point at *at, which moves on behind it; the texts are our own, so valid UTF-8. */
static unsigned take_character(const unsigned char **at)
{
    unsigned c = *(*at)++;
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

    if (more > 0)
        c &= 0x3fU >> more;
    for (; more > 0; more--)
        c = c << 6 | (*(*at)++ & 0x3fU);
    return c;
}

/* What roff would take for its own is escaped; line breaks stay. */
static void plain(struct buf *b, const char *text)
{
    static const struct {
        char plain;
        const char *escaped;
    } specials[] = {{'\\', "\\e"},  {'-', "\\-"},   {'\'', "\\(aq"}, {'`', "\\(ga"},
                    {'^', "\\(ha"}, {'~', "\\(ti"}, {'"', "\\(dq"}};
    const unsigned char *at = (const unsigned char *)text;
    bool line_start = true;

    while (*at != '\0') {
        unsigned c = take_character(&at);
        const char *escaped = NULL;

        for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
            if (c == (unsigned char)specials[i].plain)
                escaped = specials[i].escaped;
        if (line_start && c == '.')
            buf_printf(b, "\\&");
        if (escaped != NULL)
            buf_printf(b, "%s", escaped);
        else if (c >= 0x80)
            buf_printf(b, "\\[u%04X]", c);
        else
            buf_printf(b, "%c", (int)c);
        line_start = c == '\n';
    }
}

static void bold(struct buf *b, const char *text)
{
    buf_printf(b, "\\fB");
    plain(b, text);
    buf_printf(b, "\\fR");
}

static void section(struct buf *b, const char *name)
{
    buf_printf(b, ".SH %s\n", name);
}

/* A heading begins a paragraph by itself. */
static void begin_paragraph(struct buf *b)
{
    const char *text = buf_cstr(b);
    const char *line = text != NULL ? text + b->len - 1 : NULL;

    while (line != NULL && line > text && line[-1] != '\n')
        line--;
    if (line == NULL || strncmp(line, ".S", 2) != 0)
        buf_printf(b, ".PP\n");
}

static void paragraph(struct buf *b, const char *text)
{
    begin_paragraph(b);
    plain(b, text);
}

/* Lines that stay as they are, less their common indentation. */
static void block(struct buf *b, const char *text, size_t indent)
{
    begin_paragraph(b);
    buf_printf(b, ".RS 4\n.nf\n");
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        char line[256];

        if (strspn(text, " ") >= indent)
            (void)snprintf(line, sizeof line, "%.*s", (int)(len - indent), text + indent);
        else
            (void)snprintf(line, sizeof line, "%.*s", (int)len, text);
        plain(b, line);
        buf_printf(b, "\n");
        text += len + (text[len] == '\n');
    }
    buf_printf(b, ".fi\n.RE\n");
}

/* An entry of a list; its text follows. */
static void entry(struct buf *b, const char *name)
{
    buf_printf(b, ".TP\n");
    bold(b, name);
    buf_printf(b, "\n");
}

struct item {
    const char *name;
    const char *text;
};

static void list(struct buf *b, const struct item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        entry(b, items[i].name);
        plain(b, items[i].text);
        buf_printf(b, "\n");
    }
}

/* ---- out of the tables ---- */

/* A part of a command's help: usage, prose or examples. */
static void help_part(struct buf *b, const char *part)
{
    static const char usage[] = "Usage: ";
    static const char example[] = "Example";
    const char *rest;

    if (strncmp(part, usage, strlen(usage)) == 0) {
        block(b, part + strlen(usage), strlen(usage));
    } else if (strncmp(part, example, strlen(example)) == 0) {
        rest = strchr(part, '\n');
        if (rest != NULL)
            block(b, rest + 1, 2);
    } else {
        paragraph(b, part);
    }
}

/* Blank lines part it. */
static void help_parts(struct buf *b, const char *help)
{
    while (*help != '\0') {
        const char *end = strstr(help, "\n\n");
        size_t len = end != NULL ? (size_t)(end - help) + 1 : strlen(help);
        char *part = strndup(help, len);

        if (part == NULL) {
            b->failed = true;
            return;
        }
        help_part(b, part);
        free(part);
        help += len + (end != NULL);
    }
}

static void commands(struct buf *b)
{
    section(b, "COMMANDS");
    for (size_t i = 0; i < COMMAND_HELP; i++) {
        const struct command_entry *e = &command_table[i];

        buf_printf(b, ".SS ");
        plain(b, e->name);
        for (size_t v = 0; e->verbs != NULL && e->verbs[v] != NULL; v++) {
            buf_printf(b, v > 0 ? ", " : " ");
            plain(b, e->verbs[v]);
        }
        buf_printf(b, "\n");
        help_parts(b, e->help);
    }
}

static void setting(struct buf *b, const struct setting *s)
{
    char name[SETTING_NAME_MAX];
    struct buf allowed = {0};
    const char *text;

    setting_flag(s->key, name);
    buf_printf(b, ".TP\n");
    bold(b, name);
    buf_printf(b, " \\fIVALUE\\fR\n");
    plain(b, s->help);
    buf_printf(b, "\n.br\nKey ");
    bold(b, s->key);
    setting_variable(s->key, name);
    buf_printf(b, ", variable ");
    bold(b, name);
    setting_allowed(s, &allowed);
    text = buf_cstr(&allowed);
    if (text == NULL)
        b->failed = true;
    else {
        buf_printf(b, ".\n.br\nAllowed: ");
        plain(b, text);
    }
    buf_printf(b, ".\n.br\nDefault: ");
    plain(b, *s->default_text != '\0' ? s->default_text : "empty");
    buf_printf(b, ".\n");
    buf_free(&allowed);
}

static void settings(struct buf *b)
{
    section(b, "SETTINGS");
    plain(b, command_settings_rule);
    buf_printf(b, ".TP\n\\fB\\-\\-config\\fR \\fIFILE\\fR\nThe JSON file of settings; variable "
                  "\\fBOUTBOX_CONFIG\\fR.\n.br\nDefault: none is read.\n");
    for (size_t i = 0; i < SETTINGS; i++)
        setting(b, &setting_table[i]);
    buf_printf(b, ".TP\n\\fB\\-\\-kafka\\-bootstrap\\-servers\\fR \\fIHOST:PORT,HOST:PORT\\fR\n"
                  "The brokers; required.\n.br\n"
                  "Key \\fBkafka.bootstrap.servers\\fR, variable "
                  "\\fBOUTBOX_KAFKA_BOOTSTRAP_SERVERS\\fR.\n"
                  ".TP\n\\fB\\-\\-kafka\\-\\fINAME\\fR \\fIVALUE\\fR\n"
                  "Any other property of librdkafka: \\fB\\-\\-kafka\\-sasl\\-username\\fR is "
                  "sasl.username.\nThose that would break a guarantee are refused.\n");
}

static void exits(struct buf *b)
{
    char code[8];

    section(b, "EXIT STATUS");
    for (size_t i = 0; i < COMMAND_EXITS; i++) {
        (void)snprintf(code, sizeof code, "%d", command_exits[i].code);
        list(b, &(struct item){code, command_exits[i].meaning}, 1);
    }
}

/* ---- of the page alone ---- */

static const struct item variables[] = {
    {"OUTBOX_CONFIG", "The file of settings, where --config does not say."},
    {"OUTBOX_NAME", "The setting of that name: SETTINGS says which. A name that is no setting is "
                    "refused."},
    {"OUTBOX_NAME_FILE", "A file that holds that setting's value."},
    {"PGHOST, PGUSER, PGPASSWORD, PGPASSFILE, PGSERVICE, ...",
     "libpq's own, for what postgres.uri leaves out."},
    {"NOTIFY_SOCKET, WATCHDOG_USEC", "Set by systemd: where run tells that it is ready, how it is "
                                     "and that it lives."},
};

static const struct item files[] = {
    {"/etc/outbox-relay/relay.json", "The settings of outbox-relay.service."},
    {"/etc/outbox-relay/NAME.json",
     "The settings of outbox-relay@NAME.service: an instance for each outbox. On one host each\n"
     "needs an http.listen of its own."},
    {"/etc/outbox-relay/credentials/",
     "A place for passwords, readable by root alone: systemd hands them to the service (below)."},
    {"/usr/share/doc/outbox-relay/examples/credentials.conf", "The drop-in that does so."},
    {"/usr/share/outbox-relay/", "The schema's migrations, for each migration tool."},
};

static const char service_text[] =
    "The service is neither enabled nor started by its installation. It and its instances run as\n"
    "the user outbox-relay, which exists only while they do (DynamicUser): the role of peer\n"
    "authentication, for which the host needs libnss-systemd. A URI with a password goes into a\n"
    "file that root alone reads:\n";

static const char service_steps[] =
    "install -m 600 /dev/stdin /etc/outbox-relay/credentials/postgres-uri\n"
    "install -D -m 644 /usr/share/doc/outbox-relay/examples/credentials.conf \\\n"
    "    /etc/systemd/system/outbox-relay.service.d/credentials.conf\n"
    "systemctl daemon-reload\n"
    "systemctl enable --now outbox-relay\n"
    "systemctl status outbox-relay\n";

static const char service_rest[] =
    "The start is over when the relay publishes, stands by for another one, or waits for a server\n"
    "that is away. A wrong setting, a missing right or a table that does not fit fail it, and it "
    "is\n"
    "not tried again.\n";

static const char notes_text[] =
    "Kafka 4.0 and later refuse the SCRAM login of a librdkafka before 2.6.1, such as Debian 12's\n"
    "2.0.2, with the right password too; outbox-relay version shows which one is there. Mutual "
    "TLS\n"
    "works with either.\n";

static void tail(struct buf *b)
{
    section(b, "FILES");
    list(b, files, sizeof files / sizeof *files);
    section(b, "SYSTEMD");
    plain(b, service_text);
    block(b, service_steps, 0);
    paragraph(b, service_rest);
    section(b, "NOTES");
    plain(b, notes_text);
    section(b, "EXAMPLES");
    block(b, command_examples, 2);
    section(b, "SEE ALSO");
    buf_printf(b, ".BR psql (1),\n.BR systemctl (1),\n.BR systemd.exec (5),\n"
                  ".BR systemd\\-creds (1)\n");
}

void manual_page(struct buf *b, const char *date)
{
    buf_printf(b, ".TH OUTBOX\\-RELAY 1 %s \"outbox\\-relay %s\" \"User Commands\"\n", date,
               OUTBOX_VERSION);
    section(b, "NAME");
    buf_printf(b, "outbox\\-relay \\- publish a PostgreSQL outbox table to Apache Kafka\n");
    section(b, "SYNOPSIS");
    buf_printf(b, "\\fBoutbox\\-relay\\fR [\\fICOMMAND\\fR] "
                  "[\\fB\\-\\-\\fIsetting\\fR \\fIvalue\\fR ...]\n");
    section(b, "DESCRIPTION");
    plain(b, command_purpose);
    commands(b);
    settings(b);
    section(b, "ENVIRONMENT");
    list(b, variables, sizeof variables / sizeof *variables);
    section(b, "SIGNALS");
    plain(b, command_signals);
    exits(b);
    tail(b);
}

/* What bash offers behind `outbox-relay`: commands, their verbs and flags, settings and their
 * words.
 */
#include "cli/manual.h"

#include "cli/commands.h"
#include "cli/schema_format.h"
#include "ops/config_table.h"

static const char head[] =
    "# bash completion for outbox-relay, made from its tables of commands and settings.\n"
    "# shellcheck shell=bash\n"
    "\n"
    "_outbox_relay() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
    "    local command='' verb='' flags='' verbs='' words='' i\n";

/* bash splits --flag=value into three words. */
static const char find_command[] =
    "\n"
    "    if [[ $cur == '=' ]]; then\n"
    "        cur=''\n"
    "    elif [[ $prev == '=' ]]; then\n"
    "        prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
    "    fi\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        if [[ ${COMP_WORDS[i]} == --* ]]; then\n"
    "            [[ \" $switches \" == *\" ${COMP_WORDS[i]} \"* ]] && continue\n"
    "            [[ ${COMP_WORDS[i + 1]} == '=' ]] && ((i += 1))\n"
    "            ((i += 1))\n"
    "        elif [[ ! $command ]]; then\n"
    "            command=${COMP_WORDS[i]}\n"
    "        elif [[ ! $verb ]]; then\n"
    "            verb=${COMP_WORDS[i]}\n"
    "        fi\n"
    "    done\n"
    "\n";

static const char offer[] =
    "    if [[ $cur == -* ]]; then\n"
    "        words=\"$flags --help\"\n"
    "        [[ $command == version || $command == help ]] || words+=\" $settings\"\n"
    "        [[ $command ]] || words+=' --version'\n"
    "    elif [[ ! $command || ($command == help && ! $verb) ]]; then\n"
    "        words=$commands\n"
    "    elif [[ ! $verb ]]; then\n"
    "        words=$verbs\n"
    "    fi\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
    "}\n"
    "complete -F _outbox_relay outbox-relay\n";

static void command_names(struct buf *b)
{
    buf_printf(b, "    local commands='");
    for (size_t i = 0; i <= COMMAND_HELP; i++)
        buf_printf(b, "%s%s", i > 0 ? " " : "", command_table[i].name);
    buf_printf(b, "'\n    local switches='--help --version");
    for (size_t i = 0; i < COMMAND_FLAGS; i++)
        if (command_flags[i].value == NULL)
            buf_printf(b, " %s", command_flags[i].name);
    buf_printf(b, "'\n");
}

static void setting_names(struct buf *b)
{
    char flag[SETTING_NAME_MAX];

    buf_printf(b, "    local settings='--config");
    for (size_t i = 0; i < SETTINGS; i++) {
        setting_flag(setting_table[i].key, flag);
        buf_printf(b, " %s", flag);
    }
    buf_printf(b, " --kafka-bootstrap-servers'\n");
}

/* One branch for each flag whose values are known; any other flag takes what nobody can guess. */
static void values(struct buf *b)
{
    const char *formats[SCHEMA_FORMATS_MAX];
    size_t n = schema_format_names(formats);
    char flag[SETTING_NAME_MAX];

    buf_printf(b, "    case $prev in\n"
                  "    --config)\n"
                  "        compopt -o filenames 2>/dev/null\n"
                  "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                  "        return\n"
                  "        ;;\n"
                  "    --directory)\n"
                  "        compopt -o filenames 2>/dev/null\n"
                  "        mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n"
                  "        return\n"
                  "        ;;\n"
                  "    --format) words='");
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s%s", i > 0 ? " " : "", formats[i]);
    buf_printf(b, "' ;;\n");
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *s = &setting_table[i];

        if (s->type != SETTING_WORD)
            continue;
        setting_flag(s->key, flag);
        buf_printf(b, "    %s) words='", flag);
        for (size_t w = 0; s->words[w] != NULL; w++)
            buf_printf(b, "%s%s", w > 0 ? " " : "", s->words[w]);
        buf_printf(b, "' ;;\n");
    }
    buf_printf(b, "    --*) [[ \" $switches \" == *\" $prev \"* ]] || return ;;\n"
                  "    esac\n"
                  "    if [[ $words ]]; then\n"
                  "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                  "        return\n"
                  "    fi\n\n");
}

static void by_command(struct buf *b)
{
    buf_printf(b, "    case $command in\n");
    for (unsigned i = 0; i < COMMAND_HELP; i++) {
        const char *const *verbs = command_table[i].verbs;
        const char *space = "";

        buf_printf(b, "    %s) flags='", command_table[i].name);
        for (size_t f = 0; f < COMMAND_FLAGS; f++) {
            if ((command_flags[f].commands & COMMAND_BIT(i)) == 0)
                continue;
            buf_printf(b, "%s%s", space, command_flags[f].name);
            space = " ";
        }
        buf_printf(b, "' verbs='");
        for (size_t v = 0; verbs != NULL && verbs[v] != NULL; v++)
            buf_printf(b, "%s%s", v > 0 ? " " : "", verbs[v]);
        buf_printf(b, "' ;;\n");
    }
    buf_printf(b, "    esac\n");
}

void manual_completion(struct buf *b)
{
    buf_printf(b, "%s", head);
    command_names(b);
    setting_names(b);
    buf_printf(b, "%s", find_command);
    values(b);
    by_command(b);
    buf_printf(b, "%s", offer);
}

/* The schema's migrations, as they stand in schema/migrations, inside of the program. */
#ifndef OUTBOX_CLI_MIGRATIONS_H
#define OUTBOX_CLI_MIGRATIONS_H

/* The text of NNNN_*.up.sql, static; NULL: there is no such version. */
const char *migration_up(int version);

#endif

# Made by `outbox-relay schema print` from schema/migrations. Do not edit.

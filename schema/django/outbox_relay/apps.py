# Made by `outbox-relay schema print` from schema/migrations. Do not edit.
from django.apps import AppConfig


class OutboxRelayConfig(AppConfig):
    name = "outbox_relay"

-- The roles of compose.yaml, each with no more than it needs; their passwords are those of the
-- addresses that they log in by. Once more, it changes nothing but a password.
\set relay_password `sed 's|.*:\(.*\)@.*|\1|' /run/secrets/relay-uri`
\set orders_password `sed 's|.*:\(.*\)@.*|\1|' /run/secrets/orders-uri`

SELECT format('CREATE ROLE %I LOGIN', role) FROM unnest(ARRAY['relay', 'orders']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE relay PASSWORD :'relay_password';
ALTER ROLE orders PASSWORD :'orders_password';
GRANT CREATE ON SCHEMA public TO orders; -- its own tables
SELECT outbox_grant('relay', 'relay'), outbox_grant('writer', 'orders');

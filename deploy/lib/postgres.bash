# A PostgreSQL server of one's own in a folder: initdb, start, a generated password. Sourced.
# Needs: process.bash. The server refuses to run as root, so root hands it to the user postgres.
# shellcheck shell=bash disable=SC2034,SC2154 # names shared with whoever sources it

# The newest version's programs; Debian keeps them off the PATH.
postgres_bin() {
    local found
    found=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)
    [[ -x $found ]] || return 1
    printf '%s' "${found%/postgres}"
}

# postgres_start DIR PORT: leaves the superuser's password in DIR/pgpass (for PGPASSFILE); the
# server takes connections when this returns 0.
postgres_start() {
    local dir=$1 port=$2 log=$1/postgres.log data=$1/postgres bin password
    bin=$(postgres_bin) || fail 'no PostgreSQL server was found under /usr/lib/postgresql'
    password=$(head -c 300 /dev/urandom | base64 -w 0 | tr -dc A-Za-z0-9 | head -c 24)
    (umask 077 && printf '127.0.0.1:%s:*:*:%s\n' "$port" "$password" >"$dir/pgpass")
    (umask 077 && printf '%s\n' "$password" >"$dir/password")
    mkdir -m 700 "$data"
    if ((EUID == 0)); then
        process_as=(--reuid postgres --regid postgres --init-groups)
        chmod 711 "$dir"
        chown postgres "$data" "$dir/password"
    fi
    process_run "$log" "$bin/initdb" -D "$data" -U postgres -E UTF8 --locale C.UTF-8 --no-sync \
        --auth scram-sha-256 --pwfile "$dir/password" || return 1
    rm "$dir/password"
    process_spawn postgres "$log" "$bin/postgres" -D "$data" -p "$port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories=
    process_as=()
    process_wait "$process_pid" "$log" 60 "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"
}

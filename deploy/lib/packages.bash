# Debian packages, by what they are for; only what is missing is installed. Sourced.
# Needs: ui.bash.
# shellcheck shell=bash disable=SC2034,SC2154 # names shared with whoever sources it

packages_build=(build-essential cmake ninja-build pkg-config libpq-dev librdkafka-dev libuv1-dev
    libjansson-dev libmicrohttpd-dev libsystemd-dev)
packages_servers=(postgresql default-jre-headless maven kcat curl ca-certificates)
packages_tests=(clang clang-format clang-tidy libclang-rt-14-dev libcmocka-dev python3
    python3-pip python3-pytest python3-pytest-xdist python3-psycopg2 python3-confluent-kafka
    python3-yaml prometheus pgbouncer shellcheck iproute2 openssl debootstrap lintian systemd
    systemd-container groff-base man-db mandoc)

# packages_missing NAME...: those that are not installed, one a line.
packages_missing() {
    local name status
    for name; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) || status=
        [[ $status == installed ]] || printf '%s\n' "$name"
    done
}

# packages_install LOG NAME...: with sudo unless root. apt-get stays in the foreground: sudo may
# have to ask for a password there, and dpkg should not be cut off half way.
packages_install() {
    local log=$1 root=()
    shift
    command -v apt-get >/dev/null ||
        fail "apt-get is not here: install by hand what stands for these Debian packages: $*"
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            fail "packages are missing and there is no sudo; as root run: apt-get install $*"
        root=(sudo)
        sudo -v || fail "packages are missing; as root run: apt-get install $*"
    fi
    # dpkg's lock may be held by another installation: wait for it rather than fail.
    local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q
        -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 --no-install-recommends)
    { "${apt[@]}" update && "${apt[@]}" install "$@"; } </dev/null >>"$log" 2>&1 ||
        fail "apt-get could not install: $*" "$log"
    # It comes with a service, which nobody here uses. (Where none may be started none runs.)
    [[ " $* " != *' pgbouncer '* ]] ||
        "${root[@]}" sh -c 'invoke-rc.d pgbouncer stop; update-rc.d pgbouncer disable' \
            </dev/null >>"$log" 2>&1 || :
}

# packages_need LOG NAME...: a step that installs those which are missing; none, no step.
packages_need() {
    local log=$1 missing
    shift
    mapfile -t missing < <(packages_missing "$@")
    ((${#missing[@]})) || return 0
    step_begin "install ${#missing[@]} Debian packages: ${missing[*]}"
    packages_install "$log" "${missing[@]}"
    step_end
}

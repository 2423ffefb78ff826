# Child processes that are never left behind: each leads a session of its own, so that a signal
# ends it with all that it started, and is written down for whoever stops it later. Sourced.
# Needs: ui.bash. A pid is trusted only together with its start time, since pids come again.
# shellcheck shell=bash disable=SC2034,SC2154 # names shared with whoever sources it

process_list=   # file of "name pid starttime", in the order of starting
process_keep=   # "clear": what is started outlives this script
process_as=()   # setpriv's options for the user that the next one runs as

# When the process $1 was started, in ticks since boot; empty if there is none or it is a zombie.
process_started() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
    stat=${stat##*) }
    local fields
    read -r -a fields <<<"$stat"
    [[ ${fields[0]} == Z ]] || printf '%s' "${fields[19]}"
}

# process_spawn NAME LOG COMMAND...: in the background; its pid is left in $process_pid.
# It dies with this script, however that ends, unless process_keep says otherwise.
process_spawn() {
    local name=$1 log=$2
    shift 2
    # In one setpriv: a change of user would clear the signal again.
    setsid setpriv "${process_as[@]}" --pdeathsig "${process_keep:-TERM}" "$@" \
        </dev/null >>"$log" 2>&1 &
    process_pid=$!
    [[ -z $process_list ]] ||
        printf '%s %s %s\n' "$name" "$process_pid" "$(process_started "$process_pid")" >>"$process_list"
}

# process_run LOG COMMAND...: in the foreground with progress, yet a signal to this script is
# answered at once. Returns the command's status.
process_run() {
    local log=$1 list=$process_list keep=$process_keep
    process_list='' process_keep=''
    process_spawn run "$@"
    process_list=$list process_keep=$keep
    while [[ $(process_started "$process_pid") ]]; do
        step_progress "$log"
        sleep 0.2
    done
    wait "$process_pid"
}

# process_wait PID LOG SECONDS COMMAND...: until the command succeeds; fails when the process is
# gone or the time is over.
process_wait() {
    local pid=$1 log=$2 end=$((SECONDS + $3))
    shift 3
    until "$@" >/dev/null 2>&1; do
        [[ $(process_started "$pid") ]] || return 1
        ((SECONDS < end)) || return 1
        step_progress "$log"
        sleep 0.05
    done
}

# process_end PID STARTED SECONDS: SIGTERM to its session's group, after that long SIGKILL.
process_end() {
    local end=$((SECONDS + $3))
    [[ $2 && $(process_started "$1") == "$2" ]] || return 0
    kill -TERM -- "-$1" 2>/dev/null || kill -TERM "$1" 2>/dev/null || return 0
    while [[ $(process_started "$1") == "$2" ]]; do
        ((SECONDS < end)) || kill -KILL -- "-$1" 2>/dev/null || true
        sleep 0.05
    done
}

# Ends what the list $1 names, the last started first.
process_end_all() {
    local name pid started
    [[ -r $1 ]] || return 0
    while read -r name pid started; do
        process_end "$pid" "$started" 15
    done < <(tac "$1")
}

# For a trap: ends every child of this script, listed or not, also one begun a moment ago.
process_end_children() {
    local pid
    for pid in $(jobs -p | tac); do
        process_end "$pid" "$(process_started "$pid")" 15
    done
}

# A TCP port of this machine that nobody has: outside the range that the kernel hands out by itself.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        [[ " ${ports_given:-} " == *" $port "* ]] && continue
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
        ports_given+=" $port"
        free_port=$port
        return 0
    done
}

# What a person sees: steps with their time, a live line while one runs, errors. Sourced.
# Colour and the live line only on a terminal; NO_COLOR is honoured.
# shellcheck shell=bash disable=SC2034,SC2154 # names shared with whoever sources it

ui_live=
[[ -t 1 && ${TERM:-dumb} != dumb ]] && ui_live=1
ui_bold='' ui_dim='' ui_red='' ui_green='' ui_off=''
if [[ $ui_live && -z ${NO_COLOR:-} ]]; then
    ui_bold=$'\e[1m' ui_dim=$'\e[2m' ui_red=$'\e[31m' ui_green=$'\e[32m' ui_off=$'\e[0m'
fi

say() { printf '%s\n' "$*"; }
headline() { printf '\n%s%s%s\n' "$ui_bold" "$*" "$ui_off"; }

# fail TEXT [LOG]: the error, the end of the log that explains it, exit 1.
fail() {
    printf '%serror:%s %s\n' "$ui_red" "$ui_off" "$1" >&2
    if [[ ${2:-} && -s $2 ]]; then
        printf '  the end of %s:\n' "$2" >&2
        tail -n 15 "$2" | sed 's/^/  | /' >&2
    fi
    exit 1
}

# Milliseconds since 1970, and the time since such a moment.
now_ms() { local t=${EPOCHREALTIME/[.,]/}; printf '%s' "${t%???}"; }
seconds_since() {
    local ms=$(($(now_ms) - $1))
    printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

step_text='' step_start=0
# step_begin TEXT ... step_end [NOTE]: one line a step, with its time.
step_begin() {
    step_text=$1 step_start=$(now_ms)
    if [[ $ui_live ]]; then printf '  .. %s' "$1"; else printf '  .. %s\n' "$1"; fi
}

# Shows on a terminal that the step goes on: its time and the last line of the log $1.
step_progress() {
    [[ $ui_live && $step_text ]] || return 0
    local last=''
    [[ ${1:-} && -s $1 ]] && last=$(tail -c 300 "$1" | tr '\r' '\n' | grep -v '^ *$' | tail -n 1 | tr -cd '[:print:]')
    printf '\r\e[K  .. %s %s%s %.50s%s' "$step_text" "$ui_dim" "$(seconds_since "$step_start")" "$last" "$ui_off"
}

step_end() {
    [[ $ui_live ]] && printf '\r\e[K'
    printf '  %sok%s %s %s(%s%s)%s\n' "$ui_green" "$ui_off" "$step_text" "$ui_dim" \
        "$(seconds_since "$step_start")" "${1:+, $1}" "$ui_off"
    step_text=
}

# Shared by the flow tests: a private EnerLink with real servers in a temporary folder, and checks
# that are counted. A test sources this file, calls check and finally finish.
#
#   ENERLINK_BUILD   folder of the programs (default: build in the checkout)
#   ENERLINK_KEEP=1  keep the folder, to look at its logs
set -uo pipefail

flow_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
flow_bin=${ENERLINK_BUILD:-$flow_root/build}
flow_dir=$(mktemp -d "${TMPDIR:-/tmp}/enerlink-flow.XXXXXX")
chmod 711 "$flow_dir" # servers of another user pass through
flow_state=$flow_dir/state
flow_passed=0
flow_failed=0
flow_up=
export PATH=$PATH:/usr/sbin:/usr/lib/postgresql/15/bin

flow_cleanup() {
    local status=$?
    trap '' TERM INT
    up_stop
    local job
    for job in $(jobs -p); do
        { kill -KILL "$job" && wait "$job"; } 2>/dev/null
    done
    if [ -n "${ENERLINK_KEEP:-}" ]; then echo "kept: $flow_dir"; else rm -rf "$flow_dir"; fi
    exit "$status"
}
trap flow_cleanup EXIT
trap 'exit 143' TERM INT

# check TEXT COMMAND...: runs the command; its success is the check's.
check() {
    local text=$1
    shift
    if "$@" >"$flow_dir/check.out" 2>&1; then
        flow_passed=$((flow_passed + 1))
        echo "ok   $text"
    else
        flow_failed=$((flow_failed + 1))
        echo "FAIL $text"
        sed 's/^/     /' "$flow_dir/check.out" | head -40
    fi
}

# equal ACTUAL EXPECTED
equal() {
    [ "$1" = "$2" ] && return 0
    printf 'got:      %s\nexpected: %s\n' "$1" "$2"
    return 1
}

finish() {
    if [ "$flow_failed" -gt 0 ] && [ -f "$flow_dir/up.log" ]; then
        echo "     last lines of enerlink up:"
        tail -n 30 "$flow_dir/up.log" | sed 's/^/     /'
    fi
    echo "$flow_passed passed, $flow_failed failed"
    [ "$flow_failed" -eq 0 ]
    exit
}

# wait_until SECONDS COMMAND...: polls; false when the time is over.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

# up_start [ARGUMENT...]: EnerLink on free ports; UP_PREFIX may hold a command to run it under.
up_start() {
    ${UP_PREFIX:-} "$flow_bin/enerlink" up --dir "$flow_state" --http-port 0 --mqtt-port 0 "$@" \
        >>"$flow_dir/up.log" 2>&1 &
    flow_up=$!
    if ! wait_until 90 test -s "$flow_state/endpoints.json"; then
        echo "FAIL enerlink up is not ready after 90 s"
        tail -n 30 "$flow_dir/up.log"
        flow_failed=$((flow_failed + 1))
        finish
    fi
}

up_stop() {
    [ -n "$flow_up" ] || return 0
    kill -TERM "$flow_up" 2>/dev/null
    wait_until 40 gone "$flow_up" || kill -KILL "$flow_up" 2>/dev/null
    wait "$flow_up" 2>/dev/null
    flow_up=
}

gone() {
    [ ! -d "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status"
}

endpoint() {
    jq -r ".$1" "$flow_state/endpoints.json"
}

sql() {
    psql "$(endpoint pg)" -XAtq -v ON_ERROR_STOP=1 -c "$1"
}

# sql_file FILE [VARIABLE=VALUE...]
sql_file() {
    local file=$1 args=()
    shift
    for assignment in "$@"; do args+=(-v "$assignment"); done
    psql "$(endpoint pg)" -XAtq -v ON_ERROR_STOP=1 "${args[@]}" -f "$file"
}

redis() {
    redis-cli -s "$(endpoint redis | sed 's|^unix://||')" "$@"
}

# api PATH [CURL ARGUMENT...]
api() {
    local path=$1
    shift
    curl -sS -m 20 -H "Authorization: Bearer $(endpoint admin_key)" "$@" "$(endpoint http)$path"
}

# publish TOPIC FILE: one message with QoS 2, confirmed on return.
publish() {
    local url=${mqtt_url:-$(endpoint mqtt)} rest user host
    rest=${url#mqtt://}
    user=${rest%@*}
    host=${rest##*@}
    mosquitto_pub -h "${host%:*}" -p "${host##*:}" -u "${user%%:*}" -P "${user#*:}" -q 2 -t "$1" -f "$2"
}

sim() {
    ENERLINK_MQTT_URL=$(endpoint mqtt) "$flow_bin/enerlink-sim" "$@"
}

# Process id of a child of `up` whose command line contains $1.
child() {
    pgrep -P "$flow_up" -f "$1" | head -n 1
}

nothing_waits() {
    [ "$(redis zcard telemetry:dirty)" = 0 ] && [ "$(redis scard telemetry:work)" = 0 ]
}

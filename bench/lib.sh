# Shared by the benchmarks: a private EnerLink with real servers in a temporary folder.
# Sets dir, up (its process id), pg, socket (Redis); exports the URLs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=$(mktemp -d "${TMPDIR:-/tmp}/enerlink-bench.XXXXXX")
chmod 711 "$dir" # servers of another user pass through
up=

bench_cleanup() {
    if [ -n "$up" ]; then
        pkill -CONT -P "$up" 2>/dev/null || true
        kill -TERM "$up" 2>/dev/null || true
        wait "$up" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap bench_cleanup EXIT

# bench_start TARGET...: build these programs, start everything.
bench_start() {
    [ -f build/build.ninja ] || meson setup build >/dev/null
    ninja -C build enerlink "$@" >/dev/null
    build/enerlink up --dir "$dir/state" --http-port 0 --mqtt-port 0 >"$dir/up.log" 2>&1 &
    up=$!
    for _ in $(seq 300); do
        [ -s "$dir/state/endpoints.json" ] && break
        sleep 0.2
    done
    ENERLINK_MQTT_URL=$(jq -r .mqtt "$dir/state/endpoints.json")
    ENERLINK_REDIS_URL=$(jq -r .redis "$dir/state/endpoints.json")
    export ENERLINK_MQTT_URL ENERLINK_REDIS_URL
    pg=$(jq -r .pg "$dir/state/endpoints.json")
}

redis() { redis-cli -s "${ENERLINK_REDIS_URL#unix://}" "$@"; }
sql() { psql "$pg" -XAtqc "$1"; }
part() { pgrep -P "$up" -f "$1" | head -n 1; }
cpu_ns() { cat /proc/"$1"/task/*/schedstat | awk '{s += $1} END {printf "%.0f\n", s}'; }
rss_kb() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }

#!/usr/bin/env bash
# The API over a fleet with a day of history: CPU of the API process per `latest` request at 64
# connections (wrk), and the time of a warm history request of one meter.
#
#   bench/api.sh [SECONDS]
. "$(dirname "$0")/lib.sh"
seconds=${1:-5}

bench_start enerlink-sim
http=$(jq -r .http "$dir/state/endpoints.json")
key=$(jq -r .admin_key "$dir/state/endpoints.json")
api=$(part 'enerlink api')
build/enerlink-sim --meters 25 --duration 1 --backfill 24h --backfill-step 60 >/dev/null 2>&1
for _ in $(seq 200); do
    [ "$(redis zcard telemetry:dirty)" -le 2 ] && break
    sleep 0.5
done

for run in 1 2 3; do
    c0=$(cpu_ns "$api")
    wrk -t1 -c64 -d"$seconds"s -H "Authorization: Bearer $key" "$http/telemetry/latest/data/METER001" \
        >"$dir/wrk"
    c1=$(cpu_ns "$api")
    if grep Non-2xx "$dir/wrk"; then exit 1; fi
    requests=$(awk '/requests in/ {print $1}' "$dir/wrk")
    awk -v n="$requests" -v c=$((c1 - c0)) -v s="$seconds" 'BEGIN {
        printf "latest: %d requests, %.0f a second, %.1f us CPU each\n", n, n / s, c / n / 1000 }'
done

# history NAME START: median of 21 warm requests of three columns
history() {
    local url="$http/telemetry/history/METER001?metrics=import_power_avg,import_total_energy_inc,n&limit=10000"
    url="$url&start=$2&end=$(date -u +%FT%TZ)"
    for _ in $(seq 22); do
        curl -s -o /dev/null -w '%{time_total}\n' -H "Authorization: Bearer $key" "$url"
    done | tail -n 21 | sort -n | awk -v name="$1" 'NR == 11 {printf "history, %s: %.1f ms\n", name, $1 * 1000}'
}
history hour "$(date -u -d '-1 hour' +%FT%TZ)"
history day "$(date -u -d '-1 day' +%FT%TZ)"

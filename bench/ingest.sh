#!/usr/bin/env bash
# From a publisher at QoS 2 to a durable reading in Redis: CPU per message of broker, ingest and
# Redis, and the time a message takes. One run of `enerlink up` with private servers.
#
#   bench/ingest.sh [RATE [COUNT [METERS]]]     RATE 0: as fast as the broker confirms
set -euo pipefail
cd "$(dirname "$0")/.."
rate=${1:-0}
count=${2:-200000}
meters=${3:-10000}

meson setup build >/dev/null 2>&1 || true
ninja -C build bench/publish enerlink >/dev/null
dir=$(mktemp -d /tmp/enerlink-bench.XXXXXX)
chmod 711 "$dir"
cleanup() {
    kill -TERM "$up" 2>/dev/null || true
    wait "$up" 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT
build/enerlink up --dir "$dir/state" --http-port 0 --mqtt-port 0 >"$dir/up.log" 2>&1 &
up=$!
for _ in $(seq 300); do
    [ -s "$dir/state/endpoints.json" ] && break
    sleep 0.2
done
ENERLINK_MQTT_URL=$(jq -r .mqtt "$dir/state/endpoints.json")
export ENERLINK_MQTT_URL
socket=$(jq -r .redis "$dir/state/endpoints.json" | sed 's|^unix://||')

part() { pgrep -P "$up" -f "$1" | head -n 1; }
cpu_ns() { cat /proc/"$1"/task/*/schedstat | awk '{s += $1} END {printf "%.0f\n", s}'; }
rss_kb() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }
broker=$(part mosquitto)
ingest=$(part 'enerlink ingest')
redis=$(part redis-server)

build/bench/publish --rate 2000 --count 4000 --meters "$meters" >/dev/null # warm up
b0=$(cpu_ns "$broker") i0=$(cpu_ns "$ingest") r0=$(cpu_ns "$redis")
before=$(redis-cli -s "$socket" hget telemetry:health ingest | jq .stored)
sleep 2.2
before=$(redis-cli -s "$socket" hget telemetry:health ingest | jq .stored)
build/bench/publish --rate "$rate" --count "$count" --meters "$meters" | tee "$dir/publish"
for _ in $(seq 100); do
    sleep 0.5
    stored=$(redis-cli -s "$socket" hget telemetry:health ingest | jq .stored)
    [ $((stored - before)) -ge "$count" ] && break
done
b1=$(cpu_ns "$broker") i1=$(cpu_ns "$ingest") r1=$(cpu_ns "$redis")
memory=$(redis-cli -s "$socket" info memory | awk -F: '/^used_memory:/ {print $2 + 0}')

awk -v n="$count" -v b="$((b1 - b0))" -v i="$((i1 - i0))" -v r="$((r1 - r0))" \
    -v stored="$((stored - before))" -v memory="$memory" -v all="$stored" 'BEGIN {
    printf "stored %d of %d\n", stored, n
    printf "CPU us per message: broker %.1f  ingest %.2f  redis %.1f  sum %.1f\n",
        b / n / 1000, i / n / 1000, r / n / 1000, (b + i + r) / n / 1000
    printf "ingest / broker: %.2f\n", i / b
    printf "redis memory per message, all keys: %.0f B\n", memory / all
}'
# From the datetime in each meter's last message to the moment its batch was handed to Redis.
redis-cli -s "$socket" hvals telemetry:latest:data |
    jq -r '[.meterId, (.datetime | (.[:19] + "Z" | fromdateiso8601) * 1000 +
           (if .[19:20] == "." then .[20:23] | tonumber else 0 end))] | @tsv' |
    sort >"$dir/sent"
redis-cli -s "$socket" zrange telemetry:seen 0 -1 withscores | paste - - | sort >"$dir/seen"
join -t "$(printf '\t')" "$dir/sent" "$dir/seen" | awk -F'\t' '{print $3 - $2}' | sort -n |
    awk '{v[NR] = $1} END {printf "publish to store, ms: p50 %d  p90 %d  p99 %d  max %d (last messages of %d meters)\n",
        v[int(NR * 0.5)], v[int(NR * 0.9)], v[int(NR * 0.99)], v[NR], NR}'
printf 'RSS kB: broker %s  ingest %s  redis %s\n' "$(rss_kb "$broker")" "$(rss_kb "$ingest")" \
    "$(rss_kb "$redis")"

#!/usr/bin/env bash
# From a publisher at QoS 2 to a durable reading in Redis: CPU per message of broker, ingest and
# Redis, and the time a message takes. One run of `enerlink up` with private servers.
#
#   bench/ingest.sh [RATE [COUNT [METERS]]]     RATE 0: as fast as the broker confirms
. "$(dirname "$0")/lib.sh"
rate=${1:-0}
count=${2:-200000}
meters=${3:-10000}

bench_start bench/publish
stored() { redis hget telemetry:health ingest | jq .stored; }
broker=$(part mosquitto)
ingest=$(part 'enerlink ingest')
redis_pid=$(part redis-server)

build/bench/publish --rate 2000 --count 4000 --meters "$meters" >/dev/null # warm up
sleep 4.5 # a report of health comes every two seconds
before=$(stored)
b0=$(cpu_ns "$broker") i0=$(cpu_ns "$ingest") r0=$(cpu_ns "$redis_pid")
build/bench/publish --rate "$rate" --count "$count" --meters "$meters" | tee "$dir/publish"
for _ in $(seq 100); do
    sleep 0.5
    all=$(stored)
    [ $((all - before)) -ge "$count" ] && break
done
b1=$(cpu_ns "$broker") i1=$(cpu_ns "$ingest") r1=$(cpu_ns "$redis_pid")
memory=$(redis info memory | awk -F: '/^used_memory:/ {print $2 + 0}')

awk -v n="$count" -v b="$((b1 - b0))" -v i="$((i1 - i0))" -v r="$((r1 - r0))" \
    -v stored="$((all - before))" -v memory="$memory" -v all="$all" 'BEGIN {
    printf "stored %d of %d\n", stored, n
    printf "CPU us per message: broker %.1f  ingest %.2f  redis %.1f  sum %.1f\n",
        b / n / 1000, i / n / 1000, r / n / 1000, (b + i + r) / n / 1000
    printf "ingest / broker: %.2f\n", i / b
    printf "redis memory per message, all keys: %.0f B\n", memory / all
}'
# From the datetime in each meter's last message to the moment its batch was handed to Redis.
redis hvals telemetry:latest:data |
    jq -r '[.meterId, (.datetime | (.[:19] + "Z" | fromdateiso8601) * 1000 +
           (if .[19:20] == "." then .[20:23] | tonumber else 0 end))] | @tsv' |
    sort >"$dir/sent"
redis zrange telemetry:seen 0 -1 withscores | paste - - | sort >"$dir/seen"
join -t "$(printf '\t')" "$dir/sent" "$dir/seen" | awk -F'\t' '{print $3 - $2}' | sort -n |
    awk '{v[NR] = $1} END {printf "publish to store, ms: p50 %d  p90 %d  p99 %d  max %d (last messages of %d meters)\n",
        v[int(NR * 0.5)], v[int(NR * 0.9)], v[int(NR * 0.99)], v[NR], NR}'
printf 'RSS kB: broker %s  ingest %s  redis %s\n' "$(rss_kb "$broker")" "$(rss_kb "$ingest")" \
    "$(rss_kb "$redis_pid")"

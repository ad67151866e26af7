#!/usr/bin/env bash
# One minute of a fleet, from Redis to committed rows: wall time, CPU of aggregate, Redis and
# PostgreSQL, and the stage's peak memory. One run of `enerlink up` with private servers.
#
#   bench/aggregate.sh [METERS [MINUTES]]
. "$(dirname "$0")/lib.sh"
meters=${1:-10000}
minutes=${2:-3}

bench_start bench/fill
aggregate=$(part 'enerlink aggregate')
redis_pid=$(part redis-server)
backend=$(sql "SELECT pid FROM pg_stat_activity WHERE application_name LIKE '%aggregate%'")

for _ in $(seq "$minutes"); do
    # Just behind a minute's end, before that minute is due.
    until [ "$(date +%-S)" -ge 1 ] && [ "$(date +%-S)" -le 4 ]; do sleep 0.2; done
    kill -STOP "$aggregate"
    minute=$((($(date +%s) / 60 - 1) * 60))
    build/bench/fill --meters "$meters"
    until [ "$(date +%s)" -ge $((minute + 71)) ]; do sleep 0.1; done
    a0=$(cpu_ns "$aggregate") r0=$(cpu_ns "$redis_pid") p0=$(cpu_ns "$backend")
    w0=$(sql 'SELECT pg_current_wal_lsn()')
    kill -CONT "$aggregate"
    while [ -n "$(redis zscore telemetry:dirty "$minute")" ] || [ "$(redis scard telemetry:work)" != 0 ]; do
        sleep 0.05
    done
    a1=$(cpu_ns "$aggregate") r1=$(cpu_ns "$redis_pid") p1=$(cpu_ns "$backend")
    wal=$(sql "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '$w0')")
    sleep 2.5
    wall=$(redis hget telemetry:health aggregate | jq .last_work_ms)
    awk -v n="$meters" -v a=$((a1 - a0)) -v r=$((r1 - r0)) -v p=$((p1 - p0)) -v wall="$wall" -v wal="$wal" 'BEGIN {
        printf "%d meters: wall %d ms; CPU ms: aggregate %.0f  redis %.0f  postgres %.0f  sum %.0f; WAL %.0f B a row\n",
            n, wall, a / 1e6, r / 1e6, p / 1e6, (a + r + p) / 1e6, wal / n }'
done
awk '/^VmHWM/ {printf "peak memory of aggregate: %.1f MB\n", $2 / 1024}' "/proc/$aggregate/status"
sql "SELECT count(*) || ' rows, ' || sum(n) || ' data and ' || sum(n_status) || ' status messages' FROM telemetry_aggregates"

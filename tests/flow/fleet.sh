#!/usr/bin/env bash
# 200 meters for more than three closed minutes against real mosquitto, Redis and PostgreSQL, while
# ingest, aggregate and Redis are killed again and again: everything confirmed is stored once,
# and the counters add up.
. "$(dirname "$0")/lib.sh"

meters=${FLEET_METERS:-200}
seconds=${FLEET_SECONDS:-200}

up_start
sim --meters "$meters" --seed 7 --interval 5 --status-interval 30 --duration "$seconds" \
    --audit "$flow_dir/audit.csv" >"$flow_dir/sim.log" 2>&1 &
sim_pid=$!

kills=0
RANDOM=7
sleep 30
while ! gone "$sim_pid"; do
    for victim in "enerlink ingest" "enerlink aggregate" redis-server; do
        pid=$(child "$victim")
        [ -n "$pid" ] && kill -KILL "$pid" && kills=$((kills + 1))
        sleep $((3 + RANDOM % 5))
    done
done
wait "$sim_pid"
check "the simulator ended well after $kills kills" equal "$?" 0
check "at least nine kills hit" test "$kills" -ge 9

# The last minute ends, is due, and is settled a minute later.
check "everything is aggregated in the end" wait_until 180 nothing_waits
sql_file "$(dirname "$0")/audit.sql" audit="$flow_dir/audit.csv" >"$flow_dir/audit.out" 2>&1
check "the audit file can be read" test -s "$flow_dir/audit.out"
cat "$flow_dir/audit.out"

verdict() { grep -qx "$1|0" "$flow_dir/audit.out"; }
check "three minutes or more are closed" \
    test "$(sql "SELECT count(DISTINCT bucket) FROM telemetry_aggregates")" -ge 4
check "every message was confirmed" verdict unconfirmed
check "no confirmed message is missing, none is doubled" verdict wrong_counts
check "each row has exactly the seconds that were sent" verdict wrong_masks
check "no row stands for a minute without messages" verdict needless_rows
check "the increments of each counter add up to the counter" verdict wrong_sums

members=$(redis --scan --pattern 'telemetry:timeseries:*' |
    while read -r key; do redis zcard "$key"; done | awk '{s += $1} END {print s}')
check "Redis holds each message once" \
    equal "$members" "$(grep -c enerlink/meters "$flow_dir/audit.csv")"
check "nothing is in quarantine" equal "$(redis xlen telemetry:quarantine)" 0
finish

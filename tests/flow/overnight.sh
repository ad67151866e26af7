#!/usr/bin/env bash
# Stopped in mid-minute and started again ten hours later, when every short expiry has passed:
# nothing is lost. The second start sees a clock that is ten hours ahead.
. "$(dirname "$0")/lib.sh"

cc -shared -fPIC -O1 -o "$flow_dir/timeshift.so" "$(dirname "$0")/timeshift.c"

# A Redis of our own, because its clock must move too.
start_redis() { # [VARIABLE=VALUE...]
    env "$@" redis-server --port 0 --unixsocket "$flow_dir/redis.sock" --dir "$flow_dir" --save '' \
        --appendonly yes --appendfsync always --maxmemory-policy noeviction >>"$flow_dir/redis.log" &
    redis_pid=$!
    wait_until 10 redis-cli -s "$flow_dir/redis.sock" ping
}
export ENERLINK_REDIS_URL=unix://$flow_dir/redis.sock

start_redis
up_start
sim --meters 20 --seed 5 --interval 5 --duration 40 --audit "$flow_dir/audit.csv" \
    >"$flow_dir/sim.log" 2>&1
check "the simulator ended well" equal "$?" 0
sent=$(grep -c enerlink/meters "$flow_dir/audit.csv")
check "messages were sent" test "$sent" -gt 100
minutes=$(redis zcard telemetry:dirty)
check "some of it was not aggregated when it stopped" test "$minutes" -ge 1
key=$(endpoint admin_key)
expiring=$(redis ttl telemetry:timeseries:METER001)
check "a reading that waits expires in days, not hours" test "$expiring" -gt 86400
up_stop
kill -TERM "$redis_pid"
wait "$redis_pid"
check "endpoints.json goes with it" test ! -e "$flow_state/endpoints.json"

shift_by="LD_PRELOAD=$flow_dir/timeshift.so TIMESHIFT_S=36000"
# shellcheck disable=SC2086
start_redis $shift_by
check "the second Redis lives ten hours later" \
    test "$(redis-cli -s "$flow_dir/redis.sock" time | head -n 1)" -gt $(($(date +%s) + 35000))
UP_PREFIX="env $shift_by" up_start
check "the admin key is the same" equal "$(endpoint admin_key)" "$key"
check "everything is aggregated in the end" wait_until 120 nothing_waits
sql_file "$(dirname "$0")/audit.sql" audit="$flow_dir/audit.csv" >"$flow_dir/audit.out" 2>&1
verdict() { grep -qx "$1|0" "$flow_dir/audit.out" || { cat "$flow_dir/audit.out"; return 1; }; }
for question in unconfirmed wrong_counts wrong_masks needless_rows wrong_sums; do
    check "overnight: no $question" verdict "$question"
done
silent() { [ "$(redis hlen telemetry:latest:data)" = 0 ]; }
check "silent meters leave the latest values" wait_until 60 silent
check "their last message stays in the registry" \
    equal "$(sql "SELECT count(*) FROM meters WHERE last_data ->> 'meterId' = meter_id")" 20
check "a silent meter's latest is not found" \
    equal "$(api /telemetry/latest/data/METER001 -o /dev/null -w '%{http_code}')" 404
finish

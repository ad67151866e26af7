#!/usr/bin/env bash
# Stopped in mid-minute and started again ten hours later, when every short expiry has passed:
# nothing is lost. The second start sees a clock that is ten hours ahead.
. "$(dirname "$0")/lib.sh"

up_start
sim --meters 20 --seed 5 --interval 5 --duration 40 --audit "$flow_dir/audit.csv" \
    >"$flow_dir/sim.log" 2>&1
check "the simulator ended well" equal "$?" 0
sent=$(grep -c enerlink/meters "$flow_dir/audit.csv")
check "messages were sent" test "$sent" -gt 100
minutes=$(redis zcard telemetry:dirty)
check "some of it was not aggregated when it stopped" test "$minutes" -ge 1
key=$(endpoint admin_key)
up_stop
check "endpoints.json goes with it" test ! -e "$flow_state/endpoints.json"

cc -shared -fPIC -O1 -o "$flow_dir/timeshift.so" "$(dirname "$0")/timeshift.c"
UP_PREFIX="env LD_PRELOAD=$flow_dir/timeshift.so TIMESHIFT_S=36000" up_start
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

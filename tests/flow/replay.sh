#!/usr/bin/env bash
# The recorded house, replayed at speed: minute rows agree with values computed in SQL straight from
# the recording.
. "$(dirname "$0")/lib.sh"

traces=$flow_root/meter/sim/traces
start=$(date -u -d '-1 day' +%Y-%m-%d)T17:00:00Z # local midnight at +07:00

up_start
sim --meters 3 --seed 3 --interval 5 --start "$start" --duration 14400 --speed 0 --zone +07:00 \
    --replay-load "$traces/household_load_1min.csv" --replay-solar "$traces/solar_ghi_1min.csv" \
    --replay-meters 3 --audit "$flow_dir/audit.csv" >"$flow_dir/sim.log" 2>&1
check "the simulator ended well" equal "$?" 0
check "everything is aggregated in the end" wait_until 120 nothing_waits

sql_file "$(dirname "$0")/audit.sql" audit="$flow_dir/audit.csv" >"$flow_dir/audit.out" 2>&1
sql_file "$(dirname "$0")/replay.sql" audit="$flow_dir/audit.csv" \
    load="$traces/household_load_1min.csv" >>"$flow_dir/audit.out" 2>&1
verdict() { grep -qx "$1|0" "$flow_dir/audit.out" || { cat "$flow_dir/audit.out"; return 1; }; }
for question in unconfirmed wrong_counts wrong_masks needless_rows wrong_sums; do
    check "replay: no $question" verdict "$question"
done
check "four hours of three houses are there" \
    equal "$(sql "SELECT count(*) FROM telemetry_aggregates")" 720
check "_avg, _min and _max equal the recording" verdict wrong_gauges
check "_wh equals the integral of the recording" verdict wrong_integrals
check "the counter rose by the integral of the recording" verdict wrong_energy
finish

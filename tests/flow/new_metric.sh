#!/usr/bin/env bash
# One row more in the list of metrics is all it takes: a program built over the longer list goes on
# with the Redis and the PostgreSQL of the one before it, old snapshots and old rows included.
. "$(dirname "$0")/lib.sh"

message() { # METER TIME IMPORT_POWER INVERTER_POWER
    printf '{"meterId":"%s","datetime":"%s","data":{"import":{"power":%s,"total_energy":5},"inverter":{"power":%s}}}' \
        "$@" >"$flow_dir/message"
    publish enerlink/meters/data "$flow_dir/message"
}
row() { sql "SELECT $1 FROM telemetry_aggregates WHERE meter_id = '$2'"; }
rows() { [ "$(row n "$1")" = "$2" ]; }

check "the program builds with one more row" bash -c "
    meson setup '$flow_dir/build' '$flow_root' -Dtests=false -Dmetrics=tests/flow/metric_plus.def &&
    ninja -C '$flow_dir/build'"
then=$(date -u -d '-5 minutes' +%Y-%m-%dT%H:%M)
up_start
message OLD "$then:10Z" 1000 7000
check "the shorter list folds what it knows" wait_until 40 rows OLD 1
check "and does not know the new column" \
    equal "$(sql "SELECT count(*) FROM information_schema.columns
                  WHERE table_name = 'telemetry_aggregates' AND column_name LIKE 'inverter%'")" 0
up_stop

flow_bin=$flow_dir/build
up_start
check "the new columns are there" \
    equal "$(sql "SELECT count(*) FROM information_schema.columns
                  WHERE table_name = 'telemetry_aggregates' AND column_name LIKE 'inverter%'")" 4
check "an old row reads as one without the metric" \
    equal "$(row "import_power_avg, inverter_power_avg IS NULL" OLD)" "1000|t"
message NEW "$then:10Z" 1000 7000
check "a new message has it" wait_until 40 rows NEW 1
check "with its statistics" \
    equal "$(row "inverter_power_avg, inverter_power_max, inverter_power_wh > 0" NEW)" "7000|7000|t"
message OLD "$then:30Z" 3000 9000
check "an old snapshot is folded together with a new one" wait_until 40 rows OLD 2
check "each with what it knows" \
    equal "$(row "import_power_avg, inverter_power_avg" OLD)" "2000|9000"
check "the API serves the column" \
    equal "$(api "/telemetry/history/OLD?start=$then:00Z&end=$(date -u +%Y-%m-%dT%H:%M:%SZ)&metrics=inverter.power" |
        jq '.data[0].inverter_power_avg')" 9000
finish

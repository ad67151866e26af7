#!/usr/bin/env bash
# Rubbish on the topics of the meters: each message ends in quarantine with the right reason, the
# good ones between them arrive, and a bad value costs only itself.
. "$(dirname "$0")/lib.sh"

up_start
mqtt_url=$(endpoint mqtt)
data=enerlink/meters/data
status=enerlink/meters/status
file=$flow_dir/payload
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
expected=()
good=0

# bad REASON PAYLOAD [TOPIC]
bad() {
    printf '%b' "$2" >"$file"
    publish "${3:-$data}" "$file"
    expected+=("$1")
    # A good message behind every third bad one.
    if [ $((${#expected[@]} % 3)) = 0 ]; then
        good=$((good + 1))
        printf '{"meterId":"GOOD%02d","datetime":"%s","data":{"import":{"power":%d}}}' \
            "$good" "$now" "$good" >"$file"
        publish "$data" "$file"
    fi
}

m="\"meterId\":\"BAD\",\"datetime\":\"$now\""
deep=$(printf '[%.0s' $(seq 40))$(printf ']%.0s' $(seq 40))
stack=$(printf '[%.0s' $(seq 8000))

bad not_json ''
bad not_json 'hello'
bad not_json "{$m,\"data\":{\"import\":{\"power\":1"
bad not_json "{$m,\"data\":{}} trailing"
bad not_json "{$m,\"data\":{}}{$m,\"data\":{}}"
bad not_json "{$m,\"data\":{\"import\":{\"power\":NaN}}}"
bad not_json "{$m,\"data\":{\"import\":{\"power\":Infinity}}}"
bad not_json "{$m,\"data\":{\"import\":{\"power\":-}}}"
bad not_json "{$m,\"data\":{\"import\":{\"power\":01}}}"
bad not_json "{$m,\"data\":{\"import\":{\"power\":1.}}}"
bad not_json "{$m,\"data\":{\"import\":{\"power\":+1}}}"
bad not_json "{$m,\"data\":{\"import\":{\"power\":0x10}}}"
bad not_json "{$m,\"data\":{\"import\":{\"power\":1,}}}"
bad not_json "{$m 'data':{}}"
bad not_json "{$m,\"data\":{}/* comment */}"
bad not_json "{$m,\"data\":{\"import\":{\"power\":tru}}}"
bad not_json "{$m,\"data\":{\"x\":\"tab\there\"}}"
bad not_json "{$m,\"data\":{\"x\":\"\\\\ud800\"}}"
bad not_json "\0{$m,\"data\":{}}"
bad not_utf8 "{$m,\"data\":{\"x\":\"\xff\xfe\"}}"
bad not_utf8 "{$m,\"data\":{\"x\":\"\xc0\x80\"}}"
bad not_utf8 "{$m,\"data\":{\"x\":\"\xed\xa0\x80\"}}"
bad too_deep "{$m,\"data\":{\"x\":$deep}}"
bad too_deep "{$m,\"data\":{\"x\":$stack"
bad duplicate_key "{$m,\"meterId\":\"GOOD\",\"data\":{}}"
bad duplicate_key "{$m,\"meter\\\\u0049d\":\"GOOD\",\"data\":{}}"
bad duplicate_key "{$m,\"data\":{},\"data\":{}}"
bad duplicate_key "{$m,\"data\":{\"import\":{\"power\":1,\"power\":2}}}"
bad duplicate_key "{$m,\"data\":{\"sensors\":{\"ina219\":[{\"address\":\"0x40\",\"connected\":true},{\"address\":\"0x40\",\"connected\":false}]}}}" $status
bad wrong_type "[]"
bad wrong_type "\"text\""
bad wrong_type "{$m,\"data\":[]}"
bad wrong_type "{$m,\"data\":{\"import\":5}}"
bad wrong_type "{$m,\"data\":{\"import\":{\"power\":\"12\"}}}"
bad wrong_type "{$m,\"data\":{\"import\":{\"power\":true}}}"
bad wrong_type "{$m,\"data\":{\"import\":{\"active\":1}}}"
bad wrong_type "{$m,\"data\":{\"import\":{\"power\":{\"value\":1}}}}"
bad wrong_type "{$m,\"data\":{\"net_grid\":{\"status\":7}}}"
bad wrong_type "{\"meterId\":7,\"datetime\":\"$now\",\"data\":{}}"
bad wrong_type "{$m,\"units\":\"W\",\"data\":{}}"
bad number_too_large "{$m,\"data\":{\"import\":{\"power\":1e999}}}"
bad number_too_large "{$m,\"data\":{\"import\":{\"power\":-1e400}}}"
bad missing_field "{}"
bad missing_field "{\"datetime\":\"$now\",\"data\":{}}"
bad missing_field "{\"meterId\":\"BAD\",\"data\":{}}"
bad missing_field "{$m}"
bad missing_field "{$m,\"data\":null}"
bad bad_meter_id "{\"meterId\":\"\",\"datetime\":\"$now\",\"data\":{}}"
bad bad_meter_id "{\"meterId\":\"all\",\"datetime\":\"$now\",\"data\":{}}"
bad bad_meter_id "{\"meterId\":\"../etc\",\"datetime\":\"$now\",\"data\":{}}"
bad bad_meter_id "{\"meterId\":\"a b\",\"datetime\":\"$now\",\"data\":{}}"
bad bad_meter_id "{\"meterId\":\"$(printf 'M%.0s' $(seq 65))\",\"datetime\":\"$now\",\"data\":{}}"
bad bad_datetime "{\"meterId\":\"BAD\",\"datetime\":\"yesterday\",\"data\":{}}"
bad bad_datetime "{\"meterId\":\"BAD\",\"datetime\":\"2025-02-30T00:00:00Z\",\"data\":{}}"
bad bad_datetime "{\"meterId\":\"BAD\",\"datetime\":\"2025-10-26T04:27:10\",\"data\":{}}"
bad unknown_unit "{$m,\"units\":{\"power\":\"hp\"},\"data\":{}}"
bad unknown_unit "{$m,\"units\":{\"energy\":\"J\"},\"data\":{}}"
bad before_2020 "{\"meterId\":\"BAD\",\"datetime\":\"1970-01-01T00:00:00Z\",\"data\":{}}"
bad too_old "{\"meterId\":\"BAD\",\"datetime\":\"2021-01-01T00:00:00Z\",\"data\":{}}"
bad in_future "{\"meterId\":\"BAD\",\"datetime\":\"2199-01-01T00:00:00Z\",\"data\":{}}"
head -c 20000 /dev/zero | tr '\0' ' ' >"$file"
publish $data "$file"
expected+=(too_large)
head -c 1000000 /dev/zero | tr '\0' '{' >"$file"
publish $data "$file"
expected+=(too_large)

check "at least 40 kinds of rubbish were sent" test "${#expected[@]}" -ge 40
all_arrived() { [ "$(redis xlen telemetry:quarantine)" -ge ${#expected[@]} ]; }
wait_until 10 all_arrived
redis --json xrange telemetry:quarantine - + >"$flow_dir/quarantine.json"
mapfile -t got < <(jq -r '.[][1] | . as $f | $f[(($f | index("reason")) + 1)]' "$flow_dir/quarantine.json")
check "as many are in quarantine as were sent" equal "${#got[@]}" "${#expected[@]}"
for i in "${!expected[@]}"; do
    check "rubbish $((i + 1)) is ${expected[$i]}" equal "${got[$i]:-nothing}" "${expected[$i]}"
done

check "the good messages between them arrived" equal "$(redis hlen telemetry:latest:data)" "$good"
for i in $(seq -f '%02g' "$good"); do
    check "GOOD$i is readable over HTTP" \
        equal "$(api "/telemetry/latest/data/GOOD$i" | jq .data.data.import.power)" "$((10#$i))"
done
check "a refused message is no meter's latest" equal "$(redis hexists telemetry:latest:data BAD)" 0
check "a meter refused for its time counts as heard of" test -n "$(redis zscore telemetry:seen BAD)"

# Values that cost only themselves, at least a minute ago so that they are folded soon.
then=$(date -u -d '-3 minutes' +%Y-%m-%dT%H:%M)
partial() {
    printf '{"meterId":"WORN","datetime":"%s:%sZ","data":%s}' "$then" "$1" "$2" >"$file"
    publish "$data" "$file"
}
partial 10 '{"battery":{"soc":256,"voltage":4.1},"import":{"power":1000,"total_energy":100}}'
partial 20 '{"battery":{"soc":null,"voltage":4.1},"import":{"power":1000,"total_energy":101}}'
partial 30 '{"battery":{"soc":55,"voltage":4.1},"net_grid":{"status":"sideways"},"import":{"power":3000,"total_energy":102}}'
partial 40 '{"battery":{"soc":99,"voltage":9,"valid":false},"import":{"power":3000,"total_energy":103}}'
folded() { [ "$(sql "SELECT n FROM telemetry_aggregates WHERE meter_id = 'WORN'")" = 4 ]; }
check "messages with a worn gauge are folded" wait_until 40 folded
check "only the good values count" equal \
    "$(sql "SELECT battery_soc_avg, battery_soc_max, battery_voltage_max, import_power_avg,
                   import_total_energy_inc, net_grid_status_last IS NULL
            FROM telemetry_aggregates WHERE meter_id = 'WORN'")" "55|55|4.1|2000|3|t"
reasons() { redis --json xrange telemetry:quarantine - + | jq -r '.[][1][]' | grep -c '^partial$'; }
check "one sample of a partial message is kept" equal "$(reasons)" 1
absent_counted() {
    equal "$(redis hget telemetry:health ingest | jq -c .absent)" '{"battery.soc":2,"net_grid.status":1}'
}
check "each absent value is counted" wait_until 5 absent_counted

# Units are honoured, and hostile text is inert wherever it is shown.
printf '{"meterId":"UNITS","datetime":"%s","units":{"power":"kW","current":"A","voltage":"kV","energy":"MWh"},"data":{"import":{"power":1.5,"current":2,"voltage":0.23,"total_energy":3}}}' "$now" >"$file"
publish "$data" "$file"
units_folded() { [ -n "$(sql "SELECT 1 FROM telemetry_aggregates WHERE meter_id = 'UNITS'")" ]; }
check "a message in other units is folded" wait_until 90 units_folded
check "its values are in the units of the specification" equal \
    "$(sql "SELECT import_power_max, import_current_max, import_voltage_max, import_total_energy_last
            FROM telemetry_aggregates WHERE meter_id = 'UNITS'")" "1.5e+06|2000|230|3000000"
finish

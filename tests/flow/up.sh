#!/usr/bin/env bash
# enerlink up: taken ports, restarts of its parts, its own violent end, the login link, strangers.
. "$(dirname "$0")/lib.sh"

# Whoever holds these ports already serves as well.
for port in 1883 5432 6379 8080; do
    redis-server --port $port --bind 127.0.0.1 --save '' --daemonize no >/dev/null 2>&1 &
done
sleep 1

"$flow_bin/enerlink" up --dir "$flow_state" --http-port 8080 >"$flow_dir/taken.log" 2>&1
check "a port asked for by flag and taken fails" equal "$?" 1
check "and the port is named" grep -q 8080 "$flow_dir/taken.log"

"$flow_bin/enerlink" up --dir "$flow_state" >>"$flow_dir/up.log" 2>&1 &
flow_up=$!
check "up is ready on other ports within a minute" wait_until 60 test -s "$flow_state/endpoints.json"
check "endpoints.json is private" equal "$(stat -c %a "$flow_state/endpoints.json")" 600
check "the HTTP port is another" test "$(endpoint http)" != http://127.0.0.1:8080
check "the page is served" equal "$(curl -s -o /dev/null -w '%{http_code}' "$(endpoint http)/")" 200
for key in http mqtt redis pg archive admin_key; do
    check "endpoints.json has $key" test "$(endpoint $key)" != null
done

# Strangers
http=$(endpoint http)
code() { curl -s -o /dev/null -w '%{http_code}' "$@"; }
check "without a key: 401" equal "$(code "$http/telemetry/latest/all")" 401
check "without a key an unknown path: 401" equal "$(code "$http/nothing")" 401
check "with a wrong key: 401" equal "$(code -H 'Authorization: Bearer x' "$http/telemetry/latest/all")" 401
check "with the key an unknown path: 404" equal "$(api /nothing -o /dev/null -w '%{http_code}')" 404
check "another method: 405" equal "$(api /telemetry/latest/all -X DELETE -o /dev/null -w '%{http_code}')" 405
check "an unknown Host is refused" \
    test "$(code -H 'Host: evil.example' "$http/livez")" -ge 400
rest=$(endpoint mqtt)
port=${rest##*:}
anonymous() { ! mosquitto_pub -h 127.0.0.1 -p "$port" -t enerlink/meters/data -m x; }
check "an anonymous client cannot connect to the broker" anonymous
secret=$(endpoint mqtt | sed 's|mqtt://[^:]*:\(.*\)@.*|\1|')
ps axww -o args >"$flow_dir/ps"
check "no secret is in the process list" \
    test "$(grep -cF -e "$secret" -e "$(endpoint admin_key)" "$flow_dir/ps")" = 0
check "no secret is in a log" \
    test "$(cat "$flow_dir"/up.log "$flow_state"/log/* | grep -cF -e "$secret" -e "$(endpoint admin_key)")" = 0

# The one-use link
ticket=$(sed -n 's/.*#login=\([A-Za-z0-9_-]*\).*/\1/p' "$flow_dir/up.log" | tail -n 1)
login() { curl -s -o /dev/null -w '%{http_code}' -c "$flow_dir/jar" -H "Origin: $http" \
    -H 'Content-Type: application/json' -d "{\"ticket\":\"$ticket\"}" "$http/session"; }
check "the link logs in" equal "$(login)" 204
check "its cookie opens the API" \
    equal "$(curl -s -o /dev/null -w '%{http_code}' -b "$flow_dir/jar" "$http/telemetry/latest/all")" 200
check "the link works once" equal "$(login)" 401

# Parts that die come back
for part in "enerlink ingest" "enerlink aggregate" "enerlink api" mosquitto redis-server; do
    old=$(child "$part")
    kill -KILL "$old"
    came_back() { new=$(child "$part"); [ -n "$new" ] && [ "$new" != "$old" ]; }
    check "$part comes back within two seconds" wait_until 2 came_back
done
old=$(child "postgres -D")
[ -n "$old" ] || old=$(child postgres)
kill -KILL "$old"
sound() { [ "$(api /readyz -o /dev/null -w '%{http_code}')" = 200 ]; }
check "all is ready again after PostgreSQL was killed too" wait_until 30 sound

# A message through all of it, then the supervisor itself dies
printf '{"meterId":"M1","datetime":"%s","data":{"import":{"power":7}}}' \
    "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$flow_dir/message"
publish enerlink/meters/data "$flow_dir/message"
m1() { [ "$(api /telemetry/latest/data/M1 | jq .data.data.import.power)" = 7 ]; }
check "a message arrives" wait_until 10 m1

mapfile -t children < <(pgrep -P "$flow_up")
kill -KILL "$flow_up"
wait "$flow_up" 2>/dev/null
none_left() { for pid in "${children[@]}"; do gone "$pid" || return 1; done; }
check "killed itself, it leaves no orphans" wait_until 30 none_left
rm -f "$flow_state/endpoints.json"
up_start
check "started again it goes on where it was" wait_until 10 m1
began=$SECONDS
up_stop
check "it stops within 30 s" test $((SECONDS - began)) -le 30
check "nothing of it runs on" test -z "$(pgrep -f "$flow_state")"
finish

-- Minute rows of replayed houses against the recording itself. Prints "question|violations".
\set QUIET on
CREATE TEMP TABLE audit (
    sent_ms bigint, confirmed_ms bigint, meter_id text COLLATE "C", topic text, at timestamptz,
    export_wh float8, import_wh float8, load_smart_wh float8, load_home_wh float8,
    solar_in_wh float8, solar_out_wh float8);
\set copy '\\copy audit FROM ' :'audit' ' WITH (FORMAT csv, HEADER true)'
:copy
CREATE TEMP TABLE house (
    local_time timestamp, power_kw float8, voltage_v float8, current_a float8,
    kitchen_wh float8, laundry_wh float8, heating_wh float8);
\set copy '\\copy house FROM ' :'load' ' WITH (FORMAT csv, HEADER true)'
:copy

-- The first recorded day, by minute of the local day.
CREATE TEMP TABLE by_minute AS
SELECT extract(hour FROM local_time) * 60 + extract(minute FROM local_time) AS minute,
       power_kw * 1e6 AS mw, voltage_v AS v
FROM house WHERE local_time < '2007-02-02';

CREATE TEMP TABLE sample AS
SELECT meter_id, at, mw, v
FROM audit, LATERAL (SELECT at AT TIME ZONE 'UTC' + interval '7 hours' AS local) l
JOIN by_minute ON minute = extract(hour FROM local) * 60 + extract(minute FROM local)
WHERE topic LIKE '%data';

SELECT 'wrong_gauges', count(*)
FROM (SELECT meter_id, date_trunc('minute', at) AS bucket, avg(mw) AS avg, min(mw) AS min, max(mw) AS max,
             avg(v) AS v FROM sample GROUP BY 1, 2) s
LEFT JOIN telemetry_aggregates t USING (meter_id, bucket)
WHERE t.load_home_power_avg IS NULL
   OR abs(t.load_home_power_avg - s.avg) > 1e-6 * s.avg
   OR abs(t.load_home_power_min - s.min) > 1e-6 * s.min
   OR abs(t.load_home_power_max - s.max) > 1e-6 * s.max
   OR abs(t.load_home_voltage_avg - s.v) > 1e-5 * s.v;

-- Straight lines between neighbouring samples, cut at the minute's borders; the very first and
-- last minute of a meter have no neighbour on one side and are left out here.
CREATE TEMP TABLE line AS
SELECT meter_id, extract(epoch FROM lag(at) OVER w) AS t0, lag(mw) OVER w AS p0,
       extract(epoch FROM at) AS t1, mw AS p1
FROM sample WINDOW w AS (PARTITION BY meter_id ORDER BY at);

WITH integral AS (
    SELECT t.meter_id, t.bucket, t.load_home_power_wh AS wh,
           sum((p0 + (p1 - p0) * ((a + b) / 2 - t0) / (t1 - t0)) * (b - a)) / 3.6e6 AS expected
    FROM telemetry_aggregates t
    JOIN line l ON l.meter_id = t.meter_id AND l.t1 > extract(epoch FROM t.bucket)
               AND l.t0 < extract(epoch FROM t.bucket) + 60,
    LATERAL (SELECT greatest(t0, extract(epoch FROM t.bucket)) AS a,
                    least(t1, extract(epoch FROM t.bucket) + 60) AS b) cut
    WHERE t.bucket > (SELECT min(bucket) FROM telemetry_aggregates)
      AND t.bucket < (SELECT max(bucket) FROM telemetry_aggregates)
    GROUP BY 1, 2, 3)
SELECT 'wrong_integrals', count(*) FROM integral
WHERE wh IS NULL OR abs(wh - expected) > 1e-6 * expected;

-- The meter counts every second: between its first and last message the counter rose by the
-- recording's mean powers, to within what a sampling second at each minute's border may shift.
WITH span AS (
    SELECT meter_id, min(at) AS a, max(at) AS b, max(load_home_wh) - min(load_home_wh) AS wh
    FROM audit WHERE topic LIKE '%data' GROUP BY 1)
SELECT 'wrong_energy', count(*)
FROM span, LATERAL (
    SELECT sum(mw) / 3.6e6 AS expected
    FROM generate_series(a, b - interval '1 second', interval '1 second') AS second
    JOIN by_minute ON minute = extract(hour FROM (second AT TIME ZONE 'UTC') + interval '7 hours') * 60
                             + extract(minute FROM (second AT TIME ZONE 'UTC') + interval '7 hours')) e
WHERE abs(wh - expected) > 1e-3 * expected;

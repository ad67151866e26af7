-- What the simulator sent and the broker confirmed, against the minute rows. Prints one line for
-- each question, "question|number of violations".
\set QUIET on
CREATE TEMP TABLE audit (
    sent_ms bigint, confirmed_ms bigint, meter_id text COLLATE "C", topic text, at timestamptz,
    export_wh float8, import_wh float8, load_smart_wh float8, load_home_wh float8,
    solar_in_wh float8, solar_out_wh float8);
\set copy '\\copy audit FROM ' :'audit' ' WITH (FORMAT csv, HEADER true)'
:copy

CREATE TEMP TABLE expected AS
SELECT meter_id, date_trunc('minute', at) AS bucket,
       count(*) FILTER (WHERE topic LIKE '%data') AS n,
       count(*) FILTER (WHERE topic LIKE '%status') AS n_status,
       coalesce(bit_or(1::int8 << extract(second FROM at)::int) FILTER (WHERE topic LIKE '%data'), 0) AS sec_mask,
       coalesce(bit_or(1::int8 << extract(second FROM at)::int) FILTER (WHERE topic LIKE '%status'), 0) AS status_mask
FROM audit WHERE confirmed_ms IS NOT NULL
GROUP BY 1, 2;

SELECT 'unconfirmed', count(*) FROM audit WHERE confirmed_ms IS NULL;

SELECT 'wrong_counts', count(*)
FROM expected e LEFT JOIN telemetry_aggregates t USING (meter_id, bucket)
WHERE t.n IS DISTINCT FROM e.n::int OR t.n_status IS DISTINCT FROM e.n_status::int;

SELECT 'wrong_masks', count(*)
FROM expected e JOIN telemetry_aggregates t USING (meter_id, bucket)
WHERE t.sec_mask & ((1::int8 << 60) - 1) <> e.sec_mask OR t.status_mask <> e.status_mask;

SELECT 'needless_rows', count(*)
FROM telemetry_aggregates t LEFT JOIN expected e USING (meter_id, bucket)
WHERE e.bucket IS NULL;

-- A counter may be reset on the way (daily ones are at midnight); these only rise.
WITH counters AS (
    SELECT meter_id, max(export_wh) - min(export_wh) AS export, max(import_wh) - min(import_wh) AS import,
           max(load_smart_wh) - min(load_smart_wh) AS load_smart, max(load_home_wh) - min(load_home_wh) AS load_home,
           max(solar_in_wh) - min(solar_in_wh) AS solar_in, max(solar_out_wh) - min(solar_out_wh) AS solar_out
    FROM audit WHERE topic LIKE '%data' GROUP BY 1),
sums AS (
    SELECT meter_id, sum(export_total_energy_inc) AS export, sum(import_total_energy_inc) AS import,
           sum(load_smart_mtr_total_energy_inc) AS load_smart, sum(load_home_total_energy_inc) AS load_home,
           sum(solar_input_total_energy_inc) AS solar_in, sum(solar_output_total_energy_inc) AS solar_out
    FROM telemetry_aggregates GROUP BY 1),
pairs AS (
    SELECT c.meter_id, v.*
    FROM counters c LEFT JOIN sums s USING (meter_id),
    LATERAL (VALUES ('export', c.export, s.export), ('import', c.import, s.import),
                    ('load_smart', c.load_smart, s.load_smart), ('load_home', c.load_home, s.load_home),
                    ('solar_in', c.solar_in, s.solar_in), ('solar_out', c.solar_out, s.solar_out))
             AS v (counter, truth, sum))
SELECT 'wrong_sums', count(*)
FROM pairs WHERE sum IS NULL OR abs(sum - truth) > greatest(1e-6 * abs(truth), 1e-6);

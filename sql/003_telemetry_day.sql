-- How a partition of telemetry_aggregates is made; nothing else makes one. telemetry_aggregates
-- itself follows from the list of metrics and is made by "enerlink migrate" after these files.

-- True when the day had no partition and has one now. Safe to call at any time and twice at once.
CREATE FUNCTION telemetry_add_day(day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    parent   CONSTANT regclass := 'telemetry_aggregates'::regclass;
    name     CONSTANT text := 'telemetry_aggregates_' || to_char(day, 'YYYYMMDD');
    from_utc CONSTANT timestamptz := day::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(name) AND inhparent = parent)
    THEN
        RETURN false;
    END IF;

    -- The lock that ATTACH needs anyway: it lets readers and writers of other days go on, which
    -- CREATE TABLE ... PARTITION OF would not.
    LOCK TABLE telemetry_aggregates IN SHARE UPDATE EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(name) AND inhparent = parent)
    THEN
        RETURN false;
    END IF;
    IF to_regclass(name) IS NOT NULL THEN
        RAISE EXCEPTION '% is detached: it is being archived or restored', name
            USING ERRCODE = 'object_in_use';
    END IF;

    EXECUTE format('CREATE TABLE %I (LIKE telemetry_aggregates INCLUDING DEFAULTS'
                   ' INCLUDING STORAGE INCLUDING COMPRESSION)', name);
    EXECUTE format('ALTER TABLE telemetry_aggregates ATTACH PARTITION %I'
                   ' FOR VALUES FROM (%L) TO (%L)', name, from_utc, from_utc + interval '24 hours');
    RETURN true;
END
$$;

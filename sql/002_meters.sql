-- The registry of meters: entered when they are first heard of, kept when they fall silent.

CREATE TABLE meters (
    meter_id    text COLLATE "C" PRIMARY KEY,
    zone        text,                             -- of its local days; null: the setting's
    owner       text,
    state       text        NOT NULL DEFAULT 'active',
    first_seen  timestamptz NOT NULL DEFAULT now(),
    last_seen   timestamptz,
    -- The last messages as published. json keeps their text, jsonb would not.
    last_data   json,
    last_status json
);

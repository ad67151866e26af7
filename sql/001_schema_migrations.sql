-- Which of these files have been applied. "enerlink migrate" runs each once, in the order of their
-- numbers, and never again; what was applied is not edited but followed by a new file.

CREATE TABLE schema_migrations (
    version    int4        PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    checksum   text        NOT NULL  -- SHA-256 of the file, hexadecimal
);

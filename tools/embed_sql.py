#!/usr/bin/env python3
"""Write the migrations of sql/ as a C table, so that the program needs no files at run time.

usage: embed_sql.py OUTPUT.c FILE.sql...   (each named 001_name.sql, in rising order)
"""
import pathlib
import re
import sys


def c_string(text):
    lines = []
    for line in text.splitlines(keepends=True):
        escaped = line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'     "{escaped}"')
    return "\n".join(lines)


def main():
    output, *sources = sys.argv[1:]
    rows = []
    last = 0
    for source in map(pathlib.Path, sources):
        match = re.fullmatch(r"(\d{3})_(\w+)", source.stem)
        if not match or int(match[1]) <= last:
            sys.exit(f"{source.name}: expected NNN_name.sql with a number above {last:03}")
        last = int(match[1])
        rows.append(f'    {{{last}, "{match[2]}",\n{c_string(source.read_text())}}},\n')
    pathlib.Path(output).write_text(
        '#include "stores/history_pg.h"\n\n'
        "const struct pg_migration pg_migrations[] = {\n" + "".join(rows) + "};\n"
        "const size_t pg_migration_count = sizeof pg_migrations / sizeof *pg_migrations;\n"
    )


main()

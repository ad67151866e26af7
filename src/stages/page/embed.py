#!/usr/bin/env python3
"""Write files as C arrays: embed.py OUT.c OUT.h FILE... ; the first file is served at "/"."""

import hashlib
import pathlib
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADER = """/* Generated from src/stages/page. */
#ifndef STAGES_PAGE_FILES_H
#define STAGES_PAGE_FILES_H

#include <stddef.h>

struct page_file {
    const char *name; /* path below "/"; "" for the page itself */
    const char *type;
    const char *etag; /* with quotes; changes with the content */
    const unsigned char *data;
    size_t len;
};

extern const struct page_file page_files[];
extern const size_t page_files_count;

#endif
"""


def main(out_c, out_h, *paths):
    arrays, rows = [], []
    for i, path in enumerate(map(pathlib.Path, paths)):
        data = path.read_bytes()
        etag = hashlib.sha256(data).hexdigest()[:16]
        name = path.name if i else ""
        arrays.append(f"static const unsigned char file_{i}[] = {{{','.join(map(str, data))}}};")
        rows.append(
            f'    {{"{name}", "{TYPES[path.suffix]}", "\\"{etag}\\"", file_{i}, sizeof file_{i}}},'
        )
    body = ['#include "page_files.h"', *arrays, "const struct page_file page_files[] = {"]
    body += [*rows, "};", "const size_t page_files_count = sizeof page_files / sizeof *page_files;"]
    pathlib.Path(out_c).write_text("\n".join(body) + "\n")
    pathlib.Path(out_h).write_text(HEADER)


main(*sys.argv[1:])

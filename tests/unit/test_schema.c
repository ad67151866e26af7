/* With --write as its argument this program writes docs/metrics.md instead of comparing it. */
#include "unit.h"

#include "core/schema.h"

#define DOCS SOURCE_ROOT "/docs/metrics.md"

static void every_column_is_found_by_its_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < SCHEMA_COLUMN_COUNT; i++)
        assert_int_equal(schema_column_by_name(schema_column_name(i)), i);
    assert_int_equal(schema_column_by_name("import_power"), -1);
    assert_int_equal(schema_column_by_name(""), -1);
}

/* Types and units as the contract of the table names them. */
static void columns_have_the_types_and_units_of_the_contract(void **state)
{
    static const struct {
        const char *name, *type, *unit;
        bool text;
    } rows[] = {
        {"meter_id", "text", "", true},
        {"bucket", "timestamptz", "", true},
        {"n", "int4", "", false},
        {"n_status", "int4", "", false},
        {"sec_mask", "int8", "", false},
        {"status_mask", "int8", "", false},
        {"quality", "int2", "", false},
        {"import_power_avg", "float4", "mW", false},
        {"import_power_wh", "float8", "Wh", false},
        {"import_total_energy_last", "float8", "Wh", false},
        {"import_total_energy_inc", "float8", "Wh", false},
        {"net_grid_net_total_last", "float8", "Wh", false},
        {"battery_alert_active_true", "float4", "", false},
        {"net_grid_status_last", "text", "", true},
        {"net_grid_status_changes", "float4", "", false},
        {"wifi_rssi_min", "float4", "dBm", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int found = schema_column_by_name(rows[i].name);
        if (found < 0)
            fail_msg("%s: no such column", rows[i].name);
        size_t c = (size_t)found;
        assert_string_equal(schema_column_type(c), rows[i].type);
        assert_string_equal(schema_column_unit(c), rows[i].unit);
        assert_int_equal(schema_column_is_text(c), rows[i].text);
    }
}

static size_t count(const char *s, const char *what)
{
    size_t n = 0;

    for (; (s = strstr(s, what)); s += strlen(what))
        n++;
    return n;
}

static void table_columns_end_with_the_primary_key(void **state)
{
    static const char head[] = "meter_id text COLLATE \"C\" NOT NULL,\n"
                               "bucket timestamptz NOT NULL,\n"
                               "n int4 NOT NULL,\n"
                               "n_status int4 NOT NULL,\n"
                               "sec_mask int8 NOT NULL,\n"
                               "status_mask int8 NOT NULL,\n"
                               "quality int2 NOT NULL,\n"
                               "battery_voltage_avg float4,\n";
    static const char tail[] = "sensors_max17048_count_max float4,\n"
                               "PRIMARY KEY (meter_id, bucket)\n";
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    schema_write_columns(&b);
    assert_int_equal(strncmp(b.data, head, strlen(head)), 0);
    assert_string_equal(b.data + b.len - strlen(tail), tail);
    assert_int_equal(count(b.data, "\n"), SCHEMA_COLUMN_COUNT + 1);
    assert_int_equal(count(b.data, "NOT NULL"), SCHEMA_FIXED_COUNT);
    buf_clear(&b);
}

static void csv_header_names_every_column_once(void **state)
{
    static const char head[] = "meter_id,bucket,n,n_status,sec_mask,status_mask,quality,battery_";
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    schema_write_csv_header(&b);
    assert_int_equal(strncmp(b.data, head, strlen(head)), 0);
    assert_int_equal(count(b.data, ","), SCHEMA_COLUMN_COUNT - 1);
    assert_null(strchr(b.data, '\n'));
    buf_clear(&b);
}

static void a_line_of_the_docs_tells_everything_about_a_metric(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    schema_write_docs(&b);
    assert_non_null(strstr(b.data, "| `wifi.rssi` | gauge | dBm | -200 .. 50 | `wifi_rssi_avg` "
                                   "`wifi_rssi_min` `wifi_rssi_max` | WiFi signal strength |\n"));
    assert_non_null(strstr(b.data, "| `grid.mode` | state |  | `off`, `import`, `export` | "
                                   "`grid_mode_last` `grid_mode_changes` | "));
    assert_non_null(strstr(b.data, "| `wifi.ip` | text |  |  |  | address of the device |\n"));
    buf_clear(&b);
}

static void the_committed_docs_are_up_to_date(void **state)
{
    struct buf want, have;
    char part[4096];
    size_t len;
    FILE *f = fopen(DOCS, "r");

    (void)state;
    if (!f)
        fail_msg("%s is missing: run this program with --write", DOCS);
    buf_init(&want, 0);
    buf_init(&have, 0);
    schema_write_docs(&want);
    while ((len = fread(part, 1, sizeof part, f)) > 0)
        buf_add(&have, part, len);
    fclose(f);
    bool same = have.len == want.len && memcmp(have.data, want.data, want.len) == 0;
    buf_clear(&want);
    buf_clear(&have);
    if (!same)
        fail_msg("%s is stale: run this program with --write", DOCS);
}

static int write_docs(void)
{
    struct buf b;
    FILE *f = fopen(DOCS, "w");

    if (!f)
        return 1;
    buf_init(&b, 0);
    schema_write_docs(&b);
    bool ok = fwrite(b.data, 1, b.len, f) == b.len;
    buf_clear(&b);
    return fclose(f) == 0 && ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_column_is_found_by_its_name),
        cmocka_unit_test(columns_have_the_types_and_units_of_the_contract),
        cmocka_unit_test(table_columns_end_with_the_primary_key),
        cmocka_unit_test(csv_header_names_every_column_once),
        cmocka_unit_test(a_line_of_the_docs_tells_everything_about_a_metric),
        cmocka_unit_test(the_committed_docs_are_up_to_date),
    };

    if (argc == 2 && strcmp(argv[1], "--write") == 0)
        return write_docs();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "unit.h"

#include "stages/api_json.h"
#include "stages/api_row.h"

static size_t column(const char *name)
{
    int i = schema_column_by_name(name);

    assert_true(i >= 0);
    return (size_t)i;
}

static void a_problem_has_its_four_members(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    json_write_problem(&b, 404, "no \"x\"\n");
    assert_string_equal(b.data, "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
                                "\"detail\":\"no \\\"x\\\"\\n\"}");
    buf_clear(&b);
}

static void a_time_is_utc_and_zero_is_null(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    json_write_time(&b, 1761452830250);
    json_write_time(&b, 0);
    assert_string_equal(b.data, "\"2025-10-26T04:27:10.250Z\"null");
    buf_clear(&b);
}

static const char *const cells[] = {
    "2025-10-26T04:27:00Z", "-1.5e+21", "NaN", NULL, "idle", "-Infinity", "0"};
static const char *const names[] = {"bucket",
                                    "import_power_avg",
                                    "import_power_min",
                                    "import_power_max",
                                    "net_grid_status_last",
                                    "import_power_wh",
                                    "n"};
enum { CELLS = sizeof cells / sizeof *cells };

static void write_rows(struct buf *b, bool csv)
{
    size_t columns[CELLS], lengths[CELLS];
    struct row_writer w;

    for (size_t i = 0; i < CELLS; i++) {
        columns[i] = column(names[i]);
        lengths[i] = cells[i] ? strlen(cells[i]) : 0;
    }
    row_writer_init(&w, columns, CELLS);
    buf_init(b, 0);
    if (csv) {
        row_write_csv_header(&w, b);
        row_write_csv(&w, b, cells, lengths);
    } else {
        row_write_json(&w, b, cells, lengths);
        row_write_units(&w, b);
    }
}

static void a_row_is_an_object_of_cells(void **state)
{
    struct buf b;

    (void)state;
    write_rows(&b, false);
    assert_string_equal(b.data,
                        "{\"bucket\":\"2025-10-26T04:27:00Z\",\"import_power_avg\":-1.5e+21,"
                        "\"import_power_min\":null,\"import_power_max\":null,"
                        "\"net_grid_status_last\":\"idle\",\"import_power_wh\":null,\"n\":0}"
                        "{\"bucket\":\"\",\"import_power_avg\":\"mW\",\"import_power_min\":\"mW\","
                        "\"import_power_max\":\"mW\",\"net_grid_status_last\":\"\","
                        "\"import_power_wh\":\"Wh\",\"n\":\"\"}");
    buf_clear(&b);
}

static void a_csv_line_leaves_absent_values_empty(void **state)
{
    struct buf b;

    (void)state;
    write_rows(&b, true);
    assert_string_equal(b.data, "bucket,import_power_avg,import_power_min,import_power_max,"
                                "net_grid_status_last,import_power_wh,n\r\n"
                                "2025-10-26T04:27:00Z,-1.5e+21,,,idle,,0\r\n");
    buf_clear(&b);
}

static void a_csv_cell_is_quoted_when_it_must_be(void **state)
{
    const char *const odd[] = {"a,\"b\"\r\n"};
    const size_t length = 7, columns = SCHEMA_METER_ID;
    struct row_writer w;
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    row_writer_init(&w, &columns, 1);
    row_write_csv(&w, &b, odd, &length);
    assert_string_equal(b.data, "\"a,\"\"b\"\"\r\n\"\r\n");
    buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_problem_has_its_four_members),
        cmocka_unit_test(a_time_is_utc_and_zero_is_null),
        cmocka_unit_test(a_row_is_an_object_of_cells),
        cmocka_unit_test(a_csv_line_leaves_absent_values_empty),
        cmocka_unit_test(a_csv_cell_is_quoted_when_it_must_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

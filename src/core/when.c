#include "core/when.h"

#include <stdio.h>

/*
 * Days since 1970 of a date in the proleptic Gregorian calendar, and back:
 * H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
 */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, int *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2));
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* n decimal digits at *s; false when there are fewer. */
static bool read_digits(const char **s, const char *end, int n, int *value)
{
    if (end - *s < n)
        return false;
    *value = 0;
    for (int i = 0; i < n; i++, (*s)++) {
        if (**s < '0' || **s > '9')
            return false;
        *value = *value * 10 + (**s - '0');
    }
    return true;
}

static bool read_char(const char **s, const char *end, char c)
{
    if (*s == end || **s != c)
        return false;
    (*s)++;
    return true;
}

static bool read_date(const char **s, const char *end, int64_t *days)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day;

    if (!read_digits(s, end, 4, &year) || !read_char(s, end, '-') ||
        !read_digits(s, end, 2, &month) || !read_char(s, end, '-') || !read_digits(s, end, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1)
        return false;
    if (day > month_days[month - 1] + (month == 2 && is_leap(year)))
        return false;
    *days = days_from_civil(year, month, day);
    return true;
}

/* ".250": at least one digit; three are kept. */
static bool read_fraction_ms(const char **s, const char *end, int *ms)
{
    int weight = 100;

    *ms = 0;
    if (*s == end || **s < '0' || **s > '9')
        return false;
    for (; *s < end && **s >= '0' && **s <= '9'; (*s)++, weight /= 10)
        *ms += (**s - '0') * weight;
    return true;
}

static bool read_offset_minutes(const char **s, const char *end, int *minutes)
{
    int hour, minute = 0;

    if (read_char(s, end, 'Z') || read_char(s, end, 'z')) {
        *minutes = 0;
        return true;
    }
    int sign = *s < end && **s == '-' ? -1 : 1;
    if (!read_char(s, end, '+') && !read_char(s, end, '-'))
        return false;
    if (!read_digits(s, end, 2, &hour))
        return false;
    if (*s < end) {
        if (**s == ':')
            (*s)++;
        if (!read_digits(s, end, 2, &minute))
            return false;
    }
    if (hour > 23 || minute > 59)
        return false;
    *minutes = sign * (hour * 60 + minute);
    return true;
}

bool when_parse(const char *s, size_t len, int64_t *ms)
{
    const char *end = s + len;
    int64_t days;
    int hour, minute, second = 0, fraction_ms = 0, offset;

    if (!read_date(&s, end, &days))
        return false;
    if (!read_char(&s, end, 'T') && !read_char(&s, end, 't') && !read_char(&s, end, ' '))
        return false;
    if (!read_digits(&s, end, 2, &hour) || !read_char(&s, end, ':') ||
        !read_digits(&s, end, 2, &minute))
        return false;
    if (read_char(&s, end, ':')) {
        if (!read_digits(&s, end, 2, &second))
            return false;
        if (read_char(&s, end, '.') || read_char(&s, end, ','))
            if (!read_fraction_ms(&s, end, &fraction_ms))
                return false;
    }
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    if (!read_offset_minutes(&s, end, &offset) || s != end)
        return false;
    *ms = days * DAY_MS + (hour * 60 + minute - offset) * MINUTE_MS + second * 1000 + fraction_ms;
    return true;
}

bool when_parse_day(const char *s, size_t len, int64_t *ms)
{
    const char *end = s + len;
    int64_t days;

    if (!read_date(&s, end, &days) || s != end)
        return false;
    *ms = days * DAY_MS;
    return true;
}

int64_t when_floor(int64_t ms, int64_t step_ms)
{
    int64_t rest = ms % step_ms;

    return rest < 0 ? ms - rest - step_ms : ms - rest;
}

char *when_day_text(int64_t ms, char out[WHEN_TEXT_SIZE])
{
    int year, month, day;

    civil_from_days(when_floor(ms, DAY_MS) / DAY_MS, &year, &month, &day);
    snprintf(out, WHEN_TEXT_SIZE, "%04d-%02d-%02d", year, month, day);
    return out;
}

char *when_text(int64_t ms, char out[WHEN_TEXT_SIZE])
{
    int year, month, day;
    int64_t midnight = when_floor(ms, DAY_MS);
    int of_day = (int)(ms - midnight);

    civil_from_days(midnight / DAY_MS, &year, &month, &day);
    int len = snprintf(out, WHEN_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d", year, month, day,
                       of_day / 3600000, of_day / 60000 % 60, of_day / 1000 % 60);
    if (of_day % 1000)
        snprintf(out + len, WHEN_TEXT_SIZE - (size_t)len, ".%03dZ", of_day % 1000);
    else
        snprintf(out + len, WHEN_TEXT_SIZE - (size_t)len, "Z");
    return out;
}

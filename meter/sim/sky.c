#include "meter/sim/sky.h"

#include <math.h>

#include "meter/sim/noise.h"
#include "meter/sim/streams.h"

#define LATITUDE_DEG (-6.2)
#define LONGITUDE_DEG 106.8
#define RADIANS (M_PI / 180.0)
#define DAYS_A_YEAR 365.2422
#define MINUTE_MS INT64_C(60000)

/* Angle of the year, 0 at the start of January (years and leap days stay within a day). */
static double year_angle(int64_t utc_ms)
{
    return 2.0 * M_PI * fmod((double)utc_ms / 86400000.0, DAYS_A_YEAR) / DAYS_A_YEAR;
}

/* J. W. Spencer, "Fourier series representation of the position of the sun", Search 2 (1971). */
static double declination(double year)
{
    return 0.006918 - 0.399912 * cos(year) + 0.070257 * sin(year) - 0.006758 * cos(2.0 * year) +
           0.000907 * sin(2.0 * year) - 0.002697 * cos(3.0 * year) + 0.00148 * sin(3.0 * year);
}

static double equation_of_time_min(double year)
{
    return 229.18 * (0.000075 + 0.001868 * cos(year) - 0.032077 * sin(year) -
                     0.014615 * cos(2.0 * year) - 0.040849 * sin(2.0 * year));
}

static double cos_zenith(int64_t utc_ms)
{
    double year = year_angle(utc_ms), d = declination(year), latitude = LATITUDE_DEG * RADIANS;
    double utc_min = (double)(utc_ms % 86400000) / 60000.0;
    double solar_min = utc_min + 4.0 * LONGITUDE_DEG + equation_of_time_min(year);
    double hour_angle = (solar_min / 4.0 - 180.0) * RADIANS;

    return sin(latitude) * sin(d) + cos(latitude) * cos(d) * cos(hour_angle);
}

/* B. Haurwitz, "Insolation in relation to cloudiness and cloud density", J. Meteorol. 1945/46. */
static double haurwitz_w_m2(double cosz)
{
    return cosz <= 0.0 ? 0.0 : 1098.0 * cosz * exp(-0.059 / cosz);
}

/*
 * Fields of cloud pass over a region; in the wet season (January) they cover about two thirds of
 * the time, in the dry one (August) a third. Between thick cloud (0.3) and clear sky (0.97), and
 * up to a quarter more than clear where light is reflected off a cloud's edge.
 */
static double clearness(uint64_t seed, int region, int64_t utc_ms)
{
    struct noise n = noise_make(seed, (uint64_t)region, STREAM_CLOUDS);
    double field = 0.8 * noise_smooth(n, utc_ms, 25 * MINUTE_MS) +
                   0.4 * noise_smooth(n, utc_ms + 7 * MINUTE_MS, 7 * MINUTE_MS) +
                   0.15 * noise_smooth(n, utc_ms + 3 * MINUTE_MS, MINUTE_MS);
    double dry_season = -cos(year_angle(utc_ms) - 0.25);
    double x = 5.0 * (field + 0.3 * dry_season);
    double clear = 0.5 + 0.5 * x / sqrt(1.0 + x * x);
    double edge = (clear - 0.8) / 0.12;

    return 0.30 + 0.67 * clear + 0.25 * exp(-edge * edge);
}

/* Rises from 17:00, is full from 18:30 to 20:30, and is gone at 22:00 local time. */
static double evening_peak(double local_h)
{
    double rise = (local_h - 17.0) / 1.5, fall = (22.0 - local_h) / 1.5;

    return fmax(0.0, fmin(1.0, fmin(rise, fall)));
}

struct sky sky_at(uint64_t seed, int64_t utc_ms)
{
    double solar_h = fmod((double)(utc_ms % 86400000) / 3600000.0 + LONGITUDE_DEG / 15.0, 24.0);
    struct sky s = {
        .clear_w_m2 = haurwitz_w_m2(cos_zenith(utc_ms)),
        .air_c = 27.5 + 4.0 * cos((solar_h - 14.0) * M_PI / 12.0),
        .evening = evening_peak(solar_h),
    };

    for (int i = 0; i < SKY_REGIONS; i++)
        s.clearness[i] = clearness(seed, i, utc_ms);
    return s;
}

/*
 * Where the broker is, from the environment.
 */
#ifndef METER_SIM_MQTT_URL_H
#define METER_SIM_MQTT_URL_H

#include "base/err.h"
#include "base/url.h"

/*
 * The URL in ENERLINK_MQTT_URL, or in the first line of the file that ENERLINK_MQTT_URL_FILE names;
 * to be cleared. An unencrypted connection beyond this machine needs ENERLINK_ALLOW_PLAIN=yes.
 */
bool mqtt_url_from_environment(struct url *url, struct err *e) MUST_CHECK;

#endif

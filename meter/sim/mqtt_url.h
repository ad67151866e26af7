/*
 * Address of the broker: mqtt://user:password@host:1883 or mqtts://...:8883, user and password
 * with %XX escapes. Holds a password: never print it, and clear it when done.
 */
#ifndef METER_SIM_MQTT_URL_H
#define METER_SIM_MQTT_URL_H

#include <stdbool.h>

#include "base/err.h"

struct mqtt_url {
    bool tls;
    char host[256];
    int port;
    char user[128]; /* "": none */
    char password[256];
};

bool mqtt_url_parse(const char *text, struct mqtt_url *url, struct err *e) MUST_CHECK;

/*
 * The URL from ENERLINK_MQTT_URL, or from the file that ENERLINK_MQTT_URL_FILE names. An
 * unencrypted connection beyond this machine needs ENERLINK_ALLOW_PLAIN=yes.
 */
bool mqtt_url_from_environment(struct mqtt_url *url, struct err *e) MUST_CHECK;

#endif

/* What random numbers are drawn for; each purpose has a stream of its own. */
#ifndef METER_SIM_STREAMS_H
#define METER_SIM_STREAMS_H

enum stream {
    STREAM_PROFILE,
    STREAM_CLOUDS,
    STREAM_LOCAL_CLOUDS,
    STREAM_APPLIANCE, /* and one more for each appliance */
    STREAM_BASE_LOAD = 100,
    STREAM_SUPPLY,
    STREAM_OUTAGE,
    STREAM_RSSI,
    STREAM_BOOT,
    STREAM_PHASE,
};

#endif

/*
 * Stopping and being ready, for every stage's main loop.
 */
#ifndef BASE_STOP_H
#define BASE_STOP_H

#include <stdbool.h>

/* From now on SIGTERM and SIGINT only set a flag; SIGPIPE is ignored. */
void stop_on_signals(void);
bool stop_requested(void);

/*
 * Tell the supervisor that this process is ready: one "READY=1" datagram to $NOTIFY_SOCKET
 * (sd_notify(3), understood by systemd and by "enerlink up"). Without that variable: nothing.
 */
void notify_ready(void);

#endif

#include "app/commands.h"
#include "app/connect.h"
#include "base/clock.h"
#include "base/log.h"

int command_migrate(const struct settings *s)
{
    struct err e;
    struct history *history = connect_history(s, "enerlink migrate", 0, &e);

    if (!history) {
        log_warn("%s", e.text);
        return EXIT_FAILED;
    }
    bool ok = history->ops->migrate(history, clock_wall_ms(clock_system()), &e);
    if (ok)
        log_info("the database is at version %s", ENERLINK_VERSION);
    else
        log_warn("%s", e.text);
    history->ops->close(history);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

/* node/door_ops.h - how front doors and services reach hidden endpoints: the calls of onion/onion.h
 * they make, as a table, so that tests put an endpoint in memory behind the same doors. */
#pragma once
#include "onion/onion.h"

struct door_ops {
    struct onion_stream *(*dial)(struct onion *o, const struct onion_target *to,
                                 const struct onion_stream_events *ev, void *arg,
                                 struct cyx_err *err);
    size_t (*write)(struct onion_stream *s, const uint8_t *data, size_t len);
    void (*consumed)(struct onion_stream *s, size_t len);
    void (*end)(struct onion_stream *s);
    void (*reset)(struct onion_stream *s);
    void (*attach)(struct onion_stream *s, const struct onion_stream_events *ev, void *arg);
    void (*accept)(struct onion_stream *s);
    void (*refuse)(struct onion_stream *s, enum onion_open_status why);

    struct onion_flow *(*flow_open)(struct onion *o, const struct onion_target *to,
                                    const struct onion_flow_events *ev, void *arg,
                                    struct cyx_err *err);
    int (*flow_send)(struct onion_flow *f, const uint8_t *data, size_t len);
    void (*flow_close)(struct onion_flow *f);
    void (*flow_attach)(struct onion_flow *f, const struct onion_flow_events *ev, void *arg);

    struct onion_service *(*serve)(struct onion *o, const struct onion_service_config *c,
                                   const struct onion_service_events *ev, void *arg,
                                   struct cyx_err *err);
    void (*service_info)(const struct onion_service *s, struct onion_service_info *out);
    void (*service_close)(struct onion_service *s);
    int (*client_key_set)(struct onion *o, const uint8_t address[static 32],
                          const uint8_t secret[static 32], struct cyx_err *err);

    struct onion_why *(*why)(struct onion *o, const struct onion_target *to,
                             void (*step)(void *arg, const struct onion_step *s),
                             void (*done)(void *arg, enum onion_fail why), void *arg,
                             struct cyx_err *err);
    void (*why_cancel)(struct onion_why *w);
    void (*status)(struct onion *o, struct onion_summary *out);
    void (*paths_each)(struct onion *o, bool (*fn)(void *arg, const struct onion_path_row *row),
                       void *arg);

    const char *(*fail_text)(enum onion_fail why);
    const char *(*fail_name)(enum onion_fail why);
    const char *(*stage_name)(enum onion_stage s);
};

/* node/expose.h - services of this machine as hidden endpoints: each visitor's stream is connected
 * to a backend, datagrams likewise. What is exposed, and under which keys, outlives a restart: the
 * list in the store "services", each key in endpoint-NAME.key (vault.h). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/list.h"
#include "base/metric.h"
#include "node/door_ops.h"
#include "node/expose_spec.h"
#include "node/vault.h"

struct expose;

enum {
    EXPOSE_SERVICES_MAX = 64,
    EXPOSE_VISITS_MAX = 1024,  /* open at once at one service: then "busy" */
    EXPOSE_FLOWS_MAX = 256,    /* datagram flows at one service */
    EXPOSE_CONNECT_MS = 20000, /* for a backend to answer */
    EXPOSE_IDLE_MS = 2 * 3600 * 1000,
    EXPOSE_STORE_BYTES = 8 << 20,
};

struct expose_options {
    struct env *env;
    const struct door_ops *ops;
    struct vault *vault; /* borrowed for life */
    unsigned hops;       /* of our side; 0: the default */
};

/* Reads what was exposed before: blocks a moment. NULL with `err`. One whose key can't be read is
 * kept, told of, and not served. */
struct expose *expose_open(const struct expose_options *o, struct cyx_err *err);
/* From now on services are served; NULL takes them away (visits are reset), before onion_stop. */
void expose_set_onion(struct expose *x, struct onion *o);
void expose_destroy(struct expose *x); /* NULL is fine */

struct expose_row {
    const struct expose_spec *spec;
    bool is_on;
    bool has_address;
    uint8_t address[32];
    struct onion_service_info info; /* zero while it isn't served */
    bool is_served;
    const char *trouble; /* why it isn't, or NULL */
    size_t visits, flows;
    uint64_t accepted, refused;
};

/* Exposes, or changes what is exposed under that name (its key and so its address stay). `done`
 * from the loop once it is on disk; CYX_ENOSPC then. Now: CYX_EBUSY (a change of it is under way),
 * CYX_EFULL, CYX_ECORRUPT, CYX_EPERM (its key can't be read), CYX_ENOMEM. */
CYX_MUST_USE int expose_add(struct expose *x, const struct expose_spec *spec, env_done_fn done,
                            void *arg, struct cyx_err *err);
/* Stops it at once. Its key stays on disk for the next time, unless `forget`. */
enum expose_forget { EXPOSE_KEEP_KEY, EXPOSE_FORGET_KEY };
CYX_MUST_USE int expose_remove(struct expose *x, const char *name, enum expose_forget forget,
                               env_done_fn done, void *arg, struct cyx_err *err);
/* By name, or by address (with or without .cyx); the name, or NULL. */
const char *expose_find(struct expose *x, const char *what);
/* False: no such name. */
bool expose_get(struct expose *x, const char *name, struct expose_row *out);
/* In order of the names; rows are borrowed for the call. */
void expose_each(struct expose *x, void (*fn)(void *arg, const struct expose_row *row), void *arg);

/* Told when a service's state changes; in the owner's memory until expose_unwatch. */
struct expose_watch {
    struct list node;
    void (*fn)(void *arg);
    void *arg;
};
void expose_watch(struct expose *x, struct expose_watch *w);
void expose_unwatch(struct expose_watch *w); /* harmless when it wasn't */

void expose_metrics(struct expose *x, metric_fn fn, void *arg);

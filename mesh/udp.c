/* mesh/udp.c - the UDP carrier, over base/env.h. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "mesh/carrier.h"
#include "mesh/limits.h"

struct udp {
    struct mesh_carrier carrier;
    struct env *env;
    struct env_udp *socket;
    struct mesh_carrier_events events;
};

static void received(void *arg, struct env_datagrams *batch, size_t n)
{
    struct udp *u = arg;
    u->events.received(u->events.arg, &u->carrier, batch, n);
}

static void writable(void *arg)
{
    struct udp *u = arg;
    u->events.writable(u->events.arg, &u->carrier);
}

static int udp_send(struct mesh_carrier *c, const struct env_addr *to, const uint8_t *data,
                    size_t len, size_t segment)
{
    struct udp *u = container_of(c, struct udp, carrier);
    return env_udp_send(u->env, u->socket, to, data, len, segment);
}

static void udp_info(const struct mesh_carrier *c, struct env_udp_info *out)
{
    const struct udp *u = (const struct udp *)(const void *)c; /* carrier is its first member */
    env_udp_info(u->env, u->socket, out);
}

static void udp_close(struct mesh_carrier *c)
{
    if (c == NULL)
        return;
    struct udp *u = container_of(c, struct udp, carrier);
    env_udp_close(u->env, u->socket);
    free(u);
}

static const struct mesh_carrier_ops udp_ops = {
    .name = "udp",
    .mtu = MESH_PACKET,
    .cost = 1,
    .duty_permille = 1000,
    .send = udp_send,
    .info = udp_info,
    .close = udp_close,
};

int mesh_udp_open(struct env *env, const struct env_addr *bind, unsigned worker, unsigned n_workers,
                  const struct mesh_carrier_events *events, struct mesh_carrier **out,
                  struct cyx_err *err)
{
    cleanup_free struct udp *u = calloc(1, sizeof *u);
    if (u == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for a socket");
    u->carrier.ops = &udp_ops;
    u->env = env;
    u->events = *events;
    struct env_udp_options o = {
        .bind = *bind,
        .worker = worker,
        .n_workers = n_workers,
        .received = received,
        .writable = writable,
        .arg = u,
    };
    if (env_udp_open(env, &o, &u->socket, err) != 0)
        return cyx_wrap(err, "mesh socket");
    *out = &steal(&u)->carrier;
    return 0;
}

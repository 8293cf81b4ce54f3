/* tests/lab/role_cells.c - the role "cells": sends numbered cells over the first link that this
 * node dialled, and counts what arrives from any link. It shows that a link loses nothing that the
 * network didn't, through rekeys and changes of address; it stands in for onion paths.
 * Methods: cells.send {rate} (a second; 0 stops), cells.stats. */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "node/role.h"

enum {
    TICK_MS = 10,
    RATE_MAX = 20000,
    SEEN_MAX = 1 << 20, /* numbers remembered, to tell a repeat from a first arrival */
};

struct cells {
    struct node_ctx *ctx;
    struct mesh_watcher watcher;
    struct mesh_link *link; /* the one we send on, NULL: none */
    uint32_t path;
    struct env_timer tick;
    uint64_t rate, due; /* cells a second; thousandths of a cell that are owed */
    uint64_t sent, refused, link_ups, link_downs;
    uint64_t received, repeated, behind, top;
    uint8_t seen[SEEN_MAX / 8];
};

/* ---- sending ----------------------------------------------------------------------------------
 */

static void take_link(struct cells *c, struct mesh_link *l)
{
    struct mesh_link_info info;
    mesh_link_info(l, &info);
    if (c->link != NULL || !info.is_initiator || info.state != MESH_LINK_UP)
        return;
    c->link = l;
    c->path = mesh_path_id(l);
}

static void send_one(struct cells *c)
{
    uint8_t cell[MESH_CELL] = { 0 };
    memcpy(cell, &c->sent, sizeof c->sent); /* both ends run on this machine: its byte order */
    int code = mesh_cell_send(c->link, c->path, cell);
    if (code == 0)
        c->sent++;
    else
        c->refused++;
}

static void tick(struct env_timer *t, void *arg)
{
    struct cells *c = arg;
    c->due += c->rate * TICK_MS;
    for (; c->due >= 1000; c->due -= 1000)
        if (c->link != NULL)
            send_one(c);
    env_timer_in(c->ctx->env, t, ENV_MS(TICK_MS));
}

static void link_up(void *arg, struct mesh_link *l)
{
    struct cells *c = arg;
    c->link_ups++;
    take_link(c, l);
}

static bool try_link(void *arg, struct mesh_link *l)
{
    struct cells *c = arg;
    take_link(c, l);
    return c->link == NULL;
}

static void link_down(void *arg, struct mesh_link *l, const char *why)
{
    struct cells *c = arg;
    (void)why;
    c->link_downs++;
    if (c->link != l)
        return;
    c->link = NULL;
    mesh_links_each(c->ctx->mesh, try_link, c);
}

/* ---- receiving --------------------------------------------------------------------------------
 */

static void cell_came(void *arg, struct mesh_link *l, uint32_t path, uint8_t cell[static MESH_CELL])
{
    struct cells *c = arg;
    uint64_t number;
    (void)l;
    (void)path;
    memcpy(&number, cell, sizeof number);
    if (number >= SEEN_MAX)
        return;
    uint8_t bit = (uint8_t)(1u << (number & 7));
    if ((c->seen[number >> 3] & bit) != 0) {
        c->repeated++;
        return;
    }
    c->seen[number >> 3] |= bit;
    c->received++;
    c->behind += number < c->top;
    c->top = number + 1 > c->top ? number + 1 : c->top;
}

/* ---- methods ----------------------------------------------------------------------------------
 */

static void method_send(void *state, struct node_call *call, const msgpack_object *params)
{
    static const uint8_t empty_map[1] = { 0x80 };
    struct cells *c = state;
    uint64_t rate;
    if (!mp_u64(mp_get(params, "rate"), &rate) || rate > RATE_MAX) {
        node_reply_error(call, CYX_EINVAL, "rate: cells a second, 0 to %d", RATE_MAX);
        return;
    }
    c->rate = rate;
    c->due = 0;
    node_reply(call, empty_map, sizeof empty_map);
}

static void put(msgpack_packer *pk, const char *key, uint64_t value)
{
    mp_pack_str(pk, key);
    msgpack_pack_uint64(pk, value);
}

static void method_stats(void *state, struct node_call *call, const msgpack_object *params)
{
    struct cells *c = state;
    uint8_t buf[256];
    struct writer w = writer_on(buf, sizeof buf);
    msgpack_packer pk;
    (void)params;
    mp_packer(&pk, &w);
    msgpack_pack_map(&pk, 9);
    put(&pk, "sent", c->sent);
    put(&pk, "refused", c->refused);
    put(&pk, "received", c->received);
    put(&pk, "repeated", c->repeated);
    put(&pk, "behind", c->behind);
    put(&pk, "top", c->top);
    put(&pk, "queued", c->link != NULL ? mesh_path_queued(c->link, c->path) : 0);
    put(&pk, "link_ups", c->link_ups);
    put(&pk, "link_downs", c->link_downs);
    node_reply(call, buf, writer_len(&w));
}

static const struct node_method methods[] = {
    { "send", method_send, "send numbered cells at `rate` a second" },
    { "stats", method_stats, "what was sent and what arrived" },
    { NULL, NULL, NULL },
};

/* ---- life -------------------------------------------------------------------------------------
 */

static int cells_create(struct node_ctx *ctx, const struct conf *conf, void **state,
                        struct cyx_err *err)
{
    struct cells *c = calloc(1, sizeof *c);
    (void)conf;
    if (c == NULL)
        return cyx_fail(err, CYX_ENOMEM, "cells: no memory");
    c->ctx = ctx;
    env_timer_init(&c->tick, tick, c);
    c->watcher = (struct mesh_watcher){ .link_up = link_up, .link_down = link_down, .arg = c };
    *state = c;
    return 0;
}

static int cells_start(void *state, struct cyx_err *err)
{
    static const struct mesh_paths paths = { .cell = cell_came };
    struct cells *c = state;
    (void)err;
    mesh_watch(c->ctx->mesh, &c->watcher);
    mesh_set_paths(c->ctx->mesh, &paths, c);
    mesh_links_each(c->ctx->mesh, try_link, c);
    env_timer_in(c->ctx->env, &c->tick, ENV_MS(TICK_MS));
    return 0;
}

static void cells_stop(void *state, env_fn done, void *arg)
{
    struct cells *c = state;
    env_timer_stop(c->ctx->env, &c->tick);
    mesh_unwatch(&c->watcher);
    mesh_set_paths(c->ctx->mesh, NULL, NULL);
    done(arg);
}

static void cells_destroy(void *state)
{
    free(state);
}

extern const struct node_role cyx_role;
const struct node_role cyx_role = {
    .abi = NODE_ROLE_ABI,
    .name = "cells",
    .help = "sends numbered cells and counts what arrives (lab)",
    .create = cells_create,
    .start = cells_start,
    .stop = cells_stop,
    .destroy = cells_destroy,
    .methods = methods,
};

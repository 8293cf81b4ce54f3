/* onion/ask_path.c - paths to ENDs: some stand ready, each serves one purpose for ever, all go when
 * they have been idle for a while. Spec: protocol.md, sections 10 and 11. */
#include <stdlib.h>
#include <string.h>

#include "onion/ask_internal.h"

/* ---- messages ---------------------------------------------------------------------------------
 */

static bool send_cell(void *arg, const struct onion_cell *c)
{
    struct ask_path *p = arg;
    return onion_path_send(p->path, c) == 0;
}

/* When it goes for want of use. Ready ones stay, until they are old. */
static uint64_t idle_at(const struct ask_path *p)
{
    if (map_len(p->calls) > 0 || (!p->is_taken && !p->is_old))
        return UINT64_MAX;
    return p->is_old ? 0 : p->used_ns + ENV_S(ONION_ASK_PATH_IDLE_S);
}

static void pump(struct ask_path *p)
{
    struct env *e = p->asks->env;
    struct onion_path_info info;
    uint64_t now = env_now_ns(e), idle = idle_at(p);
    onion_path_info(p->path, &info);
    uint64_t next = onion_messages_pump(&p->messages, now, info.build_ns, send_cell, p);
    if (idle < next)
        next = idle;
    if (next != UINT64_MAX)
        env_timer_set(e, &p->timer, next);
}

static void timer(struct env_timer *t, void *arg)
{
    struct ask_path *p = arg;
    struct onion_asks *a = p->asks;
    (void)t;
    if (env_now_ns(a->env) >= idle_at(p)) {
        ask__path_free(p);
        ask__fill(a);
    } else {
        pump(p);
    }
}

int ask__path_send(struct ask_path *p, struct ask_leg *l)
{
    size_t i = (size_t)(l - l->ask->legs);
    uint64_t now = env_now_ns(p->asks->env);
    bool is_new = map_get(p->calls, &l->id) != l;
    if (is_new)
        l->id = p->next_id++;
    if (is_new && map_put(p->calls, &l->id, l) != 0)
        return CYX_EFULL;
    p->used_ns = now;
    int code = onion_messages_add(&p->messages, MESH_MSG_REQUEST, l->id, l->ask->message[i],
                                  l->ask->len[i], now);
    if (code == 0)
        pump(p);
    else
        map_del(p->calls, &l->id);
    return code;
}

void ask__path_forget(struct ask_path *p, struct ask_leg *l)
{
    if (map_get(p->calls, &l->id) == l)
        map_del(p->calls, &l->id);
    p->used_ns = env_now_ns(p->asks->env);
    if (p->path != NULL)
        pump(p); /* what others sent over it may have to be sent again before it is idle */
}

static void heard_cell(void *arg, const struct onion_cell *c)
{
    struct ask_path *p = arg;
    struct onion_asks *a = p->asks;
    struct onion_path_info info;
    struct mesh_message m;
    onion_path_info(p->path, &info);
    enum drop drop = onion_messages_heard(&p->messages, c, env_now_ns(a->env), info.build_ns, &m);
    if (drop != DROP_NONE)
        a->c.bad++;
    pump(p);
    if (m.data != NULL && m.kind == MESH_MSG_RESPONSE)
        ask__heard(p, &m);
    free(m.data);
}

/* ---- life -------------------------------------------------------------------------------------
 */

void ask__path_free(struct ask_path *p)
{
    struct onion_asks *a = p->asks;
    env_timer_stop(a->env, &p->timer);
    onion_path_close(p->path);
    onion_messages_fini(&p->messages);
    map_destroy(p->calls);
    list_del(&p->node);
    a->n_paths--;
    free(p);
}

static void refill_later(struct onion_asks *a)
{
    if (a->fill.is_set)
        return; /* one retry for all who want it */
    a->fill_ms = a->fill_ms == 0 ? ASK__FILL_MS : a->fill_ms * 2;
    if (a->fill_ms > ASK__FILL_MAX_MS)
        a->fill_ms = ASK__FILL_MAX_MS;
    env_timer_in(a->env, &a->fill, ENV_MS(a->fill_ms));
}

static void opened(void *arg, const struct onion_path_built *b)
{
    struct ask_path *p = arg;
    struct onion_asks *a = p->asks;
    onion_picker_built(a->picker, &p->route, b);
    if (b->code != 0) {
        p->path = NULL;
        ask__path_free(p);
        refill_later(a);
        return;
    }
    p->is_open = true;
    p->used_ns = env_now_ns(a->env);
    a->fill_ms = 0;
    ask__path_open(a);
}

static void late(void *arg)
{
    struct ask_path *p = arg;
    onion_picker_doubt(p->asks->picker, &p->route);
    ask__fill(p->asks); /* it no longer counts as coming */
}

static void writable(void *arg)
{
    pump(arg);
}

static void closed(void *arg, enum onion_path_end why)
{
    struct ask_path *p = arg;
    struct onion_asks *a = p->asks;
    onion_picker_ended(a->picker, &p->route, why);
    p->path = NULL;
    p->is_open = false;
    ask__path_lost(p);
    ask__path_free(p);
    ask__fill(a);
}

/* Ready or used: the next one is made before its time is over. */
static void old(void *arg)
{
    struct ask_path *p = arg;
    struct onion_asks *a = p->asks;
    p->is_old = true;
    if (map_len(p->calls) == 0)
        ask__path_free(p);
    ask__fill(a);
}

static const struct onion_path_events events = { .opened = opened,
                                                 .late = late,
                                                 .old = old,
                                                 .cell = heard_cell,
                                                 .writable = writable,
                                                 .closed = closed };

static struct ask_path *path_new(struct onion_asks *a)
{
    struct ask_path *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->asks = a;
    p->used_ns = env_now_ns(a->env);
    p->calls = map_create(sizeof(uint32_t), ONION_ASKS_PATH);
    env_timer_init(&p->timer, timer, p);
    list_init(&p->node);
    list_push_back(&a->paths, &p->node);
    a->n_paths++;
    if (p->calls != NULL && onion_messages_init(&p->messages, a->pool, a->n_paths) == 0)
        return p;
    ask__path_free(p);
    return NULL;
}

/* Full: the one that served its purpose for longest ago makes room. */
static void make_room(struct onion_asks *a)
{
    struct ask_path *idlest = NULL;
    if (a->n_paths < ONION_ASK_PATHS)
        return;
    list_each (node, &a->paths) {
        struct ask_path *p = container_of(node, struct ask_path, node);
        if (p->is_open && p->is_taken && map_len(p->calls) == 0 &&
            (idlest == NULL || p->used_ns < idlest->used_ns))
            idlest = p;
    }
    if (idlest != NULL)
        ask__path_free(idlest);
}

/* One more. False: not now. */
static bool path_begin(struct onion_asks *a)
{
    make_room(a);
    struct onion_path_options o = { .last.command = ONION_BUILD_END,
                                    .is_kept = true,
                                    .purpose = "lookup" };
    struct ask_path *p = a->n_paths < ONION_ASK_PATHS ? path_new(a) : NULL;
    if (p == NULL)
        return false;
    o.route = &p->route;
    struct cyx_err err = { 0 };
    if (onion_pick_end(a->picker, NULL, &p->route, NULL) == 0) {
        p->path = onion_path_open(a->own, &o, &events, p, &err);
        if (p->path != NULL)
            return true;
        onion_picker_not_opened(a->picker, &p->route, err.code);
    }
    ask__path_free(p);
    return false;
}

/* ---- how many there are ------------------------------------------------------------------------
 */

static bool is_free(const struct ask_path *p)
{
    return p->is_open && !p->is_taken && !p->is_old;
}

size_t onion_asks_ready(const struct onion_asks *a)
{
    size_t n = 0;
    list_each (node, &a->paths)
        n += is_free(container_of(node, struct ask_path, node));
    return n;
}

/* Ready or soon to be. */
static size_t coming(const struct onion_asks *a)
{
    uint64_t slow = 3 * onion_paths_build_ns(a->own) + ENV_MS(500), now = env_now_ns(a->env);
    size_t n = 0;
    list_each (node, &a->paths) {
        const struct ask_path *p = container_of(node, struct ask_path, node);
        n += is_free(p) || (!p->is_open && !p->is_taken && now - p->used_ns < slow);
    }
    return n;
}

static size_t legs_waiting(const struct onion_asks *a)
{
    size_t n = 0;
    list_each (node, &a->all) {
        const struct onion_ask *k = container_of(node, struct onion_ask, node);
        for (unsigned i = 0; i < k->n_legs; i++)
            n += k->legs[i].is_waiting;
    }
    return n;
}

static const struct ask_leg *first_waiting(const struct onion_asks *a)
{
    list_each (node, &a->all) {
        const struct onion_ask *k = container_of(node, struct onion_ask, node);
        for (unsigned i = 0; i < k->n_legs; i++)
            if (k->legs[i].is_waiting)
                return &k->legs[i];
    }
    return NULL;
}

static bool is_in_use(const struct ask_path *p, const struct onion_ask *k)
{
    for (unsigned i = 0; i < k->n_legs; i++)
        if (k->legs[i].on == p)
            return true;
    return false;
}

/* No question goes to one END twice: what it hid it would hide again, and two ENDs are asked so
 * that one alone can't hide a record. */
static bool was_asked(const struct ask_path *p, const struct onion_ask *k)
{
    const uint8_t *end = p->route.hops[p->route.n_hops - 1].id;
    for (unsigned i = 0; i < k->n_ends; i++)
        if (memcmp(k->ends[i], end, 32) == 0)
            return true;
    return false;
}

/* Ready ones that a leg can't use, since its question was at their ENDs before. */
static size_t unsuitable(const struct onion_asks *a)
{
    const struct ask_leg *l = first_waiting(a);
    size_t n = 0;
    if (l == NULL)
        return 0;
    list_each (node, &a->paths) {
        const struct ask_path *p = container_of(node, struct ask_path, node);
        n += is_free(p) && was_asked(p, l->ask);
    }
    return n < ASK__SPARE ? n : ASK__SPARE;
}

void ask__fill(struct onion_asks *a)
{
    size_t want = ONION_ASK_READY + legs_waiting(a) + unsuitable(a), have = coming(a);
    for (; have < want; have++) {
        if (path_begin(a))
            continue;
        if (have == 0)
            ask__no_way(a);
        refill_later(a);
        return;
    }
}

static bool serves(const struct ask_path *p, const struct onion_ask *k)
{
    return p->is_open && p->is_taken && !p->is_old && map_len(p->calls) < ONION_ASKS_PATH &&
           memcmp(&p->why, &k->why, sizeof p->why) == 0;
}

struct ask_path *ask__path_for(struct onion_asks *a, const struct ask_leg *l)
{
    const struct onion_ask *k = l->ask;
    struct ask_path *free_one = NULL, *again = NULL;
    list_each (node, &a->paths) {
        struct ask_path *p = container_of(node, struct ask_path, node);
        if (is_in_use(p, k) || (!serves(p, k) && !is_free(p)))
            continue;
        if (was_asked(p, k))
            again = p;
        else if (p->is_taken)
            return p;
        else
            free_one = free_one != NULL ? free_one : p;
    }
    /* In a network of few relays there may be no other END. */
    if (free_one == NULL && (l->is_lenient || onion_picker_relays(a->picker) <= ONION_HOPS_MAX))
        free_one = again;
    if (free_one != NULL) {
        free_one->is_taken = true;
        free_one->why = k->why;
    }
    return free_one;
}

void ask__paths_stop(struct onion_asks *a)
{
    env_timer_stop(a->env, &a->fill);
    while (!list_empty(&a->paths))
        ask__path_free(container_of(a->paths.next, struct ask_path, node));
}

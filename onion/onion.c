/* onion/onion.c - the parts of a node's onion put together: made in order, ended in the opposite
 * one. */
#include "onion/onion.h"

#include <stdlib.h>
#include <string.h>

#include "onion/address.h"
#include "onion/onion_internal.h"

enum {
    TICK_MS = 1000,
    YOUNG_TICK_MS =
        20, /* at the start a node of a small network has its relays within tens of milliseconds */
    YOUNG_S = 10,
};

/* ---- time
 * ---------------------------------------------------------------------------------------- */

static void key_renewed(void *arg)
{
    struct onion *o = arg;
    if (o->replay != NULL)
        onion_replay_renewed(o->replay, mesh_time(o->mesh));
}

/* After a crash so long ago that the wait would be as long, new keys end it. */
static void replay_tick(struct onion *o, uint64_t now_ns)
{
    if (o->replay == NULL || now_ns - o->replay_ns < ENV_S(ONION_REPLAY_TICK_S))
        return;
    o->replay_ns = now_ns;
    if (onion_replay_tick(o->replay, mesh_time(o->mesh)))
        mesh_renew_onion_key(o->mesh, key_renewed, o);
}

static void tick(struct env_timer *t, void *arg)
{
    struct onion *o = arg;
    uint64_t now = env_now_ns(o->env);
    bool is_young = now - o->started_ns < ENV_S(YOUNG_S) && !onion_picker_is_ready(o->picker);
    (void)t;
    replay_tick(o, now);
    services__tick(o);
    env_timer_in(o->env, &o->tick, ENV_MS(is_young ? YOUNG_TICK_MS : TICK_MS));
}

int onion__is_on(const struct onion *o, struct cyx_err *err)
{
    if (o->is_stopping)
        return cyx_fail(err, CYX_ECLOSED, "the node stops");
    return o->is_started ? 0 : cyx_fail(err, CYX_EAGAIN, "not started yet");
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void stopped(struct onion *o)
{
    env_fn done = o->stopped;
    o->stopped = NULL;
    if (done != NULL)
        done(o->stopped_arg);
}

static void saved(void *arg, int code)
{
    (void)code;
    stopped(arg);
}

/* Lookups and their paths: nobody is left who could ask. */
static void end_asking(struct onion *o)
{
    onion_fetch_destroy(o->fetch);
    onion_asks_destroy(o->asks);
    o->fetch = NULL;
    o->asks = NULL;
}

/* Connections had time for their last words: paths may go now. */
static void close_rest(struct env_timer *t, void *arg)
{
    struct onion *o = arg;
    (void)t;
    services__end(o);
    visits__end(o, VISITS_NOW);
    end_asking(o);
    onion_relay_destroy(o->relay);
    o->relay = NULL;
    if (o->replay == NULL || onion_replay_stop(o->replay, mesh_time(o->mesh), saved, o) != 0)
        stopped(o);
}

/* From the loop: whoever stops us may do so from a stream's callback. */
static void leave(struct env_timer *t, void *arg)
{
    struct onion *o = arg;
    bool has_talk = !list_empty(&o->services) || !list_empty(&o->leaving) || visits__count(o) > 0;
    visits__end(o, VISITS_TELL);
    services__leave(o);
    env_timer_init(t, close_rest, o);
    env_timer_in(o->env, t, has_talk ? ENV_MS(ONION__LEAVE_MS) : 0);
}

void onion_stop(struct onion *o, env_fn done, void *arg)
{
    o->stopped = done;
    o->stopped_arg = arg;
    if (o->is_stopping)
        return;
    o->is_started = false;
    o->is_stopping = true;
    env_timer_stop(o->env, &o->tick);
    env_timer_in(o->env, &o->end, 0);
}

/* ---- life -------------------------------------------------------------------------------------
 */

/* A guard whose link is lost is no choice for the paths that are made anew because of it. */
static void link_down(void *arg, struct mesh_link *l, const char *why)
{
    struct onion *o = arg;
    (void)why;
    if (o->picker != NULL)
        onion_picker_link_down(o->picker, l);
}

static void link_up(void *arg, struct mesh_link *l)
{
    struct onion *o = arg;
    if (o->picker != NULL)
        onion_picker_link_up(o->picker, l);
}

struct onion *onion_create(struct mesh *mesh, struct dht *dht, const struct onion_config *config,
                           struct cyx_err *err)
{
    struct onion *o = calloc(1, sizeof *o);
    if (o == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for onion paths");
        return NULL;
    }
    o->env = mesh_env(mesh);
    o->mesh = mesh;
    o->dht = dht;
    o->config = *config;
    if (o->config.hops == 0)
        o->config.hops = ONION_HOPS;
    list_init(&o->services);
    list_init(&o->leaving);
    list_init(&o->all_visits);
    env_timer_init(&o->tick, tick, o);
    env_timer_init(&o->end, leave, o);
    onion_buffers_init(&o->buffers, 0, 0);
    o->visits = map_create(sizeof(uint8_t[48]), ONION__VISITS);
    o->watcher = (struct mesh_watcher){ .link_up = link_up, .link_down = link_down, .arg = o };
    mesh_watch(mesh, &o->watcher);
    o->sw = onion_switch_create(mesh);
    o->paths = o->sw != NULL ? onion_paths_create(o->sw) : NULL;
    if (o->visits != NULL && o->paths != NULL)
        return o;
    onion_destroy(o);
    cyx_fail(err, CYX_ENOMEM, "no memory for onion paths");
    return NULL;
}

static int start_relay(struct onion *o, struct cyx_err *err)
{
    const struct mesh_identity *me = mesh_identity_of(o->mesh);
    const struct onion_replay_start past = { .identity = me,
                                             .keys_are_new = me->is_new,
                                             .greatest = mesh_time_greatest(o->mesh),
                                             .now = mesh_time(o->mesh) };
    if (!o->config.is_relay)
        return 0;
    o->replay = onion_replay_open(o->env, &past, err);
    if (o->replay == NULL)
        return CYX_ENOMEM;
    const struct onion_relay_config c = { .paths = o->sw, .dht = o->dht, .replay = o->replay };
    o->relay = onion_relay_create(&c, err);
    return o->relay != NULL ? 0 : CYX_ENOMEM;
}

int onion_start(struct onion *o, struct cyx_err *err)
{
    int code = onion_address_self_check(err);
    if (code < 0)
        return code;
    o->picker = onion_picker_create(o->dht, err);
    o->asks = o->picker != NULL ? onion_asks_create(o->paths, o->picker) : NULL;
    o->fetch = o->asks != NULL ? onion_fetch_create(o->asks, o->mesh) : NULL;
    if (o->fetch == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for onion paths");
    code = start_relay(o, err);
    if (code < 0)
        return code;
    o->is_started = true;
    o->started_ns = o->replay_ns = env_now_ns(o->env);
    onion_asks_start(o->asks);
    env_timer_in(o->env, &o->tick, 0);
    return 0;
}

void onion_destroy(struct onion *o)
{
    if (o == NULL)
        return;
    o->is_stopping = true;
    env_timer_stop(o->env, &o->tick);
    env_timer_stop(o->env, &o->end);
    services__end(o);
    if (o->visits != NULL)
        visits__end(o, VISITS_NOW);
    onion_relay_destroy(o->relay);
    onion_replay_close(o->replay);
    end_asking(o);
    onion_picker_destroy(o->picker);
    onion_paths_destroy(o->paths);
    onion_switch_destroy(o->sw);
    mesh_unwatch(&o->watcher);
    map_destroy(o->visits);
    free(o);
}

int onion_client_key_set(struct onion *o, const uint8_t address[static 32],
                         const uint8_t secret[static 32], struct cyx_err *err)
{
    if (o->fetch == NULL)
        return cyx_fail(err, CYX_EAGAIN, "not started yet");
    int code = onion_fetch_client_key(o->fetch, address, secret);
    return code == 0 ? 0 : cyx_fail(err, code, "no memory for a client key");
}

/* ---- what goes on
 * ------------------------------------------------------------------------------------ */

void onion_get_status(struct onion *o, struct onion_summary *out)
{
    struct onion_relay_stats through = { 0 };
    *out = (struct onion_summary){ .connections = visits__count(o) };
    if (!o->is_started)
        return;
    if (o->relay != NULL)
        onion_relay_get_stats(o->relay, &through);
    out->is_ready = onion_picker_is_ready(o->picker);
    out->relays = onion_picker_relays(o->picker);
    out->guards_up = onion_picker_guards_up(o->picker);
    out->paths_own = onion_paths_count(o->paths);
    out->paths_ready = onion_asks_ready(o->asks);
    out->paths_through = through.building + through.open + through.ends;
    list_each (node, &o->services) {
        struct onion_service_info info;
        onion_service_info(services__at(node), &info);
        out->services++;
        out->connections += info.connections;
        out->streams += info.streams;
    }
}

void onion_metrics(struct onion *o, metric_fn fn, void *arg)
{
    const struct metric_out m = { fn, arg };
    onion_paths_metrics(o->paths, fn, arg);
    if (o->asks != NULL)
        onion_asks_metrics(o->asks, fn, arg);
    if (o->relay != NULL)
        onion_relay_metrics(o->relay, fn, arg);
    metric_bound(&m, "cyx_onion_used", "cyx_onion_limit", "visits", visits__count(o),
                 ONION__VISITS);
    metric_bound(&m, "cyx_onion_used", "cyx_onion_limit", "receive_bytes", o->buffers.rx.used,
                 o->buffers.rx.max);
    metric_bound(&m, "cyx_onion_used", "cyx_onion_limit", "send_bytes", o->buffers.tx.used,
                 o->buffers.tx.max);
    metric_counter(&m, "cyx_onion_streams_total", "streams to and from hidden endpoints",
                   o->c.streams);
    metric_counter(&m, "cyx_onion_flows_total", "datagram flows", o->c.flows);
    metric_counter(&m, "cyx_onion_visits_total", "connections begun to hidden endpoints",
                   o->c.visits);
    metric_counter(&m, "cyx_onion_paths_replaced_total", "paths replaced under a live connection",
                   o->c.replaced_paths);
    metric_counter(&m, "cyx_onion_work_total", "proofs of work done for splices", o->c.work_done);
    for (unsigned i = 0; i < ONION_FAILS; i++)
        metric_labelled(&m, "cyx_onion_streams_ended_total", "streams that ended, by reason", "why",
                        onion_fail_name((enum onion_fail)i), o->c.fails[i]);
}

void onion_paths_each(struct onion *o, bool (*fn)(void *arg, const struct onion_path_row *row),
                      void *arg)
{
    onion_paths_rows(o->paths, fn, arg);
}

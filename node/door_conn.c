/* One connection of a front door: the states are door_internal.h's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node/door_internal.h"

static void set_state(struct door_conn *c, enum door_state to)
{
    static const uint64_t limits_ms[] = { [DOOR_REQUEST] = DOOR_REQUEST_MS,
                                          [DOOR_DIALLING] = DOOR_DIAL_MS,
                                          [DOOR_REFUSED] = DOOR_LINGER_MS,
                                          [DOOR_ASSOCIATED] = 0,
                                          [DOOR_BRIDGED] = 0 };
    struct env *e = c->door->o.env;
    c->state = to;
    env_timer_stop(e, &c->timer);
    if (limits_ms[to] > 0)
        env_timer_in(e, &c->timer, ENV_MS(limits_ms[to]));
}

/* The line's object; never who is reached. */
static const char *name_of(const struct door_conn *c, char out[static 32])
{
    snprintf(out, 32, "%s %" PRIu64, c->door->o.kind == DOOR_SOCKS ? "socks" : "http", c->number);
    return out;
}

static void free_head(struct door_conn *c)
{
    free(c->head);
    c->head = NULL;
    c->head_len = 0;
}

/* Frees; the streams are gone. */
static void conn_free(struct door_conn *c)
{
    list_del(&c->node);
    c->door->counts.conns--;
    env_timer_stop(c->door->o.env, &c->timer);
    udp_door_close(c->udp);
    socks_fini(&c->socks);
    free_head(c);
    free(c);
}

void door__conn_drop(struct door_conn *c)
{
    if (c->bridge != NULL)
        bridge_destroy(c->bridge);
    else
        env_stream_reset(c->door->o.env, c->local);
    conn_free(c);
}

/* ---- refusing -------------------------------------------------------------------------------- */

static void on_waste(void *arg, uint8_t *data, size_t len)
{
    struct door_conn *c = arg;
    (void)data;
    if (len > 0)
        return; /* to leave it unread would turn our answer into a reset */
    env_stream_close(c->door->o.env, c->local);
    conn_free(c);
}

static void on_broken(void *arg, int code)
{
    struct door_conn *c = arg;
    (void)code;
    env_stream_close(c->door->o.env, c->local);
    conn_free(c);
}

static const struct env_stream_events waste_events = { .data = on_waste, .closed = on_broken };

/* Sends what `out` holds, then our end, and waits a moment for theirs. */
static void end_with(struct door_conn *c, const struct writer *out)
{
    struct env *e = c->door->o.env;
    set_state(c, DOOR_REFUSED);
    env_stream_attach(e, c->local, &waste_events, c);
    env_stream_pause(e, c->local, false);
    if (env_stream_write(e, c->local, out->start, writer_len(out)) == 0)
        env_stream_end(e, c->local);
    else
        door__conn_drop(c);
}

static void refuse(struct door_conn *c, struct door_refusal code, const char *reason)
{
    uint8_t buf[TUNNEL_ANSWER_MAX];
    char name[32];
    struct writer out = writer_on(buf, sizeof buf);
    c->door->counts.refused[code.socks]++;
    log_debug(c->door->o.env->log, name_of(c, name), "refused: %s", reason);
    if (c->door->o.kind == DOOR_SOCKS)
        socks_answer(&out, (enum socks_code)code.socks, NULL);
    else
        tunnel_answer(&out, code.status, reason);
    end_with(c, &out);
}

static void refuse_for(struct door_conn *c, enum onion_fail why)
{
    refuse(c, door_code_fail(why), c->door->o.ops->fail_text(why));
}

/* ---- through a bridge ------------------------------------------------------------------------ */

static void on_far_opened(void *arg)
{
    struct door_conn *c = arg;
    uint8_t buf[TUNNEL_ANSWER_MAX];
    struct writer out = writer_on(buf, sizeof buf);
    if (c->state != DOOR_DIALLING)
        return;
    if (c->door->o.kind == DOOR_SOCKS)
        socks_answer(&out, SOCKS_OK, NULL);
    else
        tunnel_answer(&out, 200, "");
    set_state(c, DOOR_BRIDGED);
    c->door->counts.opened++;
    if (env_stream_write(c->door->o.env, c->local, buf, writer_len(&out)) < 0)
        door__conn_drop(c);
    else
        bridge_open(c->bridge);
}

/* Before success was said: there is an answer for that. */
static void on_far_failed(void *arg, enum onion_fail why)
{
    struct door_conn *c = arg;
    struct onion_stream *far = NULL;
    bridge_release(c->bridge, &c->local, &far);
    c->bridge = NULL;
    refuse_for(c, why);
}

static void on_ended(void *arg, const struct bridge_end *end)
{
    struct door_conn *c = arg;
    struct door_counts *n = &c->door->counts;
    struct log *log = c->door->o.env->log;
    char name[32];
    n->to_far += end->to_far;
    n->to_local += end->to_local;
    if (c->state == DOOR_BRIDGED && end->how != BRIDGE_ORDERLY && end->how != BRIDGE_LOCAL_GONE) {
        n->resets++;
        log_info(log, name_of(c, name), "reset: %s",
                 end->how == BRIDGE_IDLE        ? "idle for too long"
                 : end->how == BRIDGE_NO_MEMORY ? "no memory"
                                                : c->door->o.ops->fail_text(end->why));
    }
    log_debug(log, name_of(c, name), "over: %" PRIu64 " bytes out, %" PRIu64 " in", end->to_far,
              end->to_local);
    bridge_destroy(c->bridge);
    conn_free(c);
}

static const struct bridge_events bridge_events = { .far_opened = on_far_opened,
                                                    .far_failed = on_far_failed,
                                                    .ended = on_ended };

static struct bridge *new_bridge(struct door_conn *c)
{
    const struct bridge_options o = { .env = c->door->o.env,
                                      .ops = c->door->o.ops,
                                      .events = &bridge_events,
                                      .arg = c,
                                      .idle_ns = ENV_MS(c->door->o.idle_ms) };
    return bridge_create(&o);
}

/* False after a refusal: `c` may be gone. */
static bool dial(struct door_conn *c, const char *host, size_t len, uint16_t port,
                 const struct onion_isolation *isolation)
{
    struct door *d = c->door;
    struct onion_target to = { .port = port,
                               .isolation = *isolation,
                               .wait_for_answer = d->o.wait_for_answer };
    enum onion_name_verdict v = d->o.resolve(d->o.arg, host, len, to.address);
    if (v != ONION_NAME_OK) {
        refuse(c, door_code_name(v), onion_name_verdict_text(v));
        return false;
    }
    if (d->onion == NULL || port == 0) {
        refuse_for(c, d->onion == NULL ? ONION_FAIL_NOT_READY : ONION_FAIL_NO_PORT);
        return false;
    }
    c->bridge = new_bridge(c);
    if (c->bridge == NULL || bridge_dial(c->bridge, d->onion, &to, NULL) < 0) {
        bridge_destroy(c->bridge);
        c->bridge = NULL;
        refuse_for(c, ONION_FAIL_BUSY);
        return false;
    }
    bridge_take_local(c->bridge, c->local);
    set_state(c, DOOR_DIALLING);
    return true;
}

/* ---- datagrams ------------------------------------------------------------------------------- */

static const struct env_stream_events associated_events = { .data = on_waste, .closed = on_broken };

static void associate(struct door_conn *c)
{
    struct door *d = c->door;
    uint8_t buf[SOCKS_ANSWER_MAX];
    struct writer out = writer_on(buf, sizeof buf);
    struct env_addr bound;
    struct cyx_err err = { 0 };
    struct udp_door_options o = { .env = d->o.env,
                                  .ops = d->o.ops,
                                  .onion = d->onion,
                                  .bind = d->o.at,
                                  .resolve = d->o.resolve,
                                  .arg = d->o.arg,
                                  .isolation = c->socks.request.isolation,
                                  .client_port = c->socks.request.port,
                                  .counts = &d->counts };
    if (d->onion == NULL) {
        refuse_for(c, ONION_FAIL_NOT_READY);
        return;
    }
    o.has_client = env_stream_peer(d->o.env, c->local, &o.client) == 0;
    c->udp = udp_door_open(&o, &bound, &err);
    if (c->udp == NULL) {
        refuse(c, (struct door_refusal){ SOCKS_GENERAL, 503 }, err.msg);
        return;
    }
    d->counts.opened++;
    set_state(c, DOOR_ASSOCIATED);
    socks_answer(&out, SOCKS_OK, &bound);
    env_stream_attach(d->o.env, c->local, &associated_events, c);
    if (env_stream_write(d->o.env, c->local, buf, writer_len(&out)) < 0)
        door__conn_drop(c);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void take_socks(struct door_conn *c, const uint8_t *data, size_t len)
{
    uint8_t buf[SOCKS_ANSWER_MAX];
    size_t used = 0;
    const struct socks_request *q = &c->socks.request;
    struct writer out = writer_on(buf, sizeof buf);
    enum socks_step step = socks_feed(&c->socks, data, len, &used, &out);
    if (step == SOCKS_REFUSE) {
        if (c->socks.code != SOCKS_OK)
            c->door->counts.refused[c->socks.code]++;
        else
            c->door->counts.broken++;
        end_with(c, &out);
        return;
    }
    if (env_stream_write(c->door->o.env, c->local, buf, writer_len(&out)) < 0) {
        door__conn_drop(c);
        return;
    }
    if (step == SOCKS_MORE)
        return;
    if (q->command == SOCKS_ASSOCIATE)
        associate(c);
    else if (dial(c, q->host, q->host_len, q->port, &q->isolation))
        bridge_feed(c->bridge, data + used, len - used);
}

static void refuse_status(struct door_conn *c, unsigned status)
{
    uint8_t buf[TUNNEL_ANSWER_MAX];
    struct writer out = writer_on(buf, sizeof buf);
    if (status == 405)
        c->door->counts.refused[SOCKS_COMMAND]++;
    else
        c->door->counts.broken++;
    tunnel_answer(&out, status, "This is a proxy for HTTP CONNECT to .cyx names");
    end_with(c, &out);
}

static void take_tunnel(struct door_conn *c, const uint8_t *data, size_t len)
{
    struct tunnel_request q;
    size_t used = 0, room = TUNNEL_HEAD_MAX - c->head_len, n = len < room ? len : room;
    if (c->head == NULL && (c->head = malloc(TUNNEL_HEAD_MAX)) == NULL) {
        door__conn_drop(c);
        return;
    }
    memcpy(c->head + c->head_len, data, n);
    c->head_len += n;
    int status = tunnel_parse(&q, c->head, c->head_len, &used);
    if (status == 0)
        return;
    if (status != 200) {
        refuse_status(c, (unsigned)status);
        return;
    }
    if (!dial(c, q.host, q.host_len, q.port, &q.isolation))
        return;
    bridge_feed(c->bridge, c->head + used, c->head_len - used);
    bridge_feed(c->bridge, data + n, len - n);
    free_head(c);
}

static void on_request(void *arg, uint8_t *data, size_t len)
{
    struct door_conn *c = arg;
    if (len == 0)
        door__conn_drop(c); /* left before it asked */
    else if (c->door->o.kind == DOOR_SOCKS)
        take_socks(c, data, len);
    else
        take_tunnel(c, data, len);
}

static const struct env_stream_events request_events = { .data = on_request, .closed = on_broken };

static void on_timer(struct env_timer *t, void *arg)
{
    struct door_conn *c = arg;
    struct onion_stream *far = NULL;
    (void)t;
    if (c->state != DOOR_DIALLING) {
        door__conn_drop(c);
        return;
    }
    bridge_release(c->bridge, &c->local, &far);
    c->bridge = NULL;
    if (far != NULL)
        c->door->o.ops->reset(far);
    if (c->local != NULL)
        refuse_for(c, ONION_FAIL_TIMEOUT);
    else
        conn_free(c); /* the bridge had ended and was about to say so */
}

void door__conn_start(struct door *d, struct env_stream *s)
{
    struct door_conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        env_stream_reset(d->o.env, s);
        return;
    }
    c->door = d;
    c->local = s;
    c->number = ++d->last_number;
    socks_init(&c->socks);
    env_timer_init(&c->timer, on_timer, c);
    list_push_back(&d->conns, &c->node);
    d->counts.conns++;
    set_state(c, DOOR_REQUEST);
    env_stream_attach(d->o.env, s, &request_events, c);
}

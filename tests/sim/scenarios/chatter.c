#include "tests/sim/scenarios/chatter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DATAGRAM_MAX = 1328,
    ANSWERS_OF_4 = 3, /* how many of four datagrams are answered */
    STORE_BYTES = 1 << 16,
    NAT_EVERY = 3,       /* one node in three is behind a box */
    BOX_FIRST = 2000000, /* addresses of the boxes */
    ACT_MS = 200,        /* pace of the world's own accidents */
};

struct chat_node {
    struct chatter *all;
    struct sim_node *node;
    struct env_udp *udp;
    struct env_timer timer;
    struct env_task task;
    struct env_kv *kv;
    struct env_listener *listener;
    struct env_stream *in, *out;
    struct env_addr heard; /* somebody who wrote to us */
    uint64_t sum;
};

struct chatter {
    struct sim_world *w;
    struct chat_node *nodes;
    uint32_t n, n_moves;
};

static struct env *env_of(struct chat_node *c)
{
    return sim_node_env(c->node);
}

static void chat_send(struct chat_node *c, const struct env_addr *to)
{
    uint8_t buf[DATAGRAM_MAX * 3];
    struct env *e = env_of(c);
    size_t len = 1 + (size_t)env_random_below(e, DATAGRAM_MAX);
    if (env_random_below(e, 16) == 0)
        len = sizeof buf; /* a row of three */
    memset(buf, (int)(c->sum & 0xff), len);
    env_random(e, buf, len < 32 ? len : 32);
    env_udp_send(e, c->udp, to, buf, len, DATAGRAM_MAX);
}

static void on_datagrams(void *arg, struct env_datagrams *batch, size_t n)
{
    struct chat_node *c = arg;
    for (size_t i = 0; i < n; i++) {
        c->heard = batch[i].from;
        c->sum = c->sum * 31 + batch[i].data[0];
        batch[i].data[0] = 0; /* receivers own the bytes */
        if (env_random_below(env_of(c), 4) < ANSWERS_OF_4)
            chat_send(c, &batch[i].from);
    }
}

static void on_task(void *arg)
{
    struct chat_node *c = arg;
    c->sum++;
}

static void on_work(void *arg)
{
    struct chat_node *c = arg;
    c->sum ^= c->sum << 7;
}

static void on_done(void *arg, int code)
{
    struct chat_node *c = arg;
    c->sum += (uint64_t)(int64_t)code;
}

static void on_stream(void *arg, uint8_t *data, size_t len)
{
    struct chat_node *c = arg;
    for (size_t i = 0; i < len; i++)
        c->sum = c->sum * 33 + data[i];
}

static void on_in_closed(void *arg, int code)
{
    struct chat_node *c = arg;
    (void)code;
    env_stream_close(env_of(c), c->in);
    c->in = NULL;
}

static void on_out_over(void *arg, int code)
{
    struct chat_node *c = arg;
    if (code == 0)
        return;
    env_stream_close(env_of(c), c->out);
    c->out = NULL;
}

static const struct env_stream_events in_events = { .data = on_stream, .closed = on_in_closed };
static const struct env_stream_events out_events = { .opened = on_out_over,
                                                     .data = on_stream,
                                                     .closed = on_out_over };

static void on_accepted(void *arg, struct env_stream *s)
{
    struct chat_node *c = arg;
    env_stream_close(env_of(c), c->in);
    c->in = s;
    env_stream_attach(env_of(c), s, &in_events, c);
}

static void store_something(struct chat_node *c)
{
    struct env *e = env_of(c);
    struct env_kv_batch *b = env_kv_batch(e, c->kv);
    uint8_t key = (uint8_t)env_random_below(e, 32);
    int rc = env_kv_put(e, b, &key, 1, &c->sum, sizeof c->sum);
    if (rc == 0 && key % 3 == 0)
        rc = env_kv_del(e, b, &key, 1);
    if (rc < 0)
        abort();
    env_kv_commit(e, b, on_done, c);
}

static void talk(struct chat_node *c)
{
    struct env *e = env_of(c);
    struct env_endpoint to = { .kind = ENV_TCP };
    uint32_t whom = (uint32_t)env_random_below(e, c->all->n);
    to.addr = probe_address(whom, PROBE_PORT);
    if (c->out == NULL && env_connect(e, &to, &out_events, c, &c->out, NULL) < 0)
        abort();
    if (env_stream_write(e, c->out, &c->sum, sizeof c->sum) < 0)
        c->sum++;
}

static void on_tick(struct env_timer *t, void *arg)
{
    struct chat_node *c = arg;
    struct env *e = env_of(c);
    struct env_addr to = probe_address((uint32_t)env_random_below(e, c->all->n), PROBE_PORT);
    chat_send(c, env_random_below(e, 4) == 0 && c->heard.port != 0 ? &c->heard : &to);
    env_defer(e, &c->task);
    switch (env_random_below(e, 16)) {
    case 0:
        store_something(c);
        break;
    case 1:
        talk(c);
        break;
    case 2:
        env_blob_store(e, "sum", (const uint8_t *)&c->sum, sizeof c->sum, on_done, c);
        break;
    case 3:
        if (env_work(e, on_work, on_done, c, NULL) < 0)
            c->sum++;
        break;
    case 4: /* a stranger knocks at somebody's box */
        to = probe_address(BOX_FIRST + NAT_EVERY * ((uint32_t)env_random_below(e, 3)) + 1,
                           PROBE_PORT);
        chat_send(c, &to);
        break;
    default:
        break;
    }
    env_timer_in(e, t, ENV_MS(20) + env_random_below(e, ENV_MS(200)));
}

static void boot(void *arg, struct sim_node *n)
{
    struct chat_node *c = arg;
    struct env *e = sim_node_env(n);
    struct env_udp_options o = { .received = on_datagrams, .arg = c };
    struct env_endpoint at = { .kind = ENV_TCP, .addr.port = PROBE_PORT };
    struct cyx_err err;
    /* Nobody can dial those behind boxes: any port will do for them. */
    o.bind.port = sim_node_index(n) % NAT_EVERY == 1 ? 0 : PROBE_PORT;
    if (env_udp_open(e, &o, &c->udp, &err) < 0 ||
        env_kv_open(e, "chat", STORE_BYTES, &c->kv, &err) < 0 ||
        env_listen(e, &at, on_accepted, c, &c->listener, &err) < 0) {
        fprintf(stderr, "chatter: %s\n", err.msg);
        abort();
    }
    env_timer_init(&c->timer, on_tick, c);
    env_task_init(&c->task, on_task, c);
    env_timer_in(e, &c->timer, env_random_below(e, ENV_MS(200)));
}

static void drop(void *arg, struct sim_node *n)
{
    struct chat_node *c = arg;
    struct env *e = sim_node_env(n);
    env_timer_stop(e, &c->timer);
    env_task_cancel(&c->task);
    env_udp_close(e, c->udp);
    env_kv_close(e, c->kv);
    env_stream_close(e, c->in);
    env_stream_close(e, c->out);
    env_listener_close(e, c->listener);
    c->in = c->out = NULL;
}

/* ---- the world's accidents ---- */

static void toggle(struct sim_node *n)
{
    if (sim_node_is_up(n))
        sim_node_crash(n);
    else
        sim_node_boot(n);
}

static void act(void *arg)
{
    struct chatter *c = arg;
    struct sim_node *n = c->nodes[sim_random_below(c->w, c->n)].node;
    struct env_addr to;
    switch (sim_random_below(c->w, 8)) {
    case 0:
        sim_heal(c->w);
        break;
    case 1:
        sim_node_set_group(n, 1);
        break;
    case 2:
        sim_node_set_skew(n, (int64_t)sim_random_below(c->w, 100000) - 50000);
        break;
    case 3:
        to = probe_address(1000000 + c->n_moves++, 0);
        if (sim_node_move(n, &to, NULL) < 0)
            abort();
        break;
    default:
        toggle(n);
        break;
    }
    sim_at(c->w, sim_now(c->w) + SIM_MS(ACT_MS), act, c);
}

static struct sim_nat *box(struct chatter *c, uint32_t i)
{
    struct sim_nat_options o = {
        .type = (enum sim_nat_type)(i / NAT_EVERY % 4),
        .address = probe_address(BOX_FIRST + i, 0),
        .timeout_s = 30,
    };
    struct sim_nat *nat = sim_nat_add(c->w, &o);
    if (nat == NULL)
        abort();
    return nat;
}

struct chatter *chatter_create(uint64_t seed, uint32_t n)
{
    struct sim_options o = { .seed = seed, .link = sim_link_rough };
    struct chatter *c = calloc(1, sizeof *c);
    if (c == NULL || (c->nodes = calloc(n, sizeof *c->nodes)) == NULL ||
        (c->w = sim_create(&o)) == NULL)
        abort();
    c->n = n;
    for (uint32_t i = 0; i < n; i++) {
        struct chat_node *me = &c->nodes[i];
        struct sim_node_options no = {
            .address = probe_address(i, 0), .boot = boot, .drop = drop, .arg = me
        };
        if (i % NAT_EVERY == 1) {
            no.nat = box(c, i);
            no.address = env_addr_v4(192, 168, 1, 2, 0);
        }
        no.uplink_bps = i % 5 == 0 ? 1000000 : 0;
        me->all = c;
        me->node = sim_node_add(c->w, &no);
        sim_node_boot(me->node);
    }
    sim_at(c->w, SIM_MS(ACT_MS), act, c);
    return c;
}

struct sim_world *chatter_world(const struct chatter *c)
{
    return c->w;
}

void chatter_destroy(struct chatter *c)
{
    sim_destroy(c->w);
    free(c->nodes);
    free(c);
}

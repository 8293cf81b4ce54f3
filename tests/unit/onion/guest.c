#include "guest.h"

#include "onion/address.h"

/* ---- the service --------------------------------------------------------------------------------
 */

static struct inn *the_inn; /* a stream's callbacks have its place in `streams` only */

static void inn_data(void *arg, const uint8_t *data, size_t len)
{
    struct onion_stream **s = arg;
    the_inn->got += len;
    if (len == 0)
        onion_stream_end(*s);
    else if (!the_inn->is_quiet)
        (void)onion_stream_write(*s, data, len);
    onion_stream_consumed(*s, len);
}

static void inn_closed(void *arg, enum onion_fail why)
{
    struct onion_stream **s = arg;
    *s = NULL;
    the_inn->closed++;
    the_inn->last = why;
}

static void inn_stream(void *arg, struct onion_stream *s, uint16_t port)
{
    static const struct onion_stream_events ev = { .data = inn_data, .closed = inn_closed };
    struct inn *i = arg;
    (void)port;
    if (i->refuse != ONION_OPEN_OK) {
        onion_stream_refuse(s, i->refuse);
        return;
    }
    struct onion_stream **place = &i->streams[i->n++ % INN_STREAMS];
    *place = s;
    onion_stream_attach(s, &ev, place);
    onion_stream_accept(s);
    if (i->on_stream != NULL)
        i->on_stream(i);
}

static void inn_datagram(void *arg, const uint8_t *data, size_t len)
{
    struct inn *i = arg;
    i->datagrams++;
    if (!i->is_quiet)
        (void)onion_flow_send(i->flow, data, len);
}

static void inn_flow_closed(void *arg, enum onion_fail why)
{
    struct inn *i = arg;
    (void)why;
    i->flow = NULL;
    i->flows_closed++;
}

static void inn_flow(void *arg, struct onion_flow *f, uint16_t port)
{
    static const struct onion_flow_events ev = { .datagram = inn_datagram,
                                                 .closed = inn_flow_closed };
    struct inn *i = arg;
    (void)port;
    i->flow = f;
    i->flows++;
    onion_flow_attach(f, &ev, i);
}

static void inn_changed(void *arg, const struct onion_service_info *now)
{
    struct inn *i = arg;
    (void)now;
    i->changes++;
    if (i->on_change != NULL)
        i->on_change(i);
}

static void serve(void *arg)
{
    static const struct onion_service_events ev = { .stream = inn_stream,
                                                    .flow = inn_flow,
                                                    .changed = inn_changed };
    struct inn *i = arg;
    struct cyx_err err = { 0 };
    i->s = onion_serve(i->t->at[i->node].onion, &i->config, &ev, i, &err);
    cr_assert_not_null(i->s, "%s", err.msg);
}

void inn_open(struct inn *i, struct towns *t, unsigned node)
{
    the_inn = i;
    i->t = t;
    i->node = node;
    i->ports[0] = (struct onion_port){ 53, ONION_PORT_BOTH };
    i->ports[1] = (struct onion_port){ 80, ONION_PORT_STREAM };
    i->config.seed = t->seed;
    i->config.ports = i->ports;
    i->config.n_ports = 2;
    few_in(&t->few.node[node], serve, i);
}

static void close_it(void *arg)
{
    struct inn *i = arg;
    onion_service_close(i->s);
    i->s = NULL;
}

void inn_close(struct inn *i)
{
    few_in(&i->t->few.node[i->node], close_it, i);
}

bool inn_is_ready(void *arg)
{
    struct inn *i = arg;
    struct onion_service_info info;
    onion_service_info(i->s, &info);
    return info.state == ONION_SERVICE_READY;
}

void inn_wait(struct inn *i, uint64_t most_ms)
{
    struct onion_service_info info;
    bool is_ready = towns_until(i->t, most_ms, inn_is_ready, i);
    onion_service_info(i->s, &info);
    cr_assert(is_ready, "state %d, %u pivots: %s", info.state, info.pivots,
              info.trouble != NULL ? info.trouble : "");
}

/* ---- a visitor ----------------------------------------------------------------------------------
 */

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 7 + (i >> 8));
}

static void push(struct guest *g)
{
    uint8_t piece[4096];
    while (g->s != NULL && g->sent < g->to_send) {
        size_t n = g->to_send - g->sent;
        n = n < sizeof piece ? n : sizeof piece;
        for (size_t i = 0; i < n; i++)
            piece[i] = byte_at(g->sent + i);
        size_t took = onion_stream_write(g->s, piece, n);
        g->sent += took;
        if (took < n)
            return;
    }
    if (!g->keeps_open && g->s != NULL)
        onion_stream_end(g->s);
}

static void opened(void *arg)
{
    struct guest *g = arg;
    g->opened++;
    push(g);
}

static void data(void *arg, const uint8_t *bytes, size_t len)
{
    struct guest *g = arg;
    if (g->got == 0)
        g->first_ns = sim_now(g->t->few.world);
    if (len == 0)
        g->is_ended = true;
    for (size_t i = 0; i < len; i++)
        cr_assert_eq(bytes[i], byte_at(g->got + i), "byte %zu", g->got + i);
    g->got += len;
    onion_stream_consumed(g->s, len);
}

static void writable(void *arg)
{
    push(arg);
}

static void closed(void *arg, enum onion_fail why)
{
    struct guest *g = arg;
    g->closed++;
    g->why = why;
    g->s = NULL;
    if (g->on_closed != NULL)
        g->on_closed(g);
}

struct dialling {
    struct guest *g;
    uint16_t port;
};

static void dial(void *arg)
{
    static const struct onion_stream_events ev = {
        .opened = opened, .data = data, .writable = writable, .closed = closed
    };
    const struct dialling *d = arg;
    struct guest *g = d->g;
    struct onion_target to = { .port = d->port, .wait_for_answer = g->waits };
    struct cyx_err err = { 0 };
    memcpy(to.address, g->address, sizeof to.address);
    to.isolation.tag[0] = g->tag;
    g->begun_ns = sim_now(g->t->few.world);
    g->s = onion_dial(g->t->at[g->node].onion, &to, &ev, g, &err);
    g->code = g->s == NULL ? err.code : 0;
}

void guest_dial(struct guest *g, struct towns *t, unsigned node, uint16_t port, size_t bytes)
{
    struct dialling d = { g, port };
    g->t = t;
    g->node = node;
    g->to_send = bytes;
    onion_address_of_seed(g->address, t->seed);
    few_in(&t->few.node[node], dial, &d);
}

bool guest_is_over(void *arg)
{
    const struct guest *g = arg;
    return g->closed > 0;
}

bool guest_has_all(void *arg)
{
    const struct guest *g = arg;
    return g->got == g->to_send || g->closed > 0;
}

static void push_more(void *arg)
{
    push(arg);
}

void guest_send(struct guest *g, size_t more)
{
    g->to_send += more;
    few_in(&g->t->few.node[g->node], push_more, g);
}

static void reset(void *arg)
{
    struct guest *g = arg;
    onion_stream_reset(g->s);
    g->s = NULL;
}

void guest_reset(struct guest *g)
{
    few_in(&g->t->few.node[g->node], reset, g);
}

/* A visitor's datagrams and the backend's. Each flow has a socket of its own, so that the backend
 * can tell visitors apart by port, as it tells clients apart on any network. */
#include <stdlib.h>
#include <string.h>

#include "node/expose_internal.h"

enum { FLOW_BUFFER = 128 << 10 };

struct flow {
    struct list node;
    struct expose_entry *entry;
    struct onion_flow *far;
    struct env_udp *udp;
    struct env_addr to;
};

static void flow_free(struct flow *f)
{
    list_del(&f->node);
    f->entry->n_flows--;
    env_udp_close(f->entry->expose->o.env, f->udp);
    free(f);
}

static void on_datagram(void *arg, const uint8_t *data, size_t len)
{
    const struct flow *f = arg;
    /* Best effort, as on the way here. */
    (void)env_udp_send(f->entry->expose->o.env, f->udp, &f->to, data, len, len);
}

static void on_closed(void *arg, enum onion_fail why)
{
    (void)why;
    flow_free(arg);
}

static const struct onion_flow_events flow_events = { .datagram = on_datagram,
                                                      .closed = on_closed };

/* Only the backend's own: the port is open to every program of this machine. */
static void on_received(void *arg, struct env_datagrams *batch, size_t n)
{
    const struct flow *f = arg;
    for (size_t i = 0; i < n; i++) {
        const struct env_datagrams *b = &batch[i];
        if (!env_addr_equal(&b->from, &f->to))
            continue;
        for (size_t at = 0; at < b->len; at += b->segment) {
            size_t len = b->len - at < b->segment ? b->len - at : b->segment;
            (void)f->entry->expose->o.ops->flow_send(f->far, b->data + at, len);
        }
    }
}

/* Nobody but a backend on this machine needs to reach a port that speaks to one. */
static struct env_addr bind_for(const struct env_addr *to)
{
    static const uint8_t one[16] = { [15] = 1 };
    struct env_addr any = { .port = 0 }, v6 = { .port = 0 };
    if (env_addr_is_v4(to))
        return to->ip[12] == 127 ? env_addr_v4(127, 0, 0, 1, 0) : any;
    memcpy(v6.ip, one, sizeof one);
    return memcmp(to->ip, one, sizeof one) == 0 ? v6 : any;
}

static struct flow *flow_new(struct expose_entry *e, const struct expose_port *p)
{
    struct flow *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->entry = e;
    f->to = p->to.addr;
    struct env_udp_options o = { .bind = bind_for(&f->to),
                                 .rcvbuf = FLOW_BUFFER,
                                 .sndbuf = FLOW_BUFFER,
                                 .received = on_received,
                                 .arg = f };
    if (env_udp_open(e->expose->o.env, &o, &f->udp, NULL) < 0) {
        free(f);
        return NULL;
    }
    list_push_back(&e->flows, &f->node);
    e->n_flows++;
    return f;
}

void expose__on_flow(void *arg, struct onion_flow *far, uint16_t port)
{
    struct expose_entry *e = arg;
    const struct expose_port *p = expose__port(e, port, ONION_PORT_DATAGRAM);
    struct flow *f = p != NULL && e->n_flows < EXPOSE_FLOWS_MAX ? flow_new(e, p) : NULL;
    if (f == NULL) {
        e->refused++;
        e->expose->o.ops->flow_close(far);
        return;
    }
    f->far = far;
    e->accepted++;
    e->expose->o.ops->flow_attach(far, &flow_events, f);
}

void expose__drop_flows(struct expose_entry *e)
{
    while (!list_empty(&e->flows)) {
        struct flow *f = container_of(e->flows.next, struct flow, node);
        e->expose->o.ops->flow_close(f->far);
        flow_free(f);
    }
}

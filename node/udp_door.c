#include "node/udp_door.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "node/socks.h"

struct flow {
    struct list node; /* oldest use first */
    struct udp_door *door;
    struct onion_flow *flow;
    uint16_t port;
    uint8_t host_len;
    char host[SOCKS_HOST_MAX]; /* as the client wrote it: answers come from the same name */
};

struct udp_door {
    struct udp_door_options o;
    struct env_udp *udp;
    struct env_addr client; /* where answers go; port 0: not known yet */
    struct list flows;
    size_t n_flows;
};

static void drop_datagram(struct udp_door *u)
{
    u->o.counts->datagrams_dropped++;
}

/* ---- flows ----------------------------------------------------------------------------------- */

static void flow_free(struct flow *f)
{
    list_del(&f->node);
    f->door->n_flows--;
    free(f);
}

static void on_datagram(void *arg, const uint8_t *data, size_t len)
{
    const struct flow *f = arg;
    struct udp_door *u = f->door;
    uint8_t buf[SOCKS_DATAGRAM_HEAD_MAX + ONION_DATAGRAM_MAX];
    struct writer w = writer_on(buf, sizeof buf);
    socks_datagram_head(&w, f->host, f->host_len, f->port);
    writer_copy(&w, data, len);
    if (writer_ok(&w) &&
        env_udp_send(u->o.env, u->udp, &u->client, buf, writer_len(&w), writer_len(&w)) == 0)
        u->o.counts->datagrams_in++;
    else
        drop_datagram(u);
}

static void on_flow_closed(void *arg, enum onion_fail why)
{
    (void)why; /* the next datagram opens it anew */
    flow_free(arg);
}

static const struct onion_flow_events flow_events = { .datagram = on_datagram,
                                                      .closed = on_flow_closed };

static void flow_close(struct flow *f)
{
    f->door->o.ops->flow_close(f->flow);
    flow_free(f);
}

static struct flow *flow_find(struct udp_door *u, const struct socks_datagram *d)
{
    list_each (pos, &u->flows) {
        struct flow *f = container_of(pos, struct flow, node);
        if (f->port == d->port && f->host_len == d->host_len &&
            memcmp(f->host, d->host, d->host_len) == 0)
            return f;
    }
    return NULL;
}

static struct flow *flow_open(struct udp_door *u, const struct socks_datagram *d)
{
    struct onion_target to = { .port = d->port, .isolation = u->o.isolation };
    if (d->port == 0 || u->o.resolve(u->o.arg, d->host, d->host_len, to.address) != ONION_NAME_OK)
        return NULL;
    struct flow *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    if (u->n_flows == UDP_DOOR_FLOWS_MAX)
        flow_close(container_of(u->flows.next, struct flow, node));
    f->door = u;
    f->port = d->port;
    f->host_len = d->host_len;
    memcpy(f->host, d->host, d->host_len);
    f->flow = u->o.ops->flow_open(u->o.onion, &to, &flow_events, f, NULL);
    if (f->flow == NULL) {
        free(f);
        return NULL;
    }
    list_push_back(&u->flows, &f->node);
    u->n_flows++;
    return f;
}

/* ---- from the client ------------------------------------------------------------------------- */

static void take(struct udp_door *u, const uint8_t *data, size_t len)
{
    struct socks_datagram d;
    if (socks_datagram_parse(&d, data, len) != DROP_NONE || d.len > ONION_DATAGRAM_MAX) {
        drop_datagram(u);
        return;
    }
    struct flow *f = flow_find(u, &d);
    if (f == NULL)
        f = flow_open(u, &d);
    if (f == NULL || u->o.ops->flow_send(f->flow, d.data, d.len) < 0) {
        drop_datagram(u);
        return;
    }
    list_del(&f->node);
    list_push_back(&u->flows, &f->node);
    u->o.counts->datagrams_out++;
}

static bool is_loopback(const struct env_addr *a)
{
    static const uint8_t one[16] = { [15] = 1 };
    return env_addr_is_v4(a) ? a->ip[12] == 127 : memcmp(a->ip, one, 16) == 0;
}

/* The client's, and nobody else's: another program on the same machine would speak in its name. */
static bool is_clients(struct udp_door *u, const struct env_addr *from)
{
    if (u->o.has_client ? memcmp(from->ip, u->o.client.ip, 16) != 0 : !is_loopback(from))
        return false;
    if (u->client.port == 0 && (u->o.client_port == 0 || u->o.client_port == from->port))
        u->client = *from;
    return env_addr_equal(&u->client, from);
}

static void on_received(void *arg, struct env_datagrams *batch, size_t n)
{
    struct udp_door *u = arg;
    for (size_t i = 0; i < n; i++) {
        const struct env_datagrams *b = &batch[i];
        for (size_t at = 0; at < b->len; at += b->segment) {
            size_t len = b->len - at < b->segment ? b->len - at : b->segment;
            if (is_clients(u, &b->from))
                take(u, b->data + at, len);
            else
                drop_datagram(u);
        }
    }
}

/* ---- for its owner --------------------------------------------------------------------------- */

struct udp_door *udp_door_open(const struct udp_door_options *o, struct env_addr *bound,
                               struct cyx_err *err)
{
    struct env_udp_info info;
    struct udp_door *u = calloc(1, sizeof *u);
    if (u == NULL) {
        (void)cyx_fail(err, CYX_ENOMEM, "no memory for a datagram port");
        return NULL;
    }
    u->o = *o;
    list_init(&u->flows);
    struct env_udp_options options = { .bind = o->bind,
                                       .rcvbuf = UDP_DOOR_BUFFER,
                                       .sndbuf = UDP_DOOR_BUFFER,
                                       .received = on_received,
                                       .arg = u };
    options.bind.port = 0;
    if (env_udp_open(o->env, &options, &u->udp, err) < 0) {
        free(u);
        return NULL;
    }
    env_udp_info(o->env, u->udp, &info);
    *bound = info.local;
    return u;
}

void udp_door_close(struct udp_door *u)
{
    if (u == NULL)
        return;
    while (!list_empty(&u->flows))
        flow_close(container_of(u->flows.next, struct flow, node));
    env_udp_close(u->o.env, u->udp);
    free(u);
}

#include "base/mp.h"
#include "node/methods.h"
#include "node/metrics.h"
#include "node/prometheus.h"

static void reply_metrics(struct node *n, struct node_call *call, const struct node_gathered *g)
{
    struct prometheus p;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    prometheus_init(&p);
    node__metrics(n, g, prometheus_add, &p);
    prometheus_end(&p);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_str(&pk, p.text.size);
    msgpack_pack_str_body(&pk, p.text.data, p.text.size);
    if (p.is_full) {
        msgpack_sbuffer_destroy(&buf);
        node_reply_error(call, CYX_ENOMEM, "no memory for the metrics");
    } else {
        control_reply_buf(call, &buf);
    }
    prometheus_fini(&p);
}

void node__method_metrics(void *state, struct node_call *call, const msgpack_object *params)
{
    (void)params;
    node__gather_call(state, call, NODE_GATHER_METRICS, reply_metrics);
}

/* Counters of the daemon and the mesh, one entry for each name and label. */
struct counters {
    msgpack_packer *pk; /* NULL: only count */
    size_t n;
};

static void add_counter(void *arg, const struct metric *m)
{
    struct counters *c = arg;
    char name[192];
    c->n++;
    if (c->pk == NULL)
        return;
    if (m->label != NULL)
        snprintf(name, sizeof name, "%s{%s=%s}", m->name, m->label, m->value_of_label);
    else
        snprintf(name, sizeof name, "%s", m->name);
    msgpack_pack_array(c->pk, 2); /* a map of so many keys is refused by the reader's bounds */
    mp_pack_str(c->pk, name);
    msgpack_pack_uint64(c->pk, m->value);
}

static void pack_rates(msgpack_packer *pk, const struct node_rates *r)
{
    msgpack_pack_map(pk, 6);
    node__pack_kv_u64(pk, "rx_bytes", r->per_s[RATE_RX_BYTES]);
    node__pack_kv_u64(pk, "tx_bytes", r->per_s[RATE_TX_BYTES]);
    node__pack_kv_u64(pk, "rx_packets", r->per_s[RATE_RX_PACKETS]);
    node__pack_kv_u64(pk, "tx_packets", r->per_s[RATE_TX_PACKETS]);
    node__pack_kv_u64(pk, "cells", r->per_s[RATE_CELLS]);
    node__pack_kv_u64(pk, "drops", r->per_s[RATE_DROPS]);
}

static void reply_top(struct node *n, struct node_call *call, const struct node_gathered *g)
{
    struct counters c = { .pk = NULL };
    msgpack_sbuffer buf;
    msgpack_packer pk;
    node__metrics(n, g, add_counter, &c);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 4);
    mp_pack_str(&pk, "status");
    node__pack_status(&pk, n, &g->status);
    mp_pack_str(&pk, "peers");
    node__pack_peers(&pk, n, g);
    mp_pack_str(&pk, "rates");
    pack_rates(&pk, &n->rates);
    mp_pack_str(&pk, "counters");
    msgpack_pack_array(&pk, c.n);
    c = (struct counters){ .pk = &pk };
    node__metrics(n, g, add_counter, &c);
    control_reply_buf(call, &buf);
}

void node__method_top(void *state, struct node_call *call, const msgpack_object *params)
{
    (void)params;
    node__gather_call(state, call, NODE_GATHER_STATUS | NODE_GATHER_LINKS | NODE_GATHER_METRICS,
                      reply_top);
}

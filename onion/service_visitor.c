/* onion/service_visitor.c - a visitor's connection: its streams and flows, handed to the service's
 * owner. */
#include <stdlib.h>

#include "onion/service_internal.h"

struct visitor {
    struct list node; /* of service->visitors */
    struct onion_service *s;
    struct onion_conn *conn;
    struct list streams;
    struct flows flows;
};

static void visitor_free(struct visitor *v)
{
    list_del(&v->node);
    v->s->n_visitors--;
    onion_conn_destroy(v->conn);
    free(v);
}

/* Its streams had their reset from the connection, which told each. */
static void closed(void *arg, const struct onion_conn_end *end)
{
    struct visitor *v = arg;
    (void)end;
    flows__end(&v->flows, ONION_FAIL_LOST);
    visitor_free(v);
}

static bool has_port(const struct onion_service *s, uint16_t port, enum onion_port_kind kind)
{
    for (size_t i = 0; i < s->n_ports; i++)
        if (s->ports[i].port == port)
            return (s->ports[i].kind & kind) != 0;
    return s->n_ports == 0; /* the owner answers for each */
}

static void stream_came(void *arg, struct onion_conn_stream *cs, uint16_t port, bool is_early)
{
    struct visitor *v = arg;
    struct onion_service *s = v->s;
    struct onion_stream *x;
    (void)is_early; /* never a replay: onion/flights.h */
    if (s->is_closing || s->ev.stream == NULL || !has_port(s, port, ONION_PORT_STREAM)) {
        s->refused++;
        onion_conn_stream_answer(cs, ONION_ANSWER_NO_PORT);
        return;
    }
    x = stream__new(s->o, port, NULL, NULL);
    if (x == NULL) {
        onion_conn_stream_answer(cs, ONION_ANSWER_BUSY);
        return;
    }
    x->n_streams = &s->n_streams;
    s->n_streams++;
    s->accepted++;
    stream__take(x, cs);
    list_push_back(&v->streams, &x->node);
    s->ev.stream(s->arg, x, port);
}

static void datagram(void *arg, uint16_t port, uint16_t flow, const uint8_t *data, size_t len,
                     bool is_early)
{
    struct visitor *v = arg;
    (void)is_early;
    if (!v->s->is_closing && has_port(v->s, port, ONION_PORT_DATAGRAM))
        flows__heard(&v->flows, port, flow, data, len);
}

static void flow_began(void *arg, struct onion_flow *f)
{
    struct visitor *v = arg;
    if (v->s->ev.flow != NULL)
        v->s->ev.flow(v->s->arg, f, f->port);
    else
        onion_flow_close(f);
}

static const struct onion_conn_ops ops = { .closed = closed,
                                           .stream = stream_came,
                                           .datagram = datagram };

bool visitor__new(struct onion_service *s, struct onion_conn *c)
{
    struct visitor *v = s->is_closing ? NULL : calloc(1, sizeof *v);
    if (v == NULL)
        return false;
    v->s = s;
    v->conn = c;
    list_init(&v->node);
    list_init(&v->streams);
    list_push_back(&s->visitors, &v->node);
    s->n_visitors++;
    flows__init(&v->flows, s->o);
    v->flows.conn = c;
    v->flows.began = flow_began;
    v->flows.arg = v;
    onion_conn_set_ops(c, &ops, v);
    return true;
}

void visitors__leave(struct onion_service *s)
{
    list_each_safe (node, &s->visitors)
        onion_conn_close(container_of(node, struct visitor, node)->conn, ONION_CODE_LEAVING);
}

/* The connection won't tell them any more. */
static void fail_streams(struct visitor *v)
{
    while (!list_empty(&v->streams)) {
        struct onion_stream *s = container_of(v->streams.next, struct onion_stream, node);
        if (s->s != NULL)
            onion_conn_stream_reset(s->s, ONION_CODE_ABORT);
        s->s = NULL;
        stream__fail(s, ONION_FAIL_CLOSING);
    }
}

/* Each close calls `closed`, which takes the visitor out of the list. */
void visitors__end(struct onion_service *s, enum onion_code code)
{
    while (!list_empty(&s->visitors)) {
        struct list *first = s->visitors.next;
        onion_conn_close(container_of(first, struct visitor, node)->conn, code);
        if (s->visitors.next == first) { /* it will be told later: not to us */
            struct visitor *v = container_of(first, struct visitor, node);
            flows__end(&v->flows, ONION_FAIL_CLOSING);
            fail_streams(v);
            visitor_free(v);
        }
    }
}

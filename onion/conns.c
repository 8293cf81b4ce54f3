#include "onion/conns.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "onion/conns_internal.h"

/* ---- life ------------------------------------------------------------------------------------ */

struct onion_conns *onion_conns_create(const struct onion_conns_options *o)
{
    struct onion_conns *h = calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->o = *o;
    if (h->o.max == 0)
        h->o.max = ONION_CONNS;
    list_init(&h->members);
    h->splices = map_create(sizeof(uint32_t), CONNS__SPLICES);
    h->locators = map_create(ONION_LOCATOR, h->o.max * ONION_LOCATORS);
    if (h->splices == NULL || h->locators == NULL) {
        onion_conns_destroy(h);
        return NULL;
    }
    return h;
}

static void leave(struct conns__member *m)
{
    struct onion_conns *h = m->home;
    if (h == NULL)
        return;
    conns__locators_remove(m);
    if (m->is_entered)
        onion_flights_over(h->o.flights, m->e);
    if (list_linked(&m->node))
        h->n--;
    list_del(&m->node);
    m->home = NULL;
}

void onion_conns_destroy(struct onion_conns *h)
{
    if (h == NULL)
        return;
    list_each_safe (n, &h->members)
        leave(container_of(n, struct conns__member, node));
    while (h->splices != NULL && map_len(h->splices) > 0)
        conns__splice_free(map_oldest(h->splices, NULL));
    map_destroy(h->splices);
    map_destroy(h->locators);
    free(h);
}

/* ---- a connection's carrier ------------------------------------------------------------------
 */

static void carry(void *arg, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                  size_t len)
{
    const struct conns__member *m = arg;
    if (m->home != NULL)
        m->home->o.ops->send(m->home->o.arg, splice, kind, bytes, len);
}

static void unbound(void *arg, uint32_t splice)
{
    const struct conns__member *m = arg;
    struct conns__splice *s = m->home != NULL ? map_get(m->home->splices, &splice) : NULL;
    if (s != NULL)
        conns__refuse(s, ONION_CLOSE_LIMIT);
}

/* ---- what a connection asks while it reads message 1, and says when it ends ------------------ */

static enum drop hello_seen(struct onion_conn *c, const uint8_t e[static 32])
{
    const struct conns__member *m = c->home;
    void *conn = NULL;
    if (onion_flights_find(m->home->o.flights, e, &conn) != ONION_FLIGHT_KNOWN)
        return DROP_NONE;
    m->home->repeated = conn;
    return DROP_REPLAY;
}

static enum drop enter(struct conns__member *m, const uint8_t *e, uint64_t stamp)
{
    const struct onion_conns_options *o = &m->home->o;
    enum onion_flight f = onion_flights_enter(o->flights, e, stamp, o->ops->net_time(o->arg),
                                              m->key->drawn_ns, env_now_ns(o->env), m->conn);
    if (f == ONION_FLIGHT_STALE)
        return DROP_EXPIRED;
    if (f == ONION_FLIGHT_KNOWN)
        return DROP_REPLAY;
    memcpy(m->e, e, sizeof m->e);
    m->is_entered = true;
    m->conn->hold_early = f == ONION_FLIGHT_WAIT;
    return DROP_NONE;
}

static enum drop hello_opened(struct onion_conn *c, const uint8_t e[static 32], uint64_t stamp)
{
    struct conns__member *m = c->home;
    struct onion_conns *h = m->home;
    if (h->n >= h->o.max)
        return DROP_LIMIT;
    enum drop drop = enter(m, e, stamp);
    if (drop != DROP_NONE)
        return drop;
    h->n++;
    list_push_back(&h->members, &m->node);
    if (h->o.ops->accepted(h->o.arg, c) && !c->is_destroyed)
        return DROP_NONE;
    onion_flights_forget(h->o.flights, e);
    m->is_entered = false;
    return DROP_LOAD;
}

static void on_open(struct onion_conn *c)
{
    struct conns__member *m = c->home;
    if (m->home != NULL)
        conns__locators_add(m);
}

static void on_free(struct onion_conn *c)
{
    struct conns__member *m = c->home;
    struct onion_conns *h = m->home;
    for (size_t i = 0; h != NULL && i < c->n_bound; i++) {
        struct conns__splice *s = map_get(h->splices, &c->bound[i].splice);
        if (s != NULL && s->conn == c)
            conns__refuse(s, ONION_CLOSE_DONE);
    }
    leave(m);
    free(m);
}

static const struct conn__home_ops home_ops = { hello_seen, hello_opened, on_open, on_free };

/* ---- a first flight --------------------------------------------------------------------------
 */

static struct onion_conn *make(struct onion_conns *h, const struct onion_service_key *key,
                               const uint8_t *dcid)
{
    static const struct onion_conn_ops nobody;
    struct conns__member *m = calloc(1, sizeof *m);
    struct onion_carrier carrier = { .send = carry, .unbound = unbound, .arg = m };
    struct onion_conn_options o = { .env = h->o.env,
                                    .buffers = h->o.buffers,
                                    .carrier = &carrier,
                                    .ops = &nobody,
                                    .initial_rtt_ns = h->o.initial_rtt_ns };
    struct onion_stream_id id;
    if (m == NULL)
        return NULL;
    memcpy(id.net, h->o.net, sizeof id.net);
    memcpy(id.address, key->address, sizeof id.address);
    memcpy(id.service_key, key->pub, sizeof id.service_key);
    memcpy(id.dcid, dcid, sizeof id.dcid);
    struct onion_conn *c = conn__service_new(&o, &id, key->secret);
    if (c == NULL) {
        free(m);
        return NULL;
    }
    *m = (struct conns__member){ .home = h, .conn = c, .key = key };
    list_init(&m->node);
    c->home = m;
    c->home_ops = &home_ops;
    return c;
}

/* A copy of a first flight whose connection lives: the splice is its client's, perhaps by another
 * pivot, and ngtcp2 knows a packet that it had. */
static enum drop bind_repeated(struct onion_conns *h, uint32_t splice, const uint8_t *bytes,
                               size_t len)
{
    struct onion_conn *c = h->repeated;
    struct conns__splice *s = map_get(h->splices, &splice);
    h->info.repeated++;
    if (c == NULL || s == NULL)
        return DROP_REPLAY;
    s->conn = c;
    onion_conn_bind(c, splice);
    enum drop drop = onion_conn_received(c, splice, bytes, len);
    s = map_get(h->splices, &splice);
    if (s != NULL)
        conns__feed_held(s);
    return drop;
}

/* Message 1 was read and is good. Its connection may be over already. */
static void settle(struct onion_conns *h, uint32_t splice, bool waits)
{
    struct conns__splice *s = map_get(h->splices, &splice);
    h->info.accepted++;
    h->info.waiting += waits;
    if (s != NULL)
        conns__feed_held(s);
}

/* Reads the datagram into a new connection: DROP_NONE, or why it is none, and gone. */
static enum drop try_flight(struct onion_conn *c, uint32_t splice, const uint8_t *bytes, size_t len,
                            bool *waits)
{
    const struct conns__member *m = c->home;
    conn__enter(c);
    conn__read(c, splice, bytes, len);
    bool is_good = m->is_entered && c->refused == DROP_NONE && c->state != CONN_NEW;
    enum drop drop = is_good ? DROP_NONE : c->refused != DROP_NONE ? c->refused : DROP_AUTH;
    *waits = c->hold_early;
    if (!is_good) {
        c->n_bound = 0; /* the splice hears of it from first_flight */
        onion_conn_destroy(c);
    }
    (void)conn__leave(c);
    return drop;
}

static enum onion_close reason_of(enum drop drop)
{
    return drop == DROP_LIMIT || drop == DROP_LOAD ? ONION_CLOSE_LIMIT : ONION_CLOSE_REFUSED;
}

static enum drop first_flight(struct conns__splice *s, const struct onion_service_key *key,
                              const uint8_t *dcid, const uint8_t *bytes, size_t len)
{
    struct onion_conns *h = s->home;
    uint32_t splice = s->id;
    bool waits = false;
    struct onion_conn *c = make(h, key, dcid);
    if (c == NULL)
        return DROP_MEMORY;
    s->is_spent = true; /* a stranger buys one handshake for each splice */
    s->conn = c;
    h->repeated = NULL;
    onion_conn_bind(c, splice);
    enum drop drop = try_flight(c, splice, bytes, len, &waits);
    if (drop == DROP_NONE) {
        settle(h, splice, waits);
        return DROP_NONE;
    }
    s->conn = NULL;
    if (drop == DROP_REPLAY)
        drop = bind_repeated(h, splice, bytes, len);
    s = map_get(h->splices, &splice);
    if (s != NULL && s->conn == NULL)
        conns__refuse(s, reason_of(drop));
    return drop;
}

/* ---- cells ----------------------------------------------------------------------------------- */

static enum drop attach(struct conns__splice *s, const uint8_t *bytes, size_t len)
{
    struct onion_conns *h = s->home;
    struct onion_conn *c = conns__locator_use(h, bytes, len);
    if (c == NULL)
        return DROP_UNKNOWN; /* perhaps a good one follows: a second is given */
    s->is_spent = true;
    s->conn = c;
    h->info.attached++;
    onion_conn_bind(c, s->id);
    conns__feed_held(s);
    return DROP_NONE;
}

static enum drop unbound_quic(struct conns__splice *s, const struct onion_service_key *key,
                              const uint8_t *bytes, size_t len)
{
    uint8_t dcid[ONION_DCID];
    enum drop drop = onion__quic_first(bytes, len, dcid);
    if (drop == DROP_NONE && !s->is_spent)
        return first_flight(s, key, dcid, bytes, len);
    if (drop == DROP_NONE || drop == DROP_STATE)
        return conns__hold(s, bytes, len);
    return drop;
}

static enum drop dispatch(struct conns__splice *s, const struct onion_service_key *key,
                          enum onion_kind kind, const uint8_t *bytes, size_t len)
{
    if (s->conn != NULL && kind == ONION_KIND_QUIC)
        return onion_conn_received(s->conn, s->id, bytes, len);
    if (s->conn != NULL)
        return DROP_NONE; /* ATTACH again: it goes ahead of the first three packets */
    return kind == ONION_KIND_ATTACH ? attach(s, bytes, len) : unbound_quic(s, key, bytes, len);
}

enum drop onion_conns_received(struct onion_conns *h, uint32_t splice,
                               const struct onion_service_key *key, enum onion_kind kind,
                               const uint8_t *bytes, size_t len)
{
    enum drop drop = DROP_TYPE;
    if (kind == ONION_KIND_QUIC || kind == ONION_KIND_ATTACH) {
        struct conns__splice *s = conns__splice_get(h, splice);
        drop = s != NULL ? dispatch(s, key, kind, bytes, len) : DROP_MEMORY;
    }
    h->info.dropped[drop] += drop != DROP_NONE;
    /* Whatever it said: a splice that no connection has after a second is closed. */
    struct conns__splice *s = map_get(h->splices, &splice);
    if (s != NULL && s->conn == NULL && !s->timer.is_set)
        env_timer_in(h->o.env, &s->timer, ENV_MS(ONION_HELD_MS));
    return drop;
}

void onion_conns_splice_gone(struct onion_conns *h, uint32_t splice)
{
    struct conns__splice *s = map_get(h->splices, &splice);
    if (s == NULL)
        return;
    if (s->conn != NULL)
        onion_conn_path_down(s->conn, splice);
    conns__splice_free(s);
}

void onion_conns_info(const struct onion_conns *h, struct onion_conns_info *out)
{
    *out = h->info;
    out->n = h->n;
    out->n_splices = map_len(h->splices);
}

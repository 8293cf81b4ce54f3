/* Which splices a connection has, and which one its packets take. A client uses its newest path. A
 * service answers where the 1-RTT packet with the greatest number came from, so a pivot that
 * repeats what it once saw moves nothing to itself; before message 3 it answers on all. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "onion/conn_internal.h"

static size_t place_of(const struct onion_conn *c, uint32_t splice)
{
    size_t i = 0;
    while (i < c->n_bound && c->bound[i].splice != splice)
        i++;
    return i;
}

bool onion_conn_is_bound(const struct onion_conn *c, uint32_t splice)
{
    return place_of(c, splice) < c->n_bound;
}

bool conn__has_path(const struct onion_conn *c)
{
    if (c->is_service && c->state >= CONN_OPEN)
        return c->has_answer;
    return c->n_bound > 0;
}

/* A connection without a path waits; since when, tells how long it may. */
static void note_path(struct onion_conn *c)
{
    if (conn__has_path(c))
        c->waiting_ns = 0;
    else if (c->waiting_ns == 0)
        c->waiting_ns = conn__now(c);
}

static void remove_at(struct onion_conn *c, size_t i)
{
    if (c->has_answer && c->answer == c->bound[i].splice)
        c->has_answer = false;
    c->n_bound--;
    memmove(&c->bound[i], &c->bound[i + 1], (c->n_bound - i) * sizeof c->bound[0]);
}

/* The oldest goes, but not the one in use: or whoever can repeat an old ATTACH or first flight four
 * times would cut the connection off. */
static void make_room(struct onion_conn *c)
{
    size_t i = 0;
    if (c->n_bound < ONION_BOUND)
        return;
    if (c->has_answer && c->answer == c->bound[0].splice)
        i = 1;
    uint32_t splice = c->bound[i].splice;
    remove_at(c, i);
    if (c->carrier.unbound != NULL)
        c->carrier.unbound(c->carrier.arg, splice);
}

static bool bind_to(struct onion_conn *c, uint32_t splice)
{
    if (onion_conn_is_bound(c, splice) || c->state == CONN_OVER)
        return false;
    make_room(c);
    c->bound[c->n_bound++].splice = splice;
    note_path(c);
    return true;
}

/* ---- packets that leave ---------------------------------------------------------------------- */

static void put(struct onion_conn *c, uint32_t splice, enum onion_kind kind, const uint8_t *bytes,
                size_t len)
{
    if (kind == ONION_KIND_QUIC)
        c->info.sent++;
    c->carrier.send(c->carrier.arg, splice, kind, bytes, len);
}

static void client_carry(struct onion_conn *c, const uint8_t *packet, size_t len)
{
    uint32_t splice = c->bound[c->n_bound - 1].splice;
    if (c->attach_left > 0) {
        c->attach_left--;
        put(c, splice, ONION_KIND_ATTACH, c->attach, ONION_LOCATOR);
    }
    put(c, splice, ONION_KIND_QUIC, packet, len);
}

/* Before message 3. The first flight goes twice, and is kept for splices to come. */
static void service_early_carry(struct onion_conn *c, const uint8_t *packet, size_t len)
{
    unsigned times = 1;
    if (c->flight != NULL && c->n_flight < ONION_FLIGHT_KEPT) {
        struct conn__flight *f = &c->flight[c->n_flight++];
        memcpy(f->bytes, packet, len);
        f->len = len;
        times = 2;
    }
    for (unsigned t = 0; t < times; t++)
        for (size_t i = 0; i < c->n_bound; i++)
            put(c, c->bound[i].splice, ONION_KIND_QUIC, packet, len);
}

void conn__carry(struct onion_conn *c, const uint8_t *packet, size_t len)
{
    if (!conn__has_path(c))
        return; /* lost, as on a path that died */
    if (!c->is_service)
        client_carry(c, packet, len);
    else if (c->state < CONN_OPEN)
        service_early_carry(c, packet, len);
    else
        put(c, c->answer, ONION_KIND_QUIC, packet, len);
}

void conn__flight_forget(struct onion_conn *c)
{
    free(c->flight);
    c->flight = NULL;
    c->n_flight = 0;
}

/* ---- a service's splices ---------------------------------------------------------------------
 */

void onion_conn_bind(struct onion_conn *c, uint32_t splice)
{
    if (!bind_to(c, splice))
        return;
    /* Somebody who hasn't got message 2 yet waits at the other end of it, perhaps. */
    for (size_t i = 0; i < c->n_flight; i++)
        put(c, splice, ONION_KIND_QUIC, c->flight[i].bytes, c->flight[i].len);
}

void conn__answer_where(struct onion_conn *c, uint32_t splice, uint64_t before)
{
    if (!c->is_service || c->state != CONN_OPEN)
        return;
    bool is_newest = c->seen.next > before;
    if (!is_newest && c->has_answer)
        return;
    /* Without an answer's place yet: this packet was, or brought, message 3. Later, with the place
     * lost, only a packet that is new gives one. */
    if (!is_newest && c->was_answering)
        return;
    if (!onion_conn_is_bound(c, splice))
        return;
    c->answer = splice;
    c->has_answer = true;
    c->was_answering = true;
    note_path(c);
}

/* ---- a client's paths ------------------------------------------------------------------------ */

static int take_locator(struct onion_conn *c, struct onion_early *out)
{
    /* The service keeps ONION_LOCATORS from the first that it hasn't seen used. */
    if (c->attach_next - c->attach_oldest >= ONION_LOCATORS)
        c->attach_next = c->attach_oldest;
    out->kind = ONION_KIND_ATTACH;
    out->len = ONION_LOCATOR;
    out->locator = c->attach_next++;
    onion_stream_locator(c->resume, out->locator, out->bytes);
    return 0;
}

int onion_conn_early(struct onion_conn *c, struct onion_early *out)
{
    *out = (struct onion_early){ .kind = ONION_KIND_QUIC };
    if (c->state == CONN_OVER || c->is_service)
        return CYX_ECLOSED;
    if (c->state == CONN_OPEN)
        return take_locator(c, out);
    int code = conn__first_flight(c);
    if (code != 0)
        return code;
    out->len = c->flight->len;
    memcpy(out->bytes, c->flight->bytes, c->flight->len);
    return 0;
}

static void go_ahead(struct onion_conn *c, const struct onion_early *early,
                     enum onion_early_went went)
{
    uint32_t splice = c->bound[c->n_bound - 1].splice;
    if (early->kind == ONION_KIND_ATTACH) {
        memcpy(c->attach, early->bytes, ONION_LOCATOR);
        c->attach_j = early->locator;
        c->attach_left = ONION_ATTACH_TIMES;
        c->attach_told = false;
    } else if (went == ONION_EARLY_TO_SEND) {
        put(c, splice, ONION_KIND_QUIC, early->bytes, early->len);
        put(c, splice, ONION_KIND_QUIC, early->bytes, early->len);
    }
}

void onion_conn_path_up(struct onion_conn *c, uint32_t splice, const struct onion_early *early,
                        enum onion_early_went went)
{
    struct onion_early own;
    if (c->state == CONN_OVER || c->is_service)
        return;
    if (early == NULL) {
        if (onion_conn_early(c, &own) != 0)
            return; /* the task ends it */
        early = &own;
        went = ONION_EARLY_TO_SEND;
    }
    onion_conn_path_down(c, splice); /* again: as the newest */
    if (!bind_to(c, splice))
        return;
    c->attach_left = 0;
    c->flight_sent = true;
    go_ahead(c, early, went);
    uint64_t now = conn__now(c);
    if (c->state < CONN_OPEN)
        c->deadline_ns = now + ENV_MS(ONION_NO_ANSWER_MS);
    c->received_ns = now; /* a dead path is counted from here */
    c->dead_told = false;
    c->kicks = CONN__KICKS;
    c->n_ups += c->state < CONN_OPEN;
    conn__soon(c);
}

void onion_conn_path_down(struct onion_conn *c, uint32_t splice)
{
    size_t i = place_of(c, splice);
    if (i == c->n_bound)
        return;
    remove_at(c, i);
    note_path(c);
    if (c->state != CONN_OVER)
        conn__soon(c);
}

/* Splices of a service: what waits on those that no connection is bound to yet. */
#include <stdlib.h>
#include <string.h>

#include "onion/conns_internal.h"

static void on_timer(struct env_timer *t, void *arg)
{
    (void)t;
    conns__refuse(arg, ONION_CLOSE_REFUSED);
}

struct conns__splice *conns__splice_get(struct onion_conns *h, uint32_t id)
{
    struct conns__splice *s = map_get(h->splices, &id);
    if (s != NULL)
        return s;
    s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    *s = (struct conns__splice){ .home = h, .id = id };
    s->held_end = &s->held;
    env_timer_init(&s->timer, on_timer, s);
    if (map_put(h->splices, &id, s) != 0) {
        free(s);
        return NULL;
    }
    return s;
}

static struct conns__held *take_all(struct conns__splice *s)
{
    struct conns__held *all = s->held;
    s->home->info.n_held -= s->n_held;
    s->held = NULL;
    s->held_end = &s->held;
    s->n_held = 0;
    return all;
}

void conns__splice_free(struct conns__splice *s)
{
    struct conns__held *next;
    for (struct conns__held *k = take_all(s); k != NULL; k = next) {
        next = k->next;
        free(k);
    }
    env_timer_stop(s->home->o.env, &s->timer);
    (void)map_del(s->home->splices, &s->id);
    free(s);
}

enum drop conns__hold(struct conns__splice *s, const uint8_t *bytes, size_t len)
{
    struct onion_conns *h = s->home;
    if (s->n_held >= ONION_HELD || h->info.n_held >= ONION_HELD_ALL)
        return DROP_LIMIT;
    struct conns__held *k = malloc(sizeof *k + len);
    if (k == NULL)
        return DROP_MEMORY;
    *k = (struct conns__held){ .len = len };
    memcpy(k->bytes, bytes, len);
    *s->held_end = k;
    s->held_end = &k->next;
    if (s->n_held++ == 0)
        env_timer_in(h->o.env, &s->timer, ENV_MS(ONION_HELD_MS));
    h->info.n_held++;
    return DROP_NONE;
}

void conns__feed_held(struct conns__splice *s)
{
    struct onion_conns *h = s->home;
    uint32_t id = s->id;
    struct conns__held *next;
    env_timer_stop(h->o.env, &s->timer);
    for (struct conns__held *k = take_all(s); k != NULL; k = next) {
        next = k->next;
        /* Looked up each time: a packet may end the connection, and with it the splice. */
        s = map_get(h->splices, &id);
        if (s != NULL && s->conn != NULL)
            (void)onion_conn_received(s->conn, id, k->bytes, k->len);
        free(k);
    }
}

void conns__refuse(struct conns__splice *s, enum onion_close reason)
{
    struct onion_conns *h = s->home;
    uint32_t id = s->id;
    conns__splice_free(s);
    h->o.ops->close(h->o.arg, id, reason);
}

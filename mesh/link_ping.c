/* mesh/link_ping.c - PING and PONG: the link's own (keepalive, round trip, proof of an address) and
 * those of mesh_ping. A nonce is random, so only who read the PING can answer it. */
#include <stdlib.h>
#include <string.h>

#include "mesh/link_internal.h"

/* A fresh nonce also makes PONGs to an earlier address worthless. */
void mesh__ping_want(struct mesh_link *l)
{
    env_random(l->mesh->env, l->ctl.ping, sizeof l->ctl.ping);
    l->ctl.wants_ping = true;
    mesh__link_dirty(l);
}

void mesh__rtt_note(struct mesh_link *l, uint64_t sample_ns)
{
    uint64_t sample = sample_ns > 0 ? sample_ns : 1; /* 0 means "not measured" */
    l->rtt_ns = l->rtt_ns == 0 ? sample : l->rtt_ns - l->rtt_ns / 8 + sample / 8;
}

bool mesh__ping_waits(const struct mesh_link *l)
{
    if (l->ctl.wants_ping)
        return true;
    list_each (at, &l->pings)
        if (!container_of(at, struct mesh__ping, node)->is_sent)
            return true;
    return false;
}

/* Only a PING surely asks for an answer: the last PONG of a talk has none. */
void mesh__ping_put(struct mesh_link *l, struct writer *w)
{
    uint64_t now = mesh__now(l->mesh);
    if (l->unanswered_ns == 0 && mesh__ping_waits(l) && writer_left(w) >= MESH_FRAME_PING_LEN)
        l->unanswered_ns = now;
    if (l->ctl.wants_ping && writer_left(w) >= MESH_FRAME_PING_LEN) {
        mesh_frame_put_ping(w, MESH_FRAME_PING, l->ctl.ping);
        l->ctl.wants_ping = false;
        l->ctl.ping_ns = now;
    }
    list_each (at, &l->pings) {
        struct mesh__ping *p = container_of(at, struct mesh__ping, node);
        if (p->is_sent || writer_left(w) < MESH_FRAME_PING_LEN)
            continue;
        mesh_frame_put_ping(w, MESH_FRAME_PING, p->nonce);
        p->is_sent = true;
        p->sent_ns = now;
    }
}

/* A PONG from where we send to proves that address. */
static void prove(struct mesh_link *l, const struct env_addr *from)
{
    if (!env_addr_equal(from, &l->addr) || env_addr_equal(&l->proven, &l->addr))
        return;
    l->proven = l->addr;
    mesh__link_dirty(l); /* what three times the received bytes held back */
}

static void answered(struct mesh_link *l, struct mesh__ping *p)
{
    void (*done)(void *, int, uint64_t) = p->done;
    void *arg = p->arg;
    uint64_t rtt = mesh__now(l->mesh) - p->sent_ns;
    list_del(&p->node);
    free(p);
    mesh__rtt_note(l, rtt);
    done(arg, 0, rtt);
}

void mesh__pong_heard(struct mesh_link *l, const uint8_t nonce[static 8],
                      const struct env_addr *from)
{
    struct mesh__control *c = &l->ctl;
    if (c->ping_ns != 0 && !c->wants_ping && memcmp(nonce, c->ping, sizeof c->ping) == 0) {
        mesh__rtt_note(l, mesh__now(l->mesh) - c->ping_ns);
        prove(l, from);
        env_random(l->mesh->env, c->ping, sizeof c->ping); /* a copy of the PONG proves nothing */
        return;
    }
    list_each (at, &l->pings) {
        struct mesh__ping *p = container_of(at, struct mesh__ping, node);
        if (p->is_sent && memcmp(nonce, p->nonce, sizeof p->nonce) == 0) {
            answered(l, p);
            return;
        }
    }
}

static void fail_first(struct mesh_link *l, int code)
{
    struct mesh__ping *p = container_of(l->pings.next, struct mesh__ping, node);
    void (*done)(void *, int, uint64_t) = p->done;
    void *arg = p->arg;
    list_del(&p->node);
    free(p);
    done(arg, code, 0);
}

void mesh__pings_expire(struct mesh_link *l, uint64_t now_ns)
{
    while (!list_empty(&l->pings) &&
           container_of(l->pings.next, struct mesh__ping, node)->until_ns <= now_ns) {
        l->mesh->n.pings_timed_out++;
        fail_first(l, CYX_ETIMEDOUT);
    }
}

void mesh__pings_fail(struct mesh_link *l)
{
    while (!list_empty(&l->pings))
        fail_first(l, CYX_ECLOSED);
}

int mesh_ping(struct mesh_link *l, void (*done)(void *arg, int code, uint64_t rtt_ns), void *arg)
{
    size_t n = 0;
    if (l->state == MESH_LINK_CLOSING)
        return CYX_ECLOSED;
    list_each (at, &l->pings)
        n++;
    if (n >= LINK__PINGS)
        return CYX_EFULL;
    struct mesh__ping *p = calloc(1, sizeof *p);
    if (p == NULL)
        return CYX_ENOMEM;
    list_init(&p->node);
    env_random(l->mesh->env, p->nonce, sizeof p->nonce);
    p->until_ns = mesh__now(l->mesh) + ENV_MS(LINK__PING_MS);
    p->done = done;
    p->arg = arg;
    list_push_back(&l->pings, &p->node);
    mesh__link_use(l);
    mesh__link_dirty(l);
    mesh__link_arm(l);
    return 0;
}

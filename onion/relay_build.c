/* onion/relay_build.c - a train arrives. In this order, so that the cheap comes first and whoever
 * isn't proven fresh hears nothing: budgets, the replay cache, the record (three scalar
 * multiplications in all), the stamp, the cache again, and only then what the record asks for.
 * Spec: protocol.md, sections 8, 9 and 16. */
#include <sodium.h>
#include <string.h>

#include "onion/end.h"
#include "onion/pivot.h"
#include "onion/relay_internal.h"

/* Silence. */
static void drop(struct onion_relay *r, struct mesh_link *l, uint32_t id, enum build_drop why)
{
    r->n.build_dropped[why]++;
    mesh_path_forget(l, id); /* the link took note of it */
}

static enum build_drop drop_of(enum drop d)
{
    switch (d) {
    case DROP_FIELD:
        return BUILD_DROP_TYPE;
    case DROP_KEY:
        return BUILD_DROP_HINT;
    case DROP_REPLAY:
        return BUILD_DROP_REPLAY;
    case DROP_EXPIRED:
        return BUILD_DROP_STAMP;
    case DROP_LOAD:
    case DROP_MEMORY:
        return BUILD_DROP_FULL;
    case DROP_STATE:
        return BUILD_DROP_WAIT;
    default:
        return BUILD_DROP_OPEN;
    }
}

/* DROP_NONE: r->train's first record opened, is fresh, and noted. */
static enum drop open_record(struct onion_relay *r, struct onion_opened *o)
{
    uint64_t now = mesh_time(r->mesh);
    enum drop d = onion_replay_check(r->replay, onion_train_ephemeral(r->train), now);
    if (d == DROP_NONE)
        d = onion_hop_open(o, mesh_identity_of(r->mesh), mesh_network_of(r->mesh), r->train);
    if (d == DROP_NONE)
        d = onion_replay_enter(r->replay, o->e, o->fields.stamp, now);
    return d;
}

/* ---- what it asks for -------------------------------------------------------------------------
 */

static void relay(struct relay_path *p, const struct onion_fields *f)
{
    enum onion_status status = relay__next_extend(p, f->target);
    if (status != ONION_OK)
        relay__path_refuse(p, status, 0, NULL);
}

static void end(struct relay_path *p)
{
    struct onion_tail *t = NULL;
    enum onion_status status = end__open(p->relay->end, p, &t);
    if (status == ONION_OK)
        relay__path_end(p, t);
    else
        relay__path_refuse(p, status, 0, NULL);
}

static void do_command(struct relay_path *p, const struct onion_fields *f)
{
    switch (f->command) {
    case ONION_BUILD_RELAY:
        relay(p, f);
        break;
    case ONION_BUILD_END:
        end(p);
        break;
    case ONION_BUILD_REGISTER:
        pivot__register(p->relay->pivot, p, f);
        break;
    case ONION_BUILD_SPLICE:
        pivot__splice(p->relay->pivot, p, f, p->relay->train);
        break;
    default:
        relay__path_refuse(p, ONION_UNSUPPORTED, 0, NULL);
        break;
    }
}

/* ---- a train arrives ---------------------------------------------------------------------------
 */

static void opened(struct onion_relay *r, struct relay__link *k, uint32_t id,
                   const struct onion_opened *o)
{
    cleanup_answer struct onion_answer answer = { 0 };
    struct relay_path *p = NULL;
    if (onion_hop_answer(&answer, o, r->env) != 0) {
        drop(r, k->link, id, BUILD_DROP_OPEN); /* its ephemeral is no point to answer to */
        return;
    }
    if (relay__path_create(r, k, id, &answer, &p) == 0)
        do_command(p, &o->fields);
    else
        relay__reply_refuse(r, k->link, id, &answer, ONION_BUSY);
}

void relay__build_heard(struct onion_relay *r, struct mesh_link *l, uint32_t id,
                        const uint8_t train[static ONION_TRAIN])
{
    cleanup_opened struct onion_opened o = { 0 };
    struct relay__link *k = relay__link_get(r, l);
    r->n.builds++;
    if (k == NULL) {
        drop(r, l, id, BUILD_DROP_FULL);
        return;
    }
    if ((id & 0x80000000u) != k->their_bit) {
        drop(r, l, id, BUILD_DROP_SIDE);
        relay__link_violation(r, l);
        return;
    }
    if (!relay__link_may_build(r, k)) {
        drop(r, l, id, BUILD_DROP_BUDGET);
        return;
    }
    memcpy(r->train, train, ONION_TRAIN);
    enum drop d = open_record(r, &o);
    if (d != DROP_NONE)
        drop(r, l, id, drop_of(d));
    else
        opened(r, k, id, &o);
    sodium_memzero(r->train, ONION_TRAIN); /* an early payload, or routes */
}

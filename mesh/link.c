/* mesh/link.c - the life of a link. Spec: protocol.md, section 3.
 *
 *   state     | SESSION (keys stand)                 | END
 *   DIALING   | -> UP: PING, OBSERVED, HELLO         | -> CLOSING
 *   UP        | rekey: the new keys are `current`,   | -> CLOSING (GOODBYE if we end it)
 *             | the old receive for 10 s             |
 *   CLOSING   | keys destroyed                       | -
 *
 * CLOSING leaves all maps at once, so that a new link to the same peer can be made; link_down and
 * the memory follow from the loop's deferred task (mesh__reap), never from inside a handler.
 *
 * One timer for each link stands at the earliest of these (link_timers.c):
 *   dial      the next INIT of a handshake that we began, or giving up
 *   session   current keys die at 180 s; as initiator we begin the next handshake at 120 s
 *   previous  the keys before a rekey still receive for 10 s
 *   confirm   PING again on fresh keys until the peer was heard on them (it sends with the old
 *             ones until then)
 *   keepalive PING when nothing passed for 20 s, if paths exist or we dialled and want it
 *   dead      60 s without a valid packet though a PING was sent
 *   idle      60 s without paths, requests or PINGs from the other side
 *   messages  RESEND for holes, forgetting what was kept for RESEND; mesh_ping's deadlines
 *
 * Keys: the initiator of a handshake sends with the new keys once RESP is there; the responder once
 * a valid packet came on them: so neither uses keys that the other may lack, and no cell is lost.
 * When both dial at once, the keys that the side with the smaller link key began win; the other
 * pair only receives, like the keys before a rekey. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mesh/link_internal.h"

const uint8_t *mesh__link_own_pub(const struct mesh_link *l)
{
    const struct mesh_identity *i = l->mesh->identity;
    if (l->own != NULL)
        return l->own->pub;
    return l->own_made == i->link_old.made && l->own_made != i->link.made ? i->link_old.pub
                                                                          : i->link.pub;
}

bool mesh__link_self(const struct mesh_link *l, struct mesh_hs_self *out)
{
    const struct mesh *m = l->mesh;
    if (l->own == NULL)
        return mesh__self(m, l->own_made, out);
    memset(out, 0, sizeof *out);
    out->net = &m->network;
    memcpy(out->secret, l->own->secret, sizeof out->secret);
    memcpy(out->pub, l->own->pub, sizeof out->pub);
    out->features = m->features;
    memcpy(out->version,
           (uint8_t[4]){ MESH_MAJOR, MESH_MAJOR, MESH_VERSION_MINOR, MESH_VERSION_PATCH },
           sizeof out->version);
    return true;
}

/* ---- creation -------------------------------------------------------------------------------- */

static void init_lists(struct mesh_link *l)
{
    list_init(&l->all);
    list_init(&l->turn);
    list_init(&l->by_prefix);
    list_init(&l->queue);
    list_init(&l->pings);
    list_init(&l->calls);
    list_init(&l->waiting);
    list_init(&l->serving);
}

/* Ids begin anywhere, so that a peer that comes back after a crash does not seem to repeat what it
 * asked before. */
static void init_counters(struct mesh_link *l, uint64_t now)
{
    env_random(l->mesh->env, l->next_id, sizeof l->next_id);
    mesh_bucket_init(&l->destroys_in, MESH_DESTROY_RATE, MESH_DESTROY_RATE, now);
    mesh_bucket_init(&l->destroys_out, MESH_DESTROY_RATE, MESH_DESTROY_RATE, now);
    mesh_bucket_init(&l->requests_in, MESH_RPC_PEER_RATE, MESH_RPC_PEER_BURST, now);
    l->previous_until_ns = l->confirm_ns = l->outbox_ns = l->inbox_ns = LINK__NEVER;
    l->last_rx_ns = l->last_tx_ns = l->last_use_ns = now;
}

struct mesh_link *mesh__link_create(struct mesh *m, const uint8_t key[static 32], uint64_t own_made,
                                    const struct env_addr *addr)
{
    uint64_t prefix = env_addr_prefix(addr);
    struct mesh_link *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->mesh = m;
    l->addr = *addr;
    l->prefix = prefix;
    l->own_made = own_made;
    memcpy(l->key, key, sizeof l->key);
    init_lists(l);
    init_counters(l, mesh__now(m));
    env_timer_init(&l->timer, mesh__link_timer, l);
    if (!mesh_prefix_count_add(m->prefixes, prefix, &l->by_prefix)) {
        free(l);
        return NULL;
    }
    if (mesh__link_key_add(l) != 0) {
        list_del(&l->by_prefix);
        mesh_prefix_count_sub(m->prefixes, prefix);
        free(l);
        return NULL;
    }
    l->state = MESH_LINK_DIALING; /* born so; from here on link_set_state */
    l->number =
        ++m->next_number * (m->config.n_workers > 1 ? m->config.n_workers : 1) + m->config.worker;
    list_push_back(&m->links, &l->all);
    list_push_back(&m->turns, &l->turn);
    m->n_links++;
    return l;
}

void mesh__link_free(struct mesh_link *l)
{
    struct mesh *m = l->mesh;
    env_timer_stop(m->env, &l->timer);
    mesh__calls_free(l);
    mesh__requests_detach(l);
    while (!list_empty(&l->pings)) {
        struct mesh__ping *p = container_of(l->pings.next, struct mesh__ping, node);
        list_del(&p->node);
        free(p);
    }
    mesh__dial_end(l);
    mesh__keys_destroy(m, l->current);
    mesh__keys_destroy(m, l->previous);
    mesh_sched_destroy(l->sched);
    mesh_outbox_destroy(l->outbox);
    mesh_inbox_destroy(l->inbox);
    map_destroy(l->paths);
    if (l->own != NULL)
        sodium_memzero(l->own, sizeof *l->own);
    free(l->own);
    free(l->record);
    free(l->ctl.destroys);
    list_del(&l->queue);
    list_del(&l->all);
    free(l);
}

/* ---- states ---------------------------------------------------------------------------------- */

static const char *state_name(enum mesh_link_state s)
{
    switch (s) {
    case MESH_LINK_DIALING:
        return "DIALING";
    case MESH_LINK_UP:
        return "UP";
    case MESH_LINK_CLOSING:
        return "CLOSING";
    }
    return "?";
}

static void enter_up(struct mesh_link *l)
{
    struct mesh *m = l->mesh;
    m->n_up++;
    m->n.links_up++;
    l->up_ns = l->last_rx_ns = l->last_use_ns = mesh__now(m);
    l->ctl.wants_observed = true;
    mesh__ping_want(l);
}

/* The keys go with the memory, a moment later: a handler up the stack may be in a packet of theirs.
 */
static void enter_closing(struct mesh_link *l)
{
    struct mesh *m = l->mesh;
    if (m->row.link == l)
        mesh__row_close(m);
    m->n_links--;
    m->n.links_down++;
    list_del(&l->turn);
    list_del(&l->by_prefix);
    mesh_prefix_count_sub(m->prefixes, l->prefix);
    mesh__link_key_remove(l);
    if (l->has_id && map_get(m->by_id, l->id) == l)
        map_del(m->by_id, l->id);
    env_timer_stop(m->env, &l->timer);
    list_del(&l->queue);
    list_push_back(&m->ending, &l->queue);
    env_defer(m->env, &m->reap);
}

/* No address, no key: a number that `cyx peers` shows. */
static void log_change(const struct mesh_link *l, enum mesh_link_state to, const char *why)
{
    struct log *log = l->mesh->env->log;
    char object[24];
    if (!log_wants(log, LOG_LEVEL_DEBUG))
        return;
    snprintf(object, sizeof object, "link %u", l->number);
    log_debug(log, object, "%s -> %s (%s)", state_name(l->state), state_name(to), why);
}

/* The only writer of `state`. */
static void link_set_state(struct mesh_link *l, enum mesh_link_state to, const char *why)
{
    log_change(l, to, why);
    if (l->state == MESH_LINK_UP)
        l->mesh->n_up--;
    l->state = to;
    if (to == MESH_LINK_UP)
        enter_up(l);
    else if (to == MESH_LINK_CLOSING)
        enter_closing(l);
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Both sides dialled at once: does the new pair lose against the current one? Both ends come to the
 * same answer. An INIT that came after we had heard the peer on the current keys is no collision:
 * the peer lost them (a restart) and starts afresh. */
static bool loses(const struct mesh_link *l, const struct mesh__keys *k)
{
    const struct mesh__keys *c = l->current;
    if (c == NULL || c->is_initiator == k->is_initiator)
        return false;
    if (k->is_initiator)
        return false; /* ours, begun for want of better ones (a rekey) */
    if (c->heard_ns != 0 && k->made_ns > c->heard_ns)
        return false;
    l->mesh->n.collisions++;
    return memcmp(mesh__link_own_pub(l), l->key, 32) < 0;
}

static void set_previous(struct mesh_link *l, struct mesh__keys *k)
{
    if (k == NULL)
        return;
    mesh__keys_destroy(l->mesh, l->previous);
    l->previous = k;
    l->previous_until_ns = mesh__now(l->mesh) + ENV_MS(MESH_PREVIOUS_MS);
}

static void set_current(struct mesh_link *l, struct mesh__keys *k)
{
    uint64_t now = mesh__now(l->mesh);
    set_previous(l, l->current);
    l->current = k;
    l->rekey_ns = 0;
    if (!k->is_initiator)
        mesh__dial_end(l); /* ours would only compete */
    l->confirm_wait_ns = ENV_MS(LINK__CONFIRM_MS);
    l->confirm_ns = k->heard_ns != 0 ? LINK__NEVER : now + l->confirm_wait_ns;
    if (k->is_initiator)
        mesh__ping_want(l); /* the packet that lets the responder switch */
}

static void take_session(struct mesh_link *l, struct mesh__keys *k, const struct env_addr *from)
{
    struct mesh *m = l->mesh;
    if (loses(l, k)) {
        set_previous(l, k);
        return;
    }
    bool is_rekey = l->current != NULL;
    set_current(l, k);
    if (is_rekey) {
        l->rekeys++;
        m->n.rekeys++;
    } else {
        mesh__link_set_addr(l, from);
        link_set_state(l, MESH_LINK_UP, k->is_initiator ? "answered" : "was dialled");
    }
    mesh__link_dirty(l);
    mesh__link_arm(l);
    if (!is_rekey) {
        mesh__hello_say(l);
        l->is_up_said = true;
        mesh__watch_each(m, l, MESH_LINK_UP); /* may end it */
        if (mesh__link_is_up(l)) {
            mesh__calls_pump(l);
            mesh__discover_up(m, l);
        }
    }
}

static void end(struct mesh_link *l, const struct link_input *in)
{
    if (in->say_goodbye && l->current != NULL) {
        l->mesh->n.goodbye_out[in->reason <= MESH_BYE_OVERLOAD ? in->reason : 0]++;
        mesh__link_goodbye(l, in->reason);
    }
    l->why = in->why;
    link_set_state(l, MESH_LINK_CLOSING, in->why);
}

void mesh__link_step(struct mesh_link *l, enum link_event ev, const struct link_input *in)
{
    switch (l->state) {
    case MESH_LINK_DIALING:
    case MESH_LINK_UP:
        if (ev == LINK_EV_SESSION)
            take_session(l, in->keys, in->from);
        else
            end(l, in);
        break;
    case MESH_LINK_CLOSING:
        if (ev == LINK_EV_SESSION)
            mesh__keys_destroy(l->mesh, in->keys);
        break;
    }
}

void mesh__link_end(struct mesh_link *l, const char *why)
{
    mesh__link_step(l, LINK_EV_END, &(struct link_input){ .why = why });
}

static const char *goodbye_text(enum mesh_goodbye reason)
{
    switch (reason) {
    case MESH_BYE_LEAVING:
        return "we are leaving";
    case MESH_BYE_IDLE:
        return "idle";
    case MESH_BYE_VERSION:
        return "version";
    case MESH_BYE_VIOLATION:
        return "the peer broke a rule";
    case MESH_BYE_OVERLOAD:
        return "too many links";
    }
    return "closed";
}

void mesh_link_close(struct mesh_link *l, enum mesh_goodbye reason)
{
    mesh__link_step(
        l, LINK_EV_END,
        &(struct link_input){ .why = goodbye_text(reason), .reason = reason, .say_goodbye = true });
}

void mesh__link_violation(struct mesh_link *l)
{
    uint64_t now = mesh__now(l->mesh);
    l->mesh->n.violations++;
    if (now - l->violation_ns >= ENV_S(60)) {
        l->violation_ns = now;
        l->n_violations = 0;
    }
    if (++l->n_violations >= MESH_VIOLATIONS)
        mesh_link_close(l, MESH_BYE_VIOLATION);
}

void mesh__link_finish(struct mesh_link *l)
{
    struct mesh *m = l->mesh;
    mesh__pings_fail(l);
    mesh__calls_fail(l);
    mesh__watch_each(m, l, MESH_LINK_CLOSING);
    mesh__discover_down(m, l);
    nettime_forget(&m->time, l->key);
    mesh__link_free(l);
}

/* ---- address --------------------------------------------------------------------------------- */

void mesh__link_set_addr(struct mesh_link *l, const struct env_addr *a)
{
    struct mesh *m = l->mesh;
    uint64_t prefix = env_addr_prefix(a);
    l->addr = *a;
    l->roam_rx = l->roam_tx = 0;
    if (prefix == l->prefix || !mesh_prefix_count_add(m->prefixes, prefix, NULL))
        return;
    list_del(&l->by_prefix);
    mesh_prefix_count_sub(m->prefixes, l->prefix);
    list_push_back(mesh_prefix_count_members(m->prefixes, prefix), &l->by_prefix);
    l->prefix = prefix;
    if (l->inbox != NULL)
        mesh_inbox_set_prefix(l->inbox, prefix);
}

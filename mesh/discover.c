/* mesh/discover.c - finding peers: bootstrap contacts and remembered peers are dialled first, then
 * linked peers are asked (FIND) for more until enough links stand or nothing new comes. One timer,
 * one plan; nothing here retries on its own. Spec: protocol.md, section 6, "Roster".
 *
 *   dialling   candidates (from answers, the store, beacons), as many as links are missing
 *   bootstrap  at most 3 at once, only while links are missing and no candidate is left; each waits
 *              1, 2, 4 ... 300 s after failures
 *   asking     at the start, then 0.1, 0.2, 0.4 ... s after the last news; every 10 min (unlisted:
 *              1 h, and bootstrap peers only) once enough links stand
 *
 * Only links that we dialled count: who dials us must not keep us from choosing our own peers. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mesh/discover_internal.h"

enum {
    BOOT_AT_ONCE = 3,
    BOOT_MAX = 1024, /* lines of a bootstrap list */
    DIAL_AT_ONCE = 8,
    BOOT_FIRST_MS = 1000,
    BOOT_MOST_MS = 300000,
    REFILL_MS = 60000, /* remembered peers are candidates again */
    HEARD_A_MINUTE = 10,
    WISH_FIRST_MS = 250,
    WISH_MOST_MS = 60000,
};

static void timer(struct env_timer *t, void *arg);

/* ---- life ------------------------------------------------------------------------------------ */

struct mesh__discover *mesh__discover_create(struct mesh *m, struct cyx_err *err)
{
    const struct mesh_config *c = &m->config;
    if (c->n_bootstrap > BOOT_MAX) {
        cyx_fail(err, CYX_EINVAL, "at most %d bootstrap contacts", BOOT_MAX);
        return NULL;
    }
    struct mesh__discover *d = calloc(1, sizeof *d);
    if (d != NULL) {
        d->mesh = m;
        d->boot = calloc(c->n_bootstrap + 1, sizeof *d->boot);
        d->seen = map_create(32, DISC__SEEN_MAX);
        env_timer_init(&d->timer, timer, d);
    }
    if (d == NULL || d->boot == NULL || d->seen == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for %zu bootstrap contacts", c->n_bootstrap);
        mesh__discover_destroy(d);
        return NULL;
    }
    for (size_t i = 0; i < c->n_bootstrap; i++)
        if (memcmp(c->bootstrap[i].link_key, m->identity->link.pub, 32) != 0 && /* ourselves */
            mesh__is_mine(m, c->bootstrap[i].link_key))
            d->boot[d->n_boot++].contact = c->bootstrap[i];
    return d;
}

void mesh__discover_destroy(struct mesh__discover *d)
{
    if (d == NULL)
        return;
    if (d->timer.is_set)
        env_timer_stop(d->mesh->env, &d->timer);
    map_destroy(d->seen);
    free(d->boot);
    free(d);
}

void mesh__discover_start(struct mesh *m)
{
    struct mesh__discover *d = m->discover;
    uint64_t now = mesh__now(m);
    /* In another order at every node and start: the list's first line is not everybody's first. */
    for (size_t i = d->n_boot; i > 1; i--) {
        size_t k = (size_t)env_random_below(m->env, i);
        struct disc__bootstrap b = d->boot[i - 1];
        d->boot[i - 1] = d->boot[k];
        d->boot[k] = b;
    }
    d->is_running = true;
    d->ask_wait_ms = DISC__ASK_FIRST_MS;
    d->ask_ns = LINK__NEVER; /* until there is somebody to ask */
    d->refill_ns = now;
    d->wish_wait_ms = WISH_FIRST_MS;
    d->wish_ns = now + ENV_MS(WISH_FIRST_MS);
    env_timer_in(m->env, &d->timer, 0);
}

void mesh__discover_stop(struct mesh *m)
{
    m->discover->is_running = false;
    env_timer_stop(m->env, &m->discover->timer);
}

void disc__plan_soon(struct mesh__discover *d)
{
    if (d->is_running)
        env_timer_in(d->mesh->env, &d->timer, 0);
}

/* ---- counting -------------------------------------------------------------------------------- */

size_t mesh_bootstrap_count(const struct mesh *m)
{
    return m->discover->n_boot;
}

const struct mesh_contact *mesh_bootstrap_at(const struct mesh *m, size_t i)
{
    assert(i < m->discover->n_boot);
    return &m->discover->boot[i].contact;
}

bool mesh__is_bootstrap(const struct mesh *m, const uint8_t link_key[static 32])
{
    const struct mesh__discover *d = m->discover;
    for (size_t i = 0; i < d->n_boot; i++)
        if (memcmp(d->boot[i].contact.link_key, link_key, 32) == 0)
            return true;
    return false;
}

struct disc__census disc__count(const struct mesh__discover *d)
{
    struct disc__census c = { 0 };
    list_each (at, &d->mesh->links) {
        const struct mesh_link *l = container_of(at, struct mesh_link, all);
        bool is_boot = l->was_dialed && mesh__is_bootstrap(d->mesh, l->key);
        bool is_up = l->state == MESH_LINK_UP;
        bool is_dialing = l->state == MESH_LINK_DIALING;
        c.all_up += is_up;
        c.boot_up += is_boot && is_up;
        c.boot_dialing += is_boot && is_dialing;
        c.up += !is_boot && is_up && l->was_dialed && l->is_wanted;
        c.dialing += !is_boot && is_dialing && l->is_wanted;
    }
    return c;
}

size_t disc__missing(const struct mesh__discover *d, const struct disc__census *c)
{
    size_t have = c->up + c->dialing;
    return have < d->mesh->config.links_target ? d->mesh->config.links_target - have : 0;
}

/* Bootstrap nodes serve everybody: their links are kept up only while we lack others. */
static void mind_bootstrap_links(struct mesh__discover *d, const struct disc__census *c)
{
    bool is_wanted = c->up < d->mesh->config.links_target;
    list_each (at, &d->mesh->links) {
        struct mesh_link *l = container_of(at, struct mesh_link, all);
        if (l->state != MESH_LINK_UP || !l->was_dialed || l->is_wanted == is_wanted ||
            !mesh__is_bootstrap(d->mesh, l->key))
            continue;
        l->is_wanted = is_wanted;
        mesh__link_arm(l);
    }
}

void disc__look_over(struct mesh__discover *d)
{
    struct mesh *m = d->mesh;
    if (m->ready_ns != 0 || m->n_up == 0)
        return;
    m->ready_ns = mesh__now(m);
    log_info(m->env->log, "mesh", "ready after %u ms with %zu links",
             (unsigned)((m->ready_ns - m->started_ns) / 1000000u), m->n_up);
}

/* ---- dialling -------------------------------------------------------------------------------- */

/* A link that was made for some request will do as well, if we dialled it: who dialled us keeps it
 * up as long as they like. */
static bool keep_link_to(struct mesh__discover *d, const struct mesh_contact *c)
{
    struct mesh_link *l = mesh_dial(d->mesh, c, NULL);
    if (l == NULL || !l->was_dialed || l->is_wanted)
        return false;
    mesh_link_keep(l);
    return true;
}

static void dial_candidates(struct mesh__discover *d, const struct disc__census *c)
{
    size_t n = disc__missing(d, c);
    size_t most = c->dialing < DIAL_AT_ONCE ? DIAL_AT_ONCE - c->dialing : 0;
    struct mesh_contact contact;
    if (n > most)
        n = most;
    while (n > 0 && disc__candidate_take(d, &contact))
        n -= keep_link_to(d, &contact);
}

/* Bootstrap nodes whose time has come, while nothing better is known. Returns when to look again.
 */
static uint64_t dial_bootstrap(struct mesh__discover *d, const struct disc__census *c, uint64_t now)
{
    struct mesh *m = d->mesh;
    size_t open = c->boot_up + c->boot_dialing;
    uint64_t next = LINK__NEVER;
    bool is_needed =
        c->all_up == 0 || (disc__missing(d, c) > 0 && d->n_candidates == 0 && c->dialing == 0);
    for (size_t i = 0; is_needed && i < d->n_boot && open < BOOT_AT_ONCE; i++) {
        struct disc__bootstrap *b = &d->boot[i];
        if (disc__is_linked(d, &b->contact))
            continue;
        if (b->next_ns > now) {
            next = b->next_ns < next ? b->next_ns : next;
            continue;
        }
        b->wait_ms = b->wait_ms == 0 ? BOOT_FIRST_MS : b->wait_ms * 2;
        if (b->wait_ms > BOOT_MOST_MS)
            b->wait_ms = BOOT_MOST_MS;
        b->next_ns = now + ENV_MS(b->wait_ms + env_random_below(m->env, b->wait_ms / 2));
        next = b->next_ns < next ? b->next_ns : next;
        open += keep_link_to(d, &b->contact);
    }
    return next;
}

static void refill(struct mesh__discover *d, uint64_t now)
{
    d->refill_ns = now + ENV_MS(REFILL_MS);
    disc__seen_clear(d); /* who did not answer may be back */
    disc__refill(d);
}

/* A worker that lacks links and has nobody to ask: the others do. Returns when to wish again. */
static uint64_t wish(struct mesh__discover *d, const struct disc__census *c, uint64_t now)
{
    const struct mesh_config *config = &d->mesh->config;
    if (config->siblings == NULL || disc__missing(d, c) == 0 || disc__can_ask(d)) {
        d->wish_wait_ms = WISH_FIRST_MS;
        d->wish_ns = now + ENV_MS(WISH_FIRST_MS);
        return LINK__NEVER; /* a link that comes or goes makes a new plan */
    }
    if (d->wish_ns <= now && d->n_candidates == 0 && c->dialing == 0) {
        config->siblings->wish(config->siblings_arg);
        d->wish_wait_ms = d->wish_wait_ms < WISH_MOST_MS / 2 ? 2 * d->wish_wait_ms : WISH_MOST_MS;
    }
    if (d->wish_ns <= now)
        d->wish_ns = now + ENV_MS(d->wish_wait_ms);
    return d->wish_ns;
}

static void plan(struct mesh__discover *d)
{
    struct mesh *m = d->mesh;
    uint64_t now = mesh__now(m);
    struct disc__census c = disc__count(d);
    if (disc__missing(d, &c) > 0 && d->n_candidates == 0 && d->refill_ns <= now)
        refill(d, now);
    dial_candidates(d, &c);
    c = disc__count(d);
    uint64_t at = dial_bootstrap(d, &c, now);
    mind_bootstrap_links(d, &c);
    uint64_t wish_at = wish(d, &c, now);
    at = wish_at < at ? wish_at : at;
    if (d->ask_ns <= now && d->n_asking == 0)
        disc__ask_some(d, now);
    if (d->n_asking == 0 && d->ask_ns < at)
        at = d->ask_ns;
    if (disc__missing(d, &c) > 0 && d->refill_ns > now && d->refill_ns < at)
        at = d->refill_ns;
    if (at != LINK__NEVER)
        env_timer_set(m->env, &d->timer, at);
}

static void timer(struct env_timer *t, void *arg)
{
    (void)t;
    plan(arg);
}

/* ---- what links tell ------------------------------------------------------------------------- */

static void ask_by(struct mesh__discover *d, uint64_t at)
{
    if (d->ask_ns > at)
        d->ask_ns = at;
    disc__plan_soon(d);
}

/* At a node that thousands dial, their comings and goings change no plan. */
static bool is_of_interest(const struct mesh_link *l)
{
    return l->was_dialed || l->mesh->ready_ns == 0 || l->mesh->n_up == 0;
}

void mesh__discover_up(struct mesh *m, struct mesh_link *l)
{
    struct mesh__discover *d = m->discover;
    if (!d->is_running || !is_of_interest(l))
        return;
    for (size_t i = 0; i < d->n_boot; i++)
        if (memcmp(d->boot[i].contact.link_key, l->key, 32) == 0)
            d->boot[i].wait_ms = 0; /* it answers */
    struct disc__census c = disc__count(d);
    if (disc__missing(d, &c) == 0)
        disc__look_over(d);
    if (m->ready_ns == 0 || disc__missing(d, &c) > 0)
        ask_by(d, mesh__now(m) + ENV_MS(DISC__ASK_SOON_MS));
    disc__plan_soon(d);
}

void mesh__discover_known(struct mesh *m, struct mesh_link *l)
{
    struct mesh__discover *d = m->discover;
    if (!d->is_running || !is_of_interest(l))
        return;
    disc__plan_soon(d);
}

void mesh__discover_down(struct mesh *m, struct mesh_link *l)
{
    struct mesh__discover *d = m->discover;
    if (l->was_dialed && l->up_ns == 0 && m->remembered != NULL)
        mesh_remembered_failed(m->remembered, l->dial_id);
    if (is_of_interest(l))
        disc__plan_soon(d);
}

void mesh__discover_heard(struct mesh *m, const struct mesh_contact *c)
{
    struct mesh__discover *d = m->discover;
    uint64_t now = mesh__now(m);
    if (!d->is_running || memcmp(c->link_key, m->identity->link.pub, 32) == 0 ||
        disc__is_linked(d, c))
        return;
    if (d->n_heard == 0 || now - d->heard_ns >= ENV_S(60)) {
        d->heard_ns = now;
        d->n_heard = 0;
    }
    if (d->n_heard++ >= HEARD_A_MINUTE)
        return; /* anybody on the wire can make these up */
    if (!mesh__is_mine(m, c->link_key)) {
        if (m->config.siblings != NULL)
            m->config.siblings->contact(m->config.siblings_arg,
                                        mesh_worker_of(c->link_key, m->config.n_workers), c);
        return;
    }
    disc__candidate_add(d, c);
    disc__plan_soon(d);
}

/* ---- what other workers tell ----------------------------------------------------------------- */

void mesh__discover_found(struct mesh *m, const struct mesh_node *n)
{
    struct mesh__discover *d = m->discover;
    if (d->is_running && map_get(m->by_id, n->id) == NULL && disc__node_add(d, n))
        disc__plan_soon(d);
}

void mesh_take_wish(struct mesh *m)
{
    struct mesh__discover *d = m->discover;
    if (d->is_running && m->n_up > 0)
        ask_by(d, mesh__now(m) + ENV_MS(DISC__ASK_FIRST_MS));
}

void mesh__discover_status(const struct mesh *m, struct mesh_status *out)
{
    struct disc__census c = disc__count(m->discover);
    out->bootstrap_total = m->discover->n_boot;
    out->bootstrap_up = c.boot_up;
}

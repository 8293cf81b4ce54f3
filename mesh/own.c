/* mesh/own.c - our own node record: which addresses it names, when it is signed anew, the rotation
 * of the keys in it, and telling it to the peers. Spec: protocol.md, sections 2 and 4 ("OBSERVED").
 *
 * Addresses, the first that applies: those of the configuration; the one we are bound to; the one
 * that two peers in different prefixes saw us at (one peer in a lab). Without any there is no
 * record: HELLO says nil, nobody is told to dial us.
 *
 * Of several workers the first does this; the others hand it what their peers see, and get the
 * record and the keys from it. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mesh/link_internal.h"

enum {
    SIGHTINGS = 32, /* peers whose OBSERVED is kept */
    TELL_ROW = 32,  /* links told of a new record at a time */
    TELL_EVERY_MS = 50,
};

struct mesh__own_record {
    struct mesh *mesh;
    uint8_t record[MESH_NODE_RECORD_MAX];
    size_t len;
    uint64_t sequence, made_s;
    struct mesh_node node; /* what it says */
    struct mesh_sighting seen[SIGHTINGS];
    size_t n_seen, next_seen;
    bool has_observed;
    struct env_addr observed;
    struct env_timer tell;
    bool is_rotating; /* new keys are on their way to the disk ... */
    bool needs_store; /* ... or still have to go there: they are not used before */
    bool is_renewed, is_renewal_stored; /* the onion key was: said when that is on disk */
    env_fn renewed;
    void *renewed_arg;
};

static void tell_timer(struct env_timer *t, void *arg);

struct mesh__own_record *mesh__own_create(struct mesh *m)
{
    struct mesh__own_record *o = calloc(1, sizeof *o);
    if (o == NULL)
        return NULL;
    o->mesh = m;
    env_timer_init(&o->tell, tell_timer, o);
    return o;
}

void mesh__own_stop(struct mesh *m)
{
    env_timer_stop(m->env, &m->own->tell);
}

void mesh__own_destroy(struct mesh__own_record *o)
{
    if (o == NULL)
        return;
    env_timer_stop(o->mesh->env, &o->tell);
    free(o);
}

/* ---- what peers see -------------------------------------------------------------------------- */

static struct mesh_sighting *sighting_of(struct mesh__own_record *o, const uint8_t by[static 8])
{
    for (size_t i = 0; i < o->n_seen; i++)
        if (memcmp(o->seen[i].by, by, sizeof o->seen[i].by) == 0)
            return &o->seen[i];
    if (o->n_seen < SIGHTINGS)
        return &o->seen[o->n_seen++];
    o->next_seen = (o->next_seen + 1) % SIGHTINGS;
    return &o->seen[o->next_seen];
}

/* Did a peer in another prefix see the same? In a lab all live in one. */
static bool is_agreed(const struct mesh__own_record *o, const struct mesh_sighting *s)
{
    if (o->mesh->network.is_lab)
        return true;
    for (size_t i = 0; i < o->n_seen; i++)
        if (o->seen[i].prefix != s->prefix && env_addr_equal(&o->seen[i].addr, &s->addr))
            return true;
    return false;
}

static bool is_unspecified(const struct env_addr *a)
{
    static const struct env_addr v6;
    struct env_addr v4 = env_addr_v4(0, 0, 0, 0, 0);
    return memcmp(a->ip, v6.ip, sizeof a->ip) == 0 || memcmp(a->ip, v4.ip, sizeof a->ip) == 0;
}

/* Only peers that we chose to dial are asked, or whoever dials us could move our address; a lab's
 * first node is dialled by all and dials nobody. */
void mesh__own_observed(struct mesh *m, const struct mesh_link *by, const struct env_addr *a)
{
    if ((!by->was_dialed && !m->network.is_lab) || a->port == 0 || is_unspecified(a))
        return;
    struct mesh_sighting s = { .prefix = by->prefix, .addr = *a };
    memcpy(s.by, by->key, sizeof s.by);
    s.addr.scope = 0;
    if (m->config.worker == 0)
        mesh_take_observed(m, &s);
    else if (m->config.siblings != NULL)
        m->config.siblings->observed(m->config.siblings_arg, &s);
}

void mesh_take_observed(struct mesh *m, const struct mesh_sighting *seen)
{
    struct mesh__own_record *o = m->own;
    struct mesh_sighting *s = sighting_of(o, seen->by);
    *s = *seen;
    if (!is_agreed(o, s) || (o->has_observed && env_addr_equal(&o->observed, &s->addr)))
        return;
    o->has_observed = true;
    o->observed = s->addr;
    if (m->config.is_listed)
        mesh__own_refresh(m);
}

bool mesh__own_observed_get(const struct mesh *m, struct env_addr *out)
{
    if (m->own->has_observed)
        *out = m->own->observed;
    return m->own->has_observed;
}

/* ---- the record ------------------------------------------------------------------------------ */

static struct mesh_node_addr node_addr(const struct env_addr *a)
{
    return (struct mesh_node_addr){ .kind = env_addr_is_v4(a) ? 4 : 6, .ip = *a };
}

/* The address that we listen at, if it is a certain one. */
static bool bound_addr(const struct mesh *m, struct env_addr *out)
{
    struct env_udp_info info = { 0 };
    if (m->carrier == NULL || is_unspecified(&m->config.listen))
        return false;
    m->carrier->ops->info(m->carrier, &info);
    *out = info.local;
    out->scope = 0;
    return info.local.port != 0;
}

static void set_addresses(const struct mesh *m, struct mesh_node *n)
{
    struct env_addr a;
    for (size_t i = 0; i < m->config.n_advertise; i++)
        n->addrs[n->n_addrs++] = node_addr(&m->config.advertise[i]);
    if (n->n_addrs == 0 && bound_addr(m, &a))
        n->addrs[n->n_addrs++] = node_addr(&a);
    if (n->n_addrs == 0 && m->own->has_observed)
        n->addrs[n->n_addrs++] = node_addr(&m->own->observed);
}

/* Everything but sequence and expiry. */
static void describe(const struct mesh *m, struct mesh_node *n)
{
    const struct mesh_identity *i = m->identity;
    const struct mesh_keypair *link = i->link.made == m->own_made ? &i->link : &i->link_old;
    memset(n, 0, sizeof *n);
    memcpy(n->identity, i->sign_pk, sizeof n->identity);
    memcpy(n->link_key, link->pub, sizeof n->link_key);
    memcpy(n->onion_key, i->onion[0].pub, sizeof n->onion_key);
    memcpy(n->puzzle, i->puzzle, sizeof n->puzzle);
    memcpy(n->version,
           (uint8_t[4]){ MESH_MAJOR, MESH_MAJOR, MESH_VERSION_MINOR, MESH_VERSION_PATCH },
           sizeof n->version);
    n->roles = m->config.roles;
    n->has_family = m->config.has_family;
    memcpy(n->family, m->config.family, sizeof n->family);
    n->capacity = m->config.capacity_kbps;
    set_addresses(m, n);
}

static bool is_same(const struct mesh_node *a, const struct mesh_node *b)
{
    if (a->n_addrs != b->n_addrs || memcmp(a->link_key, b->link_key, 32) != 0 ||
        memcmp(a->onion_key, b->onion_key, 32) != 0)
        return false;
    for (size_t i = 0; i < a->n_addrs; i++)
        if (!env_addr_equal(&a->addrs[i].ip, &b->addrs[i].ip))
            return false;
    return true;
}

/* Grows with every change, also over a clock that was set back: the last one is on disk. */
static uint64_t next_sequence(struct mesh *m, uint64_t now)
{
    uint64_t last = mesh_remembered_number(m->remembered, "record");
    if (m->identity->record_sequence > last)
        last = m->identity->record_sequence;
    uint64_t next = last + 1 > now ? last + 1 : now;
    m->identity->record_sequence = next;
    mesh_remembered_set_number(m->remembered, "record", next, NULL, NULL);
    return next;
}

void mesh__own_refresh(struct mesh *m)
{
    struct mesh__own_record *o = m->own;
    struct mesh_node n;
    uint64_t now = mesh_time(m);
    if (m->remembered == NULL || m->is_stopping || o->needs_store || m->config.worker != 0)
        return;
    describe(m, &n);
    bool is_due = now >= o->made_s + MESH_NODE_RECORD_RENEW_S || now + 60 < o->made_s;
    if (n.n_addrs == 0 || (o->len > 0 && !is_due && is_same(&n, &o->node)))
        return;
    n.sequence = next_sequence(m, now);
    n.expiry = now + MESH_NODE_RECORD_LIFE_S - 60; /* not over the limit by others' clocks */
    int len = mesh_node_record_build(&n, &m->network, m->identity->sign_sk, o->record);
    if (len < 0) {
        log_warn(m->env->log, "mesh", "our own record can't be built: %s", cyx_code_name(len));
        return;
    }
    o->len = (size_t)len;
    o->node = n;
    o->sequence = n.sequence;
    o->made_s = now;
    env_timer_in(m->env, &o->tell, 0);
    if (m->config.siblings != NULL)
        m->config.siblings->own_record(m->config.siblings_arg, o->record, o->len);
}

void mesh_take_own_record(struct mesh *m, const uint8_t *record, size_t len)
{
    struct mesh__own_record *o = m->own;
    struct mesh_record head;
    if (m->is_stopping || len > sizeof o->record ||
        mesh_record_parse(&head, record, len) != DROP_NONE || head.sequence <= o->sequence)
        return;
    memcpy(o->record, record, len);
    o->len = len;
    o->sequence = head.sequence;
    if (m->is_started)
        env_timer_in(m->env, &o->tell, 0);
}

size_t mesh_own_record(struct mesh *m, uint8_t out[static MESH_NODE_RECORD_MAX])
{
    if (!m->config.is_listed)
        return 0;
    memcpy(out, m->own->record, m->own->len);
    return m->own->len;
}

uint64_t mesh__own_sequence(const struct mesh *m)
{
    return m->own->sequence;
}

void mesh_own_contact(struct mesh *m, struct mesh_contact *out)
{
    struct mesh_node n;
    struct env_udp_info info = { 0 };
    *out = (struct mesh_contact){ 0 };
    memcpy(out->id, m->identity->id, sizeof out->id);
    describe(m, &n);
    memcpy(out->link_key, n.link_key, sizeof out->link_key);
    if (m->carrier != NULL)
        m->carrier->ops->info(m->carrier, &info);
    out->addr = n.n_addrs > 0 ? n.addrs[0].ip : info.local;
}

/* ---- telling --------------------------------------------------------------------------------- */

/* A row of links at a time: thousands of HELLOs at once would fill every queue. */
static void tell_timer(struct env_timer *t, void *arg)
{
    struct mesh__own_record *o = arg;
    struct mesh *m = o->mesh;
    unsigned n = 0;
    list_each (at, &m->links) {
        struct mesh_link *l = container_of(at, struct mesh_link, all);
        if (l->state != MESH_LINK_UP || l->told_sequence >= o->sequence)
            continue;
        if (n++ == TELL_ROW) {
            env_timer_in(m->env, t, ENV_MS(TELL_EVERY_MS));
            return;
        }
        mesh__hello_say(l);
        l->told_sequence = o->sequence; /* also if it could not be said: no second try */
    }
}

/* ---- rotation -------------------------------------------------------------------------------- */

static void rotated(struct mesh *m, int code, uint64_t made)
{
    m->own->is_rotating = false;
    if (code != 0) {
        log_warn(m->env->log, "mesh", "new keys are not on disk (%s): the old ones stay in use",
                 cyx_code_name(code));
        return; /* the next housekeeping tries again */
    }
    m->own->needs_store = m->own->is_renewed && !m->own->is_renewal_stored; /* drawn meanwhile */
    m->own_made = made;
    if (m->config.siblings != NULL) /* before the record that names them */
        m->config.siblings->keys(m->config.siblings_arg, m->identity);
    mesh__own_refresh(m);
    if (m->own->is_renewal_stored) {
        m->own->is_renewed = m->own->is_renewal_stored = false;
        m->own->renewed(m->own->renewed_arg);
    } else if (m->own->needs_store) {
        mesh__own_rotate(m);
    }
}

static void store(struct mesh *m)
{
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    int len = mesh_identity_encode(m->identity, m->env, blob);
    struct mesh__ticket *t = len > 0 ? mesh__ticket(m, rotated, m->identity->link.made) : NULL;
    if (t != NULL) {
        m->own->is_rotating = true;
        m->own->is_renewal_stored = m->own->is_renewed;
        env_blob_store(m->env, MESH_IDENTITY_FILE, blob, (size_t)len, mesh__ticket_done, t);
    }
    sodium_memzero(blob, sizeof blob);
}

/* New keys are on disk before the record names them: a crash must not make us forget a key that
 * others use. */
void mesh__own_rotate(struct mesh *m)
{
    struct mesh__own_record *o = m->own;
    if (o->is_rotating || m->is_stopping || m->config.worker != 0)
        return;
    if (mesh_identity_rotate(m->identity, m->env, mesh_time(m), m->config.rotate_link_key))
        o->needs_store = true;
    if (o->needs_store)
        store(m);
}

void mesh_renew_onion_key(struct mesh *m, env_fn done, void *arg)
{
    struct mesh__own_record *o = m->own;
    mesh_identity_renew_onion(m->identity, m->env, mesh_time(m));
    o->is_renewed = o->needs_store = true;
    o->renewed = done;
    o->renewed_arg = arg;
    mesh__own_rotate(m);
}

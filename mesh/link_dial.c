/* mesh/link_dial.c - the initiator's side of a handshake: for a new link, and for the next keys of
 * one that is up. INIT after 0, 0.25, 0.75, 1.75 and 3.75 s with a fresh ephemeral each time; at
 * 7.75 s the address rests for 30 s. Spec: protocol.md, section 3, "Retries", "Rekey". */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "mesh/link_internal.h"

void mesh__dial_end(struct mesh_link *l)
{
    struct mesh__dial *d = l->dial;
    if (d == NULL)
        return;
    l->dial = NULL;
    mesh__keys_destroy(l->mesh, d->keys);
    mesh_hs_initiator_wipe(&d->hs);
    free(d);
}

int mesh__dial_begin(struct mesh_link *l, const struct env_addr *to)
{
    struct mesh__dial *d = calloc(1, sizeof *d);
    if (d == NULL)
        return CYX_ENOMEM;
    d->keys = mesh__keys_create(l->mesh, MESH__KEYS_DIALING);
    if (d->keys == NULL) {
        free(d);
        return CYX_ENOMEM;
    }
    d->keys->link = l;
    d->to = *to;
    mesh__dial_end(l);
    l->dial = d;
    mesh__dial_tick(l, mesh__now(l->mesh));
    return 0;
}

static bool take_sequence(struct mesh_link *l, uint64_t *out)
{
    if (l->own == NULL)
        return mesh__sequence_take(l->mesh, out);
    *out = l->own->sequence++;
    return true;
}

/* The cookie to send along, or NULL. */
static const uint8_t *fresh_cookie(const struct mesh__dial *d, uint64_t now)
{
    return d->has_cookie && now - d->cookie_ns < ENV_MS(LINK__COOKIE_MS) ? d->cookie : NULL;
}

/* Builds and sends INIT. CYX_EAGAIN: no sequence on disk yet. */
static int send_init(struct mesh_link *l, struct mesh__dial *d, uint64_t now)
{
    uint8_t packet[MESH_INIT_LEN];
    struct mesh_hs_self self;
    cleanup_key32 struct key32 e = { 0 };
    uint64_t sequence = 0;
    if (!mesh__link_self(l, &self))
        return CYX_ECLOSED;
    int code = CYX_EAGAIN;
    if (take_sequence(l, &sequence)) {
        struct mesh_hs_initiator hs;
        env_random(l->mesh->env, e.b, sizeof e.b);
        code = mesh_hs_init(&hs, &self, l->has_dial_id ? l->dial_id : l->id, l->key, d->keys->index,
                            sequence, e.b, fresh_cookie(d, now), packet);
        if (code == 0) {
            mesh_hs_initiator_wipe(&d->hs);
            d->hs = hs;
            d->sent_ns = now;
            l->mesh->n.handshakes_out++;
            mesh__send_one(l->mesh, &d->to, packet, sizeof packet);
        }
        sodium_memzero(&hs, sizeof hs);
    }
    sodium_memzero(&self, sizeof self);
    return code;
}

/* Nobody answered. A link that is up goes on with its keys and tries again while they live. */
static void give_up(struct mesh_link *l, uint64_t now)
{
    struct mesh *m = l->mesh;
    struct mesh__dial *d = l->dial;
    bool has_version = d->version_text[0] != '\0';
    if (l->state == MESH_LINK_UP) {
        mesh__dial_end(l);
        l->rekey_ns = now + ENV_MS(LINK__REKEY_AGAIN_MS);
        return;
    }
    m->n.dial_failed++;
    mesh__rest_add(m->rests, &d->to, now);
    memcpy(l->why_text, d->version_text, sizeof l->why_text);
    mesh__link_end(l, has_version ? l->why_text : "no answer");
}

/* The wait after try number `tries`, up to an eighth longer so that many nodes don't keep step. */
static uint64_t wait_after(struct mesh *m, unsigned tries)
{
    uint64_t ns = ENV_MS(MESH_INIT_FIRST_MS) << (tries - 1);
    return ns + env_random_below(m->env, ns / 8);
}

void mesh__dial_tick(struct mesh_link *l, uint64_t now)
{
    struct mesh__dial *d = l->dial;
    if (d == NULL || d->next_ns > now)
        return;
    if (d->tries >= MESH_INIT_TRIES) {
        give_up(l, now);
        return;
    }
    int code = send_init(l, d, now);
    if (code == CYX_EAGAIN) {
        d->next_ns = now + ENV_MS(LINK__SEQUENCE_WAIT_MS);
    } else if (code != 0 && l->state == MESH_LINK_UP) {
        mesh__dial_end(l); /* our key was rotated away: the session's end ends the link */
        l->rekey_ns = LINK__NEVER;
    } else if (code != 0) {
        mesh__link_end(l, code == CYX_EPROTO ? "its link key is no key" : "our link key changed");
    } else {
        d->tries++;
        d->next_ns = now + wait_after(l->mesh, d->tries);
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

static void take_result(struct mesh_link *l, const struct mesh_hs_result *r)
{
    struct mesh *m = l->mesh;
    l->features = r->features;
    l->is_listed = (r->features & MESH_FEATURE_UNLISTED) == 0;
    memcpy(l->version, r->remote_version, sizeof l->version);
    nettime_heard(&m->time, l->key, mesh__is_bootstrap(m, l->key), r->remote_time,
                  env_wall_ms(m->env), mesh__now(m));
}

/* Everything is checked on locals; the dial is untouched by a packet that fails. */
enum drop mesh__dial_resp(struct mesh_link *l, const struct env_addr *from, const uint8_t *packet,
                          size_t len)
{
    struct mesh__dial *d = l->dial;
    struct mesh_hs_self self;
    struct mesh_hs_result r;
    if (d == NULL || d->tries == 0 || !mesh__link_self(l, &self))
        return DROP_STATE;
    enum drop drop = mesh_hs_resp_precheck(packet, len, self.pub);
    if (drop == DROP_NONE)
        drop = mesh_hs_finish(&d->hs, &self, packet, len, &r);
    sodium_memzero(&self, sizeof self);
    if (drop != DROP_NONE)
        return drop;
    struct mesh_session *s = mesh_session_create(&r, d->keys->index);
    if (s == NULL) {
        mesh_hs_result_wipe(&r);
        return DROP_MEMORY;
    }
    struct mesh__keys *k = d->keys;
    d->keys = NULL;
    k->session = s;
    k->stage = MESH__KEYS_LIVE;
    k->made_ns = mesh__now(l->mesh);
    if (l->rtt_ns == 0)
        mesh__rtt_note(l, k->made_ns - d->sent_ns);
    if (l->state == MESH_LINK_DIALING)
        l->proven = d->to;
    take_result(l, &r);
    mesh_hs_result_wipe(&r);
    mesh__dial_end(l);
    mesh__link_step(l, LINK_EV_SESSION, &(struct link_input){ .keys = k, .from = from });
    return DROP_NONE;
}

enum drop mesh__dial_cookie(struct mesh_link *l, const uint8_t *packet, size_t len)
{
    struct mesh__dial *d = l->dial;
    uint64_t now = mesh__now(l->mesh);
    uint8_t cookie[16];
    if (d == NULL || d->tries == 0)
        return DROP_STATE;
    enum drop drop = mesh_cookie_open(packet, len, l->key, d->hs.mac1, cookie);
    if (drop != DROP_NONE)
        return drop;
    /* At once, but once: the INIT it answers had none. With one already, the retry carries it. */
    bool had = fresh_cookie(d, now) != NULL;
    memcpy(d->cookie, cookie, sizeof d->cookie);
    d->has_cookie = true;
    d->cookie_ns = now;
    if (!had && send_init(l, d, now) != 0)
        return DROP_STATE;
    return DROP_NONE;
}

enum drop mesh__dial_version(struct mesh_link *l, const struct mesh_version_hint *hint)
{
    struct mesh__dial *d = l->dial;
    if (d == NULL)
        return DROP_STATE;
    snprintf(d->version_text, sizeof d->version_text, "it speaks major %u to %u, we speak %d",
             hint->lowest, hint->highest, MESH_MAJOR);
    return DROP_NONE;
}

/* ---- mesh_dial ------------------------------------------------------------------------------- */

static struct mesh__own_key *own_key_draw(struct mesh *m)
{
    struct mesh__own_key *k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    env_random(m->env, k->secret, sizeof k->secret);
    crypto_dh_public(k->pub, k->secret);
    return k;
}

/* Is it proven, or at least not disproven, that this link leads to `id`? */
static bool leads_to(const struct mesh_link *l, const uint8_t id[static 32])
{
    if (l->has_id)
        return memcmp(l->id, id, 32) == 0;
    return !l->has_dial_id || memcmp(l->dial_id, id, 32) == 0;
}

/* The link that already leads there: never one of another identity (a connection reused for the
 * wrong name). One that they dialled and whose record has not come yet must prove the id that is
 * asked for now. */
static struct mesh_link *existing(struct mesh *m, const struct mesh_contact *c)
{
    struct mesh_link *l = mesh__link_find_any(m, c->link_key);
    if (l == NULL)
        return map_get(m->by_id, c->id);
    if (!leads_to(l, c->id))
        return NULL;
    if (!l->has_id && !l->has_dial_id) {
        memcpy(l->dial_id, c->id, sizeof l->dial_id);
        l->has_dial_id = true;
    }
    return l;
}

static int check_contact(const struct mesh *m, const struct mesh_contact *c, struct cyx_err *err)
{
    if (!m->is_started || m->is_stopping)
        return cyx_fail(err, CYX_ECLOSED, "the mesh is not running");
    if (memcmp(c->link_key, m->identity->link.pub, 32) == 0 ||
        (m->config.is_listed && memcmp(c->id, m->identity->id, 32) == 0))
        return cyx_fail(err, CYX_EINVAL, "that is this node itself");
    if (c->addr.port == 0)
        return cyx_fail(err, CYX_EINVAL, "port 0 can't be dialled");
    if (!mesh__is_mine(m, c->link_key))
        return cyx_fail(err, CYX_EINVAL, "that peer belongs to worker %u",
                        mesh_worker_of(c->link_key, m->config.n_workers));
    return 0;
}

struct mesh_link *mesh_dial(struct mesh *m, const struct mesh_contact *c, struct cyx_err *err)
{
    if (check_contact(m, c, err) != 0)
        return NULL;
    struct mesh_link *l = existing(m, c);
    if (l != NULL)
        return l;
    if (mesh__link_find_any(m, c->link_key) != NULL) {
        cyx_fail(err, CYX_EINVAL, "a link with that key leads to another node");
        return NULL;
    }
    if (mesh__rest_is_on(m->rests, &c->addr, mesh__now(m))) {
        cyx_fail(err, CYX_EBUSY, "that address did not answer: it rests for %d s",
                 MESH_ADDR_REST_MS / 1000);
        return NULL;
    }
    if (m->n_links >= m->config.links_max) {
        cyx_fail(err, CYX_EFULL, "all %zu links are in use", m->config.links_max);
        return NULL;
    }
    l = mesh__link_create(m, c->link_key, m->own_made, &c->addr);
    if (l == NULL) {
        cyx_fail(err, CYX_ENOMEM, "no memory for a link");
        return NULL;
    }
    memcpy(l->dial_id, c->id, sizeof l->dial_id);
    l->has_dial_id = l->was_dialed = true;
    l->is_listed = true; /* only listed nodes can be dialled */
    if (!m->config.is_listed)
        l->own = own_key_draw(m);
    if ((!m->config.is_listed && l->own == NULL) || mesh__dial_begin(l, &c->addr) != 0)
        mesh__link_end(l, "no memory"); /* link_down follows */
    else if (l->state != MESH_LINK_CLOSING)
        mesh__link_arm(l);
    return l;
}

void mesh_link_keep(struct mesh_link *l)
{
    l->is_wanted = true;
    mesh__link_arm(l);
}

/* mesh/endpoint.c - datagrams in: cheap checks first, then the handshake's responder, then the
 * session that a packet names. Nothing a stranger sends is logged or remembered before its MAC,
 * cookie and budgets hold; every drop is counted by packet type and reason. Spec: protocol.md,
 * section 3.
 *
 *   INIT    length, mac1 (current and previous link key) -> under load: cookie -> budgets -> curve
 *           operations -> sequence -> unconfirmed session, RESP
 *   RESP, COOKIE, VERSION    the dial whose index they name (link_dial.c)
 *   an INIT of another worker's peer, an index of another worker's session    handed on
 *   FULL    the session whose index it names, opened in place; an unconfirmed one becomes a link's
 */
#include <sodium.h>
#include <string.h>

#include "base/secret.h"
#include "mesh/link_internal.h"

int mesh__send_one(struct mesh *m, const struct env_addr *to, const uint8_t *data, size_t len)
{
    if (m->carrier == NULL)
        return CYX_ECLOSED;
    int code = m->carrier->ops->send(m->carrier, to, data, len, len);
    if (code == 0)
        m->n.tx_packets[data[0] < MESH__TYPES ? data[0] : 0]++;
    else
        m->n.send_failed++; /* as good as lost on the way: retries are the other layers' */
    return code;
}

/* ---- INIT ------------------------------------------------------------------------------------ */

/* Which of our link keys is this for? Fills *made and *pub. */
static enum drop precheck(const struct mesh *m, const uint8_t *data, size_t len, uint64_t *made,
                          const uint8_t **pub)
{
    const struct mesh_keypair *pairs[] = { &m->identity->link, &m->identity->link_old };
    enum drop drop = DROP_MAC;
    for (unsigned i = 0; i < 2 && drop == DROP_MAC; i++) {
        if (pairs[i]->made == 0 && i > 0)
            break;
        drop = mesh_hs_init_precheck(data, len, pairs[i]->pub);
        *made = pairs[i]->made;
        *pub = pairs[i]->pub;
    }
    return drop;
}

static void answer_version(struct mesh *m, const struct env_addr *from, const uint8_t *data,
                           size_t len)
{
    uint8_t out[MESH_VERSION_LEN];
    struct reader r = reader_on(data, len);
    reader_skip(&r, 4);
    mesh_version_build(out, reader_u32(&r));
    mesh__send_one(m, from, out, sizeof out);
}

/* The current cookie secret; draws a new one every two minutes and keeps the last. */
static void cookie_turn(struct mesh *m, uint64_t now)
{
    uint64_t age = now - m->cookie_made_ns;
    if (m->cookie_made_ns != 0 && age < ENV_MS(MESH_COOKIE_SECRET_MS))
        return;
    bool is_last_young = m->cookie_made_ns != 0 && age < 2 * ENV_MS(MESH_COOKIE_SECRET_MS);
    if (is_last_young)
        memcpy(m->cookie_secret[1], m->cookie_secret[0], 32);
    else
        env_random(m->env, m->cookie_secret[1], 32);
    env_random(m->env, m->cookie_secret[0], 32);
    m->cookie_made_ns = now > 0 ? now : 1;
}

static bool has_cookie(struct mesh *m, const struct env_addr *from, const uint8_t *data, size_t len)
{
    uint8_t cookie[16];
    for (unsigned i = 0; i < 2; i++) {
        mesh_cookie_make(cookie, m->cookie_secret[i], from);
        if (mesh_mac2_ok(data, len, cookie))
            return true;
    }
    return false;
}

static void answer_cookie(struct mesh *m, const struct env_addr *from, const uint8_t *data,
                          size_t len, const uint8_t pub[static 32])
{
    uint8_t out[MESH_COOKIE_LEN], nonce[24], cookie[16];
    mesh_cookie_make(cookie, m->cookie_secret[0], from);
    env_random(m->env, nonce, sizeof nonce);
    mesh_cookie_build(out, data, len, pub, nonce, cookie);
    mesh__send_one(m, from, out, sizeof out);
}

static bool is_under_load(struct mesh *m, uint64_t now)
{
    return m->n_half_opens >= MESH_UNCONFIRMED_MAX / 2 ||
           !mesh_bucket_take(&m->first_messages, 1, now);
}

static bool take_budget(struct mesh *m, const struct env_addr *from, uint64_t now)
{
    if (!m->network.is_lab && !mesh_prefix_budget_take(m->hs_prefixes, env_addr_prefix(from), now))
        return false;
    return mesh_bucket_take(&m->handshakes, 1, now);
}

/* The sequence was fresh: keys, RESP, an entry among the unconfirmed. */
static enum drop respond(struct mesh *m, const struct env_addr *from, struct mesh_hs_responder *p,
                         const struct mesh_hs_self *self, uint64_t made)
{
    uint8_t out[MESH_RESP_LEN];
    struct mesh_hs_result result;
    cleanup_key32 struct key32 e = { 0 };
    struct mesh__keys *k = mesh__keys_create(m, MESH__KEYS_UNCONFIRMED);
    if (k == NULL)
        return DROP_MEMORY;
    env_random(m->env, e.b, sizeof e.b);
    if (mesh_hs_respond(p, self, k->index, mesh_time(m), e.b, NULL, out, &result) != 0) {
        mesh__keys_destroy(m, k);
        return DROP_KEY;
    }
    k->session = mesh_session_create(&result, k->index);
    k->made_ns = mesh__now(m);
    struct mesh__half_open half = { .from = *from,
                                    .prefix = env_addr_prefix(from),
                                    .own_made = made,
                                    .features = result.features };
    memcpy(half.remote_static, result.remote_static, sizeof half.remote_static);
    memcpy(half.version, result.remote_version, sizeof half.version);
    mesh_hs_result_wipe(&result);
    if (k->session == NULL || mesh__half_open_add(m, k, &half) != 0) {
        mesh__keys_destroy(m, k);
        return DROP_MEMORY;
    }
    m->n.handshakes_in++;
    mesh__send_one(m, from, out, sizeof out);
    return DROP_NONE;
}

static enum drop accept_init(struct mesh *m, const struct env_addr *from, const uint8_t *data,
                             size_t len, uint64_t made)
{
    struct mesh_hs_self self;
    struct mesh_hs_responder p;
    enum drop drop = DROP_KEY;
    int to = -1; /* another worker, whose peer this is */
    if (!mesh__self(m, made, &self))
        return drop;
    drop = mesh_hs_accept(&p, &self, data, len);
    if (drop == DROP_NONE) {
        if (sodium_memcmp(p.r.remote_static, self.pub, 32) == 0)
            drop = DROP_KEY; /* ourselves */
        else if (!mesh__is_mine(m, p.r.remote_static))
            to = (int)mesh_worker_of(p.r.remote_static, m->config.n_workers);
        else if (!mesh__sequence_is_fresh(m->sequences, p.r.remote_static, p.r.remote_sequence))
            drop = DROP_REPLAY;
    }
    if (drop == DROP_NONE && to >= 0) {
        if (!mesh__hand_datagram(m, (unsigned)to, from, data, len, true))
            drop = DROP_STATE;
    } else if (drop == DROP_NONE) {
        mesh__sequence_note(m->sequences, p.r.remote_static, p.r.remote_sequence);
        drop = respond(m, from, &p, &self, made);
    }
    mesh_hs_responder_wipe(&p);
    sodium_memzero(&self, sizeof self);
    return drop;
}

static enum drop init_received(struct mesh *m, const struct env_addr *from, const uint8_t *data,
                               size_t len)
{
    uint64_t made = 0, now = mesh__now(m);
    const uint8_t *pub = NULL;
    if (!m->config.is_listed || m->is_stopping)
        return DROP_STATE; /* pure users have no key that anybody could dial */
    enum drop drop = precheck(m, data, len, &made, &pub);
    if (drop != DROP_NONE && drop != DROP_VERSION)
        return drop;
    bool is_loaded = is_under_load(m, now);
    if (drop == DROP_VERSION) {
        if (!is_loaded)
            answer_version(m, from, data, len);
        return drop;
    }
    cookie_turn(m, now);
    if (is_loaded && !has_cookie(m, from, data, len)) {
        answer_cookie(m, from, data, len, pub);
        return DROP_COOKIE;
    }
    return take_budget(m, from, now) ? accept_init(m, from, data, len, made) : DROP_LOAD;
}

/* ---- sessions of other workers --------------------------------------------------------------- */

/* None of ours has this index: is it another worker's? The kernel steers packets to the right one,
 * but other sockets don't (mesh_inject). */
static enum drop unknown(struct mesh *m, uint32_t index, const struct env_addr *from,
                         const uint8_t *data, size_t len)
{
    unsigned to = mesh_index_worker(index, m->config.n_workers);
    bool is_handed = to != m->config.worker && mesh__hand_datagram(m, to, from, data, len, false);
    return is_handed ? DROP_NONE : DROP_UNKNOWN;
}

/* ---- answers to our INITs -------------------------------------------------------------------- */

/* The link whose dial has this index, or NULL. */
static struct mesh_link *dialing(const struct mesh *m, uint32_t index)
{
    const struct mesh__keys *k = mesh__keys_find(m, index);
    return k != NULL && k->stage == MESH__KEYS_DIALING ? k->link : NULL;
}

static enum drop resp_received(struct mesh *m, const struct env_addr *from, const uint8_t *data,
                               size_t len)
{
    struct reader r = reader_on(data, len);
    reader_skip(&r, 8);
    uint32_t index = reader_u32(&r);
    if (len != MESH_RESP_LEN)
        return len < MESH_RESP_LEN ? DROP_SHORT : DROP_LONG;
    struct mesh_link *l = dialing(m, index);
    return l != NULL ? mesh__dial_resp(l, from, data, len) : unknown(m, index, from, data, len);
}

static enum drop cookie_received(struct mesh *m, const struct env_addr *from, const uint8_t *data,
                                 size_t len)
{
    uint32_t index = 0;
    enum drop drop = mesh_cookie_index(data, len, &index);
    if (drop != DROP_NONE)
        return drop;
    struct mesh_link *l = dialing(m, index);
    return l != NULL ? mesh__dial_cookie(l, data, len) : unknown(m, index, from, data, len);
}

static enum drop version_received(struct mesh *m, const struct env_addr *from, const uint8_t *data,
                                  size_t len)
{
    struct mesh_version_hint hint;
    enum drop drop = mesh_version_parse(&hint, data, len);
    if (drop != DROP_NONE)
        return drop;
    struct mesh_link *l = dialing(m, hint.receiver_index);
    return l != NULL ? mesh__dial_version(l, &hint)
                     : unknown(m, hint.receiver_index, from, data, len);
}

/* ---- FULL ------------------------------------------------------------------------------------ */

/* The first valid packet on a session that we answered with RESP: it becomes a link's. */
static enum drop confirm(struct mesh *m, struct mesh__keys *k, const struct env_addr *from)
{
    const struct mesh__half_open half = *k->half;
    struct mesh_link *l = mesh__link_find(m, half.remote_static, half.own_made);
    bool is_new = l == NULL;
    if (is_new) {
        mesh__links_make_room(m, env_addr_prefix(from));
        l = mesh__link_create(m, half.remote_static, half.own_made, from);
        if (l == NULL) {
            mesh__keys_destroy(m, k);
            return DROP_MEMORY;
        }
    }
    mesh__half_open_remove(m, k);
    m->n.confirmed++;
    m->inbound_seen = true;
    k->stage = MESH__KEYS_LIVE;
    k->link = l;
    k->heard_ns = mesh__now(m);
    l->features = half.features;
    l->is_listed = (half.features & MESH_FEATURE_UNLISTED) == 0;
    memcpy(l->version, half.version, sizeof l->version);
    if (is_new || l->state == MESH_LINK_DIALING)
        l->proven = half.from; /* it read our RESP there */
    mesh__link_step(l, LINK_EV_SESSION, &(struct link_input){ .keys = k, .from = from });
    return DROP_NONE;
}

static enum drop full_received(struct mesh *m, const struct env_addr *from, uint8_t *data,
                               size_t len)
{
    if (len != MESH_PACKET)
        return len < MESH_PACKET ? DROP_SHORT : DROP_LONG;
    struct reader r = reader_on(data, len);
    reader_skip(&r, 4);
    uint32_t index = reader_u32(&r);
    struct mesh__keys *k = mesh__keys_find(m, index);
    if (k == NULL)
        return unknown(m, index, from, data, len);
    if (k->stage == MESH__KEYS_DIALING)
        return DROP_STATE;
    bool is_newest = false;
    enum drop drop = mesh_session_open(k->session, data, &is_newest);
    if (drop == DROP_NONE && k->stage == MESH__KEYS_UNCONFIRMED)
        drop = confirm(m, k, from);
    if (drop == DROP_NONE)
        mesh__link_received(k->link, k, from, is_newest, data);
    return drop;
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static enum drop dispatch(struct mesh *m, const struct env_addr *from, uint8_t *data, size_t len)
{
    switch (data[0]) {
    case MESH_INIT:
        return init_received(m, from, data, len);
    case MESH_RESP:
        return resp_received(m, from, data, len);
    case MESH_COOKIE:
        return cookie_received(m, from, data, len);
    case MESH_FULL:
        return full_received(m, from, data, len);
    case MESH_VERSION:
        return version_received(m, from, data, len);
    }
    return DROP_TYPE;
}

static void datagram(struct mesh *m, const struct env_addr *from, uint8_t *data, size_t len)
{
    unsigned type = len > 0 && data[0] < MESH__TYPES ? data[0] : 0;
    m->n.rx_packets[type]++;
    enum drop drop = len > 0 ? dispatch(m, from, data, len) : DROP_SHORT;
    if (drop != DROP_NONE)
        mesh__drop(m, type, drop);
}

static enum drop take_init(struct mesh *m, const struct env_addr *from, const uint8_t *data,
                           size_t len)
{
    uint64_t made = 0;
    const uint8_t *pub = NULL;
    enum drop drop = precheck(m, data, len, &made, &pub);
    return drop == DROP_NONE ? accept_init(m, from, data, len, made) : drop;
}

void mesh_take_datagram(struct mesh *m, const struct env_addr *from, uint8_t *data, size_t len,
                        bool is_admitted)
{
    if (!m->is_started || m->is_stopping || len == 0)
        return;
    m->n.handed_in++;
    enum drop drop = is_admitted && data[0] == MESH_INIT && m->config.is_listed
                         ? take_init(m, from, data, len)
                         : dispatch(m, from, data, len);
    if (drop != DROP_NONE)
        mesh__drop(m, data[0] < MESH__TYPES ? data[0] : 0, drop);
}

void mesh__endpoint_received(void *arg, struct mesh_carrier *c, struct env_datagrams *batch,
                             size_t n)
{
    struct mesh *m = arg;
    (void)c;
    for (size_t i = 0; i < n; i++) {
        const struct env_datagrams *b = &batch[i];
        size_t segment = b->segment > 0 ? b->segment : b->len;
        size_t at = 0;
        do {
            size_t len = b->len - at < segment ? b->len - at : segment;
            datagram(m, &b->from, b->data + at, len);
            at += len;
        } while (at < b->len);
    }
}

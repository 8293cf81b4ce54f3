/* mesh/handshake.c - Noise_IK in INIT and RESP. The tokens are spelled out in comments, in the
 * pattern's order:  <- s  ...  -> e, es, s, ss   <- e, ee, se. */
#include "mesh/handshake.h"

#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/secret.h"
#include "base/writer.h"
#include "mesh/handshake_internal.h"
#include "mesh/limits.h"

enum {
    KEY = 32,
    TAG = 16,
    PAYLOAD = 16, /* sequence or time 8, version 4, features 4 */
    PROLOGUE = 10 + 32 + 1 + 32,
    TIME_ROUND_S = 10,
};

struct payload {
    uint64_t number; /* INIT: sequence; RESP: network time */
    uint8_t version[4];
    uint32_t features;
};

static void payload_put(uint8_t out[static PAYLOAD], const struct payload *p)
{
    struct writer w = writer_on(out, PAYLOAD);
    writer_u64(&w, p->number);
    writer_copy(&w, p->version, sizeof p->version);
    writer_u32(&w, p->features);
}

static struct payload payload_get(const uint8_t in[static PAYLOAD])
{
    struct reader r = reader_on(in, PAYLOAD);
    struct payload p = { 0 };
    p.number = reader_u64(&r);
    reader_copy(&r, p.version, sizeof p.version);
    p.features = reader_u32(&r);
    return p;
}

/* Both sides start here: prologue, then the responder's static key, known beforehand. */
static void noise_begin(struct noise *s, const struct mesh_network *net, const uint8_t *id,
                        const uint8_t *link_key)
{
    uint8_t prologue[PROLOGUE];
    struct writer w = writer_on(prologue, sizeof prologue);
    writer_copy(&w, "cyx link 1", 10);
    writer_copy(&w, net->id, sizeof net->id);
    writer_u8(&w, MESH_MAJOR);
    writer_copy(&w, id, 32);
    noise_init(s, "Noise_IK_25519_ChaChaPoly_SHA256", prologue, sizeof prologue);
    noise_mix_hash(s, link_key, KEY);
}

static int mix_dh(struct noise *s, const uint8_t secret[static 32], const uint8_t pub[static 32])
{
    cleanup_key32 struct key32 dh = { 0 };
    int code = crypto_dh(dh.b, secret, pub);
    if (code == 0)
        noise_mix_key(s, dh.b);
    return code;
}

void mesh_hs_result_wipe(struct mesh_hs_result *r)
{
    sodium_memzero(r, sizeof *r);
}

void mesh_hs_initiator_wipe(struct mesh_hs_initiator *i)
{
    sodium_memzero(i, sizeof *i);
}

void mesh_hs_responder_wipe(struct mesh_hs_responder *p)
{
    sodium_memzero(p, sizeof *p);
}

/* ---- INIT, sent ------------------------------------------------------------------------------ */

/* Noise's first message: 32 + 48 + 32 bytes. */
static int init_write(struct noise *s, const struct mesh_hs_self *self, const uint8_t *remote,
                      const uint8_t *e_secret, const struct payload *p, struct writer *w)
{
    uint8_t e_pub[KEY], sealed_s[KEY + TAG], sealed_p[PAYLOAD + TAG], plain[PAYLOAD];
    crypto_dh_public(e_pub, e_secret);
    noise_mix_hash(s, e_pub, KEY); /* e */
    if (mix_dh(s, e_secret, remote) != 0)
        return CYX_EPROTO;                      /* es */
    noise_encrypt(s, self->pub, KEY, sealed_s); /* s */
    if (mix_dh(s, self->secret, remote) != 0)
        return CYX_EPROTO; /* ss */
    payload_put(plain, p);
    noise_encrypt(s, plain, PAYLOAD, sealed_p);
    writer_copy(w, e_pub, sizeof e_pub);
    writer_copy(w, sealed_s, sizeof sealed_s);
    writer_copy(w, sealed_p, sizeof sealed_p);
    return 0;
}

int mesh_hs_init(struct mesh_hs_initiator *i, const struct mesh_hs_self *self,
                 const uint8_t remote_id[static 32], const uint8_t remote_static[static 32],
                 uint32_t index, uint64_t sequence, const uint8_t e_secret[static 32],
                 const uint8_t *cookie, uint8_t packet[static MESH_INIT_LEN])
{
    cleanup_noise struct noise s = { 0 };
    uint8_t built[MESH_INIT_LEN] = { 0 };
    struct writer w = writer_on(built, sizeof built);
    struct payload p = { .number = sequence, .features = self->features };
    memcpy(p.version, self->version, sizeof p.version);
    writer_u8(&w, MESH_INIT);
    writer_u8(&w, MESH_MAJOR);
    writer_zero(&w, 2);
    writer_u32(&w, index);
    noise_begin(&s, self->net, remote_id, remote_static);
    int code = init_write(&s, self, remote_static, e_secret, &p, &w);
    if (code != 0)
        return code;
    mesh__macs_put(built, sizeof built, remote_static, cookie);
    memcpy(packet, built, sizeof built);
    *i = (struct mesh_hs_initiator){ .noise = s, .index = index, .features = self->features };
    memcpy(i->e_secret, e_secret, KEY);
    memcpy(i->remote_static, remote_static, KEY);
    mesh_hs_mac1_of(built, sizeof built, i->mac1);
    return 0;
}

/* ---- INIT, received -------------------------------------------------------------------------- */

/* Length, type, mac1, and only then the major: VERSION is owed to those who know our key alone. */
static enum drop precheck(const uint8_t *packet, size_t len, size_t want, uint8_t type,
                          const uint8_t *self_pub)
{
    if (len != want)
        return len < want ? DROP_SHORT : DROP_LONG;
    struct reader r = reader_on(packet, len);
    uint8_t got = reader_u8(&r), major = reader_u8(&r);
    if (got != type)
        return DROP_TYPE;
    if (!mesh__mac1_ok(packet, len, self_pub))
        return DROP_MAC;
    return major == MESH_MAJOR ? DROP_NONE : DROP_VERSION;
}

enum drop mesh_hs_init_precheck(const uint8_t *packet, size_t len,
                                const uint8_t self_pub[static 32])
{
    return precheck(packet, len, MESH_INIT_LEN, MESH_INIT, self_pub);
}

enum drop mesh_hs_resp_precheck(const uint8_t *packet, size_t len,
                                const uint8_t self_pub[static 32])
{
    return precheck(packet, len, MESH_RESP_LEN, MESH_RESP, self_pub);
}

static enum drop init_read(struct mesh_hs_responder *p, const struct mesh_hs_self *self,
                           struct reader *r)
{
    uint8_t sealed_s[KEY + TAG], sealed_p[PAYLOAD + TAG], plain[PAYLOAD];
    reader_copy(r, p->remote_e, KEY);
    reader_copy(r, sealed_s, sizeof sealed_s);
    reader_copy(r, sealed_p, sizeof sealed_p);
    noise_mix_hash(&p->noise, p->remote_e, KEY); /* e */
    if (mix_dh(&p->noise, self->secret, p->remote_e) != 0)
        return DROP_KEY; /* es */
    if (noise_decrypt(&p->noise, sealed_s, sizeof sealed_s, p->r.remote_static) != DROP_NONE)
        return DROP_AUTH; /* s */
    if (mix_dh(&p->noise, self->secret, p->r.remote_static) != 0)
        return DROP_KEY; /* ss */
    if (noise_decrypt(&p->noise, sealed_p, sizeof sealed_p, plain) != DROP_NONE)
        return DROP_AUTH;
    struct payload got = payload_get(plain);
    p->r.remote_sequence = got.number;
    p->r.features = got.features;
    memcpy(p->r.remote_version, got.version, sizeof got.version);
    return DROP_NONE;
}

enum drop mesh_hs_accept(struct mesh_hs_responder *p, const struct mesh_hs_self *self,
                         const uint8_t *packet, size_t len)
{
    enum drop drop = mesh_hs_init_precheck(packet, len, self->pub);
    if (drop != DROP_NONE)
        return drop;
    struct mesh_hs_responder got = { 0 };
    struct reader r = reader_on(packet, len);
    reader_skip(&r, 4);
    got.r.remote_index = reader_u32(&r);
    noise_begin(&got.noise, self->net, self->id, self->pub);
    drop = init_read(&got, self, &r);
    if (drop == DROP_NONE)
        *p = got;
    mesh_hs_responder_wipe(&got);
    return drop;
}

/* ---- RESP, sent ------------------------------------------------------------------------------ */

/* Noise's second message: 32 + 32 bytes. */
static int resp_write(struct noise *s, const struct mesh_hs_responder *p, const uint8_t *e_secret,
                      const struct payload *payload, struct writer *w)
{
    uint8_t e_pub[KEY], sealed[PAYLOAD + TAG], plain[PAYLOAD];
    crypto_dh_public(e_pub, e_secret);
    noise_mix_hash(s, e_pub, KEY); /* e */
    if (mix_dh(s, e_secret, p->remote_e) != 0)
        return CYX_EPROTO; /* ee */
    if (mix_dh(s, e_secret, p->r.remote_static) != 0)
        return CYX_EPROTO; /* se */
    payload_put(plain, payload);
    noise_encrypt(s, plain, PAYLOAD, sealed);
    writer_copy(w, e_pub, sizeof e_pub);
    writer_copy(w, sealed, sizeof sealed);
    return 0;
}

static uint64_t time_rounded(uint64_t s)
{
    return (s / TIME_ROUND_S + (s % TIME_ROUND_S >= TIME_ROUND_S / 2 ? 1 : 0)) * TIME_ROUND_S;
}

int mesh_hs_respond(struct mesh_hs_responder *p, const struct mesh_hs_self *self, uint32_t index,
                    uint64_t net_time, const uint8_t e_secret[static 32], const uint8_t *cookie,
                    uint8_t packet[static MESH_RESP_LEN], struct mesh_hs_result *out)
{
    cleanup_noise struct noise s = p->noise;
    uint8_t built[MESH_RESP_LEN] = { 0 };
    uint32_t common = p->r.features & self->features & ~(uint32_t)MESH_FEATURE_UNLISTED;
    struct payload payload = { .number = time_rounded(net_time),
                               .features = common | (self->features & MESH_FEATURE_UNLISTED) };
    memcpy(payload.version, self->version, sizeof payload.version);
    struct writer w = writer_on(built, sizeof built);
    writer_u8(&w, MESH_RESP);
    writer_u8(&w, MESH_MAJOR);
    writer_zero(&w, 2);
    writer_u32(&w, index);
    writer_u32(&w, p->r.remote_index);
    int code = resp_write(&s, p, e_secret, &payload, &w);
    if (code != 0)
        return code;
    mesh__macs_put(built, sizeof built, p->r.remote_static, cookie);
    memcpy(packet, built, sizeof built);
    *out = p->r;
    out->features = common | (p->r.features & MESH_FEATURE_UNLISTED);
    noise_split(&s, out->recv_key, out->send_key, NULL);
    return 0;
}

/* ---- RESP, received -------------------------------------------------------------------------- */

static enum drop resp_read(struct noise *s, const struct mesh_hs_initiator *i,
                           const struct mesh_hs_self *self, struct reader *r, struct payload *got)
{
    uint8_t remote_e[KEY], sealed[PAYLOAD + TAG], plain[PAYLOAD];
    reader_copy(r, remote_e, sizeof remote_e);
    reader_copy(r, sealed, sizeof sealed);
    noise_mix_hash(s, remote_e, KEY); /* e */
    if (mix_dh(s, i->e_secret, remote_e) != 0)
        return DROP_KEY; /* ee */
    if (mix_dh(s, self->secret, remote_e) != 0)
        return DROP_KEY; /* se */
    if (noise_decrypt(s, sealed, sizeof sealed, plain) != DROP_NONE)
        return DROP_AUTH;
    *got = payload_get(plain);
    /* A bit that we didn't offer can't hold: the two sides would disagree about the cipher. */
    if ((got->features & ~(i->features | (uint32_t)MESH_FEATURE_UNLISTED)) != 0)
        return DROP_FIELD;
    return DROP_NONE;
}

enum drop mesh_hs_finish(const struct mesh_hs_initiator *i, const struct mesh_hs_self *self,
                         const uint8_t *packet, size_t len, struct mesh_hs_result *out)
{
    enum drop drop = mesh_hs_resp_precheck(packet, len, self->pub);
    if (drop != DROP_NONE)
        return drop;
    struct reader r = reader_on(packet, len);
    reader_skip(&r, 4);
    uint32_t remote_index = reader_u32(&r);
    if (reader_u32(&r) != i->index)
        return DROP_UNKNOWN;
    cleanup_noise struct noise s = i->noise;
    struct payload got = { 0 };
    drop = resp_read(&s, i, self, &r, &got);
    if (drop != DROP_NONE)
        return drop;
    *out = (struct mesh_hs_result){ .remote_index = remote_index,
                                    .features = got.features,
                                    .remote_time = got.number };
    /* Our own UNLISTED is not the responder's: the bit says what the other side is. */
    memcpy(out->remote_static, i->remote_static, KEY);
    memcpy(out->remote_version, got.version, sizeof got.version);
    noise_split(&s, out->send_key, out->recv_key, NULL);
    return DROP_NONE;
}

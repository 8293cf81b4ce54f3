/* mesh/cookie.c - what stands before the handshake's curve operations: mac1, mac2, COOKIE, VERSION.
 * Spec: protocol.md, section 3. */
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/secret.h"
#include "base/writer.h"
#include "mesh/handshake.h"
#include "mesh/handshake_internal.h"
#include "mesh/limits.h"

enum { COOKIE = 16, COOKIE_NONCE = 24, COOKIE_SEALED = COOKIE + 16 };

static void mac1_make(uint8_t mac[static 16], const uint8_t *packet, size_t at,
                      const uint8_t to[static 32])
{
    uint8_t key[CRYPTO_HASH];
    crypto_h(key, "cyx mac1", &BYTES(to, 32), 1);
    crypto_mac16(mac, key, sizeof key, packet, at);
}

void mesh__macs_put(uint8_t *packet, size_t len, const uint8_t to[static 32], const uint8_t *cookie)
{
    size_t at = mesh__mac1_at(len);
    mac1_make(packet + at, packet, at, to);
    if (cookie != NULL)
        crypto_mac16(packet + at + MESH__MAC, cookie, COOKIE, packet, at + MESH__MAC);
    else
        memset(packet + at + MESH__MAC, 0, MESH__MAC);
}

bool mesh__mac1_ok(const uint8_t *packet, size_t len, const uint8_t self_pub[static 32])
{
    size_t at = mesh__mac1_at(len);
    uint8_t want[MESH__MAC];
    if (at == 0)
        return false;
    mac1_make(want, packet, at, self_pub);
    return secret_equal(want, packet + at, sizeof want);
}

void mesh_hs_mac1_of(const uint8_t *packet, size_t len, uint8_t out[static 16])
{
    size_t at = mesh__mac1_at(len);
    if (at == 0)
        memset(out, 0, MESH__MAC);
    else
        memcpy(out, packet + at, MESH__MAC);
}

void mesh_cookie_make(uint8_t cookie[static 16], const uint8_t secret[static 32],
                      const struct env_addr *from)
{
    uint8_t place[18];
    struct writer w = writer_on(place, sizeof place);
    writer_copy(&w, from->ip, sizeof from->ip);
    writer_u16(&w, from->port);
    crypto_mac16(cookie, secret, 32, place, sizeof place);
}

bool mesh_mac2_ok(const uint8_t *packet, size_t len, const uint8_t cookie[static 16])
{
    size_t at = mesh__mac1_at(len);
    uint8_t want[MESH__MAC];
    if (at == 0)
        return false;
    crypto_mac16(want, cookie, COOKIE, packet, at + MESH__MAC);
    return secret_equal(want, packet + at + MESH__MAC, sizeof want);
}

/* ---- COOKIE ---------------------------------------------------------------------------------- */

static void cookie_key(uint8_t key[static CRYPTO_HASH], const uint8_t pub[static 32])
{
    crypto_h(key, "cyx cookie", &BYTES(pub, 32), 1);
}

void mesh_cookie_build(uint8_t out[static MESH_COOKIE_LEN], const uint8_t *packet, size_t len,
                       const uint8_t self_pub[static 32], const uint8_t nonce[static 24],
                       const uint8_t cookie[static 16])
{
    uint8_t key[CRYPTO_HASH], mac1[MESH__MAC], sealed[COOKIE_SEALED];
    cookie_key(key, self_pub);
    mesh_hs_mac1_of(packet, len, mac1);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, cookie, COOKIE, mac1, sizeof mac1,
                                               NULL, nonce, key);
    struct reader r = reader_on(packet, len);
    reader_skip(&r, 4);
    uint32_t sender_index = reader_u32(&r);
    struct writer w = writer_on(out, MESH_COOKIE_LEN);
    writer_u8(&w, MESH_COOKIE);
    writer_u8(&w, MESH_MAJOR);
    writer_zero(&w, 2);
    writer_u32(&w, sender_index);
    writer_copy(&w, nonce, COOKIE_NONCE);
    writer_copy(&w, sealed, sizeof sealed);
}

struct cookie_packet {
    uint8_t type, major;
    uint32_t receiver_index;
    uint8_t nonce[COOKIE_NONCE];
    uint8_t sealed[COOKIE_SEALED];
};

static enum drop cookie_read(struct cookie_packet *c, const uint8_t *packet, size_t len)
{
    struct reader r = reader_on(packet, len);
    c->type = reader_u8(&r);
    c->major = reader_u8(&r);
    reader_skip(&r, 2);
    c->receiver_index = reader_u32(&r);
    reader_copy(&r, c->nonce, sizeof c->nonce);
    reader_copy(&r, c->sealed, sizeof c->sealed);
    if (r.bad)
        return DROP_SHORT;
    if (!reader_done(&r))
        return DROP_LONG;
    if (c->type != MESH_COOKIE)
        return DROP_TYPE;
    return c->major == MESH_MAJOR ? DROP_NONE : DROP_VERSION;
}

enum drop mesh_cookie_index(const uint8_t *packet, size_t len, uint32_t *index)
{
    struct cookie_packet c;
    enum drop drop = cookie_read(&c, packet, len);
    if (drop == DROP_NONE)
        *index = c.receiver_index;
    return drop;
}

enum drop mesh_cookie_open(const uint8_t *packet, size_t len, const uint8_t remote_pub[static 32],
                           const uint8_t mac1[static 16], uint8_t cookie[static 16])
{
    struct cookie_packet c;
    enum drop drop = cookie_read(&c, packet, len);
    if (drop != DROP_NONE)
        return drop;
    uint8_t key[CRYPTO_HASH], opened[COOKIE];
    cookie_key(key, remote_pub);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(opened, NULL, NULL, c.sealed, sizeof c.sealed,
                                                   mac1, MESH__MAC, c.nonce, key) != 0)
        return DROP_AUTH;
    memcpy(cookie, opened, sizeof opened);
    return DROP_NONE;
}

/* ---- VERSION --------------------------------------------------------------------------------- */

void mesh_version_build(uint8_t out[static MESH_VERSION_LEN], uint32_t receiver_index)
{
    struct writer w = writer_on(out, MESH_VERSION_LEN);
    writer_u8(&w, MESH_VERSION);
    writer_u8(&w, MESH_MAJOR); /* lowest */
    writer_u8(&w, MESH_MAJOR); /* highest */
    writer_zero(&w, 1);
    writer_u32(&w, receiver_index);
}

enum drop mesh_version_parse(struct mesh_version_hint *out, const uint8_t *packet, size_t len)
{
    struct mesh_version_hint h = { 0 };
    struct reader r = reader_on(packet, len);
    uint8_t type = reader_u8(&r);
    h.lowest = reader_u8(&r);
    h.highest = reader_u8(&r);
    reader_skip(&r, 1);
    h.receiver_index = reader_u32(&r);
    if (r.bad)
        return DROP_SHORT;
    if (!reader_done(&r))
        return DROP_LONG;
    if (type != MESH_VERSION)
        return DROP_TYPE;
    if (h.lowest == 0 || h.lowest > h.highest)
        return DROP_FIELD;
    *out = h;
    return DROP_NONE;
}

#include "mesh/session.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "base/writer.h"
#include "mesh/packet.h"

/* ChaCha20-Poly1305 through libcrypto needs two thirds of libsodium's time for a packet, but a
 * context of about 1 KiB: worth it for a session that carries traffic, not for thousands that are
 * kept alive. */
enum { BUSY_AFTER = 64 };

/* One direction. A libcrypto context holds the expanded key, so it is made for the first packet
 * that needs it, and the plain key goes when it stands. Thousands of sessions, a few minutes each:
 * their keys are wiped, not kept in locked pages (16 KiB each). */
struct half {
    uint8_t key[32];
    EVP_CIPHER_CTX *ctx;
    uint64_t n; /* packets sealed, or opened */
};

struct mesh_session {
    struct half tx, rx;
    uint32_t local_index, remote_index;
    bool is_gcm;
    struct mesh_replay replay;
};

bool mesh_has_gcm(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#else
    return false; /* no hardware AES that we know of: ChaCha20 is faster and constant-time */
#endif
}

struct mesh_session *mesh_session_create(const struct mesh_hs_result *r, uint32_t local_index)
{
    struct mesh_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    memcpy(s->tx.key, r->send_key, sizeof s->tx.key);
    memcpy(s->rx.key, r->recv_key, sizeof s->rx.key);
    s->local_index = local_index;
    s->remote_index = r->remote_index;
    s->is_gcm = (r->features & MESH_FEATURE_GCM) != 0;
    return s;
}

void mesh_session_destroy(struct mesh_session *s)
{
    if (s == NULL)
        return;
    EVP_CIPHER_CTX_free(s->tx.ctx); /* wipes its key */
    EVP_CIPHER_CTX_free(s->rx.ctx);
    sodium_memzero(s, sizeof *s);
    free(s);
}

/* ---- nonces ---------------------------------------------------------------------------------- */

/* AESGCM's: 32 zero bits, then the counter big-endian. ChaChaPoly's: the same, little-endian. */
static void nonce_of(bool is_gcm, uint64_t counter, uint8_t nonce[static 12])
{
    memset(nonce, 0, 4);
    for (unsigned i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(counter >> (is_gcm ? 56 - 8 * i : 8 * i));
}

/* ---- libcrypto ------------------------------------------------------------------------------- */

/* Sets the key once; later calls set only the nonce, which is what makes a packet cheap. */
static bool context_ready(struct half *h, bool is_gcm, int encrypt)
{
    if (h->ctx != NULL)
        return true;
    const EVP_CIPHER *cipher = is_gcm ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL || EVP_CipherInit_ex(ctx, cipher, NULL, h->key, NULL, encrypt) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        return false;
    }
    h->ctx = ctx;
    sodium_memzero(h->key, sizeof h->key);
    return true;
}

static int evp_seal(struct half *h, bool is_gcm, const uint8_t nonce[static 12],
                    uint8_t packet[static MESH_PACKET])
{
    uint8_t *text = packet + MESH_PACKET_HEAD;
    int n;
    if (!context_ready(h, is_gcm, 1) || EVP_EncryptInit_ex(h->ctx, NULL, NULL, NULL, nonce) != 1 ||
        EVP_EncryptUpdate(h->ctx, NULL, &n, packet, MESH_PACKET_HEAD) != 1 ||
        EVP_EncryptUpdate(h->ctx, text, &n, text, MESH_PACKET_ROOM) != 1 ||
        EVP_EncryptFinal_ex(h->ctx, text + n, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(h->ctx, EVP_CTRL_AEAD_GET_TAG, MESH_PACKET_TAG,
                            text + MESH_PACKET_ROOM) != 1)
        return CYX_ENOMEM; /* libcrypto fails here for want of memory only */
    return 0;
}

static enum drop evp_open(struct half *h, bool is_gcm, const uint8_t nonce[static 12],
                          uint8_t packet[static MESH_PACKET])
{
    uint8_t *text = packet + MESH_PACKET_HEAD;
    int n;
    if (!context_ready(h, is_gcm, 0) || EVP_DecryptInit_ex(h->ctx, NULL, NULL, NULL, nonce) != 1 ||
        EVP_CIPHER_CTX_ctrl(h->ctx, EVP_CTRL_AEAD_SET_TAG, MESH_PACKET_TAG,
                            text + MESH_PACKET_ROOM) != 1 ||
        EVP_DecryptUpdate(h->ctx, NULL, &n, packet, MESH_PACKET_HEAD) != 1)
        return DROP_MEMORY;
    /* ChaCha20-Poly1305 checks the tag in the last update already, GCM at the end. */
    if (EVP_DecryptUpdate(h->ctx, text, &n, text, MESH_PACKET_ROOM) != 1)
        return DROP_AUTH;
    return EVP_DecryptFinal_ex(h->ctx, text + n, &n) == 1 ? DROP_NONE : DROP_AUTH;
}

/* ---- libsodium ------------------------------------------------------------------------------- */

static void sodium_seal(const struct half *h, const uint8_t nonce[static 12],
                        uint8_t packet[static MESH_PACKET])
{
    uint8_t *text = packet + MESH_PACKET_HEAD;
    crypto_aead_chacha20poly1305_ietf_encrypt_detached(text, text + MESH_PACKET_ROOM, NULL, text,
                                                       MESH_PACKET_ROOM, packet, MESH_PACKET_HEAD,
                                                       NULL, nonce, h->key);
}

static enum drop sodium_open(const struct half *h, const uint8_t nonce[static 12],
                             uint8_t packet[static MESH_PACKET])
{
    uint8_t *text = packet + MESH_PACKET_HEAD;
    return crypto_aead_chacha20poly1305_ietf_decrypt_detached(text, NULL, text, MESH_PACKET_ROOM,
                                                              text + MESH_PACKET_ROOM, packet,
                                                              MESH_PACKET_HEAD, nonce, h->key) == 0
               ? DROP_NONE
               : DROP_AUTH;
}

static int seal(struct half *h, bool is_gcm, uint64_t counter, uint8_t packet[static MESH_PACKET])
{
    uint8_t nonce[12];
    nonce_of(is_gcm, counter, nonce);
    if (is_gcm || h->n >= BUSY_AFTER)
        return evp_seal(h, is_gcm, nonce, packet);
    sodium_seal(h, nonce, packet);
    return 0;
}

static enum drop unseal(struct half *h, bool is_gcm, uint64_t counter,
                        uint8_t packet[static MESH_PACKET])
{
    uint8_t nonce[12];
    nonce_of(is_gcm, counter, nonce);
    if (is_gcm || h->n >= BUSY_AFTER)
        return evp_open(h, is_gcm, nonce, packet);
    return sodium_open(h, nonce, packet);
}

/* ---- packets --------------------------------------------------------------------------------- */

int mesh_session_seal(struct mesh_session *s, uint8_t packet[static MESH_PACKET])
{
    if (s->tx.n >= MESH_SESSION_PACKETS)
        return CYX_EFULL;
    struct writer w = writer_on(packet, MESH_PACKET_HEAD);
    writer_u8(&w, MESH_FULL);
    writer_zero(&w, 3);
    writer_u32(&w, s->remote_index);
    writer_u64(&w, s->tx.n);
    int code = seal(&s->tx, s->is_gcm, s->tx.n, packet);
    if (code != 0)
        return code;
    s->tx.n++;
    return 0;
}

enum drop mesh_session_open(struct mesh_session *s, uint8_t packet[static MESH_PACKET],
                            bool *newest)
{
    struct reader r = reader_on(packet, MESH_PACKET_HEAD);
    if (reader_u8(&r) != MESH_FULL)
        return DROP_TYPE;
    reader_skip(&r, 7); /* under the tag: the sender can only have meant our index */
    uint64_t counter = reader_u64(&r);
    if (counter >= MESH_SESSION_PACKETS)
        return DROP_LIMIT;
    enum drop drop = unseal(&s->rx, s->is_gcm, counter, packet);
    if (drop != DROP_NONE)
        return drop;
    if (!mesh_replay_fresh(&s->replay, counter))
        return DROP_REPLAY;
    *newest = counter >= s->replay.top;
    mesh_replay_note(&s->replay, counter);
    s->rx.n++;
    return DROP_NONE;
}

uint32_t mesh_session_local_index(const struct mesh_session *s)
{
    return s->local_index;
}

uint32_t mesh_session_remote_index(const struct mesh_session *s)
{
    return s->remote_index;
}

uint64_t mesh_session_sent(const struct mesh_session *s)
{
    return s->tx.n;
}

uint64_t mesh_session_received(const struct mesh_session *s)
{
    return s->rx.n;
}

bool mesh_session_is_gcm(const struct mesh_session *s)
{
    return s->is_gcm;
}

#include "onion/stream_keys.h"

#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/secret.h"
#include "base/writer.h"

enum { KEY = 32, STAMP = 8, TAG = 16, STAMP_ROUND_S = 60 };

static const char name[] = "Noise_NK_25519_ChaChaPoly_SHA256";
static const char label[] = "cyx stream 1";

void onion_stream_secrets_wipe(struct onion_stream_secrets *s)
{
    sodium_memzero(s, sizeof *s);
}

void onion_stream_hs_wipe(struct onion_stream_hs *hs)
{
    sodium_memzero(hs, sizeof *hs);
}

void onion_quic_keys_wipe(struct onion_quic_keys *k)
{
    sodium_memzero(k, sizeof *k);
}

/* HKDF with an empty salt and an ASCII label. */
static void derive(uint8_t *out, size_t n, const uint8_t ikm[static KEY], const char *info)
{
    crypto_hkdf("", 0, ikm, KEY, info, strlen(info), out, n);
}

void onion_stream_initial(const struct onion_stream_id *id, struct onion_secret_pair *out)
{
    static const char info[] = "cyx quic initial";
    uint8_t both[2 * KEY];
    crypto_hkdf(id->dcid, sizeof id->dcid, id->service_key, KEY, info, sizeof info - 1, both,
                sizeof both);
    memcpy(out->client, both, KEY);
    memcpy(out->server, both + KEY, KEY);
    sodium_memzero(both, sizeof both);
}

static void begin(struct noise *s, const struct onion_stream_id *id)
{
    uint8_t prologue[sizeof label - 1 + 2 * KEY + ONION_DCID + 1];
    struct writer w = writer_on(prologue, sizeof prologue);
    writer_copy(&w, label, sizeof label - 1);
    writer_copy(&w, id->net, sizeof id->net);
    writer_copy(&w, id->address, sizeof id->address);
    writer_copy(&w, id->dcid, sizeof id->dcid);
    writer_u8(&w, ONION_STREAM_TYPE);
    noise_init(s, name, prologue, writer_len(&w));
    noise_mix_hash(s, id->service_key, KEY); /* <- s */
}

static void head(struct writer *w, size_t rest)
{
    writer_u8(w, ONION_STREAM_TYPE);
    writer_u16(w, (uint16_t)rest);
}

/* ---- message 1 ------------------------------------------------------------------------------- */

/* es, and the 0-RTT secret from N3's third output. */
static int mix_es(struct noise *s, const uint8_t *secret, const uint8_t *pub, uint8_t *early)
{
    cleanup_key32 struct key32 es = { 0 }, x = { 0 };
    if (crypto_dh(es.b, secret, pub) != 0)
        return CYX_EPROTO;
    noise_mix_key3(s, es.b, x.b);
    derive(early, KEY, x.b, "cyx quic early");
    return 0;
}

int onion_stream_hello(struct onion_stream_hs *hs, const struct onion_stream_id *id,
                       const uint8_t e_secret[static 32], uint64_t stamp, const uint8_t *params,
                       size_t n, uint8_t *out, uint8_t early[static 32])
{
    cleanup_noise struct noise s = { 0 };
    uint8_t e_pub[KEY], plain[STAMP + ONION_PARAMS_MAX];
    if (n > ONION_PARAMS_MAX)
        return CYX_EINVAL;
    begin(&s, id);
    crypto_dh_public(e_pub, e_secret);
    noise_mix_hash(&s, e_pub, KEY); /* e */
    if (mix_es(&s, e_secret, id->service_key, early) != 0)
        return CYX_EPROTO;
    struct writer p = writer_on(plain, sizeof plain);
    writer_u64(&p, stamp - stamp % STAMP_ROUND_S);
    writer_copy(&p, params, n);
    struct writer w = writer_on(out, ONION_MESSAGE1 + n);
    head(&w, KEY + STAMP + n + TAG);
    writer_copy(&w, e_pub, KEY);
    noise_encrypt(&s, plain, STAMP + n, out + writer_len(&w));
    *hs = (struct onion_stream_hs){ .noise = s };
    memcpy(hs->e_secret, e_secret, KEY);
    return 0;
}

size_t onion_stream_message_len(const uint8_t *data, size_t len)
{
    struct reader r = reader_on(data, len);
    uint8_t type = reader_u8(&r);
    if (r.bad)
        return 0;
    if (type != ONION_STREAM_TYPE)
        return SIZE_MAX;
    size_t rest = reader_u16(&r);
    if (r.bad)
        return 0;
    size_t whole = ONION_MESSAGE_HEAD + rest;
    return whole >= ONION_MESSAGE2 && whole <= ONION_MESSAGE_MAX ? whole : SIZE_MAX;
}

const uint8_t *onion_stream_hello_e(const uint8_t *msg, size_t len)
{
    struct reader r = reader_on(msg, len);
    reader_skip(&r, ONION_MESSAGE_HEAD);
    return reader_bytes(&r, KEY);
}

/* Head and e of a message of at least `least` bytes; the rest is sealed. */
static enum drop open_head(struct reader *r, size_t len, size_t least, uint8_t *e)
{
    uint8_t type = reader_u8(r);
    size_t rest = reader_u16(r);
    reader_copy(r, e, KEY);
    if (r->bad || len < least)
        return DROP_SHORT;
    if (type != ONION_STREAM_TYPE)
        return DROP_TYPE;
    if (len > least + ONION_PARAMS_MAX)
        return DROP_LONG;
    return rest == len - ONION_MESSAGE_HEAD ? DROP_NONE : DROP_FIELD;
}

enum drop onion_stream_hello_read(struct onion_stream_hs *hs, const struct onion_stream_id *id,
                                  const uint8_t service_secret[static 32], const uint8_t *msg,
                                  size_t len, struct onion_hello *out, uint8_t early[static 32])
{
    cleanup_noise struct noise s = { 0 };
    cleanup_key32 struct key32 early_secret = { 0 };
    uint8_t e[KEY], plain[STAMP + ONION_PARAMS_MAX];
    struct reader r = reader_on(msg, len);
    enum drop drop = open_head(&r, len, ONION_MESSAGE1, e);
    if (drop != DROP_NONE)
        return drop;
    size_t n = reader_left(&r);
    begin(&s, id);
    noise_mix_hash(&s, e, KEY); /* e */
    if (mix_es(&s, service_secret, e, early_secret.b) != 0)
        return DROP_KEY;
    if (noise_decrypt(&s, reader_bytes(&r, n), n, plain) != DROP_NONE)
        return DROP_AUTH;
    struct reader p = reader_on(plain, n - TAG);
    out->stamp = reader_u64(&p);
    out->n_params = reader_left(&p);
    reader_copy(&p, out->params, out->n_params);
    *hs = (struct onion_stream_hs){ .noise = s };
    memcpy(hs->remote_e, e, KEY);
    memcpy(early, early_secret.b, KEY);
    return DROP_NONE;
}

/* ---- message 2 ------------------------------------------------------------------------------- */

static void split(const struct noise *s, struct onion_stream_secrets *out)
{
    cleanup_key32 struct key32 s1 = { 0 }, s2 = { 0 };
    noise_split(s, s1.b, s2.b, out->resume);
    derive(out->handshake.client, KEY, s1.b, "cyx quic hs");
    derive(out->handshake.server, KEY, s2.b, "cyx quic hs");
    derive(out->app.client, KEY, s1.b, "cyx quic app");
    derive(out->app.server, KEY, s2.b, "cyx quic app");
}

static int mix_ee(struct noise *s, const uint8_t *secret, const uint8_t *pub)
{
    cleanup_key32 struct key32 ee = { 0 };
    if (crypto_dh(ee.b, secret, pub) != 0)
        return CYX_EPROTO;
    noise_mix_key(s, ee.b);
    return 0;
}

int onion_stream_reply(struct onion_stream_hs *hs, const uint8_t e_secret[static 32],
                       const uint8_t *params, size_t n, uint8_t *out,
                       struct onion_stream_secrets *secrets)
{
    cleanup_noise struct noise s = hs->noise;
    uint8_t e_pub[KEY];
    if (n > ONION_PARAMS_MAX)
        return CYX_EINVAL;
    crypto_dh_public(e_pub, e_secret);
    noise_mix_hash(&s, e_pub, KEY); /* e */
    if (mix_ee(&s, e_secret, hs->remote_e) != 0)
        return CYX_EPROTO;
    struct writer w = writer_on(out, ONION_MESSAGE2 + n);
    head(&w, KEY + n + TAG);
    writer_copy(&w, e_pub, KEY);
    noise_encrypt(&s, params, n, out + writer_len(&w));
    split(&s, secrets);
    return 0;
}

enum drop onion_stream_reply_read(struct onion_stream_hs *hs, const uint8_t *msg, size_t len,
                                  uint8_t *params, size_t *n, struct onion_stream_secrets *secrets)
{
    cleanup_noise struct noise s = hs->noise;
    uint8_t e[KEY];
    struct reader r = reader_on(msg, len);
    enum drop drop = open_head(&r, len, ONION_MESSAGE2, e);
    if (drop != DROP_NONE)
        return drop;
    noise_mix_hash(&s, e, KEY); /* e */
    if (mix_ee(&s, hs->e_secret, e) != 0)
        return DROP_KEY;
    size_t sealed = reader_left(&r);
    if (noise_decrypt(&s, reader_bytes(&r, sealed), sealed, params) != DROP_NONE)
        return DROP_AUTH;
    *n = sealed - TAG;
    split(&s, secrets);
    return DROP_NONE;
}

/* ---- what comes out of the secrets ----------------------------------------------------------- */

void onion_stream_locator(const uint8_t resume[static 32], uint32_t j,
                          uint8_t out[static ONION_LOCATOR])
{
    static const char attach[] = "cyx attach";
    uint8_t info[sizeof attach - 1 + 4];
    struct writer w = writer_on(info, sizeof info);
    writer_copy(&w, attach, sizeof attach - 1);
    writer_u32(&w, j);
    crypto_hkdf("", 0, resume, KEY, info, sizeof info, out, ONION_LOCATOR);
}

/* TLS 1.3's HKDF-Expand-Label with an empty context, at most one block (RFC 8446, 7.1). */
static void expand_label(uint8_t *out, size_t n, const uint8_t *secret, const char *quic_label)
{
    uint8_t info[64];
    cleanup_key32 struct key32 block = { 0 };
    size_t label_len = strlen(quic_label);
    struct writer w = writer_on(info, sizeof info);
    writer_u16(&w, (uint16_t)n);
    writer_u8(&w, (uint8_t)(6 + label_len));
    writer_copy(&w, "tls13 ", 6);
    writer_copy(&w, quic_label, label_len);
    writer_u8(&w, 0); /* context */
    writer_u8(&w, 1); /* HKDF's block number */
    crypto_hmac(block.b, secret, KEY, info, writer_len(&w));
    memcpy(out, block.b, n);
}

void onion_quic_keys_derive(struct onion_quic_keys *out, const uint8_t secret[static 32])
{
    expand_label(out->key, sizeof out->key, secret, "quic key");
    expand_label(out->iv, sizeof out->iv, secret, "quic iv");
    expand_label(out->hp, sizeof out->hp, secret, "quic hp");
}

void onion_quic_secret_next(uint8_t out[static 32], const uint8_t secret[static 32])
{
    expand_label(out, KEY, secret, "quic ku");
}

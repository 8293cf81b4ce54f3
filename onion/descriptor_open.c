/* onion/descriptor_open.c - the client's side of a descriptor. Spec: protocol.md, section 12, "The
 * client checks". */
#include <sodium.h>
#include <string.h>

#include "base/secret.h"
#include "onion/descriptor_internal.h"

void onion_descriptor_wipe(struct onion_descriptor *d)
{
    sodium_memzero(d, sizeof *d);
}

/* Is it what the address says, and not older than what we know? No signature is looked at yet, so
 * nothing is concluded from it either. */
static enum drop identity_check(const struct dht_value *v, const struct dht_descriptor *d,
                                const struct onion_reading *how, const struct mesh_network *net)
{
    uint8_t blinded[32];
    if (onion_blind_public(blinded, how->address, net, d->period) != 0 ||
        memcmp(blinded, d->blinded, sizeof blinded) != 0)
        return DROP_KEY;
    if (!how->has_last || memcmp(how->last_blinded, blinded, sizeof blinded) != 0)
        return DROP_NONE;
    const struct dht_value last = { .serial = how->last_serial,
                                    .head = { .sequence = how->last_sequence } };
    return dht_value_compare(v, &last) < 0 ? DROP_STALE : DROP_NONE;
}

static enum drop decrypt(struct desc__plain *plain, size_t *len, const struct dht_descriptor *d,
                         const struct dht_value *v, const uint8_t address[static 32],
                         const struct desc__context *c)
{
    cleanup_key32 struct key32 key = { 0 };
    struct reader r = reader_on(v->data, v->len);
    const uint8_t *ad = reader_bytes(&r, DESC__AD);
    if (ad == NULL || d->inner_len < DESC__AEAD_TAG ||
        d->inner_len - DESC__AEAD_TAG > sizeof plain->b)
        return DROP_SHORT;
    desc__inner_key(key.b, d->nonce, address, c);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain->b, NULL, NULL, d->inner, d->inner_len, ad,
                                                   DESC__AD, d->nonce, key.b) != 0)
        return DROP_AUTH;
    *len = d->inner_len - DESC__AEAD_TAG;
    return DROP_NONE;
}

/* Nothing may hide behind the map. */
static bool rest_is_zero(struct reader *r)
{
    size_t n = reader_left(r);
    const uint8_t *rest = reader_bytes(r, n);
    return rest != NULL && sodium_is_zero(rest, n) == 1;
}

static enum drop inner_read(struct onion_descriptor *out, const struct desc__plain *plain,
                            size_t len, const uint8_t *client_secret, const struct desc__context *c)
{
    cleanup_plain struct desc__plain sealed_map = { 0 };
    struct reader r = reader_on(plain->b, len);
    uint8_t format = reader_u8(&r), auth = reader_u8(&r);
    size_t map_len = reader_u16(&r);
    const uint8_t *map = sealed_map.b;
    if (format != DESC__FORMAT)
        return DROP_VERSION;
    if (auth != DESC__OPEN && auth != DESC__FOR_CLIENTS)
        return DROP_FIELD;
    enum drop drop = DROP_NONE;
    if (auth == DESC__FOR_CLIENTS)
        drop = desc__clients_read(&sealed_map, &r, map_len, client_secret, c);
    else
        map = reader_bytes(&r, map_len);
    if (drop != DROP_NONE || map == NULL)
        return map == NULL ? DROP_SHORT : drop;
    if (!rest_is_zero(&r))
        return DROP_FIELD;
    out->is_for_clients = auth == DESC__FOR_CLIENTS;
    return desc__map_read(&out->inner, map, map_len);
}

static enum drop inner_open(struct onion_descriptor *out, const struct dht_descriptor *d,
                            const struct dht_value *v, const struct onion_reading *how)
{
    cleanup_plain struct desc__plain plain = { 0 };
    const struct desc__context c = { d->blinded, d->period };
    size_t len = 0;
    enum drop drop = decrypt(&plain, &len, d, v, how->address, &c);
    if (drop != DROP_NONE)
        return drop;
    return inner_read(out, &plain, len, how->client_secret, &c);
}

enum drop onion_descriptor_open(struct onion_descriptor *out, const struct onion_reading *how,
                                const struct mesh_network *net, uint64_t now, const uint8_t *data,
                                size_t len)
{
    cleanup_descriptor struct onion_descriptor got = { 0 };
    struct dht_value v;
    struct dht_descriptor d;
    enum drop drop = dht_value_parse(&v, net, now, data, len);
    if (drop != DROP_NONE)
        return drop;
    if (!dht_descriptor_read(&d, &v))
        return DROP_TYPE;
    drop = identity_check(&v, &d, how, net);
    if (drop == DROP_NONE)
        drop = dht_value_verify(&v, net, now);
    if (drop == DROP_NONE)
        drop = inner_open(&got, &d, &v, how);
    if (drop != DROP_NONE)
        return drop;
    memcpy(got.blinded, d.blinded, sizeof got.blinded);
    got.period = d.period;
    got.serial = d.serial;
    got.sequence = d.sequence;
    got.expiry = v.head.expiry;
    *out = got;
    return DROP_NONE;
}

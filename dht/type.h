/* dht/type.h - record types: what each looks like, where it is stored, what proves it. A new type
 * is one file with one struct dht_type, and a line in type.c. Pure. Spec: protocol.md, section 6.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "dht/id.h"
#include "mesh/network.h"
#include "mesh/record.h"

enum { DHT_PLACES_MAX = 2 };

struct dht_type;

/* A record of a known type, taken apart. */
struct dht_value {
    const struct dht_type *type;
    const uint8_t *data; /* the whole record, borrowed */
    size_t len;
    struct mesh_record head;                /* borrows from `data` as well */
    uint32_t serial;                        /* descriptors: of the delegation; 0 for others */
    uint8_t signer[32];                     /* whose signature the envelope has */
    uint8_t places[DHT_PLACES_MAX][DHT_ID]; /* where it belongs: computed, never believed */
    unsigned n_places;
};

struct dht_type {
    uint8_t number;   /* enum mesh_record_type */
    const char *name; /* for people: "node", "offer" */
    size_t len_max;   /* of the whole record */
    unsigned keep;    /* how many records one place keeps, of as many publishers */
    uint64_t life_s;  /* expiry at most this far ahead; 0: `form` checks it */
    /* Cheap: the body's layout, sizes, times. Fills signer, serial and places. `now`: network time,
     * seconds. No public-key work. */
    enum drop (*form)(struct dht_value *v, const struct mesh_network *net, uint64_t now);
    /* What must hold before the envelope's signature is worth checking: puzzle or proof. NULL:
     * nothing. */
    enum drop (*proof)(const struct dht_value *v, const struct mesh_network *net, uint64_t now);
    /* The type's own check after the signature. NULL: nothing. */
    enum drop (*check)(const struct dht_value *v, const struct mesh_network *net, uint64_t now);
};

/* The type with that number, or NULL; by name for command lines; the i-th of all, NULL behind the
 * last. Type 5 (name) is not among them: version 1 refuses it. */
const struct dht_type *dht_type_get(unsigned number);
const struct dht_type *dht_type_by_name(const char *name);
const struct dht_type *dht_type_at(size_t i);

/* Takes a record apart: known type, size, envelope, expiry in (now, limit], the body's form.
 * Nothing is proven yet. DROP_TYPE, DROP_LONG, DROP_SHORT, DROP_FIELD, DROP_VERSION, DROP_EXPIRED,
 * DROP_LIMIT (MessagePack inside).
 */
enum drop dht_value_parse(struct dht_value *out, const struct mesh_network *net, uint64_t now,
                          const uint8_t *data, size_t len);
/* Proof, then signature, then the type's own check: cheap ones first. DROP_PROOF, DROP_SIGNATURE,
 * DROP_FIELD, DROP_KEY. */
enum drop dht_value_verify(const struct dht_value *v, const struct mesh_network *net, uint64_t now);
/* Above 0: `a` is newer than `b`, by (serial, sequence); below 0: older; 0: neither. */
int dht_value_compare(const struct dht_value *a, const struct dht_value *b);
/* Does the record belong at `place`? */
bool dht_value_belongs(const struct dht_value *v, const uint8_t place[static DHT_ID]);

/* ---- building (each returns the length, or a CYX_E*) -------------------------------------------
 * `sk` is libsodium's 64-byte Ed25519 secret key of the pseudonym. */

struct dht_provider {
    uint8_t content[32];            /* BLAKE2b-256 or SHA-256 of what is held */
    uint64_t size;                  /* bytes */
    uint8_t address[32];            /* the hidden endpoint's address key */
    uint8_t puzzle[MESH_POW_PROOF]; /* the pseudonym's */
    uint64_t sequence, expiry;
};
enum { DHT_PROVIDER_MAX = 256, DHT_OFFER_MAX = 2048, DHT_DESCRIPTOR_MAX = 8192 };

void dht_provider_place(uint8_t place[static DHT_ID], const uint8_t content[static 32]);
CYX_MUST_USE int dht_provider_build(const struct dht_provider *p, const struct mesh_network *net,
                                    const uint8_t sk[static 64],
                                    uint8_t out[static DHT_PROVIDER_MAX]);
/* False when `v` is no provider record. */
bool dht_provider_read(struct dht_provider *out, const struct dht_value *v);

struct dht_offer {
    uint8_t puzzle[MESH_POW_PROOF];
    const uint8_t *map; /* canonical MessagePack map, host/'s own; borrowed */
    size_t map_len;
    uint64_t sequence, expiry;
};
/* One of 256 places, drawn by the publisher's key and puzzle. */
void dht_offer_place(uint8_t place[static DHT_ID], uint8_t first_byte);
CYX_MUST_USE int dht_offer_build(const struct dht_offer *o, const struct mesh_network *net,
                                 const uint8_t sk[static 64], uint8_t out[static DHT_OFFER_MAX]);
bool dht_offer_read(struct dht_offer *out, const struct dht_value *v);

/* The outside of a descriptor, which is all that stores see; onion/ makes the inside. */
struct dht_descriptor {
    uint8_t blinded[32]; /* A_p */
    uint64_t period;
    uint32_t serial;
    uint8_t d[32];          /* the delegated key */
    uint8_t delegation[64]; /* by A_p, over dht_delegation_text */
    uint8_t proof[MESH_POW_PROOF];
    uint8_t nonce[24];
    const uint8_t *inner; /* ciphertext; borrowed */
    size_t inner_len;     /* fills the record to 2048, 4096 or 8192 exactly */
    uint64_t sequence;    /* minutes since the start of period - 1, times 256, plus a count */
};
enum { DHT_DELEGATION_TEXT = 90, DHT_DESCRIPTOR_OUTER = 300 };
/* What A_p signs: "cyx delegate 1", net, period, serial, d. */
void dht_delegation_text(uint8_t out[static DHT_DELEGATION_TEXT], const struct mesh_network *net,
                         uint64_t period, uint32_t serial, const uint8_t d[static 32]);
/* Signed with d's secret key. Expiry follows from the period. CYX_EINVAL: another size. */
CYX_MUST_USE int dht_descriptor_build(const struct dht_descriptor *d,
                                      const struct mesh_network *net, const uint8_t d_sk[static 64],
                                      uint8_t out[static DHT_DESCRIPTOR_MAX]);
bool dht_descriptor_read(struct dht_descriptor *out, const struct dht_value *v);

/* ---- time periods (section 7) ------------------------------------------------------------------
 */

enum { DHT_PERIOD_S = 86400, DHT_PERIOD_OFFSET_S = 43200, DHT_REPLICAS = 2 };

/* Noon to noon UTC. */
static inline uint64_t dht_period(uint64_t now)
{
    return now < DHT_PERIOD_OFFSET_S ? 0 : (now - DHT_PERIOD_OFFSET_S) / DHT_PERIOD_S;
}
/* The shared random value of a period: H("cyx srv 0", net, p) until validators agree on one. */
void dht_srv(uint8_t out[static 32], const struct mesh_network *net, uint64_t period);
void dht_descriptor_place(uint8_t place[static DHT_ID], const struct mesh_network *net,
                          const uint8_t blinded[static 32], uint64_t period, uint8_t replica);

/* onion/descriptor.h - how to reach a hidden endpoint, sealed for those who know its address (and,
 * if it is for some clients only, hold one of their keys). The outside, which is all that stores
 * see, is dht/type.h's. Pure: randomness comes from env, time as an argument. Spec: protocol.md,
 * section 12. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/env.h"
#include "base/err.h"
#include "dht/type.h"
#include "mesh/network.h"
#include "mesh/pow.h"
#include "onion/delegation.h"
#include "onion/limits.h"

enum {
    ONION_TOKEN = 32,
    ONION_PORTS_MAX = 64,
    ONION_CLIENTS_MAX = 64,  /* of one descriptor: entries are filled up to 16, 32, 48 or 64 */
    ONION_CLIENTS_STEP = 16, /* so a client learns how many there are only this coarsely */
    ONION_DESCRIPTOR_EFFORT = 256, /* the least that stores take: 0.4 s of a core a period */
    ONION_DESCRIPTOR_EFFORT_LAB = 1,
};

struct onion_pivot {
    uint8_t id[32]; /* node id; its keys and addresses come from the client's own roster */
    uint8_t token[ONION_TOKEN];
};

enum onion_port_kind { ONION_PORT_STREAM = 1, ONION_PORT_DATAGRAM = 2, ONION_PORT_BOTH = 3 };

struct onion_port {
    uint16_t port; /* 1 to 65535 */
    uint8_t kind;  /* enum onion_port_kind */
};

enum onion_handshake_bits { ONION_HANDSHAKE_X25519 = 1u << 0 }; /* type t is bit t - 1 */

/* What a descriptor tells those who can open it. */
struct onion_inner {
    uint8_t service_key[32];
    struct onion_pivot pivots[ONION_PIVOTS_MAX]; /* no id twice */
    size_t n_pivots;                             /* 1 to ONION_PIVOTS_MAX */
    bool ask_ports;                              /* which ports there are isn't told: ask */
    struct onion_port ports[ONION_PORTS_MAX];    /* ascending */
    size_t n_ports;
    bool has_proof;
    uint8_t seed[16];    /* for splices: section 13, */
    uint32_t effort;     /* ... at most MESH_POW_EFFORT_MAX */
    uint32_t handshakes; /* enum onion_handshake_bits; others' bits are kept; never 0 */
};

/* Whether the port is listed with (at least) this kind, or ports aren't told. */
bool onion_inner_has_port(const struct onion_inner *in, uint16_t port, enum onion_port_kind kind);

/* ---- periods -----------------------------------------------------------------------------------
 */

/* The two periods whose descriptors live now, for services and clients alike: [0] our own, [1] the
 * neighbour that our clock is nearer to. */
void onion_periods(uint64_t now, uint64_t out[static 2]);
/* When that period's descriptors expire, and its service key is to be wiped. */
uint64_t onion_descriptor_expiry(uint64_t period);
/* The next sequence: minutes since the start of period - 1, times 256, but more than `last`, the
 * last one used (0: none; kept on disk). CYX_EAGAIN: the clock went so far back that stores would
 * take it for one from the future: come back later. */
CYX_MUST_USE int onion_descriptor_sequence(uint64_t *out, uint64_t period, uint64_t now,
                                           uint64_t last);

/* ---- sealing (the service) ---------------------------------------------------------------------
 */

/* The subject of the proof of work of a period, and what it must be worth. */
void onion_descriptor_subject(struct mesh_pow_subject *out, const uint8_t blinded[static 32]);
uint32_t onion_descriptor_effort(const struct mesh_network *net);

struct onion_seal {
    const uint8_t *address; /* A, 32 */
    const struct onion_delegation *delegation;
    const uint8_t *proof; /* MESH_POW_PROOF bytes, of this period's blinded key */
    uint64_t sequence;
    const struct onion_inner *inner;
    bool is_for_clients;          /* only holders of these keys can open it; of none: nobody */
    const uint8_t (*clients)[32]; /* X25519 public keys; borrowed */
    size_t n_clients;             /* up to ONION_CLIENTS_MAX */
};
/* Builds the record, in the smallest size class that holds it: 2048; 4096 or 8192 for clients.
 * Returns its length, or a CYX_E* with `err`: CYX_EINVAL (inner out of bounds, too many clients,
 * proof not worth it), CYX_EPROTO (a client's key is a point of small order). Everything is drawn
 * anew each time, in this order: secret of e_d 32, K 32, the map's nonce 24, random entries 56
 * each, the shuffle (those four for clients only), nonce 24. Who removes a client must replace
 * service key, pivots and tokens together: what it knew opens nothing more. */
CYX_MUST_USE int onion_descriptor_seal(const struct onion_seal *s, const struct mesh_network *net,
                                       struct env *env, uint8_t out[static DHT_DESCRIPTOR_MAX],
                                       struct cyx_err *err);

/* ---- opening (the client) ----------------------------------------------------------------------
 */

struct onion_reading {
    const uint8_t *address;       /* A, 32: whom we asked for */
    const uint8_t *client_secret; /* X25519, 32; NULL: we have no key for it */
    /* The newest one that we verified for this blinded key, if any. */
    bool has_last;
    uint8_t last_blinded[32]; /* of another period's key: it says nothing */
    uint32_t last_serial;
    uint64_t last_sequence;
};

/* A descriptor that holds. Its tokens are secrets: wipe. */
struct onion_descriptor {
    uint8_t blinded[32];
    uint64_t period, sequence, expiry;
    uint32_t serial;
    bool is_for_clients;
    struct onion_inner inner;
};
void onion_descriptor_wipe(struct onion_descriptor *d);
#define cleanup_descriptor __attribute__((cleanup(onion_descriptor_wipe)))

/* All that a client checks before use, cheap things first: size class, period, expiry, that the
 * sequence isn't from the future; A_p computed from the address; not older than the last; proof,
 * signature, delegation; opening; every bound inside. `now`: network time. *out is written on
 * DROP_NONE only. Besides what dht_value_parse and dht_value_verify say: DROP_TYPE (no descriptor),
 * DROP_KEY (of another address; e_d of small order), DROP_STALE (older than the last), DROP_AUTH
 * (doesn't open), DROP_UNKNOWN (it is for clients, and we have no key or not one of theirs),
 * DROP_VERSION (unknown format), DROP_FIELD, DROP_LIMIT, DROP_SHORT (the inside). */
enum drop onion_descriptor_open(struct onion_descriptor *out, const struct onion_reading *how,
                                const struct mesh_network *net, uint64_t now, const uint8_t *data,
                                size_t len);

/* onion/relays.h - the relays that paths may be built of: those of the roster that carry paths,
 * with what path choice asks of them. Brought up to date from the roster; records are decoded once
 * each. Pure but for the callback that hands out records. Spec: protocol.md, sections 2, 6
 * ("Roster") and 11 ("Guards", "Small and young networks"). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "dht/roster.h"
#include "mesh/record.h"

struct onion_relays;

enum {
    ONION_WEIGHT_CAP = 4,      /* times the median: capacity is a claim */
    ONION_RELAYS_FRESH_S = 60, /* ages pass without the roster changing */
};

/* What tells one operator's machines apart, as far as anything does. */
struct onion_kin {
    bool has_family;
    uint8_t n_nets;
    uint8_t family[16];
    uint64_t nets[MESH_ADDRS_MAX]; /* /16 (IPv4) or /32 (IPv6) of each address, no two the same */
};

struct onion_candidate {
    uint8_t id[DHT_ID];
    uint64_t sequence; /* of the record this was taken from */
    uint64_t weight;   /* its capacity, capped; never 0 */
    uint32_t capacity; /* kB/s, as claimed */
    bool may_path;     /* known for long enough to be drawn for paths, */
    bool may_guard;    /* ... as a guard. One that was chosen before stays, whatever its age */
    struct onion_kin kin;
};

/* Decodes the node record held of `id`; false: there is none. See dht_sync_record. */
typedef bool (*onion_node_fn)(void *arg, const uint8_t id[static DHT_ID], struct mesh_node *out);

/* `self` (may be NULL for a node without an id) is never a candidate. is_lab lifts families and
 * prefixes here, ages in the roster. `roster` and `arg` are borrowed for life. NULL: no memory. */
struct onion_relays *onion_relays_create(const struct dht_roster *roster, const uint8_t *self,
                                         bool is_lab, onion_node_fn node, void *arg);
void onion_relays_destroy(struct onion_relays *r); /* NULL is fine */

/* Before each use: brings it up to date with the roster at network time `now`; cheap when nothing
 * changed. CYX_ENOMEM: as it was. */
CYX_MUST_USE int onion_relays_refresh(struct onion_relays *r, uint64_t now);

size_t onion_relays_len(const struct onion_relays *r);
/* In order of ids; borrowed until the next refresh. */
const struct onion_candidate *onion_relays_at(const struct onion_relays *r, size_t i);
const struct onion_candidate *onion_relays_find(const struct onion_relays *r,
                                                const uint8_t id[static DHT_ID]);
bool onion_relays_is_lab(const struct onion_relays *r);
bool onion_relays_is_self(const struct onion_relays *r, const uint8_t id[static DHT_ID]);
/* The record of any node, relay or not. */
bool onion_relays_node(const struct onion_relays *r, const uint8_t id[static DHT_ID],
                       struct mesh_node *out);

void onion_kin_of(struct onion_kin *out, const struct mesh_node *n);
/* Of one family, or with addresses in one /16 or /32. */
bool onion_kin_is_near(const struct onion_kin *a, const struct onion_kin *b);

/* Draws one by weight among those that `fits` says may be taken; NULL: none may. `fits` must
 * answer the same each time. */
typedef bool (*onion_fits_fn)(const void *arg, const struct onion_candidate *relay);
const struct onion_candidate *onion_relays_draw(const struct onion_relays *r, struct env *env,
                                                onion_fits_fn fits, const void *arg);

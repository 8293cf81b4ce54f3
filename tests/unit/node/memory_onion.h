/* An onion in memory: services and visitors of one environment, behind the table that front doors
 * use. Everything happens from the loop, as with the real one; streams have windows. */
#pragma once
#include "node/door_ops.h"

struct memory_onion;

extern const struct door_ops memory_ops;

enum { MEMORY_PLACES = 16 };

struct onion {
    struct env *env;
    size_t window; /* bytes one end may send ahead; 0: 64 KiB */
    struct list services, streams, flows, whys;
    struct { /* addresses that fail to be reached */
        uint8_t address[32];
        enum onion_fail why;
    } places[MEMORY_PLACES];
    size_t n_places;
    bool never_answers;       /* dials stay without any event */
    struct onion_target last; /* of the last dial or flow */
    unsigned n_dials, n_flows, n_resets, n_keys;
    uint8_t key_address[32], key_secret[32]; /* of the last client_key_set */
    size_t most_waiting;                     /* the most bytes that ever lay between two ends */
};

void memory_start(struct onion *o, struct env *env);
/* Frees what is left; nobody may use a stream afterwards. */
void memory_stop(struct onion *o);
void memory_fail(struct onion *o, const uint8_t address[static 32], enum onion_fail why);
/* Every stream is lost, at both ends. */
void memory_lose_all(struct onion *o, enum onion_fail why);
/* A service gets to its next state, up to ready, and says so. */
void memory_advance(struct onion *o);
size_t memory_services(const struct onion *o);
size_t memory_streams(const struct onion *o);
/* The real address of a seed. */
void memory_address(uint8_t out[static 32], const uint8_t seed[static 32]);

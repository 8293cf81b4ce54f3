/* onion/fetch.h - descriptors of others: looked up through paths, checked, remembered until they
 * expire. Spec: protocol.md, section 12, "The client checks". */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "onion/ask.h"
#include "onion/descriptor.h"

struct onion_fetch;
struct onion_fetching;

enum {
    ONION_FETCH_KEPT = 4096, /* descriptors remembered; then the one not used for longest goes */
    ONION_FETCH_KEYS = 4096, /* client keys; more are refused */
};

struct onion_fetch *onion_fetch_create(struct onion_asks *asks, struct mesh *mesh);
void onion_fetch_destroy(struct onion_fetch *f); /* NULL is fine */

/* A secret for an address whose descriptor only some may read: copied into locked memory.
 * CYX_ENOMEM; CYX_EFULL. */
CYX_MUST_USE int onion_fetch_client_key(struct onion_fetch *f, const uint8_t address[static 32],
                                        const uint8_t secret[static 32]);

/* 0 and the descriptor (borrowed for the call); CYX_ENOENT: nobody has one; CYX_EPERM: there is
 * one, but it isn't for us; CYX_ETIMEDOUT, CYX_EAGAIN as in onion/ask.h; CYX_ECORRUPT: what was
 * found doesn't hold. hops: ENDs that answered; ns: what it took (0: it was remembered). */
typedef void (*onion_fetched_fn)(void *arg, int code, const struct onion_descriptor *d,
                                 uint64_t ns);

enum onion_fetch_how { ONION_FETCH_ANY, ONION_FETCH_FRESH };
/* From the loop, never from here. FRESH: not what is remembered, however young, and not the first
 * answer only: that one was of no use.
 * `why` keeps lookups apart. NULL: no memory. */
struct onion_fetching *onion_fetch_start(struct onion_fetch *f, const uint8_t address[static 32],
                                         const struct onion_purpose *why, enum onion_fetch_how how,
                                         onion_fetched_fn done, void *arg);
/* What is remembered of it led nowhere (the service may have begun anew): the next one who asks
 * looks first. It stays what there is, if nothing else is found. */
void onion_fetch_doubt(struct onion_fetch *f, const uint8_t address[static 32]);
void onion_fetch_cancel(struct onion_fetching *g); /* NULL is fine */

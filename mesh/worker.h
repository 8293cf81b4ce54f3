/* mesh/worker.h - several meshes that are one node, one for each worker thread. A peer belongs to
 * one of them, by its link key; what reaches another is handed on. Meshes call nothing of each
 * other: `struct mesh_siblings` carries copies to the other's thread (node/workers.c), where
 * mesh_take_* is called. docs/decisions/0003. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "mesh/identity.h"

struct mesh;
struct mesh_contact;
struct mesh_asker;

/* The worker that has a peer's links: the first 8 bytes of H("cyx worker", link key), modulo n.
 * 0 for n of 0 and 1. */
unsigned mesh_worker_of(const uint8_t link_key[static 32], unsigned n);

/* At what address a peer saw us. */
struct mesh_sighting {
    uint8_t by[8];   /* first bytes of its link key: each peer counts once */
    uint64_t prefix; /* it is in */
    struct env_addr addr;
};

/* What workers ask each other to do: a question to a peer of another worker (mesh_ask), and a
 * peer's request that worker 0 serves for all (mesh_hand_requests); both on their way there and
 * back. Everything is borrowed for the call. */
enum mesh_parcel_kind {
    MESH_PARCEL_ASK,     /* to the peer's worker: ask it */
    MESH_PARCEL_CANCEL,  /* ... its answer is not wanted any more */
    MESH_PARCEL_ANSWER,  /* back to who asked */
    MESH_PARCEL_REQUEST, /* to worker 0: serve it */
    MESH_PARCEL_REPLY,   /* back to the worker that has the peer */
};

struct mesh_parcel {
    enum mesh_parcel_kind kind;
    uint64_t ticket;               /* of who sent ASK or REQUEST; its top byte is that worker */
    unsigned method;               /* ASK */
    uint32_t deadline_ms;          /* ASK */
    int code;                      /* ANSWER: 0, or a CYX_E* and no bytes */
    const struct mesh_contact *to; /* ASK */
    const struct mesh_asker *from; /* REQUEST */
    const uint8_t *data;           /* ASK: items; else the whole message, [method or status, ...] */
    size_t len;
    unsigned n_items; /* ASK */
};

/* Ways to the other workers, called on this mesh's thread. All bytes are borrowed for the call;
 * what finds no room is lost, like a datagram, but for own_record and keys. */
struct mesh_siblings {
    /* To mesh_take_datagram of worker `to`. */
    void (*datagram)(void *arg, unsigned to, const struct env_addr *from, const uint8_t *data,
                     size_t len, bool is_admitted);
    /* To mesh_take_record of worker `to`. */
    void (*record)(void *arg, unsigned to, const uint8_t *record, size_t len, uint64_t seen_s);
    /* To mesh_take_contact of worker `to`. */
    void (*contact)(void *arg, unsigned to, const struct mesh_contact *c);
    /* To mesh_take_observed of worker 0. */
    void (*observed)(void *arg, const struct mesh_sighting *s);
    /* To mesh_take_own_record of all others; worker 0 calls it. */
    void (*own_record)(void *arg, const uint8_t *record, size_t len);
    /* To mesh_take_keys of all others; worker 0 calls it. Holds secrets. */
    void (*keys)(void *arg, const struct mesh_identity *identity);
    /* To mesh_take_sequence of all others. */
    void (*sequence)(void *arg, uint64_t next);
    /* To mesh_take_wish of all others. */
    void (*wish)(void *arg);
    /* To mesh_take_parcel of worker `to`. False: no room, which only ASK and REQUEST may hear. */
    bool (*parcel)(void *arg, unsigned to, const struct mesh_parcel *p);
};

/* A datagram of a peer or a session of ours that another worker received. The bytes may be changed
 * in place. `is_admitted`: an INIT that passed cookie and budgets there already. */
void mesh_take_datagram(struct mesh *m, const struct env_addr *from, uint8_t *data, size_t len,
                        bool is_admitted);
/* A node record that another worker learnt: of a peer of ours, or (seen_s > 0: network time when it
 * last answered) any that may be told to others. Checked again. */
void mesh_take_record(struct mesh *m, const uint8_t *record, size_t len, uint64_t seen_s);
/* A node that may be dialled, heard of in a beacon. */
void mesh_take_contact(struct mesh *m, const struct mesh_contact *c);
/* Worker 0: what a peer of another worker saw. */
void mesh_take_observed(struct mesh *m, const struct mesh_sighting *s);
/* Others than worker 0: our own new record, to be told to peers. */
void mesh_take_own_record(struct mesh *m, const uint8_t *record, size_t len);
/* Others than worker 0: keys that were rotated, on disk already. Copied. */
void mesh_take_keys(struct mesh *m, const struct mesh_identity *identity);
/* INIT sequences below this may have been used: a peer with a new key can belong to another worker
 * than before. */
void mesh_take_sequence(struct mesh *m, uint64_t next);
/* Another worker has nobody to ask for peers: ask for it soon. */
void mesh_take_wish(struct mesh *m);

/* Others than worker 0, on their thread: requests of that method go to worker 0's handler from now
 * on. */
void mesh_hand_requests(struct mesh *m, unsigned method);
/* What another worker sent. */
void mesh_take_parcel(struct mesh *m, const struct mesh_parcel *p);

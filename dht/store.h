/* dht/store.h - the records that this node keeps for others: on disk in the store "dht", with an
 * index in memory. Rules and quotas of protocol.md, section 6, "Store rules"; the caller has
 * checked whether the place is ours to keep. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "dht/type.h"

struct dht_store;

struct dht_store_options {
    struct env *env;
    const struct mesh_network *network; /* borrowed */
    uint8_t self[DHT_ID];               /* what is farthest from here gives way first */
    uint8_t secret[32]; /* keys the choice where a place keeps many: no other store's is the same */
    size_t max_bytes;   /* 0: DHT_STORE_BYTES */
};

/* Opens the store and reads it at network time `now`: what expired or is no record is deleted. NULL
 * with `err`: CYX_E* of env_kv_open, CYX_ENOMEM. */
struct dht_store *dht_store_open(const struct dht_store_options *o, uint64_t now,
                                 struct cyx_err *err);
/* Closes; verdicts that are not given yet are DHT_BUSY. NULL is fine. */
void dht_store_close(struct dht_store *s);

enum dht_verdict {
    DHT_TAKEN,     /* new or newer, on disk now */
    DHT_REFRESHED, /* held already, to the byte */
    DHT_STALE,     /* a newer one, or another of the same age, is held */
    DHT_QUOTA,     /* of the publisher or the source, or full and nothing gives way for it */
    DHT_REFUSED,   /* its proof or signature doesn't hold */
    DHT_BUSY,      /* no memory, or the disk refuses */
};
const char *dht_verdict_name(enum dht_verdict v);

typedef void (*dht_verdict_fn)(void *arg, enum dht_verdict v);

/* Offers a record that dht_value_parse took apart, for `place` (one of its places). `source`: who
 * sent it (a prefix; in a lab a link). Cheap rules first, proof and signature last; `done` is
 * called now or, when it goes to the disk, from the loop. `reason` (may be NULL) gets why it was
 * refused. */
void dht_store_offer(struct dht_store *s, const struct dht_value *v,
                     const uint8_t place[static DHT_ID], uint64_t source, uint64_t now,
                     dht_verdict_fn done, void *arg, enum drop *reason);

/* One that is held. */
struct dht_held {
    uint8_t place[DHT_ID];
    uint8_t type;
    uint8_t publisher[32];
    uint32_t serial;
    uint64_t sequence, expiry;
    uint16_t len;
    uint64_t refreshed_ns; /* monotonic: when somebody last stored it here */
};

/* Reads what is held at `place`: at most the type's `keep` records, as bytes borrowed for the call;
 * `fn` returns false to stop. Returns how many it was called with. */
size_t dht_store_read(struct dht_store *s, const uint8_t place[static DHT_ID], unsigned type,
                      uint64_t now, bool (*fn)(void *arg, const uint8_t *record, size_t len),
                      void *arg);
/* Reads one record; length, or 0: gone. */
size_t dht_store_get(struct dht_store *s, const struct dht_held *h,
                     uint8_t out[static MESH_RECORD_MAX]);
/* Goes on through all that is held, from where the last call stopped, at most `most` of them: those
 * expired by `now` are deleted, `fn` (may be NULL) sees the others. */
void dht_store_sweep(struct dht_store *s, uint64_t now, size_t most,
                     void (*fn)(void *arg, const struct dht_held *h), void *arg);
/* All of them; `fn` returns false to stop and must not change the store. */
void dht_store_each(struct dht_store *s, bool (*fn)(void *arg, const struct dht_held *h),
                    void *arg);
/* Somebody (we ourselves, for one) brought it up to date everywhere: no need to for another hour.
 */
void dht_store_refreshed(struct dht_store *s, const struct dht_held *h);

struct dht_store_stats {
    size_t records, bytes, max_bytes, sources, publishers;
    size_t of_type[8];
    uint64_t verdicts[DHT_BUSY + 1];
    uint64_t evicted, expired, bad_entries; /* bad: found at open */
};
void dht_store_get_stats(const struct dht_store *s, struct dht_store_stats *out);

/* dht/store_internal.h - the index of the records that are held, for store*.c. */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "dht/store.h"

enum {
    STORE__SLOT_KEY = DHT_ID + 1, /* place, type */
    STORE__KEY = STORE__SLOT_KEY + 32,
    STORE__VALUE_HEAD = 8, /* the source, before the record */
    STORE__ENTRIES_MAX = 1 << 20,
};

/* What a publisher or a source has here. */
struct store__account {
    uint8_t key[32]; /* publisher; a source's number in the first 8 bytes */
    size_t bytes, n;
    struct list entries; /* of sources: their entries */
};

/* All records of one type at one place. */
struct store__slot {
    uint8_t key[STORE__SLOT_KEY];
    struct list entries;
    unsigned n;
};

struct store__entry {
    struct list of_slot, of_source, of_all;
    struct store__slot *slot;
    struct store__account *source, *publisher;
    uint64_t rank;   /* where a slot keeps many: the smallest stay */
    uint64_t digest; /* of the bytes: told apart without reading the disk */
    uint64_t refreshed_ns;
    uint64_t sequence, expiry;
    uint32_t serial;
    uint16_t len;
    struct store__write *write; /* on its way to the disk; NULL: there */
};

/* A record on its way to the disk, and the keys that leave it in the same commit. If that fails,
 * what it replaced and who gave way are still there, and are taken up again. */
struct store__write {
    struct list node;
    struct dht_store *store; /* NULL: closed meanwhile */
    struct list waiters; /* struct store__waiter: who offered it, then those who offered it too */
    uint8_t key[STORE__KEY];
    size_t n_victims;
    uint8_t victims[][STORE__KEY];
};

struct dht_store {
    struct dht_store_options o;
    struct env_kv *kv;
    struct map *slots, *sources, *publishers;
    struct list all; /* entries, in the order of the sweep */
    struct list writes;
    size_t n_records, bytes;
    uint64_t now; /* network time of the last offer */
    struct dht_store_stats n;
};

/* store_index.c */
void store__slot_key(uint8_t out[static STORE__SLOT_KEY], const uint8_t place[static DHT_ID],
                     unsigned type);
void store__entry_key(const struct store__entry *e, uint8_t out[static STORE__KEY]);
struct store__slot *store__slot_find(const struct dht_store *s, const uint8_t place[static DHT_ID],
                                     unsigned type);
struct store__entry *store__entry_find(const struct store__slot *slot,
                                       const uint8_t publisher[static 32]);
uint64_t store__rank(const struct dht_store *s, const uint8_t publisher[static 32]);
uint64_t store__digest(const uint8_t *record, size_t len);
uint64_t store__source_of(const struct store__entry *e);
/* Adds it; NULL: no memory. */
struct store__entry *store__index_add(struct dht_store *s, const struct dht_value *v,
                                      const uint8_t place[static DHT_ID], uint64_t source);
void store__index_remove(struct dht_store *s, struct store__entry *e);
void store__index_drop(struct dht_store *s); /* everything */

/* store_room.c: who gives way, by the rules; nothing is changed yet. False: nothing may give way
 * for it. */
enum { STORE__VICTIMS = 64 };
struct store__victims {
    struct store__entry *at[STORE__VICTIMS];
    size_t n;
};
bool store__room_plan(struct dht_store *s, const struct dht_value *v,
                      const uint8_t place[static DHT_ID], uint64_t source,
                      const struct store__entry *held, struct store__victims *out);

/* store_disk.c */
int store__load(struct dht_store *s, uint64_t now, struct cyx_err *err);
/* Writes the record and deletes the victims in one commit; `done` later. False: no memory. */
bool store__write(struct dht_store *s, struct store__entry *e, const struct dht_value *v,
                  const struct store__victims *victims, dht_verdict_fn done, void *arg);
/* The same record came again before it was on disk: `done` hears when it is. False: no memory. */
bool store__write_join(struct store__write *w, dht_verdict_fn done, void *arg);
/* Deletes it on disk, in a batch that store__deletes_end commits; *b is NULL at first. */
void store__delete(struct dht_store *s, struct env_kv_batch **b, const struct store__entry *e);
void store__deletes_end(struct dht_store *s, struct env_kv_batch *b);
void store__writes_end(struct dht_store *s);

/* Recomputes every account and bound; false: they don't hold. For tests. */
bool store__check(const struct dht_store *s);

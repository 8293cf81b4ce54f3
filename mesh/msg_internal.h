/* mesh/msg_internal.h - what outbox, inbox and their tests share. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "mesh/greedy.h"
#include "mesh/msg.h"

enum {
    MSG_BITMAP = 16,
    MSG_FRAGMENTS_MAX = 128, /* RESEND's bitmap */
    MSG_KEY = 5,             /* kind and id */
    MSG_HAD_MAX = 64,        /* whole messages remembered */
    MSG_HAD_MS = 250         /* ... at least this long */
};

#define MSG_MS(ms) ((uint64_t)(ms)*1000000u)

static inline void msg__key(uint8_t key[static MSG_KEY], uint8_t kind, uint32_t id)
{
    key[0] = kind;
    for (unsigned i = 0; i < 4; i++)
        key[1 + i] = (uint8_t)(id >> (24 - 8 * i));
}

/* Bitmaps in RESEND's order: bit i is in byte i / 8, most significant first. */
static inline bool msg__bit(const uint8_t map[static MSG_BITMAP], unsigned i)
{
    return (map[i / 8] >> (7 - i % 8) & 1) != 0;
}

static inline void msg__set_bit(uint8_t map[static MSG_BITMAP], unsigned i)
{
    map[i / 8] = (uint8_t)(map[i / 8] | 0x80u >> i % 8);
}

static inline void msg__clear_bit(uint8_t map[static MSG_BITMAP], unsigned i)
{
    map[i / 8] = (uint8_t)(map[i / 8] & ~(0x80u >> i % 8));
}

static inline bool msg__none(const uint8_t map[static MSG_BITMAP])
{
    for (unsigned i = 0; i < MSG_BITMAP; i++)
        if (map[i] != 0)
            return false;
    return true;
}

/* One prefix's messages in the pool; exists while there are any. */
struct inbox_prefix {
    struct greedy_item greedy; /* weight: bytes */
    uint64_t prefix;
    struct list msgs; /* in_msg.of_prefix, oldest first */
};

struct mesh_inbox_pool {
    struct map *by_prefix;
    struct greedy greedy;
    size_t bytes, max_bytes;
    uint64_t next_age;
};

struct in_part {
    struct in_part *next;
    uint16_t len;
    uint8_t index;
    uint8_t data[];
};

/* A message being put together. */
struct in_msg {
    struct list of_inbox;  /* oldest first */
    struct list of_prefix; /* oldest first */
    struct mesh_inbox *inbox;
    struct inbox_prefix *holder;
    struct in_part *parts; /* newest first */
    uint64_t age;          /* order of arrival in the whole pool */
    uint64_t give_up_ns;
    uint64_t resend_ns; /* when the next RESEND is due */
    size_t bytes;       /* this struct and its parts */
    uint32_t id;
    uint8_t kind, count, n_have, n_resend;
    uint8_t have[MSG_BITMAP];
};

/* Pool side: the holder of a prefix, made when needed (NULL: no memory). */
struct inbox_prefix *msg__pool_holder(struct mesh_inbox_pool *p, uint64_t prefix);
/* Puts `m` under `h`, in order of age. */
void msg__pool_attach(struct mesh_inbox_pool *p, struct inbox_prefix *h, struct in_msg *m);
/* Takes it out; the holder goes with its last message. */
void msg__pool_detach(struct mesh_inbox_pool *p, struct in_msg *m);
/* `m` has grown by `more` bytes. */
void msg__pool_grow(struct mesh_inbox_pool *p, struct in_msg *m, size_t more);
/* The oldest message of the prefix that holds most; NULL when empty. */
struct in_msg *msg__pool_victim(const struct mesh_inbox_pool *p);

/* Recomputes every sum from the messages themselves and compares (THREATS row 9). For tests, and
 * after every step of the fuzzers. */
bool msg__outbox_is_sound(const struct mesh_outbox *o);
bool msg__inbox_is_sound(const struct mesh_inbox *i);
bool msg__pool_is_sound(const struct mesh_inbox_pool *p);

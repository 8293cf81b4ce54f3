/* onion/conns_internal.h - shared by conns*.c. */
#pragma once
#include "base/map.h"
#include "onion/conn_internal.h"
#include "onion/conns.h"

struct conns__held {
    struct conns__held *next;
    size_t len;
    uint8_t bytes[];
};

struct conns__splice {
    struct onion_conns *home;
    uint32_t id;
    struct onion_conn *conn; /* NULL: none yet */
    bool is_spent;           /* it had its one handshake */
    struct env_timer timer;  /* while packets wait */
    struct conns__held *held, **held_end;
    size_t n_held;
};

struct conns__member;

struct conns__locator {
    struct conns__member *of;
    uint32_t j;
    bool is_in; /* the map */
    uint8_t key[ONION_LOCATOR];
};

/* A connection's place in its service. */
struct conns__member {
    struct onion_conns *home; /* NULL: destroyed */
    struct onion_conn *conn;
    struct list node;
    const struct onion_service_key *key; /* while message 1 is read */
    uint8_t e[32];
    bool is_entered; /* e is in the cache of flights */
    uint32_t next_j; /* of locators: the first that is still good */
    struct conns__locator locators[ONION_LOCATORS];
};

struct onion_conns {
    struct onion_conns_options o;
    struct map *splices, *locators;
    struct list members;
    size_t n;
    struct onion_conn *repeated; /* found by hello_seen: the connection of a known first flight */
    struct onion_conns_info info;
};

enum { CONNS__SPLICES = 1 << 16 };

/* conns_locator.c */
void conns__locators_add(struct conns__member *m);
void conns__locators_remove(struct conns__member *m);
/* The connection that a locator belongs to, which is used up; NULL: none. */
struct onion_conn *conns__locator_use(struct onion_conns *h, const uint8_t *bytes, size_t len);

/* conns_splice.c */
struct conns__splice *conns__splice_get(struct onion_conns *h, uint32_t id);
void conns__splice_free(struct conns__splice *s); /* out of the map, too */
enum drop conns__hold(struct conns__splice *s, const uint8_t *bytes, size_t len);
/* Gives what waits to the connection it is bound to now. */
void conns__feed_held(struct conns__splice *s);
void conns__refuse(struct conns__splice *s, enum onion_close reason); /* and frees it */

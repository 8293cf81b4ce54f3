/* onion/end_internal.h - what the files of an END share: end.c (paths, fragments), end_ask.c (what
 * is asked). */
#pragma once
#include "onion/end.h"
#include "onion/messages.h"
#include "onion/relay_internal.h"

enum end_refusal {
    END_REFUSED_FLIGHT, /* too many under way on the path */
    END_REFUSED_MINUTE, /* ... or in this minute */
    END_REFUSED_ALL,    /* of all paths in this second */
    END_REFUSED_DHT,    /* it has no room */
    END_REFUSALS,
};

struct end_counters {
    uint64_t finds, stores, rosters, bad, refused[END_REFUSALS], answered[MESH_RPC_BAD + 1];
    uint64_t fragments_dropped[DROP_COUNT_], answers_again, answers_lost;
};

struct onion_end {
    struct onion_relay *relay;
    struct dht *dht; /* NULL: nothing to ask */
    struct mesh_inbox_pool *pool;
    struct onion_share *finds, *stores; /* of all paths, fair by link */
    size_t n_asks;
    struct list paths;
    struct end_counters n;
};

/* A client's path that ends here. */
struct end_path {
    struct onion_tail tail;
    struct onion_end *end;
    struct list of_end;
    uint64_t link;      /* what its share is counted under */
    uint64_t minute_ns; /* when the minute began in which these came */
    unsigned asks, stores;
    struct onion_messages messages; /* made when first used */
    struct env_timer timer;
    struct list under_way; /* struct end_ask */
    unsigned n_under_way;
};

/* end.c */
/* Sends [status, items...] as the response with that id. */
void end__answer(struct end_path *p, uint32_t id, enum mesh_rpc_status status,
                 const struct mesh_items *items);

/* end_ask.c */
/* A whole request. */
void end__request(struct end_path *p, uint32_t id, const uint8_t *data, size_t len);
/* The path is gone: takes back what can be. */
void end__asks_end(struct end_path *p);
bool end__is_under_way(const struct end_path *p, uint32_t id);

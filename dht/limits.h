/* dht/limits.h - every bound and time constant of the DHT, in one place, each with its reason.
 * Shown in metrics, hit on purpose by tests. Spec: protocol.md, sections 6 and 16. */
#pragma once

enum {
    /* routing table */
    DHT_K = 16, /* contacts of a bucket, stores of a record (Maymounkov, Mazieres 2002) */
    DHT_BUCKETS = 256,
    DHT_PREFIX_BUCKET = 2, /* contacts of a bucket from one /24 or /48: Sybils need addresses */
    DHT_REPLACEMENTS = 8,  /* waiting for a place in a bucket */
    DHT_STALE_MS = 900000, /* a contact not heard of for this long may be pinged out of its place */
    DHT_FAILURES_MAX = 2,  /* unanswered requests in a row that cost a contact its place */
    DHT_DARK_MS = 5000, /* nothing heard from anybody for so long: it is our uplink that is dead */
    DHT_PROBES = 8,     /* pings before eviction under way at once */
    DHT_REFRESH_S = 3600,   /* a bucket nobody looked into for this long is looked up */
    DHT_NEIGHBOURS_S = 600, /* how often we look up ourselves: the nearest matter most */

    /* lookups */
    DHT_ALPHA = 3,        /* requests in flight on one path */
    DHT_PATHS = 4,        /* disjoint paths (Baumgart, Mies 2007) */
    DHT_PATH_ASKS = 20,   /* then a path ends: endless nearer nodes lead nowhere */
    DHT_PATH_NEAREST = 4, /* a path ends when its nearest so many have answered */
    DHT_ROSTER_ASKS = 8,  /* listed nodes near the place, asked beside the paths */
    DHT_CANDIDATES = 512, /* nodes that one lookup remembers */
    DHT_LOOKUPS = 64,     /* lookups at once; more wait */
    DHT_LOOKUPS_WAITING = 256,
    DHT_ASK_MS = 3000,     /* one request, the handshake before it included */
    DHT_SLOW_MS = 1000,    /* a request older than this keeps nobody waiting: the next is asked */
    DHT_ANSWER_NODES = 16, /* node records in an answer */
    DHT_ANSWER_BYTES = 48 << 10, /* of found records in an answer: both fit one message */

    /* stores */
    DHT_STORE_NEAR = 32, /* a node takes what it is one of so many nearest to */
    DHT_STORE_DONE = 8,  /* stores that make a record stored */
    DHT_STORE_BYTES = 64 << 20,
    DHT_STORE_PUBLISHER = 256 << 10,
    DHT_STORE_SOURCE_SHARE = 16, /* one source: a sixteenth of the store */
    DHT_REPLICATE_S = 3600,      /* a store sends on what nobody refreshed for this long */
    DHT_HANDOVERS = 32,          /* records sent to a new neighbour in one go */
    DHT_SENDS = 32,              /* STOREs of our own upkeep in flight */
    DHT_OWN_RECORDS = 1024,      /* records that this node publishes */
    DHT_CACHE = 256,             /* verified answers remembered */
    DHT_CACHE_S = 600,
};

/* dht/sync_internal.h - what the files of the sync share: sync.c (life, what is heard),
 * sync_round.c (when and whom to ask), sync_ask.c (one peer in one round), sync_serve.c (answers),
 * sync_store.c (records on disk). */
#pragma once
#include "base/drop.h"
#include "base/map.h"
#include "dht/sync.h"

enum {
    SYNC__LISTS = 64,   /* LISTs to a peer in one round: the rest waits for the next */
    SYNC__ASKS = 64,    /* RECORDS requests to a peer in one round */
    SYNC__ASK_IDS = 32, /* ids in each: as many signatures are checked in one turn of the loop */
    SYNC__WANTED = DHT_SYNC_LIST + SYNC__ASK_IDS,
    SYNC__BEGIN = 8, /* bytes of an id that LIST tells */
    SYNC__FAST_MS =
        10000, /* while rounds are nearer than this, links are asked, nobody is dialled */
    SYNC__NEWS_SHARE = 64, /* a round that grew the roster by more than this part of it was news */
    SYNC__NEWS_MAX = 64,   /* ... so many times, then rounds get rarer whatever comes */
    SYNC__SOON_MS = 10,    /* after the first link: others may follow in the same moment */
    SYNC__LOOKS = 64,      /* records of links read in one round */
    SYNC__PICKS = 8,       /* tries to find another random peer */
    SYNC__REFUSED = 1024,  /* records without a place that we don't ask for again in the hour */
    SYNC__REFUSED_S = 3600,
    SYNC__STAMPS = 64, /* peers whose last exchange with us is remembered */
    SYNC__WRITES = 512,
    SYNC__FLUSH_MS = 1000, /* changes of a second go to disk together */
    SYNC__HEAD = 8,        /* in the store before the record: first and last reached */
};

/* A LIST entry we lack. */
struct sync__wanted {
    uint8_t begin[SYNC__BEGIN];
    uint64_t sequence;
};

enum sync__peer_state {
    SYNC__DIALING,
    SYNC__DIGEST,
    SYNC__LIST,
    SYNC__RECORDS,
};

/* A peer that is being asked. */
struct sync__peer {
    struct list node; /* s->peers */
    struct dht_sync *s;
    struct mesh_link *link;
    struct mesh_call *call; /* NULL while dialing */
    enum sync__peer_state state;
    bool is_back;         /* it asked us first: not of a round */
    uint8_t differs[256]; /* 1: this first byte is still to be listed */
    unsigned byte;        /* the next one to look at, or the one being listed */
    unsigned n_looked;    /* first bytes looked at */
    unsigned n_lists, n_asks;
    size_t n_wanted, n_asked;
    struct sync__wanted wanted[SYNC__WANTED];
    struct sync__wanted asked[SYNC__ASK_IDS]; /* by the RECORDS under way; sequence 0: came */
};

struct sync__stamp {
    uint8_t id[DHT_ID];
    uint64_t ns; /* 0: free */
};

struct sync__counters {
    uint64_t rounds, pushes, backs, peers, peers_failed, peers_lying;
    uint64_t digests_in, lists_in, records_in, refused_in, records_out;
    uint64_t taken, renewed, held, full, useless, unasked, too_many, bad_list;
    uint64_t dropped[DROP_COUNT_];
    uint64_t store_errors, store_bad;
};

struct sync__flight;

struct dht_sync {
    struct mesh *mesh;
    struct env *env;
    struct dht_roster *roster;
    bool is_serving, is_running;
    struct mesh_watcher watcher;

    /* rounds */
    struct env_timer timer;
    struct list peers;
    unsigned n_round;       /* peers of the round under way; its start counts as one */
    unsigned n_answered;    /* of this round, that sent their digest */
    size_t n_new, n_before; /* ids this round brought; the roster's size when it began */
    uint64_t next_ns, began_ns, wait_ms, refused_ns;
    unsigned news_left;
    bool has_answer;             /* somebody answered since the start */
    bool is_quiet;               /* a round brought nothing new */
    bool has_change;             /* something that others are told of is new since the last round */
    uint64_t back_ns;            /* when somebody was last asked back */
    struct mesh_link *back_link; /* who is asked back as soon as its record is here; or NULL */
    struct sync__stamp stamps[SYNC__STAMPS]; /* a ring */
    unsigned next_stamp;
    struct map *refused; /* begin and sequence; the value is the map itself */

    /* answers */
    uint8_t digest[DHT_ROSTER_DIGEST];
    uint64_t digest_of, digest_ns; /* the roster's count of changes that it is of */
    bool has_digest;

    /* the store */
    struct env_kv *kv;
    struct map *writes; /* id -> what is to be written, or being written, of it */
    struct list dirty;
    struct sync__flight *flight; /* the commit under way, or NULL */
    struct env_timer flush;

    struct sync__counters n;
};

static inline uint64_t sync__now(const struct dht_sync *s)
{
    return env_now_ns(s->env);
}

/* sync.c */
/* Takes the record of a link, which was proven when it came. */
void sync__link_heard(struct dht_sync *s, struct mesh_link *l);
/* Our digest now; kept until the roster changes. */
const uint8_t *sync__digest(struct dht_sync *s);
/* A proven record: the code of dht_roster_heard, in the store as well when it is 0. */
int sync__take(struct dht_sync *s, const struct mesh_node *n, const uint8_t *record, size_t len);

/* sync_round.c */
void sync__timer(struct env_timer *t, void *arg);
uint64_t sync__interval_ms(const struct dht_sync *s);
void sync__link_known(struct dht_sync *s, struct mesh_link *l); /* it may be asked now */
void sync__link_up(struct dht_sync *s, struct mesh_link *l);
void sync__link_down(struct dht_sync *s, struct mesh_link *l);
void sync__changed(struct dht_sync *s); /* others are told something new: push it */
void sync__ask_back(struct dht_sync *s, struct mesh_link *l);
void sync__peer_ended(struct dht_sync *s, bool is_back);
void sync__peers_drop(struct dht_sync *s);

/* sync_ask.c */
/* Asks over `l`, at once when it is up. Not told when memory is out. */
void sync__peer_start(struct dht_sync *s, struct mesh_link *l, bool is_back);
void sync__peer_go(struct sync__peer *p); /* its link came up */
void sync__peer_end(struct sync__peer *p);

/* sync_serve.c. False when a method can't be served. */
bool sync__serve_start(struct dht_sync *s);
void sync__serve_stop(struct dht_sync *s);

/* sync_store.c */
CYX_MUST_USE int sync__store_open(struct dht_sync *s, struct cyx_err *err);
void sync__store_close(struct dht_sync *s);
/* Writes the record with what the roster knows of its age. False: no memory. */
bool sync__store_put(struct dht_sync *s, const uint8_t id[static DHT_ID], const uint8_t *record,
                     size_t len);
void sync__store_del(struct dht_sync *s, const uint8_t id[static DHT_ID]);
size_t sync__store_get(struct dht_sync *s, const uint8_t id[static DHT_ID],
                       uint8_t out[static MESH_NODE_RECORD_MAX]);

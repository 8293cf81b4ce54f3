/* tests/sim/scenarios/shelf.h - records that a scenario publishes through nodes of a city, lookups
 * of them through other nodes, and how all that ended. */
#pragma once
#include "base/list.h"
#include "tests/sim/scenarios/city.h"
#include "tests/sim/scenarios/town.h"

/* How lookups ended. */
struct tally {
    uint64_t asked;
    uint64_t found;     /* the newest version there is */
    uint64_t stale;     /* an older one */
    uint64_t missing;   /* asked, and nobody has it */
    uint64_t silent;    /* nobody answered */
    uint64_t unable;    /* no node to ask, or no room for the lookup */
    uint64_t cancelled; /* the asking node left meanwhile: counts for nothing */
    uint64_t answered, messages;
    struct town_samples hops, ms; /* of those that were found */
};
uint64_t tally_failed(const struct tally *t);
uint64_t tally_ended(const struct tally *t); /* found or failed */
void tally_fini(struct tally *t);
/* Figures under `key`: count, percent found, hops, messages, latency, and each kind of failure that
 * happened. `label` is for people. */
void tally_report(struct sim_run *r, struct tally *t, const char *key, const char *label);
/* Count, percent found, requests and kinds of failure: for many small ones side by side. */
void tally_report_brief(struct sim_run *r, const struct tally *t, const char *key,
                        const char *label);
/* Mean hops are at most 1.2 * (log_16(nodes) + 1). */
bool tally_check_hops(struct sim_run *r, const struct tally *t, uint64_t nodes);
/* At least so many of a thousand were found, one failure in any case allowed. */
bool tally_check(struct sim_run *r, const struct tally *t, unsigned permille, const char *what);

/* How publications ended. */
struct put_tally {
    uint64_t asked, stored, few, newer, unable, cancelled;
    uint64_t refused;           /* STOREs, by a rule or a quota */
    struct town_samples copies; /* stores that took it, of the place with the fewest */
};
void put_tally_fini(struct put_tally *t);

struct shelf_record {
    struct card pseudonym;
    uint8_t content[32];
    uint8_t place[DHT_ID];
    uint64_t begun, sequence; /* newest version on its way, and newest whose publication ended */
};

struct shelf {
    struct city *city;
    struct shelf_record *records;
    uint32_t n_records;
    struct put_tally puts;
    struct list jobs; /* lookups and publications under way */
};

/* `n` provider records of as many pseudonyms, published by nobody yet; the first of them is the
 * `first` of all that a city's shelves may have. */
struct shelf *shelf_create(struct city *city, uint32_t first, uint32_t n);
/* After city_destroy: nodes that die report their lookups. */
void shelf_destroy(struct shelf *s);

/* The next version of a record, through that node. It keeps it alive (dht_publish) or not
 * (dht_put). */
enum shelf_care { SHELF_ONCE, SHELF_KEEP };
void shelf_publish(struct shelf *s, uint32_t record, struct city_node *by, enum shelf_care care);
/* All of them through nodes drawn at random, evenly over the time from now on. */
void shelf_publish_all(struct shelf *s, uint64_t over_ns, enum shelf_care care);

/* A lookup of a published record through that node, its cache left aside. */
void shelf_look(struct shelf *s, uint32_t record, struct city_node *by, struct tally *t);
/* A lookup of the node record of `whose`. */
void shelf_look_node(struct shelf *s, const struct city_node *whose, struct city_node *by,
                     struct tally *t);
/* `n` lookups at random times between, of records and through nodes drawn at random; every fourth
 * is one of a node record when `nodes` is not NULL, and counts there. */
void shelf_look_often(struct shelf *s, uint32_t n, uint64_t from_ns, uint64_t until_ns,
                      struct tally *records, struct tally *nodes);

/* Builds a provider record. `out` has room for DHT_PROVIDER_MAX. Returns its length; aborts when it
 * can't be built. */
size_t shelf_build(const struct mesh_network *net, const struct card *pseudonym,
                   const uint8_t content[static 32], uint64_t sequence, uint64_t now, uint8_t *out);

/* tests/unit/dht/dht_rig.h - the one case under way in the tests of a whole DHT: a few nodes,
 * records for them, and what is asked of one inside its turn. */
#pragma once
#include "dht/dht_internal.h"
#include "tests/unit/dht/made.h"
#include "tests/unit/mesh/few.h"

struct member {
    struct few_node *node;
    struct dht *dht;
    bool is_late; /* its DHT starts by hand */
};

extern struct few few;
extern struct member members[FEW_MAX];
extern struct made made;

struct member *member_add(void);
void members_boot(unsigned n); /* of them, and 20 s */
void members_check(void);      /* all their accounts are right */
uint64_t network_now(void);
/* Inside the node's turn. */
void member_start(void *member);
void member_stop(void *member);

struct record {
    uint8_t data[DHT_DESCRIPTOR_MAX];
    size_t len;
    struct dht_value v;
};
void record_provider(struct record *r, uint8_t content, uint64_t sequence);
void record_descriptor(struct record *r);
/* Puts it right into the store of a node. */
void member_plant(struct member *m, const struct record *r);
bool holds_at(struct member *m, const struct record *r, unsigned place);
unsigned holders(const struct record *r, unsigned place);

/* What is done once it is over, from the callback. */
enum after { NOTHING, STOP, DESTROY };

struct finding {
    struct member *m;
    const uint8_t *key;
    unsigned type, flags;
    struct dht_find *find;
    enum after after;
    bool is_over, is_cached;
    int code, started;
    size_t n_values, n_nodes;
    uint64_t sequence;
};
void begin_find(void *finding); /* inside the node's turn */
struct finding member_find(struct member *m, const struct record *r, unsigned flags);

struct putting {
    struct member *m;
    const struct record *r;
    bool is_published, is_over;
    enum after after;
    int started, code;
    struct dht_stored stored;
};
void begin_put(void *putting); /* inside the node's turn */
struct putting member_put(struct member *m, const struct record *r);
struct putting member_publish(struct member *m, const struct record *r);

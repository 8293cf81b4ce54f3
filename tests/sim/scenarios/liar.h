/* tests/sim/scenarios/liar.h - malicious nodes that know one another. They have joined like all
 * others and sit in honest tables; from some moment on they answer FIND and STORE as their kind
 * does. Everything they need was public or was made beforehand. */
#pragma once
#include "tests/sim/scenarios/city.h"
#include "tests/sim/scenarios/shelf.h"

enum liar_kind {
    LIAR_FAKE,     /* no record; forged contacts, and the others of the gang */
    LIAR_WITHHOLD, /* no record; the members of the gang nearest to the key */
    LIAR_STALE,    /* the first version of what is asked for; the gang */
    LIAR_FLOOD,    /* honest answers, and junk that is valid, stored near what others publish */
    LIAR_ENDLESS,  /* no record; ids nearer to the key than any real one, others each time */
    LIAR_MIXTURE,  /* some of each */
    LIAR_KINDS_,
};
/* "fake", "withhold"... for keys of figures. */
const char *liar_name(enum liar_kind kind);

struct gang;

/* All liars of the city. `shelf` holds what they are after. Both are borrowed. */
struct gang *gang_create(struct city *city, struct shelf *shelf);
/* They begin. */
void gang_turn(struct gang *g, enum liar_kind kind);
/* After city_destroy. */
void gang_destroy(struct gang *g);

struct gang_counters {
    uint64_t finds, stores; /* requests answered with lies */
    uint64_t junk;          /* STOREs sent, */
    uint64_t junk_taken;    /* ... answered with OK */
};
struct gang_counters gang_counted(const struct gang *g);

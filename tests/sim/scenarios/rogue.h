/* tests/sim/scenarios/rogue.h - relays of a maze that misbehave. They run the real code; what they
 * send is tampered with on its way out of it (calls from onion/ into mesh/, and between files of
 * onion/, that the linker leads here first: CMakeLists.txt). One gang at a time. */
#pragma once
#include "base/list.h"
#include "tests/sim/scenarios/maze.h"

enum rogue_kind {
    ROGUE_NONE,
    /* what they do to cells of others' paths */
    ROGUE_FLIP,      /* one bit in every twentieth: a mark for whoever is at the end */
    ROGUE_DROP,      /* a tenth of them */
    ROGUE_DELAY,     /* all, by up to 200 ms more, in order */
    ROGUE_REPLAY,    /* a tenth once more, after one to three seconds */
    ROGUE_DUPLICATE, /* a third twice in a row */
    ROGUE_REORDER,   /* a quarter is held back by up to 30 ms */
    ROGUE_JUNK,      /* random ones between them, a tenth */
    /* to builds */
    ROGUE_STALL,  /* half of the trains go nowhere */
    ROGUE_STATUS, /* as pivots: a status that isn't so for every splice */
    /* to what meets at them */
    ROGUE_MUTE,  /* as pivots: splice, and forward nothing */
    ROGUE_FLOOD, /* as pivots: junk for both sides with each cell */
    /* to lookups */
    ROGUE_WITHHOLD, /* as ENDs: there is no such record */
    ROGUE_OLD,      /* as ENDs: the first descriptor that any of them saw */
    ROGUE_KINDS_,
};
const char *rogue_name(enum rogue_kind k);

struct rogues {
    struct maze *maze;
    unsigned percent;
    enum rogue_kind kind;
    uint64_t touched; /* cells, trains or answers that were lied about */
    uint64_t cells;   /* that they were asked to send */
    uint64_t last_ns; /* ROGUE_DELAY: when the last held one leaves */
    struct list held;
    uint8_t recruits[8][32]; /* beside those that are rogues by the dice */
    size_t n_recruits;
    uint8_t *old; /* the descriptor kept for ROGUE_OLD: items as an END packs them */
    size_t old_len;
};

/* That share of the relays (contacts apart) belongs to the gang; it behaves until rogues_turn. */
struct rogues *rogues_create(struct maze *m, unsigned percent);
/* Others take their place: nobody has made up their mind about them yet. */
void rogues_draw(struct rogues *g);
/* The relay with that id joins until the next rogues_turn to ROGUE_NONE. */
void rogues_recruit(struct rogues *g, const uint8_t id[static 32]);
/* The relay with that id leaves the gang until the next rogues_draw. */
void rogues_spare(struct rogues *g, const uint8_t id[static 32]);
void rogues_turn(struct rogues *g, enum rogue_kind kind);
void rogues_destroy(struct rogues *g); /* after maze_destroy */
uint32_t rogues_count(const struct rogues *g);

/* tests/sim/scenarios/trade.h - hidden services on users of a maze, and visits to them. A request
 * says how long it is and how long its answer shall be; every byte of both is a function of the
 * visit's number and its place, and is checked at both ends. So is the rest of what a stream
 * promises: all bytes and an orderly end, or an error; and no request is served twice. */
#pragma once
#include "base/list.h"
#include "tests/sim/scenarios/maze.h"
#include "tests/sim/scenarios/town.h"

enum { TRADE_PORT = 80, TRADE_HEAD = 16 };

struct trade;

struct trade_host {
    struct trade *trade;
    struct maze_node *at;
    uint8_t seed[32], address[32];
    struct onion_service *s; /* NULL while its node is off */
    struct list seats;       /* requests being served */
    uint64_t ready_ns;       /* world time of its last becoming ready; 0: it isn't */
};

/* How a number of visits went. */
struct trade_tally {
    uint64_t asked, done, hung, fails[ONION_FAILS];
    uint64_t wrong; /* promises broken: none may be */
    char what[96];  /* the first */
    uint64_t bytes; /* of answers */
    struct town_samples first_us, whole_us, pause_us, failed_us;
};
void trade_tally_fini(struct trade_tally *t);

struct trade_order {
    uint32_t client, host; /* numbers of a user and of a host */
    uint32_t request, answer;
    uint32_t pace;        /* bytes a second that the service answers with; 0: as fast as it goes */
    uint32_t tag;         /* of isolation; 0: none, so connections are shared */
    bool never_reads;     /* the client takes nothing out of its stream */
    uint64_t patience_ns; /* then the client gives it up, which counts as hung; 0: a minute */
    struct trade_tally *tally; /* borrowed until the trade is destroyed */
};

struct trade_call {
    struct trade *trade;
    struct trade_order o;
    struct maze_node *at;
    struct onion_stream *s; /* NULL: not begun, or over */
    uint64_t number;
    uint64_t begun_ns, last_ns, pause_ns;
    uint64_t sent, got;
    uint32_t n_seats;
    bool is_begun, is_done, is_over;
};

struct trade {
    struct maze *maze;
    struct trade_host *hosts;
    uint32_t n_hosts;
    struct trade_call **calls;
    size_t n_calls, cap;
    struct trade_tally stray; /* broken promises that belong to no visit */
};

/* Hosts are the first `hosts` users. Pass trade_hooks to maze_create, with the trade as `arg`, and
 * the maze to trade_open. */
struct trade *trade_create(uint32_t hosts);
struct maze_hooks trade_hooks(struct trade *t);
void trade_open(struct trade *t, struct maze *m);
void trade_destroy(struct trade *t); /* after maze_destroy */

/* Passes time until all services were seen from outside. Checks that it comes to that. */
void trade_settle(struct trade *t, struct sim_run *r);
/* One visit, begun after `in_ns`. */
struct trade_call *trade_visit(struct trade *t, const struct trade_order *o, uint64_t in_ns);

/* Passes time until all visits are over, given up among them. */
void trade_wait(struct trade *t, struct sim_run *r);

/* All promises were kept. */
void trade_check(const struct trade *t, struct sim_run *r, const struct trade_tally *tally,
                 const char *what);
uint64_t trade_permille(const struct trade_tally *t);
/* Why some weren't done: as many lines as there are reasons. */
void trade_report_fails(struct sim_run *r, const struct trade_tally *t, const char *key,
                        const char *label);
/* Asked, share of those done in per mille, and why others weren't. */
void trade_report(struct sim_run *r, const struct trade_tally *t, const char *key,
                  const char *label);

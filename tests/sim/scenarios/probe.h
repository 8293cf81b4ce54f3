/* tests/sim/scenarios/probe.h - the smallest program: one socket on port 4100 that counts what it
 * hears and, if asked, echoes. */
#pragma once
#include "tests/sim/scenario.h"
#include "tests/sim/world.h"

enum { PROBE_PORT = 4100, PROBE_BYTES = 64 };

struct probe {
    struct sim_node *node;
    struct env_udp *udp;
    bool echoes;
    unsigned n_received, n_boots;
    struct env_addr last_from;
    uint8_t last[PROBE_BYTES];
    size_t last_len;
};

/* Node i of a world: a public address in a /24 of its own. */
struct env_addr probe_address(uint32_t i, uint16_t port);
/* Fills `o` with the probe's program. */
void probe_options(struct probe *p, struct sim_node_options *o);
/* Adds and boots a probe; aborts when the address is taken. */
void probe_add(struct probe *p, struct sim_world *w, const struct env_addr *at,
               struct sim_nat *nat);
void probe_send(struct probe *p, const struct env_addr *to, const char *text);
/* True when the last datagram was `text`. */
bool probe_got(const struct probe *p, const char *text);
/* Runs the world for a while. */
void run_for(struct sim_world *w, uint64_t ns);
/* A world with this run's seed and link. Aborts when memory is out. */
struct sim_world *run_world(const struct sim_run *r, const struct sim_link *link);

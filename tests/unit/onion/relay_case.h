/* tests/unit/onion/relay_case.h - the one case under way in the tests of paths through relays: a
 * user at node 0, relays, and a last one that is played by hand. */
#pragma once
#include "relay_rig.h"

extern struct relays r;
extern struct client_path a, b; /* the user's */
extern struct relay_node *mock;

void relays_start(unsigned n);
const struct relay__counters *counters(unsigned relay);
/* Asks the end for STATS over the path and checks that the answer gets through. */
void ping(struct client_path *p);
struct client_spec to_node(unsigned relay, const uint8_t target[32]);

/* A hop by hand: user -> relay 1 -> mock. Building; open. */
void start_mock(void);
void open_mock(void);
void expect_end_at_relay(void);

/* A path whose last hop is relay 1. */
void open_end(void);

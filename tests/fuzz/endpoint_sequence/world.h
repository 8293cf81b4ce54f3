/* tests/fuzz/endpoint_sequence/world.h - what endpoint_sequence puts below a real visit and a real
 * service, in the place of onion/path.c, onion/pick.c and onion/ask.c: pivots, relays and stores
 * that are honest until the input says otherwise. Nothing is built or enciphered here, so that an
 * input takes milliseconds. */
#pragma once
#include "base/reader.h"
#include "onion/onion_internal.h"
#include "tests/fuzz/lib/nodes.h"

enum { WORLD_SERVICE, WORLD_USER, WORLD_NODES };

struct world_node {
    struct fuzz_node *fuzz;
    struct onion *onion; /* NULL while off */
};

extern struct fuzz_node world_fuzz[WORLD_NODES];
extern struct world_node world_node[WORLD_NODES];
extern struct mesh_network world_net;
extern struct sim_world *world;

/* ---- pivots.c: paths, and what is at their far ends -------------------------------------------
 */

void pivots_begin(void);
void pivots_end(void); /* after the world's end: what still travelled */
size_t pivots_paths(const struct onion_paths *p);
/* What becomes of the next build, of cells, and of paths: each reads its part of the input. */
void pivots_verdict(struct reader *in);
void pivots_mood(struct reader *in);
/* Inside a node's turn: something happens to one of its paths. */
void pivots_event(const struct onion_paths *p, struct reader *in);
void pivots_inject(const struct onion_paths *p, struct reader *in);
void pivots_again(const struct onion_paths *p, struct reader *in);
/* A token that is registered now, or zero. */
void pivots_token(uint8_t out[static ONION_TOKEN], unsigned which);

/* ---- relays.c: the picker ----------------------------------------------------------------------
 */

enum { RELAYS = 12 };
void relays_begin(void);
void relays_mood(struct reader *in);
void relays_id(uint8_t out[static 32], unsigned which);

/* ---- stores.c: lookups and stores --------------------------------------------------------------
 */

void stores_begin(void);
void stores_mood(struct reader *in);
/* The owner of the service's address stores something else: in that node's turn. */
void stores_reseal(struct onion *o, struct reader *in);

/* ---- talk.c: users of streams at both ends -----------------------------------------------------
 */

void talk_begin(uint8_t how);
void talk_gone(unsigned node); /* that node lost its memory: nothing more is told */
void talk_leave(void);         /* in the user's turn: nobody wants anything any more */
/* Inside a node's turn. */
void talk_serve(struct onion *o);
void talk_service(struct onion *o, struct reader *in); /* closes it, or opens it again */
void talk_dial(struct onion *o, struct reader *in);
void talk_guest(struct reader *in);
void talk_host(struct reader *in);
const struct onion_service *talk_the_service(void);
/* Whom the input wants to reach. */
void talk_target(struct onion_target *to, uint16_t port, uint8_t tag);
uint16_t talk_port(uint8_t how);
bool talk_is_hasty(void); /* who asks why cancels at the first step */

/* ---- flows.c: datagrams, and `why` -------------------------------------------------------------
 */

void flows_begin(void);
void flows_gone(unsigned node);
void flows_leave(void);
void flows_came(void *arg, struct onion_flow *f, uint16_t port); /* a service's */
void flows_event(struct onion *o, struct reader *in);
void flows_why(struct onion *o, struct reader *in);

/* ---- check.c -----------------------------------------------------------------------------------
 */

void world_check(void); /* what must hold at any moment: aborts */

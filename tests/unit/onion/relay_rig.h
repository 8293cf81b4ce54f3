/* tests/unit/onion/relay_rig.h - a few nodes in a simulated world, each a relay and a client: real
 * meshes, real trains, real cells. */
#pragma once
#include "onion/cell.h"
#include "onion/end_internal.h"
#include "onion/pivot_internal.h"
#include "onion/relay_internal.h"
#include "tests/unit/mesh/few.h"

enum { RELAYS_GOT = 512, RELAYS_STRAYS = 64 };

struct relays;

struct relay_node {
    struct relays *all;
    struct few_node *few;
    struct onion_switch *paths;
    struct onion_replay *replay;
    struct onion_relay *relay; /* NULL: a pure user */
    struct dht *dht;           /* NULL unless relays.with_dht */
    bool is_user;
    size_t paths_max;
    struct env_timer tick;
    /* of a user: what came for ids that none of its paths has */
    unsigned n_stray_cells, n_stray_destroys, n_stray_replies;
    uint32_t stray_path;
    /* builds that came to a mock, which answers by hand */
    unsigned n_builds;
    struct mesh_link *build_link;
    uint32_t build_path;
    uint8_t build[ONION_TRAIN];
    struct onion_answer answer; /* after relays_mock_reply */
    struct onion_layer forward, backward;
};

struct relays {
    struct few few;
    struct relay_node at[FEW_MAX];
    bool with_dht;
};

/* Node 0 is an unlisted user, nodes 1 to n are relays that know each other: links between all are
 * up, but between the user and anyone. */
void relays_init(struct relays *r, unsigned n, bool with_dht);
/* The same without links: nobody knows anybody. */
void relays_boot(struct relays *r, unsigned n, bool with_dht);
struct relay_node *relays_add(struct relays *r, bool is_user);
/* A listed node that is no relay: tests play the hop. Booted. Its links are the caller's. */
struct relay_node *relays_add_mock(struct relays *r);
/* As the last hop of the last train that came: opens it and replies. */
void relays_mock_reply(struct relay_node *mock);
void relays_mock_cell(struct relay_node *mock, const uint8_t cell[static MESH_CELL]);
void relays_mock_destroy(struct relay_node *mock);
void relays_link(struct relays *r, unsigned a, unsigned b);
void relays_unlink(struct relays *r, unsigned a, unsigned b); /* GOODBYE: the record stays known */
void relays_run_ms(struct relays *r, uint64_t ms); /* checks every relay's accounts afterwards */
void relays_fini(struct relays *r);
struct mesh_link *relays_find(struct relays *r, unsigned a, unsigned b);

/* ---- a client's path ---------------------------------------------------------------------------
 */

struct client_got {
    struct onion_cell c; /* payload points behind */
    uint8_t payload[ONION_PAYLOAD];
};

struct client_path {
    struct onion_slot slot;
    struct relay_node *at;
    struct onion_train *train;
    struct onion_built built;
    bool has_reply, is_destroyed, is_lost;
    enum drop reply_drop;
    struct onion_layer forward[ONION_HOPS_MAX], backward[ONION_HOPS_MAX];
    struct onion_window window;
    uint64_t sent;
    unsigned n_noise, n_raw;
    struct client_got got[RELAYS_GOT];
    unsigned n_got;
    uint8_t last_raw[MESH_CELL]; /* as it came */
    uint8_t out[ONION_TRAIN];    /* the train that was sent */
};

struct client_spec {
    unsigned n_hops;
    unsigned hops[ONION_HOPS_MAX]; /* numbers of relays */
    struct onion_fields last;
    const uint8_t *early;
    bool keep_back;      /* build the train, but don't send it */
    int64_t stamp_shift; /* seconds */
    unsigned wrong_key;  /* hop of that number (from 1) gets a record for a key it hasn't */
    void (*change)(uint8_t train[static ONION_TRAIN]); /* before it is sent */
};

/* Builds and sends; the caller runs the world. `p` is reset. */
void client_build(struct relays *r, unsigned user, struct client_path *p,
                  const struct client_spec *spec);
/* The same, and half a second later it has to be there. */
void client_open(struct relays *r, unsigned user, struct client_path *p,
                 const struct client_spec *spec);
/* A path over `n` relays from `first` on that ends as END. */
struct client_spec client_to_end(unsigned first, unsigned n);
/* One that ends as a service's registration: owner secret 32 times `secret`, default terms. */
struct client_spec client_to_service(unsigned first, unsigned n, uint8_t secret, uint64_t serial);
void client_set_terms(struct client_spec *s, const struct onion_terms *t, uint64_t serial);
/* One that is spliced to that service, without a proof. */
struct client_spec client_to_splice(unsigned first, unsigned n, uint8_t secret);
/* Sends p->out under p's id. */
void client_send_train(struct client_path *p);
/* Encodes, enciphers and sends a cell. */
void client_send(struct client_path *p, const struct onion_cell *c);
void client_send_text(struct client_path *p, uint8_t command, const char *text);
/* Sends these bytes as they are. */
void client_send_raw(struct client_path *p, const uint8_t cell[static MESH_CELL]);
void client_encode(struct client_path *p, const struct onion_cell *c,
                   uint8_t cell[static MESH_CELL]);
/* MSG and RESEND, cell by cell: into `buf`, which *out borrows, and out of a cell. */
void client_msg_write(struct onion_cell *out, uint8_t buf[static ONION_PAYLOAD],
                      const struct mesh_frame_msg *m);
void client_resend_write(struct onion_cell *out, uint8_t buf[static ONION_PAYLOAD],
                         const struct mesh_frame_resend *r);
void client_msg_read(struct mesh_frame_msg *out, const struct onion_cell *c);
void client_resend_read(struct mesh_frame_resend *out, const struct onion_cell *c);
void client_destroy(struct client_path *p); /* DESTROY, and forgets it */
void client_forget(struct client_path *p);  /* without a word */
/* The last cell with that command, or NULL. */
const struct client_got *client_last(const struct client_path *p, uint8_t command);
unsigned client_count(const struct client_path *p, uint8_t command);
/* Status of its reply; 255: none. */
unsigned client_status(const struct client_path *p);

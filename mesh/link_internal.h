/* mesh/link_internal.h - one link, for the files link*.c, rpc*.c and their tests. States, events
 * and timers are in the comment at the top of link.c. */
#pragma once
#include "mesh/mesh_internal.h"

enum {
    LINK__PONGS = 4,   /* answers waiting; a peer that asks faster gets fewer */
    LINK__RESENDS = 4, /* RESENDs waiting; the inbox asks again */
    LINK__PINGS = 16,  /* mesh_ping calls under way */
    LINK__DESTROYS = 256,
    LINK__CONFIRM_MS = 250,      /* first repeat of the PING on a fresh session */
    LINK__REKEY_AGAIN_MS = 5000, /* after a rekey that nobody answered */
    LINK__SEQUENCE_WAIT_MS = 10, /* the disk has our INIT sequence soon */
    LINK__COOKIE_MS = 120000,    /* how long a cookie is worth sending */
    LINK__PING_MS = 3000,        /* mesh_ping's deadline */
};

#define LINK__REKEY_PACKETS (UINT64_C(1) << 30)
#define LINK__NEVER         UINT64_MAX

enum link_event {
    LINK_EV_SESSION, /* a handshake finished as initiator, or was confirmed as responder */
    LINK_EV_END,     /* we or the peer end it */
};

/* A handshake that we began; exists only while it runs. */
struct mesh__dial {
    struct mesh__keys *keys;
    struct mesh_hs_initiator hs; /* of the last INIT */
    struct env_addr to;
    unsigned tries;
    uint64_t next_ns; /* the next INIT, or giving up */
    uint64_t sent_ns;
    bool has_cookie;
    uint8_t cookie[16];
    uint64_t cookie_ns;
    char version_text[64]; /* what a VERSION packet said; only a hint */
};

/* An unlisted node's key for this one peer. */
struct mesh__own_key {
    uint8_t secret[32];
    uint8_t pub[32];
    uint64_t sequence;
};

/* A mesh_ping call under way. */
struct mesh__ping {
    struct list node;
    uint8_t nonce[8];
    bool is_sent;
    uint64_t sent_ns, until_ns;
    void (*done)(void *arg, int code, uint64_t rtt_ns);
    void *arg;
};

/* What this link sends of its own, ahead of messages and cells. */
struct mesh__control {
    uint8_t pongs[LINK__PONGS][8];
    unsigned n_pongs;
    struct mesh_frame_resend resends[LINK__RESENDS];
    unsigned n_resends;
    bool wants_ping, wants_observed;
    uint8_t ping[8]; /* our own PING's nonce, and when it went out (0: not under way) */
    uint64_t ping_ns;
    uint32_t *destroys; /* LINK__DESTROYS of them, made at the first */
    unsigned n_destroys;
};

struct mesh_link {
    struct mesh *mesh;
    enum mesh_link_state state; /* written by link_set_state alone */
    uint32_t number;
    struct list all;        /* mesh->links */
    struct list turn;       /* mesh->turns, until CLOSING */
    struct list by_prefix;  /* members of its prefix in mesh->prefixes, until CLOSING */
    struct list queue;      /* mesh->dirty, or mesh->ending once CLOSING */
    struct env_timer timer; /* the earliest of all deadlines below */

    uint8_t key[32];
    uint8_t id[32];      /* has_id */
    uint8_t dial_id[32]; /* has_dial_id: who we mean to reach */
    bool has_id, has_dial_id, is_listed, is_wanted, is_known_said, is_up_said;
    bool was_dialed; /* we asked for it (mesh_dial) */
    const char *why;
    char why_text[64]; /* when it has numbers in it */
    uint8_t *record;
    size_t record_len;
    uint64_t record_sequence;
    uint64_t told_sequence; /* of our own record, as last told here */
    uint8_t version[4];
    uint32_t features;
    uint64_t own_made;         /* which link key of ours it stands on (listed) */
    struct mesh__own_key *own; /* unlisted */

    struct env_addr addr;   /* where packets go */
    struct env_addr proven; /* an address that a PONG (or the handshake) came from */
    uint64_t prefix;
    uint64_t roam_rx, roam_tx; /* bytes since it moved, until proven */

    struct mesh__keys *current, *previous;
    uint64_t previous_until_ns;
    struct mesh__dial *dial;
    uint64_t rekey_ns; /* not before; 0: by the session's age */

    uint64_t up_ns, rtt_ns, last_rx_ns, last_tx_ns, unanswered_ns, last_use_ns, pinged_ns;
    uint64_t confirm_ns, confirm_wait_ns; /* repeat of the first PING; LINK__NEVER when heard */
    uint64_t outbox_ns, inbox_ns;         /* when those want to be called */
    uint64_t rx_packets, tx_packets, rx_cells, tx_cells, rekeys, roams;
    uint64_t violation_ns;
    unsigned n_violations;
    uint64_t suspect_ns, suspect_until_ns; /* when its peer was missed; 0: it isn't */
    unsigned suspect_pings;
    bool was_over; /* more than a quarter was queued: `writable` is due */
    unsigned cells_since_msg;

    struct mesh__control ctl;
    struct list pings;
    struct mesh_bucket destroys_in, destroys_out;

    /* made when first used */
    struct mesh_sched *sched;
    struct mesh_outbox *outbox;
    struct mesh_inbox *inbox;
    struct map *paths; /* path ids in use */
    uint32_t last_path;

    /* requests */
    uint32_t next_id[MESH_MSG_BUILD_REPLY + 1]; /* by kind */
    struct list calls;                          /* in flight */
    struct list waiting; /* behind the 16 in flight, or for the link to come up */
    unsigned n_calls, n_waiting;
    struct list serving;
    unsigned n_serving;
    struct mesh_bucket requests_in;
};

struct link_input {
    struct mesh__keys *keys; /* SESSION: ownership moves */
    const struct env_addr *from;
    const char *why; /* END: static text */
    enum mesh_goodbye reason;
    bool say_goodbye;
};

static inline bool mesh__link_is_up(const struct mesh_link *l)
{
    return l->state == MESH_LINK_UP;
}

static inline size_t mesh__link_paths(const struct mesh_link *l)
{
    return l->paths != NULL ? map_len(l->paths) : 0;
}

/* link.c */
struct mesh_link *mesh__link_create(struct mesh *m, const uint8_t key[static 32], uint64_t own_made,
                                    const struct env_addr *addr);
void mesh__link_step(struct mesh_link *l, enum link_event ev, const struct link_input *in);
/* Ends the link: CLOSING now, link_down and its memory from the loop's deferred task. `why` is
 * static. */
void mesh__link_end(struct mesh_link *l, const char *why);
void mesh__link_violation(struct mesh_link *l); /* counted; 100 in a minute end it */
void mesh__link_finish(struct mesh_link *l);    /* calls out and frees: only from mesh__reap */
void mesh__link_free(struct mesh_link *l);      /* frees only */
void mesh__link_set_addr(struct mesh_link *l, const struct env_addr *a);
const uint8_t *mesh__link_own_pub(const struct mesh_link *l);
void mesh__watch_each(struct mesh *m, struct mesh_link *l, enum mesh_link_state what);
/* False when the key that the link stands on is gone. Wipe *out. */
bool mesh__link_self(const struct mesh_link *l, struct mesh_hs_self *out);

/* link_key.c: links by both ends' keys. While our previous link key is accepted, one peer may hold
 * a link to each of our keys. */
struct mesh_link *mesh__link_find(const struct mesh *m, const uint8_t key[static 32],
                                  uint64_t own_made);
struct mesh_link *mesh__link_find_any(const struct mesh *m, const uint8_t key[static 32]);
CYX_MUST_USE int mesh__link_key_add(struct mesh_link *l);
void mesh__link_key_remove(struct mesh_link *l);

/* link_dial.c */
CYX_MUST_USE int mesh__dial_begin(struct mesh_link *l, const struct env_addr *to);
void mesh__dial_end(struct mesh_link *l); /* forgets it; harmless without one */
void mesh__dial_tick(struct mesh_link *l, uint64_t now_ns);
enum drop mesh__dial_resp(struct mesh_link *l, const struct env_addr *from, const uint8_t *packet,
                          size_t len);
enum drop mesh__dial_cookie(struct mesh_link *l, const uint8_t *packet, size_t len);
enum drop mesh__dial_version(struct mesh_link *l, const struct mesh_version_hint *hint);

/* link_timers.c */
void mesh__link_arm(struct mesh_link *l);
void mesh__link_timer(struct env_timer *t, void *arg);
/* The link is in use: puts off its idle end. */
static inline void mesh__link_use(struct mesh_link *l)
{
    l->last_use_ns = mesh__now(l->mesh);
}

/* link_frames.c */
void mesh__link_received(struct mesh_link *l, struct mesh__keys *k, const struct env_addr *from,
                         bool is_newest, uint8_t packet[static MESH_PACKET]);

/* link_send.c */
void mesh__link_dirty(struct mesh_link *l);
bool mesh__link_has_work(const struct mesh_link *l);
bool mesh__link_may_send(const struct mesh_link *l); /* one more packet, to an address not proven */
void mesh__note_sent(struct mesh_link *l, uint64_t now);
bool mesh__send_buf_grow(struct mesh *m);
/* Sends the first n packets of send_buf; a full socket keeps them there. */
void mesh__row_send(struct mesh *m, const struct env_addr *to, size_t n);
/* link_row.c. Put: false: it has to take the long way. Close: what was put leaves now. */
bool mesh__row_put(struct mesh_link *l, uint32_t path, const uint8_t cell[static MESH_CELL]);
void mesh__row_close(struct mesh *m);
void mesh__link_row(struct mesh_link *l); /* at once, when a whole row of cells waits */
void mesh__link_goodbye(struct mesh_link *l, enum mesh_goodbye reason);

/* link_ping.c */
void mesh__ping_want(struct mesh_link *l); /* our own PING, with a fresh nonce */
void mesh__ping_put(struct mesh_link *l, struct writer *w);
bool mesh__ping_waits(const struct mesh_link *l);
void mesh__pong_heard(struct mesh_link *l, const uint8_t nonce[static 8],
                      const struct env_addr *from);
void mesh__pings_expire(struct mesh_link *l, uint64_t now_ns);
void mesh__pings_fail(struct mesh_link *l); /* CYX_ECLOSED for all */
void mesh__rtt_note(struct mesh_link *l, uint64_t sample_ns);

/* link_msg.c */
CYX_MUST_USE int mesh__msg_send(struct mesh_link *l, uint8_t kind, uint32_t id, const void *data,
                                size_t len);
/* Sends a message that is still kept once more. False: it is not kept. */
bool mesh__msg_again(struct mesh_link *l, uint8_t kind, uint32_t id);
void mesh__msg_fragment(struct mesh_link *l, const struct mesh_frame_msg *f);
void mesh__msg_resend(struct mesh_link *l, const struct mesh_frame_resend *r);
void mesh__msg_tick(struct mesh_link *l, uint64_t now_ns);
uint32_t mesh__msg_id(struct mesh_link *l, uint8_t kind);
void mesh__path_note(struct mesh_link *l, uint32_t path);

/* rpc_call.c, rpc_serve.c */
void mesh__calls_pump(struct mesh_link *l); /* sends what waits, as far as the bounds allow */
void mesh__calls_fail(struct mesh_link *l); /* CYX_ECLOSED for all: only from mesh__reap */
void mesh__calls_free(struct mesh_link *l);
void mesh__rpc_answer(struct mesh_link *l, uint32_t id, const uint8_t *data, size_t len);
void mesh__rpc_request(struct mesh_link *l, uint32_t id, const uint8_t *data, size_t len);
void mesh__requests_detach(struct mesh_link *l);
/* [first, items...] as MessagePack; the caller frees. NULL: no memory or longer than a message. */
uint8_t *mesh__rpc_encode(unsigned first, const struct mesh_items *items, size_t *len);

/* hello.c */
void mesh__hello_say(struct mesh_link *l);
void mesh__hello_tell_all(struct mesh *m); /* our record changed */

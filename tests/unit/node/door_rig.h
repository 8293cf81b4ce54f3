/* Front doors over a real loop and real sockets, with an onion in memory behind them. */
#pragma once
#include "memory_onion.h"
#include "node/door.h"
#include "node/petnames.h"

struct door_rig {
    char dir[64];
    struct env *env;
    struct log *log;
    struct onion onion;
    struct petnames *names;
    struct door *socks, *tunnel;
    struct env_addr socks_at, tunnel_at;
    /* a service that echoes: its address, and how it behaves */
    uint8_t seed[32], address[32];
    char host[ONION_ADDRESS_TEXT];
    struct onion_service *service;
    struct list visits;
    bool refuses; /* every visit, with `status` */
    enum onion_open_status status;
    bool is_deaf;     /* takes no byte, consumes nothing */
    bool is_http;     /* answers a request with `pours` bytes and ends */
    bool is_counting; /* swallows bytes instead of echoing them */
    uint64_t n_swallowed;
    unsigned n_visits, n_ended; /* ended: the visitor's last byte came */
    uint64_t pours;             /* bytes that a visit is given without being asked */
};

enum { RIG_PORT = 80, RIG_UDP_PORT = 53 };

void door_rig_start(struct door_rig *r, const struct door_options *how); /* NULL: as usual */
void door_rig_stop(struct door_rig *r);
/* Runs the loop for some turns of a millisecond each. */
void door_rig_turn(struct door_rig *r, unsigned turns);
/* Runs until *count is `want`, at most half a minute. */
void door_rig_until(struct door_rig *r, const unsigned *count, unsigned want);

/* A client's socket, without blocking. */
int door_rig_connect(struct door_rig *r, const struct env_addr *to);
void door_rig_send(struct door_rig *r, int fd, const void *data, size_t len);
/* Reads until `want` bytes, the end or an error: how many; *over (may be NULL): 0 still open, 1 an
 * orderly end, else the errno. */
size_t door_rig_receive(struct door_rig *r, int fd, void *buf, size_t want, int *over);
/* 0: still open after a while; 1: orderly end; else errno. Bytes are thrown away. */
int door_rig_how_it_ended(struct door_rig *r, int fd);

/* SOCKS5 without a login: the code of the answer. */
unsigned door_rig_socks(struct door_rig *r, int fd, const char *host, uint16_t port);
/* Runs a program of this machine while the loop turns: its exit status; -1: it can't be started.
 * Standard output goes to `out` (NUL-terminated, cut). */
int door_rig_program(struct door_rig *r, char *const argv[], char *out, size_t cap);
void door_rig_lose(struct door_rig *r);

/* tests/unit/onion/guest.h - a service that echoes and those who visit it, in a town: what tests of
 * hidden endpoints do over and over. */
#pragma once
#include "town.h"

enum { INN_STREAMS = 64, GUEST_BYTES_MAX = 1 << 20 };

/* A service. */
struct inn {
    struct towns *t;
    unsigned node;
    struct onion_service *s;
    struct onion_stream *streams[INN_STREAMS];
    struct onion_flow *flow; /* the last that came */
    unsigned n, closed, flows, flows_closed, changes;
    enum onion_fail last; /* why the last stream ended */
    enum onion_open_status refuse;
    bool is_quiet; /* takes and says nothing */
    size_t got, datagrams;
    struct onion_service_config config; /* `seed` and ports are filled in by inn_open */
    struct onion_port ports[2];
    void (*on_change)(struct inn *i); /* in the service's `changed` */
    void (*on_stream)(struct inn *i); /* in its `stream`, once it is accepted */
};

/* Opens it with t->seed: 80 for streams, 53 for both. */
void inn_open(struct inn *i, struct towns *t, unsigned node);
void inn_close(struct inn *i);
bool inn_is_ready(void *inn);
void inn_wait(struct inn *i, uint64_t most_ms);

/* A visitor's stream. */
struct guest {
    struct towns *t;
    unsigned node;
    struct onion_stream *s;
    unsigned opened, closed;
    enum onion_fail why;
    size_t to_send, sent, got;
    bool is_ended;
    bool keeps_open; /* doesn't end its direction */
    bool waits;      /* for the service's yes */
    uint8_t tag;     /* isolation */
    uint64_t begun_ns, first_ns;
    int code; /* of the dial */
    uint8_t address[32];
    void (*on_closed)(struct guest *g);
};

/* Dials t->seed's address. */
void guest_dial(struct guest *g, struct towns *t, unsigned node, uint16_t port, size_t bytes);
bool guest_is_over(void *guest);
bool guest_has_all(void *guest); /* every byte came back */
void guest_send(struct guest *g, size_t more);
void guest_reset(struct guest *g);

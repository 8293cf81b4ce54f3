/* node/expose_internal.h - what expose.c (the list), expose_visit.c (streams) and expose_flow.c
 * (datagrams) share. */
#pragma once
#include "node/bridge.h"
#include "node/expose.h"

struct expose {
    struct expose_options o;
    struct onion *onion; /* NULL: not ready */
    struct env_kv *kv;
    struct list entries; /* in order of the names */
    size_t n_entries;
    struct list watches;
    struct list changes; /* on their way to the disk */
};

struct expose_entry {
    struct list node;
    struct expose *expose;
    struct expose_spec spec;
    uint8_t *seed; /* locked memory, 32 bytes; NULL: none yet, or it can't be read */
    uint8_t address[32];
    bool is_on;
    bool is_busy; /* a change is on its way to the disk */
    struct onion_service *service;
    struct cyx_err trouble; /* code 0: none */
    struct list visits, flows;
    size_t n_visits, n_flows;
    uint64_t accepted, refused;
};

/* NULL: the entry doesn't list that port for `kind`. */
const struct expose_port *expose__port(const struct expose_entry *e, uint16_t port, unsigned kind);

/* onion_service_events' stream and flow; arg is the entry. */
void expose__on_stream(void *arg, struct onion_stream *s, uint16_t port);
void expose__on_flow(void *arg, struct onion_flow *f, uint16_t port);
/* Resets and closes all of them. */
void expose__drop_visits(struct expose_entry *e);
void expose__drop_flows(struct expose_entry *e);

enum { EXPOSE_SEED = 32, EXPOSE_FILE_NAME = 33 };

/* expose.c */
struct expose_entry *expose__entry(struct expose *x, const char *name); /* or NULL */
struct expose_entry *expose__entry_new(struct expose *x, const struct expose_spec *spec);
void expose__entry_free(struct expose_entry *e);
/* Draws the key (`from` NULL) or takes it. */
CYX_MUST_USE int expose__set_seed(struct expose_entry *e, const uint8_t *from, struct cyx_err *err);
/* Serves it if it is on and the onion is there; stops it and resets its visits. */
void expose__start(struct expose_entry *e);
void expose__stop(struct expose_entry *e);
/* The name of its key's file; returns `out`. */
const char *expose__file(const char *name, char out[static EXPOSE_FILE_NAME]);
void expose__tell(struct expose *x);

/* expose_change.c */
void expose__cancel_changes(struct expose *x);

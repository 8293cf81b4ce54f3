/* mesh/remembered_internal.h - what the files of remembered peers share.
 *
 * The store "peers". Keys: "p" and an id, value: seen 8, failures 4, the record; "n" and a name,
 * value: a number, 8 bytes.
 *
 * An entry is clean, or in one list: `dirty` (to be put), `gone` (to be deleted, no longer in the
 * map), `flying` (in the commit under way; is_gone tells which). A commit that fails puts what flew
 * back, so nothing is lost but time. One timer: from the first change to the flush, a second. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "mesh/remembered.h"

enum {
    REMEMBERED_FLUSH_MS = 1000, /* changes of a second go to disk together: one fsync */
    REMEMBERED_NAME_MAX = 15,   /* bytes of a number's name */
    REMEMBERED_HEAD = 12,       /* seen and failures, before the record */
    REMEMBERED_KEY = 33         /* "p" and an id */
};

struct item {
    struct list node;
    uint64_t sequence; /* of the record */
    bool is_gone;
    bool is_foreign;          /* another worker's peer: that one writes it */
    struct mesh_peer_entry e; /* last: its record follows */
};

struct number {
    struct list node;
    uint64_t value;
    bool is_dirty, is_flying;
    char name[REMEMBERED_NAME_MAX + 1];
};

struct mesh_remembered {
    struct env *env;
    struct env_kv *kv;
    unsigned worker, n_workers;
    struct map *items;
    size_t max; /* of items */
    struct list dirty, gone, flying;
    struct list numbers;
    struct env_timer timer;
    struct env_task closed;
    env_fn done; /* of close */
    void *arg;
    size_t n_puts; /* numbers being put by themselves */
    uint64_t write_errors, bad_entries;
    bool is_flushing, is_closing, is_last_try;
};

/* remembered.c: an entry for the map, clean; NULL when memory is out. */
struct item *mesh__item_new(const uint8_t id[static 32], const uint8_t *record, size_t len);
/* Adds `it` (taken over, freed on failure); when full, the worst of all gives way. */
int mesh__item_add(struct mesh_remembered *r, struct item *it);

/* remembered_write.c: takes `it` out of its list, puts it into `to`. */
void mesh__item_move(struct item *it, struct list *to);
void mesh__item_dirty(struct mesh_remembered *r, struct item *it);
bool mesh__remembered_has_work(const struct mesh_remembered *r);
/* Sets the timer of the next flush, if there may be one. */
void mesh__remembered_arm(struct mesh_remembered *r);
void mesh__remembered_timer(struct env_timer *t, void *arg);
/* Goes on with closing once nothing is under way: one last flush, then the end. */
void mesh__remembered_close_step(struct mesh_remembered *r);
/* Frees everything; nothing may be under way. */
void mesh__remembered_free(struct mesh_remembered *r);
/* The number of that name, made when it is new; NULL when memory is out. */
struct number *mesh__number_get(struct mesh_remembered *r, const char *name);

/* remembered_read.c: fills `r` from its store. */
int mesh__remembered_load(struct mesh_remembered *r, struct cyx_err *err);

/* tests/unit/mesh/kv_env.h - an environment that has clocks, timers, deferred tasks and one store,
 * with a disk that fails when told to. Time moves only in kv_env_run. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

struct kv_entry {
    uint8_t *key, *val;
    size_t key_len, val_len;
};

struct kv_env {
    struct env env;
    struct timers timers;
    struct list tasks;
    struct list commits; /* handed over, not yet on disk */
    uint64_t now_ns;
    struct kv_entry entries[3000]; /* sorted by key */
    size_t n_entries;
    int disk_code;    /* what commits report from now on; 0: they succeed */
    int open_code;    /* what opening reports */
    bool no_memory;   /* batches can't be had */
    bool is_dead;     /* crashed: commits report CYX_ECANCELED at once, tasks never run */
    size_t n_commits; /* that reached the disk */
    size_t n_open;
};

void kv_env_init(struct kv_env *e);
void kv_env_fini(struct kv_env *e); /* wipes the disk */
/* Runs what is due in the next `ms`: commits land 2 ms after they were handed over. */
void kv_env_run(struct kv_env *e, uint64_t ms);
/* What is on disk under a key, or NULL. */
const struct kv_entry *kv_env_find(const struct kv_env *e, const void *key, size_t key_len);
void kv_env_put(struct kv_env *e, const void *key, size_t key_len, const void *val, size_t val_len);

/* node/petnames.h - names that the user of this machine gave to addresses: NAME.cyx for a name that
 * is no address itself. In a store of their own ("names"); they never leave this machine. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "onion/address.h"

enum {
    PETNAME_MAX = 55, /* one less than an address: the two can't be confused */
    PETNAMES_MAX = 4096,
    PETNAMES_BYTES = 4 << 20, /* of the store */
};

struct petnames;

/* Opens the store. NULL with `err`. */
struct petnames *petnames_open(struct env *env, struct cyx_err *err);
void petnames_close(struct petnames *p); /* NULL is fine */

/* Letters, digits and inner hyphens, at most PETNAME_MAX; upper case counts as lower. */
bool petname_ok(const char *name, size_t len);

/* What a host name means: an address, a petname (with labels in front or without), or why it is
 * neither. `p` may be NULL. *address is written on ONION_NAME_OK only. Nothing else is ever asked:
 * no resolver, no network. */
enum onion_name_verdict petnames_resolve(struct petnames *p, const char *host, size_t len,
                                         uint8_t address[static ONION_ADDRESS]);

/* Changes; `done` from the loop, once it is on disk. CYX_EINVAL (no name), CYX_EFULL, CYX_ENOENT,
 * CYX_ENOMEM: then `done` is not called. */
CYX_MUST_USE int petnames_set(struct petnames *p, const char *name,
                              const uint8_t address[static ONION_ADDRESS], env_done_fn done,
                              void *arg, struct cyx_err *err);
CYX_MUST_USE int petnames_remove(struct petnames *p, const char *name, env_done_fn done, void *arg,
                                 struct cyx_err *err);
/* In order of the names. */
void petnames_each(struct petnames *p,
                   void (*fn)(void *arg, const char *name, const uint8_t *address), void *arg);

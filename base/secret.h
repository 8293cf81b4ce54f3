/* base/secret.h - keys in memory. Long-lived ones in locked, guarded pages (secret_alloc); short
 * ones in small structs that wipe themselves on every way out of a function. */
#pragma once
#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A 32-byte key on the stack: `cleanup_key32 struct key32 k = { 0 };` */
struct key32 {
    uint8_t b[32];
};

static inline void cleanup_key32_fn(struct key32 *k)
{
    sodium_memzero(k->b, sizeof k->b);
}
#define cleanup_key32 __attribute__((cleanup(cleanup_key32_fn)))

/* sodium_init and a check of what the build relies on. Idempotent, thread-safe. 0 or CYX_EIO. */
CYX_MUST_USE int secret_init(struct cyx_err *err);

/* Guarded, wiped-on-free memory (sodium_malloc), zeroed, kept out of core dumps and, as far as
 * RLIMIT_MEMLOCK allows, out of swap: above that limit libsodium goes on without the lock. NULL
 * when memory is out. secret_init comes first. */
void *secret_alloc(size_t n);
void secret_free(void *p); /* NULL is fine */

/* Constant-time. */
static inline bool secret_equal(const void *a, const void *b, size_t n)
{
    return sodium_memcmp(a, b, n) == 0;
}

/* No core dumps and no ptrace by others for this process (RLIMIT_CORE 0, PR_SET_DUMPABLE 0). */
CYX_MUST_USE int secret_harden_process(struct cyx_err *err);

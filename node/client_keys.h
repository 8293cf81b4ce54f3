/* node/client_keys.h - our keys for endpoints that only some may read (protocol.md, section 12,
 * auth 1): one X25519 key for each address, so that two services can't tell that one client visits
 * both. All in one file, clients.key (vault.h). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/door_ops.h"
#include "node/vault.h"

struct client_keys;

enum { CLIENT_KEYS_MAX = 256 };

/* Reads the file: blocks a moment. NULL with `err` (CYX_EPERM, CYX_ECORRUPT: it is left alone). */
struct client_keys *client_keys_open(struct env *env, const struct door_ops *ops,
                                     struct vault *vault, struct cyx_err *err);
void client_keys_close(struct client_keys *k); /* wipes; NULL is fine */
/* Hands all keys to the onion, and later ones as they come; NULL: no more. */
void client_keys_set_onion(struct client_keys *k, struct onion *o);

/* Draws a key for `address`; *pub is for the service's operator. `done` from the loop once it is on
 * disk: only then does the onion get it. CYX_EEXIST (one is there, and not `replace`), CYX_EBUSY,
 * CYX_EFULL, CYX_ENOMEM. */
CYX_MUST_USE int client_keys_make(struct client_keys *k, const uint8_t address[static 32],
                                  bool replace, uint8_t pub[static 32], env_done_fn done, void *arg,
                                  struct cyx_err *err);
bool client_keys_get(const struct client_keys *k, const uint8_t address[static 32],
                     uint8_t pub[static 32]);
void client_keys_each(const struct client_keys *k,
                      void (*fn)(void *arg, const uint8_t *address, const uint8_t *pub), void *arg);

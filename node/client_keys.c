#include "node/client_keys.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/secret.h"

#define CLIENT_KEYS_FILE "clients.key"

enum { ROW = 64 };

struct row {
    uint8_t address[32], secret[32];
};

_Static_assert(sizeof(struct row) == ROW, "as it stands in the file");

struct client_keys {
    struct env *env;
    const struct door_ops *ops;
    struct vault *vault;
    struct onion *onion;
    struct row *rows; /* locked memory, CLIENT_KEYS_MAX + 1: the last place is the candidate's */
    size_t n;
    struct change *change; /* on its way to the disk */
};

struct change {
    struct client_keys *keys; /* NULL: closed */
    size_t at;                /* the row it becomes */
    env_done_fn done;
    void *arg;
};

static void hand_over(const struct client_keys *k, const struct row *r)
{
    struct cyx_err err = { 0 };
    if (k->onion != NULL && k->ops->client_key_set(k->onion, r->address, r->secret, &err) < 0)
        log_warn(k->env->log, "keys", "a client key can't be used: %s", err.msg);
}

void client_keys_set_onion(struct client_keys *k, struct onion *o)
{
    k->onion = o;
    for (size_t i = 0; o != NULL && i < k->n; i++)
        hand_over(k, &k->rows[i]);
}

static size_t find(const struct client_keys *k, const uint8_t address[static 32])
{
    size_t i = 0;
    while (i < k->n && memcmp(k->rows[i].address, address, 32) != 0)
        i++;
    return i;
}

/* ---- the file -------------------------------------------------------------------------------- */

static int load(struct client_keys *k, struct cyx_err *err)
{
    size_t len = 0;
    int rc = vault_load(k->vault, CLIENT_KEYS_FILE, (uint8_t *)(void *)k->rows,
                        CLIENT_KEYS_MAX * sizeof(struct row), &len, NULL, err);
    if (rc == CYX_ENOENT)
        return 0;
    if (rc == 0 && len % ROW != 0)
        rc = cyx_fail(err, CYX_ECORRUPT, CLIENT_KEYS_FILE " is damaged: restore it from a copy");
    if (rc == 0)
        k->n = len / ROW;
    return rc;
}

struct client_keys *client_keys_open(struct env *env, const struct door_ops *ops,
                                     struct vault *vault, struct cyx_err *err)
{
    struct client_keys *k = calloc(1, sizeof *k);
    if (k != NULL)
        k->rows = secret_alloc((CLIENT_KEYS_MAX + 1) * sizeof *k->rows);
    if (k == NULL || k->rows == NULL) {
        free(k);
        (void)cyx_fail(err, CYX_ENOMEM, "no locked memory for client keys");
        return NULL;
    }
    k->env = env;
    k->ops = ops;
    k->vault = vault;
    if (load(k, err) < 0) {
        client_keys_close(k);
        return NULL;
    }
    return k;
}

void client_keys_close(struct client_keys *k)
{
    if (k == NULL)
        return;
    if (k->change != NULL) {
        k->change->keys = NULL; /* it ends with the environment */
        k->change->done(k->change->arg, CYX_ECANCELED);
    }
    secret_free(k->rows);
    free(k);
}

/* ---- changes --------------------------------------------------------------------------------- */

static void on_stored(void *arg, int code)
{
    struct change *c = arg;
    struct client_keys *k = c->keys;
    struct row *candidate = k != NULL ? &k->rows[CLIENT_KEYS_MAX] : NULL;
    if (k != NULL && code == 0) {
        k->rows[c->at] = *candidate;
        k->n = c->at == k->n ? k->n + 1 : k->n;
        hand_over(k, candidate);
    }
    if (k != NULL) {
        sodium_memzero(candidate, sizeof *candidate);
        k->change = NULL;
        c->done(c->arg, code);
    }
    free(c);
}

/* The file as it will be: all rows with the candidate in its place. */
static int store(struct client_keys *k, struct change *c)
{
    size_t n = c->at == k->n ? k->n + 1 : k->n;
    struct row *rows = secret_alloc(n * sizeof *rows);
    if (rows == NULL)
        return CYX_ENOMEM;
    memcpy(rows, k->rows, k->n * sizeof *rows);
    rows[c->at] = k->rows[CLIENT_KEYS_MAX];
    int rc = vault_store(k->vault, CLIENT_KEYS_FILE, (const uint8_t *)(const void *)rows,
                         n * sizeof *rows, on_stored, c);
    secret_free(rows);
    return rc;
}

int client_keys_make(struct client_keys *k, const uint8_t address[static 32], bool replace,
                     uint8_t pub[static 32], env_done_fn done, void *arg, struct cyx_err *err)
{
    size_t at = find(k, address);
    if (k->change != NULL)
        return cyx_fail(err, CYX_EBUSY, "another key is being stored: try again in a moment");
    if (at < k->n && !replace)
        return cyx_fail(err, CYX_EEXIST,
                        "there is a key for this address: `cyx key show` prints it, --replace "
                        "draws another (the service must then be told)");
    if (at == CLIENT_KEYS_MAX)
        return cyx_fail(err, CYX_EFULL, "%d client keys are kept at most", CLIENT_KEYS_MAX);
    struct change *c = calloc(1, sizeof *c);
    struct row *candidate = &k->rows[CLIENT_KEYS_MAX];
    if (c == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no memory for the key");
    *c = (struct change){ .keys = k, .at = at, .done = done, .arg = arg };
    memcpy(candidate->address, address, 32);
    env_random(k->env, candidate->secret, 32);
    int rc = store(k, c);
    if (rc < 0) {
        free(c);
        return cyx_fail(err, rc, "no memory for the key");
    }
    k->change = c;
    crypto_dh_public(pub, candidate->secret);
    return 0;
}

/* ---- looking --------------------------------------------------------------------------------- */

bool client_keys_get(const struct client_keys *k, const uint8_t address[static 32],
                     uint8_t pub[static 32])
{
    size_t at = find(k, address);
    if (at < k->n)
        crypto_dh_public(pub, k->rows[at].secret);
    return at < k->n;
}

void client_keys_each(const struct client_keys *k,
                      void (*fn)(void *arg, const uint8_t *address, const uint8_t *pub), void *arg)
{
    for (size_t i = 0; i < k->n; i++) {
        uint8_t pub[32];
        crypto_dh_public(pub, k->rows[i].secret);
        fn(arg, k->rows[i].address, pub);
    }
}

#include "node/petnames.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct petnames {
    struct env *env;
    struct env_kv *kv;
};

struct petnames *petnames_open(struct env *env, struct cyx_err *err)
{
    struct petnames *p = calloc(1, sizeof *p);
    if (p == NULL) {
        (void)cyx_fail(err, CYX_ENOMEM, "no memory for the petnames");
        return NULL;
    }
    p->env = env;
    if (env_kv_open(env, "names", PETNAMES_BYTES, &p->kv, err) < 0) {
        free(p);
        return NULL;
    }
    return p;
}

void petnames_close(struct petnames *p)
{
    if (p == NULL)
        return;
    env_kv_close(p->env, p->kv);
    free(p);
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

bool petname_ok(const char *name, size_t len)
{
    if (len == 0 || len > PETNAME_MAX || name[0] == '-' || name[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_name_char(name[i]))
            return false;
    return true;
}

/* The key: lower case; its length. */
static size_t key_of(char out[static PETNAME_MAX + 1], const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    out[len] = '\0';
    return len;
}

static bool look_up(struct petnames *p, const char *name, size_t len,
                    uint8_t address[static ONION_ADDRESS])
{
    char key[PETNAME_MAX + 1];
    uint8_t found[ONION_ADDRESS];
    size_t n = 0;
    if (p == NULL || !petname_ok(name, len))
        return false;
    if (env_kv_get(p->env, p->kv, key, key_of(key, name, len), found, sizeof found, &n) < 0 ||
        n != sizeof found)
        return false;
    memcpy(address, found, sizeof found);
    return true;
}

/* The label before ".cyx", and how long it is; 0: there is none. */
static size_t last_label(const char *host, size_t len, const char **label)
{
    static const char suffix[] = ".cyx";
    enum { SUFFIX = 4 };
    if (len > 0 && host[len - 1] == '.')
        len--;
    if (len <= SUFFIX || strncasecmp(host + len - SUFFIX, suffix, SUFFIX) != 0)
        return 0;
    len -= SUFFIX;
    const char *dot = memrchr(host, '.', len);
    *label = dot != NULL ? dot + 1 : host;
    return len - (size_t)(*label - host);
}

enum onion_name_verdict petnames_resolve(struct petnames *p, const char *host, size_t len,
                                         uint8_t address[static ONION_ADDRESS])
{
    struct onion_name name;
    const char *label = NULL;
    enum onion_name_verdict v = onion_name_parse(&name, host, len);
    if (v == ONION_NAME_OK)
        memcpy(address, name.address, sizeof name.address);
    if (v != ONION_NAME_MALFORMED)
        return v;
    size_t n = last_label(host, len, &label);
    return n > 0 && look_up(p, label, n, address) ? ONION_NAME_OK : v;
}

/* ---- changes --------------------------------------------------------------------------------- */

static bool count_one(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                      size_t val_len)
{
    (void)key, (void)key_len, (void)val, (void)val_len;
    ++*(size_t *)arg;
    return true;
}

static bool has_room(struct petnames *p)
{
    size_t n = 0;
    (void)env_kv_each(p->env, p->kv, NULL, 0, count_one, &n);
    return n < PETNAMES_MAX;
}

static int no_name(const char *name, struct cyx_err *err)
{
    return cyx_fail(err, CYX_EINVAL,
                    "\"%.64s\" is no name: want 1 to %d letters, digits and inner hyphens", name,
                    PETNAME_MAX);
}

int petnames_set(struct petnames *p, const char *name, const uint8_t address[static ONION_ADDRESS],
                 env_done_fn done, void *arg, struct cyx_err *err)
{
    char key[PETNAME_MAX + 1];
    if (!petname_ok(name, strlen(name)))
        return no_name(name, err);
    if (!has_room(p))
        return cyx_fail(err, CYX_EFULL, "%d names are kept at most: remove one", PETNAMES_MAX);
    size_t len = key_of(key, name, strlen(name));
    struct env_kv_batch *b = env_kv_batch(p->env, p->kv);
    int rc = b != NULL ? env_kv_put(p->env, b, key, len, address, ONION_ADDRESS) : CYX_ENOMEM;
    if (rc < 0) {
        env_kv_abort(p->env, b);
        return cyx_fail(err, rc, "no memory for the name");
    }
    env_kv_commit(p->env, b, done, arg);
    return 0;
}

int petnames_remove(struct petnames *p, const char *name, env_done_fn done, void *arg,
                    struct cyx_err *err)
{
    char key[PETNAME_MAX + 1];
    uint8_t address[ONION_ADDRESS];
    if (!petname_ok(name, strlen(name)))
        return no_name(name, err);
    if (!look_up(p, name, strlen(name), address))
        return cyx_fail(err, CYX_ENOENT, "there is no name \"%s\": `cyx name ls` lists them", name);
    size_t len = key_of(key, name, strlen(name));
    struct env_kv_batch *b = env_kv_batch(p->env, p->kv);
    int rc = b != NULL ? env_kv_del(p->env, b, key, len) : CYX_ENOMEM;
    if (rc < 0) {
        env_kv_abort(p->env, b);
        return cyx_fail(err, rc, "no memory for the name");
    }
    env_kv_commit(p->env, b, done, arg);
    return 0;
}

struct lister {
    void (*fn)(void *arg, const char *name, const uint8_t *address);
    void *arg;
};

static bool list_one(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                     size_t val_len)
{
    const struct lister *l = arg;
    char name[PETNAME_MAX + 1];
    if (key_len > PETNAME_MAX || val_len != ONION_ADDRESS)
        return true; /* not ours: a newer version's, perhaps */
    memcpy(name, key, key_len);
    name[key_len] = '\0';
    l->fn(l->arg, name, val);
    return true;
}

void petnames_each(struct petnames *p,
                   void (*fn)(void *arg, const char *name, const uint8_t *address), void *arg)
{
    struct lister l = { fn, arg };
    (void)env_kv_each(p->env, p->kv, NULL, 0, list_one, &l);
}

#include "node/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/secret.h"
#include "node/puzzle.h"

/* ---- passphrase ------------------------------------------------------------------------------ */

static int check_private(int fd, const char *path, struct cyx_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return cyx_fail(err, CYX_EIO, "stat %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
        return cyx_fail(err, CYX_EPERM,
                        "%s: a passphrase file is a regular file that only its owner can read: "
                        "`chmod 600 %s`",
                        path, path);
    return 0;
}

static int read_line(int fd, const char *path, struct node_passphrase *p, struct cyx_err *err)
{
    size_t n = 0;
    while (n < sizeof p->text) {
        ssize_t got = read(fd, p->text + n, sizeof p->text - n);
        if (got < 0)
            return cyx_fail(err, CYX_EIO, "read %s: %s", path, strerror(errno));
        if (got == 0)
            break;
        n += (size_t)got;
    }
    size_t line = 0;
    while (line < n && p->text[line] != '\n' && p->text[line] != '\r' && p->text[line] != '\0')
        line++;
    if (line == 0 || line > NODE_PASSPHRASE_MAX)
        return cyx_fail(err, CYX_EINVAL, "%s: the first line is the passphrase: want 1 to %d bytes",
                        path, NODE_PASSPHRASE_MAX);
    sodium_memzero(p->text + line, sizeof p->text - line);
    p->is_set = true;
    return 0;
}

int node_passphrase_read(const char *file, struct node_passphrase **out, struct cyx_err *err)
{
    char credential[4096];
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    const bool is_named = file[0] != '\0';
    *out = NULL;
    if (!is_named) {
        if (dir == NULL)
            return 0;
        snprintf(credential, sizeof credential, "%s/cyxd-passphrase", dir);
        file = credential;
    }
    /* O_NONBLOCK: a pipe without a writer must be refused, not waited for. */
    cleanup_close int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT && !is_named)
        return 0;
    if (fd < 0)
        return cyx_fail(err, errno == ENOENT ? CYX_ENOENT : CYX_EPERM,
                        "passphrase file %s: %s (`passphrase_file` in [key])", file,
                        strerror(errno));
    int rc = is_named ? check_private(fd, file, err) : 0; /* systemd sees to its own files */
    if (rc < 0)
        return rc;
    struct node_passphrase *p = secret_alloc(sizeof *p);
    if (p == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no locked memory for the passphrase");
    rc = read_line(fd, file, p, err);
    if (rc < 0)
        secret_free(p);
    else
        *out = p;
    return rc;
}

/* ---- identity -------------------------------------------------------------------------------- */

static struct mesh_identity *open_file(const struct node_keys_options *o, const uint8_t *blob,
                                       size_t len, struct cyx_err *err)
{
    struct cyx_err own = { 0 };
    err = err != NULL ? err : &own;
    struct mesh_identity *i = mesh_identity_decode(blob, len, o->passphrase, err);
    if (i != NULL)
        return i;
    if (err->code == CYX_EPERM && o->passphrase == NULL)
        cyx_fail(err, CYX_EPERM,
                 "%s/%s is sealed with a passphrase: name the file that holds it as "
                 "`passphrase_file` in [key]",
                 o->data_dir, NODE_KEY_FILE);
    else
        cyx_wrap(err, "%s/%s", o->data_dir, NODE_KEY_FILE);
    return NULL;
}

static struct mesh_identity *load_or_make(const struct node_keys_options *o, bool *is_changed,
                                          struct cyx_err *err)
{
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    size_t len = 0;
    struct mesh_identity *i = NULL;
    int rc = env_blob_load(o->env, NODE_KEY_FILE, blob, sizeof blob, &len, err);
    if (rc == 0) {
        i = open_file(o, blob, len, err);
    } else if (rc == CYX_ENOENT) {
        int64_t wall_ms = env_wall_ms(o->env);
        i = mesh_identity_create(o->env, wall_ms > 0 ? (uint64_t)wall_ms / 1000 : 0, err);
        *is_changed = true;
        log_info(o->env->log, "keys", "first start: a new identity for %s", o->data_dir);
    } else if (rc == CYX_EFULL) {
        cyx_fail(err, CYX_ECORRUPT,
                 "%s/%s is longer than any key file: restore it from a copy, or move it away to "
                 "start with a new identity",
                 o->data_dir, NODE_KEY_FILE);
    }
    sodium_memzero(blob, sizeof blob);
    return i;
}

/* True when the identity's puzzle, if it has one, is worth what this network asks. */
static bool has_good_puzzle(const struct mesh_identity *i, const struct mesh_network *net)
{
    struct mesh_pow_subject subject;
    if (!i->has_puzzle)
        return false;
    mesh_identity_subject(i, &subject);
    return mesh_pow_check(&subject, net->id_effort, i->puzzle) == DROP_NONE;
}

static int solve(const struct node_keys_options *o, struct mesh_identity *i, struct cyx_err *err)
{
    struct mesh_pow_subject subject;
    uint8_t proof[MESH_POW_PROOF];
    mesh_identity_subject(i, &subject);
    if (i->has_puzzle)
        log_warn(o->env->log, "keys",
                 "the id's puzzle is worth less than this network asks (effort %u): solving a new "
                 "one changes the id",
                 (unsigned)o->network->id_effort);
    int rc = puzzle_solve(o->env, &subject, o->network->id_effort, o->progress, proof, err);
    return rc == 0 ? mesh_identity_set_puzzle(i, o->network, proof, err) : rc;
}

struct mesh_identity *node_keys_load(const struct node_keys_options *o, bool *is_changed,
                                     struct cyx_err *err)
{
    bool changed = false;
    struct mesh_identity *i = load_or_make(o, &changed, err);
    if (i == NULL)
        return NULL;
    int rc = 0;
    if (o->passphrase != NULL && !i->is_sealed) {
        rc = mesh_identity_seal_with(i, o->env, o->passphrase, err);
        changed = true;
    }
    if (rc == 0 && o->is_listed && !has_good_puzzle(i, o->network)) {
        rc = solve(o, i, err);
        changed = true;
    }
    if (rc < 0) {
        mesh_identity_destroy(i);
        return NULL;
    }
    *is_changed = changed;
    return i;
}

int node_keys_store(struct env *env, const struct mesh_identity *i, env_done_fn done, void *arg)
{
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    int len = mesh_identity_encode(i, env, blob);
    if (len > 0)
        env_blob_store(env, NODE_KEY_FILE, blob, (size_t)len, done, arg);
    sodium_memzero(blob, sizeof blob);
    return len > 0 ? 0 : len < 0 ? len : CYX_EINVAL;
}

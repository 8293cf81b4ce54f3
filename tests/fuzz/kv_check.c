/* tests/fuzz/kv_check.c - a store file of any content: the check must not crash on it, and what the
 * check lets pass LMDB must be able to read through and to write to, since it maps the file and
 * trusts it. */
#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/uv/kv_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t len, size_t max); /* libFuzzer's own */

static volatile uint8_t touched;

/* Reads every byte of every entry, forwards. */
static void walk(MDB_env *mdb)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cur = NULL;
    MDB_dbi dbi;
    MDB_val k, v;
    if (mdb_txn_begin(mdb, NULL, MDB_RDONLY, &txn) != 0)
        return;
    if (mdb_dbi_open(txn, NULL, 0, &dbi) == 0 && mdb_cursor_open(txn, dbi, &cur) == 0) {
        for (int rc = mdb_cursor_get(cur, &k, &v, MDB_FIRST); rc == 0;
             rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT)) {
            for (size_t i = 0; i < k.mv_size; i++)
                touched ^= ((const uint8_t *)k.mv_data)[i];
            for (size_t i = 0; i < v.mv_size; i++)
                touched ^= ((const uint8_t *)v.mv_data)[i];
        }
        mdb_cursor_close(cur);
    }
    mdb_txn_abort(txn);
}

/* Changes some entries in two commits: the second uses pages that the first gave back. */
static void change(MDB_env *mdb)
{
    static uint8_t val[5000];
    for (unsigned round = 0; round < 2; round++) {
        MDB_txn *txn = NULL;
        MDB_dbi dbi;
        if (mdb_txn_begin(mdb, NULL, 0, &txn) != 0)
            return;
        int rc = mdb_dbi_open(txn, NULL, 0, &dbi);
        for (unsigned i = 0; i < 24 && (rc == 0 || rc == MDB_NOTFOUND); i++) {
            char key[16];
            int n = snprintf(key, sizeof key, "key-%06u", i * 3 + round);
            MDB_val k = { .mv_size = (size_t)n, .mv_data = key };
            MDB_val v = { .mv_size = i % 8 == 0 ? sizeof val : 100, .mv_data = val };
            rc = i % 3 == round ? mdb_del(txn, dbi, &k, NULL) : mdb_put(txn, dbi, &k, &v, 0);
        }
        if (rc == 0 || rc == MDB_NOTFOUND)
            (void)mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
}

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
enum { PAGE = 4096 };

/* A byte that LMDB goes by: of a header, of a page's head, of the offsets, of an entry's head. */
static size_t place(const uint8_t *page, bool is_meta, unsigned chance)
{
    unsigned n_nodes = page[13] < PAGE / 256 ? ((unsigned)page[13] << 8 | page[12]) / 2 : 0;
    if (is_meta)
        return chance % 152;
    if (chance % 3 == 0 || n_nodes <= 8)
        return chance / 3 % 40;
    size_t slot = 16 + 2 * (chance / 16 % (n_nodes - 8));
    if (chance % 3 == 1)
        return slot + chance / 8 % 2;
    return ((size_t)page[slot + 1] << 8 | page[slot]) % (PAGE - 24) + chance / 8 % 24;
}

/* Blind changes rarely get past the first look; half of all are made where it matters. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max, unsigned seed)
{
    unsigned chance = seed * 2654435761u;
    if (seed % 2 == 0 || len < 2 * PAGE)
        return LLVMFuzzerMutate(data, len, max);
    for (unsigned n = chance % 3 + 1; n > 0; n--) {
        chance = chance * 1664525u + 1013904223u;
        size_t pgno = (chance >> 8) % (len / PAGE);
        uint8_t *page = data + pgno * PAGE;
        size_t at = place(page, pgno < 2, chance >> 4);
        size_t width = at + 8 < PAGE ? 1 + (chance >> 29) : 1;
        LLVMFuzzerMutate(page + at, width, width);
    }
    return len;
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char path[64];
    MDB_env *mdb = NULL;
    int fd = memfd_create("store", MFD_CLOEXEC);
    if (fd < 0 || (len > 0 && write(fd, data, len) != (ssize_t)len))
        abort();
    if (env_uv__kv_check(fd) == NULL && len > 0) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (mdb_env_create(&mdb) != 0)
            abort();
        if (mdb_env_set_mapsize(mdb, 1 << 20) == 0 &&
            mdb_env_open(mdb, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS | MDB_NOSYNC, 0600) ==
                0) {
            walk(mdb);
            change(mdb);
            walk(mdb);
        }
        mdb_env_close(mdb);
    }
    close(fd);
    return 0;
}
